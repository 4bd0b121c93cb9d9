#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod detector;
mod error;
mod inspection;
mod network;
mod options;
mod precision;
mod profile;
mod regions;
mod stream;
pub mod views;

pub use detector::Detector;
pub use error::InferenceError;
pub use inspection::{Inspection, Times, timed};
pub use options::{BATCH, DetectorOptions, Roi};
pub use precision::InferencePrecision;
pub use profile::profile_of;
pub use regions::AnomalousRegion;
// What an inspection program meets in signatures, so that it need not depend on these crates too.
pub use image::RgbImage;
pub use simplenet_data::{
    DataError, DecodeOptions, Difference, FileTraits, Placement, Preprocess, RegionOfInterest,
};
pub use simplenet_model::{
    DeviceChoice, ModelError,
    checkpoint::{Decision, ModelRecord, Threshold},
};
pub use stream::{Inspected, Source, SourceImage, inspect_one, inspect_stream};
