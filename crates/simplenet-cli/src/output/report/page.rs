//! The page itself: header, table of results, one card a category.

use super::html::escape;
use super::{CategoryReport, Fact, Pictures, Report, ReportOptions, gallery, histogram};
use crate::output::OutputError;
use crate::output::prediction::{Mistake, PredictionLine, PredictionRecord, Verdict};
use crate::output::table::{Cell, Grid};
use std::fmt::Write;

const STYLE: &str = include_str!("style.css");
/// Nothing may be loaded or run: only this file's own style and embedded pictures.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

pub(super) fn page(
    report: &Report,
    options: &ReportOptions,
    pictures: &mut dyn FnMut(&CategoryReport, &PredictionRecord) -> Option<Pictures>,
) -> Result<String, OutputError> {
    let title = escape(&report.title);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n"
    );
    facts(&mut html, &report.facts, "facts");
    if !report.settings.is_empty() {
        html.push_str("<details><summary>Settings</summary>");
        facts(&mut html, &report.settings, "facts settings");
        html.push_str("</details>\n");
    }
    html.push_str("</header>\n<main>\n");
    if !report.table.rows.is_empty() {
        results(&mut html, report);
    }
    for (index, category) in report.categories.iter().enumerate() {
        card(&mut html, category, &anchor(index), options, pictures)?;
    }
    html.push_str("</main>\n</body>\n</html>\n");
    Ok(html)
}

/// Identifiers are numbered: a category's name may hold anything.
fn anchor(index: usize) -> String {
    format!("category-{}", index + 1)
}

fn facts(html: &mut String, facts: &[Fact], class: &str) {
    if facts.is_empty() {
        return;
    }
    let _ = write!(html, "<dl class=\"{class}\">");
    for fact in facts {
        let _ = write!(html, "<div><dt>{}</dt><dd>{}", escape(&fact.name), escape(&fact.value));
        if let Some(detail) = &fact.detail {
            let _ = write!(html, "<small>{}</small>", escape(detail));
        }
        html.push_str("</dd></div>");
    }
    html.push_str("</dl>\n");
}

fn results(html: &mut String, report: &Report) {
    let grid: Grid = report.table.grid();
    html.push_str("<section class=\"panel\">\n<h2>Results</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">category</th>");
    for column in &grid.columns {
        let [first, second] = column.heading();
        let _ = write!(html, "<th scope=\"col\">{first}<br>{second}</th>");
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for (name, cells) in &grid.rows {
        let text = match report.categories.iter().position(|c| c.name == *name) {
            Some(index) => format!("<a href=\"#{}\">{}</a>", anchor(index), escape(name)),
            None => escape(name),
        };
        row(html, &text, cells);
    }
    html.push_str("</tbody>\n<tfoot>\n");
    row(html, "mean", &grid.mean);
    html.push_str("</tfoot>\n</table></div>\n");
    if !grid.notes.is_empty() {
        html.push_str("<ul class=\"notes\">");
        for note in &grid.notes {
            let _ = write!(html, "<li>{}</li>", escape(note));
        }
        html.push_str("</ul>\n");
    }
    html.push_str("</section>\n");
}

fn row(html: &mut String, name: &str, cells: &[Cell]) {
    let _ = write!(html, "<tr><th scope=\"row\">{name}</th>");
    for cell in cells {
        let class = if *cell == Cell::Missing { " class=\"missing\"" } else { "" };
        // What varies over seeds is set smaller than the mean; the mark of an incomplete mean stays with the mean.
        let text = match cell.text().split_once(" ± ") {
            Some((mean, deviation)) => {
                let mark = if deviation.ends_with('*') { "*" } else { "" };
                let deviation = deviation.trim_end_matches('*');
                format!("{mean}{mark} <span class=\"deviation\">± {deviation}</span>")
            }
            None => cell.text().to_string(),
        };
        let _ = write!(html, "<td{class}>{text}</td>");
    }
    html.push_str("</tr>\n");
}

fn card(
    html: &mut String,
    category: &CategoryReport,
    id: &str,
    options: &ReportOptions,
    pictures: &mut dyn FnMut(&CategoryReport, &PredictionRecord) -> Option<Pictures>,
) -> Result<(), OutputError> {
    let _ = write!(html, "<section class=\"panel\" id=\"{id}\">\n<h2>{}</h2>\n", escape(&category.name));
    if let Some(note) = &category.note {
        let _ = writeln!(html, "<p class=\"note\">{}</p>", escape(note));
    }
    let scores: Vec<histogram::Scored> = records(category).map(|r| (r.score, r.label)).collect();
    let chart = histogram::histogram(&scores, category.threshold);
    if chart.is_empty() {
        facts(html, &category.metrics, "tiles");
    } else {
        let _ = write!(html, "<div class=\"overview\">\n<div class=\"chart\">{chart}</div>\n<div>");
        verdicts(html, category);
        facts(html, &category.metrics, "tiles");
        html.push_str("</div>\n</div>\n");
    }
    html.push_str(&gallery::gallery(category, id, options, pictures)?);
    failures(html, category);
    html.push_str("</section>\n");
    Ok(())
}

fn records(category: &CategoryReport) -> impl Iterator<Item = &PredictionRecord> {
    category.predictions.iter().filter_map(|line| match line {
        PredictionLine::Prediction(record) => Some(record),
        PredictionLine::Error(_) => None,
    })
}

/// What the verdicts come to, in the words of an inspection line.
fn verdicts(html: &mut String, category: &CategoryReport) {
    let count = |holds: &dyn Fn(&PredictionRecord) -> bool| records(category).filter(|r| holds(r)).count();
    let judged = count(&|r| r.verdict.is_some());
    if judged == 0 {
        html.push_str("<p class=\"verdicts\">No threshold in the model: scores only.</p>");
        return;
    }
    let bad = count(&|r| r.label == Some(Verdict::Anomalous));
    let good = count(&|r| r.label == Some(Verdict::Normal));
    if bad + good == 0 {
        let rejected = count(&|r| r.verdict == Some(Verdict::Anomalous));
        let _ =
            write!(html, "<p class=\"verdicts\"><b>{rejected}</b> of {judged} parts judged anomalous.</p>");
        return;
    }
    let missed = count(&|r| r.mistake() == Some(Mistake::FalseAccept));
    let rejected = count(&|r| r.mistake() == Some(Mistake::FalseReject));
    let _ = write!(
        html,
        "<p class=\"verdicts\"><b>{}</b> of {bad} defective parts found{}; \
         <b>{rejected}</b> of {good} good parts rejected.</p>",
        bad - missed,
        if missed > 0 { format!(", <b class=\"wrong\">{missed} missed</b>") } else { String::new() }
    );
}

fn failures(html: &mut String, category: &CategoryReport) {
    let failed: Vec<_> = category
        .predictions
        .iter()
        .filter_map(|line| match line {
            PredictionLine::Error(e) => Some(e),
            PredictionLine::Prediction(_) => None,
        })
        .collect();
    if failed.is_empty() {
        return;
    }
    let _ = write!(
        html,
        "<details open class=\"failures\"><summary>Could not be judged: {}</summary><ul>",
        failed.len()
    );
    for error in failed {
        let _ = write!(html, "<li><code>{}</code> {}</li>", escape(error.path.text()), escape(&error.error));
    }
    html.push_str("</ul></details>\n");
}
