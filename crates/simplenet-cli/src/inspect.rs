//! One photograph from its file through the detector, and onto the disk: heat map, raw map, and its line in
//! predictions.jsonl. The first is `simplenet_inference`, the second is here, for `infer` and `eval`.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use image::RgbImage;
use serde_json::{Map, Value, json};
use simplenet_inference::{Detector, Inspected, Inspection};
use simplenet_model::{checkpoint, weights::sha256_hex};

use crate::{
    args::RegionArgs,
    error::CliError,
    output::{
        OutputError,
        anomaly_map_file::{MapFormat, write_map},
        atomic,
        heatmap::{OverlayOptions, ScoreRange, overlay},
        layers::{LayerSizes, Layers},
        prediction::{JsonPath, Milliseconds, PredictedRegion, PredictionRecord, Verdict},
    },
};

pub use crate::output::run_folder::PREDICTIONS_FILE;
/// Folder of the overlays, in the output folder.
pub const HEATMAPS: &str = "heatmaps";
/// Folder of the raw maps, in the output folder.
pub const MAPS: &str = "anomaly_maps";

/// How long each part of an inspection took.
pub fn milliseconds(inspected: &Inspected) -> Milliseconds {
    let times = inspected.inspection.times;
    Milliseconds::new(inspected.decode, times.preprocess, times.network, times.postprocess)
}

/// A photograph's record and the pictures of it that a report shows, or why there are none.
pub(crate) type Recorded = Result<(PredictionRecord, Option<String>), CliError>;

/// Writes what is known of each photograph below one folder.
pub struct Recorder<'a> {
    detector: &'a Detector,
    out: &'a Path,
    map_format: Option<MapFormat>,
    model_id: String,
    range: ScoreRange,
    taken: HashSet<PathBuf>,
    maps: Maps,
}

/// What became of heat maps and raw maps. A verdict does not need them, and is kept where they cannot be.
#[derive(Debug, Default)]
struct Maps {
    /// Whether the disk is full: none is tried any more.
    full: AtomicBool,
    /// Photographs without one that should have it.
    missing: AtomicUsize,
    /// Why, of the first; until it is taken.
    note: Mutex<Option<String>>,
    noted: AtomicBool,
}

impl<'a> Recorder<'a> {
    /// A recorder for photographs inspected by `detector`, writing below `out`.
    ///
    /// # Errors
    /// A model file whose display range is not a range.
    pub fn new(
        detector: &'a Detector,
        out: &'a Path,
        map_format: Option<MapFormat>,
    ) -> Result<Self, CliError> {
        // A model file from before its calibration has no range; any one shows something.
        let (low, high) = detector.record().display_range.unwrap_or((-0.5, 0.5));
        Ok(Self {
            detector,
            out,
            map_format,
            model_id: checkpoint::model_id(detector.record()),
            range: ScoreRange::new(low, high)?,
            taken: HashSet::new(),
            maps: Maps::default(),
        })
    }

    /// Photographs whose maps could not be written.
    pub fn without_maps(&self) -> usize {
        self.maps.missing.load(Ordering::Relaxed)
    }

    /// Whether maps are not written any more, because the disk is full.
    pub fn is_disk_full(&self) -> bool {
        self.maps.full.load(Ordering::Relaxed)
    }

    /// What a person should know of maps that could not be written; once.
    pub fn take_note(&self) -> Option<String> {
        self.maps.note().take()
    }

    /// The scores between which the heat maps' colours are spread.
    pub fn range(&self) -> ScoreRange {
        self.range
    }

    /// The overlay of a photograph.
    ///
    /// # Errors
    /// A score that is infinite.
    pub fn overlay(&self, photograph: &RgbImage, inspection: &Inspection) -> Result<RgbImage, CliError> {
        let threshold = self.detector.record().threshold;
        let outline_from = threshold.and_then(|t| t.regions_from(inspection.score));
        let outline_from = outline_from.filter(|_| !inspection.regions.is_empty());
        let options = OverlayOptions { outline_from, ..OverlayOptions::default() };
        Ok(overlay(photograph, &inspection.photograph_map, self.range, &options)?)
    }

    /// The small pictures of a photograph that a report shows.
    ///
    /// # Errors
    /// A picture that cannot be encoded.
    pub fn layers(
        &self,
        photograph: &RgbImage,
        inspection: &Inspection,
        sizes: LayerSizes,
    ) -> Result<Layers, CliError> {
        Ok(Layers::draw(photograph, &inspection.photograph_map, self.range, sizes)?)
    }

    /// Writes heat map and raw map of a photograph that is called `name` (from [`Recorder::reserve`]) in the output folder,
    /// and returns its record. Several photographs may be recorded at once. Maps that cannot be written are null in the
    /// record, and counted.
    ///
    /// # Errors
    /// A score that is not finite.
    pub fn record(
        &self,
        path: &Path,
        name: &Path,
        photograph: &RgbImage,
        inspection: &Inspection,
        decode: Duration,
    ) -> Result<PredictionRecord, CliError> {
        let heatmap = Path::new(HEATMAPS).join(with_extension(name, "png"));
        let mut heatmap =
            self.kept(heatmap, |to| Ok(atomic::write_png(to, &self.overlay(photograph, inspection)?)?))?;
        let mut anomaly_map = None;
        if let Some(format) = self.map_format.filter(|_| heatmap.is_some()) {
            let file = Path::new(MAPS).join(with_extension(name, format.extension()));
            let size = photograph.dimensions();
            anomaly_map = self
                .kept(file, |to| Ok(write_map(to, format, &inspection.photograph_map, size, self.range)?))?;
        }
        if heatmap.is_none() || (self.map_format.is_some() && anomaly_map.is_none()) {
            self.maps.missing.fetch_add(1, Ordering::Relaxed);
        }
        let judged = self.detector.record().threshold;
        let threshold = judged.map(|t| t.value);
        let banded = judged.filter(|t| t.review.is_some());
        let times = inspection.times;
        Ok(PredictionRecord {
            path: JsonPath::new(path),
            score: inspection.score,
            threshold,
            verdict: threshold.map(|t| Verdict::of(inspection.score, t)),
            review_threshold: judged.and_then(|t| t.review).map(|band| band.value),
            decision: banded.map(|t| t.decide(inspection.score)),
            regions: inspection
                .regions
                .iter()
                .map(|r| PredictedRegion { bounding_box: r.bounds, area: r.area, peak_score: r.peak_score })
                .collect(),
            milliseconds: Milliseconds::new(decode, times.preprocess, times.network, times.postprocess),
            image_size: [photograph.width(), photograph.height()],
            differences: inspection.differences.clone(),
            inspected_share: inspection.inspected_share,
            model_id: self.model_id.clone(),
            precision: self.detector.precision(),
            device: self.detector.device().to_string(),
            heatmap: heatmap.take(),
            anomaly_map: anomaly_map.take(),
            label: None,
            defect: None,
        })
    }

    /// A name that no photograph of this run has yet, from a relative path: `a.png` and `a.jpg` must not share a heat map.
    pub fn reserve(&mut self, name: &Path) -> PathBuf {
        let stem = shortened(&name.with_extension(""));
        let mut candidate = stem.clone();
        let mut count = 1;
        while !self.taken.insert(candidate.clone()) {
            count += 1;
            let mut numbered = stem.clone().into_os_string();
            numbered.push(format!("-{count}"));
            candidate = numbered.into();
        }
        candidate
    }

    /// Takes the name of a photograph of an earlier run that this one goes on with, from its record.
    pub fn take(&mut self, record: &PredictionRecord) {
        let below = record.heatmap.as_deref().and_then(|file| file.strip_prefix(HEATMAPS)?.strip_prefix('/'));
        if let Some(name) = below.and_then(|name| name.strip_suffix(".png")) {
            self.taken.insert(name.into());
        }
    }

    /// Writes a file of a photograph; its name for the record, none where it cannot be written.
    ///
    /// # Errors
    /// What is not the disk's fault.
    fn kept(
        &self,
        file: PathBuf,
        write: impl FnOnce(&Path) -> Result<(), CliError>,
    ) -> Result<Option<String>, CliError> {
        if self.is_disk_full() {
            return Ok(None);
        }
        match write_below(self.out, &file, write) {
            Ok(()) => Ok(Some(slashed(&file))),
            Err(error @ (CliError::Io { .. } | CliError::Output(OutputError::Io { .. }))) => {
                self.maps.lost(&error);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }
}

impl Maps {
    fn lost(&self, error: &CliError) {
        let full = error.is_disk_full();
        // A note of the full disk comes also after one of something else.
        let said = if full { &self.full } else { &self.noted };
        if !said.swap(true, Ordering::Relaxed) {
            let goes_on = if full {
                "verdicts are kept, heat maps and raw maps are not written from here on"
            } else {
                "the verdict is kept, its heat map or raw map is not"
            };
            *self.note() = Some(format!("{error}: {goes_on}"));
        }
    }

    fn note(&self) -> MutexGuard<'_, Option<String>> {
        self.note.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The longest name of a file or folder without its extension, in bytes: with extension, number and all it must stay below the
/// 255 that file systems take.
const LONGEST_NAME: usize = 200;

/// A relative path, of which over-long last names end in a hash of what they were.
fn shortened(name: &Path) -> PathBuf {
    let text = name.file_name().unwrap_or_default().to_string_lossy();
    if text.len() <= LONGEST_NAME {
        return name.to_path_buf();
    }
    let mut hash = sha256_hex(name.as_os_str().as_encoded_bytes());
    hash.truncate(12);
    let front = atomic::shortened(&text, LONGEST_NAME - hash.len() - 1);
    name.with_file_name(format!("{front}~{hash}"))
}

/// `name` with the extension added (not put in the place of what looks like one: `part.1` is a name).
fn with_extension(name: &Path, extension: &str) -> PathBuf {
    let mut text = name.as_os_str().to_os_string();
    text.push(".");
    text.push(extension);
    text.into()
}

fn write_below(
    root: &Path,
    file: &Path,
    write: impl FnOnce(&Path) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let path = root.join(file);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(CliError::io("create", folder))?;
    }
    write(&path)
}

/// A relative path with forward slashes, as JSON and HTML want it.
fn slashed(path: &Path) -> String {
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// What decides the numbers of a run, for [`RunFolder`](crate::output::run_folder::RunFolder): it goes on only with the same.
///
/// # Errors
/// A region of interest that cannot be read.
pub(crate) fn settings(
    verb: &str,
    detector: &Detector,
    region: &RegionArgs,
) -> Result<Map<String, Value>, CliError> {
    // As it is written for people: 0.1, not what f64 makes of it.
    let number = |value: f32| value.to_string().parse::<Value>().unwrap_or(Value::Null);
    let threshold = detector.record().threshold;
    let roi = match &region.roi {
        Some(file) => sha256_hex(&std::fs::read(file).map_err(CliError::io("read", file))?).into(),
        None => Value::Null,
    };
    let settings = json!({
        "verb": verb,
        "model_id": checkpoint::model_id(detector.record()),
        "threshold": threshold.map(|t| number(t.value)),
        "review_threshold": threshold.and_then(|t| t.review).map(|band| number(band.value)),
        "precision": detector.precision(),
        "device": detector.device(),
        "roi_sha256": roi,
        "min_region_area": detector.record().min_region_area,
    });
    Ok(settings.as_object().cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_stay_apart_and_fit() {
        let long = |end: &str| PathBuf::from(format!("sub/{}{end}", "检".repeat(80)));
        let (one, two) = (shortened(&long("1")), shortened(&long("2")));
        assert_ne!(one, two);
        for name in [&one, &two] {
            let file = name.file_name().unwrap();
            assert!(file.len() <= LONGEST_NAME && name.starts_with("sub"), "{}", name.display());
        }
        assert_eq!(shortened(&long("1")), one);
        assert_eq!(shortened(Path::new("a/part.1")), Path::new("a/part.1"));
    }
}
