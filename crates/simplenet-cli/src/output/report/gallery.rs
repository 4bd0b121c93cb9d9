//! The photographs of a category: which are embedded, and how a card shows one.
//!
//! In: the category's predictions. Out: the chosen ones, highest score first, as HTML figures with photograph and
//! overlay; a filter made of radio buttons and CSS (no script); and sentences that say what is not shown.

use super::html::{data_uri, escape, score};
use super::{CategoryReport, Pictures, ReportOptions};
use crate::output::OutputError;
use crate::output::prediction::{Mistake, PredictionLine, PredictionRecord, Verdict};
use std::fmt::Write;

/// The indices of at most `cap` records, highest score first: all wrong verdicts (the furthest from the threshold
/// when even they are too many), then the highest and the lowest scores in turn.
pub(super) fn choose(records: &[&PredictionRecord], cap: usize) -> Vec<usize> {
    let mut by_score: Vec<usize> = (0..records.len()).collect();
    by_score.sort_by(|a, b| records[*b].score.total_cmp(&records[*a].score).then(a.cmp(b)));
    let (mut chosen, others): (Vec<usize>, Vec<usize>) =
        by_score.into_iter().partition(|i| records[*i].mistake().is_some());
    let distance = |i: &usize| (records[*i].score - records[*i].threshold.unwrap_or(0.0)).abs();
    chosen.sort_by(|a, b| distance(b).total_cmp(&distance(a)).then(a.cmp(b)));
    chosen.truncate(cap);
    let room = cap - chosen.len();
    if others.len() <= room {
        chosen.extend(others);
    } else {
        let (high, low) = (room.div_ceil(2), room / 2);
        chosen.extend(&others[..high]);
        chosen.extend(&others[others.len() - low..]);
    }
    chosen.sort_by(|a, b| records[*b].score.total_cmp(&records[*a].score).then(a.cmp(b)));
    chosen
}

/// The gallery of one category; empty text when there is nothing to show. `id` makes the filter's names unique.
pub(super) fn gallery(
    category: &CategoryReport,
    id: &str,
    options: &ReportOptions,
    pictures: &mut dyn FnMut(&CategoryReport, &PredictionRecord) -> Option<Pictures>,
) -> Result<String, OutputError> {
    let records: Vec<&PredictionRecord> = category
        .predictions
        .iter()
        .filter_map(|line| match line {
            PredictionLine::Prediction(record) => Some(record),
            PredictionLine::Error(_) => None,
        })
        .collect();
    if records.is_empty() {
        return Ok(String::new());
    }
    let chosen = choose(&records, options.photographs_per_category);
    let mut html = String::from("<div class=\"gallery\">");
    filter(&mut html, &records, id);
    let _ = write!(html, "<p class=\"shown\">{}</p><div class=\"cards\">", escape(&shown(&records, &chosen)));
    for index in chosen {
        let record = records[index];
        card(&mut html, record, pictures(category, record).as_ref(), options)?;
    }
    html.push_str("</div></div>");
    Ok(html)
}

/// Radio buttons stand before the cards, so that sibling selectors in the style can hide what is not asked for.
fn filter(html: &mut String, records: &[&PredictionRecord], id: &str) {
    if records.iter().all(|r| r.label.is_none() && r.verdict.is_none()) {
        return;
    }
    let wrong = records.iter().filter(|r| r.mistake().is_some()).count();
    let labelled = records.iter().any(|r| r.label.is_some());
    let mut entries = vec![("all", String::from("all"))];
    if labelled {
        entries.push(("wrong", format!("wrong ({wrong})")));
        entries.extend([("is-good", "good parts".into()), ("is-bad", "defective parts".into())]);
    } else {
        entries.extend([("says-good", "judged normal".into()), ("says-bad", "judged anomalous".into())]);
    }
    for (index, (class, text)) in entries.iter().enumerate() {
        let checked = if index == 0 { " checked" } else { "" };
        let _ = write!(
            html,
            "<input type=\"radio\" class=\"f-{class}\" name=\"{id}-filter\" id=\"{id}-{class}\"{checked}>\
             <label for=\"{id}-{class}\">{text}</label>"
        );
    }
}

/// What the gallery holds, in one sentence.
fn shown(records: &[&PredictionRecord], chosen: &[usize]) -> String {
    if chosen.len() == records.len() {
        return format!("All {} images, highest score first.", records.len());
    }
    let wrong = records.iter().filter(|r| r.mistake().is_some()).count();
    let wrong_shown = chosen.iter().filter(|i| records[**i].mistake().is_some()).count();
    let first = match wrong {
        0 => String::new(),
        n if n == wrong_shown => format!("all {n} wrong verdicts, then "),
        n => format!("{wrong_shown} of {n} wrong verdicts"),
    };
    let rest = if wrong_shown < wrong { "" } else { "the highest and the lowest scores" };
    format!(
        "{} of {} images to keep this file small: {first}{rest}. Highest score first; predictions.jsonl has them all.",
        chosen.len(),
        records.len()
    )
}

fn card(
    html: &mut String,
    record: &PredictionRecord,
    pictures: Option<&Pictures>,
    options: &ReportOptions,
) -> Result<(), OutputError> {
    let name = escape(record.path.file_name());
    let mistake = record.mistake();
    let _ = write!(html, "<figure class=\"{}\"><div class=\"pair\">", classes(record));
    match pictures {
        Some(pictures) => {
            let mut embed = |picture: &image::RgbImage, what: &str| -> Result<(), OutputError> {
                let uri = data_uri(picture, options.thumbnail_side, options.jpeg_quality)?;
                let _ = write!(html, "<img src=\"{uri}\" alt=\"{what} of {name}\" decoding=\"async\">");
                Ok(())
            };
            embed(&pictures.photograph, "Photograph")?;
            if let Some(overlay) = &pictures.overlay {
                embed(overlay, "Heat map")?;
            }
        }
        None => html.push_str("<span class=\"absent\">picture not available</span>"),
    }
    let _ = write!(
        html,
        "</div><figcaption><span class=\"name\" title=\"{}\">{name}</span><span class=\"score\">{}</span>",
        escape(record.path.text()),
        score(record.score)
    );
    html.push_str("<span class=\"tags\">");
    if let Some(verdict) = record.verdict {
        let class = if verdict == Verdict::Normal { "good" } else { "bad" };
        let name = record.decision.map_or(verdict.name(), |decision| decision.name());
        let _ = write!(html, "<span class=\"chip {class}\">{name}</span>");
    }
    if let Some(mistake) = mistake {
        let text = match mistake {
            Mistake::FalseAccept => "false accept",
            Mistake::FalseReject => "false reject",
        };
        let _ = write!(html, "<span class=\"chip wrong\">{text}</span>");
    }
    if let Some(defect) = record.defect.as_deref().or(record.label.map(Verdict::name)) {
        let _ = write!(html, "<span class=\"truth\">truth: {}</span>", escape(defect));
    }
    html.push_str("</span></figcaption></figure>");
    Ok(())
}

fn classes(record: &PredictionRecord) -> String {
    let of = |verdict: Option<Verdict>, prefix: &str| match verdict {
        Some(Verdict::Normal) => format!(" {prefix}-good"),
        Some(Verdict::Anomalous) => format!(" {prefix}-bad"),
        None => String::new(),
    };
    let wrong = if record.mistake().is_some() { " wrong" } else { "" };
    format!("card{}{}{wrong}", of(record.label, "is"), of(record.verdict, "says"))
}
