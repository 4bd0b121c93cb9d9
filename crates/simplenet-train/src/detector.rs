//! A trained detector: what it takes from a decoded photograph to a verdict, in one object.
//!
//! In: a decoded RGB photograph of any size. Out: the raw image score, the anomaly map at the network's size and in
//! the photograph's own pixels, the regions above the threshold, and the time each part took.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use candle_core::Device;
use image::RgbImage;
use simplenet_data::{
    DataError,
    preprocess::{Placement, Preprocess},
};
use simplenet_metrics::{Connectivity, connected_components};
use simplenet_model::{
    Normalisation, Predictor, PredictorOptions,
    anomaly_map::{anomaly_map, image_score},
    checkpoint::{self, ModelRecord, Threshold},
    simplenet::SimpleNet,
};

use crate::{error::TrainError, inference_precision::InferencePrecision};

/// A network, compiled, with the preprocessing and the threshold that belong to it. The network that it was compiled from
/// is not kept: inspecting does not need it.
pub struct Detector {
    /// Compiled for the preprocessing's size.
    predictor: Predictor,
    precision: InferencePrecision,
    preprocess: Preprocess,
    record: ModelRecord,
}

/// What was found in one photograph.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// Raw image score: of the raw patch scores, by the rule in the record. Higher is more anomalous; no fixed range.
    pub score: f32,
    /// Anomaly map at the network's input size, (height, width) row-major: raw patch scores, enlarged and smoothed.
    pub map: Vec<f32>,
    /// The same map in the photograph's own pixels, (height, width) row-major; NaN where a crop left them out.
    pub photograph_map: Vec<f32>,
    /// The regions of an anomalous photograph or one for review, largest peak first; none for a normal one or without a
    /// threshold.
    pub regions: Vec<AnomalousRegion>,
    /// Where the network's input lies in the photograph.
    pub placement: Placement,
    /// How long each part took.
    pub times: Times,
}

/// How long the parts of one inspection took (decoding the file is not part of it).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Times {
    /// Resize and crop.
    pub preprocess: Duration,
    /// The input's bytes to patch scores, with normalising.
    pub network: Duration,
    /// Patch scores to both maps, score and regions.
    pub postprocess: Duration,
}

/// A connected region of the map at or above the map threshold, in the photograph's pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnomalousRegion {
    /// Left, top, right, bottom; right and bottom exclusive.
    pub bounds: [u32; 4],
    /// Pixels.
    pub area: u64,
    /// Largest map value.
    pub peak_score: f32,
}

impl Detector {
    /// Joins a network with its record and compiles it in f32 for the record's input size; the record's preprocessing must
    /// be one that this program knows.
    ///
    /// # Errors
    /// `TrainError::Config` when the preprocessing in the record cannot be read; a network that cannot be compiled.
    pub fn new(net: &SimpleNet, record: ModelRecord) -> Result<Self, TrainError> {
        Self::new_in(net, record, InferencePrecision::F32)
    }

    /// The same, compiled in another precision. The record's threshold was set with scores in f32.
    ///
    /// # Errors
    /// As [`Detector::new`]; `TrainError::NoActivationRanges` for int8 and a model of a version that did not measure them.
    pub fn new_in(
        net: &SimpleNet,
        record: ModelRecord,
        precision: InferencePrecision,
    ) -> Result<Self, TrainError> {
        let preprocess: Preprocess = serde_json::from_value(record.preprocessing.clone())
            .map_err(|e| TrainError::config(Path::new("model file, preprocessing"), e))?;
        preprocess.validate()?;
        let (width, height) = preprocess.network_size();
        let mut options = PredictorOptions::default();
        options.precision = precision.of(&record)?;
        let predictor = Predictor::compile(net, height as usize, width as usize, &options)?;
        Ok(Self { predictor, precision, preprocess, record })
    }

    /// Reads a model file and compiles it in f32; everything needed is inside it.
    ///
    /// # Errors
    /// A file that is missing, truncated, edited, of a newer format or not a model of this program.
    pub fn load(path: &Path, device: &Device) -> Result<Self, TrainError> {
        Self::load_in(path, device, InferencePrecision::F32)
    }

    /// The same, compiled in another precision.
    ///
    /// # Errors
    /// As [`Detector::load`] and [`Detector::new_in`].
    pub fn load_in(path: &Path, device: &Device, precision: InferencePrecision) -> Result<Self, TrainError> {
        let (net, record) = checkpoint::load(path, device)?;
        Self::new_in(&net, record, precision)
    }

    /// Writes the model file of `net`, which this was compiled from, whole or not at all.
    ///
    /// # Errors
    /// A network of another structure or backbone; a file that cannot be written.
    pub fn save(&mut self, path: &Path, net: &SimpleNet) -> Result<(), TrainError> {
        self.record = checkpoint::save(path, net, &self.record)?;
        Ok(())
    }

    /// The record that travels in the model file.
    pub fn record(&self) -> &ModelRecord {
        &self.record
    }

    /// The numbers that the network computes in.
    pub fn precision(&self) -> InferencePrecision {
        self.precision
    }

    /// From photograph to network input.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Sets threshold and quantiles (calibration).
    pub fn set_threshold(&mut self, threshold: Threshold, normal_score_quantiles: Vec<(f64, f32)>) {
        self.record.threshold = Some(threshold);
        self.record.normal_score_quantiles = normal_score_quantiles;
    }

    /// Sets the map scores between which heat maps spread their colours (calibration).
    pub fn set_display_range(&mut self, range: (f32, f32)) {
        self.record.display_range = Some(range);
    }

    /// Says which program set the threshold after the training (calibration).
    pub fn set_calibrated_by(&mut self, program: String) {
        self.record.calibrated_by = Some(program);
    }

    /// Uses another threshold on the raw image score, without a band for review, for this object only.
    pub fn override_threshold(&mut self, value: f32) {
        self.record.threshold = Some(match self.record.threshold.take() {
            Some(threshold) => Threshold { value, review: None, ..threshold },
            None => Threshold {
                value,
                map_value: value,
                target_false_reject_rate: 0.0,
                held_out: 0,
                review: None,
            },
        });
    }

    /// Inspects one photograph.
    ///
    /// # Errors
    /// An image without pixels, or a failing tensor operation.
    pub fn inspect(&self, photograph: &RgbImage) -> Result<Inspection, TrainError> {
        let (width, height) = self.preprocess.network_size();
        let (width, height) = (width as usize, height as usize);
        let (input, preprocess) = timed(|| self.preprocess.resize_crop(photograph));
        let input = input?;
        let normalisation = Normalisation { mean: self.preprocess.mean, std: self.preprocess.std };
        let (scores, network) = timed(|| self.predictor.patch_scores_rgb(&input, &normalisation));
        let scores = scores?;
        let (rows, columns) = self.predictor.grid();
        let placement = self.preprocess.placement(photograph.width(), photograph.height());
        let (found, postprocess) = timed(|| -> Result<_, TrainError> {
            let score = image_score(&scores, columns, self.record.image_score);
            let map = anomaly_map(&scores, rows, columns, height, width, &self.record.anomaly_map);
            let photograph_map = placement.map_to_original(&map, f32::NAN)?;
            let regions = self.regions(score, &photograph_map, placement.original)?;
            Ok((score, map, photograph_map, regions))
        });
        let (score, map, photograph_map, regions) = found?;
        let times = Times { preprocess, network, postprocess };
        Ok(Inspection { score, map, photograph_map, regions, placement, times })
    }

    /// Inspects the pixels of a photograph that is not a file: (height, width, 3) bytes, RGB, row by row, as cameras and
    /// other libraries hold them.
    ///
    /// # Errors
    /// Another number of bytes than `3 · width · height`; as [`Detector::inspect`].
    pub fn inspect_rgb(&self, width: u32, height: u32, rgb: &[u8]) -> Result<Inspection, TrainError> {
        let photograph = RgbImage::from_raw(width, height, rgb.to_vec()).ok_or(DataError::WrongSize {
            what: "the photograph's pixels",
            found: format!("{} bytes", rgb.len()),
            expected: format!("3 x {width} x {height}"),
        })?;
        self.inspect(&photograph)
    }

    /// A region is an 8-connected set of pixels at or above the map threshold, or the lower border of the band for a
    /// photograph in it. The image score is the largest raw
    /// patch score and the map is smoothed: a small defect may raise the first above its threshold and leave the
    /// second below. Then the region around the map's peak is given, down to half way from the peak to the mean.
    fn regions(
        &self,
        score: f32,
        map: &[f32],
        (width, height): (u32, u32),
    ) -> Result<Vec<AnomalousRegion>, TrainError> {
        let Some(from) = self.record.threshold.and_then(|threshold| threshold.regions_from(score)) else {
            return Ok(vec![]);
        };
        if map.is_empty() {
            return Ok(vec![]);
        }
        let (width, height) = (width as usize, height as usize);
        let found = regions_above(map, width, height, from)?;
        if !found.is_empty() {
            return Ok(found);
        }
        let inspected = || map.iter().copied().filter(|v| !v.is_nan());
        let peak = inspected().fold(f32::NEG_INFINITY, f32::max);
        let mean = inspected().map(f64::from).sum::<f64>() / inspected().count().max(1) as f64;
        let mut around = regions_above(map, width, height, 0.5 * (peak + mean as f32))?;
        around.truncate(1);
        Ok(around)
    }
}

/// The 8-connected regions of a map at or above a threshold, largest peak first.
///
/// # Errors
/// A map that does not have `width` times `height` numbers.
pub fn regions_above(
    map: &[f32],
    width: usize,
    height: usize,
    threshold: f32,
) -> Result<Vec<AnomalousRegion>, TrainError> {
    if map.len() != width * height {
        return Err(DataError::WrongSize {
            what: "the anomaly map",
            found: format!("{} numbers", map.len()),
            expected: format!("{width} x {height}"),
        }
        .into());
    }
    // Only the window that holds them all is searched: defects are small, and a photograph has a million pixels.
    let Some(window) = window_above(map, width, threshold) else { return Ok(vec![]) };
    let [left, top, right, bottom] = window;
    let rows = || (top..bottom).map(|y| &map[y * width + left..y * width + right]);
    let mask: Vec<u8> = rows().flatten().map(|&v| u8::from(v >= threshold)).collect();
    let components = connected_components(&mask, right - left, bottom - top, Connectivity::Eight)?;
    let mut peaks = vec![f32::NEG_INFINITY; components.regions.len()];
    for (&label, &value) in components.labels.iter().zip(rows().flatten()) {
        if let Some(peak) = (label as usize).checked_sub(1).and_then(|i| peaks.get_mut(i)) {
            *peak = peak.max(value);
        }
    }
    let mut regions: Vec<AnomalousRegion> = components
        .regions
        .iter()
        .zip(peaks)
        .map(|(r, peak_score)| AnomalousRegion {
            bounds: [r.x0 + left, r.y0 + top, r.x1 + left, r.y1 + top].map(|edge| edge as u32),
            area: r.area as u64,
            peak_score,
        })
        .collect();
    regions.sort_by(|a, b| b.peak_score.total_cmp(&a.peak_score));
    Ok(regions)
}

/// Left, top, right and bottom (these two exclusive) of the numbers at or above a threshold; none if there are none.
fn window_above(map: &[f32], width: usize, threshold: f32) -> Option<[usize; 4]> {
    let mut window: Option<[usize; 4]> = None;
    for (y, row) in map.chunks_exact(width.max(1)).enumerate() {
        // Most rows have none, and a test without branches says so fastest.
        if !row.iter().fold(false, |any, &v| any | (v >= threshold)) {
            continue;
        }
        let first = row.iter().position(|&v| v >= threshold)?;
        let end = row.iter().rposition(|&v| v >= threshold)? + 1;
        let [left, top, right, _] = window.unwrap_or([first, y, end, y]);
        window = Some([left.min(first), top, right.max(end), y + 1]);
    }
    window
}

/// Runs `work` and gives its result and how long it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The regions of a window are those of the whole map, wherever they lie.
    #[test]
    fn regions_are_those_of_the_whole_map() {
        let (width, height) = (40, 23);
        for spots in
            [&[][..], &[(0, 0)], &[(39, 22)], &[(3, 4), (4, 5), (30, 20)], &[(0, 22), (39, 0), (20, 10)]]
        {
            let mut map = vec![0.25f32; width * height];
            map[7] = f32::NAN;
            for (i, &(x, y)) in spots.iter().enumerate() {
                map[y * width + x] = 1.0 + i as f32;
            }
            let mask: Vec<u8> = map.iter().map(|&v| u8::from(v >= 1.0)).collect();
            let whole = connected_components(&mask, width, height, Connectivity::Eight).unwrap();
            let found = regions_above(&map, width, height, 1.0).unwrap();
            let mut bounds: Vec<[u32; 4]> = found.iter().map(|region| region.bounds).collect();
            let mut want: Vec<[u32; 4]> =
                whole.regions.iter().map(|r| [r.x0, r.y0, r.x1, r.y1].map(|edge| edge as u32)).collect();
            bounds.sort_unstable();
            want.sort_unstable();
            assert_eq!(bounds, want, "{spots:?}");
            assert!(found.is_sorted_by(|a, b| a.peak_score >= b.peak_score), "{found:?}");
            assert_eq!(found.iter().map(|region| region.area).sum::<u64>(), spots.len() as u64);
        }
        assert!(regions_above(&[0.0; 5], 2, 3, 1.0).is_err());
        assert_eq!(regions_above(&[], 0, 0, 1.0).unwrap(), vec![]);
    }
}
