//! The layout of MVTec 3D-AD: MVTec's tree with a folder of colour images, one of heights and one of masks in each.
//!
//! In: a category's folder with `train/good/rgb`, `validation/good/rgb`, `test/<defect>/{rgb,gt,xyz}`. Out: a
//! [`Category`] of the colour images. The heights (`xyz`, floating-point TIFF) are no photographs and are passed over.

use std::path::Path;

use super::{
    Category, GOOD, Label, Layout, LayoutId, Place, Problems, Sign,
    folder::listed,
    pairing::check_sizes,
    tree::{Tree, add_tests, good_folder},
};
use crate::dataset::child;
use crate::decode::DecodeOptions;
use crate::error::DataError;

const TREE: Tree = Tree {
    train: "train",
    validation: Some("validation"),
    test: "test",
    good: GOOD,
    ground_truth: "ground_truth",
    images: Some("rgb"),
};

/// The folder of masks of a test folder.
const MASKS: &str = "gt";
/// The folder of heights.
const HEIGHTS: &str = "xyz";

/// The layout.
pub(super) struct Mvtec3d;

impl Layout for Mvtec3d {
    fn id(&self) -> LayoutId {
        LayoutId::Mvtec3d
    }

    fn description(&self) -> &'static str {
        "MVTec 3D-AD: its colour images"
    }

    fn signs(&self, folder: &Path) -> Vec<Sign> {
        let colour = |above: &str| {
            let good = good_folder(&child(folder, above)).ok().flatten();
            let what = format!("{above}/{GOOD}/rgb");
            Sign { what, found: good.is_some_and(|good| good.join("rgb").is_dir()), needed: true }
        };
        vec![
            colour("train"),
            colour("validation").optional(),
            Sign::folder(folder, "test").optional(),
            colour("test").optional(),
        ]
    }

    fn scan(
        &self,
        place: &Place,
        decode: &DecodeOptions,
        problems: &mut Problems<'_>,
    ) -> Result<Category, DataError> {
        let has_validation = child(&place.path, "validation").is_dir();
        let tree = Tree { validation: TREE.validation.filter(|_| has_validation), ..TREE };
        let (mut category, folders) = tree.list(place, "MVTec 3D", problems)?;
        for folder in folders {
            let masks = folder.path.join(MASKS);
            let masks = Some(masks).filter(|masks| masks.is_dir());
            // Those of good images are black throughout.
            if let (Label::Normal, Some(masks)) = (folder.label, &masks) {
                category.others.extend(listed(masks, "", &mut |_| Ok(()))?);
            }
            add_tests(&mut category, folder, masks, decode, problems)?;
        }
        for part in ["train", "validation", "test"] {
            heights(&child(&place.path, part), &mut category);
        }
        check_sizes(&mut category, decode, problems)?;
        Ok(category)
    }
}

/// The files of heights below a folder go with the data set and are no images of it.
fn heights(folder: &Path, category: &mut Category) {
    let Ok((_, folders)) = super::list(folder) else { return };
    for folder in folders {
        let heights = folder.join(HEIGHTS);
        if heights.is_dir() {
            category.others.extend(listed(&heights, "", &mut |_| Ok(())).unwrap_or_default());
        }
    }
}
