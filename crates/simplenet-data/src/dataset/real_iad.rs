//! The layout of Real-IAD: photographs in a tree of their own, and a JSON file for each category that lists them.
//!
//! In: the data set's folder with `realiad_256` (or `_512`, `_1024`) and `realiad_jsons`; one of these resolutions; a
//! category's folder `realiad_256/<category>` with `OK` and `NG` inside; or one of the JSON files, for another split than
//! that of `realiad_jsons`. A file has `meta` (`normal_class`, `prefix`) and the lists `train` and `test` of
//! `image_path`, `mask_path` and `anomaly_class`, the paths relative to the category's folder. Out: a [`Category`].
//! Anomalous images of `train`, which the splits with noise have, are left out.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{
    Category, GroundTruth, Label, Layout, LayoutId, Place, Problems, Sample, Sign, last_name, list,
    pairing::{check_sizes, stem},
    require_folder,
    visa::parent,
};
use crate::decode::DecodeOptions;
use crate::error::DataError;

/// How the folders of lists begin; the one that is called so and no more is the data set's own split.
const LISTS: &str = "realiad_jsons";
/// How the folders of photographs begin.
const RESOLUTIONS: &str = "realiad_";
/// The class of good parts where a list does not say it.
const NORMAL_CLASS: &str = "OK";

/// A category's list.
#[derive(Deserialize)]
struct List {
    #[serde(default)]
    meta: Meta,
    #[serde(default)]
    train: Vec<Entry>,
    #[serde(default)]
    test: Vec<Entry>,
}

#[derive(Default, Deserialize)]
struct Meta {
    normal_class: Option<String>,
    #[serde(default)]
    prefix: String,
}

#[derive(Deserialize)]
struct Entry {
    anomaly_class: String,
    image_path: String,
    #[serde(default)]
    mask_path: Option<String>,
}

/// The layout.
pub(super) struct RealIad;

impl Layout for RealIad {
    fn id(&self) -> LayoutId {
        LayoutId::RealIad
    }

    fn description(&self) -> &'static str {
        "Real-IAD: realiad_256 and its like, listed in realiad_jsons"
    }

    fn signs(&self, folder: &Path) -> Vec<Sign> {
        // OK and NG alone are many people's folders: they say nothing without the list.
        let found = list_of(folder).is_some();
        let good = Sign::folder(folder, "OK");
        let defective = Sign::folder(folder, "NG");
        vec![
            Sign { what: format!("../../{LISTS}/{}.json", last_name(folder)), found, needed: true },
            Sign { found: found && good.found, ..good },
            Sign { found: found && defective.found, ..defective }.optional(),
        ]
    }

    fn places(&self, root: &Path) -> Result<Vec<Place>, DataError> {
        if root.is_file() {
            return Ok(vec![Place {
                layout: self.id(),
                path: root.to_path_buf(),
                name: stem(root),
                folders: None,
            }]);
        }
        require_folder(root, "the folder of Real-IAD")?;
        let categories = |folder: &Path| -> Result<Vec<Place>, DataError> {
            let folders = list(folder)?.1;
            folders.iter().filter(|folder| self.fits(folder)).map(|folder| self.place(folder)).collect()
        };
        let here = categories(root)?;
        if !here.is_empty() {
            return Ok(here);
        }
        // Of several resolutions the largest: the photographs as they are.
        let mut resolutions = resolutions(root);
        resolutions.sort_by_key(|folder| {
            let name = last_name(folder);
            name.rsplit('_').next().and_then(|number| number.parse::<u32>().ok()).unwrap_or(0)
        });
        resolutions.last().map_or(Ok(vec![]), |folder| categories(folder))
    }

    fn scan(
        &self,
        place: &Place,
        decode: &DecodeOptions,
        problems: &mut Problems<'_>,
    ) -> Result<Category, DataError> {
        let path = if place.path.is_file() { Some(place.path.clone()) } else { list_of(&place.path) };
        let mut category = Category::new(place, &place.path);
        let read = path.ok_or_else(|| DataError::MissingFolder {
            path: parent(&parent(&place.path)).join(LISTS),
            expected: format!("the list of this category, {}.json", place.name),
        });
        let (path, lists) = match read.and_then(|path| Ok((path.clone(), read_list(&path)?))) {
            Ok(read) => read,
            Err(error) => {
                problems(error)?;
                return Ok(category);
            }
        };
        category.others.push(path.clone());
        let first = lists.train.iter().chain(&lists.test).next();
        let root = match (place.path.is_file(), first) {
            (false, _) => place.path.clone(),
            (true, Some(first)) => match root_of(&path, &lists.meta.prefix, &place.name, &first.image_path) {
                Some(root) => root,
                None => {
                    let problem = format!(
                        "its first photograph, {}, lies in no folder {RESOLUTIONS}… near it; keep the list where the data \
                         set has it, or give the category's folder",
                        first.image_path
                    );
                    problems(DataError::List { path, line: None, problem })?;
                    return Ok(category);
                }
            },
            (true, None) => parent(&path),
        };
        category.root = root.clone();
        let normal = lists.meta.normal_class.unwrap_or_else(|| NORMAL_CLASS.to_string());
        let mut not_trained = vec![];
        for (part, entries) in [("train", lists.train), ("test", lists.test)] {
            for entry in entries {
                let Some(image) = existing(&path, &root, &entry.image_path, problems)? else { continue };
                let mask = match entry.mask_path.as_deref().filter(|mask| !mask.is_empty()) {
                    Some(mask) if entry.anomaly_class != normal => existing(&path, &root, mask, problems)?,
                    _ => None,
                };
                let sample = if entry.anomaly_class == normal {
                    Sample::normal(image)
                } else {
                    Sample::anomalous(image, entry.anomaly_class, mask.map(GroundTruth::bright))
                };
                match (part, sample.label) {
                    ("train", Label::Normal) => category.train.push(sample),
                    ("train", Label::Anomalous) => not_trained.push(sample),
                    _ => category.test.push(sample),
                }
            }
        }
        let by_path = |a: &Sample, b: &Sample| a.path.cmp(&b.path);
        category.train.sort_by(by_path);
        category.test.sort_by(by_path);
        not_trained.sort_by(by_path);
        let masks = not_trained.iter().filter_map(|sample| sample.mask.as_ref());
        category.others.extend(masks.flat_map(|mask| mask.files().to_vec()));
        category
            .leave_out("anomalous, in train", not_trained.into_iter().map(|sample| sample.path).collect());
        if category.train.is_empty() && category.test.is_empty() {
            let problem = format!("it lists no photograph of `{}`", place.name);
            problems(DataError::List { path, line: None, problem })?;
        }
        check_sizes(&mut category, decode, problems)?;
        Ok(category)
    }
}

/// Whether a file is one of these lists.
pub(super) fn is_list(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
        && read_list(path).is_ok()
}

fn read_list(path: &Path) -> Result<List, DataError> {
    let wrong = |problem: String| DataError::List { path: path.to_path_buf(), line: None, problem };
    let text = std::fs::read_to_string(path).map_err(DataError::io("read", path))?;
    let list: List = serde_json::from_str(&text).map_err(|e| {
        let problem = format!("it is no list of Real-IAD, with meta, train and test ({e})");
        DataError::List { path: path.to_path_buf(), line: Some(e.line() as u64), problem }
    })?;
    if list.train.is_empty() && list.test.is_empty() {
        Err(wrong("it has neither `train` nor `test`: it is no list of Real-IAD".into()))
    } else {
        Ok(list)
    }
}

/// The list of a category's folder: beside the folder of its resolution.
fn list_of(category: &Path) -> Option<PathBuf> {
    let absolute = category.canonicalize().ok()?;
    let name = format!("{}.json", absolute.file_name()?.to_string_lossy());
    let lists = parent(&parent(category)).join(LISTS);
    // The archive unpacks to a folder of the same name in it.
    [lists.join(&name), lists.join(LISTS).join(&name)].into_iter().find(|file| file.is_file())
}

/// The folders of photographs below a folder, one for each resolution.
fn resolutions(root: &Path) -> Vec<PathBuf> {
    let folders = list(root).unwrap_or_default().1;
    let is_resolution = |folder: &PathBuf| {
        let name = last_name(folder).to_ascii_lowercase();
        name.starts_with(RESOLUTIONS) && !name.starts_with(LISTS)
    };
    folders.into_iter().filter(is_resolution).collect()
}

/// The folder that the paths of a list are relative to, by its first photograph.
fn root_of(list: &Path, prefix: &str, category: &str, image: &str) -> Option<PathBuf> {
    let above = list.canonicalize().ok()?;
    let mut resolved: Vec<PathBuf> = vec![];
    for (steps, _) in above.ancestors().skip(1).take(3).enumerate() {
        // As the list was named, not as the system knows it.
        let folder = (0..=steps).fold(list.to_path_buf(), |path, _| parent(&path));
        resolved.push(folder.join(prefix));
        let mut resolutions = resolutions(&folder);
        resolutions.reverse();
        for resolution in resolutions {
            resolved.extend([resolution.join(prefix), resolution.join(category)]);
        }
    }
    resolved.into_iter().find(|root| root.join(image).is_file())
}

fn existing(
    list: &Path,
    root: &Path,
    path: &str,
    problems: &mut Problems<'_>,
) -> Result<Option<PathBuf>, DataError> {
    let found = root.join(path);
    if found.is_file() {
        return Ok(Some(found));
    }
    let problem =
        format!("it names {}, which is not there; add the file or remove the entry", found.display());
    problems(DataError::List { path: list.to_path_buf(), line: None, problem })?;
    Ok(None)
}
