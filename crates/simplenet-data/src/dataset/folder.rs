//! Plain folders of images, read recursively: those of good parts, perhaps others to test on.
//!
//! In: paths, each named by a person, or a folder with `normal`, `normal_test`, `abnormal` and `masks` inside. Out:
//! image paths, or a category. What a folder holds is listed by [`super::listing`].
//!
//! The name of a defect is that of the sub-folder of `abnormal` that an image lies in, or the folder's own. Masks lie in
//! folders of their own or beside the images; which belongs to which is told by their names (`pairing`).

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    Category, Layout, LayoutId, Place, Problems, Sample, Sign, child, folder_name, last_name,
    listing::{self, ListOptions, Reason},
    masks_of::{Places, annotation_files, ground_truths},
    names::{self, Meaning},
    only_good::{Wanted, require_only},
    pairing::{Apart, apart, check_sizes},
    require_folder, require_images,
};
use crate::decode::DecodeOptions;
use crate::error::DataError;

/// Why masks that lie among photographs are no samples.
pub(super) const MASKS_BESIDE: &str = "masks beside their images";

/// Folders that a person named one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folders {
    /// Good images to train on.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "one_or_many")]
    pub normal: Vec<PathBuf>,
    /// Good images to test on.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "one_or_many")]
    pub normal_test: Vec<PathBuf>,
    /// Defective images to test on.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "one_or_many")]
    pub abnormal: Vec<PathBuf>,
    /// Masks of these: folders, or files of an annotation tool.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "one_or_many")]
    pub masks: Vec<PathBuf>,
}

/// One path as a text, as records had it when there could only be one; more as a list.
mod one_or_many {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(PathBuf),
        Many(Vec<PathBuf>),
    }

    pub(super) fn serialize<S: Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
        match paths {
            [path] => OneOrMany::One(path.clone()),
            paths => OneOrMany::Many(paths.to_vec()),
        }
        .serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
        Ok(match OneOrMany::deserialize(from)? {
            OneOrMany::One(path) => vec![path],
            OneOrMany::Many(paths) => paths,
        })
    }
}

impl Folders {
    /// Folders of good parts, and no others.
    pub fn of_good(normal: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { normal: normal.into_iter().collect(), ..Self::default() }
    }

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

    /// Refuses folders below which parts lie that are not what they are to be, by the names of their folders.
    ///
    /// # Errors
    /// [`DataError::NotOnly`]; a folder that is missing, cannot be listed, or holds no image.
    pub fn require_only_what_they_say(&self) -> Result<(), DataError> {
        for (folders, flag) in [(&self.normal, "--normal"), (&self.normal_test, "--normal-test")] {
            for folder in folders {
                require_folder(folder, "a folder of images of good parts")?;
                require_only(folder, Wanted::Good(flag), folders, &[])?;
            }
        }
        for folder in &self.abnormal {
            require_folder(folder, "a folder of images of defective parts")?;
            require_only(folder, Wanted::Defective, &self.abnormal, &self.masks)?;
        }
        Ok(())
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
            let inside = |name: &str| Some(child(&place.path, name)).filter(|folder| folder.is_dir());
            Folders {
                normal: vec![child(&place.path, "normal")],
                normal_test: inside("normal_test").into_iter().collect(),
                abnormal: inside("abnormal").into_iter().collect(),
                masks: inside("masks").into_iter().collect(),
            }
        });
        let mut category = Category::new(place, &place.path);
        for (named, to_train_on) in [(&folders.normal, true), (&folders.normal_test, false)] {
            let Apart { images, masks } = photographs(named, "a folder of images of good parts", problems)?;
            category.leave_out(MASKS_BESIDE, masks);
            let samples = images.into_iter().map(Sample::normal);
            if to_train_on { category.train.extend(samples) } else { category.test.extend(samples) }
        }
        if !folders.abnormal.is_empty() {
            defective(&folders, &mut category, decode, problems)?;
        } else if let Some(masks) = folders.masks.first() {
            let expected =
                "masks beside a folder of defective images (--abnormal); there is none".to_string();
            problems(DataError::NoImages { path: masks.clone(), expected })?;
        }
        check_sizes(&mut category, decode, problems)?;
        category.note_passed_over(folders.normal.iter().chain(&folders.normal_test).chain(&folders.abnormal));
        Ok(category)
    }
}

/// The photographs of folders of one kind, each once, and the masks among them.
fn photographs(folders: &[PathBuf], wanted: &str, problems: &mut Problems<'_>) -> Result<Apart, DataError> {
    let mut seen = HashSet::new();
    let mut all = Apart::default();
    for folder in folders {
        if let Err(missing) = require_folder(folder, wanted) {
            problems(missing)?;
            continue;
        }
        let files = listed(folder, wanted, problems)?;
        let Apart { images, masks } = apart(files, folder);
        all.images.extend(images.into_iter().filter(|image| seen.insert(image.clone())));
        all.masks.extend(masks.into_iter().filter(|mask| seen.insert(mask.clone())));
    }
    if folders.len() > 1 {
        all.images.sort_unstable();
    }
    Ok(all)
}

/// Adds the defective images with their ground truth.
fn defective(
    folders: &Folders,
    category: &mut Category,
    decode: &DecodeOptions,
    problems: &mut Problems<'_>,
) -> Result<(), DataError> {
    let Folders { abnormal, masks, .. } = folders;
    let Apart { mut images, masks: mut beside } =
        photographs(abnormal, "a folder of images of defective parts", problems)?;
    // Folders of masks may lie below that of the images, above it, or be it.
    let mut of_folders = vec![];
    let mut drawn: Vec<PathBuf> = abnormal.iter().flat_map(|folder| annotation_files(folder)).collect();
    for root in masks {
        if root.is_file() {
            drawn.extend(annotation_files(root));
            continue;
        }
        if let Err(missing) = require_folder(root, "a folder of masks") {
            problems(missing)?;
            continue;
        }
        let below_images = abnormal.iter().any(|folder| root.starts_with(folder) && root != folder);
        if below_images {
            images.retain(|image| !image.starts_with(root));
            beside.retain(|mask| !mask.starts_with(root));
        }
        let of_tool = annotation_files(root);
        let mut files = listed(root, "a folder of masks", &mut |error| match error {
            DataError::NoImages { .. } if !of_tool.is_empty() => Ok(()),
            other => problems(other),
        })?;
        // A folder above all photographs holds good ones too.
        let photographs: HashSet<&PathBuf> =
            images.iter().chain(category.samples().map(|s| &s.path)).collect();
        let own_images = files.iter().any(|file| photographs.contains(file));
        files.retain(|file| !photographs.contains(file) && !beside.contains(file));
        if own_images && files.is_empty() && beside.is_empty() && of_tool.is_empty() {
            let expected =
                "masks beside the photographs, each called as its photograph with _mask after it".to_string();
            problems(DataError::NoImages { path: root.clone(), expected })?;
        }
        drawn.extend(of_tool);
        of_folders.push((root.clone(), files));
    }
    drawn.sort_unstable();
    drawn.dedup();
    let places = Places { folders: abnormal, masks: of_folders, beside, drawn };
    let (mut truths, spare) = ground_truths(&images, places, decode, problems)?;
    category.leave_out(MASKS_BESIDE, spare);
    category.test.extend(images.into_iter().enumerate().map(|(i, path)| {
        let folder =
            abnormal.iter().find(|folder| path.starts_with(folder)).map_or(Path::new(""), PathBuf::as_path);
        let defect = defect(&path, folder);
        Sample::anomalous(path, defect, truths.remove(&i))
    }));
    Ok(())
}

/// The sub-folder that an image lies in, or the folder's own name.
fn defect(image: &Path, folder: &Path) -> String {
    let below = image.strip_prefix(folder).unwrap_or(image);
    let name = match below.components().next() {
        Some(first) if below.components().count() > 1 => first.as_os_str().to_string_lossy().into_owned(),
        _ => folder_name(folder).unwrap_or_default(),
    };
    if name.is_empty() || names::meaning(&name) == Meaning::Good { "abnormal".to_string() } else { name }
}

/// A folder of good images, sub-folders included, as a category without test samples.
///
/// # Errors
/// As [`load_good`].
pub fn load_normal(dir: &Path) -> Result<Category, DataError> {
    load_good(&[dir.to_path_buf()])
}

/// Several such folders as one category.
///
/// # Errors
/// A folder is missing, cannot be listed, holds no image, or holds other than good parts by the names below it.
pub fn load_good(folders: &[PathBuf]) -> Result<Category, DataError> {
    let folders = Folders::of_good(folders.iter().cloned());
    folders.require_only_what_they_say()?;
    folders.place().load(&DecodeOptions::default())
}

/// The image itself where `path` is a file, of whatever extension; all images below it where it is a folder.
///
/// # Errors
/// The path does not exist, cannot be listed, the folder holds no image, or something in it cannot be looked at.
pub fn list_images(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    listed(path, "at least one image, in it or in its sub-folders", &mut Err)
}

/// The images at and below a folder; what cannot be looked at is passed over. For what is to be known before reading.
pub(super) fn images_below(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    listed(dir, "at least one image, in it or in its sub-folders", &mut |problem| match problem {
        none @ DataError::NoImages { .. } => Err(none),
        _ => Ok(()),
    })
}

/// The images at and below a path, in order; that there is none, and what cannot be looked at, is told.
pub(super) fn listed(
    dir: &Path,
    wanted: &str,
    problems: &mut Problems<'_>,
) -> Result<Vec<PathBuf>, DataError> {
    let listing = match listing::list(dir, &ListOptions::default()) {
        Ok(listing) => listing,
        Err(error) => return problems(error).map(|()| vec![]),
    };
    let none_failed = listing.failed.is_empty();
    for failed in listing.failed {
        problems(failed.error)?;
    }
    if listing.images.is_empty() && none_failed {
        let names: Vec<String> = listing
            .passed_over
            .iter()
            .filter(|entry| matches!(entry.reason, Reason::NoImage | Reason::Unfinished))
            .map(|entry| last_name(&entry.path))
            .collect();
        let passed_over = match names.as_slice() {
            [] => String::new(),
            [first] => format!("; {first} is none that is read"),
            [first, ..] => format!("; {} files such as {first} are none that are read", names.len()),
        };
        require_images(&[], dir, &format!("{wanted}{passed_over}")).or_else(&mut *problems)?;
    }
    Ok(listing.images)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{GOOD, Label};

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
        assert_eq!(list_images(dir.path()).unwrap().len(), 2);
        link("nowhere", "broken.png");
        let error = list_images(dir.path()).unwrap_err();
        assert!(
            error.to_string().contains("cannot read") && error.to_string().contains("broken.png"),
            "{error}"
        );
        std::fs::remove_file(dir.path().join("broken.png")).unwrap();
        link("..", "real/up");
        let error = list_images(dir.path()).unwrap_err();
        assert!(error.to_string().contains("leads back"), "{error}");
    }
}
