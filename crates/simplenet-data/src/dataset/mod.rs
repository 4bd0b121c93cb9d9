//! Data sets on disk: which images there are, what they are labelled, where their masks are.
//!
//! In: folders. Out: a [`Category`] with its samples in one order for every machine: bytes of the names.

pub mod folder;
pub mod mvtec;

use std::path::{Path, PathBuf};

use crate::error::DataError;

/// The folder of good images, and the `defect` of a normal sample.
pub const GOOD: &str = "good";

/// Whether a sample is free of defects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// A good part.
    Normal,
    /// A defective part.
    Anomalous,
}

/// One image with what is known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The image file.
    pub path: PathBuf,
    /// Normal or anomalous.
    pub label: Label,
    /// [`GOOD`] or the name of the defect's folder.
    pub defect: String,
    /// The ground-truth mask. Always `None` for a normal sample, whose mask would be empty; `None` for an
    /// anomalous one means that its defect's place is unknown, so that it cannot enter a pixel metric.
    pub mask: Option<PathBuf>,
}

/// What is inspected as one: one product, one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    /// Name of the folder.
    pub name: String,
    /// The folder.
    pub root: PathBuf,
    /// Samples to train on, all normal.
    pub train: Vec<Sample>,
    /// Samples to test on; empty for a plain folder of good images.
    pub test: Vec<Sample>,
}

impl Category {
    /// How many anomalous test samples have a mask, and how many there are. Pixel metrics need all of them.
    pub fn masked(&self) -> (usize, usize) {
        let anomalous = self.test.iter().filter(|s| s.label == Label::Anomalous);
        (anomalous.clone().filter(|s| s.mask.is_some()).count(), anomalous.count())
    }
}

/// The name of a folder, also for `.` or a path that ends in `..`.
fn folder_name(dir: &Path) -> Result<String, DataError> {
    let absolute = dir.canonicalize().map_err(DataError::io("read", dir))?;
    Ok(absolute.file_name().unwrap_or(absolute.as_os_str()).to_string_lossy().into_owned())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn has_image_extension(path: &Path) -> bool {
    const EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff"];
    path.extension().is_some_and(|found| EXTENSIONS.iter().any(|known| found.eq_ignore_ascii_case(known)))
}

/// Visible entries of a folder: images and sub-folders, each sorted by the bytes of their names.
fn list(dir: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), DataError> {
    let (mut images, mut folders) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(dir).map_err(DataError::io("list", dir))? {
        let path = entry.map_err(DataError::io("list", dir))?.path();
        if is_hidden(&path) {
        } else if path.is_dir() {
            folders.push(path);
        } else if has_image_extension(&path) {
            images.push(path);
        }
    }
    images.sort_unstable();
    folders.sort_unstable();
    Ok((images, folders))
}

fn require_folder(path: &Path, expected: &str) -> Result<(), DataError> {
    if path.is_dir() {
        Ok(())
    } else {
        Err(DataError::MissingFolder { path: path.to_path_buf(), expected: expected.to_string() })
    }
}

/// An error when there is no image.
fn require_images(images: &[PathBuf], dir: &Path, expected: &str) -> Result<(), DataError> {
    if images.is_empty() {
        Err(DataError::NoImages { path: dir.to_path_buf(), expected: expected.to_string() })
    } else {
        Ok(())
    }
}
