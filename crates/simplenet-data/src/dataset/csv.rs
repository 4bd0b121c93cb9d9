//! A CSV file that lists images, their labels and their masks.
//!
//! In: a file with a header. Columns, in any order: `path` (needed) and `label` (needed), `mask`, `split`, `category`.
//! Paths are relative to the file. `label`: `good`, `normal`, `ok` or `0` is a good part, anything else the name of a
//! defect; `1` is called `anomaly`; nothing is an image without label, which is left out. `split`: `train`, `validation`
//! or `test`; without it good parts are trained on and others tested on. Anomalous images of `train` and `validation`
//! are left out. Out: a [`Category`] for each value of `category`, or one called as the file.
//!
//! Columns are parted by commas, semicolons or tabs, whichever the header has.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::{
    Category, GroundTruth, Label, Layout, LayoutId, Place, Problems, Sample, Sign,
    pairing::check_sizes,
    visa::{existing, parent},
};
use crate::decode::DecodeOptions;
use crate::error::DataError;

/// Columns and the other names that they may have.
const COLUMNS: [(&str, &[&str]); 5] = [
    ("path", &["image", "image_path", "file", "filename"]),
    ("label", &["class", "defect"]),
    ("mask", &["mask_path", "ground_truth"]),
    ("split", &["set"]),
    ("category", &["object", "product"]),
];

/// The layout.
pub(super) struct Csv;

impl Layout for Csv {
    fn id(&self) -> LayoutId {
        LayoutId::Csv
    }

    fn description(&self) -> &'static str {
        "a CSV file with the columns path and label, perhaps mask, split and category"
    }

    /// A folder is none.
    fn signs(&self, _folder: &Path) -> Vec<Sign> {
        vec![]
    }

    fn place(&self, file: &Path) -> Result<Place, DataError> {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Place { layout: self.id(), path: file.to_path_buf(), name, folders: None })
    }

    fn places(&self, file: &Path) -> Result<Vec<Place>, DataError> {
        let table = Table::read(file)?;
        let mut names = table.values("category");
        names.retain(|name| !name.is_empty());
        if names.is_empty() {
            return Ok(vec![self.place(file)?]);
        }
        let place = |name| Place { layout: self.id(), path: file.to_path_buf(), name, folders: None };
        Ok(names.into_iter().map(place).collect())
    }

    fn scan(
        &self,
        place: &Place,
        decode: &DecodeOptions,
        problems: &mut Problems<'_>,
    ) -> Result<Category, DataError> {
        let list = place.path.as_path();
        let mut category = Category::new(place, list);
        let table = match Table::read(list) {
            Ok(table) => table,
            Err(error) => {
                problems(error)?;
                return Ok(category);
            }
        };
        category.others.push(list.to_path_buf());
        let root = parent(list);
        let wrong = |line, problem| DataError::List { path: list.to_path_buf(), line, problem };
        for needed in ["path", "label"] {
            if !table.has(needed) {
                let problem = format!("there is no column `{needed}`; the header needs path and label");
                problems(wrong(None, problem))?;
                return Ok(category);
            }
        }
        let one_category = !table.has("category");
        let mut seen: HashMap<PathBuf, u64> = HashMap::new();
        let (mut unlabelled, mut not_trained, mut not_validated) = (vec![], vec![], vec![]);
        for row in table.rows() {
            if !one_category && row.get("category") != place.name {
                continue;
            }
            let Some(path) = existing(list, &root, &row, "path", problems)? else { continue };
            if let Some(first) = seen.insert(path.clone(), row.line) {
                problems(wrong(
                    Some(row.line),
                    format!("{} is listed in line {first} already", path.display()),
                ))?;
                continue;
            }
            let label = row.get("label");
            let sample = match label.to_ascii_lowercase().as_str() {
                "" => {
                    unlabelled.push(path);
                    continue;
                }
                "good" | "normal" | "ok" | "0" => Sample::normal(path),
                _ => {
                    let mask = match row.get("mask").is_empty() {
                        true => None,
                        false => existing(list, &root, &row, "mask", problems)?,
                    };
                    let defect = if label == "1" { "anomaly" } else { label };
                    Sample::anomalous(path, defect, mask.map(GroundTruth::bright))
                }
            };
            let part = row.get("split").to_ascii_lowercase();
            match (part.as_str(), sample.label) {
                ("train" | "training" | "", Label::Normal) => category.train.push(sample),
                ("validation" | "val" | "valid", Label::Normal) => category.validation.push(sample),
                ("test" | "testing", _) | ("", Label::Anomalous) => category.test.push(sample),
                ("train" | "training", Label::Anomalous) => not_trained.push(sample),
                ("validation" | "val" | "valid", Label::Anomalous) => not_validated.push(sample),
                _ => {
                    let problem = format!("the split is `{part}`; expected train, validation or test");
                    problems(wrong(Some(row.line), problem))?;
                }
            }
        }
        let by_path = |a: &Sample, b: &Sample| a.path.cmp(&b.path);
        category.train.sort_by(by_path);
        category.validation.sort_by(by_path);
        category.test.sort_by(by_path);
        unlabelled.sort_unstable();
        category.leave_out("no label", unlabelled);
        for (why, samples) in
            [("anomalous, in train", not_trained), ("anomalous, in validation", not_validated)]
        {
            let masks = samples.iter().filter_map(|sample| sample.mask.as_ref());
            category.others.extend(masks.flat_map(|mask| mask.files().to_vec()));
            let mut images: Vec<PathBuf> = samples.into_iter().map(|sample| sample.path).collect();
            images.sort_unstable();
            category.leave_out(why, images);
        }
        if category.train.is_empty() && category.test.is_empty() {
            let problem = format!("it lists no image with a label for `{}`", place.name);
            problems(wrong(None, problem))?;
        }
        check_sizes(&category.test, decode, problems)?;
        Ok(category)
    }
}

/// A CSV file with a header.
pub(super) struct Table {
    columns: HashMap<String, usize>,
    rows: Vec<(u64, ::csv::StringRecord)>,
}

/// A line of a [`Table`].
pub(super) struct Row<'a> {
    table: &'a Table,
    record: &'a ::csv::StringRecord,
    /// Its number, from 1.
    pub(super) line: u64,
}

impl Table {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, DataError> {
        let wrong = |line, problem| DataError::List { path: path.to_path_buf(), line, problem };
        let bytes = std::fs::read(path).map_err(DataError::io("read", path))?;
        // The mark that Excel puts before UTF-8.
        let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
        let header = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let delimiter = [b',', b';', b'\t'].into_iter().find(|delimiter| header.contains(delimiter));
        let mut reader = ::csv::ReaderBuilder::new()
            .delimiter(delimiter.unwrap_or(b','))
            .trim(::csv::Trim::All)
            .from_reader(text);
        let unreadable = |error: ::csv::Error| {
            let line = error.position().map(::csv::Position::line);
            wrong(line, format!("it cannot be read as CSV ({error})"))
        };
        let header = reader.headers().map_err(unreadable)?;
        let columns: HashMap<String, usize> =
            header.iter().enumerate().map(|(i, name)| (name.to_ascii_lowercase(), i)).collect();
        if columns.keys().all(|name| name.is_empty()) {
            return Err(wrong(
                None,
                "it has no header; expected a line of column names such as path,label".into(),
            ));
        }
        let mut rows = vec![];
        for record in reader.records() {
            let record = record.map_err(unreadable)?;
            let line = record.position().map_or(0, ::csv::Position::line);
            rows.push((line, record));
        }
        Ok(Self { columns, rows })
    }

    /// Whether there is such a column, under one of its names.
    pub(super) fn has(&self, column: &str) -> bool {
        self.index(column).is_some()
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|(line, record)| Row { table: self, record, line: *line })
    }

    /// The values of a column, sorted, each once.
    pub(super) fn values(&self, column: &str) -> Vec<String> {
        let values: BTreeSet<String> = self.rows().map(|row| row.get(column).to_string()).collect();
        if self.has(column) { values.into_iter().collect() } else { vec![] }
    }

    /// The names in the header, in lower case.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }

    fn index(&self, column: &str) -> Option<usize> {
        let other = COLUMNS.iter().find(|(name, _)| *name == column).map_or(&[][..], |(_, other)| other);
        std::iter::once(&column).chain(other).find_map(|name| self.columns.get(*name)).copied()
    }
}

impl Row<'_> {
    /// A value; nothing where there is no such column.
    pub(super) fn get(&self, column: &str) -> &str {
        self.table.index(column).and_then(|index| self.record.get(index)).unwrap_or_default()
    }
}
