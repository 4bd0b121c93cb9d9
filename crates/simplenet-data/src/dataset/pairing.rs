//! Which mask belongs to which image, by name; and whether the two have one size.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Problems, Sample};
use crate::decode::{DecodeOptions, image_size};
use crate::error::DataError;

/// Finds each mask's image by name, with `suffix` after its stem or without: index of the image -> mask. `folder` is
/// where the images were looked for.
pub(super) fn pair(
    images: &[PathBuf],
    masks: Vec<PathBuf>,
    suffix: &str,
    folder: &Path,
    problems: &mut Problems<'_>,
) -> Result<BTreeMap<usize, PathBuf>, DataError> {
    let mut by_stem: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for (i, image) in images.iter().enumerate() {
        by_stem.entry(stem(image)).or_default().push(i);
    }
    let mut paired: BTreeMap<usize, PathBuf> = BTreeMap::new();
    for mask in masks {
        // An image may itself be called something_mask.
        let name = if by_stem.contains_key(stem(&mask)) { stem(&mask) } else { image_stem(&mask, suffix) };
        let readable = String::from_utf8_lossy(name).into_owned();
        match by_stem.get(name).map(Vec::as_slice) {
            None | Some([]) => {
                problems(DataError::MaskWithoutImage { mask, stem: readable, folder: folder.to_path_buf() })?
            }
            Some(&[image]) => {
                if let Some(first) = paired.insert(image, mask.clone()) {
                    problems(DataError::AmbiguousName { first, second: mask, stem: readable })?;
                }
            }
            Some(&[first, second, ..]) => {
                let (first, second) = (images[first].clone(), images[second].clone());
                problems(DataError::AmbiguousName { first, second, stem: readable })?;
            }
        }
    }
    Ok(paired)
}

/// Compares the size of each mask with that of its image, by their headers.
pub(super) fn check_sizes(
    samples: &[Sample],
    decode: &DecodeOptions,
    problems: &mut Problems<'_>,
) -> Result<(), DataError> {
    for sample in samples {
        let Some(truth) = &sample.mask else { continue };
        let size = match image_size(&sample.path, decode) {
            Ok(size) => size,
            Err(error) => {
                problems(error)?;
                continue;
            }
        };
        for mask in truth.files() {
            check_size(mask, &sample.path, size, decode).or_else(&mut *problems)?;
        }
    }
    Ok(())
}

fn check_size(
    mask: &Path,
    image: &Path,
    image_size: (u32, u32),
    decode: &DecodeOptions,
) -> Result<(), DataError> {
    let mask_size = self::image_size(mask, decode)?;
    if mask_size == image_size {
        return Ok(());
    }
    Err(DataError::MaskSize { mask: mask.to_path_buf(), mask_size, image: image.to_path_buf(), image_size })
}

/// A file's name without its extension.
pub(super) fn stem(path: &Path) -> &[u8] {
    path.file_stem().unwrap_or_default().as_encoded_bytes()
}

/// The stem of the image that a mask belongs to.
pub(super) fn image_stem<'a>(mask: &'a Path, suffix: &str) -> &'a [u8] {
    stem(mask).strip_suffix(suffix.as_bytes()).unwrap_or(stem(mask))
}
