//! Figures for papers, as SVG and PNG: ROC, per-region overlap, histogram of scores, speed against AUROC.
//!
//! In: what the report shows of a category ([`CategoryReport`]); for the speeds a run's mean ([`OwnSpeed`]) and the published ones.
//! Out: a [`Picture`], or `None` where there is nothing to draw: a curve that is undefined has no figure. A figure is a column
//! wide (8.5 cm), on white, and the same input gives the same bytes.
//!
//! Parts: `output/chart/` draws, `speed.rs` is a figure of this folder alone, `mvtec_ad.rs` tells MVTec AD from other data.

mod mvtec_ad;
mod speed;

use super::OutputError;
pub use super::chart::histogram::FEWEST_UNLABELLED;
use super::chart::{self, canvas::Canvas, curve, curve::Kind, histogram, svg};
use super::published_speed::PublishedSpeed;
use super::report::CategoryReport;
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
            Self::Roc => curve::paper(Kind::Roc, category)?,
            Self::Pro => curve::paper(Kind::Pro, category)?,
            Self::Histogram => histogram::paper(category)?,
        };
        canvas.as_ref().map(picture).transpose()
    }
}

/// The name of the files of [`speed_against_auroc`].
pub const SPEED_AUROC: &str = "speed_auroc";

/// Inspection speed against image AUROC: a run beside published methods, each with its hardware.
///
/// # Errors
/// A picture that cannot be encoded.
pub fn speed_against_auroc(own: &OwnSpeed, published: &[PublishedSpeed]) -> Result<Picture, OutputError> {
    picture(&speed::speed(own, published)?)
}

fn picture(canvas: &Canvas) -> Result<Picture, OutputError> {
    Ok(Picture { svg: svg::file(canvas), png: chart::png::file(canvas)? })
}

#[cfg(test)]
mod tests;
