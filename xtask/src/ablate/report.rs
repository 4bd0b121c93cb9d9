//! The end of an ablation: its tables on the terminal, in `ablation.csv` and in `ablation.md`.
//!
//! In: the tables' variants and every training that is over. Out: one row a variant: means over the categories, with the
//! standard deviation over seeds where there are several; PaDiM and PatchCore of the same categories and seeds; the paper's
//! numbers, called so.

use std::path::Path;

use simplenet_cli::{
    CliError,
    evaluation::run_numbers,
    machine,
    output::{
        atomic,
        table::{
            Column, LastRow, MISSING, ResultRow, ResultTable, RunNumbers, csv_line, escape, markdown_row,
            markdown_rule, plain_table,
        },
    },
};
use simplenet_train::config::TrainConfig;

use super::tables::{Ablation, Reported, Variant};
use crate::jobs::Done;

/// What every table shows; those that are not measured without a flag come after.
const SHOWN: [Column; 4] = [Column::ImageAuroc, Column::PixelAuroc, Column::Aupro30, Column::FitSeconds];
/// The baselines', the same in every row.
const BASELINES: [Column; 4] =
    [Column::PadimImageAuroc, Column::PadimAupro30, Column::PatchCoreImageAuroc, Column::PatchCoreAupro30];
/// The heading of what the paper reports.
const PAPER: &str = "paper, MVTec AD: image/pixel AUROC %";

/// A variant with its results.
struct Row<'a> {
    variant: &'a Variant,
    results: ResultTable,
}

/// Prints the tables and writes `ablation.csv` and `ablation.md` into the run's folder.
pub(super) fn write(
    run_folder: &Path,
    data: &Path,
    base: &TrainConfig,
    ablations: &[Ablation],
    done: &[Done],
) -> Result<(), CliError> {
    let tables: Vec<(&Ablation, Vec<Row<'_>>)> = ablations
        .iter()
        .map(|ablation| {
            let row = |variant| Row { variant, results: results(variant, base, done) };
            (ablation, ablation.variants.iter().map(row).collect())
        })
        .collect();
    let oracle = tables
        .iter()
        .flat_map(|(_, rows)| rows)
        .any(|row| row.results.mean(Column::OracleImageAuroc).is_some());
    let mut columns = SHOWN.to_vec();
    columns.extend(oracle.then_some(Column::OracleImageAuroc));
    columns.extend(BASELINES);

    let mut markdown = format!("# Ablations: {}, {}\n", data.display(), base.backbone);
    let mut csv = csv_line(&csv_header(&columns));
    for (ablation, rows) in &tables {
        println!("\n{}\n{}", ablation.title, terminal(rows, &columns));
        markdown += &format!("\n## {}\n\n{}", ablation.title, table_markdown(rows, &columns));
        rows.iter().for_each(|row| csv += &csv_line(&csv_fields(ablation.key, row, &columns)));
    }
    markdown += &notes(base, done, oracle);
    atomic::write_text(&run_folder.join("ablation.csv"), &csv)?;
    atomic::write_text(&run_folder.join("ablation.md"), &markdown)?;
    println!("results: {}", run_folder.display());
    Ok(())
}

/// A variant's results, a row a category; those of the baselines are the base's.
fn results(variant: &Variant, base: &TrainConfig, done: &[Done]) -> ResultTable {
    let of_settings = |done: &&Done, config: &TrainConfig| {
        TrainConfig { seed: config.seed, ..done.job.config.clone() } == *config
    };
    let mut rows: Vec<ResultRow> = vec![];
    for one in done.iter().filter(|one| of_settings(one, &variant.config)) {
        let category = one.job.category.name.clone();
        let beside = done.iter().find(|other| {
            other.job.baselines.is_some()
                && other.job.category == one.job.category
                && TrainConfig { seed: one.job.config.seed, ..base.clone() } == other.job.config
        });
        let of_base = beside.and_then(|other| other.outcome.as_ref().ok()).map(run_numbers);
        let index = rows.iter().position(|row| row.category == category).unwrap_or_else(|| {
            rows.push(ResultRow::new(category, vec![]));
            rows.len() - 1
        });
        match &one.outcome {
            Ok(metrics) => rows[index].runs.push(with_baselines(run_numbers(metrics), of_base)),
            Err(error) => rows[index].failure = Some(error.to_string()),
        }
    }
    ResultTable { rows }
}

fn with_baselines(run: RunNumbers, base: Option<RunNumbers>) -> RunNumbers {
    let base = base.unwrap_or_default();
    RunNumbers {
        padim_image_auroc: base.padim_image_auroc,
        padim_aupro_30: base.padim_aupro_30,
        patch_core_image_auroc: base.patch_core_image_auroc,
        patch_core_aupro_30: base.patch_core_aupro_30,
        ..run
    }
}

impl Row<'_> {
    /// A cell for people; `*` where not all categories have the number.
    fn cell(&self, column: Column) -> String {
        match self.results.mean(column) {
            Some(mean) if mean.categories < self.results.rows.len() => {
                format!("{}*", column.format(mean.measurement))
            }
            Some(mean) => column.format(mean.measurement),
            None => MISSING.into(),
        }
    }

    fn cells(&self, columns: &[Column]) -> Vec<String> {
        let paper = self
            .variant
            .paper
            .map_or("-".into(), |Reported { image, pixel }| format!("{image:.1}/{pixel:.1}"));
        columns.iter().map(|&column| self.cell(column)).chain([paper]).collect()
    }
}

fn terminal(rows: &[Row<'_>], columns: &[Column]) -> String {
    let headings: Vec<&str> = columns.iter().map(|column| column.title()).chain([PAPER]).collect();
    let rows: Vec<(&str, Vec<String>)> =
        rows.iter().map(|row| (row.variant.name.as_str(), row.cells(columns))).collect();
    plain_table(&headings, &rows, LastRow::Ordinary)
}

fn table_markdown(rows: &[Row<'_>], columns: &[Column]) -> String {
    let headings = columns.iter().map(|column| column.title().to_string()).chain([PAPER.to_string()]);
    let mut text = markdown_row("variant", headings) + &markdown_rule(columns.len() + 1);
    for row in rows {
        let cells = row.cells(columns).into_iter().map(|cell| cell.replace('*', "\\*"));
        text += &markdown_row(&escape(&row.variant.name), cells);
    }
    text
}

/// What the tables hold, what failed, and the base settings.
fn notes(base: &TrainConfig, done: &[Done], oracle: bool) -> String {
    let mut seeds: Vec<u64> = done.iter().map(|one| one.job.config.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let mut notes = vec![
        format!(
            "Means over the categories; {} seeds, ± is the sample standard deviation over them. Last epoch of {}; fit s is the \
             mean time of one training.",
            seeds.len(),
            base.epochs
        ),
        "Each table changes one setting of the base settings and leaves the others.".into(),
        "PaDiM, PatchCore: on the features, training images and maps of the base settings, the same in every row.".into(),
        "The paper's numbers are MVTec AD's with WideResNet-50-2, at the epoch that is best on the test set: they compare with \
         a run on that data set with that preset and backbone only."
            .into(),
    ];
    if oracle {
        notes.push("oracle: the epoch chosen on the test set, as in the paper's protocol".into());
    }
    if done.iter().any(|one| one.outcome.is_err()) {
        notes.push("* not over all categories: a training failed".into());
    }
    notes.extend(done.iter().filter_map(|one| {
        let error = one.outcome.as_ref().err()?;
        Some(format!("{} failed: {error}", one.job.what))
    }));
    notes.push(format!("Machine: {}.", machine::description()));
    format!("\n{}\n", notes.iter().map(|note| format!("- {}", escape(note))).collect::<Vec<_>>().join("\n"))
}

fn csv_header(columns: &[Column]) -> Vec<String> {
    let mut header: Vec<String> = ["ablation", "variant", "categories", "seeds"].map(String::from).into();
    header.extend(
        columns.iter().flat_map(|column| [column.key().to_string(), format!("{}_std", column.key())]),
    );
    header.extend(["paper_image_AUROC_percent", "paper_pixel_AUROC_percent", "note"].map(String::from));
    header
}

fn csv_fields(key: &str, row: &Row<'_>, columns: &[Column]) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or(MISSING.to_string(), |value| format!("{value:.6}"));
    let results = &row.results.rows;
    let complete = results.iter().filter(|row| row.failure.is_none()).count();
    let seeds = results.iter().map(|row| row.runs.len()).max().unwrap_or(0);
    let mut fields = vec![key.to_string(), row.variant.name.clone(), complete.to_string(), seeds.to_string()];
    for &column in columns {
        let mean = row.results.mean(column).map(|mean| mean.measurement);
        fields.push(number(mean.map(|mean| mean.mean)));
        fields.push(number(mean.and_then(|mean| mean.deviation)));
    }
    let percent = |value: Option<f64>| value.map_or(MISSING.to_string(), |value| format!("{value:.1}"));
    fields.push(percent(row.variant.paper.map(|paper| paper.image)));
    fields.push(percent(row.variant.paper.map(|paper| paper.pixel)));
    let failures =
        results.iter().filter_map(|row| Some(format!("{} failed: {}", row.category, row.failure.as_ref()?)));
    fields.push(failures.collect::<Vec<_>>().join("; "));
    fields
}
