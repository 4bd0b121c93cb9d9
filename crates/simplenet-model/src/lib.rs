//! SimpleNet in candle: frozen backbones, patch aggregation, adaptor, discriminator, anomaly map, model file.
//!
//! In: image batches as (B, 3, H, W) f32 tensors, normalised with ImageNet's mean and standard deviation.
//! Out: patch scores and anomaly maps, higher = more anomalous; and one model file that carries all of it.

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
pub mod initializer;
pub mod official;
pub mod onnx;
#[allow(unsafe_code)]
mod ops;
pub mod patch_aggregator;
pub mod position_energy;
pub mod predictor;
pub mod pth;
pub mod simplenet;
mod tensor_check;
pub mod weights;

pub use backbone::{Backbone, BackboneId, Levels};
pub use device::{DeviceChoice, Opened};
pub use error::ModelError;
pub use predictor::{
    ActivationRanges, BatchExtractor, BatchOutput, BatchPrecision, BatchPredictor, CompiledExtractor,
    Normalisation, Precision, Predictor, PredictorOptions,
};
pub use weights::{BackboneWeights, WeightsSource};

/// The README's example, compiled by the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
