//! What can go wrong between a folder of photographs and a trained, evaluated detector.

use std::path::{Path, PathBuf};

use simplenet_data::DataError;
use simplenet_inference::InferenceError;
use simplenet_metrics::MetricError;
use simplenet_model::ModelError;

/// Errors of training, calibration and evaluation. Each says what, where and what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Reading or preparing images.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network, its weights or a model file.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A detector that cannot be opened, or an image that cannot be inspected.
    #[error(transparent)]
    Inference(InferenceError),
    /// A metric that is undefined for the given scores.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// A tensor operation failed.
    #[error("tensor operation failed: {}", simplenet_model::error::sentence(.0))]
    Tensor(#[source] candle_core::Error),
    /// A setting that cannot work.
    #[error("setting `{name}` = {value}: {problem}")]
    Setting {
        /// The setting's name as in the TOML file.
        name: &'static str,
        /// Its value.
        value: String,
        /// Why it cannot work and what would.
        problem: String,
    },
    /// Too few images for what was asked.
    #[error("{what} needs at least {needed} good image(s), {found} found; {hint}")]
    TooFewImages {
        /// What needs them.
        what: &'static str,
        /// The least number.
        needed: usize,
        /// How many there are.
        found: usize,
        /// What to do next.
        hint: String,
    },
    /// The loss became NaN or infinite.
    #[error(
        "training diverged: the loss is {loss} at epoch {epoch}; lower the learning rates or check that the images are not all one colour"
    )]
    Diverged {
        /// The epoch, from 1.
        epoch: usize,
        /// The loss.
        loss: f64,
    },
    /// A photograph that does not fit the settings.
    #[error("{}: {problem}", path.display())]
    Photograph {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// Several images that cannot be used where none may be left out.
    #[error(
        "{} of {found} photographs cannot be used, and a threshold from the others would promise more than it keeps; remove \
         or replace them: {}",
        reasons.len(),
        some_of(reasons)
    )]
    UnusableImages {
        /// How many images there were.
        found: usize,
        /// What is wrong with each that cannot be used; names it.
        reasons: Vec<String>,
    },
    /// Several images that cannot be read where none may be left out.
    #[error(
        "{} of {found} images cannot be read; remove or replace them: {}", reasons.len(), reasons.join("; ")
    )]
    UnreadableImages {
        /// How many images there were.
        found: usize,
        /// What is wrong with each that cannot be read; names it.
        reasons: Vec<String>,
    },
    /// The file of the features beyond the memory limit.
    #[error(
        "features beyond the memory limit go to a file in {}, which failed: {source}; free some space there, take another \
         folder for the feature cache, or raise the memory limit",
        folder.display()
    )]
    FeatureFile {
        /// The folder of the file, which has no name.
        folder: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A caller's function asked to stop; the caller knows why.
    #[error("stopped by the caller")]
    Stopped,
    /// The reporter asked to stop, at Ctrl-C for instance.
    #[error("{}", stopped(kept.as_ref()))]
    Interrupted {
        /// Where the training goes on; none where it had not begun, or was over.
        kept: Option<Kept>,
    },
    /// The state of a training that cannot be kept.
    #[error("{}: the state of the training cannot be kept ({source})", path.display())]
    State {
        /// Its file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A configuration that cannot be read.
    #[error("{}: {problem}", path.display())]
    Config {
        /// The file, or where the text came from.
        path: PathBuf,
        /// The parser's words.
        problem: String,
    },
}

/// A training that was interrupted, and where it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The state's file.
    pub path: PathBuf,
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub total: usize,
}

/// What a GPU refuses is the model crate's error, with the next step.
impl From<candle_core::Error> for TrainError {
    fn from(error: candle_core::Error) -> Self {
        match ModelError::from(error) {
            ModelError::Candle(error) => Self::Tensor(error),
            refused => Self::Model(refused),
        }
    }
}

/// What inference only passes on stays what it is.
impl From<InferenceError> for TrainError {
    fn from(error: InferenceError) -> Self {
        match error {
            InferenceError::Data(error) => Self::Data(error),
            InferenceError::Model(error) => Self::Model(error),
            InferenceError::Metric(error) => Self::Metric(error),
            other => Self::Inference(other),
        }
    }
}

impl TrainError {
    pub(crate) fn setting(name: &'static str, value: impl ToString, problem: impl Into<String>) -> Self {
        Self::Setting { name, value: value.to_string(), problem: problem.into() }
    }

    pub(crate) fn config(path: &Path, problem: impl ToString) -> Self {
        Self::Config { path: path.to_path_buf(), problem: problem.to_string() }
    }
}

fn stopped(kept: Option<&Kept>) -> String {
    match kept {
        Some(Kept { path, step, total }) => format!(
            "stopped after step {step} of {total}, which {} keeps: the same command goes on from there",
            path.display()
        ),
        None => "stopped; what was complete is kept, and the same command goes on after it".into(),
    }
}

/// The longest list of reasons in a message.
const MOST_REASONS: usize = 20;

fn some_of(reasons: &[String]) -> String {
    let shown = reasons[..reasons.len().min(MOST_REASONS)].join("; ");
    match reasons.len().saturating_sub(MOST_REASONS) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}
