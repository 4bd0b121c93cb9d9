//! What can stop a command, as a sentence for the person at the terminal.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::json;
use simplenet_data::DataError;
use simplenet_inference::InferenceError;
use simplenet_model::ModelError;
use simplenet_train::error::TrainError;

use crate::{
    output::{OutputError, is_disk_full},
    tell::{self, Level},
};

/// The exit code of a run that a signal stopped: 128 and SIGINT's number, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// Errors of the commands.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// Reading images.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network, its weights or a model file.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Training or evaluation.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Writing results.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A file or folder that could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A person or the system has stopped a run that does not go on.
    #[error("{0}")]
    Stopped(String),
    /// A person or the system has stopped the run.
    #[error("stopped after {done} of {total} photographs; {kept}")]
    Interrupted {
        /// Photographs that have their result.
        done: usize,
        /// Photographs that there are.
        total: usize,
        /// What is kept, and how to go on.
        kept: String,
    },
    /// A call that cannot be carried out as typed; says what would.
    #[error("{0}")]
    Usage(String),
}

/// What inference only passes on stays what it is.
impl From<InferenceError> for CliError {
    fn from(error: InferenceError) -> Self {
        match TrainError::from(error) {
            TrainError::Data(error) => Self::Data(error),
            TrainError::Model(error) => Self::Model(error),
            other => Self::Train(other),
        }
    }
}

impl CliError {
    /// Says it on standard error; gives the exit code.
    pub fn tell(&self) -> ExitCode {
        let (level, event, exit_code) = match self {
            // What the person asked for is no error.
            Self::Stopped(_) | Self::Interrupted { .. } | Self::Train(TrainError::Interrupted { .. }) => {
                (Level::Warn, "interrupted", INTERRUPTED)
            }
            _ => (Level::Error, "error", 1),
        };
        let fields = match self {
            Self::Interrupted { done, total, .. } => {
                json!({ "exit_code": exit_code, "done": done, "total": total })
            }
            _ => json!({ "exit_code": exit_code }),
        };
        tell::line(level, event, &self.to_string(), &fields);
        ExitCode::from(exit_code)
    }

    /// Whether the disk, or what the user may use of it, is full.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Output(error) => error.is_disk_full(),
            Self::Io { source, .. } => is_disk_full(source),
            _ => false,
        }
    }

    /// Makes an `Io` error of a system error: `map_err(CliError::io("read", path))`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}
