//! `report.html`: one self-contained page about a run, for people who were not there.
//!
//! In: what the run was (date, machine, settings as text), the [`ResultTable`], and for each category its metrics,
//! curves and predictions; pictures are asked for one at a time. Out: HTML in pieces, with inline style, SVG and one
//! script, and with pictures as text for `data:` URIs. The page loads nothing (a content security policy inside it
//! forbids it, and any script but its own), so it works from a USB stick and in a mail. Without script there are the
//! table, histograms, curves and counts; with it a threshold that can be moved, and the photographs.
//!
//! Parts: `page.rs` puts the page together, `html.rs` escapes text, `output/chart/` draws SVG,
//! `counts.rs` counts verdicts, `data.rs` is what the script reads, `interest.rs` says which photographs matter most,
//! `budget.rs` how large each may be, `style.css` is the look in light, dark and print, `script/` what moves.

mod budget;
mod counts;
mod data;
pub(super) mod html;
mod interest;
mod page;

use super::OutputError;
use super::layers::Layers;
use super::prediction::{PredictionLine, PredictionRecord};
use super::table::ResultTable;

/// Everything the page says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Heading of the page.
    pub title: String,
    /// About the run: date, machine, command, … in this order.
    pub facts: Vec<Fact>,
    /// Settings, shown folded.
    pub settings: Vec<Fact>,
    /// The table of results; empty for a run without evaluation.
    pub table: ResultTable,
    /// One card each.
    pub categories: Vec<CategoryReport>,
}

/// One category (or one folder of inspected photographs).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CategoryReport {
    /// Its name.
    pub name: String,
    /// Metrics and times, formatted by the caller; a missing metric is `n/a` with its reason as the detail.
    pub metrics: Vec<Fact>,
    /// The model's threshold on image scores.
    pub threshold: Option<f32>,
    /// Where its band for review begins, if it has one.
    pub review_threshold: Option<f32>,
    /// Its predictions, in the order of predictions.jsonl.
    pub predictions: Vec<PredictionLine>,
    /// A sentence above the card's content: a failure, the seed shown, …
    pub note: Option<String>,
    /// The ROC curve of image scores.
    pub roc: Option<Curve>,
    /// The curve of per-region overlap.
    pub pro: Option<Curve>,
}

impl CategoryReport {
    /// The predictions that are not errors, with the numbers of their lines.
    pub(super) fn records(&self) -> impl Iterator<Item = (usize, &PredictionRecord)> {
        interest::records(&self.predictions)
    }
}

/// A curve over the false-positive rate.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curve {
    /// Area under it, as its metric defines it.
    pub area: Option<f64>,
    /// Its points, from the highest threshold to the lowest.
    pub points: Vec<CurvePoint>,
    /// The model's own threshold on these scores, marked on the curve.
    pub threshold: Option<f32>,
}

impl Curve {
    /// The point of the model's own threshold: the last one at or above it.
    pub(super) fn at_threshold(&self) -> Option<CurvePoint> {
        let threshold = self.threshold?;
        self.points.iter().rev().find(|p| p.threshold.is_none_or(|t| t >= threshold)).copied()
    }
}

/// A point of a curve.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CurvePoint {
    /// False-positive rate.
    pub x: f64,
    /// True-positive rate, or mean overlap.
    pub y: f64,
    /// The threshold it belongs to; none for (0, 0).
    pub threshold: Option<f32>,
}

/// A name and a value, both plain text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fact {
    /// What it is.
    pub name: String,
    /// Its value.
    pub value: String,
    /// An optional remark in small print.
    pub detail: Option<String>,
}

impl Fact {
    /// A fact without a remark.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), detail: None }
    }

    /// The same with a remark.
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }
}

/// Where the pictures of a report come from.
pub trait PictureSource {
    /// About how many bytes of the page the pictures of a prediction are; 0 where there are none.
    fn page_bytes(&self, category: usize, line: usize) -> usize;

    /// The pictures of a prediction, by the numbers of its category and of its line; `None` leaves a placeholder.
    ///
    /// # Errors
    /// A file of pictures that is damaged.
    fn read(&mut self, category: usize, line: usize) -> Result<Option<Layers>, OutputError>;
}

/// How much the page embeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportOptions {
    /// About so many bytes of pictures in all. What does not fit is embedded smaller, the photographs that matter
    /// least first; the page says so.
    pub picture_bytes: usize,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self { picture_bytes: 48 << 20 }
    }
}

/// Renders the page, handing it piece by piece to `sink`.
///
/// # Errors
/// What `pictures` and `sink` return; a picture that cannot be made smaller.
pub fn render(
    report: &Report,
    options: &ReportOptions,
    pictures: &mut dyn PictureSource,
    sink: &mut dyn FnMut(&str) -> Result<(), OutputError>,
) -> Result<(), OutputError> {
    page::page(report, options, pictures, sink)
}

#[cfg(test)]
mod tests;
