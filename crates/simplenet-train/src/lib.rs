#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod activation_ranges;
pub mod baselines;
pub mod calibrate;
mod cholesky;
pub mod config;
pub mod config_text;
pub mod curves;
pub mod error;
pub mod evaluate;
pub mod false_reject;
pub mod feature_cache;
mod feature_engine;
mod feature_key;
mod feature_rows;
mod feature_store;
pub mod features;
pub mod fit;
pub mod head_step;
mod image_profile;
pub mod import;
pub mod loss;
pub mod noise;
pub mod optimizer;
pub mod position_statistics;
pub mod reporter;
pub mod resume;
mod sample_range;
mod saturated_overlap;
mod scoring;
mod steps;
pub mod tensor_head_step;
pub mod test_thresholds;
pub mod trainer;
mod training_set;
pub mod training_state;

pub use config::{Preset, TrainConfig};
pub use error::TrainError;
pub use features::FeatureStorage;
pub use fit::FitOptions;
pub use reporter::{Reporter, Silent};

/// Name and version of this program, as model files and reports name what made them; with the source's revision where the
/// build was told it (the environment variable `SIMPLENET_REVISION` at compile time).
pub fn program() -> String {
    let version = env!("CARGO_PKG_VERSION");
    match option_env!("SIMPLENET_REVISION").filter(|revision| !revision.is_empty()) {
        Some(revision) => format!("simplenet {version} ({revision})"),
        None => format!("simplenet {version}"),
    }
}
