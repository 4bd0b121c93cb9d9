//! Files written whole or not at all.
//!
//! In: a path and its content. Out: either the complete new file under that name, on disk, or the old state and an
//! error that names the path. The content goes to a temporary file in the same folder, is synced, and is renamed
//! over the target, so a reader never meets half a file and a power cut leaves no torn one.

use super::OutputError;
use image::RgbImage;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use serde::Serialize;
use std::ffi::OsStr;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::NamedTempFile;

/// A file being written under a temporary name; dropped without [`commit`](Self::commit), it leaves no trace.
///
/// The folder is created when it is missing.
#[derive(Debug)]
pub struct AtomicFile {
    writer: BufWriter<NamedTempFile>,
    path: PathBuf,
}

impl AtomicFile {
    /// Begin a file that will be called `path`.
    pub fn create(path: &Path) -> Result<Self, OutputError> {
        let Some(name) = path.file_name() else {
            return Err(OutputError::NotAFileName { path: path.to_path_buf() });
        };
        let folder = parent_folder(path);
        std::fs::create_dir_all(folder).map_err(OutputError::io("create the folder", folder))?;
        let prefix = format!(".{}.", shortened(&name.to_string_lossy(), MOST_OF_NAME));
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(PART).rand_bytes(RANDOM);
        // tempfile's own default is 0600; results are ordinary files, so let the umask decide.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(folder).map_err(OutputError::io("write", path))?;
        Ok(Self { writer: BufWriter::new(file), path: path.to_path_buf() })
    }

    /// Append bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        self.writer.write_all(bytes).map_err(OutputError::io("write", &self.path))
    }

    /// Sync the content and give the file its name, replacing an older file of that name.
    pub fn commit(self) -> Result<(), OutputError> {
        let Self { writer, path } = self;
        let file = writer.into_inner().map_err(|e| OutputError::io("write", &path)(e.into_error()))?;
        file.as_file().sync_all().map_err(OutputError::io("sync", &path))?;
        file.persist(&path).map_err(|e| OutputError::io("rename the finished file to", &path)(e.error))?;
        sync_folder(parent_folder(&path));
        Ok(())
    }
}

/// The ending of temporary names: `.NAME.RANDOM.part`.
const PART: &str = ".part";
/// Random characters of a temporary name.
const RANDOM: usize = 6;
/// As much of a file's name as its temporary name has: a name may be as long as the file system allows.
const MOST_OF_NAME: usize = 60;

/// The age from which on a temporary file is left over, where another run may be at work: no file takes so long to write.
pub const LEFT_FOR: Duration = Duration::from_secs(3600);

/// The longest beginning of a name that has at most so many bytes.
pub(crate) fn shortened(name: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(name.len())).rev().find(|&end| name.is_char_boundary(end));
    &name[..end.unwrap_or(0)]
}

/// Removes temporary files of this program that a kill has left in a folder itself, not below it; gives their number. With an
/// age only those that nobody has written to for so long: another run may be at work there.
pub fn clear_leftovers(folder: &Path, older_than: Option<Duration>) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let is_old = |entry: &std::fs::DirEntry| {
        let Some(age) = older_than else { return true };
        let modified = entry.metadata().and_then(|data| data.modified());
        modified.is_ok_and(|time| time.elapsed().is_ok_and(|elapsed| elapsed >= age))
    };
    let left =
        entries.filter_map(Result::ok).filter(|entry| is_temporary(&entry.file_name()) && is_old(entry));
    // What cannot be removed is no reason to stop: it is only in the way.
    left.filter(|entry| std::fs::remove_file(entry.path()).is_ok()).count()
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

/// Write bytes.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    let mut file = AtomicFile::create(path)?;
    file.write(bytes)?;
    file.commit()
}

/// Write UTF-8 text exactly as given.
pub fn write_text(path: &Path, text: &str) -> Result<(), OutputError> {
    write_bytes(path, text.as_bytes())
}

/// Write indented JSON with a final newline.
pub fn write_json<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<(), OutputError> {
    let mut text = serde_json::to_string_pretty(value).map_err(|source| OutputError::Json {
        path: path.to_path_buf(),
        line: 0,
        source,
    })?;
    text.push('\n');
    write_text(path, &text)
}

/// Write an 8-bit RGB picture as PNG.
pub fn write_png(path: &Path, picture: &RgbImage) -> Result<(), OutputError> {
    write_bytes(path, &png_bytes(picture)?)
}

/// An 8-bit RGB picture as the bytes of a PNG file.
///
/// Fast compression: heat maps are written once for each inspected part, and the best setting takes many times
/// longer for a file about a tenth smaller.
pub fn png_bytes(picture: &RgbImage) -> Result<Vec<u8>, OutputError> {
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive);
    picture
        .write_with_encoder(encoder)
        .map_err(|e| OutputError::Encode { what: "RGB", reason: e.to_string() })?;
    Ok(bytes)
}

pub(crate) fn parent_folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Make the rename itself durable. Some file systems refuse to sync a folder; the content is already safe then,
/// so this stays silent.
pub(crate) fn sync_folder(folder: &Path) {
    #[cfg(unix)]
    if let Ok(handle) = std::fs::File::open(folder) {
        let _ = handle.sync_all();
    }
    #[cfg(not(unix))]
    let _ = folder;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn writes_into_new_folders_and_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/out.txt");
        write_text(&path, "one").unwrap();
        write_text(&path, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(names_in(path.parent().unwrap()), ["out.txt"]);
    }

    #[test]
    fn an_abandoned_file_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.txt");
        write_text(&path, "old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write(b"half of the ne").unwrap();
        drop(file);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names_in(dir.path()), ["out.txt"]);
    }

    #[test]
    fn names_of_every_length_that_a_file_system_takes() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["x".repeat(255), "检".repeat(85), "a".into()] {
            write_text(&dir.path().join(&name), "content").unwrap();
            assert!(dir.path().join(&name).is_file(), "{name}");
        }
        assert_eq!(shortened("检测", 4), "检");
    }

    #[test]
    fn what_a_kill_has_left_is_cleared_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let theirs =
            [".part", ".x.part", "a.abcdef.part", ".a.abc-ef.part", ".a.abcdef.partial", "a.png", ".hidden"];
        for name in theirs {
            std::fs::write(dir.path().join(name), "theirs").unwrap();
        }
        let mut file = AtomicFile::create(&dir.path().join("out.png")).unwrap();
        file.write(b"half").unwrap();
        // As a kill does: nothing is cleaned up.
        std::mem::forget(file);
        assert_eq!(names_in(dir.path()).len(), theirs.len() + 1);
        assert_eq!(clear_leftovers(dir.path(), Some(LEFT_FOR)), 0, "it may be at work");
        assert_eq!(clear_leftovers(dir.path(), None), 1);
        let mut names = theirs.map(String::from);
        names.sort();
        assert_eq!(names_in(dir.path()), names);
        assert_eq!(clear_leftovers(&dir.path().join("none"), None), 0);
    }

    #[test]
    fn json_ends_with_a_newline_and_png_decodes() {
        let dir = tempfile::tempdir().unwrap();
        let json = dir.path().join("a.json");
        write_json(&json, &serde_json::json!({"b": 1, "a": [0.5]})).unwrap();
        assert_eq!(std::fs::read_to_string(&json).unwrap(), "{\n  \"b\": 1,\n  \"a\": [\n    0.5\n  ]\n}\n");

        let picture = RgbImage::from_fn(7, 5, |x, y| image::Rgb([x as u8 * 30, y as u8 * 50, 9]));
        let png = dir.path().join("a.png");
        write_png(&png, &picture).unwrap();
        assert_eq!(image::open(&png).unwrap().to_rgb8(), picture);
    }

    #[test]
    fn errors_name_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let blocker = dir.path().join("file");
        write_text(&blocker, "").unwrap();
        let below = blocker.join("x.txt");
        let message = write_text(&below, "").unwrap_err().to_string();
        assert!(message.contains("cannot create the folder") && message.contains("file"), "{message}");
        assert!(matches!(write_text(Path::new("/"), ""), Err(OutputError::NotAFileName { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_those_of_an_ordinary_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let ordinary = dir.path().join("ordinary");
        std::fs::write(&ordinary, "").unwrap();
        let ours = dir.path().join("ours");
        write_text(&ours, "").unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&ordinary));
    }
}
