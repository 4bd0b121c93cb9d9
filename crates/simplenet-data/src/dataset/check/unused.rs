//! Files that lie in a data set and are used for nothing: images in folders that its layout does not know, files that
//! are no images, hidden ones.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::Findings;
use crate::dataset::listing::{self, ListOptions, Listing, Reason};
use crate::dataset::{Category, LayoutId, Recognised};

/// Looks through the folders of what was checked.
pub(super) fn look(path: &Path, recognised: &Recognised, categories: &[&Category], findings: &mut Findings) {
    let used: HashSet<&Path> = categories.iter().flat_map(|category| used(category)).collect();
    let roots: Vec<PathBuf> = match recognised.layout {
        // A list says itself what belongs to it.
        LayoutId::Csv => return,
        LayoutId::Folders => recognised.places.iter().flat_map(folders).collect(),
        _ if path.is_file() => return,
        _ => vec![path.to_path_buf()],
    };
    let mut images: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for root in &roots {
        walk(root, &used, &mut images, findings);
    }
    for (folder, images) in images {
        let names: Vec<String> = images
            .iter()
            .take(3)
            .filter_map(|path| path.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        let names = names.join(", ") + if images.len() > 3 { ", …" } else { "" };
        let count = super::images(images.len());
        let folder_name = folder.display();
        if folder.components().any(|part| part.as_os_str() == "train") {
            findings.note(
                "images-beside-training",
                format!("{folder_name} holds {count} not trained on: {names}"),
            )
        } else {
            findings.note("unused-images", format!("{folder_name} holds {count} that nothing uses: {names}"))
        }
    }
}

fn used(category: &Category) -> impl Iterator<Item = &Path> {
    let masks = category.samples().filter_map(|sample| sample.mask.as_ref()).flat_map(|mask| mask.files());
    let left_out = category.left_out.iter().flat_map(|left_out| &left_out.images);
    let images = category.samples().map(|sample| &sample.path);
    images.chain(masks).chain(left_out).chain(&category.others).map(PathBuf::as_path)
}

fn folders(place: &crate::dataset::Place) -> Vec<PathBuf> {
    match &place.folders {
        Some(folders) => folders.all().map(Path::to_path_buf).collect(),
        None => vec![place.path.clone()],
    }
}

fn walk(
    root: &Path,
    used: &HashSet<&Path>,
    images: &mut BTreeMap<PathBuf, Vec<PathBuf>>,
    findings: &mut Findings,
) {
    // What cannot be listed is told by whoever wanted to read it.
    let Ok(Listing { images: found, passed_over, .. }) = listing::list(root, &ListOptions::default()) else {
        return;
    };
    for path in found.into_iter().filter(|path| !used.contains(path.as_path())) {
        images.entry(path.parent().unwrap_or(root).to_path_buf()).or_default().push(path);
    }
    for entry in passed_over {
        let path = entry.path.display();
        match entry.reason {
            Reason::Hidden => findings.note("hidden", format!("{path} is hidden and passed over")),
            Reason::NoImage => {
                findings.note("other-file", format!("{path} is no image that is read, and passed over"));
            }
            reason => findings.note("passed-over", format!("{path} is passed over: {}", reason.words())),
        }
    }
}
