//! Property tests: every metric against its literal definition, and what must not change a result.
//!
//! Random sets from fixed seeds; tolerances are stated in `support.rs`.

#![allow(clippy::unwrap_used, clippy::panic)] // tests: a failed expectation must stop them

mod against_naive;
mod bootstrap_intervals;
mod invariance;
mod naive;
mod operating_points;
mod other_overlaps;
mod regions_found;
mod streaming;
mod support;
mod thinned;
