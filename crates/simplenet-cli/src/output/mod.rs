//! Everything a run leaves behind for people and programs: pictures, maps, records, tables, the report.
//!
//! In: plain slices, paths and the small structs defined here. Out: files written whole or not at all (lines of a run: as it goes),
//! or strings ready for a terminal. Nothing here knows a model, a dataset or a metric's definition, so every part
//! can be tested from a few numbers.

pub mod anomaly_map_file;
pub mod atomic;
pub mod bench_report;
pub mod calibration_report;
mod chart;
pub mod colour;
pub mod contour;
mod error;
pub mod event_file;
pub mod heatmap;
pub mod layers;
pub mod layers_file;
pub mod legend;
pub mod outline;
pub mod plots;
pub mod prediction;
pub mod prediction_file;
pub mod published;
pub mod published_speed;
pub mod report;
pub mod run_folder;
mod shrink;
pub mod table;

pub use error::OutputError;
pub(crate) use error::is_disk_full;

/// The record beside a model file: how it came to be.
pub const TRAINING_FILE: &str = "training.json";
