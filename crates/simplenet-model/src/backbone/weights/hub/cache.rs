//! The Hub's cache on this machine, in the layout that Python's tools share:
//!
//! ```text
//! models--OWNER--NAME/blobs/SHA256                  the bytes
//! models--OWNER--NAME/refs/REVISION                 which commit a revision was
//! models--OWNER--NAME/snapshots/COMMIT/FILE         a link to the blob
//! ```
//!
//! In: a registered file. Out: its path, if it is there; or a place to write it to. No name of a path comes from a server
//! but a commit, and that only if it is one.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use sha2::{Digest, Sha256};

use super::super::{HubFile, hex};
use crate::error::ModelError;

/// Digits of a whole commit.
const COMMIT_DIGITS: usize = 40;
/// Digits of a SHA-256.
const HASH_DIGITS: usize = 64;
/// Most characters of a name in a path.
const LONGEST_NAME: usize = 200;
/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;

/// One file's place in the cache.
pub(super) struct Entry<'a> {
    file: &'a HubFile,
    repo: CacheRepo,
    /// The repository's folder.
    folder: PathBuf,
}

impl<'a> Entry<'a> {
    /// # Errors
    /// A name in `file` that is none, or a hash that is none.
    pub(super) fn new(cache: &Path, file: &'a HubFile) -> Result<Self, ModelError> {
        let names = file.repo.split('/').chain(file.file.split('/')).chain([file.revision.as_ref()]);
        let hash = file.sha256.len() == HASH_DIGITS && is_hex(&file.sha256);
        if !hash || !names.into_iter().all(is_name) {
            return Err(ModelError::Configuration {
                what: "file on the Hub",
                reason: format!("{file:?} has a name or a hash that cannot be one"),
            });
        }
        let (name, revision) = (file.repo.to_string(), file.revision.to_string());
        let repo = Repo::with_revision(name, RepoType::Model, revision);
        let folder = cache.join(repo.folder_name());
        Ok(Self { file, repo: Cache::new(cache.to_path_buf()).repo(repo), folder })
    }

    /// The file's path, if it is there. Python's tools keep no `refs` for a whole commit.
    pub(super) fn find(&self) -> Option<PathBuf> {
        let revision = self.file.revision.as_ref();
        let noted = fs::read_to_string(self.folder.join("refs").join(revision)).ok();
        let noted = noted.as_deref().map(str::trim).filter(|commit| is_name(commit));
        let paths = noted.into_iter().chain([revision]).map(|commit| self.pointer(commit));
        paths.into_iter().find(|path| path.exists())
    }

    /// Removes a cached file, and its bytes where they are in this cache.
    pub(super) fn forget(&self, path: &Path) -> Result<(), ModelError> {
        let bytes = fs::canonicalize(path).map_err(ModelError::io(path))?;
        fs::remove_file(path).map_err(ModelError::io(path))?;
        let blobs = fs::canonicalize(self.blobs()).ok();
        if blobs.is_some() && bytes.parent() == blobs.as_deref() {
            fs::remove_file(&bytes).map_err(ModelError::io(&bytes))?;
        }
        Ok(())
    }

    /// Opens what there is of the file, for this process alone.
    pub(super) fn part(&self) -> Result<Part, ModelError> {
        let folder = self.blobs();
        fs::create_dir_all(&folder).map_err(ModelError::io(&folder))?;
        Part::open(folder.join(format!("{}.part", self.file.sha256)))
    }

    /// Gives a whole part its place. `commit` is what the server calls the revision.
    pub(super) fn keep(&self, part: &Part, commit: Option<&str>) -> Result<PathBuf, ModelError> {
        let blob = self.blobs().join(self.file.sha256.as_ref());
        part.file.sync_all().map_err(ModelError::io(&part.path))?;
        fs::rename(&part.path, &blob).map_err(ModelError::io(&blob))?;
        let revision = self.file.revision.as_ref();
        // A commit is the one that was asked for, or any where a branch was.
        let fits = |commit: &&str| {
            commit.len() == COMMIT_DIGITS
                && is_hex(commit)
                && (!is_hex(revision) || commit.starts_with(revision))
        };
        let commit = commit.filter(fits).unwrap_or(revision);
        let pointer = self.pointer(commit);
        let folder = pointer.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(ModelError::io(folder))?;
        // What does not exist behind a link still stands in the way of one.
        if pointer.symlink_metadata().is_ok() {
            fs::remove_file(&pointer).map_err(ModelError::io(&pointer))?;
        }
        link(&blob, &pointer, self.file.file.split('/').count()).map_err(ModelError::io(&pointer))?;
        self.repo.create_ref(commit).map_err(ModelError::io(self.folder.join("refs")))?;
        Ok(pointer)
    }

    fn blobs(&self) -> PathBuf {
        self.folder.join("blobs")
    }

    fn pointer(&self, commit: &str) -> PathBuf {
        let folder = self.repo.pointer_path(commit);
        self.file.file.split('/').fold(folder, |folder, name| folder.join(name))
    }
}

/// The beginning of a file, hashed as far as it goes. Another process that wants the same finds it locked.
pub(super) struct Part {
    pub(super) path: PathBuf,
    file: File,
    hash: Sha256,
    length: u64,
}

impl Part {
    fn open(path: PathBuf) -> Result<Self, ModelError> {
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let mut file = options.open(&path).map_err(ModelError::io(&path))?;
        // A file system without locks goes without; two downloads of one file then end in a wrong hash at worst.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(ModelError::InvalidFile {
                file: path,
                reason: "another process is downloading this file; wait until it has, then start again"
                    .into(),
            });
        }
        let mut hash = Sha256::new();
        let length = copy_into(&mut file, &mut hash).map_err(ModelError::io(&path))?;
        Ok(Self { path, file, hash, length })
    }

    /// Bytes that are here.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), ModelError> {
        self.file.write_all(bytes).map_err(ModelError::io(&self.path))?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Throws away what is here.
    pub(super) fn restart(&mut self) -> Result<(), ModelError> {
        let io = || ModelError::io(&self.path);
        self.file.set_len(0).map_err(io())?;
        self.file.seek(SeekFrom::Start(0)).map_err(io())?;
        self.hash = Sha256::new();
        self.length = 0;
        Ok(())
    }

    /// SHA-256 of what is here.
    pub(super) fn sha256(&self) -> String {
        hex(&self.hash.clone().finalize())
    }

    pub(super) fn remove(self) -> Result<(), ModelError> {
        fs::remove_file(&self.path).map_err(ModelError::io(&self.path))
    }
}

/// SHA-256 of a file, without holding it in memory.
pub(super) fn sha256_of(path: &Path) -> Result<String, ModelError> {
    let io = || ModelError::io(path);
    let mut hash = Sha256::new();
    copy_into(&mut File::open(path).map_err(io())?, &mut hash).map_err(io())?;
    Ok(hex(&hash.finalize()))
}

fn copy_into(file: &mut File, hash: &mut Sha256) -> io::Result<u64> {
    let (mut chunk, mut length) = (vec![0; CHUNK], 0);
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(length),
            Ok(n) => {
                hash.update(&chunk[..n]);
                length += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A link from a snapshot to its blob, relative, so that the cache may be moved; `depth` names lead from the commit's folder
/// to the link.
#[cfg(unix)]
fn link(blob: &Path, pointer: &Path, depth: usize) -> io::Result<()> {
    let name = blob.file_name().unwrap_or_default();
    let up: PathBuf = std::iter::repeat_n("..", depth + 1).collect();
    std::os::unix::fs::symlink(up.join("blobs").join(name), pointer)
}

/// Links need a privilege elsewhere: the bytes themselves go there.
#[cfg(not(unix))]
fn link(blob: &Path, pointer: &Path, _depth: usize) -> io::Result<()> {
    fs::rename(blob, pointer)
}

/// Whether `text` can be nothing but one name in a path.
fn is_name(text: &str) -> bool {
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=LONGEST_NAME).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(usual)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> HubFile {
        HubFile {
            repo: "owner/net".into(),
            revision: "abc1234".into(),
            file: "model.safetensors".into(),
            sha256: "0".repeat(64).into(),
            bytes: 3,
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let cache = Path::new("cache");
        Entry::new(cache, &file()).unwrap();
        for file in [
            HubFile { repo: "../..".into(), ..file() },
            HubFile { repo: "owner/".into(), ..file() },
            HubFile { revision: "/etc".into(), ..file() },
            HubFile { revision: "..".into(), ..file() },
            HubFile { file: "a/../../b".into(), ..file() },
            HubFile { file: "a\0b".into(), ..file() },
            HubFile { file: "a".repeat(LONGEST_NAME + 1).into(), ..file() },
            HubFile { sha256: "../x".into(), ..file() },
            HubFile { sha256: "G".repeat(64).into(), ..file() },
        ] {
            assert!(Entry::new(cache, &file).is_err(), "{file:?}");
        }
    }

    /// What an earlier or another program has noted as the commit may be anything.
    #[test]
    fn a_noted_commit_that_is_no_name_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let cache = home.path().join("cache");
        let (file, outside) = (file(), home.path().join("model.safetensors"));
        fs::write(&outside, "mine").unwrap();
        let refs = cache.join("models--owner--net/refs");
        fs::create_dir_all(&refs).unwrap();
        for commit in ["../../..", home.path().to_str().unwrap(), ""] {
            fs::write(refs.join("abc1234"), commit).unwrap();
            assert_eq!(Entry::new(&cache, &file).unwrap().find(), None, "{commit}");
        }
        assert!(outside.exists());
    }

    /// A cache that Python's tools have filled: a whole commit has no `refs`, the blob goes by its hash.
    #[test]
    #[cfg(unix)]
    fn a_whole_commit_is_found_without_a_note_and_only_its_own_blob_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let commit = "a".repeat(COMMIT_DIGITS);
        let file = HubFile { revision: commit.clone().into(), ..file() };
        let entry = Entry::new(home.path(), &file).unwrap();
        let (snapshot, blobs) = (entry.folder.join("snapshots").join(&commit), entry.folder.join("blobs"));
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(&blobs).unwrap();
        let elsewhere = home.path().join("elsewhere");
        for (bytes, is_left) in [(blobs.join("b"), false), (elsewhere, true)] {
            fs::write(&bytes, "abc").unwrap();
            std::os::unix::fs::symlink(&bytes, snapshot.join("model.safetensors")).unwrap();
            let path = entry.find().unwrap();
            entry.forget(&path).unwrap();
            assert_eq!((bytes.exists(), entry.find()), (is_left, None));
        }
    }

    #[test]
    fn a_commit_of_the_servers_is_taken_only_if_it_is_one() {
        let whole = format!("abc1234{}", "0".repeat(33));
        let other = "f".repeat(COMMIT_DIGITS);
        for (commit, folder) in [
            (Some(whole.as_str()), whole.as_str()),
            (Some(&other), "abc1234"),
            (Some("../../../d"), "abc1234"),
            (Some("/etc/c"), "abc1234"),
            (Some("c0ffee"), "abc1234"),
            (None, "abc1234"),
        ] {
            let home = tempfile::tempdir().unwrap();
            let file = file();
            let entry = Entry::new(home.path(), &file).unwrap();
            let mut part = entry.part().unwrap();
            part.append(b"abc").unwrap();
            let path = entry.keep(&part, commit).unwrap();
            assert_eq!(path, entry.folder.join("snapshots").join(folder).join("model.safetensors"));
            assert_eq!((fs::read(&path).unwrap(), entry.find()), (b"abc".to_vec(), Some(path)));
        }
    }
}
