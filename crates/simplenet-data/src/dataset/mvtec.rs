//! The layout of MVTec AD, which many data sets share, MPDD among them.
//!
//! In: a category's folder with `train/good`, `test/good`, `test/<defect>` and, where the places of defects are
//! known, `ground_truth/<defect>/<stem>_mask.png` or `<stem>.png` for `test/<defect>/<stem>.png`. Out: a
//! [`Category`]. The folders of good parts may have any of their names (`OK`, `normal`, …), and images may lie in
//! sub-folders. The two of a pair may differ in format. Hidden files, other files and `ground_truth/good` are passed over.
//!
//! Without `ground_truth` there are image labels only; an anomalous image without a mask gets `mask: None`.
//! Sizes of masks and images are compared here, by their headers, so that a mistake shows before a training.

use std::path::{Path, PathBuf};

use super::{Category, GOOD, Layout, LayoutId, Place, Problems, Sign, tree::Tree};
use crate::decode::DecodeOptions;
use crate::error::DataError;

const TREE: Tree = Tree {
    train: "train",
    validation: None,
    test: "test",
    good: GOOD,
    ground_truth: "ground_truth",
    images: None,
};

/// The layout.
pub(super) struct Mvtec;

impl Layout for Mvtec {
    fn id(&self) -> LayoutId {
        LayoutId::Mvtec
    }

    fn description(&self) -> &'static str {
        "MVTec AD, MPDD and others with the same tree"
    }

    fn signs(&self, folder: &Path) -> Vec<Sign> {
        vec![
            Sign::good(folder, TREE.train, GOOD),
            Sign::folder(folder, "test").optional(),
            Sign::good(folder, "test", GOOD).optional(),
            Sign::folder(folder, "ground_truth").optional(),
        ]
    }

    fn scan(
        &self,
        place: &Place,
        decode: &DecodeOptions,
        problems: &mut Problems<'_>,
    ) -> Result<Category, DataError> {
        TREE.scan(place, "MVTec", decode, problems)
    }
}

/// Reads the layout of one category, with sizes as the default [`DecodeOptions`] give them.
///
/// # Errors
/// As [`load_category_with`].
pub fn load_category(dir: &Path) -> Result<Category, DataError> {
    load_category_with(dir, &DecodeOptions::default())
}

/// Reads the layout of one category; `decode` is the model's, since the EXIF orientation decides about the
/// size that a mask must have.
///
/// # Errors
/// A folder is missing or without images, a mask has no image or another size than its image, two files
/// claim the same place, an image lies where it has no label, a masked image's header cannot be read.
pub fn load_category_with(dir: &Path, decode: &DecodeOptions) -> Result<Category, DataError> {
    super::require_folder(
        dir,
        "a category in MVTec layout, with train/good, test/good and test/<defect> inside",
    )?;
    Mvtec.place(dir)?.load(decode)
}

/// The categories below `root`, sorted: folders with `train/good` inside.
///
/// # Errors
/// `root` is missing or holds no category; the message says so when `root` is a category itself.
pub fn list_categories(root: &Path) -> Result<Vec<PathBuf>, DataError> {
    super::require_folder(root, "a folder of categories in MVTec layout")?;
    let categories: Vec<PathBuf> = Mvtec.places(root)?.into_iter().map(|place| place.path).collect();
    if categories.is_empty() {
        return Err(no_categories(root, Mvtec.fits(root)));
    }
    Ok(categories)
}

pub(super) fn no_categories(root: &Path, is_category: bool) -> DataError {
    let hint = if is_category {
        "this folder is itself a category, give the folder above it"
    } else {
        "check the path, or unpack the data set there"
    };
    DataError::NoCategories { path: root.to_path_buf(), hint: hint.to_string() }
}

#[cfg(test)]
#[path = "mvtec_tests.rs"]
mod tests;
