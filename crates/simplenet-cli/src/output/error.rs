//! The one error type of the output modules: what failed, on which file, and what would have been right.

use std::path::{Path, PathBuf};

/// What can go wrong while something is drawn, encoded, written or read back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The file system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried, as a verb: `write`, `create the folder`, …
        action: &'static str,
        /// The file or folder it was tried on.
        path: PathBuf,
        /// The system's own reason.
        source: std::io::Error,
    },
    /// Another run writes into the same folder.
    #[error("another run is writing {path}; wait for its end, or give another --output")]
    InUse {
        /// The file that it writes.
        path: PathBuf,
    },
    /// A run that cannot go on with what is in its folder.
    #[error(
        "{folder}: --resume cannot go on there: {reason}. Results of two kinds would stand in one file; give the same \
         settings, another --output, or leave --resume out to begin anew"
    )]
    GoOn {
        /// The folder of the results.
        folder: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A path that names no file, such as `/` or `results/..`.
    #[error("{path} does not name a file; give a path that ends in a file name")]
    NotAFileName {
        /// The path as given.
        path: PathBuf,
    },
    /// A value could not be written as, or read from, JSON.
    #[error("{path}{}: not valid JSON for this record: {source}", at_line(*line))]
    Json {
        /// The file, or `<memory>` before it has one.
        path: PathBuf,
        /// The line, counted from 1; 0 when it does not apply.
        line: usize,
        /// What serde_json says.
        source: serde_json::Error,
    },
    /// A picture could not be encoded.
    #[error("cannot encode the {what} picture: {reason}")]
    Encode {
        /// Which picture.
        what: &'static str,
        /// The encoder's reason.
        reason: String,
    },
    /// A buffer does not have the size its width and height promise.
    #[error("{what}: {actual} values, but {width}×{height} pixels need {expected}")]
    Size {
        /// Which buffer.
        what: &'static str,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
        /// Values needed.
        expected: usize,
        /// Values given.
        actual: usize,
    },
    /// A number that must be finite is not.
    #[error("{what} is {value} (at index {index}); scores must be finite")]
    NotFinite {
        /// Which number.
        what: &'static str,
        /// Its position in row-major order; 0 for a single number.
        index: usize,
        /// The number itself.
        value: f32,
    },
    /// A score range that is empty, reversed or not finite.
    #[error("the score range [{low}, {high}] is not usable: both ends must be finite and low < high")]
    Range {
        /// Given lower end.
        low: f32,
        /// Given upper end.
        high: f32,
    },
    /// A file that is not an anomaly map written by this program.
    #[error("not a readable anomaly map: {reason}; expected {expected}")]
    MapFormat {
        /// What is wrong.
        reason: String,
        /// The format that was expected.
        expected: &'static str,
    },
    /// The embedded table of published results is malformed.
    #[error("published results, line {line}: {reason}")]
    Published {
        /// Line of the CSV, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl OutputError {
    /// Whether the disk, or what the user may use of it, is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_disk_full(source))
    }

    /// An adapter for `map_err` that keeps the action and the path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

/// Whether the disk, or what the user may use of it, is full.
pub(crate) fn is_disk_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Refuse a buffer whose length is not `width * height`.
pub(crate) fn check_size(
    what: &'static str,
    actual: usize,
    (width, height): (u32, u32),
) -> Result<(), OutputError> {
    let expected = width as usize * height as usize;
    if actual == expected { Ok(()) } else { Err(OutputError::Size { what, width, height, expected, actual }) }
}

fn at_line(line: usize) -> String {
    if line == 0 { String::new() } else { format!(", line {line}") }
}
