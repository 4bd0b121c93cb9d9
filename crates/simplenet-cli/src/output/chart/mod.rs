//! Charts, drawn once for the report's page and for papers: curves over a false-positive rate, the histogram of scores.
//!
//! In: what the report shows of a category. Out: a [`Canvas`](canvas::Canvas) of shapes, which `svg.rs` writes as SVG and `png.rs` draws.
//! A [`Look`](style::Look) says whose it is: a figure in points of paper with colours of its own, or a part of the page, whose
//! style sheet has the colours, so that it follows light and dark.

pub(super) mod axes;
pub(super) mod bins;
pub(super) mod canvas;
pub(super) mod curve;
pub(super) mod histogram;
pub(super) mod png;
pub(super) mod style;
pub(super) mod svg;
