#![doc = include_str!("../README.md")]

pub mod anomaly_map;
pub mod backbone;
mod bilinear;
pub mod checkpoint;
pub mod device;
pub mod discriminator;
pub mod error;
pub mod feature_adaptor;
pub mod feature_norm;
mod file;
pub mod initializer;
pub mod official;
pub mod onnx;
pub mod ops;
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
