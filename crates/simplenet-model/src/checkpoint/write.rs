//! Writes a model file whole or not at all. In: a path and bytes. Out: the file under its name, on the disk; and none of the
//! temporary files that killed runs have left beside it.
//!
//! Whoever writes a temporary file holds a lock on it, which the system releases however the run ends: a file that can be locked
//! belongs to nobody any more.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::NamedTempFile;

/// How the names of temporary files begin and end.
const PREFIX: &str = ".model-";
const SUFFIX: &str = ".partial";
/// Where files cannot be locked, one that was not written to for so long is taken for abandoned.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Writes to a temporary name beside `path`, flushes, renames.
pub(super) fn whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    // Before the new one is written: its room may be needed. What cannot be cleared is in nobody's way.
    let _left = clear(&folder);
    let mut file = temporary(&folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The rename itself must reach the disk too; folders can be synced on Unix only.
    #[cfg(unix)]
    File::open(&folder)?.sync_all()?;
    Ok(())
}

/// A temporary file that this process has locked.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Readable as the user's other files are: temporary files are private otherwise.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    loop {
        let file = builder.tempfile_in(folder)?;
        // Where there are no locks, age decides.
        let locked = file.as_file().lock().is_ok();
        // Another run may have taken it for abandoned between the two.
        if !locked || file.path().exists() {
            return Ok(file);
        }
    }
}

/// Removes the temporary files of runs that are no more.
fn clear(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_own = name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
        if !is_own || !entry.file_type()?.is_file() {
            continue;
        }
        // Gone since it was listed: its run has ended well.
        let Ok(file) = File::open(entry.path()) else { continue };
        let is_left = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(_)) => {
                entry.metadata()?.modified()?.elapsed().is_ok_and(|age| age > ABANDONED)
            }
        };
        if is_left {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kill_left_goes_and_what_another_run_writes_stays() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model.safetensors");
        let (left, own) = (folder.path().join(".model-aB3xYz.partial"), temporary(folder.path()).unwrap());
        let others =
            [".model-notes.txt", "model.partial", "x.model-1.partial"].map(|n| folder.path().join(n));
        fs::write(&left, "half a model").unwrap();
        others.iter().for_each(|path| fs::write(path, "mine").unwrap());
        fs::create_dir(folder.path().join(".model-folder.partial")).unwrap();
        whole(&model, b"a model").unwrap();
        assert_eq!(fs::read(&model).unwrap(), b"a model");
        assert!(!left.exists(), "what a killed run has left");
        assert!(own.path().exists(), "what another run is writing");
        assert!(others.iter().all(|path| path.exists()), "files of other names");
        // Written over, with nothing beside it but what was there.
        drop(own);
        whole(&model, b"another").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1 + others.len() + 1);
    }
}
