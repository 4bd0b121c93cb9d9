//! Data sets on disk: which images there are, what they are labelled, where their masks are.
//!
//! In: folders, or a list of files. Out: a [`Category`] with its samples in one order for every machine: bytes of the
//! names. Each layout is one implementation of [`Layout`] in a file of its own; [`recognise()`] tells them apart,
//! [`Source`] is what a person names, [`check()`] counts everything and lists what is wrong.

mod btad;
pub mod check;
mod csv;
pub(crate) mod drawn;
pub mod folder;
mod ground_truth;
mod kolektor_sdd2;
mod labels;
mod layout;
pub mod listing;
mod masks_of;
pub mod mvtec;
mod mvtec_3d;
mod mvtec_ad_2;
mod mvtec_loco;
pub mod names;
mod only_good;
mod pairing;
mod real_iad;
mod recognise;
mod source;
mod tree;
mod visa;

use std::path::{Path, PathBuf};

pub use check::{CheckOptions, CheckReport, check};
pub use drawn::{Drawing, read_drawings};
pub use folder::Folders;
pub use ground_truth::{DefectKind, DefectKinds, DefectMask, GroundTruth, MaskValues, SaturationArea};
pub use layout::{Layout, LayoutId, Place, Problems, Sign};
pub use pairing::{Apart, apart, is_drawn};
pub use recognise::{Recognised, recognise};
pub use source::{Source, categories};

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
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The image file.
    pub path: PathBuf,
    /// Normal or anomalous.
    pub label: Label,
    /// [`GOOD`] or the name of the defect.
    pub defect: String,
    /// The ground truth. Always `None` for a normal sample, whose mask would be empty; `None` for an anomalous one
    /// means that its defect's place is unknown, so that it cannot enter a pixel metric.
    pub mask: Option<GroundTruth>,
}

impl Sample {
    /// A good part.
    pub fn normal(path: PathBuf) -> Self {
        Self { path, label: Label::Normal, defect: GOOD.to_string(), mask: None }
    }

    /// A defective part.
    pub fn anomalous(path: PathBuf, defect: impl Into<String>, mask: Option<GroundTruth>) -> Self {
        Self { path, label: Label::Anomalous, defect: defect.into(), mask }
    }
}

/// Something about a category that is no error, and that a person should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Which kind of thing, such as `turned-masks`.
    pub kind: &'static str,
    /// What it is.
    pub message: String,
}

/// The kind of the note that counts what was passed over.
const PASSED_OVER: &str = "passed-over";

/// Images of a data set that are neither trained on nor tested on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Why, in few words: a heading.
    pub why: &'static str,
    /// The images.
    pub images: Vec<PathBuf>,
}

/// What is inspected as one: one product, one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Category {
    /// Its name: usually that of its folder.
    pub name: String,
    /// The folder that its paths lie in, or the list that names them.
    pub root: PathBuf,
    /// Where it was read.
    pub place: Place,
    /// Samples to train on, all normal.
    pub train: Vec<Sample>,
    /// Good images apart from those, for the threshold; empty where a layout has none.
    pub validation: Vec<Sample>,
    /// Samples to test on; empty for a plain folder of good images.
    pub test: Vec<Sample>,
    /// Images that are neither.
    pub left_out: Vec<LeftOut>,
    /// Files beside images and masks that tell what these are: lists, and masks of good images.
    pub others: Vec<PathBuf>,
    /// What else a person should know.
    pub notes: Vec<Note>,
}

impl Category {
    /// An empty one.
    pub(crate) fn new(place: &Place, root: &Path) -> Self {
        Self {
            name: place.name.clone(),
            root: root.to_path_buf(),
            place: place.clone(),
            train: vec![],
            validation: vec![],
            test: vec![],
            left_out: vec![],
            others: vec![],
            notes: vec![],
        }
    }

    /// How many anomalous test samples have a mask, and how many there are. Pixel metrics need all of them.
    pub fn masked(&self) -> (usize, usize) {
        let anomalous = self.test.iter().filter(|s| s.label == Label::Anomalous);
        (anomalous.clone().filter(|s| s.mask.is_some()).count(), anomalous.count())
    }

    /// The samples of all its parts: training, validation, test.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.train.iter().chain(&self.validation).chain(&self.test)
    }

    fn leave_out(&mut self, why: &'static str, images: Vec<PathBuf>) {
        if images.is_empty() {
            return;
        }
        match self.left_out.iter_mut().find(|left_out| left_out.why == why) {
            Some(left_out) => left_out.images.extend(images),
            None => self.left_out.push(LeftOut { why, images }),
        }
    }

    /// Notes what lies at and below these folders and was passed over for other reasons than being hidden.
    fn note_passed_over<'a>(&mut self, roots: impl IntoIterator<Item = &'a PathBuf>) {
        let mut by_reason: std::collections::BTreeMap<listing::Reason, Vec<String>> = Default::default();
        for root in roots {
            let Ok(listing) = listing::list(root, &listing::ListOptions::default()) else { continue };
            for entry in listing.passed_over.iter().filter(|entry| entry.reason != listing::Reason::Hidden) {
                by_reason.entry(entry.reason).or_default().push(last_name(&entry.path));
            }
        }
        for (reason, names) in by_reason {
            let shown = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
            let more = if names.len() > 3 { ", …" } else { "" };
            let noun = if names.len() == 1 { "file or folder" } else { "files and folders" };
            let message = format!("{} {noun} passed over, {}: {shown}{more}", names.len(), reason.words());
            self.note(PASSED_OVER, message);
        }
    }

    fn note(&mut self, kind: &'static str, message: String) {
        self.notes.push(Note { kind, message });
    }
}

/// The name of a folder, also for `.` or a path that ends in `..`.
fn folder_name(dir: &Path) -> Result<String, DataError> {
    let absolute = dir.canonicalize().map_err(DataError::io("read", dir))?;
    Ok(absolute.file_name().unwrap_or(absolute.as_os_str()).to_string_lossy().into_owned())
}

/// The last part of a path as it is written.
fn last_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn has_image_extension(path: &Path) -> bool {
    const EXTENSIONS: [&str; 17] = [
        "png", "apng", "jpg", "jpeg", "jpe", "jfif", "jif", "bmp", "dib", "tif", "tiff", "btf", "webp",
        "pgm", "ppm", "pnm", "pbm",
    ];
    path.extension().is_some_and(|found| EXTENSIONS.iter().any(|known| found.eq_ignore_ascii_case(known)))
}

/// Visible entries of a folder: images and sub-folders, each sorted by the bytes of their names.
fn list(dir: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), DataError> {
    let (mut images, mut folders) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(dir).map_err(DataError::io("list", dir))? {
        let path = entry.map_err(DataError::io("list", dir))?.path();
        if is_hidden(&path) {
        } else if path.is_dir() {
            if !listing::is_system_folder(&path) {
                folders.push(path);
            }
        } else if has_image_extension(&path) {
            images.push(path);
        }
    }
    images.sort_unstable();
    folders.sort_unstable();
    Ok((images, folders))
}

/// The entry of a folder with this name, in any case; the name itself where there is none.
fn child(folder: &Path, name: &str) -> PathBuf {
    let exact = folder.join(name);
    if exact.exists() {
        return exact;
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut same: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().eq_ignore_ascii_case(name))
        .map(|entry| entry.path())
        .collect();
    same.sort_unstable();
    same.into_iter().next().unwrap_or(exact)
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
