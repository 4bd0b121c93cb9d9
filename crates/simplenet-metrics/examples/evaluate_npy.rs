//! Evaluates the anomaly maps of any method from `.npy` files, one map in memory at a time.
//!
//! ```sh
//! cargo run --release -p simplenet-metrics --example evaluate_npy -- DIR [--json]
//! ```
//!
//! - `DIR/maps/NAME.npy`: 2-D `float32` or `float64` scores, higher = more anomalous. `float64` is rounded to
//!   `float32`.
//! - `DIR/masks/NAME.npy`: 2-D mask of the same shape, 0 = normal. `bool`, or an integer type where anything
//!   but 0 is anomalous, or a floating type with 0 and 1 only. No mask, or one of zeros only: a good image.
//!
//! The score of an image is the maximum of its map. What is undefined is `n/a` with the reason in the table;
//! in the JSON it is `null`, and `undefined` holds the reason.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::{Display, Write as _};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ndarray::Array2;
use ndarray_npy::{ReadNpyError, ReadableElement, read_npy};
use simplenet_metrics::{
    AUPRO_LIMIT, AUPRO_STRICT_LIMIT, AnomalyMap, F1Max, MetricError, PixelAccumulator, PixelMetrics, auroc,
    average_precision, f1_max,
};

const USAGE: &str = "usage: evaluate_npy DIR [--json]\n\
    DIR/maps/NAME.npy holds 2-D anomaly maps, DIR/masks/NAME.npy the masks of the anomalous images";

fn main() -> ExitCode {
    let outcome = std::env::args_os()
        .skip(1)
        .map(|arg| arg.into_string().map_err(|arg| format!("{}: not UTF-8\n{USAGE}", arg.display())))
        .collect::<Result<Vec<String>, String>>()
        .and_then(|args| run(&args, &mut io::stdout().lock()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Evaluates the folder that `args` name (without the program's own name) and writes the result to `out`.
pub(crate) fn run(args: &[String], out: &mut impl Write) -> Result<(), String> {
    let mut json = false;
    let mut folder = None;
    for arg in args {
        match arg.as_str() {
            "--json" => json = true,
            option if option.starts_with('-') => return Err(format!("{option}: no such option\n{USAGE}")),
            path if folder.is_none() => folder = Some(path),
            path => return Err(format!("{path}: only one folder can be evaluated\n{USAGE}")),
        }
    }
    let report = evaluate(Path::new(folder.ok_or_else(|| USAGE.to_string())?))?;
    let text = if json { report.json() } else { report.table() };
    out.write_all(text.as_bytes()).map_err(|error| format!("cannot write the result: {error}"))
}

/// What was measured.
struct Report {
    image_scores: Vec<f32>,
    image_labels: Vec<bool>,
    pixels: PixelMetrics,
}

/// Reads image after image and ranks their pixels.
fn evaluate(folder: &Path) -> Result<Report, String> {
    let (map_folder, mask_folder) = (folder.join("maps"), folder.join("masks"));
    let maps = npy_files(&map_folder, "one .npy anomaly map for each image")?;
    let masks =
        npy_files(&mask_folder, "one .npy mask for each anomalous image; it is empty if there is none")?;
    if maps.is_empty() {
        return Err(format!("{}: no .npy file; write one anomaly map for each image", map_folder.display()));
    }
    if let Some((name, mask)) = masks.iter().find(|(name, _)| !maps.contains_key(*name)) {
        let map = map_folder.join(name);
        return Err(format!(
            "{}: no map for this mask; write {}, or take the mask away",
            mask.display(),
            map.display()
        ));
    }

    let set = PixelAccumulator::new();
    let (mut image_scores, mut image_labels) = (Vec::new(), Vec::new());
    for (name, path) in &maps {
        let map = read_map(path)?;
        let mask = masks.get(name).map(|mask| read_mask(mask, &map, path)).transpose()?;
        let Grid { values: scores, width, height } = &map;
        let added = match &mask {
            Some(mask) => set.add(&AnomalyMap { scores, mask, width: *width, height: *height }),
            None => set.add_normal(scores, *width, *height),
        };
        added.map_err(|error| refused(path, error))?;
        image_scores.push(scores.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        image_labels.push(mask.is_some_and(|mask| mask.contains(&1)));
    }
    let ranking = set.finish().map_err(|error| format!("{}: {error}", map_folder.display()))?;
    let pixels = ranking.metrics(&[AUPRO_LIMIT, AUPRO_STRICT_LIMIT]);
    Ok(Report { image_scores, image_labels, pixels })
}

/// The `.npy` files of a folder by file name.
fn npy_files(folder: &Path, expected: &str) -> Result<BTreeMap<OsString, PathBuf>, String> {
    let cannot = |error: io::Error| format!("{}: {error}; this folder holds {expected}", folder.display());
    let mut files = BTreeMap::new();
    for entry in folder.read_dir().map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "npy") {
            files.insert(entry.file_name(), path);
        }
    }
    Ok(files)
}

/// A 2-D array, row by row.
struct Grid<T> {
    values: Vec<T>,
    width: usize,
    height: usize,
}

/// Reads an anomaly map.
fn read_map(path: &Path) -> Result<Grid<f32>, String> {
    let mut map = read_as(path, |score: f32| Some(score))?;
    if map.is_none() {
        map = read_as(path, |score: f64| Some(score as f32))?;
    }
    let map =
        map.ok_or_else(|| format!("{}: not float32 or float64; save the raw scores", path.display()))?;
    if map.values.is_empty() {
        Err(format!("{}: a map without pixels; save the scores of an image", path.display()))
    } else {
        Ok(map)
    }
}

/// Reads a mask of one type; `None` if the file holds another.
type MaskReader = fn(&Path) -> Result<Option<Grid<u8>>, String>;

/// Reads a mask as 0 and 1, and checks that it has the shape of its map.
fn read_mask(path: &Path, map: &Grid<f32>, map_path: &Path) -> Result<Vec<u8>, String> {
    /// Floating values other than 0 and 1 are mostly the work of an interpolating resize.
    fn binary<T: PartialEq + From<u8>>(value: T) -> Option<u8> {
        if value == T::from(1) { Some(1) } else { (value == T::from(0)).then_some(0) }
    }
    let readers: [MaskReader; 9] = [
        |path| read_as(path, |value: bool| Some(u8::from(value))),
        |path| read_as(path, |value: u8| Some(u8::from(value != 0))),
        |path| read_as(path, |value: i64| Some(u8::from(value != 0))),
        |path| read_as(path, |value: i32| Some(u8::from(value != 0))),
        |path| read_as(path, |value: i16| Some(u8::from(value != 0))),
        |path| read_as(path, |value: u16| Some(u8::from(value != 0))),
        |path| read_as(path, |value: i8| Some(u8::from(value != 0))),
        |path| read_as(path, binary::<f32>),
        |path| read_as(path, binary::<f64>),
    ];
    for read in readers {
        let Some(mask) = read(path)? else { continue };
        if (mask.width, mask.height) != (map.width, map.height) {
            return Err(format!(
                "{}: {} rows and {} columns, but its map {} has {} and {}; resize the map to the mask first",
                path.display(),
                mask.height,
                mask.width,
                map_path.display(),
                map.height,
                map.width
            ));
        }
        return Ok(mask.values);
    }
    Err(format!("{}: not a type that masks have; save it as bool or uint8", path.display()))
}

/// Reads a 2-D array of `F`; `None` if the file holds another type. `convert` refuses a value with `None`.
fn read_as<F: ReadableElement + Display + Copy, T>(
    path: &Path,
    convert: impl Fn(F) -> Option<T>,
) -> Result<Option<Grid<T>>, String> {
    let array: Array2<F> = match read_npy(path) {
        Ok(array) => array,
        Err(ReadNpyError::WrongDescriptor(_)) => return Ok(None),
        Err(ReadNpyError::WrongNdim(_, dimensions)) => {
            return Err(format!(
                "{}: {dimensions} dimensions; save one image a file as (rows, columns)",
                path.display()
            ));
        }
        Err(error) => {
            return Err(format!("{}: {error}; save it again with numpy.save", path.display()));
        }
    };
    let (height, width) = array.dim();
    let mut values = Vec::with_capacity(array.len());
    for &value in &array {
        values.push(convert(value).ok_or_else(|| {
            format!(
                "{}: holds {value}, neither 0 nor 1; save it as bool or uint8, cut at a threshold",
                path.display()
            )
        })?);
    }
    Ok(Some(Grid { values, width, height }))
}

/// Why a map was refused, with its file instead of its number.
fn refused(path: &Path, error: MetricError) -> String {
    match error {
        MetricError::NonFinitePixel { x, y, value, .. } => format!(
            "{}: the score at row {y}, column {x} is {value} as float32; only finite scores can be ranked",
            path.display()
        ),
        error => format!("{}: {error}", path.display()),
    }
}

/// A line of the report. `value`: as the table and as the JSON say it, or why there is none.
struct Line {
    label: &'static str,
    key: &'static str,
    value: Result<(String, String), MetricError>,
}

impl Report {
    fn anomalous_images(&self) -> usize {
        self.image_labels.iter().filter(|&&anomalous| anomalous).count()
    }

    /// The metrics, in the order in which they are printed.
    fn lines(&self) -> Vec<Line> {
        fn ratio(label: &'static str, key: &'static str, value: Result<f64, MetricError>) -> Line {
            Line { label, key, value: value.map(|value| (format!("{value:.6}"), value.to_string())) }
        }
        fn score(label: &'static str, key: &'static str, value: Result<f32, MetricError>) -> Line {
            Line { label, key, value: value.map(|value| (value.to_string(), value.to_string())) }
        }
        let f1 = |best: &Result<F1Max, MetricError>| best.clone().map(|best| best.f1);
        let threshold = |best: &Result<F1Max, MetricError>| best.clone().map(|best| best.threshold);
        let (scores, labels, pixels) = (&self.image_scores, &self.image_labels, &self.pixels);
        let image_f1 = f1_max(scores, labels);
        let mut lines = vec![
            ratio("image AUROC", "image_auroc", auroc(scores, labels)),
            ratio("image AP", "image_average_precision", average_precision(scores, labels)),
            ratio("image F1-max", "image_f1_max", f1(&image_f1)),
            score("  at threshold", "image_f1_max_threshold", threshold(&image_f1)),
            ratio("pixel AUROC", "pixel_auroc", pixels.auroc.clone()),
            ratio("pixel AP", "pixel_average_precision", pixels.average_precision.clone()),
            ratio("pixel F1-max", "pixel_f1_max", f1(&pixels.f1_max)),
            score("  at threshold", "pixel_f1_max_threshold", threshold(&pixels.f1_max)),
        ];
        let names = [("AUPRO@0.30", "aupro_0.30"), ("AUPRO@0.05", "aupro_0.05")];
        lines.extend(
            names.into_iter().zip(&pixels.aupro).map(|((label, key), area)| ratio(label, key, area.clone())),
        );
        lines
    }

    /// One line a metric.
    fn table(&self) -> String {
        let (images, anomalous) = (self.image_labels.len(), self.anomalous_images());
        let good = images - anomalous;
        let mut text = format!("{:<16}{images} ({good} good, {anomalous} anomalous)\n", "images");
        for Line { label, value, .. } in self.lines() {
            let value = value.map_or_else(|error| format!("n/a ({error})"), |(value, _)| value);
            let _ = writeln!(text, "{label:<16}{value}");
        }
        let _ = writeln!(text, "{:<16}{}", "regions", self.pixels.regions);
        text
    }

    /// One JSON object.
    fn json(&self) -> String {
        let (images, anomalous) = (self.image_labels.len(), self.anomalous_images());
        let mut fields = vec![
            format!("\"images\": {images}"),
            format!("\"good_images\": {}", images - anomalous),
            format!("\"anomalous_images\": {anomalous}"),
        ];
        let mut undefined = Vec::new();
        for Line { key, value, .. } in self.lines() {
            match value {
                Ok((_, value)) => fields.push(format!("\"{key}\": {value}")),
                Err(error) => {
                    fields.push(format!("\"{key}\": null"));
                    undefined.push(format!("\"{key}\": {}", json_string(&error.to_string())));
                }
            }
        }
        let PixelMetrics { normal_pixels, anomalous_pixels, regions, .. } = self.pixels;
        fields.push(format!("\"normal_pixels\": {normal_pixels}"));
        fields.push(format!("\"anomalous_pixels\": {anomalous_pixels}"));
        fields.push(format!("\"regions\": {regions}"));
        fields.push(format!("\"undefined\": {{{}}}", undefined.join(", ")));
        format!("{{{}}}\n", fields.join(", "))
    }
}

/// `text` as a JSON string.
fn json_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if u32::from(control) < 0x20 => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            character => quoted.push(character),
        }
    }
    quoted + "\""
}
