//! The ground truth of a folder's images, wherever it lies: in a folder of masks, beside the images, or in the files of an
//! annotation tool.

use std::collections::{BTreeMap, btree_map::Entry};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use walkdir::WalkDir;

use super::drawn::{Drawing, read_drawings};
use super::pairing::{ImageNames, pair, stem};
use super::{GroundTruth, Problems, is_hidden};
use crate::decode::DecodeOptions;
use crate::error::DataError;

/// Where the ground truth of some images may lie.
pub(super) struct Places<'a> {
    /// The folders that the images lie in.
    pub(super) folders: &'a [PathBuf],
    /// Folders of masks, with the files in them.
    pub(super) masks: Vec<(PathBuf, Vec<PathBuf>)>,
    /// Masks that lie among the images.
    pub(super) beside: Vec<PathBuf>,
    /// Annotation files.
    pub(super) drawn: Vec<PathBuf>,
}

/// The ground truth of each image that has one, by its index; and masks beside images that are not needed, since there is
/// one elsewhere.
pub(super) fn ground_truths(
    images: &[PathBuf],
    places: Places<'_>,
    decode: &DecodeOptions,
    problems: &mut Problems<'_>,
) -> Result<(BTreeMap<usize, GroundTruth>, Vec<PathBuf>), DataError> {
    let first = places.folders.first().map_or(Path::new(""), PathBuf::as_path);
    let mut truths = BTreeMap::new();
    let mut spare = vec![];
    for (root, masks) in places.masks {
        for (image, mask) in pair(images, places.folders, masks, &root, problems)? {
            if let Some(before) = truths.insert(image, GroundTruth::bright(mask.clone())) {
                let first = before.files().first().cloned().unwrap_or_default();
                problems(DataError::AmbiguousName { first, second: mask, stem: stem(&images[image]) })?;
            }
        }
    }
    for (image, mask) in pair(images, places.folders, places.beside, first, problems)? {
        match truths.entry(image) {
            Entry::Vacant(place) => {
                place.insert(GroundTruth::bright(mask));
            }
            Entry::Occupied(_) => spare.push(mask),
        }
    }
    let names = ImageNames::of(images, places.folders);
    for path in places.drawn {
        let drawings = match read_drawings(&path, decode.max_pixels) {
            Ok(drawings) => drawings.unwrap_or_default(),
            Err(error) => {
                problems(error)?;
                continue;
            }
        };
        let alone = drawings.len() == 1;
        for drawing in drawings {
            let image = names.named(&drawing, &path, alone);
            if let Some(image) = image {
                truths
                    .entry(image)
                    .or_insert(GroundTruth::Drawn { path: path.clone(), drawing: Arc::new(drawing) });
            }
        }
    }
    Ok((truths, spare))
}

impl ImageNames {
    /// The image that a drawing is of: by its own name, or by that of its file where that holds one drawing only.
    fn named(&self, drawing: &Drawing, file: &Path, alone: bool) -> Option<usize> {
        let by_file = || match self.by_name(file) {
            (_, &[image]) => Some(image),
            _ => None,
        };
        let own = PathBuf::from(drawing.image.replace('\\', "/"));
        let beside = || self.at(&file.with_extension(""));
        let by_own_name = || match self.by_name(&own) {
            (_, &[image]) => Some(image),
            _ => None,
        };
        let of_file = if alone { beside().or_else(by_file) } else { None };
        of_file.or_else(|| self.below(&own.with_extension(""))).or_else(by_own_name)
    }
}

/// The JSON files at and below a path, sorted.
pub(super) fn annotation_files(root: &Path) -> Vec<PathBuf> {
    let entries = WalkDir::new(root).follow_links(true).sort_by_file_name().into_iter();
    let visible = entries.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.path()));
    visible
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")))
        .collect()
}
