//! Whether a folder that a person names holds what they say: good parts only, or defective ones only.
//!
//! In: a folder and what it is to hold. Out: nothing, or an error that names what lies below it by the wrong name, and the
//! call that is right. `train`, `eval`, `calibrate` and `data check` ask here, so that they are of one mind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::names::{Meaning, meaning};
use super::{LayoutId, folder::images_below, recognise, tree::good_folder};
use crate::error::DataError;

/// What the parts of a folder are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Good ones, by this flag.
    Good(&'static str),
    /// Defective ones.
    Defective,
}

/// Refuses a folder below which lie images in folders whose names say something else than what is wanted. `named` are all
/// folders that were named for it: what a person names itself is what they say, whatever it is called.
///
/// # Errors
/// [`DataError::NotOnly`]; a folder that cannot be listed.
pub(super) fn require_only(
    folder: &Path,
    wanted: Wanted,
    named: &[PathBuf],
    masks: &[PathBuf],
) -> Result<(), DataError> {
    let images = images_below(folder)?;
    let found = wrong_folders(folder, &images, wanted, named, masks);
    if found.is_empty() {
        return Ok(());
    }
    let below = |path: &Path| path.strip_prefix(folder).unwrap_or(path).display().to_string();
    let shown: Vec<String> = found
        .iter()
        .map(|(path, count)| format!("{} ({})", below(path), super::check::images(*count)))
        .collect();
    let (flag, parts) = match wanted {
        Wanted::Good(flag) => (flag, "good"),
        Wanted::Defective => ("--abnormal", "defective"),
    };
    let advice = advice(folder, &images, wanted, &found);
    let too: Vec<String> = found.keys().map(|path| quoted(path)).collect();
    let way_out = format!(
        "If these parts are {parts} all the same, name their folders too: {flag} {} {}",
        quoted(folder),
        too.join(" ")
    );
    Err(DataError::NotOnly { folder: folder.to_path_buf(), parts, found: shown.join(", "), advice, way_out })
}

/// The topmost folders below `folder` that hold images and whose names say something else, with the number of their images.
pub(super) fn wrong_folders(
    folder: &Path,
    images: &[PathBuf],
    wanted: Wanted,
    named: &[PathBuf],
    masks: &[PathBuf],
) -> BTreeMap<PathBuf, usize> {
    let is_wrong = |name: &str| match wanted {
        Wanted::Good(_) => matches!(meaning(name), Meaning::Defective | Meaning::Masks | Meaning::Test),
        Wanted::Defective => matches!(meaning(name), Meaning::Good | Meaning::Masks),
    };
    // Folders beside one of good parts: theirs are other parts.
    let mut children: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for (parent, name) in images.iter().flat_map(|image| steps(folder, image)) {
        children.entry(parent).or_default().insert(name);
    }
    let beside_good = |parent: &Path, name: &str| {
        matches!(wanted, Wanted::Good(_))
            && meaning(name) != Meaning::Good
            && children
                .get(parent)
                .is_some_and(|names| names.iter().any(|name| meaning(name) == Meaning::Good))
    };
    let mut found = BTreeMap::new();
    for image in images {
        if masks.iter().any(|masks| masks != folder && image.starts_with(masks)) {
            continue;
        }
        for (parent, name) in steps(folder, image) {
            let path = parent.join(&name);
            if named.contains(&path) {
                break;
            }
            if is_wrong(&name) || beside_good(&parent, &name) {
                *found.entry(path).or_insert(0) += 1;
                break;
            }
        }
    }
    found
}

/// The folders on the way from `folder` to an image: each with the one that it lies in.
fn steps(folder: &Path, image: &Path) -> Vec<(PathBuf, String)> {
    let below = image.strip_prefix(folder).unwrap_or(Path::new(""));
    let mut parent = folder.to_path_buf();
    let mut steps = vec![];
    for part in below.parent().unwrap_or(Path::new("")).components() {
        steps.push((parent.clone(), part.as_os_str().to_string_lossy().into_owned()));
        parent.push(part);
    }
    steps
}

/// The call that is right.
fn advice(folder: &Path, images: &[PathBuf], wanted: Wanted, found: &BTreeMap<PathBuf, usize>) -> String {
    let here = quoted(folder);
    if let Ok(known) = recognise(folder, None) {
        let layout = known.layout;
        let good = good_folder(&folder.join("train")).ok().flatten();
        let good = match (good, wanted) {
            (Some(good), Wanted::Good(flag)) => format!(", or only the good parts: {flag} {}", quoted(&good)),
            _ => String::new(),
        };
        return match (known.places.as_slice(), known.is_category || layout == LayoutId::Folders) {
            (_, true) => format!("it is a category in {layout} layout: give --data {here}{good}"),
            ([first, ..], _) => {
                let count = known.places.len();
                format!(
                    "it is a data set in {layout} layout of {count} categories: give --data {here} --category {}",
                    quoted(Path::new(&first.name))
                )
            }
            _ => format!("give --data {here}"),
        };
    }
    let mut children: BTreeSet<PathBuf> = BTreeSet::new();
    let mut lie_here = false;
    for image in images {
        match steps(folder, image).first() {
            Some((parent, name)) => {
                children.insert(parent.join(name));
            }
            None => lie_here = true,
        }
    }
    let of = |wanted: &[Meaning]| -> Vec<String> {
        let is = |path: &&PathBuf| {
            path.file_name().is_some_and(|name| wanted.contains(&meaning(&name.to_string_lossy())))
        };
        children.iter().filter(is).map(|path| quoted(path)).collect()
    };
    let (good, masks) = (of(&[Meaning::Good]), of(&[Meaning::Masks]));
    let mut call = vec![];
    if let Wanted::Good(flag) = wanted {
        if good.is_empty() {
            let others: Vec<String> = children
                .iter()
                .filter(|path| !found.keys().any(|wrong| wrong.starts_with(path)))
                .map(|p| quoted(p))
                .collect();
            return match (lie_here, others.is_empty()) {
                (true, _) => format!("move out of {here} what does not belong to it"),
                (false, true) => format!("give the folders of good parts themselves, each with {flag}"),
                (false, false) => {
                    format!("give the folders of good parts themselves: {flag} {}", others.join(" "))
                }
            };
        }
        call.push(format!("{flag} {}", good.join(" ")));
    }
    let bad = of(&[Meaning::Defective, Meaning::Other, Meaning::SoundsGood, Meaning::Unclear]);
    if !bad.is_empty() {
        call.push(format!("--abnormal {}", bad.join(" ")));
    } else if wanted == Wanted::Defective {
        call.push(format!("--abnormal {here}"));
    }
    if !masks.is_empty() {
        call.push(format!("--masks {}", masks.join(" ")));
    }
    let of_eval =
        if wanted == Wanted::Good("--normal") { " (`eval` takes --normal-test in its place)" } else { "" };
    format!("give {}{of_eval}", call.join(" "))
}

/// A path as it can be typed.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/\\._-+:@,=".contains(c);
    if text.chars().all(plain) && !text.is_empty() {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
