//! What an inspection finds, and how long its parts take.

use std::time::{Duration, Instant};

use simplenet_data::{Difference, preprocess::Placement};
use simplenet_model::checkpoint::Decision;

use crate::regions::AnomalousRegion;

/// What was found in one image.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Inspection {
    /// Raw image score: of the raw patch scores, by the rule in the record. Higher is more anomalous; no fixed range.
    pub score: f32,
    /// What to do with the part; none without a threshold.
    pub decision: Option<Decision>,
    /// Anomaly map at the network's input size, or that of all tiles together, (height, width) row-major: raw patch scores,
    /// enlarged and smoothed; NaN outside the region of interest.
    pub map: Vec<f32>,
    /// Width and height of `map`.
    pub map_size: (u32, u32),
    /// The same map in the image's own pixels, (height, width) row-major; NaN where a crop left them out, and outside the
    /// region of interest.
    pub photograph_map: Vec<f32>,
    /// The regions of an anomalous image or one for review, largest peak first; none for a normal one or without a
    /// threshold. None that is smaller than the least area in the record.
    pub regions: Vec<AnomalousRegion>,
    /// Where the network's input, or all tiles together, lies in the image.
    pub placement: Placement,
    /// Fraction of the image's area that was inspected, 0 to 1: not what a crop or the region of interest leaves out.
    pub inspected_share: f64,
    /// In what the image is unlike those that the model was trained on, beyond their spread. No verdict depends on it.
    /// Of pixels alone size, light and sharpness; of files their kind too. None by a model of a version that did not
    /// measure it.
    pub differences: Vec<Difference>,
    /// How long each part took.
    pub times: Times,
    /// What a person should know from here on, said once: that the device's memory has made the batches smaller.
    pub note: Option<String>,
}

/// How long the parts of one inspection took (decoding the file is not part of it). Of a batch, `network` is the time of the
/// whole batch over the number of its images.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Times {
    /// Resize and crop.
    pub preprocess: Duration,
    /// The input's bytes to patch scores, with normalising.
    pub network: Duration,
    /// Patch scores to both maps, score and regions.
    pub postprocess: Duration,
}

/// Runs `work` and gives its result and how long it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}
