//! What the verdicts come to: counts by truth and verdict, and the rates that people ask for.
//!
//! In: scores with labels and the threshold. Out: a table and facts in HTML. The script fills the same cells again when the
//! threshold is moved; their names (`data-n`, `data-rate`) are what the two have in common.

use super::CategoryReport;
use super::interest::records;
use crate::output::prediction::Verdict;
use std::fmt::Write;

/// Rows of the table: what a part is.
const TRUTHS: [(&str, &str, Option<Verdict>); 3] = [
    ("good", "good parts", Some(Verdict::Normal)),
    ("bad", "defective parts", Some(Verdict::Anomalous)),
    ("none", "photographs", None),
];

/// Counts `[pass, review, reject]` for each row of [`TRUTHS`].
type Counts = [[usize; 3]; 3];

/// Counts at the model's threshold; `None` without one.
fn count(category: &CategoryReport) -> Option<Counts> {
    let threshold = category.threshold?;
    let mut counts = Counts::default();
    for (_, record) in records(&category.predictions) {
        let row = TRUTHS.iter().position(|t| t.2 == record.label).unwrap_or(2);
        let column = match category.review_threshold {
            _ if record.score >= threshold => 2,
            Some(review) if record.score >= review => 1,
            _ => 0,
        };
        counts[row][column] += 1;
    }
    Some(counts)
}

/// The sentence, the table and the rates; what there is without a threshold is said.
pub(super) fn counts(category: &CategoryReport) -> String {
    let Some(counts) = count(category) else {
        return String::from(
            "<p class=\"verdicts\" data-role=\"sentence\">The model has no threshold: scores only.</p>",
        );
    };
    let mut html = format!("<p class=\"verdicts\" data-role=\"sentence\">{}</p>", sentence(&counts));
    table(&mut html, category, &counts);
    if counts[2].iter().sum::<usize>() == 0 {
        rates(&mut html, &counts);
    }
    html
}

fn sentence(counts: &Counts) -> String {
    let [good, bad, none] = counts.map(|row| row.iter().sum::<usize>());
    if good + bad == 0 {
        return format!("<b>{}</b> of {none} parts rejected.", counts[2][2]);
    }
    let missed = bad - counts[1][2];
    let tail = if missed > 0 { format!(", <b class=\"wrong\">{missed} missed</b>") } else { String::new() };
    format!(
        "<b>{}</b> of {bad} defective parts found{tail}; <b>{}</b> of {good} good parts rejected.",
        counts[1][2], counts[0][2]
    )
}

fn table(html: &mut String, category: &CategoryReport, counts: &Counts) {
    let banded = category.review_threshold.is_some();
    let columns: &[(usize, &str)] = if banded {
        &[(0, "pass"), (1, "review"), (2, "reject")]
    } else {
        &[(0, "judged normal"), (2, "judged anomalous")]
    };
    html.push_str("<table class=\"matrix\"><caption>Verdicts at the threshold</caption><thead><tr><td></td>");
    for (_, name) in columns {
        let _ = write!(html, "<th scope=\"col\">{name}</th>");
    }
    html.push_str("</tr></thead><tbody>");
    for ((key, name, label), row) in TRUTHS.iter().zip(counts) {
        if row.iter().sum::<usize>() == 0 {
            continue;
        }
        let _ = write!(html, "<tr><th scope=\"row\">{name}</th>");
        for (column, _) in columns {
            let class = match (label, column) {
                (Some(Verdict::Normal), 0) | (Some(Verdict::Anomalous), 2) => "right",
                (Some(Verdict::Normal), 2) | (Some(Verdict::Anomalous), 0) => "wrong",
                _ => "plain",
            };
            let _ = write!(html, "<td class=\"{class}\" data-n=\"{key}-{column}\">{}</td>", row[*column]);
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table>");
}

fn rates(html: &mut String, counts: &Counts) {
    let [good, bad, _] = counts.map(|row| row.iter().sum::<usize>());
    let (found, rejected) = (counts[1][2], counts[0][2]);
    let share = |part: usize, of: usize| match of {
        0 => String::from("n/a"),
        _ => format!("{:.1} %", 100.0 * part as f64 / of as f64),
    };
    html.push_str("<dl class=\"rates\">");
    for (key, name, value) in [
        ("recall", "found (recall)", share(found, bad)),
        ("missed", "missed", share(bad - found, bad)),
        ("rejected", "good parts rejected", share(rejected, good)),
        ("precision", "precision", share(found, found + rejected)),
    ] {
        let _ = write!(html, "<div><dt>{name}</dt><dd data-rate=\"{key}\">{value}</dd></div>");
    }
    html.push_str("</dl>");
}
