//! The layout of MVTec LOCO AD: MVTec's tree with a validation set, several masks an image, and saturation areas.
//!
//! In: a category's folder with `train/good`, `validation/good`, `test/{good,logical_anomalies,structural_anomalies}`,
//! `ground_truth/<type>/<stem>/000.png`, `001.png`, …, one mask for each defect, and `defects_config.json`, which says
//! what their pixel values mean. Out: a [`Category`] whose ground truths are [`GroundTruth::Defects`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{
    Category, DefectKinds, GOOD, GroundTruth, Label, Layout, LayoutId, Place, Problems, Sample, Sign,
    folder::MASKS_BESIDE,
    last_name, list,
    pairing::{check_sizes, stem},
    require_images,
    tree::{TestFolder, Tree},
};
use crate::decode::DecodeOptions;
use crate::error::DataError;

const TREE: Tree = Tree {
    train: "train",
    validation: Some("validation"),
    test: "test",
    good: GOOD,
    ground_truth: "ground_truth",
    images: None,
};

/// What the masks' values mean.
const CONFIG: &str = "defects_config.json";

/// The layout.
pub(super) struct MvtecLoco;

impl Layout for MvtecLoco {
    fn id(&self) -> LayoutId {
        LayoutId::MvtecLoco
    }

    fn description(&self) -> &'static str {
        "MVTec LOCO AD: logical and structural anomalies, saturation areas"
    }

    fn signs(&self, folder: &Path) -> Vec<Sign> {
        let types = ["test/logical_anomalies", "test/structural_anomalies"];
        vec![
            Sign::good(folder, TREE.train, GOOD),
            Sign {
                what: types.join(" or "),
                found: types.iter().any(|name| folder.join(name).is_dir()),
                needed: true,
            },
            Sign::good(folder, "validation", GOOD).optional(),
            Sign { what: CONFIG.to_string(), found: folder.join(CONFIG).is_file(), needed: false },
        ]
    }

    fn scan(
        &self,
        place: &Place,
        decode: &DecodeOptions,
        problems: &mut Problems<'_>,
    ) -> Result<Category, DataError> {
        let (mut category, folders) = TREE.list(place, "MVTec LOCO", problems)?;
        let mut masks = masks(&place.path, problems)?;
        let config = place.path.join(CONFIG);
        let kinds = if masks.is_empty() {
            // Image labels only: nothing to look up.
            None
        } else {
            match DefectKinds::read_file(&config) {
                Ok(kinds) => Some(Arc::new(kinds)),
                Err(error) => {
                    problems(error)?;
                    None
                }
            }
        };
        if config.is_file() {
            category.others.push(config);
        }
        for TestFolder { defect, label, images, masks: beside, .. } in folders {
            category.leave_out(MASKS_BESIDE, beside);
            for path in images {
                if label == Label::Normal {
                    category.test.push(Sample::normal(path));
                    continue;
                }
                let key = (defect.clone(), stem(&path));
                let of_image = masks.remove(&key).map(|(_, masks)| masks);
                let truth = match (of_image, &kinds) {
                    (None, _) => None,
                    (Some(masks), Some(kinds)) => Some(GroundTruth::Defects { masks, kinds: kinds.clone() }),
                    // Told above; the masks are there all the same.
                    (Some(masks), None) => {
                        category.others.extend(masks);
                        None
                    }
                };
                category.test.push(Sample::anomalous(path, &defect, truth));
            }
        }
        for ((defect, stem), (folder, masks)) in masks {
            let mask = masks.into_iter().next().unwrap_or(folder);
            let folder = place.path.join(TREE.test).join(defect);
            problems(DataError::MaskWithoutImage { mask, stem, folder })?;
        }
        check_sizes(&mut category, decode, problems)?;
        Ok(category)
    }
}

/// The masks of each image, sorted: (type, stem) -> their folder and they.
type Masks = BTreeMap<(String, String), (PathBuf, Vec<PathBuf>)>;

fn masks(dir: &Path, problems: &mut Problems<'_>) -> Result<Masks, DataError> {
    let mut all = Masks::new();
    for (defect, folder) in TREE.mask_folders(dir, problems)? {
        let (stray, of_images) = list(&folder)?;
        for path in stray {
            let hint =
                format!("{defect} has a folder of masks for each image, such as ground_truth/{defect}/000/");
            problems(DataError::UnlabelledImage { path, hint })?;
        }
        for of_image in of_images {
            let (masks, _) = list(&of_image)?;
            if let Err(empty) = require_images(&masks, &of_image, "a mask for each defect of the image") {
                problems(empty)?;
                continue;
            }
            all.insert((defect.clone(), last_name(&of_image)), (of_image, masks));
        }
    }
    Ok(all)
}
