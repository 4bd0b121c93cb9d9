//! Files written whole or not at all.
//!
//! In: a path and its content. Out: either the complete new file under that name, on disk, or the old state and an
//! error that names the path. The content goes to a temporary file in the same folder, is synced, and is renamed
//! over the target, so a reader never meets half a file and a power cut leaves no torn one.

use super::OutputError;
use image::RgbImage;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use serde::Serialize;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
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
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(name);
        prefix.push(".");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".part");
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

fn parent_folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Make the rename itself durable. Some file systems refuse to sync a folder; the content is already safe then,
/// so this stays silent.
fn sync_folder(folder: &Path) {
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
