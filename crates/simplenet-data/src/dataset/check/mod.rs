//! Looks at a data set before a training does: counts everything and lists all that is wrong, not only the first.
//!
//! In: a [`Recognised`] layout. Out: a [`CheckReport`]: what there is of each category, problems (something that would
//! stop a training, spoil a number or is missing), and notes (what may be meant).

mod contents;
mod counts;
mod unused;

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

pub use counts::{CategoryCounts, SizeCount};

use super::{Category, LayoutId, Place, Recognised};
use crate::decode::{DecodeOptions, decode_file};
use crate::error::DataError;

/// Fewer training images than this are noted.
const FEW_IMAGES: usize = 10;
/// Fewer than this cannot be trained on.
const FEWEST_IMAGES: usize = 2;

/// How closely images are looked at. Masks are always decoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Depth {
    /// Headers: a file that ends too early is not noticed.
    #[default]
    Headers,
    /// Every pixel.
    Pixels,
}

/// How to check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// How files become pixels.
    pub decode: DecodeOptions,
    /// How closely images are looked at.
    pub depth: Depth,
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    /// What was checked.
    pub path: PathBuf,
    /// Its layout.
    pub layout: LayoutId,
    /// What the layout was recognised by, in the first category.
    pub recognised_by: Vec<String>,
    /// What the layout may have there and is absent.
    pub absent: Vec<String>,
    /// What there is.
    pub categories: Vec<CategoryCounts>,
    /// What is wrong.
    pub problems: Vec<Finding>,
    /// What may be meant.
    pub notes: Vec<Finding>,
}

/// Something that was found. Paths in it are relative to what was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which kind of thing, such as `mask-without-image`.
    pub kind: &'static str,
    /// The category; empty where it belongs to none.
    pub category: String,
    /// What it is.
    pub message: String,
}

/// Checks all categories of a data set at `path`. `progress` is told how many files of how many were looked at.
pub fn check(
    path: &Path,
    recognised: &Recognised,
    options: &CheckOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> CheckReport {
    let base = if path.is_file() { super::visa::parent(path) } else { path.to_path_buf() };
    let mut findings = Findings { base, category: String::new(), problems: vec![], notes: vec![] };
    let scanned: Vec<Option<Category>> =
        recognised.places.iter().map(|place| scan(place, options, &mut findings)).collect();
    let total = scanned.iter().flatten().map(contents::files).sum();
    let done = std::sync::atomic::AtomicUsize::new(0);
    let advance = || progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1, total);
    let mut categories = vec![];
    for (category, place) in scanned.iter().zip(&recognised.places) {
        findings.category = place.name.clone();
        let Some(category) = category else { continue };
        let counts = contents::look(category, options, &advance, &mut findings);
        labels(category, &mut findings);
        categories.push(counts);
    }
    findings.category = String::new();
    let read: Vec<&Category> = scanned.iter().flatten().collect();
    unused::look(path, recognised, &read, &mut findings);
    CheckReport {
        path: path.to_path_buf(),
        layout: recognised.layout,
        recognised_by: recognised.why.clone(),
        absent: recognised.absent.clone(),
        categories,
        problems: findings.problems,
        notes: findings.notes,
    }
}

/// What is wrong with each image that cannot be decoded, in the order of the images.
pub fn unreadable<'a>(images: impl Iterator<Item = &'a Path>, decode: &DecodeOptions) -> Vec<DataError> {
    let images: Vec<&Path> = images.collect();
    images.par_iter().filter_map(|image| decode_file(image, decode).err()).collect()
}

/// Lists a category; all that its layout finds wrong is told.
fn scan(place: &Place, options: &CheckOptions, findings: &mut Findings) -> Option<Category> {
    findings.category = place.name.clone();
    let scanned = place.layout.layout().scan(place, &options.decode, &mut |problem| {
        findings.error(&problem);
        Ok(())
    });
    scanned.map_err(|error| findings.error(&error)).ok()
}

/// Numbers of images, and masks that are missing.
fn labels(category: &Category, findings: &mut Findings) {
    let (train, validation) = (category.train.len(), category.validation.len());
    let (masked, anomalous) = category.masked();
    let good = category.test.len() - anomalous;
    // A folder or list may be there to be tested on only.
    let is_for_training = train > 0 || category.test.is_empty() || category.place.folders.is_none();
    if train < FEWEST_IMAGES && is_for_training {
        findings.problem(
            "too-few-images",
            format!("{train} good images to train on; at least {FEWEST_IMAGES} are needed"),
        );
    } else if train < FEW_IMAGES && is_for_training {
        findings.note("few-images", format!("{train} good images to train on; 40 or more are better"));
    }
    if validation > 0 && validation < FEWEST_IMAGES + 1 {
        findings.note(
            "few-images",
            format!("{} in the validation set: too few for a threshold", images(validation)),
        );
    }
    match (good, anomalous) {
        (0, 0) => {
            findings.note("no-test", "no test images: a model can be trained, not measured".to_string())
        }
        (0, _) => findings.problem(
            "no-good-test-images",
            "no good test images: without them there is no image AUROC".to_string(),
        ),
        (_, 0) => {
            findings.problem("no-defects", "no defective test images: nothing can be measured".to_string())
        }
        _ => {}
    }
    if masked == 0 && anomalous > 0 {
        let message = format!("none of {anomalous} anomalous images has a mask: no pixel metrics");
        findings.note("no-masks", message);
    } else if masked < anomalous {
        for sample in &category.test {
            if sample.label == super::Label::Anomalous && sample.mask.is_none() {
                let message = format!(
                    "{} is anomalous and has no mask: one such image is enough for no pixel metrics",
                    sample.path.display()
                );
                findings.problem("image-without-mask", message);
            }
        }
    }
    // What was passed over is listed one by one.
    for note in category.notes.iter().filter(|note| note.kind != super::PASSED_OVER) {
        findings.note(note.kind, note.message.clone());
    }
    for left_out in &category.left_out {
        findings.note("left-out", format!("{} left out: {}", images(left_out.images.len()), left_out.why));
    }
}

pub(super) fn images(count: usize) -> String {
    if count == 1 { "1 image".to_string() } else { format!("{count} images") }
}

/// What was found so far.
struct Findings {
    base: PathBuf,
    category: String,
    problems: Vec<Finding>,
    notes: Vec<Finding>,
}

impl Findings {
    fn problem(&mut self, kind: &'static str, message: String) {
        let finding = self.finding(kind, message);
        // A file that cannot be read is met more than once.
        if !self.problems.contains(&finding) {
            self.problems.push(finding);
        }
    }

    fn note(&mut self, kind: &'static str, message: String) {
        let finding = self.finding(kind, message);
        self.notes.push(finding);
    }

    fn error(&mut self, error: &DataError) {
        self.problem(kind(error), error.to_string());
    }

    fn finding(&self, kind: &'static str, message: String) -> Finding {
        let base = self.base.display().to_string();
        let message = match base.as_str() {
            "" | "." | "/" => message,
            base => message.replace(&format!("{}/", base.trim_end_matches('/')), ""),
        };
        Finding { kind, category: self.category.clone(), message }
    }
}

fn kind(error: &DataError) -> &'static str {
    match error {
        DataError::MaskWithoutImage { .. } => "mask-without-image",
        DataError::AmbiguousName { .. } => "ambiguous-name",
        DataError::MaskSize { .. } => "mask-size",
        DataError::MissingFolder { .. } => "missing-folder",
        DataError::NoImages { .. } => "empty-folder",
        DataError::UnlabelledImage { .. } => "image-without-label",
        DataError::List { .. } => "list",
        DataError::ListedFileMissing { .. } => "listed-file-missing",
        DataError::NoGroundTruth { .. } => "image-without-ground-truth",
        DataError::DefectMask { .. } => "defect-mask",
        DataError::NotOnly { .. } => "other-parts",
        DataError::UnclearName { .. } => "unclear-name",
        DataError::OwnMask { .. } => "own-mask",
        DataError::Io { .. }
        | DataError::NotAFile { .. }
        | DataError::EmptyFile { .. }
        | DataError::UnknownFormat { .. }
        | DataError::Truncated { .. }
        | DataError::Decode { .. }
        | DataError::ForeignFile { .. }
        | DataError::Unread { .. }
        | DataError::TooManyPixels { .. }
        | DataError::FileTooLarge { .. }
        | DataError::NoPixels { .. } => "unreadable-file",
        _ => "other",
    }
}
