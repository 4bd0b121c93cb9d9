//! The layout of VisA: images by object, and the split in CSV files beside them.
//!
//! In: an object's folder with `Data/Images/{Normal,Anomaly}` and `Data/Masks/Anomaly`, whose split is in
//! `../split_csv/1cls.csv`; or one of the split files itself, for another split than that. Columns: `object`, `split`,
//! `label`, `image`, `mask`, the last two relative to the data set's folder. Out: a [`Category`]. Masks hold class
//! numbers: all values above 0 are defects. Anomalous images of `train`, which the two-class splits have, are left out.

use std::path::{Path, PathBuf};

use super::{
    Category, GroundTruth, Layout, LayoutId, Place, Problems, Sample, Sign,
    csv::{Row, Table},
    list,
    pairing::check_sizes,
    require_images,
};
use crate::decode::DecodeOptions;
use crate::error::DataError;

/// The split that anomaly detection uses: only normal images in train.
const SPLIT: &str = "split_csv/1cls.csv";
/// How anomalous images' defects are called: the split tells no kinds.
const DEFECT: &str = "anomaly";

/// The layout.
pub(super) struct Visa;

impl Layout for Visa {
    fn id(&self) -> LayoutId {
        LayoutId::Visa
    }

    fn description(&self) -> &'static str {
        "VisA: Data/Images, with the split in split_csv/1cls.csv"
    }

    fn signs(&self, folder: &Path) -> Vec<Sign> {
        let split = parent(folder).join(SPLIT);
        vec![
            Sign::folder(folder, "Data/Images/Normal"),
            Sign::folder(folder, "Data/Images/Anomaly").optional(),
            Sign::folder(folder, "Data/Masks/Anomaly").optional(),
            Sign { what: format!("../{SPLIT}"), found: split.is_file(), needed: false },
        ]
    }

    fn places(&self, root: &Path) -> Result<Vec<Place>, DataError> {
        if root.is_file() {
            let names = Table::read(root)?.values("object");
            let place = |name| Place { layout: self.id(), path: root.to_path_buf(), name, folders: None };
            return Ok(names.into_iter().map(place).collect());
        }
        super::require_folder(root, "the folder of VisA's objects")?;
        let (_, folders) = list(root)?;
        folders.iter().filter(|folder| self.fits(folder)).map(|folder| self.place(folder)).collect()
    }

    fn scan(
        &self,
        place: &Place,
        decode: &DecodeOptions,
        problems: &mut Problems<'_>,
    ) -> Result<Category, DataError> {
        let (split, root) = if place.path.is_file() {
            (place.path.clone(), parent(&parent(&place.path)))
        } else {
            (parent(&place.path).join(SPLIT), parent(&place.path))
        };
        let folder = root.join(&place.name);
        let table = match Table::read(&split) {
            Ok(table) => table,
            Err(error) => {
                problems(error)?;
                return Ok(Category::new(place, &folder));
            }
        };
        let mut category = Category::new(place, &folder);
        category.others.push(split.clone());
        let wrong = |line, problem| DataError::List { path: split.clone(), line: Some(line), problem };
        let mut anomalous_in_train = vec![];
        for row in table.rows() {
            if row.get("object") != place.name {
                continue;
            }
            let Some(path) = existing(&split, &root, &row, "image", problems)? else { continue };
            let label = row.get("label");
            let sample = match label.to_ascii_lowercase().as_str() {
                "normal" => Sample::normal(path),
                "anomaly" => {
                    let mask = if row.get("mask").is_empty() {
                        None
                    } else {
                        existing(&split, &root, &row, "mask", problems)?
                    };
                    Sample::anomalous(path, DEFECT, mask.map(GroundTruth::above_zero))
                }
                _ => {
                    problems(wrong(row.line, format!("the label is `{label}`; expected normal or anomaly")))?;
                    continue;
                }
            };
            match row.get("split") {
                "train" if sample.label == super::Label::Normal => category.train.push(sample),
                "train" => {
                    category.others.extend(sample.mask.iter().flat_map(|mask| mask.files().to_vec()));
                    anomalous_in_train.push(sample.path);
                }
                "test" => category.test.push(sample),
                other => {
                    problems(wrong(row.line, format!("the split is `{other}`; expected train or test")))?
                }
            }
        }
        let by_path = |a: &Sample, b: &Sample| a.path.cmp(&b.path);
        category.train.sort_by(by_path);
        category.test.sort_by(by_path);
        anomalous_in_train.sort_unstable();
        category.leave_out("anomalous, in train", anomalous_in_train);
        if category.train.is_empty() {
            let names = table.values("object").join(", ");
            let problem = format!(
                "it lists no normal training image of the object `{}`; its objects: {names}",
                place.name
            );
            problems(DataError::List { path: split.clone(), line: None, problem })?;
        } else if category.test.is_empty() {
            require_images(&[], &folder, "test images in the split").or_else(&mut *problems)?;
        }
        check_sizes(&mut category, decode, problems)?;
        Ok(category)
    }
}

/// The file that a row names, if it is there.
pub(super) fn existing(
    list: &Path,
    root: &Path,
    row: &Row<'_>,
    column: &str,
    problems: &mut Problems<'_>,
) -> Result<Option<PathBuf>, DataError> {
    let path = root.join(row.get(column));
    if row.get(column).is_empty() {
        let problem = format!("the column `{column}` is empty");
        problems(DataError::List { path: list.to_path_buf(), line: Some(row.line), problem })?;
        return Ok(None);
    }
    if path.is_file() {
        return Ok(Some(path));
    }
    // As Windows writes paths.
    let slashed = root.join(row.get(column).replace('\\', "/"));
    if slashed.is_file() {
        return Ok(Some(slashed));
    }
    problems(DataError::ListedFileMissing { list: list.to_path_buf(), line: row.line, path })?;
    Ok(None)
}

/// The folder above, also of `.` and of a single name.
pub(super) fn parent(path: &Path) -> PathBuf {
    match (path.file_name(), path.parent()) {
        (Some(_), Some(parent)) => parent.to_path_buf(),
        _ => path.join(".."),
    }
}
