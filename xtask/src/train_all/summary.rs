//! The end of a run: the table on the terminal, in CSV and in Markdown (with the published numbers beside it where a
//! category bears an MVTec AD name), and the report page.

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

/// Prints the table and writes `table.csv`, `table.md` and `report.html` into the run's folder.
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
    let heading = Heading { title: &title, facts: vec![], config: Some(config) };
    report_page::write(&run_folder.join(REPORT_FILE), heading, table, cards(results, failures)?)?;
    println!("results: {}", run_folder.display());
    println!("report:  {}", run_folder.join(REPORT_FILE).display());
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

/// One card a category; of several seeds, the first.
fn cards(results: &[Entry], failures: &[Failure]) -> Result<Vec<Card>, CliError> {
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
        cards.push(Card::read(&entry.metrics, &entry.out, note)?);
    }
    for failure in failures.iter().filter(|failure| !shown.contains(&failure.category.as_str())) {
        cards.push(Card::failed(&failure.category, &failure.reason));
    }
    Ok(cards)
}
