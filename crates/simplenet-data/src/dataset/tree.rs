//! The tree that MVTec AD has made common, with the names that its relatives give to its folders.
//!
//! In: a category's folder with images to train on, perhaps good ones apart, and a test folder with a folder for each
//! defect. Out: the samples. Folders of good parts may have any of their names (`names`), folders any case, and images
//! may lie in sub-folders. Masks that lie among the images are told from them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{
    Category, Label, Place, Problems, Sample, child,
    folder::{MASKS_BESIDE, listed},
    last_name, list,
    masks_of::{Places, annotation_files, ground_truths},
    names::{Meaning, is_good, meaning},
    only_good::{Wanted, wrong_folders},
    pairing::{Apart, apart, check_sizes, stem},
    require_folder,
};
use crate::decode::DecodeOptions;
use crate::error::DataError;

/// Names of the folders.
pub(super) struct Tree {
    /// The folder above that of good images to train on.
    pub(super) train: &'static str,
    /// The folder above that of good images apart, where there may be any.
    pub(super) validation: Option<&'static str>,
    /// The folder of the test folders.
    pub(super) test: &'static str,
    /// How the folders of good images are mostly called here, for messages.
    pub(super) good: &'static str,
    /// The folder of the mask folders.
    pub(super) ground_truth: &'static str,
    /// The sub-folder of each of these that holds the images, where there are others beside it.
    pub(super) images: Option<&'static str>,
}

/// The images of one test folder.
pub(super) struct TestFolder {
    pub(super) defect: String,
    pub(super) label: Label,
    pub(super) path: PathBuf,
    pub(super) images: Vec<PathBuf>,
    /// Masks that lie among them.
    pub(super) masks: Vec<PathBuf>,
}

/// The folder of good parts below another one, by whichever of its names.
///
/// # Errors
/// Two folders have such a name.
pub(super) fn good_folder(parent: &Path) -> Result<Option<PathBuf>, DataError> {
    let Ok((_, folders)) = list(parent) else { return Ok(None) };
    let mut good = folders.into_iter().filter(|folder| is_good(&last_name(folder)));
    match (good.next(), good.next()) {
        (Some(first), Some(second)) => {
            let problem = format!(
                "{} and {} beside it are both called as good parts are; put them into one folder",
                last_name(&first),
                last_name(&second)
            );
            Err(DataError::UnclearName { path: first, problem })
        }
        (found, _) => Ok(found),
    }
}

impl Tree {
    /// The images of `train` and `validation`, and the test folders, sorted.
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
            &format!(
                "a category in {what} layout, with {train}/{good}, {test}/{good} and {test}/<defect> inside"
            ),
        )?;
        let mut category = Category::new(place, dir);
        category.note_passed_over([&place.path]);
        category.train =
            self.normal(&mut category, train, "the images of good parts to train on", problems)?;
        if let Some(validation) = self.validation {
            let wanted = "the good images of the validation set";
            category.validation = self.normal(&mut category, validation, wanted, problems)?;
        }
        let test_folders = self.test_folders(dir, problems)?;
        Ok((category, test_folders))
    }

    /// The good images below a folder such as `train`.
    fn normal(
        &self,
        category: &mut Category,
        above: &str,
        wanted: &str,
        problems: &mut Problems<'_>,
    ) -> Result<Vec<Sample>, DataError> {
        let above = child(&category.root, above);
        let folder = match good_folder(&above) {
            Ok(folder) => folder.unwrap_or_else(|| above.join(self.good)),
            Err(unclear) => {
                problems(unclear)?;
                return Ok(vec![]);
            }
        };
        let wanted = match list(&above).unwrap_or_default().1.iter().find(|other| sounds_good(other)) {
            Some(other) if !folder.is_dir() => {
                format!("{wanted}; call {} so if its parts are good", last_name(other))
            }
            _ => wanted.to_string(),
        };
        if let Err(missing) = require_folder(&folder, &wanted) {
            problems(missing)?;
            return Ok(vec![]);
        }
        let folder = self.images.map_or(folder.clone(), |images| folder.join(images));
        let Apart { images, masks } = apart(listed(&folder, &wanted, problems)?, &folder);
        let others = wrong_folders(&folder, &images, Wanted::Good(""), &[], &[]);
        if let Some((wrong, count)) = others.into_iter().next() {
            problems(DataError::NotOnly {
                found: format!("{} ({})", last_name(&wrong), super::check::images(count)),
                folder,
                parts: "good",
                advice: format!("move {} to another place", wrong.display()),
                way_out: "If its parts are good, rename it".into(),
            })?;
        }
        category.leave_out(MASKS_BESIDE, masks);
        Ok(images.into_iter().map(Sample::normal).collect())
    }

    fn test_folders(&self, dir: &Path, problems: &mut Problems<'_>) -> Result<Vec<TestFolder>, DataError> {
        let Self { test, good, .. } = *self;
        let test_dir = child(dir, test);
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
        folders.retain(|folder| *folder != child(dir, self.ground_truth));
        for path in stray {
            let hint = format!("move it to {test}/{good} or to {test}/<defect>");
            problems(DataError::UnlabelledImage { path, hint })?;
        }
        if folders.is_empty() {
            problems(DataError::NoImages { path: test_dir, expected: wanted })?;
        }
        let mut found = vec![];
        for path in folders {
            let defect = last_name(&path);
            let label = match meaning(&defect) {
                Meaning::Good => Label::Normal,
                Meaning::SoundsGood | Meaning::Unclear => {
                    let problem = format!(
                        "are these good parts or defective ones? If they are good, call the folder {test}/{good}; if \
                         they are defective, call it after the defect"
                    );
                    problems(DataError::UnclearName { path, problem })?;
                    continue;
                }
                _ => Label::Anomalous,
            };
            let folder = self.images.map_or(path.clone(), |images| path.join(images));
            let wanted = "test images; remove the folder if this defect does not occur";
            let Apart { images, masks } = apart(listed(&folder, wanted, problems)?, &folder);
            found.push(TestFolder { defect, label, path, images, masks });
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
        let ground_truth = child(dir, name);
        if !ground_truth.exists() {
            return Ok(vec![]);
        }
        let wanted = format!("the folders {name}/<defect> of masks, or no such entry at all");
        if let Err(missing) = require_folder(&ground_truth, &wanted) {
            problems(missing)?;
            return Ok(vec![]);
        }
        let folders = list(&ground_truth)?.1.into_iter().map(|folder| (last_name(&folder), folder));
        Ok(folders.filter(|(defect, _)| !is_good(defect)).collect())
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
        // Of folders whose names differ in their case only, one at most is there on every system.
        let mut masks: BTreeMap<String, PathBuf> = BTreeMap::new();
        for (defect, folder) in self.mask_folders(&place.path, problems)? {
            masks.insert(defect.to_lowercase(), folder);
        }
        for folder in folders {
            let of_defect = masks.remove(&folder.defect.to_lowercase());
            add_tests(&mut category, folder, of_defect, decode, problems)?;
        }
        // Masks of a defect that has no test folder.
        for folder in masks.into_values() {
            for mask in listed(&folder, "", &mut |_| Ok(()))? {
                let stem = stem(&mask).trim_end_matches("_mask").to_string();
                let folder = child(&place.path, self.test).join(last_name(&folder));
                problems(DataError::MaskWithoutImage { mask, stem, folder })?;
            }
        }
        check_sizes(&mut category, decode, problems)?;
        Ok(category)
    }
}

/// Adds the samples of a test folder; `masks` is the folder of its masks, where it has one.
pub(super) fn add_tests(
    category: &mut Category,
    folder: TestFolder,
    masks: Option<PathBuf>,
    decode: &DecodeOptions,
    problems: &mut Problems<'_>,
) -> Result<(), DataError> {
    let TestFolder { defect, label, path, images, masks: beside } = folder;
    if label == Label::Normal {
        category.leave_out(MASKS_BESIDE, beside);
        category.test.extend(images.into_iter().map(Sample::normal));
        return Ok(());
    }
    let mut drawn = annotation_files(&path);
    let mut of_defect = vec![];
    if let Some(masks) = masks {
        drawn.extend(annotation_files(&masks));
        // A folder without masks is no error, each image without one is told; one with masks that are not read is.
        let wanted = "masks, or no folder";
        let files = listed(&masks, wanted, &mut |problem| match problem {
            DataError::NoImages { expected, .. } if expected == wanted => Ok(()),
            other => problems(other),
        })?;
        of_defect.push((masks, files));
    }
    let folders = [path];
    let places = Places { folders: &folders, masks: of_defect, beside, drawn };
    let (mut truths, spare) = ground_truths(&images, places, decode, problems)?;
    category.leave_out(MASKS_BESIDE, spare);
    let samples = images.into_iter().enumerate();
    category.test.extend(samples.map(|(i, path)| Sample::anomalous(path, &defect, truths.remove(&i))));
    Ok(())
}

fn sounds_good(folder: &Path) -> bool {
    meaning(&last_name(folder)) == Meaning::SoundsGood
}
