//! The layout of BTAD (beanTech): MVTec's tree with `train/ok`, `test/ok`, `test/ko` and `ground_truth/ko`.
//!
//! In: a category's folder (`01`, `02`, `03`). Out: a [`Category`]. Images are BMP or PNG, masks the other as often as
//! not: a mask belongs to the image of the same stem.

use std::path::Path;

use super::{Category, Layout, LayoutId, Place, Problems, Sign, tree::Tree};
use crate::decode::DecodeOptions;
use crate::error::DataError;

const TREE: Tree = Tree {
    train: "train",
    validation: None,
    test: "test",
    good: "ok",
    ground_truth: "ground_truth",
    images: None,
};

/// The layout.
pub(super) struct Btad;

impl Layout for Btad {
    fn id(&self) -> LayoutId {
        LayoutId::Btad
    }

    fn description(&self) -> &'static str {
        "BTAD: MVTec's tree with ok and ko"
    }

    fn signs(&self, folder: &Path) -> Vec<Sign> {
        vec![
            Sign::folder(folder, "train/ok"),
            Sign::folder(folder, "test/ok").optional(),
            Sign::folder(folder, "test/ko").optional(),
            Sign::folder(folder, "ground_truth/ko").optional(),
        ]
    }

    fn scan(
        &self,
        place: &Place,
        decode: &DecodeOptions,
        problems: &mut Problems<'_>,
    ) -> Result<Category, DataError> {
        TREE.scan(place, "BTAD", decode, problems)
    }
}
