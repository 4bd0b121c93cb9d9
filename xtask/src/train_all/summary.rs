//! The end of a run: the table on the terminal, in CSV and in Markdown (with the published numbers beside it where a
//! category bears an MVTec AD name), the report page, and the figures for papers.

use std::path::{Path, PathBuf};

use simplenet_cli::{
    CliError,
    evaluation::{MetricsFile, run_numbers},
    machine,
    output::{
        atomic,
        published::Published,
        table::{ResultRow, ResultTable, terminal_width},
    },
    plots_folder::{self, PLOTS_FOLDER},
    report_page::{self, Card, Heading, REPORT_FILE},
};
use simplenet_train::config::TrainConfig;

/// One category with one seed that succeeded.
pub(super) struct Entry {
    pub(super) metrics: MetricsFile,
    pub(super) out: PathBuf,
}

/// A category (with its seed, if there are several) that failed, and why.
pub(super) struct Failure {
    pub(super) category: String,
    pub(super) reason: String,
}

/// Prints the table and writes `table.csv`, `table.md`, `report.html` and the plots.
pub(super) fn write(
    run_folder: &Path,
    data: &Path,
    config: &TrainConfig,
    results: &[Entry],
    failures: &[Failure],
) -> Result<(), CliError> {
    let table = table(results, failures);
    let title = format!("{}: {}", data.display(), config.backbone);
    println!("\n{}", table.to_terminal(terminal_width()));
    atomic::write_text(&run_folder.join("table.csv"), &table.to_csv())?;
    atomic::write_text(&run_folder.join("table.md"), &markdown(&title, &table, config)?)?;
    let metrics: Vec<&MetricsFile> = results.iter().map(|entry| &entry.metrics).collect();
    let backbone = config.backbone.to_string();
    let no_speed = plots_folder::write_speed(run_folder, data, &backbone, &table, &metrics)?;
    let heading = Heading { title: &title, facts: vec![], config: Some(config) };
    let (cards, plots) = cards(results, failures)?;
    report_page::write(&run_folder.join(REPORT_FILE), heading, table, cards)?;
    println!("results: {}", run_folder.display());
    println!("report:  {}", run_folder.join(REPORT_FILE).display());
    match no_speed {
        None => println!("plots:   {}", run_folder.join(PLOTS_FOLDER).display()),
        Some(reason) => println!("plots:   no speed_auroc: {reason}"),
    }
    for (folder, plots) in plots {
        println!("         {} ({plots})", folder.join(PLOTS_FOLDER).display());
    }
    Ok(())
}

/// One row a category, in the order of the run; a category of which a seed failed is a failed row.
fn table(results: &[Entry], failures: &[Failure]) -> ResultTable {
    let mut rows: Vec<ResultRow> = vec![];
    for entry in results {
        let name = &entry.metrics.category;
        let run = run_numbers(&entry.metrics);
        match rows.iter_mut().find(|row| row.category == *name) {
            Some(row) => row.runs.push(run),
            None => rows.push(ResultRow::new(name.clone(), vec![run])),
        }
    }
    for failure in failures {
        rows.retain(|row| row.category != failure.category);
        rows.push(ResultRow::failed(failure.category.clone(), failure.reason.clone()));
    }
    rows.sort_by(|a, b| a.category.cmp(&b.category));
    rows.dedup_by(|a, b| a.category == b.category);
    ResultTable { rows }
}

fn markdown(title: &str, table: &ResultTable, config: &TrainConfig) -> Result<String, CliError> {
    let mut text = format!("# {title}\n\n{}\n", table.to_markdown());
    text += &format!(
        "\nLast epoch of {}, seed mean ± standard deviation where there are several seeds. Machine: {}.\n",
        config.epochs,
        machine::description()
    );
    if let Some(comparison) = Published::embedded()?.compare(table) {
        text += &format!("\n{comparison}\n");
    }
    Ok(text)
}

/// The cards; the folders of their results with what was drawn there.
type Shown<'a> = (Vec<Card>, Vec<(&'a Path, String)>);

/// One card a category, and its plots; of several seeds, the first.
fn cards<'a>(results: &'a [Entry], failures: &[Failure]) -> Result<Shown<'a>, CliError> {
    let mut plots = vec![];
    let mut cards: Vec<Card> = vec![];
    let mut shown: Vec<&str> = vec![];
    for entry in results {
        let name = entry.metrics.category.as_str();
        if shown.contains(&name) {
            continue;
        }
        shown.push(name);
        let seeds = results.iter().filter(|other| other.metrics.category == name).count();
        let note = (seeds > 1).then(|| format!("of {seeds} seeds, seed {} is shown", entry.metrics.seed));
        let card = Card::read(&entry.metrics, &entry.out, note)?;
        plots.push((
            entry.out.as_path(),
            plots_folder::write_evaluated(&entry.out, card.category(), &entry.metrics)?,
        ));
        cards.push(card);
    }
    for failure in failures.iter().filter(|failure| !shown.contains(&failure.category.as_str())) {
        cards.push(Card::failed(&failure.category, &failure.reason));
    }
    Ok((cards, plots))
}
