//! Images for SimpleNet: data sets on disk, decoding, preprocessing, augmentation, a synthetic demo.
//!
//! In: paths or bytes. Out: network inputs (f32, channels first) and masks, with the [`Placement`] that maps
//! results back to the original image's pixels. The crate knows neither the model nor the metrics.
//!
//! The way of an image: [`decode`] -> resize -> [`augment`] (training only, off by default) -> crop ->
//! normalise ([`preprocess`]); [`loader`] runs it on all cores and keeps the order.

#![forbid(unsafe_code)]

pub mod ahead;
pub mod augment;
pub mod dataset;
pub mod decode;
pub mod error;
pub mod loader;
mod placement;
pub mod preprocess;
pub mod profile;
pub mod region;
mod resize;
pub mod rng;
pub mod synthetic;
pub mod tiles;
pub mod traits;

pub use ahead::{Ahead, Lost};
pub use augment::Augment;
pub use dataset::{Category, GroundTruth, Label, Sample};
pub use decode::{
    BitDepth, DecodeOptions, Decoded, Exif, FileFormat, FloatRange, ImageSource, SixteenBit, decode_bytes,
    decode_file, decode_image, decode_mask,
};
pub use error::DataError;
pub use loader::{KeepPixels, Loader, LoaderOptions, PreparedImage};
pub use preprocess::{
    CropSize, IMAGENET_MEAN, IMAGENET_STD, MaskRule, PixelBox, Placement, Preprocess, Resize,
};
pub use profile::{Difference, DifferenceCounts, ImageProfile, Trait};
pub use region::RegionOfInterest;
pub use tiles::{TileLayout, Tiles};
pub use traits::{FileTraits, ImageTraits};

/// The README's example, compiled by the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
