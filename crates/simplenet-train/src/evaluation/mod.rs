//! Runs a detector over test images and measures it.
//!
//! In: a detector and samples with labels, and masks where there are any. Out: a score an image, the anomaly maps at
//! the network's size, and the metrics under the names that `metrics.json` uses. Pixel metrics are taken at the
//! network's input size (with tiles, that of all tiles together), over the inspected part of each image, with masks resized
//! the same way.

pub mod curves;
pub(crate) mod oracle;
pub(crate) mod saturated_overlap;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use image::RgbImage;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use simplenet_data::{
    dataset::{GroundTruth, Label, Sample},
    decode::decode_file,
    preprocess::MaskRule,
};
use simplenet_inference::{
    Detector, InferenceError, Inspected, Inspection, Times, inspect_one, inspect_stream,
};
use simplenet_metrics::{AnomalyMap, MetricError, PixelAccumulator, PixelMetrics};

use crate::{
    calibration::test_thresholds::TestThresholds,
    error::TrainError,
    evaluation::saturated_overlap::SaturatedOverlap,
    reporter::{Reporter, stop_if_asked},
};

/// Limits of the false-positive rate for AUPRO: MVTec AD's, and the strict one of MVTec AD 2.
const AUPRO_LIMITS: [f64; 2] = [0.30, 0.05];

/// Most images that are inspected again, to see how long one takes alone; and one in so many at most.
const MOST_ALONE: usize = 9;
const ONE_ALONE_IN: usize = 8;

/// The metrics of a test set, under the names of `metrics.json`. What is undefined is `None`, and `reasons` says why.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(non_snake_case, missing_docs)] // the field's usual names, as anomalib writes them
pub struct Metrics {
    pub image_AUROC: Option<f64>,
    pub image_AP: Option<f64>,
    pub image_F1Max: Option<f64>,
    pub pixel_AUROC: Option<f64>,
    pub pixel_AP: Option<f64>,
    pub pixel_F1Max: Option<f64>,
    /// Limit 0.30.
    pub pixel_AUPRO: Option<f64>,
    /// Limit 0.05.
    pub pixel_AUPRO_005: Option<f64>,
    /// Saturated per-region overlap, limit 0.30; only where the data set has saturation areas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_AUsPRO: Option<f64>,
    /// Limit 0.05.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_AUsPRO_005: Option<f64>,
    /// `image_AUROC` of good images and those of one type of anomaly; only where the data set has saturation areas.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub image_AUROC_by_type: BTreeMap<String, f64>,
    /// Why a metric is absent: one sentence for each absent metric.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, String>,
}

/// One evaluated image.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// The image and what is known of it.
    pub sample: Sample,
    /// Scores, map and times.
    pub inspection: Inspection,
    /// How long reading and decoding the file took.
    pub decode: Duration,
    /// Ground truth at the map's size, (height · width), 0 or 1; `None` for an anomalous image without a mask.
    pub mask: Option<Vec<u8>>,
}

impl Evaluated {
    /// What the metrics look at.
    fn measured(&self) -> Measured<'_> {
        Measured {
            sample: &self.sample,
            score: self.inspection.score,
            map: &self.inspection.map,
            size: self.inspection.map_size,
            mask: self.mask.as_deref(),
        }
    }
}

/// What the metrics look at in an image, whichever method its scores are of.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'a> {
    /// The image and what is known of it.
    pub sample: &'a Sample,
    /// Image score.
    pub score: f32,
    /// Anomaly map, (height · width); NaN where nothing was inspected, which no pixel metric counts.
    pub map: &'a [f32],
    /// Width and height of the map.
    pub size: (u32, u32),
    /// Ground truth of that size, 0 or 1; `None` for an anomalous image without a mask.
    pub mask: Option<&'a [u8]>,
}

/// A test set's results.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// One entry an image, in the order of the samples.
    pub images: Vec<Evaluated>,
    /// The metrics over all of them.
    pub metrics: Metrics,
    /// How long an image takes from its file to its regions: on the CPU alone, on all threads, of some of them; on a GPU with its
    /// part of a batch, of each.
    pub times: Vec<Duration>,
}

impl Evaluation {
    /// Thresholds that the test set suggests; none where it has parts of one kind only.
    pub fn test_thresholds(&self) -> Option<TestThresholds> {
        let (scores, labels): (Vec<f32>, Vec<bool>) = self
            .images
            .iter()
            .map(|image| (image.inspection.score, image.sample.label == Label::Anomalous))
            .unzip();
        TestThresholds::of(&scores, &labels)
    }
}

/// Runs the detector over `samples`, one image per thread on the CPU and batch by batch on a GPU, and measures all of them.
/// `draw` is given each result with its decoded photograph, on one of several threads; what it returns is handed to `on_image`,
/// on this thread, in the order of `samples`.
///
/// # Errors
/// Images or masks that cannot be read, all of them named; what `on_image` returns. Undefined metrics are not errors.
pub fn evaluate<T: Send, E: From<TrainError>>(
    detector: &Detector,
    samples: &[Sample],
    mask_rule: MaskRule,
    reporter: &dyn Reporter,
    draw: impl Fn(usize, &Evaluated, &RgbImage) -> T + Sync,
    mut on_image: impl FnMut(&Evaluated, T) -> Result<(), E>,
) -> Result<Evaluation, E> {
    let mut images = Vec::with_capacity(samples.len());
    reporter.start("evaluating", samples.len() as u64);
    let overlap = SaturatedOverlap::of(samples.iter());
    let finish = |&(i, sample): &(usize, &Sample), inspected: Result<Inspected, InferenceError>| {
        let Inspected { photograph, inspection, decode, .. } = inspected?;
        let mask = ground_truth(detector, sample, &inspection, mask_rule)?;
        if let Some(overlap) = &overlap {
            overlap.add(i, sample, &inspection.photograph_map, &detector.preprocess().decode)?;
        }
        let mut image = Evaluated { sample: sample.clone(), inspection, decode, mask };
        let drawn = draw(i, &image, &photograph);
        // The large map is for the heat map only: a test set of large photographs would not fit in memory.
        image.inspection.photograph_map = vec![];
        Ok((image, drawn))
    };
    let numbered = samples.iter().enumerate();
    let inspected = inspect_stream(detector, numbered, finish, |(i, _), result: Result<_, TrainError>| {
        let (image, drawn): (Evaluated, T) = result.map_err(|error| Ended::Image(i, error))?;
        image.inspection.note.iter().for_each(|note| reporter.warn(note));
        on_image(&image, drawn).map_err(Ended::Caller)?;
        images.push(image);
        reporter.advance(1);
        stop_if_asked(reporter).map_err(Ended::Run)
    });
    match inspected {
        Ok(()) => {}
        Err(Ended::Image(first, error)) => return Err(all_unreadable(detector, samples, first, error).into()),
        Err(Ended::Run(error)) => return Err(error.into()),
        Err(Ended::Caller(error)) => return Err(error),
    }
    reporter.finish();
    let times = times(detector, &images, reporter)?;
    warn_of_large_masks(&images, reporter);
    let measured: Vec<Measured<'_>> = images.iter().map(Evaluated::measured).collect();
    let mut metrics = measure(&measured);
    if let Some(overlap) = overlap {
        overlap.finish(&mut metrics);
    }
    Ok(Evaluation { images, metrics, times })
}

/// How long an image takes: [`Evaluation::times`].
fn times(
    detector: &Detector,
    images: &[Evaluated],
    reporter: &dyn Reporter,
) -> Result<Vec<Duration>, TrainError> {
    let total = |decode: Duration, Times { preprocess, network, postprocess, .. }: Times| {
        decode + preprocess + network + postprocess
    };
    if detector.takes_batches() || rayon::current_num_threads() == 1 {
        return Ok(images.iter().map(|image| total(image.decode, image.inspection.times)).collect());
    }
    let count = MOST_ALONE.min(images.len().div_ceil(ONE_ALONE_IN));
    let alone = |i: usize| {
        stop_if_asked(reporter)?;
        let image = &images[i * images.len() / count];
        // Everything has been inspected: a file that has gone meanwhile costs no result.
        Ok(match inspect_one(detector, &image.sample) {
            Ok(again) => total(again.decode, again.inspection.times),
            Err(_) => total(image.decode, image.inspection.times),
        })
    };
    (0..count).map(alone).collect()
}

/// What has ended an evaluation.
enum Ended<E> {
    /// An image that cannot be used.
    Image(usize, TrainError),
    /// The network, or whoever asked to stop.
    Run(TrainError),
    /// Whoever takes the results.
    Caller(E),
}

impl<E> From<InferenceError> for Ended<E> {
    fn from(error: InferenceError) -> Self {
        Self::Run(error.into())
    }
}

/// All images and masks that cannot be read, where the `first` one has ended an evaluation; its own error where it is the only
/// one.
fn all_unreadable(detector: &Detector, samples: &[Sample], first: usize, error: TrainError) -> TrainError {
    let decode = &detector.preprocess().decode;
    let reason = |sample: &Sample| {
        let image = decode_file(&sample.path, decode).err();
        let mask = || sample.mask.as_ref().and_then(|truth| truth.read_union(decode).err());
        image.or_else(mask).map(|error| error.to_string())
    };
    let others: Vec<Option<String>> = samples[first + 1..].par_iter().map(reason).collect();
    let others: Vec<String> = others.into_iter().flatten().collect();
    if others.is_empty() {
        return error;
    }
    let reasons = [vec![error.to_string()], others].concat();
    TrainError::UnreadableImages { found: samples.len(), reasons }
}

/// Says where most masks mark most of their image: such masks are inverted more often than parts are wholly defective.
fn warn_of_large_masks(images: &[Evaluated], reporter: &dyn Reporter) {
    let masked = || images.iter().filter(|image| image.sample.mask.is_some());
    let large = masked().filter(|image| {
        let mask = image.mask.as_deref().unwrap_or_default();
        2 * mask.iter().filter(|&&pixel| pixel > 0).count() > mask.len()
    });
    let (large, all) = (large.count(), masked().count());
    if 2 * large > all {
        reporter.warn(&format!(
            "{large} of {all} masks mark more than half of their image as defective: are they inverted? White, or any value \
             but 0, is the defect"
        ));
    }
}

/// The mask at the map's size; good images have an empty one.
fn ground_truth(
    detector: &Detector,
    sample: &Sample,
    inspection: &Inspection,
    rule: MaskRule,
) -> Result<Option<Vec<u8>>, TrainError> {
    let original = inspection.placement.original;
    let (width, height) = inspection.map_size;
    match (&sample.mask, sample.label) {
        (Some(truth), _) => {
            Ok(Some(detector.preprocess().ground_truth(truth, &sample.path, original, rule)?))
        }
        (None, Label::Normal) => Ok(Some(vec![0; width as usize * height as usize])),
        (None, Label::Anomalous) => Ok(None),
    }
}

/// The metrics of images.
pub fn measure(images: &[Measured<'_>]) -> Metrics {
    let mut metrics = Metrics::default();
    let scores: Vec<f32> = images.iter().map(|i| i.score).collect();
    let labels: Vec<bool> = images.iter().map(|i| i.sample.label == Label::Anomalous).collect();
    let reasons = &mut metrics.reasons;
    metrics.image_AUROC = defined(simplenet_metrics::auroc(&scores, &labels), "image_AUROC", reasons);
    metrics.image_AP = defined(simplenet_metrics::average_precision(&scores, &labels), "image_AP", reasons);
    let f1_max = simplenet_metrics::f1_max(&scores, &labels).map(|best| best.f1);
    metrics.image_F1Max = defined(f1_max, "image_F1Max", reasons);
    metrics.image_AUROC_by_type = auroc_by_type(images);

    let pixel_names = ["pixel_AUROC", "pixel_AP", "pixel_F1Max", "pixel_AUPRO", "pixel_AUPRO_005"];
    if let Some(reason) = missing_masks(images) {
        pixel_names.iter().for_each(|name| {
            reasons.insert(name.to_string(), reason.clone());
        });
        return metrics;
    }
    let maps: Vec<AnomalyMap<'_>> = images
        .iter()
        .filter_map(|image| {
            let (scores, mask, (width, height)) = (image.map, image.mask?, image.size);
            Some(AnomalyMap { scores, mask, width: width as usize, height: height as usize })
        })
        .collect();
    let pixel = pixel_metrics(&maps);
    metrics.pixel_AUROC = defined(pixel.auroc, "pixel_AUROC", reasons);
    metrics.pixel_AP = defined(pixel.average_precision, "pixel_AP", reasons);
    metrics.pixel_F1Max = defined(pixel.f1_max.map(|best| best.f1), "pixel_F1Max", reasons);
    let mut aupro = pixel.aupro.into_iter();
    for (slot, name) in
        [(&mut metrics.pixel_AUPRO, "pixel_AUPRO"), (&mut metrics.pixel_AUPRO_005, "pixel_AUPRO_005")]
    {
        *slot = aupro.next().and_then(|value| defined(value, name, reasons));
    }
    metrics
}

/// The image AUROC of each type of anomaly beside the good images, where the data set has saturation areas.
fn auroc_by_type(images: &[Measured<'_>]) -> BTreeMap<String, f64> {
    let has_saturation = |sample: &Sample| sample.mask.as_ref().is_some_and(GroundTruth::has_saturation);
    if !images.iter().any(|image| has_saturation(image.sample)) {
        return BTreeMap::new();
    }
    let is_anomalous = |sample: &&Sample| sample.label == Label::Anomalous;
    let types: BTreeSet<&String> =
        images.iter().map(|image| image.sample).filter(is_anomalous).map(|sample| &sample.defect).collect();
    let of_type = |defect: &String| {
        let of_type = images.iter().filter(|i| i.sample.label == Label::Normal || i.sample.defect == *defect);
        let (scores, labels): (Vec<f32>, Vec<bool>) =
            of_type.map(|i| (i.score, i.sample.label == Label::Anomalous)).unzip();
        Some((defect.clone(), simplenet_metrics::auroc(&scores, &labels).ok()?))
    };
    types.into_iter().filter_map(of_type).collect()
}

/// The pixel metrics of maps, of which pixels without a score count for nothing.
fn pixel_metrics(maps: &[AnomalyMap<'_>]) -> PixelMetrics {
    let partly = |map: &AnomalyMap<'_>| map.scores.iter().any(|score| score.is_nan());
    if !maps.par_iter().any(partly) {
        return simplenet_metrics::pixel_metrics(maps, &AUPRO_LIMITS);
    }
    let set = PixelAccumulator::new();
    let add = |map: &AnomalyMap<'_>| {
        let inspected: Vec<bool> = map.scores.iter().map(|score| !score.is_nan()).collect();
        set.add_inspected(map, &inspected)
    };
    let added: Vec<Result<(), MetricError>> = maps.par_iter().map(add).collect();
    match added.into_iter().collect::<Result<(), _>>().and_then(|()| set.finish()) {
        Ok(ranking) => ranking.metrics(&AUPRO_LIMITS),
        Err(error) => PixelMetrics {
            auroc: Err(error.clone()),
            average_precision: Err(error.clone()),
            f1_max: Err(error.clone()),
            aupro: vec![Err(error); AUPRO_LIMITS.len()],
            normal_pixels: 0,
            anomalous_pixels: 0,
            regions: 0,
        },
    }
}

/// Why there can be no pixel metric, if so.
fn missing_masks(images: &[Measured<'_>]) -> Option<String> {
    let without: Vec<&PathBuf> =
        images.iter().filter(|i| i.mask.is_none()).map(|image| &image.sample.path).collect();
    let first = without.first()?;
    let anomalous = images.iter().filter(|i| i.sample.label == Label::Anomalous).count();
    Some(format!(
        "{} of {anomalous} anomalous images have no ground-truth mask, the first is {}",
        without.len(),
        first.display()
    ))
}

fn defined(
    value: Result<f64, MetricError>,
    name: &str,
    reasons: &mut BTreeMap<String, String>,
) -> Option<f64> {
    value.map_err(|error| reasons.insert(name.to_string(), error.to_string())).ok()
}
