//! Downloads from the Hugging Face Hub through `hf-hub`, in the cache layout that Python's tools share. In: a file's
//! address and a configuration. Out: a path on this machine, its hash checked.
//!
//! `hf-hub` keeps what it has of a broken download and goes on with a `Range` request; around it, this module retries,
//! throws away a partial file that cannot be continued, checks the hash, and turns failures into advice.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use hf_hub::{
    Cache, Repo, RepoType,
    api::sync::{ApiBuilder, ApiError},
};

use super::{HubFile, sha256_hex};
use crate::{backbone::BackboneId, error::ModelError};

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
/// Further attempts after a connection that broke; each goes on where the last one stopped.
const DEFAULT_RETRIES: usize = 2;

/// Whether the network may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetworkUse {
    /// Download what is not in the cache.
    #[default]
    Allowed,
    /// The cache only.
    Forbidden,
}

/// How to reach the Hub and where to keep its files. Read from the environment once, at the edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubConfig {
    /// The cache: `HF_HOME/hub`, or `.cache/huggingface/hub` in the home folder.
    pub cache: PathBuf,
    /// Base address: `HF_ENDPOINT`, or the Hub's own.
    pub endpoint: String,
    /// `HF_TOKEN`; without it, the file `token` beside the cache, where the Hub's own tools put it.
    pub token: Option<String>,
    /// Forbidden by `HF_HUB_OFFLINE` = 1, true, yes or on.
    pub network: NetworkUse,
    /// Attempts after the first one.
    pub retries: usize,
}

impl HubConfig {
    /// From the process's environment.
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var_os(name), std::env::home_dir())
    }

    /// From variables looked up in `variable`, and a home folder. Empty variables count as unset.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| set(name).and_then(|value| value.into_string().ok());
        let folder = match set("HF_HOME") {
            Some(folder) => PathBuf::from(folder),
            None => home.unwrap_or_default().join(".cache").join("huggingface"),
        };
        let offline = text("HF_HUB_OFFLINE").map(|value| value.to_lowercase());
        let offline = matches!(offline.as_deref(), Some("1" | "true" | "yes" | "on"));
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.into());
        Self {
            cache: folder.join("hub"),
            endpoint: endpoint.trim_end_matches('/').to_string(),
            token: text("HF_TOKEN").map(|token| token.trim().to_string()),
            network: if offline { NetworkUse::Forbidden } else { NetworkUse::Allowed },
            retries: DEFAULT_RETRIES,
        }
    }
}

/// Hears how a download goes; only the program at the edge draws bars.
pub trait DownloadProgress {
    /// A download begins, or goes on after a break: `total` bytes in all, of which `present` are here already.
    fn start(&self, file: &str, total: u64, present: u64);
    /// `bytes` more have come.
    fn advance(&self, bytes: u64);
    /// All have come.
    fn finish(&self);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl DownloadProgress for Silent {
    fn start(&self, _: &str, _: u64, _: u64) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}

/// Returns the path of `file` in the cache, downloading it first if it is not there. The hash, where one is
/// registered, is checked every time; a file that fails is removed.
///
/// # Errors
/// [`ModelError::WeightsUnavailable`] without a network, [`ModelError::Hub`] when the Hub refuses,
/// [`ModelError::HashMismatch`] when it sends something else.
pub fn fetch(
    id: BackboneId,
    file: &HubFile,
    config: &HubConfig,
    progress: &dyn DownloadProgress,
) -> Result<PathBuf, ModelError> {
    let repo = Repo::with_revision(file.repo.to_string(), RepoType::Model, file.revision.to_string());
    let cache = Cache::new(config.cache.clone());
    let path = match cache.repo(repo.clone()).get(&file.file) {
        Some(path) => path,
        None => download(id, file, repo, config, progress)?,
    };
    if let Some(expected) = &file.sha256 {
        let bytes = fs::read(&path).map_err(ModelError::io(&path))?;
        let actual = sha256_hex(&bytes);
        if actual != *expected {
            forget(&path)?;
            return Err(ModelError::HashMismatch { file: path, expected: expected.to_string(), actual });
        }
    }
    Ok(path)
}

fn download(
    id: BackboneId,
    file: &HubFile,
    repo: Repo,
    config: &HubConfig,
    progress: &dyn DownloadProgress,
) -> Result<PathBuf, ModelError> {
    let unavailable =
        |reason: String| ModelError::WeightsUnavailable { backbone: id, cache: config.cache.clone(), reason };
    if config.network == NetworkUse::Forbidden {
        return Err(unavailable("the network is switched off (HF_HUB_OFFLINE)".into()));
    }
    let blobs = config.cache.join(repo.folder_name()).join("blobs");
    let mut builder = ApiBuilder::from_cache(Cache::new(config.cache.clone()))
        .with_endpoint(config.endpoint.clone())
        .with_progress(false)
        .with_user_agent("simplenet", env!("CARGO_PKG_VERSION"));
    if let Some(token) = &config.token {
        builder = builder.with_token(Some(token.clone()));
    }
    let api = builder.build().map_err(|error| unavailable(error.to_string()))?.repo(repo);
    let url = api.url(&file.file);
    let refused = |reason: String| ModelError::Hub { url: url.clone(), reason };

    let mut attempt = 0;
    loop {
        let error = match api.download_with_progress(&file.file, Adapter::new(progress)) {
            Ok(path) => return Ok(path),
            Err(error) => error,
        };
        let retry = attempt < config.retries;
        match status(&error) {
            // What is here is no beginning of what is there, or all of it under a name that was never finished.
            Some(416) if retry => remove_partial_files(&blobs)?,
            None if matches!(error, ApiError::InvalidResume) && retry => remove_partial_files(&blobs)?,
            None if is_interruption(&error) && retry => {}
            Some(status @ (401 | 403)) => {
                return Err(refused(format!(
                    "HTTP status {status}: set HF_TOKEN to a token that may read it"
                )));
            }
            Some(404) => {
                return Err(refused(format!(
                    "HTTP status 404: {} at revision {} has no file {}; if HF_ENDPOINT names a mirror, it lacks it",
                    file.repo, file.revision, file.file
                )));
            }
            Some(status) => return Err(refused(format!("HTTP status {status}; try again later"))),
            None => match &error {
                ApiError::LockAcquisition(lock) => {
                    return Err(refused(format!(
                        "another process is downloading it (lock {})",
                        lock.display()
                    )));
                }
                ApiError::RequestError(_) | ApiError::IoError(_) | ApiError::InvalidResume => {
                    return Err(unavailable(format!("{url} could not be downloaded ({error})")));
                }
                _ => return Err(refused(format!("it does not answer as a Hub does ({error})"))),
            },
        }
        attempt += 1;
    }
}

/// The HTTP status, where the answer was one that is an error.
fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(error) => match error.as_ref() {
            ureq::Error::StatusCode(status) => Some(*status),
            _ => None,
        },
        _ => None,
    }
}

/// A transfer that broke off after it had begun: the next attempt goes on from there.
fn is_interruption(error: &ApiError) -> bool {
    matches!(error, ApiError::IoError(_))
}

/// `hf-hub` names them after the blob, ending in `.part`.
fn remove_partial_files(blobs: &Path) -> Result<(), ModelError> {
    for entry in fs::read_dir(blobs).map_err(ModelError::io(blobs))? {
        let path = entry.map_err(ModelError::io(blobs))?.path();
        if path.extension().is_some_and(|extension| extension == "part") {
            fs::remove_file(&path).map_err(ModelError::io(&path))?;
        }
    }
    Ok(())
}

/// Removes a cached file and the blob that it points to.
fn forget(path: &Path) -> Result<(), ModelError> {
    let blob = fs::canonicalize(path).map_err(ModelError::io(path))?;
    fs::remove_file(path).map_err(ModelError::io(path))?;
    if blob.exists() {
        fs::remove_file(&blob).map_err(ModelError::io(&blob))?;
    }
    Ok(())
}

/// `hf-hub` announces a file twice and counts what was there before as if it had just come.
struct Adapter<'a> {
    progress: &'a dyn DownloadProgress,
    file: Option<(String, u64)>,
}

impl<'a> Adapter<'a> {
    fn new(progress: &'a dyn DownloadProgress) -> Self {
        Self { progress, file: None }
    }
}

impl hf_hub::api::Progress for Adapter<'_> {
    fn init(&mut self, size: usize, file: &str) {
        self.file = Some((file.to_string(), size as u64));
    }

    fn update(&mut self, bytes: usize) {
        match self.file.take() {
            Some((file, total)) => self.progress.start(&file, total, bytes as u64),
            None => self.progress.advance(bytes as u64),
        }
    }

    fn finish(&mut self) {
        self.progress.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> HubConfig {
        let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v));
        HubConfig::from_variables(find, Some("/home/user".into()))
    }

    #[test]
    fn an_empty_environment_gives_the_hubs_own_defaults() {
        for variables in
            [&[][..], &[("HF_HOME", ""), ("HF_TOKEN", ""), ("HF_ENDPOINT", ""), ("HF_HUB_OFFLINE", "0")]]
        {
            let config = config(variables);
            assert_eq!(config.cache, Path::new("/home/user/.cache/huggingface/hub"));
            assert_eq!(config.endpoint, DEFAULT_ENDPOINT);
            assert_eq!((config.token, config.network), (None, NetworkUse::Allowed));
        }
    }

    #[test]
    fn the_four_variables_are_honoured() {
        let config = config(&[
            ("HF_HOME", "/data/hf"),
            ("HF_ENDPOINT", "http://mirror.local/"),
            ("HF_TOKEN", "hf_x\n"),
            ("HF_HUB_OFFLINE", "True"),
        ]);
        assert_eq!(config.cache, Path::new("/data/hf/hub"));
        assert_eq!(config.endpoint, "http://mirror.local");
        assert_eq!((config.token.as_deref(), config.network), (Some("hf_x"), NetworkUse::Forbidden));
    }
}
