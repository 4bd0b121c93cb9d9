//! `report.html`: one self-contained page about a run, for people who were not there.
//!
//! In: what the run was (date, machine, settings as text), the [`ResultTable`], and for each category its metrics and
//! predictions; pictures are asked for one at a time, only for the photographs that the page shows. Out: one HTML
//! string with inline style and SVG and with pictures as `data:` URIs. The page has no script and loads nothing (a
//! content security policy inside it forbids both), so it works from a USB stick and in a mail.
//!
//! Parts: `page.rs` puts the page together, `html.rs` escapes text and embeds pictures, `histogram.rs` draws scores
//! as SVG, `gallery.rs` chooses and shows photographs, `style.css` is the look in light, dark and print.

mod gallery;
mod histogram;
mod html;
mod page;

use super::OutputError;
use super::prediction::{PredictionLine, PredictionRecord};
use super::table::ResultTable;
use image::RgbImage;

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
    /// Its predictions, in any order.
    pub predictions: Vec<PredictionLine>,
    /// A sentence above the card's content: a failure, the seed shown, …
    pub note: Option<String>,
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

/// The pictures of one prediction, at any size; the page shrinks them.
#[derive(Debug, Clone, PartialEq)]
pub struct Pictures {
    /// The photograph.
    pub photograph: RgbImage,
    /// The heat-map overlay.
    pub overlay: Option<RgbImage>,
}

/// How much the page embeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportOptions {
    /// At most so many photographs a category: wrong verdicts first, then the highest and the lowest scores.
    pub photographs_per_category: usize,
    /// Longer side of a thumbnail, pixels.
    pub thumbnail_side: u32,
    /// JPEG quality of thumbnails, 1 to 100.
    pub jpeg_quality: u8,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self { photographs_per_category: 40, thumbnail_side: 256, jpeg_quality: 82 }
    }
}

/// Render the page.
///
/// `pictures` is called once for every photograph shown; `None` (the file is gone, say) leaves a placeholder.
pub fn render(
    report: &Report,
    options: &ReportOptions,
    pictures: &mut dyn FnMut(&CategoryReport, &PredictionRecord) -> Option<Pictures>,
) -> Result<String, OutputError> {
    page::page(report, options, pictures)
}

#[cfg(test)]
mod tests;
