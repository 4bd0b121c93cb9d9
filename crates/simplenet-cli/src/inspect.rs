//! One photograph from its file through the detector, and onto the disk: heat map, raw map, and its line in
//! predictions.jsonl. `infer` and `bench` share the first, which is `simplenet_train::in_batches`, `infer` and `eval` the second.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::Duration,
};

use image::RgbImage;
use simplenet_model::checkpoint;
pub use simplenet_train::in_batches::{Inspected, inspect_file};
use simplenet_train::{Detector, detector::Inspection};

use crate::{
    error::CliError,
    output::{
        anomaly_map_file::{MapFormat, write_map},
        atomic,
        heatmap::{OverlayOptions, ScoreRange, overlay},
        layers::{LayerSizes, Layers},
        prediction::{JsonPath, Milliseconds, PredictedRegion, PredictionRecord, Verdict},
    },
};

/// The file with one line a photograph, in the output folder.
pub const PREDICTIONS_FILE: &str = "predictions.jsonl";
/// Folder of the overlays, in the output folder.
pub const HEATMAPS: &str = "heatmaps";
/// Folder of the raw maps, in the output folder.
pub const MAPS: &str = "anomaly_maps";

/// How long each part of an inspection took.
pub fn milliseconds(inspected: &Inspected) -> Milliseconds {
    let times = inspected.inspection.times;
    Milliseconds::new(inspected.decode, times.preprocess, times.network, times.postprocess)
}

/// Writes what is known of each photograph below one folder.
pub struct Recorder<'a> {
    detector: &'a Detector,
    out: &'a Path,
    map_format: Option<MapFormat>,
    model_id: String,
    range: ScoreRange,
    taken: HashSet<PathBuf>,
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
        })
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
    /// and returns its record. Several photographs may be recorded at once.
    ///
    /// # Errors
    /// A folder or file that cannot be written; a score that is not finite.
    pub fn record(
        &self,
        path: &Path,
        name: &Path,
        photograph: &RgbImage,
        inspection: &Inspection,
        decode: Duration,
    ) -> Result<PredictionRecord, CliError> {
        let heatmap = Path::new(HEATMAPS).join(with_extension(name, "png"));
        write_below(self.out, &heatmap, |to| {
            Ok(atomic::write_png(to, &self.overlay(photograph, inspection)?)?)
        })?;
        let anomaly_map = match self.map_format {
            Some(format) => {
                let file = Path::new(MAPS).join(with_extension(name, format.extension()));
                let size = photograph.dimensions();
                write_below(self.out, &file, |to| {
                    Ok(write_map(to, format, &inspection.photograph_map, size, self.range)?)
                })?;
                Some(file)
            }
            None => None,
        };
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
            inspected_share: inspection.inspected_share,
            model_id: self.model_id.clone(),
            precision: self.detector.precision(),
            device: self.detector.device().to_string(),
            heatmap: Some(slashed(&heatmap)),
            anomaly_map: anomaly_map.as_deref().map(slashed),
            label: None,
            defect: None,
        })
    }

    /// A name that no photograph of this run has yet, from a relative path: `a.png` and `a.jpg` must not share a heat map.
    pub fn reserve(&mut self, name: &Path) -> PathBuf {
        let stem = name.with_extension("");
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
