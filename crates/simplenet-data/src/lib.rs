#![doc = include_str!("../README.md")]
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
