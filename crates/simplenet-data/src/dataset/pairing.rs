//! Which files among photographs are masks, which mask belongs to which image, and whether the two have one size.
//!
//! A mask's name is that of its image, with a word such as `_mask` after it, in any case and behind any of `_`, `-`, `.`
//! and a space, or with `mask_` before it; the image's extension may stand in it (`1.png_mask.png`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use image::metadata::Orientation;

use super::names::{Meaning, meaning};
use super::{Category, GroundTruth, Problems, Sample, has_image_extension};
use crate::decode::{DecodeOptions, upright_header};
use crate::error::DataError;

/// Words after an image's name that make it the name of its mask.
const MASK_WORDS: [&str; 11] = [
    "ground_truth",
    "groundtruth",
    "mask",
    "masks",
    "gt",
    "label",
    "labels",
    "seg",
    "segmentation",
    "annotation",
    "anno",
];
/// Colours that a file beside a photograph of the same name has at most, if it is a mask.
const MASK_COLOURS: usize = 16;

/// The files of a folder of photographs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Apart {
    /// Photographs, in the order of the files.
    pub images: Vec<PathBuf>,
    /// Masks that lie among them.
    pub masks: Vec<PathBuf>,
}

/// Tells photographs from masks that lie among them: files in a folder of masks below `root`, files named as the mask of
/// a photograph in the same folder, and of two files of one name the one whose content is a mask.
pub fn apart(files: Vec<PathBuf>, root: &Path) -> Apart {
    let in_mask_folder = |file: &&PathBuf| {
        let below = file.strip_prefix(root).unwrap_or(file).parent().unwrap_or(Path::new(""));
        below.components().any(|part| meaning(&part.as_os_str().to_string_lossy()) == Meaning::Masks)
    };
    let inside: HashSet<PathBuf> = files.iter().filter(in_mask_folder).cloned().collect();
    // A folder may be called so and hold nothing but photographs.
    let inside = if inside.len() == files.len() { HashSet::new() } else { inside };
    let name = |file: &Path| (file.parent().unwrap_or(Path::new("")).to_path_buf(), stem(file));
    let mut of_name: HashMap<(PathBuf, String), Vec<&PathBuf>> = HashMap::new();
    for file in files.iter().filter(|file| !inside.contains(*file)) {
        of_name.entry(name(file)).or_default().push(file);
    }
    let is_named_mask = |file: &Path| {
        let (folder, stem) = name(file);
        names_of_image(&stem).into_iter().skip(1).any(|name| of_name.contains_key(&(folder.clone(), name)))
    };
    let mut drawn: HashSet<PathBuf> = HashSet::new();
    for same in of_name.values().filter(|same| same.len() > 1) {
        let (few_coloured, photographs): (Vec<&PathBuf>, Vec<&PathBuf>) =
            same.iter().partition(|file| has_few_colours(file));
        if !photographs.is_empty() {
            drawn.extend(few_coloured.into_iter().filter(|file| !is_jpeg(file)).cloned());
        }
    }
    let (masks, images) = files
        .iter()
        .cloned()
        .partition(|file| inside.contains(file) || drawn.contains(file) || is_named_mask(file));
    Apart { images, masks }
}

/// Whether the content of a file is that of a mask: few colours, black among them, and not JPEG.
pub fn is_drawn(path: &Path) -> bool {
    !is_jpeg(path) && has_few_colours(path)
}

/// Whether a picture has few colours, black among them, as masks have. What cannot be read has not.
fn has_few_colours(path: &Path) -> bool {
    crate::decode::decode_file(path, &DecodeOptions::default()).is_ok_and(|image| {
        let mut colours = HashSet::new();
        let few = image.pixels().all(|pixel| {
            colours.insert(pixel.0);
            colours.len() <= MASK_COLOURS
        });
        few && colours.contains(&[0; 3])
    })
}

fn is_jpeg(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    ["jpg", "jpeg", "jpe", "jfif"].contains(&extension.as_str())
}

/// Finds the image of each mask: first by the path below the two folders, then by the name alone where only one image has
/// it. Index of the image -> mask. `folders` are those that the images lie in, `root` that of the masks.
pub(super) fn pair(
    images: &[PathBuf],
    folders: &[PathBuf],
    masks: Vec<PathBuf>,
    root: &Path,
    problems: &mut Problems<'_>,
) -> Result<BTreeMap<usize, PathBuf>, DataError> {
    let finder = ImageNames::of(images, folders);
    let (mut paired, mut others) = (BTreeMap::new(), vec![]);
    for mask in masks {
        match finder.by_path(&mask, root) {
            // The second of two goes by its name, and is told.
            Some(image) if !paired.contains_key(&image) => {
                paired.insert(image, mask);
            }
            _ => others.push(mask),
        }
    }
    for mask in others {
        match finder.by_name(&mask) {
            (name, []) => {
                let folder = folders.first().cloned().unwrap_or_default();
                problems(DataError::MaskWithoutImage { mask, stem: name, folder })?;
            }
            (name, &[image]) => {
                if let Some(first) = paired.get(&image).cloned() {
                    problems(DataError::AmbiguousName { first, second: mask, stem: name })?;
                } else {
                    paired.insert(image, mask);
                }
            }
            (name, &[first, second, ..]) => {
                let (first, second) = (images[first].clone(), images[second].clone());
                problems(DataError::AmbiguousName { first, second, stem: name })?;
            }
        }
    }
    Ok(paired)
}

/// Images by the names that their masks may go by.
pub(super) struct ImageNames {
    by_place: HashMap<PathBuf, usize>,
    by_path: HashMap<PathBuf, usize>,
    by_stem: HashMap<String, Vec<usize>>,
}

impl ImageNames {
    /// Of images in some folders.
    pub(super) fn of(images: &[PathBuf], folders: &[PathBuf]) -> Self {
        let below = |image: &PathBuf| {
            let below = folders.iter().find_map(|folder| image.strip_prefix(folder).ok());
            below.unwrap_or(image).with_extension("")
        };
        let mut by_stem: HashMap<String, Vec<usize>> = HashMap::new();
        for (i, image) in images.iter().enumerate() {
            by_stem.entry(stem(image)).or_default().push(i);
        }
        // Of two images of one path the mask is told to be unclear.
        let mut by_path: HashMap<PathBuf, Vec<usize>> = HashMap::new();
        images.iter().enumerate().for_each(|(i, image)| by_path.entry(below(image)).or_default().push(i));
        let by_path =
            by_path.into_iter().filter(|(_, same)| same.len() == 1).map(|(path, same)| (path, same[0]));
        let by_place = images.iter().enumerate().map(|(i, image)| (image.with_extension(""), i)).collect();
        Self { by_place, by_path: by_path.collect(), by_stem }
    }

    /// The image of this path, without extension.
    pub(super) fn at(&self, path: &Path) -> Option<usize> {
        self.by_place.get(path).copied()
    }

    /// The image of this path below its folder, without extension.
    pub(super) fn below(&self, path: &Path) -> Option<usize> {
        self.by_path.get(path).copied()
    }

    /// The image at the same path as a mask below `root`.
    pub(super) fn by_path(&self, mask: &Path, root: &Path) -> Option<usize> {
        let folder = mask.strip_prefix(root).unwrap_or(mask).parent().unwrap_or(Path::new(""));
        names_of_image(&stem(mask)).iter().find_map(|name| self.by_path.get(&folder.join(name))).copied()
    }

    /// The images of a mask's name, and that name.
    pub(super) fn by_name(&self, mask: &Path) -> (String, &[usize]) {
        let mut names = names_of_image(&stem(mask));
        match names.iter().position(|name| self.by_stem.contains_key(name)) {
            Some(at) => {
                let name = names.swap_remove(at);
                let images = self.by_stem.get(&name).map(Vec::as_slice).unwrap_or_default();
                (name, images)
            }
            None => (names.get(1).or(names.first()).cloned().unwrap_or_default(), &[]),
        }
    }
}

/// The names that the image of a mask may have, its own first.
fn names_of_image(mask: &str) -> Vec<String> {
    let without_extension = |name: &str| {
        let path = Path::new(name);
        has_image_extension(path).then(|| stem(path))
    };
    let mut names = vec![mask.to_string()];
    names.extend(without_extension(mask));
    for name in [without_word_after(mask), without_word_before(mask)].into_iter().flatten() {
        names.push(name.to_string());
        names.extend(without_extension(name));
    }
    names
}

fn without_word_after(name: &str) -> Option<&str> {
    let lower = name.to_ascii_lowercase();
    MASK_WORDS.iter().find_map(|word| {
        let rest = lower.strip_suffix(word)?;
        let rest = rest.strip_suffix(['_', '-', '.', ' '])?;
        name.get(..rest.len()).filter(|rest| !rest.is_empty())
    })
}

fn without_word_before(name: &str) -> Option<&str> {
    let lower = name.to_ascii_lowercase();
    MASK_WORDS.iter().find_map(|word| {
        let rest = lower.strip_prefix(word)?.strip_prefix(['_', '-', '.', ' '])?;
        name.get(name.len() - rest.len()..).filter(|rest| !rest.is_empty())
    })
}

/// Compares the size of each test image's mask with that of the image, by their headers; a photograph in the place of its
/// own mask is told, and masks that fit both the photograph as it is stored and as the camera's orientation turns it are
/// noted.
pub(super) fn check_sizes(
    category: &mut Category,
    decode: &DecodeOptions,
    problems: &mut Problems<'_>,
) -> Result<(), DataError> {
    let fit_both_ways = compare_sizes(&category.test, decode, problems)?;
    if let Some(first) = fit_both_ways.first() {
        let message = format!(
            "{} photographs are turned by the camera's orientation (EXIF) so that their masks fit both ways, {} for one; \
             taken as drawn on the upright photograph, as viewers show it",
            fit_both_ways.len(),
            first.display()
        );
        category.note("turned-masks", message);
    }
    Ok(())
}

/// The same of some images; gives the masks that fit both ways.
pub(super) fn compare_sizes(
    samples: &[Sample],
    decode: &DecodeOptions,
    problems: &mut Problems<'_>,
) -> Result<Vec<PathBuf>, DataError> {
    let mut fit_both_ways = vec![];
    for sample in samples {
        let Some(truth) = &sample.mask else { continue };
        let (size, turned) = match upright_header(&sample.path, decode) {
            Ok(header) => header,
            Err(error) => {
                problems(error)?;
                continue;
            }
        };
        let is_mask = matches!(truth, GroundTruth::Mask { .. });
        for (mask, own) in truth.sizes(decode) {
            let (mask_size, own_turn) = match own {
                Ok(own) => own,
                Err(error) => {
                    problems(error)?;
                    continue;
                }
            };
            if is_mask && same_file(&mask, &sample.path) {
                problems(DataError::OwnMask { mask })?;
                continue;
            }
            let swapped = (mask_size.1, mask_size.0) == size;
            let turns_along = own_turn == Orientation::NoTransforms && !truth.has_saturation();
            if mask_size != size && !(swapped && swaps(turned) && turns_along) {
                let (image, image_size) = (sample.path.clone(), size);
                problems(DataError::MaskSize { mask, mask_size, image, image_size })?;
            } else if is_mask && mask_size == size && turned != own_turn && (!swaps(turned) || swapped) {
                fit_both_ways.push(mask);
            }
        }
    }
    Ok(fit_both_ways)
}

/// Whether two paths lead to one file, or to two of the same bytes.
fn same_file(one: &Path, other: &Path) -> bool {
    let length = |path: &Path| std::fs::metadata(path).map(|data| data.len()).ok();
    one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
        || length(one) == length(other)
            && std::fs::read(one).is_ok_and(|one| std::fs::read(other).is_ok_and(|other| one == other))
}

/// Whether an orientation exchanges width and height.
pub(super) fn swaps(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

/// A file's name without its extension.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_masks() {
        for (mask, image) in [
            ("000_mask", "000"),
            ("000_MASK", "000"),
            ("000.mask", "000"),
            ("000-gt", "000"),
            ("000_GT", "000"),
            ("000 label", "000"),
            ("000_seg", "000"),
            ("000_ground_truth", "000"),
            ("000.png_mask", "000"),
            ("000.jpg", "000"),
            ("mask_000", "000"),
            ("part_7_mask", "part_7"),
        ] {
            assert!(names_of_image(mask).contains(&image.to_string()), "{mask}: {:?}", names_of_image(mask));
        }
        assert_eq!(names_of_image("unmask"), ["unmask"]);
        assert_eq!(names_of_image("_mask"), ["_mask"]);
    }

    #[test]
    fn masks_among_photographs() {
        let dir = tempfile::tempdir().unwrap();
        let photo = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let noise = |x: u32, y: u32| image::Rgb([(x * 37 + y * 11) as u8, (x * y) as u8, 90]);
            image::RgbImage::from_fn(24, 20, noise).save(path).unwrap();
        };
        let mask = |name: &str| {
            let path = dir.path().join(name);
            image::GrayImage::from_fn(24, 20, |x, _| image::Luma([if x < 5 { 255 } else { 0 }]))
                .save(path)
                .unwrap();
        };
        ["a.png", "b.png", "c.jpg", "d.jpg", "left_label.png", "e/a.png", "gt/x.png"]
            .into_iter()
            .for_each(photo);
        ["a_mask.png", "b.GT.png", "c.png", "e/a_seg.png"].into_iter().for_each(mask);
        // Two formats of one photograph.
        photo("d.png");
        let files = crate::dataset::folder::list_images(dir.path()).unwrap();
        let found = apart(files, dir.path());
        let names = |files: &[PathBuf]| -> Vec<String> {
            files
                .iter()
                .map(|file| file.strip_prefix(dir.path()).unwrap().display().to_string().replace('\\', "/"))
                .collect()
        };
        assert_eq!(
            names(&found.images),
            ["a.png", "b.png", "c.jpg", "d.jpg", "d.png", "e/a.png", "left_label.png"]
        );
        assert_eq!(names(&found.masks), ["a_mask.png", "b.GT.png", "c.png", "e/a_seg.png", "gt/x.png"]);
        // A folder of photographs whose name is that of masks.
        let only = crate::dataset::folder::list_images(&dir.path().join("gt")).unwrap();
        assert_eq!(apart(only.clone(), dir.path()), Apart { images: only, masks: vec![] });
    }
}
