//! What can go wrong between a photograph and its inspection.

use std::path::{Path, PathBuf};

use simplenet_data::DataError;
use simplenet_metrics::MetricError;
use simplenet_model::ModelError;

/// Errors of opening a detector and of inspecting. Each says what, where and what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InferenceError {
    /// Reading or preparing an image.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network, its device or its model file.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Regions of a map that has none.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// An option that cannot work.
    #[error("setting `{name}` = {value}: {problem}")]
    Setting {
        /// The option's name.
        name: &'static str,
        /// Its value.
        value: String,
        /// Why it cannot work and what would.
        problem: String,
    },
    /// A model file without the ranges that int8 needs.
    #[error(
        "int8 needs the ranges of the network's activations, and this model has none: it was made by an older version (train it \
         again), or imported without photographs (`simplenet import --normal DIR`); or use f32 or bf16"
    )]
    NoActivationRanges,
    /// A part of a model file's record that this program cannot read, or a record of another network.
    #[error("{part}: {problem}")]
    Record {
        /// Which part.
        part: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The network gave a score that is not a number.
    #[error(
        "{}the network gave a score of {score}; the model file or its backbone is unusable",
        prefix(path)
    )]
    NonFiniteScore {
        /// The image, where it has a name.
        path: Option<PathBuf>,
        /// The score.
        score: f32,
    },
    /// An image that does not fit the model.
    #[error("{}: {problem}", path.display())]
    Photograph {
        /// The image.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// An image that its source cannot give.
    #[error("{reason}")]
    Source {
        /// The source's own words; they name the image.
        reason: String,
    },
    /// Threads that cannot be started.
    #[error("cannot start {count} threads: {reason}")]
    Threads {
        /// How many.
        count: usize,
        /// The system's reason.
        reason: String,
    },
}

impl InferenceError {
    /// Whether less at once may go through where this has failed.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Model(error) if error.is_out_of_memory())
    }

    pub(crate) fn setting(name: &'static str, value: impl ToString, problem: impl Into<String>) -> Self {
        Self::Setting { name, value: value.to_string(), problem: problem.into() }
    }

    pub(crate) fn record(part: &str, problem: impl ToString) -> Self {
        Self::Record { part: part.into(), problem: problem.to_string() }
    }

    /// The same with the image's name, where it does not say it itself.
    pub fn of_image(self, path: &Path) -> Self {
        match self {
            Self::Data(error @ (DataError::WrongSize { .. } | DataError::InvalidOption { .. })) => {
                Self::Photograph { path: path.to_path_buf(), problem: error.to_string() }
            }
            Self::NonFiniteScore { path: None, score } => {
                Self::NonFiniteScore { path: Some(path.to_path_buf()), score }
            }
            other => other,
        }
    }
}

/// What an error of an image begins with.
fn prefix(path: &Option<PathBuf>) -> String {
    path.as_ref().map_or_else(String::new, |path| format!("{}: ", path.display()))
}
