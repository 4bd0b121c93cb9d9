//! Results written whole or not at all (`simplenet_files`).
//!
//! In: a path and its content. Out: either the complete new file under that name, on disk, or the old state and an
//! error that names the path.

use std::{io::Write, path::Path};

use image::{
    RgbImage,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};
use serde::Serialize;
pub use simplenet_files::clear as clear_leftovers;
use simplenet_files::{Durability, WholeFile};
pub(crate) use simplenet_files::{parent_folder, shortened, sync_folder};

use super::OutputError;

/// Begins a file that will be called `path`. The folder is created when it is missing.
fn create(path: &Path) -> Result<WholeFile, OutputError> {
    if path.file_name().is_none() {
        return Err(OutputError::NotAFileName { path: path.to_path_buf() });
    }
    let folder = parent_folder(path);
    std::fs::create_dir_all(folder).map_err(OutputError::io("create the folder", folder))?;
    WholeFile::create(path).map_err(OutputError::io("write", path))
}

/// Write text piece by piece: `pieces` is given where they go.
pub fn write_pieces(
    path: &Path,
    pieces: impl FnOnce(&mut dyn FnMut(&str) -> Result<(), OutputError>) -> Result<(), OutputError>,
) -> Result<(), OutputError> {
    let mut file = create(path)?;
    pieces(&mut |piece| file.write_all(piece.as_bytes()).map_err(OutputError::io("write", path)))?;
    file.commit(Durability::Disk).map_err(OutputError::io("write", path))
}

/// Write bytes.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    let mut file = create(path)?;
    let written = file.write_all(bytes).and_then(|()| file.commit(Durability::Disk));
    written.map_err(OutputError::io("write", path))
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
}
