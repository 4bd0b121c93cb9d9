//! A test set through a detector and onto the disk: predictions.jsonl, heat maps, metrics.json. `eval` and `train-all`
//! share it.

use std::path::{Component, Path, PathBuf};

use image::RgbImage;
use serde::{Deserialize, Serialize};
use simplenet_data::dataset::{Category, Label, Sample};
use simplenet_inference::{Detector, InferencePrecision};
use simplenet_model::checkpoint::{self, Decision};
use simplenet_train::{
    Reporter, TrainError,
    baselines::BaselineResults,
    calibration::test_thresholds::TestThresholds,
    config::TrainConfig,
    evaluation::{Evaluated, Evaluation, Metrics, evaluate},
    fit::FitReport,
    head::training_state::Oracle,
};

use crate::{
    args::RegionArgs,
    curves_file::CurvesFile,
    error::CliError,
    inspect::{Recorded, Recorder, settings},
    output::{
        anomaly_map_file::MapFormat,
        atomic,
        contour::outline_path,
        layers::LayerSizes,
        layers_file::LayersWriter,
        prediction::{PredictionLine, PredictionRecord, Verdict, cpu},
        run_folder::{Begin, RunFolder, RunRecord},
        table::RunNumbers,
    },
};

/// The metrics' file name.
pub const METRICS_FILE: &str = "metrics.json";

/// What `metrics.json` holds: the metrics under the field's names, and what they were measured on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricsFile {
    /// image_AUROC, image_AP, … and the reasons of absent ones.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// The category.
    pub category: String,
    /// The model's id.
    pub model_id: String,
    /// In which numbers the network computed; f32 in files that do not say it.
    #[serde(default)]
    pub precision: InferencePrecision,
    /// On which device: `CPU`, or a GPU's name; the CPU in files that do not say it.
    #[serde(default = "cpu")]
    pub device: String,
    /// How many photographs went through the network at once, at most; 1 in files that do not say it.
    #[serde(default = "one")]
    pub batch: usize,
    /// Seed of the training.
    pub seed: u64,
    /// Test images without a defect.
    pub test_normal: usize,
    /// Test images with a defect.
    pub test_anomalous: usize,
    /// Counts at the model's own threshold; null without one.
    pub at_threshold: Option<AtThreshold>,
    /// Thresholds that these test images suggest, for people: no verdict uses them. Absent where there are parts of one kind only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds_chosen_on_test_data: Option<TestThresholds>,
    /// Seconds from start to calibrated detector; null when only evaluated.
    pub fit_seconds: Option<f64>,
    /// Median milliseconds an image: decode, preprocess, network, postprocess; one image at a time on the CPU, on a GPU with an
    /// image's share of its batch.
    pub inference_ms: f64,
    /// Highest memory use while training and evaluating, MiB; null where the system does not tell.
    pub peak_memory_mib: Option<f64>,
    /// The epoch that is best on the test set, when asked for: never used.
    pub oracle: Option<Oracle>,
    /// PaDiM and PatchCore on the same features, when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baselines: Option<BaselineResults>,
}

fn one() -> usize {
    1
}

/// Verdicts against labels at the model's threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AtThreshold {
    /// The threshold on the raw image score.
    pub threshold: f32,
    /// Defective parts found.
    pub true_positives: usize,
    /// Defective parts missed.
    pub false_negatives: usize,
    /// Good parts rejected.
    pub false_positives: usize,
    /// Good parts accepted.
    pub true_negatives: usize,
    /// How many of those below the threshold lie in the band for review; absent unless the model has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<InReview>,
}

/// Parts that a person would look at: below the threshold, but not below the band.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct InReview {
    /// The band's lower border on the raw image score.
    pub threshold: f32,
    /// Defective parts in the band, counted among the false negatives too.
    pub anomalous: usize,
    /// Good parts in the band, counted among the true negatives too.
    pub normal: usize,
}

/// Evaluates `detector`, which `region` has narrowed, on a category; with `out`, writes predictions.jsonl, heat maps, and what
/// a report shows of them (pictures.jsonl, curves.json) there: predictions as they come, so that a run which is stopped keeps
/// them. It cannot go on from there, for its metrics need every map. Gives the number of images whose heat map could not be
/// written, too.
///
/// # Errors
/// An unreadable image or mask, a folder that cannot be written.
pub fn evaluate_category(
    detector: &Detector,
    category: &Category,
    config: &TrainConfig,
    region: &RegionArgs,
    out: Option<&Path>,
    reporter: &dyn Reporter,
) -> Result<(Evaluation, usize), CliError> {
    let started = out.map(|out| start(detector, category, region, out, reporter)).transpose()?;
    let (artist, mut sink) = started.unzip();
    let draw = |i: usize, image: &Evaluated, photograph: &RgbImage| {
        artist.as_ref().map(|artist| artist.draw(i, image, photograph))
    };
    let take = |_: &Evaluated, drawn: Option<Recorded>| match (drawn, &mut sink, &artist) {
        (Some(drawn), Some(sink), Some(artist)) => sink.take(drawn?, &artist.recorder),
        _ => Ok(()),
    };
    let evaluation = match evaluate(detector, &category.test, config.mask_rule, reporter, draw, take) {
        // Images that cannot be read: there is no evaluation, and nothing that could pass for one.
        Err(error @ CliError::Train(TrainError::Data(_) | TrainError::UnreadableImages { .. })) => {
            if let Some(Sink { run, pictures, .. }) = sink {
                pictures.into_iter().for_each(LayersWriter::remove);
                run.discard()?;
            }
            return Err(error);
        }
        evaluation => evaluation?,
    };
    let without_maps = artist.map_or(0, |artist| artist.recorder.without_maps());
    if let (Some(sink), Some(out)) = (sink, out) {
        CurvesFile::of(detector, &evaluation).write(out)?;
        sink.pictures.map_or(Ok(()), LayersWriter::finish)?;
        sink.run.complete()?;
    }
    Ok((evaluation, without_maps))
}

/// Begins the results of an evaluation in `out`.
fn start<'a>(
    detector: &'a Detector,
    category: &Category,
    region: &RegionArgs,
    out: &'a Path,
    reporter: &'a dyn Reporter,
) -> Result<(Artist<'a>, Sink<'a>), CliError> {
    let settings = settings("eval", detector, region)?;
    let record = RunRecord::new(category.test.len(), settings, vec![]);
    let run = RunFolder::begin(out, record, Begin::Anew)?;
    let mut recorder = Recorder::new(detector, out, None::<MapFormat>)?;
    let name = |sample: &Sample| recorder.reserve(&name_below(&sample.path, &category.root));
    let names = category.test.iter().map(name).collect();
    let sizes = LayerSizes::for_count(category.test.len());
    let sink = Sink { run, pictures: Some(LayersWriter::open(out, 0)?), reporter };
    Ok((Artist { recorder, names, sizes }, sink))
}

/// Draws an evaluation's photographs, several at once.
struct Artist<'a> {
    recorder: Recorder<'a>,
    /// What the test images are called in the output folder.
    names: Vec<PathBuf>,
    sizes: LayerSizes,
}

impl Artist<'_> {
    fn draw(&self, i: usize, image: &Evaluated, photograph: &RgbImage) -> Recorded {
        let (path, name) = (&image.sample.path, self.names.get(i).map_or(Path::new(""), PathBuf::as_path));
        let mut record = self.recorder.record(path, name, photograph, &image.inspection, image.decode)?;
        record.label = Some(match image.sample.label {
            Label::Normal => Verdict::Normal,
            Label::Anomalous => Verdict::Anomalous,
        });
        record.defect = Some(image.sample.defect.clone());
        if self.recorder.is_disk_full() {
            return Ok((record, None));
        }
        let mut layers = self.recorder.layers(photograph, &image.inspection, self.sizes)?;
        layers.truth = truth(image);
        Ok((record, Some(layers.to_json()?)))
    }
}

/// Where an evaluation's photographs go, one after the other.
struct Sink<'a> {
    run: RunFolder,
    /// None once the disk is full: the space is for the predictions.
    pictures: Option<LayersWriter>,
    reporter: &'a dyn Reporter,
}

impl Sink<'_> {
    fn take(
        &mut self,
        (record, drawn): (PredictionRecord, Option<String>),
        recorder: &Recorder<'_>,
    ) -> Result<(), CliError> {
        if let Some(note) = recorder.take_note() {
            self.reporter.warn(&note);
        }
        if recorder.is_disk_full() {
            self.pictures.take().into_iter().for_each(LayersWriter::remove);
        }
        if let Some(mut pictures) = self.pictures.take() {
            match pictures.push(drawn.as_deref()) {
                Ok(()) => self.pictures = Some(pictures),
                Err(error) => {
                    self.reporter.warn(&format!("{error}: the report will have no pictures"));
                    pictures.remove();
                }
            }
        }
        Ok(self.run.predictions.push(&PredictionLine::Prediction(record))?)
    }
}

/// The outline of the ground truth, from the mask at the network's size; `None` without a defect.
fn truth(image: &Evaluated) -> Option<String> {
    let placement = &image.inspection.placement;
    let place = placement.inspected_box();
    let (_, _, width, _) = placement.crop;
    let path = outline_path(image.mask.as_deref()?, width as usize, [place.x0, place.y0, place.x1, place.y1]);
    (!path.is_empty()).then_some(path)
}

/// What an image is called below the category's folder; of other places, its path without what leads out of a folder.
fn name_below(path: &Path, root: &Path) -> PathBuf {
    let folder = if root.is_file() { root.parent().unwrap_or(root) } else { root };
    let below = path.strip_prefix(folder.join("test")).or_else(|_| path.strip_prefix(folder)).unwrap_or(path);
    below.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

/// The summary of an evaluation. `fit` and `peak_memory_mib` are known after `train-all` only.
pub fn summarise(
    detector: &Detector,
    category: &Category,
    evaluation: &Evaluation,
    seed: u64,
    fit: Option<&FitReport>,
    peak_memory_mib: Option<f64>,
) -> MetricsFile {
    let anomalous = |image: &&Evaluated| image.sample.label == Label::Anomalous;
    let test_anomalous = evaluation.images.iter().filter(anomalous).count();
    MetricsFile {
        metrics: evaluation.metrics.clone(),
        category: category.name.clone(),
        model_id: checkpoint::model_id(detector.record()),
        precision: detector.precision(),
        device: detector.device().to_string(),
        batch: detector.batch(),
        seed,
        test_normal: evaluation.images.len() - test_anomalous,
        test_anomalous,
        at_threshold: at_threshold(detector, evaluation),
        thresholds_chosen_on_test_data: evaluation.test_thresholds(),
        fit_seconds: fit.map(|report| report.fit_seconds),
        inference_ms: median(evaluation.times.iter().map(|time| 1e3 * time.as_secs_f64()).collect()),
        peak_memory_mib,
        oracle: fit.and_then(|report| report.oracle),
        baselines: None,
    }
}

fn at_threshold(detector: &Detector, evaluation: &Evaluation) -> Option<AtThreshold> {
    let threshold = detector.record().threshold?;
    let count = |label: Label, decisions: &[Decision]| {
        let matches = |i: &&Evaluated| {
            i.sample.label == label && decisions.contains(&threshold.decide(i.inspection.score))
        };
        evaluation.images.iter().filter(matches).count()
    };
    let below = &[Decision::Pass, Decision::Review];
    Some(AtThreshold {
        threshold: threshold.value,
        true_positives: count(Label::Anomalous, &[Decision::Reject]),
        false_negatives: count(Label::Anomalous, below),
        false_positives: count(Label::Normal, &[Decision::Reject]),
        true_negatives: count(Label::Normal, below),
        review: threshold.review.map(|band| InReview {
            threshold: band.value,
            anomalous: count(Label::Anomalous, &[Decision::Review]),
            normal: count(Label::Normal, &[Decision::Review]),
        }),
    })
}

/// The median; 0 for none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len(), values.get(middle)) {
        (n, Some(&high)) if n % 2 == 1 => high,
        (_, Some(&high)) => 0.5 * (values[middle - 1] + high),
        _ => 0.0,
    }
}

/// The row of a metrics file in the table of results.
pub fn run_numbers(file: &MetricsFile) -> RunNumbers {
    let padim = file.baselines.as_ref().map(|baselines| &baselines.padim.metrics);
    let patch_core = file.baselines.as_ref().map(|baselines| &baselines.patch_core.metrics);
    RunNumbers {
        image_auroc: file.metrics.image_AUROC,
        pixel_auroc: file.metrics.pixel_AUROC,
        aupro_30: file.metrics.pixel_AUPRO,
        aupro_05: file.metrics.pixel_AUPRO_005,
        image_f1_max: file.metrics.image_F1Max,
        fit_seconds: file.fit_seconds,
        inference_milliseconds: Some(file.inference_ms),
        peak_memory_mib: file.peak_memory_mib,
        oracle_image_auroc: file.oracle.map(|oracle| oracle.image_auroc),
        padim_image_auroc: padim.and_then(|metrics| metrics.image_AUROC),
        padim_aupro_30: padim.and_then(|metrics| metrics.pixel_AUPRO),
        patch_core_image_auroc: patch_core.and_then(|metrics| metrics.image_AUROC),
        patch_core_aupro_30: patch_core.and_then(|metrics| metrics.pixel_AUPRO),
    }
}

/// Writes `metrics.json`.
///
/// # Errors
/// A file that cannot be written.
pub fn write_metrics(path: &Path, metrics: &MetricsFile) -> Result<(), CliError> {
    Ok(atomic::write_json(path, metrics)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_output_folder() {
        let root = Path::new("set/gear");
        for (path, name) in [
            ("set/gear/test/dent/0.png", "dent/0.png"),
            ("set/gear/Data/Images/Anomaly/0.JPG", "Data/Images/Anomaly/0.JPG"),
            ("/elsewhere/0.png", "elsewhere/0.png"),
            ("../other/0.png", "other/0.png"),
        ] {
            assert_eq!(name_below(Path::new(path), root), Path::new(name), "{path}");
        }
    }

    #[test]
    fn medians() {
        for (values, want) in
            [(vec![], 0.0), (vec![3.0], 3.0), (vec![4.0, 1.0], 2.5), (vec![9.0, 1.0, 2.0], 2.0)]
        {
            assert_eq!(median(values.clone()), want, "{values:?}");
        }
    }
}
