//! Figures for papers, as SVG and PNG: ROC, per-region overlap, histogram of scores, speed against AUROC.
//!
//! In: what the report shows of a category ([`CategoryReport`]); for the speeds a run's mean ([`OwnSpeed`]) and the published ones.
//! Out: a [`Picture`], or `None` where there is nothing to draw: a curve that is undefined has no figure. A figure is a column
//! wide (8.5 cm), on white, and the same input gives the same bytes.
//!
//! Parts: each figure (`rates.rs`, `histogram.rs`, `speed.rs`) puts shapes on a `canvas.rs`, most of them inside `axes.rs`, with the
//! look of `style.rs`; `render.rs` draws them. `mvtec_ad.rs` tells MVTec AD from other data.

mod axes;
mod canvas;
mod histogram;
mod mvtec_ad;
mod rates;
mod render;
mod speed;
mod style;

use super::OutputError;
use super::published_speed::PublishedSpeed;
use super::report::CategoryReport;
use canvas::{Anchor, Canvas};
pub use histogram::FEWEST_UNLABELLED;
pub use mvtec_ad::{TestSet, TestedOn};
pub use speed::OwnSpeed;

/// A figure, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The SVG file.
    pub svg: String,
    /// The PNG file.
    pub png: Vec<u8>,
}

/// A figure about a category.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plot {
    /// ROC of the image scores.
    Roc,
    /// Per-region overlap over the pixels' false-positive rate, up to the limit of AUPRO.
    Pro,
    /// Histogram of the image scores.
    Histogram,
}

impl Plot {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Roc, Self::Pro, Self::Histogram];

    /// Its files' name, without `.svg` and `.png`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Roc => "roc",
            Self::Pro => "pro",
            Self::Histogram => "histogram",
        }
    }

    /// Draws it; `None` where it is undefined: no curve, no score, or fewer than [`FEWEST_UNLABELLED`] scores without labels.
    ///
    /// # Errors
    /// A picture that cannot be encoded.
    pub fn draw(self, category: &CategoryReport) -> Result<Option<Picture>, OutputError> {
        let canvas = match self {
            Self::Roc => rates::roc(category)?,
            Self::Pro => rates::pro(category)?,
            Self::Histogram => histogram::histogram(category)?,
        };
        canvas.as_ref().map(render::render).transpose()
    }
}

/// The name of the files of [`speed_against_auroc`].
pub const SPEED_AUROC: &str = "speed_auroc";

/// Inspection speed against image AUROC: a run beside published methods, each with its hardware.
///
/// # Errors
/// A picture that cannot be encoded.
pub fn speed_against_auroc(own: &OwnSpeed, published: &[PublishedSpeed]) -> Result<Picture, OutputError> {
    render::render(&speed::speed(own, published)?)
}

/// The name above a frame, cut where it would be too long.
fn title(canvas: &mut Canvas, name: &str, left: f64, right: f64) -> Result<(), OutputError> {
    let lines = style::wrap(&style::plain(name), style::LARGE, right - left, 1)?;
    if let Some(line) = lines.into_iter().next() {
        canvas.text((left, 8.0), style::LARGE, Anchor::Start, line);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
