#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

pub mod anomaly_map;
pub mod backbone;
mod bilinear;
pub mod checkpoint;
pub mod compute;
pub mod device;
pub mod discriminator;
pub mod error;
pub mod feature_adaptor;
pub mod feature_norm;
mod file;
mod graph;
pub mod initializer;
#[allow(unsafe_code)]
mod kernels;
mod lower;
pub mod official;
pub mod onnx;
mod passes;
pub mod patch_aggregator;
pub mod position_energy;
mod precision;
mod predictor;
pub mod pth;
pub mod simplenet;
mod tensor_check;

pub use backbone::weights::{self, BackboneWeights, WeightsSource};
pub use backbone::{Backbone, BackboneId, Levels};
pub use device::{DeviceChoice, Opened};
pub use error::ModelError;
pub use kernels::{pack_image::Normalisation, time_slice::prefer_short_time_slices};
pub use precision::{ActivationRanges, Precision};
pub use predictor::{
    BatchExtractor, BatchOutput, BatchPrecision, BatchPredictor, CompiledExtractor, Predictor,
    PredictorOptions,
};
