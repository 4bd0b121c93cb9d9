//! A CSV file that lists images, their labels and their masks.
//!
//! In: a file with a header. Columns, in any order: `path` (needed) and `label` (needed), `mask`, `split`, `category`.
//! Paths are relative to the file; `\` is a folder's end where no file of the name is there. `label`: one of the names of
//! good parts (`names`) or `0` is a good part, anything else the name of a defect; `1` is called `anomaly`; nothing is an
//! image without label, which is left out. Labels that some take for good and others for defective are refused. `split`: `train`, `validation`
//! or `test`; without it good parts are trained on and others tested on. Anomalous images of `train` and `validation`
//! are left out. Out: a [`Category`] for each value of `category`, or one called as the file.
//!
//! Columns are parted by commas, semicolons or tabs, whichever the header has. The text is UTF-8 or UTF-16.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::{
    Category, GroundTruth, Label, Layout, LayoutId, Place, Problems, Sample, Sign,
    labels::{Labelled, Labels},
    pairing::check_sizes,
    visa::{existing, parent},
};
use crate::decode::{DecodeOptions, require_file};
use crate::error::DataError;

/// Columns and the other names that they may have.
const COLUMNS: [(&str, &[&str]); 5] = [
    ("path", &["image", "image_path", "file", "filename"]),
    (
        "label",
        &[
            "class",
            "defect",
            "anomaly",
            "is_anomaly",
            "anomalous",
            "defective",
            "is_defective",
            "good",
            "is_good",
        ],
    ),
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
        let labels = Labels::of_table(&table);
        let mut unclear: BTreeSet<String> = BTreeSet::new();
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
            let sample = match labels.of(label) {
                Labelled::Not => {
                    unlabelled.push(path);
                    continue;
                }
                Labelled::Good => Sample::normal(path),
                Labelled::Defective(defect) => {
                    let mask = if row.get("mask").is_empty() {
                        None
                    } else {
                        existing(list, &root, &row, "mask", problems)?
                    };
                    Sample::anomalous(path, defect, mask.map(GroundTruth::bright))
                }
                Labelled::Unclear(problem) => {
                    if !unclear.contains(label) {
                        unclear.insert(label.to_string());
                        problems(wrong(Some(row.line), problem))?;
                    }
                    continue;
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
        let values = table.values("label");
        let none_is_good = !values.iter().any(|label| matches!(labels.of(label), Labelled::Good));
        if category.train.is_empty()
            && category.test.is_empty()
            && category.left_out.is_empty()
            && unclear.is_empty()
        {
            let problem = format!("it lists no image with a label for `{}`", place.name);
            problems(wrong(None, problem))?;
        } else if none_is_good && unclear.is_empty() {
            let labels: Vec<String> = values.into_iter().filter(|label| !label.is_empty()).collect();
            let problem = format!(
                "no label is one of good parts, such as good, normal, ok, pass or 0; there are: {}",
                labels.join(", ")
            );
            problems(wrong(None, problem))?;
        }
        check_sizes(&mut category, decode, problems)?;
        Ok(category)
    }
}

/// The text of a file that is UTF-8 or, with the mark that says so, UTF-16; and where it is neither.
fn text_of(bytes: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>, String> {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.as_chunks::<2>().0.iter().map(|pair| unit(*pair));
        let text: Result<String, _> = char::decode_utf16(units).collect();
        text.map(|text| text.into_bytes().into())
            .map_err(|_| "it is no whole UTF-16; save it as CSV UTF-8".to_string())
    };
    match bytes {
        // The mark that Excel puts before UTF-8.
        [0xEF, 0xBB, 0xBF, rest @ ..] => Ok(rest.into()),
        [0xFF, 0xFE, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => wide(rest, u16::from_be_bytes),
        [_, 0, _, 0, ..] => wide(bytes, u16::from_le_bytes),
        [0, _, 0, _, ..] => wide(bytes, u16::from_be_bytes),
        _ => Ok(bytes.into()),
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
        let metadata = std::fs::metadata(path).map_err(DataError::io("read", path))?;
        require_file(path, &metadata)?;
        let bytes = std::fs::read(path).map_err(DataError::io("read", path))?;
        let text = text_of(&bytes).map_err(|problem| wrong(None, problem))?;
        if let Err(error) = std::str::from_utf8(&text) {
            let line = 1 + text[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() as u64;
            return Err(wrong(Some(line), "it is not UTF-8; save the list as CSV UTF-8".into()));
        }
        // Excel's line that names the separator.
        let (text, lines_before) = match text.strip_prefix(b"sep=") {
            Some(rest) => match rest.iter().position(|&byte| byte == b'\n') {
                Some(end) => (&rest[end + 1..], 1),
                None => (&text[..], 0),
            },
            None => (&text[..], 0),
        };
        let header = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let delimiter = [b',', b';', b'\t'].into_iter().find(|delimiter| header.contains(delimiter));
        let mut reader = ::csv::ReaderBuilder::new()
            .delimiter(delimiter.unwrap_or(b','))
            .trim(::csv::Trim::All)
            .from_reader(text);
        let unreadable = |error: ::csv::Error| {
            let line = error.position().map(|position| position.line() + lines_before);
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
            let line = record.position().map_or(0, ::csv::Position::line) + lines_before;
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

    /// The name of a column in the header, of those that it may have.
    pub(super) fn name(&self, column: &str) -> Option<&str> {
        let index = self.index(column)?;
        self.columns.iter().find(|(_, at)| **at == index).map(|(name, _)| name.as_str())
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
