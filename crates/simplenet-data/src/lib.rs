//! Images for SimpleNet: data sets on disk, decoding, preprocessing, augmentation, a synthetic demo.
//!
//! In: paths or bytes. Out: network inputs (f32, channels first) and masks, with the [`Placement`] that maps
//! results back to the original image's pixels. The crate knows neither the model nor the metrics.
//!
//! The way of an image: [`decode`] -> [`augment`] (training only, off by default) -> [`preprocess`];
//! [`loader`] runs it on all cores and keeps the order.

pub mod error;
pub mod rng;
pub mod synthetic;

pub use error::DataError;
