//! The layout of MVTec AD, which many data sets share.
//!
//! In: a category's folder with `train/good`, `test/good`, `test/<defect>` and, where the places of defects are
//! known, `ground_truth/<defect>/<stem>_mask.png` or `<stem>.png` for `test/<defect>/<stem>.png`. Out: a
//! [`Category`]. Images and masks are PNG, JPEG, BMP or TIFF; the two of a pair may differ in format. Hidden
//! files, other files and `ground_truth/good` are passed over.
//!
//! Without `ground_truth` there are image labels only; an anomalous image without a mask gets `mask: None`.
//! Sizes of masks and images are compared here, by their headers, so that a mistake shows before a training.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Category, GOOD, Label, Sample, folder_name, list, require_folder, require_images};
use crate::decode::{DecodeOptions, image_size};
use crate::error::DataError;

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
    require_folder(dir, "a category in MVTec layout, with train/good, test/good and test/<defect> inside")?;
    let good = dir.join("train").join(GOOD);
    let wanted = "the images of good parts to train on";
    require_folder(&good, wanted)?;
    let (train, _) = list(&good)?;
    require_images(&train, &good, wanted)?;

    let test_dir = dir.join("test");
    let wanted = "the folders test/good and test/<defect>; to train without a test set, give the folder of \
                  good images instead of the category";
    require_folder(&test_dir, wanted)?;
    let (stray, defects) = list(&test_dir)?;
    if let Some(path) = stray.into_iter().next() {
        let hint = "move it to test/good or to test/<defect>".to_string();
        return Err(DataError::UnlabelledImage { path, hint });
    }
    if defects.is_empty() {
        return Err(DataError::NoImages { path: test_dir, expected: wanted.to_string() });
    }

    let mut masks = list_masks(dir)?;
    let mut test = Vec::new();
    for folder in &defects {
        let defect = folder_name_of(folder);
        let (images, _) = list(folder)?;
        require_images(&images, folder, "test images; remove the folder if this defect does not occur")?;
        let mut paired = match defect == GOOD {
            true => BTreeMap::new(),
            false => pair(&images, masks.remove(&defect).unwrap_or_default(), folder)?,
        };
        test.extend(images.into_iter().enumerate().map(|(i, path)| Sample {
            path,
            label: if defect == GOOD { Label::Normal } else { Label::Anomalous },
            defect: defect.clone(),
            mask: paired.remove(&i),
        }));
    }
    // Masks of a defect that has no test folder.
    if let Some((defect, mask)) = masks.into_iter().find_map(|(d, m)| Some((d, m.into_iter().next()?))) {
        let stem = String::from_utf8_lossy(image_stem(&mask)).into_owned();
        return Err(DataError::MaskWithoutImage { mask, stem, folder: test_dir.join(defect) });
    }
    for sample in &test {
        check_size(sample, decode)?;
    }
    let train = train
        .into_iter()
        .map(|path| Sample { path, label: Label::Normal, defect: GOOD.to_string(), mask: None })
        .collect();
    Ok(Category { name: folder_name(dir)?, root: dir.to_path_buf(), train, test })
}

/// The categories below `root`, sorted: folders with `train/good` inside.
///
/// # Errors
/// `root` is missing or holds no category; the message says so when `root` is a category itself.
pub fn list_categories(root: &Path) -> Result<Vec<PathBuf>, DataError> {
    let is_category = |dir: &Path| dir.join("train").join(GOOD).is_dir();
    require_folder(root, "a folder of categories in MVTec layout")?;
    let categories: Vec<PathBuf> = list(root)?.1.into_iter().filter(|dir| is_category(dir)).collect();
    if categories.is_empty() {
        let hint = if is_category(root) {
            "this folder is itself a category, give the folder above it"
        } else {
            "check the path, or unpack the data set there"
        };
        return Err(DataError::NoCategories { path: root.to_path_buf(), hint: hint.to_string() });
    }
    Ok(categories)
}

/// Masks by defect, sorted. No `ground_truth` folder: none.
fn list_masks(dir: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>, DataError> {
    let ground_truth = dir.join("ground_truth");
    if !ground_truth.exists() {
        return Ok(BTreeMap::new());
    }
    require_folder(&ground_truth, "the folders ground_truth/<defect> of masks, or no such entry at all")?;
    let folders = list(&ground_truth)?.1.into_iter().map(|f| (folder_name_of(&f), f));
    folders.filter(|(defect, _)| defect != GOOD).map(|(defect, f)| Ok((defect, list(&f)?.0))).collect()
}

/// Finds each mask's image by name: index of the image -> mask.
fn pair(
    images: &[PathBuf],
    masks: Vec<PathBuf>,
    folder: &Path,
) -> Result<BTreeMap<usize, PathBuf>, DataError> {
    let mut by_stem: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for (i, image) in images.iter().enumerate() {
        by_stem.entry(stem(image)).or_default().push(i);
    }
    let mut paired: BTreeMap<usize, PathBuf> = BTreeMap::new();
    for mask in masks {
        // An image may itself be called something_mask.
        let name = if by_stem.contains_key(stem(&mask)) { stem(&mask) } else { image_stem(&mask) };
        let readable = String::from_utf8_lossy(name).into_owned();
        match by_stem.get(name).map(Vec::as_slice) {
            None | Some([]) => {
                return Err(DataError::MaskWithoutImage {
                    mask,
                    stem: readable,
                    folder: folder.to_path_buf(),
                });
            }
            Some(&[image]) => {
                if let Some(first) = paired.insert(image, mask.clone()) {
                    return Err(DataError::AmbiguousName { first, second: mask, stem: readable });
                }
            }
            Some(&[first, second, ..]) => {
                let (first, second) = (images[first].clone(), images[second].clone());
                return Err(DataError::AmbiguousName { first, second, stem: readable });
            }
        }
    }
    Ok(paired)
}

fn check_size(sample: &Sample, decode: &DecodeOptions) -> Result<(), DataError> {
    let Some(mask) = &sample.mask else { return Ok(()) };
    let (mask_size, image_size) = (image_size(mask, decode)?, image_size(&sample.path, decode)?);
    if mask_size == image_size {
        return Ok(());
    }
    let (mask, image) = (mask.clone(), sample.path.clone());
    Err(DataError::MaskSize { mask, mask_size, image, image_size })
}

fn stem(path: &Path) -> &[u8] {
    path.file_stem().unwrap_or_default().as_encoded_bytes()
}

/// The stem of the image that a mask belongs to.
fn image_stem(mask: &Path) -> &[u8] {
    stem(mask).strip_suffix(b"_mask").unwrap_or(stem(mask))
}

fn folder_name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
#[path = "mvtec_tests.rs"]
mod tests;
