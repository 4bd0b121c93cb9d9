#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod baselines;
pub mod calibration;
pub mod config;
pub mod error;
pub mod evaluation;
pub mod features;
pub mod fit;
pub mod head;
pub mod import;
pub mod noise;
pub mod reporter;
pub mod statistics;

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
