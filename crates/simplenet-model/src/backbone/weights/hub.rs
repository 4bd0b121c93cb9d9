//! Downloads from the Hugging Face Hub, in the cache layout that Python's tools share. In: a registered file and a
//! configuration. Out: a path on this machine, its hash checked.
//!
//! `hf-hub` knows the layout and the token's place. Its own download trusts the server's `ETag` and commit as names of files,
//! hands the token on to other servers and has no limits, so the transfer is this crate's: see `transfer` and `cache`. Around
//! them, this module retries, goes on with what a broken transfer has left, and turns failures into advice.

mod address;
mod cache;
mod transfer;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use super::HubFile;
use crate::{backbone::BackboneId, error::ModelError};
use address::Address;
use cache::{Entry, Part, sha256_of};
use transfer::{Failure, Question};

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
/// Further attempts after a connection that broke; each goes on where the last one stopped.
const DEFAULT_RETRIES: usize = 2;
/// Longest time in which a server may send next to nothing.
const DEFAULT_STALL: Duration = Duration::from_secs(20);
/// The longest that may be set.
const LONGEST_STALL: u64 = 3600;

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
    /// The cache: `HF_HUB_CACHE`, or `HF_HOME/hub`, or `.cache/huggingface/hub` in the home folder.
    pub cache: PathBuf,
    /// Base address: `HF_ENDPOINT`, or the Hub's own.
    pub endpoint: String,
    /// `HF_TOKEN`; without it, the file `token` beside the cache, where the Hub's own tools put it.
    pub token: Option<String>,
    /// Forbidden by `HF_HUB_OFFLINE` = 1, true, yes or on.
    pub network: NetworkUse,
    /// Attempts after the first one.
    pub retries: usize,
    /// Longest time in which the server may send next to nothing: `HF_HUB_DOWNLOAD_TIMEOUT` in seconds, or 20.
    pub stall: Duration,
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
        let seconds = text("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|seconds| seconds.trim().parse().ok());
        let seconds = seconds.filter(|seconds| (1..=LONGEST_STALL).contains(seconds));
        let cache = set("HF_HUB_CACHE").map_or_else(|| folder.join("hub"), PathBuf::from);
        // Beside the cache, where the Hub's own tools put it.
        let token = || hf_hub::Cache::new(folder.join("hub")).token();
        Self {
            endpoint: endpoint.trim_end_matches('/').to_string(),
            token: text("HF_TOKEN").map(|token| token.trim().to_string()).or_else(token),
            cache,
            network: if offline { NetworkUse::Forbidden } else { NetworkUse::Allowed },
            retries: DEFAULT_RETRIES,
            stall: seconds.map_or(DEFAULT_STALL, Duration::from_secs),
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

/// Returns the path of `file` in the cache, downloading it first if it is not there. Its hash is checked every time; a file
/// that fails is removed.
///
/// # Errors
/// [`ModelError::WeightsUnavailable`] without a network, [`ModelError::Hub`] when the Hub refuses or answers as none does,
/// [`ModelError::HashMismatch`] when it sends something else.
pub fn fetch(
    id: BackboneId,
    file: &HubFile,
    config: &HubConfig,
    progress: &dyn DownloadProgress,
) -> Result<PathBuf, ModelError> {
    let entry = Entry::new(&config.cache, file)?;
    match entry.find() {
        Some(path) => checked(&entry, file, path),
        None => download(id, file, &entry, config, progress),
    }
}

/// A cached file whose hash is right.
fn checked(entry: &Entry, file: &HubFile, path: PathBuf) -> Result<PathBuf, ModelError> {
    let actual = sha256_of(&path)?;
    if actual == file.sha256 {
        return Ok(path);
    }
    entry.forget(&path)?;
    Err(ModelError::HashMismatch { file: path, expected: file.sha256.to_string(), actual })
}

fn download(
    id: BackboneId,
    file: &HubFile,
    entry: &Entry,
    config: &HubConfig,
    progress: &dyn DownloadProgress,
) -> Result<PathBuf, ModelError> {
    let unavailable = |reason: String| ModelError::WeightsUnavailable {
        backbone: id.name(),
        cache: config.cache.clone(),
        reason,
    };
    if config.network == NetworkUse::Forbidden {
        return Err(unavailable("the network is switched off (HF_HUB_OFFLINE)".into()));
    }
    let url = format!("{}/{}/resolve/{}/{}", config.endpoint, file.repo, file.revision, file.file);
    let address = Address::parse(&url).map_err(|why| ModelError::Configuration {
        what: "HF_ENDPOINT",
        reason: format!("not the address of a Hub: {why}"),
    })?;
    let refused = |reason: String| ModelError::Hub { url: url.clone(), reason };

    let mut part = entry.part()?;
    // Another process may have been done in the meantime.
    if let Some(path) = entry.find() {
        part.remove()?;
        return checked(entry, file, path);
    }
    let mut commit = None;
    let mut attempt = 0;
    loop {
        let begun_with = part.length();
        let received = receive(file, &address, config, &mut part, &mut commit, progress);
        let retry = attempt < config.retries;
        attempt += 1;
        let failure = match received {
            Ok(()) if part.sha256() == file.sha256 => {
                progress.finish();
                return entry.keep(&part, commit.as_deref());
            }
            // What was here before was perhaps no beginning of it.
            Ok(()) if begun_with > 0 && retry => {
                part.restart()?;
                continue;
            }
            Ok(()) => {
                let (path, actual) = (part.path.clone(), part.sha256());
                part.remove()?;
                return Err(ModelError::HashMismatch {
                    file: path,
                    expected: file.sha256.to_string(),
                    actual,
                });
            }
            Err(failure) => failure,
        };
        let is_suspect = matches!(failure, Failure::Refused(_)) && part.length() != begun_with;
        let error = match failure {
            // What is here is no beginning of what is there.
            Failure::Status(416) if begun_with > 0 && retry => {
                part.restart()?;
                continue;
            }
            Failure::Interrupted(_) if retry => continue,
            Failure::Interrupted(why) | Failure::Unreachable(why) => {
                unavailable(format!("{url} could not be downloaded ({why})"))
            }
            Failure::Status(status @ (401 | 403)) => {
                refused(format!("HTTP status {status}: set HF_TOKEN to a token that may read it"))
            }
            Failure::Status(404) => refused(format!(
                "HTTP status 404: {} at revision {} has no file {}; if HF_ENDPOINT names a mirror, it lacks it",
                file.repo, file.revision, file.file
            )),
            Failure::Status(status) => refused(format!("HTTP status {status}; try again later")),
            Failure::Refused(why) => refused(format!(
                "it does not answer as a Hub does: {why}; if HF_ENDPOINT names a mirror, try another one, or give a file \
                 with `--weights FILE`"
            )),
            Failure::Stalled(limit) => refused(format!(
                "the server sends next to nothing: it was given up after {} s (HF_HUB_DOWNLOAD_TIMEOUT sets how many); \
                 try again later, or name a mirror with HF_ENDPOINT",
                limit.as_secs()
            )),
            Failure::Local(error) => error,
        };
        // What a transfer that broke off has left is the beginning of the next one.
        if part.length() == 0 || is_suspect {
            part.remove()?;
        }
        return Err(error);
    }
}

/// Fills `part` up to the registered size; the hash is yet to be looked at.
fn receive(
    file: &HubFile,
    address: &Address,
    config: &HubConfig,
    part: &mut Part,
    commit: &mut Option<String>,
    progress: &dyn DownloadProgress,
) -> Result<(), Failure> {
    if part.length() > file.bytes {
        part.restart().map_err(Failure::Local)?;
    }
    if part.length() == file.bytes {
        if part.sha256() == file.sha256 {
            return Ok(());
        }
        part.restart().map_err(Failure::Local)?;
    }
    let answer = transfer::ask(&Question {
        address,
        token: config.token.as_deref(),
        present: part.length(),
        size: file.bytes,
        stall: config.stall,
    })?;
    if answer.start < part.length() {
        part.restart().map_err(Failure::Local)?;
    }
    if answer.commit.is_some() {
        *commit = answer.commit.clone();
    }
    progress.start(&file.file, file.bytes, answer.start);
    answer.receive(|bytes| {
        progress.advance(bytes.len() as u64);
        part.append(bytes)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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
    fn the_variables_are_honoured() {
        let config = config(&[
            ("HF_HOME", "/data/hf"),
            ("HF_ENDPOINT", "http://mirror.local/"),
            ("HF_TOKEN", "hf_x\n"),
            ("HF_HUB_OFFLINE", "True"),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "7"),
        ]);
        assert_eq!(config.cache, Path::new("/data/hf/hub"));
        assert_eq!(config.endpoint, "http://mirror.local");
        assert_eq!((config.token.as_deref(), config.network), (Some("hf_x"), NetworkUse::Forbidden));
        assert_eq!(config.stall, Duration::from_secs(7));
        assert_eq!(super::tests::config(&[("HF_HUB_CACHE", "/data/hub")]).cache, Path::new("/data/hub"));
        for seconds in ["0", "-1", "never", "1e9", "99999"] {
            let config = super::tests::config(&[("HF_HUB_DOWNLOAD_TIMEOUT", seconds)]);
            assert_eq!(config.stall, DEFAULT_STALL, "{seconds}");
        }
    }
}
