//! Plain folders of images, read recursively: one of good parts, perhaps others to test on.
//!
//! In: paths, each named by a person, or a folder with `normal`, `normal_test`, `abnormal` and `masks` inside. Out:
//! image paths, or a category. Hidden files and folders are passed over, links are followed. Files count as images by
//! extension here (PNG, JPEG, BMP, TIFF in any case); what they hold shows when they are decoded.
//!
//! The name of a defect is that of the sub-folder of `abnormal` that an image lies in, or the folder's own. A mask
//! belongs to the image of the same path below its folder, or else to the only image of the same name, with `_mask`
//! after its stem or without.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::{
    Category, GOOD, GroundTruth, Layout, LayoutId, Place, Problems, Sample, Sign, folder_name,
    has_image_extension, is_hidden, last_name,
    pairing::{check_sizes, pair},
    require_folder, require_images,
};
use crate::decode::DecodeOptions;
use crate::error::DataError;

/// Folders that a person named one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folders {
    /// Good images to train on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normal: Option<PathBuf>,
    /// Good images to test on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normal_test: Option<PathBuf>,
    /// Defective images to test on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abnormal: Option<PathBuf>,
    /// Masks of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masks: Option<PathBuf>,
}

impl Folders {
    /// The folders, in this order: good ones, good ones to test on, defective ones, masks.
    pub fn all(&self) -> impl Iterator<Item = &Path> {
        [&self.normal, &self.normal_test, &self.abnormal, &self.masks]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
    }

    /// The category that they are, called as the first of them.
    pub fn place(&self) -> Place {
        let first = self.all().next().unwrap_or(Path::new(""));
        let name = folder_name(first).unwrap_or_else(|_| last_name(first));
        Place { layout: LayoutId::Folders, path: common(self.all()), name, folders: Some(self.clone()) }
    }
}

/// The deepest folder that all paths lie in, or the only path.
fn common<'a>(mut paths: impl Iterator<Item = &'a Path>) -> PathBuf {
    let mut common: PathBuf = paths.next().unwrap_or(Path::new("")).to_path_buf();
    for path in paths {
        while !path.starts_with(&common) && common.pop() {}
    }
    if common.as_os_str().is_empty() { PathBuf::from(".") } else { common }
}

/// The layout.
pub(super) struct PlainFolders;

impl Layout for PlainFolders {
    fn id(&self) -> LayoutId {
        LayoutId::Folders
    }

    fn description(&self) -> &'static str {
        "plain folders: normal, and perhaps normal_test, abnormal and masks"
    }

    fn signs(&self, folder: &Path) -> Vec<Sign> {
        vec![
            Sign::folder(folder, "normal"),
            Sign::folder(folder, "normal_test").optional(),
            Sign::folder(folder, "abnormal").optional(),
            Sign::folder(folder, "masks").optional(),
        ]
    }

    fn scan(
        &self,
        place: &Place,
        decode: &DecodeOptions,
        problems: &mut Problems<'_>,
    ) -> Result<Category, DataError> {
        let folders = place.folders.clone().unwrap_or_else(|| {
            let inside = |name: &str| Some(place.path.join(name)).filter(|folder| folder.is_dir());
            Folders {
                normal: Some(place.path.join("normal")),
                normal_test: inside("normal_test"),
                abnormal: inside("abnormal"),
                masks: inside("masks"),
            }
        });
        let mut category = Category::new(place, &place.path);
        let mut good = |folder: &Option<PathBuf>| -> Result<Vec<Sample>, DataError> {
            let Some(folder) = folder else { return Ok(vec![]) };
            let images = images(folder, "a folder of images of good parts", problems)?;
            Ok(images.into_iter().map(Sample::normal).collect())
        };
        category.train = good(&folders.normal)?;
        category.test = good(&folders.normal_test)?;
        if let Some(abnormal) = &folders.abnormal {
            let images = images(abnormal, "a folder of images of defective parts", problems)?;
            let mut masks = match &folders.masks {
                Some(masks) => masks_of(&images, abnormal, masks, problems)?,
                None => BTreeMap::new(),
            };
            category.test.extend(images.into_iter().enumerate().map(|(i, path)| {
                let defect = defect(&path, abnormal);
                Sample::anomalous(path, defect, masks.remove(&i).map(GroundTruth::bright))
            }));
        } else if let Some(masks) = &folders.masks {
            let expected =
                "masks beside a folder of defective images (--abnormal); there is none".to_string();
            problems(DataError::NoImages { path: masks.clone(), expected })?;
        }
        check_sizes(&category.test, decode, problems)?;
        Ok(category)
    }
}

/// A folder of good images, sub-folders included, as a category without test samples.
///
/// # Errors
/// The folder is missing, cannot be listed, or holds no image.
pub fn load_normal(dir: &Path) -> Result<Category, DataError> {
    let folders = Folders { normal: Some(dir.to_path_buf()), ..Folders::default() };
    folders.place().load(&DecodeOptions::default())
}

/// The images below a folder; what is wrong with it is told.
fn images(dir: &Path, wanted: &str, problems: &mut Problems<'_>) -> Result<Vec<PathBuf>, DataError> {
    let listed = require_folder(dir, wanted).and_then(|()| walk(dir));
    listed.or_else(|error| problems(error).map(|()| vec![]))
}

/// The masks of images, by position.
fn masks_of(
    images: &[PathBuf],
    folder: &Path,
    masks: &Path,
    problems: &mut Problems<'_>,
) -> Result<BTreeMap<usize, PathBuf>, DataError> {
    let below = |path: &Path, root: &Path| {
        path.strip_prefix(root).unwrap_or(path).with_extension("").to_string_lossy().into_owned()
    };
    let by_path: BTreeMap<String, usize> =
        images.iter().enumerate().map(|(i, image)| (below(image, folder), i)).collect();
    let (mut paired, mut others) = (BTreeMap::new(), vec![]);
    for mask in self::images(masks, "a folder of masks", problems)? {
        let name = below(&mask, masks);
        let image = by_path.get(&name).or_else(|| by_path.get(name.strip_suffix("_mask")?));
        match image {
            // The second of two goes by its name, and is told.
            Some(image) if !paired.contains_key(image) => {
                paired.insert(*image, mask);
            }
            _ => others.push(mask),
        }
    }
    for (image, mask) in pair(images, others, "_mask", folder, problems)? {
        if let Some(first) = paired.insert(image, mask.clone()) {
            let stem = last_name(&images[image].with_extension(""));
            problems(DataError::AmbiguousName { first, second: mask, stem })?;
        }
    }
    Ok(paired)
}

/// The sub-folder that an image lies in, or the folder's own name.
fn defect(image: &Path, folder: &Path) -> String {
    let below = image.strip_prefix(folder).unwrap_or(image);
    let name = match below.components().next() {
        Some(first) if below.components().count() > 1 => first.as_os_str().to_string_lossy().into_owned(),
        _ => folder_name(folder).unwrap_or_default(),
    };
    if name.is_empty() || name == GOOD { "abnormal".to_string() } else { name }
}

/// The image itself where `path` is a file, of whatever extension; all images below it where it is a folder.
///
/// # Errors
/// The path does not exist, cannot be listed, or the folder holds no image.
pub fn list_images(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    if std::fs::metadata(path).map_err(DataError::io("read", path))?.is_dir() {
        walk(path)
    } else {
        Ok(vec![path.to_path_buf()])
    }
}

fn walk(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut images = Vec::new();
    let visible = WalkDir::new(dir)
        .follow_links(true)
        .into_iter()
        // What the caller names is read even when it is hidden.
        .filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.path()));
    for entry in visible {
        match entry {
            Ok(entry) if !entry.file_type().is_dir() && has_image_extension(entry.path()) => {
                images.push(entry.into_path());
            }
            Ok(_) => {}
            // A link to nowhere that is named like an image: reading it gives the error, for this file only.
            Err(error) if error.path().is_some_and(|p| has_image_extension(p) && !p.is_dir()) => {
                images.extend(error.path().map(Path::to_path_buf));
            }
            Err(error) => {
                let path = error.path().unwrap_or(dir).to_path_buf();
                let source = error.into_io_error().unwrap_or_else(|| {
                    std::io::Error::other("a link leads back to a folder above it; remove the link")
                });
                return Err(DataError::Io { action: "list", path, source });
            }
        }
    }
    images.sort_unstable();
    require_images(&images, dir, "at least one image, in it or in its sub-folders")?;
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Label;

    fn tree(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        dir
    }

    #[test]
    fn recursive_sorted_and_images_only() {
        let dir = tree(&[
            "b.PNG",
            "a/2.jpeg",
            "a/10.tiff",
            "B.bmp",
            "notes.txt",
            ".hidden.png",
            ".git/x.png",
            "c.TIF",
        ]);
        let found = list_images(dir.path()).unwrap();
        let names: Vec<String> = found
            .iter()
            .map(|p| p.strip_prefix(dir.path()).unwrap().display().to_string().replace('\\', "/"))
            .collect();
        assert_eq!(names, ["B.bmp", "a/10.tiff", "a/2.jpeg", "b.PNG", "c.TIF"]);
        let category = load_normal(dir.path()).unwrap();
        assert_eq!(category.train.iter().map(|s| s.path.clone()).collect::<Vec<_>>(), found);
        assert!(category.test.is_empty() && category.masked() == (0, 0));
        assert!(category.train.iter().all(|s| s.label == Label::Normal && s.defect == GOOD));
        assert_eq!(category.name, dir.path().file_name().unwrap().to_string_lossy());
    }

    #[test]
    fn one_file_is_taken_whatever_its_name() {
        let dir = tree(&["photo"]);
        let file = dir.path().join("photo");
        assert_eq!(list_images(&file).unwrap(), [file]);
    }

    #[test]
    fn nothing_there_is_an_error_that_names_the_folder() {
        let dir = tree(&["notes.txt"]);
        let missing = dir.path().join("missing");
        for error in [
            list_images(dir.path()).unwrap_err(),
            load_normal(dir.path()).unwrap_err(),
            list_images(&missing).unwrap_err(),
            load_normal(&missing).unwrap_err(),
            load_normal(&dir.path().join("notes.txt")).unwrap_err(),
        ] {
            assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
        }
        assert!(matches!(list_images(dir.path()), Err(DataError::NoImages { .. })));
        assert!(matches!(load_normal(&missing), Err(DataError::MissingFolder { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn links() {
        let dir = tree(&["real/1.png"]);
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, dir.path().join(name)).unwrap();
        link("real", "also");
        link("nowhere", "broken.png");
        assert_eq!(list_images(dir.path()).unwrap().len(), 3);
        link("..", "real/up");
        let error = list_images(dir.path()).unwrap_err();
        assert!(error.to_string().contains("leads back"), "{error}");
    }
}
