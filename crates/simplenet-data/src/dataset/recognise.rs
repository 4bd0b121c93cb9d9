//! Which layout a folder or a file has, and whether it is a data set or one category of it.

use std::path::Path;

use super::{LayoutId, Place, csv::Table, list, mvtec::no_categories, real_iad::is_list, require_folder};
use crate::decode::DecodeOptions;
use crate::error::DataError;

/// A layout that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognised {
    /// The layout.
    pub layout: LayoutId,
    /// The categories, sorted by name; at least one.
    pub places: Vec<Place>,
    /// Whether the path is one category and not a folder of them.
    pub is_category: bool,
    /// What it was recognised by.
    pub why: Vec<String>,
    /// What the layout may have and is not there.
    pub absent: Vec<String>,
}

/// Recognises the layout of a data set, a category's folder or a list; with `layout`, looks for that one only.
///
/// # Errors
/// The path is missing or cannot be read; [`DataError::UnknownLayout`] where no layout fits, with what comes nearest.
pub fn recognise(path: &Path, layout: Option<LayoutId>) -> Result<Recognised, DataError> {
    if path.is_file() {
        return recognise_file(path, layout);
    }
    require_folder(
        path,
        "a data set, a category such as one in MVTec layout with train/good, test/good and test/<defect> inside, or a \
         CSV file",
    )?;
    let candidates = || LayoutId::ALL.into_iter().filter(|id| layout.is_none_or(|asked| asked == *id));
    if let Some(id) = candidates().find(|id| id.layout().fits(path)) {
        return Ok(of_places(id, vec![id.layout().place(path)?], true));
    }
    // Real-IAD's categories lie one deeper than the data set.
    if candidates().any(|id| id == LayoutId::RealIad) {
        let places = LayoutId::RealIad.layout().places(path)?;
        if !places.is_empty() {
            return Ok(of_places(LayoutId::RealIad, places, false));
        }
    }
    // Each sub-folder has one layout; that of most of them is the data set's.
    let (_, folders) = list(path)?;
    let of_folder = |folder: &&std::path::PathBuf| candidates().find(|id| id.layout().fits(folder));
    let found: Vec<LayoutId> = folders.iter().filter_map(|folder| of_folder(&folder)).collect();
    let count = |id: LayoutId| found.iter().filter(|other| **other == id).count();
    if let Some(id) = first_largest(candidates().filter(|id| count(*id) > 0), count) {
        return Ok(of_places(id, id.layout().places(path)?, false));
    }
    Err(nearest(path, layout))
}

/// The first of those for which `key` is largest.
fn first_largest(ids: impl Iterator<Item = LayoutId>, key: impl Fn(LayoutId) -> usize) -> Option<LayoutId> {
    ids.fold(None, |best, id| match best {
        Some(before) if key(before) >= key(id) => Some(before),
        _ => Some(id),
    })
}

fn of_places(layout: LayoutId, places: Vec<Place>, is_category: bool) -> Recognised {
    let signs = places.first().map(|place| layout.layout().signs(&place.path)).unwrap_or_default();
    let (found, absent): (Vec<_>, Vec<_>) = signs.into_iter().partition(|sign| sign.found);
    let names = |signs: Vec<super::Sign>| signs.into_iter().map(|sign| sign.what).collect();
    Recognised { layout, places, is_category, why: names(found), absent: names(absent) }
}

/// A CSV file is one of VisA's splits, or a list with this project's columns.
fn recognise_file(path: &Path, layout: Option<LayoutId>) -> Result<Recognised, DataError> {
    let columns = ["object", "split", "label", "image"];
    let is_real_iad = layout.is_none_or(|asked| asked == LayoutId::RealIad) && is_list(path);
    let is_split = match layout {
        _ if is_real_iad => false,
        Some(asked) => asked == LayoutId::Visa,
        None => {
            let table = Table::read(path)?;
            columns.iter().all(|name| table.names().any(|found| found == *name))
                && path.parent().and_then(Path::file_name).is_some_and(|folder| folder == "split_csv")
        }
    };
    let (id, why) = match (is_real_iad, is_split) {
        (true, _) => (LayoutId::RealIad, "a JSON file with meta, train and test".to_string()),
        (_, true) => (LayoutId::Visa, format!("a file in split_csv with the columns {}", columns.join(", "))),
        _ => (LayoutId::Csv, "a file".to_string()),
    };
    if let Some(asked) = layout.filter(|asked| *asked != id) {
        let expected = format!("a folder in {asked} layout");
        return Err(DataError::MissingFolder { path: path.to_path_buf(), expected });
    }
    let places = id.layout().places(path)?;
    if places.is_empty() {
        let problem = "it lists no image".to_string();
        return Err(DataError::List { path: path.to_path_buf(), line: None, problem });
    }
    let is_category = places.len() == 1;
    Ok(Recognised { layout: id, places, is_category, why: vec![why], absent: vec![] })
}

/// Why no layout fits, by the one that has most signs there; MVTec's where none has any.
fn nearest(path: &Path, layout: Option<LayoutId>) -> DataError {
    let found = |id: LayoutId| id.layout().signs(path).iter().filter(|sign| sign.found).count();
    let by_signs = first_largest(LayoutId::ALL.into_iter().filter(|id| found(*id) > 0), found);
    let id = layout.or(by_signs).unwrap_or(LayoutId::Mvtec);
    let missing: Vec<String> = id
        .layout()
        .signs(path)
        .into_iter()
        .filter(|sign| sign.needed && !sign.found)
        .map(|sign| sign.what)
        .collect();
    let reason = id.layout().place(path).and_then(|place| place.load(&DecodeOptions::default()));
    let reason = reason.err().unwrap_or_else(|| no_categories(path, false));
    DataError::UnknownLayout {
        path: path.to_path_buf(),
        nearest: if missing.is_empty() {
            id.to_string()
        } else {
            format!("{id}, without {},", missing.join(" and "))
        },
        reason: Box::new(reason),
    }
}

/// Whether a folder has any sign of a layout of data sets.
pub(super) fn has_signs(path: &Path) -> bool {
    let data_sets = LayoutId::ALL.iter().filter(|id| **id != LayoutId::Folders);
    data_sets.into_iter().any(|id| id.layout().signs(path).iter().any(|sign| sign.found))
}
