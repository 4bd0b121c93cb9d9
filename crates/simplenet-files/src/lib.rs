#![doc = include_str!("../README.md")]
//!
//! # Which temporary files are left over
//!
//! Whoever writes a temporary file holds a lock on it, which the system releases however the process ends: a file that can be
//! locked belongs to nobody any more, and [`clear`] removes it.

#![forbid(unsafe_code)]

use std::{
    ffi::OsStr,
    fs::{self, DirEntry, File, TryLockError},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::NamedTempFile;

/// What a finished file survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A power cut too: the content is on the disk before the file has its name.
    Disk,
    /// The end of the process only: for what can be computed again and carries a checksum.
    Process,
}

/// A file being written under a temporary name; dropped without [`commit`](Self::commit), it leaves no trace.
#[derive(Debug)]
pub struct WholeFile {
    writer: BufWriter<NamedTempFile>,
    path: PathBuf,
}

impl WholeFile {
    /// Begins a file that will be called `path`; its folder must be there.
    ///
    /// # Errors
    /// A path that ends in no name; a folder that cannot be written to.
    pub fn create(path: &Path) -> io::Result<Self> {
        let no_name =
            || io::Error::new(io::ErrorKind::InvalidInput, "the path does not end in a file's name");
        let name = path.file_name().ok_or_else(no_name)?.to_string_lossy();
        let prefix = format!(".{}.", shortened(&name, MOST_OF_NAME));
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(PART).rand_bytes(RANDOM);
        // tempfile's own default is 0600; results are ordinary files, so let the umask decide.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        loop {
            let file = builder.tempfile_in(parent_folder(path))?;
            // Where there are no locks, age decides.
            let locked = file.as_file().lock().is_ok();
            // Another process may have taken it for left over between the two.
            if !locked || file.path().exists() {
                return Ok(Self { writer: BufWriter::new(file), path: path.to_path_buf() });
            }
        }
    }

    /// Gives the file its name, replacing an older file of that name.
    ///
    /// # Errors
    /// Content that cannot be written, or a name that cannot be taken; the old file is still there then.
    pub fn commit(self, durability: Durability) -> io::Result<()> {
        let file = self.writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        if durability == Durability::Disk {
            file.as_file().sync_all()?;
        }
        file.persist(&self.path).map_err(|error| error.error)?;
        if durability == Durability::Disk {
            sync_folder(parent_folder(&self.path));
        }
        Ok(())
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Writes a file at once.
///
/// # Errors
/// As [`WholeFile::create`] and [`WholeFile::commit`].
pub fn write(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let mut file = WholeFile::create(path)?;
    file.write_all(bytes)?;
    file.commit(durability)
}

/// The ending of temporary names: `.NAME.RANDOM.part`.
const PART: &str = ".part";
/// Random characters of a temporary name.
const RANDOM: usize = 6;
/// As much of a file's name as its temporary name has: a name may be as long as the file system allows.
const MOST_OF_NAME: usize = 60;
/// Where files cannot be locked, one that was not written to for so long is taken for left over.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Removes the temporary files that killed processes have left in a folder itself, not below it; gives their number. Those
/// that others are writing stay.
pub fn clear(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.filter_map(Result::ok).filter(|entry| is_temporary(&entry.file_name()) && removed(entry)).count()
}

fn is_temporary(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let Some((front, random)) = name.strip_suffix(PART).and_then(|rest| rest.rsplit_once('.')) else {
        return false;
    };
    front.len() > 1
        && front.starts_with('.')
        && random.len() == RANDOM
        && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Removes a temporary file that belongs to nobody; `false` where it stays.
fn removed(entry: &DirEntry) -> bool {
    if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
        return false;
    }
    // Gone since it was listed: its process has ended well.
    let Ok(file) = File::open(entry.path()) else { return false };
    let is_left = match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(_)) => {
            let modified = entry.metadata().and_then(|data| data.modified());
            modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > ABANDONED))
        }
    };
    // Still locked by this call: whoever has just created it waits, and then sees that it is gone. What cannot be removed is no
    // reason to stop: it is only in the way.
    let removed = is_left && fs::remove_file(entry.path()).is_ok();
    drop(file);
    removed
}

/// The longest beginning of a text that has at most so many bytes.
pub fn shortened(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

/// The folder that a file of this path lies in.
pub fn parent_folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes a rename in a folder durable. Some file systems refuse to sync a folder; the content is already safe then, so this
/// stays silent.
pub fn sync_folder(folder: &Path) {
    #[cfg(unix)]
    if let Ok(handle) = File::open(folder) {
        let _refused = handle.sync_all();
    }
    #[cfg(not(unix))]
    let _ = folder;
}

/// The README's example, compiled by the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_and_an_abandoned_one_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.txt");
        for (durability, text) in [(Durability::Disk, "one"), (Durability::Process, "two")] {
            write(&path, text.as_bytes(), durability).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        let mut file = WholeFile::create(&path).unwrap();
        file.write_all(b"half of the ne").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(names_in(dir.path()), ["out.txt"]);
    }

    #[test]
    fn names_of_every_length_that_a_file_system_takes() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["x".repeat(255), "检".repeat(85), "a".into()] {
            write(&dir.path().join(&name), b"content", Durability::Disk).unwrap();
            assert!(dir.path().join(&name).is_file(), "{name}");
        }
        assert_eq!(shortened("检测", 4), "检");
        assert_eq!(
            write(Path::new("/"), b"", Durability::Disk).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }

    #[test]
    fn what_a_kill_left_goes_and_what_another_run_writes_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut theirs =
            [".part", ".x.part", "a.abcdef.part", ".a.abc-ef.part", ".a.abcdef.partial", "a.png", ".hidden"]
                .map(String::from)
                .to_vec();
        theirs.sort();
        for name in &theirs {
            fs::write(dir.path().join(name), "theirs").unwrap();
        }
        fs::create_dir(dir.path().join(".folder.abcdef.part")).unwrap();
        fs::write(dir.path().join(".model.safetensors.aB3xYz.part"), "half a model").unwrap();
        let file = WholeFile::create(&dir.path().join("out.png")).unwrap();
        assert_eq!(clear(dir.path()), 1);
        assert_eq!(names_in(dir.path()).len(), theirs.len() + 2, "what another run is writing stays");
        // As a kill does: the lock goes, and nothing else.
        let (_, left) = file.writer.into_inner().unwrap().keep().unwrap();
        assert!(left.exists());
        assert_eq!(clear(dir.path()), 1);
        fs::remove_dir(dir.path().join(".folder.abcdef.part")).unwrap();
        assert_eq!(names_in(dir.path()), theirs);
        assert_eq!(clear(&dir.path().join("none")), 0);
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_those_of_an_ordinary_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (ordinary, ours) = (dir.path().join("ordinary"), dir.path().join("ours"));
        fs::write(&ordinary, "").unwrap();
        write(&ours, b"", Durability::Disk).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&ordinary));
    }
}
