//! The page itself: header, table of results, one card a category, then what the script reads.

use super::budget::{Plan, Size, plan};
use super::html::escape;
use super::{CategoryReport, Fact, PictureSource, Report, ReportOptions, counts, data};
use crate::output::OutputError;
use crate::output::chart::{
    curve::{self, Kind},
    histogram,
};
use crate::output::prediction::PredictionLine;
use crate::output::table::{Cell, Grid};
use base64::Engine;
use sha2::{Digest, Sha256};
use std::fmt::Write;

const STYLE: &str = include_str!("style.css");
/// One script: its parts see each other's names, and one hash allows it.
const SCRIPT: &str = concat!(
    include_str!("script/elements.js"),
    include_str!("script/theme.js"),
    include_str!("script/layers.js"),
    include_str!("script/category.js"),
    include_str!("script/gallery.js"),
    include_str!("script/viewer.js"),
    include_str!("script/start.js"),
);

pub(super) fn page(
    report: &Report,
    options: &ReportOptions,
    pictures: &mut dyn PictureSource,
    sink: &mut dyn FnMut(&str) -> Result<(), OutputError>,
) -> Result<(), OutputError> {
    let plan = plan(report, options.picture_bytes, pictures)?;
    let mut html = head(&escape(&report.title));
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
        card(&mut html, category, &anchor(index), &left_out(&plan, index));
    }
    html.push_str("</main>\n<script type=\"application/json\" id=\"data\">");
    sink(&html)?;
    sink(&data::json(report, &plan)?)?;
    sink("</script>\n")?;
    embed(&plan, pictures, sink)?;
    sink("</body>\n</html>\n")
}

/// Up to the page's heading. Nothing may be loaded, and nothing run but this page's own script.
fn head(title: &str) -> String {
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(SCRIPT));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'sha256-{hash}'; img-src data:\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n<script>{SCRIPT}</script>\n</head>\n\
         <body>\n<header>\n<h1>{title}</h1>\n"
    )
}

/// The pictures, each prediction's in an element of its own that nothing shows: the script makes images of those that
/// are looked at. They come last, so that the page can be read before they are there.
fn embed(
    plan: &Plan,
    pictures: &mut dyn PictureSource,
    sink: &mut dyn FnMut(&str) -> Result<(), OutputError>,
) -> Result<(), OutputError> {
    for (category, sizes) in plan.sizes.iter().enumerate() {
        for (line, size) in sizes.iter().enumerate() {
            if *size == Size::Absent {
                continue;
            }
            let Some(mut layers) = pictures.read(category, line)? else { continue };
            if let (Size::Small, Some(small)) = (size, plan.small) {
                layers = layers.smaller(small)?;
            }
            sink(&format!(
                "<script type=\"text/plain\" id=\"p{category}-{line}\">{}\n{}\n{}</script>\n",
                layers.photograph,
                layers.heat.unwrap_or_default(),
                layers.truth.unwrap_or_default()
            ))?;
        }
    }
    Ok(())
}

/// What the page does not show as it was kept, in one sentence; empty when it shows all.
fn left_out(plan: &Plan, category: usize) -> String {
    let count = |size: Size| plan.sizes[category].iter().filter(|s| **s == size).count();
    let (small, absent) = (count(Size::Small), count(Size::Absent));
    let Some(sizes) = plan.small.filter(|_| small + absent > 0) else { return String::new() };
    let mut text = format!(
        "To keep this file small, {small} of {} photographs are embedded with {} pixels on the longer side",
        plan.sizes[category].len(),
        sizes.photograph
    );
    if absent > 0 {
        let _ = write!(text, " and {absent} not at all");
    }
    text.push_str(": those that tell least. predictions.jsonl and heatmaps/ have them all.");
    text
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

fn card(html: &mut String, category: &CategoryReport, id: &str, left_out: &str) {
    let _ =
        write!(html, "<section class=\"panel category\" id=\"{id}\">\n<h2>{}</h2>\n", escape(&category.name));
    if let Some(note) = &category.note {
        let _ = writeln!(html, "<p class=\"note\">{}</p>", escape(note));
    }
    let chart = histogram::page(category);
    if chart.is_empty() {
        facts(html, &category.metrics, "tiles");
    } else {
        let _ = write!(
            html,
            "<div class=\"overview\">\n<div class=\"chart\">{chart}</div>\n<div class=\"counts\">"
        );
        html.push_str(&counts::counts(category));
        html.push_str("</div>\n</div>\n<div class=\"measures\">");
        for (kind, curve) in [(Kind::Roc, &category.roc), (Kind::Pro, &category.pro)] {
            html.push_str(&curve.as_ref().map(|curve| curve::page(kind, curve)).unwrap_or_default());
        }
        facts(html, &category.metrics, "tiles");
        html.push_str("</div>\n");
        let _ = write!(
            html,
            "<div class=\"gallery\"><noscript><p class=\"shown\">The photographs are shown by a script, which does not \
             run here.</p></noscript>"
        );
        if !left_out.is_empty() {
            let _ = write!(html, "<p class=\"shown\">{}</p>", escape(left_out));
        }
        html.push_str("</div>\n");
    }
    failures(html, category);
    html.push_str("</section>\n");
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
