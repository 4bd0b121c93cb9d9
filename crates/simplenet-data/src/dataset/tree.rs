//! The tree that MVTec AD has made common, with the names that its relatives give to its folders.
//!
//! In: a category's folder with images to train on, perhaps good ones apart, and a test folder with a folder for each
//! defect. Out: the samples, as yet without masks.

use std::path::{Path, PathBuf};

use super::{
    Category, Place, Problems, Sample, last_name, list, pairing::check_sizes, require_folder, require_images,
};
use crate::decode::DecodeOptions;
use crate::error::DataError;

/// Names of the folders.
pub(super) struct Tree {
    /// Good images to train on.
    pub(super) train: &'static str,
    /// Good images apart, where there may be any.
    pub(super) validation: Option<&'static str>,
    /// The folder of the test folders.
    pub(super) test: &'static str,
    /// The test folder of good images, and of masks that are passed over.
    pub(super) good: &'static str,
    /// The folder of the mask folders.
    pub(super) ground_truth: &'static str,
}

/// The images of one test folder.
pub(super) struct TestFolder {
    pub(super) defect: String,
    pub(super) path: PathBuf,
    pub(super) images: Vec<PathBuf>,
}

impl Tree {
    /// The images of `train` and `validation`, and the test folders, sorted. Folders of the test folder that are no
    /// defects are given in `passed_over`.
    pub(super) fn list(
        &self,
        place: &Place,
        what: &str,
        problems: &mut Problems<'_>,
    ) -> Result<(Category, Vec<TestFolder>), DataError> {
        let dir = place.path.as_path();
        let Self { train, test, good, .. } = *self;
        require_folder(
            dir,
            &format!("a category in {what} layout, with {train}, {test}/{good} and {test}/<defect> inside"),
        )?;
        let mut category = Category::new(place, dir);
        let wanted = "the images of good parts to train on";
        category.train = normal(&dir.join(train), wanted, problems)?;
        if let Some(validation) = self.validation {
            category.validation =
                normal(&dir.join(validation), "the good images of the validation set", problems)?;
        }
        let test_folders = self.test_folders(dir, problems)?;
        Ok((category, test_folders))
    }

    fn test_folders(&self, dir: &Path, problems: &mut Problems<'_>) -> Result<Vec<TestFolder>, DataError> {
        let Self { test, good, .. } = *self;
        let test_dir = dir.join(test);
        let wanted = format!(
            "the folders {test}/{good} and {test}/<defect>; to train without a test set, give the folder of good \
             images instead of the category"
        );
        if let Err(missing) = require_folder(&test_dir, &wanted) {
            problems(missing)?;
            return Ok(vec![]);
        }
        let (stray, mut folders) = list(&test_dir)?;
        // MVTec AD 2 has its masks there.
        folders.retain(|folder| *folder != dir.join(self.ground_truth));
        for path in stray {
            let hint = format!("move it to {test}/{good} or to {test}/<defect>");
            problems(DataError::UnlabelledImage { path, hint })?;
        }
        if folders.is_empty() {
            problems(DataError::NoImages { path: test_dir, expected: wanted })?;
        }
        let mut found = vec![];
        for path in folders {
            let (images, _) = list(&path)?;
            require_images(&images, &path, "test images; remove the folder if this defect does not occur")
                .or_else(&mut *problems)?;
            found.push(TestFolder { defect: last_name(&path), path, images });
        }
        Ok(found)
    }

    /// The folders of masks by defect, sorted, without that of good images. No folder of ground truth: none.
    pub(super) fn mask_folders(
        &self,
        dir: &Path,
        problems: &mut Problems<'_>,
    ) -> Result<Vec<(String, PathBuf)>, DataError> {
        let name = self.ground_truth;
        let ground_truth = dir.join(name);
        if !ground_truth.exists() {
            return Ok(vec![]);
        }
        let wanted = format!("the folders {name}/<defect> of masks, or no such entry at all");
        if let Err(missing) = require_folder(&ground_truth, &wanted) {
            problems(missing)?;
            return Ok(vec![]);
        }
        let folders = list(&ground_truth)?.1.into_iter().map(|folder| (last_name(&folder), folder));
        Ok(folders.filter(|(defect, _)| defect != self.good).collect())
    }

    /// Reads a category whose masks lie one beside the other in a folder for each defect.
    pub(super) fn scan(
        &self,
        place: &Place,
        what: &str,
        decode: &DecodeOptions,
        problems: &mut Problems<'_>,
    ) -> Result<Category, DataError> {
        let (mut category, folders) = self.list(place, what, problems)?;
        let mut masks = std::collections::BTreeMap::new();
        for (defect, folder) in self.mask_folders(&place.path, problems)? {
            masks.insert(defect, list(&folder)?.0);
        }
        for TestFolder { defect, path, images } in folders {
            if defect == self.good {
                category.test.extend(images.into_iter().map(Sample::normal));
                continue;
            }
            let of_defect = masks.remove(&defect).unwrap_or_default();
            let mut paired = super::pairing::pair(&images, of_defect, "_mask", &path, problems)?;
            category.test.extend(images.into_iter().enumerate().map(|(i, path)| {
                Sample::anomalous(path, &defect, paired.remove(&i).map(super::GroundTruth::bright))
            }));
        }
        // Masks of a defect that has no test folder.
        for (defect, masks) in masks {
            for mask in masks {
                let stem = String::from_utf8_lossy(super::pairing::image_stem(&mask, "_mask")).into_owned();
                let folder = place.path.join(self.test).join(&defect);
                problems(DataError::MaskWithoutImage { mask, stem, folder })?;
            }
        }
        check_sizes(&category.test, decode, problems)?;
        Ok(category)
    }
}

/// The images of a folder, all good.
fn normal(dir: &Path, wanted: &str, problems: &mut Problems<'_>) -> Result<Vec<Sample>, DataError> {
    if let Err(missing) = require_folder(dir, wanted) {
        problems(missing)?;
        return Ok(vec![]);
    }
    let (images, _) = list(dir)?;
    require_images(&images, dir, wanted).or_else(problems)?;
    Ok(images.into_iter().map(Sample::normal).collect())
}
