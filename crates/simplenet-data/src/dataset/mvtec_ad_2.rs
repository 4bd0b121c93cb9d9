//! The layout of MVTec AD 2: MVTec's tree with a validation set, a public test set and two private ones.
//!
//! In: a category's folder with `train/good`, `validation/good`, `test_public/{good,bad}`,
//! `test_public/ground_truth/bad/<stem>_mask.png`, `test_private` and `test_private_mixed`. Out: a [`Category`]. The
//! private images have no labels here, its makers' server has them: they are listed as left out.

use std::path::{Path, PathBuf};

use super::{Category, GOOD, Layout, LayoutId, Place, Problems, Sign, list, tree::Tree};
use crate::decode::DecodeOptions;
use crate::error::DataError;

const TREE: Tree = Tree {
    train: "train",
    validation: Some("validation"),
    test: "test_public",
    good: GOOD,
    ground_truth: "test_public/ground_truth",
    images: None,
};

/// Test images without labels: the folder, and why they are left out.
const PRIVATE: [(&str, &str); 2] =
    [("test_private", "test_private, no labels"), ("test_private_mixed", "test_private_mixed, no labels")];

/// The layout.
pub(super) struct MvtecAd2;

impl Layout for MvtecAd2 {
    fn id(&self) -> LayoutId {
        LayoutId::MvtecAd2
    }

    fn description(&self) -> &'static str {
        "MVTec AD 2: test_public, and private test images without labels"
    }

    fn signs(&self, folder: &Path) -> Vec<Sign> {
        let mut signs = vec![
            Sign::good(folder, TREE.train, GOOD),
            Sign::folder(folder, TREE.test),
            Sign::good(folder, "validation", GOOD).optional(),
            Sign::folder(folder, TREE.ground_truth).optional(),
        ];
        signs.extend(PRIVATE.map(|(name, _)| Sign::folder(folder, name).optional()));
        signs
    }

    fn scan(
        &self,
        place: &Place,
        decode: &DecodeOptions,
        problems: &mut Problems<'_>,
    ) -> Result<Category, DataError> {
        let mut category = TREE.scan(place, "MVTec AD 2", decode, problems)?;
        for (name, why) in PRIVATE {
            let folder = place.path.join(name);
            if folder.is_dir() {
                category.leave_out(why, images_below(&folder)?);
            }
        }
        Ok(category)
    }
}

/// The images of a folder, and of its sub-folders should a copy have some.
fn images_below(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let (mut images, folders) = list(dir)?;
    for folder in folders {
        images.extend(images_below(&folder)?);
    }
    Ok(images)
}
