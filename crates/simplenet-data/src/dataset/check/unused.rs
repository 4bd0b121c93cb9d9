//! Files that lie in a data set and are used for nothing: images in folders that its layout does not know, files that
//! are no images, hidden ones.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::Findings;
use crate::dataset::{Category, LayoutId, Recognised, has_image_extension, is_hidden};

/// Endings of files that go with a data set.
const DOCUMENTS: [&str; 11] =
    ["txt", "md", "csv", "tsv", "json", "pdf", "html", "xml", "yaml", "yml", "toml"];

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
        match folder.components().any(|part| part.as_os_str() == "train") {
            true => findings.note(
                "images-beside-training",
                format!("{folder_name} holds {count} not trained on: {names}"),
            ),
            false => findings
                .note("unused-images", format!("{folder_name} holds {count} that nothing uses: {names}")),
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
    let mut entries = WalkDir::new(root).follow_links(true).sort_by_file_name().into_iter();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            // Told by whoever wanted to read it.
            Err(_) => continue,
        };
        let path = entry.path();
        if entry.depth() > 0 && is_hidden(path) {
            findings.note("hidden", format!("{} is hidden and passed over", path.display()));
            if entry.file_type().is_dir() {
                entries.skip_current_dir();
            }
        } else if entry.file_type().is_dir() || used.contains(path) {
        } else if has_image_extension(path) {
            images.entry(path.parent().unwrap_or(root).to_path_buf()).or_default().push(path.to_path_buf());
        } else if !is_document(path) {
            findings
                .note("other-file", format!("{} is no image that is read, and passed over", path.display()));
        }
    }
}

fn is_document(path: &Path) -> bool {
    match path.extension() {
        None => path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy().to_ascii_lowercase();
            name.starts_with("licen") || name.starts_with("readme")
        }),
        Some(ending) => DOCUMENTS.iter().any(|known| ending.eq_ignore_ascii_case(known)),
    }
}
