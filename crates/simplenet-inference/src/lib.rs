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
pub use simplenet_data::RegionOfInterest;
pub use simplenet_model::{DeviceChoice, checkpoint::Decision};
pub use stream::{Inspected, Source, SourceImage, inspect_one, inspect_stream};
