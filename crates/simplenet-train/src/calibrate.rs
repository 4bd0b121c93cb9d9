//! The decision threshold, from good images that were not trained on.
//!
//! In: held-out good images and the share of good parts that may be rejected. Out: the thresholds, and what share of
//! good parts they may be expected to reject.

use serde::{Deserialize, Serialize};
use simplenet_data::{dataset::Sample, decode};
use simplenet_metrics::{quantiles, threshold_for_false_reject_rate};
use simplenet_model::checkpoint::Threshold;

use crate::{
    config::{Calibration, TrainConfig},
    detector::Detector,
    error::TrainError,
    noise::{Generator, Purpose},
    reporter::Reporter,
};

/// Quantiles of the held-out good scores that travel in the model file.
pub const NORMAL_QUANTILES: [f64; 7] = [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0];

/// Fewest images that training may be left with.
const FEWEST_TRAINED: usize = 2;

/// Which images are trained on and which give the threshold. Positions in the caller's list, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Positions of the images to train on.
    pub train: Vec<usize>,
    /// Positions of the held-out images.
    pub held_out: Vec<usize>,
}

/// Draws the held-out images: `held_out_share` of `n`, rounded, at least one when the share is above 0 and
/// enough images remain to train on.
pub fn split(n: usize, calibration: &Calibration, generator: &Generator) -> Split {
    let wanted = match calibration.held_out_share {
        0.0 => 0,
        share => ((n as f64 * share).round() as usize).max(1),
    };
    let held_out = wanted.min(n.saturating_sub(FEWEST_TRAINED));
    let order = generator.permutation(Purpose::HeldOut, 0, n);
    let mut sides = Split {
        held_out: order[..held_out].iter().map(|&i| i as usize).collect(),
        train: order[held_out..].iter().map(|&i| i as usize).collect(),
    };
    sides.held_out.sort_unstable();
    sides.train.sort_unstable();
    sides
}

/// The threshold on scores of good images for a target false-reject rate.
///
/// With at least 1 / target − 1 images it is their empirical quantile, which promises the target without any assumption.
/// Fewer images have no such quantile: then it is the one-sided prediction bound of a normal distribution,
/// mean + t · deviation · √(1 + 1/n), or the largest score if that is higher.
///
/// # Errors
/// Empty or non-finite scores.
pub fn threshold(good_scores: &[f32], target: f64) -> Result<f32, TrainError> {
    let empirical = threshold_for_false_reject_rate(good_scores, target)?;
    let n = good_scores.len() as f64;
    if n < 3.0 || target <= 0.0 || n + 1.0 >= 1.0 / target {
        return Ok(empirical);
    }
    let mean = good_scores.iter().map(|&s| f64::from(s)).sum::<f64>() / n;
    let squares: f64 = good_scores.iter().map(|&s| (f64::from(s) - mean).powi(2)).sum();
    let deviation = (squares / (n - 1.0)).sqrt();
    let bound = mean + student_quantile(1.0 - target, n - 1.0) * deviation * (1.0 + 1.0 / n).sqrt();
    Ok(empirical.max(bound as f32))
}

/// Quantile of Student's t for a probability above one half and at least two degrees of freedom: the normal quantile
/// (Abramowitz and Stegun 26.2.23, error below 4.5e-4) with the Cornish-Fisher terms of 26.7.5.
fn student_quantile(probability: f64, freedom: f64) -> f64 {
    let t = (-2.0 * (1.0 - probability).ln()).sqrt();
    let z = t
        - (2.515517 + t * (0.802853 + t * 0.010328)) / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
    let z2 = z * z;
    let g1 = z * (z2 + 1.0) / 4.0;
    let g2 = z * (5.0 * z2 * z2 + 16.0 * z2 + 3.0) / 96.0;
    let g3 = z * (3.0 * z2 * z2 * z2 + 19.0 * z2 * z2 + 17.0 * z2 - 15.0) / 384.0;
    z + g1 / freedom + g2 / freedom.powi(2) + g3 / freedom.powi(3)
}

/// The false-reject rate that can be promised for `n` held-out images: no threshold taken from them can promise
/// less than 1 / (n + 1) (the chance that the next good part scores highest of all, if they are exchangeable).
pub fn expected_false_reject_rate(n: usize, target: f64) -> f64 {
    target.max(1.0 / (n as f64 + 1.0))
}

/// Training images that set the heat maps' colours when no image is held out.
const DISPLAY_IMAGES: usize = 16;

/// Gives a detector its thresholds (on the image score and on the map) and the normal quantiles, from held-out good
/// images; and the range of its heat maps' colours. Without held-out images there is no threshold, and training
/// images set the colours.
///
/// # Errors
/// An image that cannot be read, a score that is not a number.
pub fn calibrate_detector(
    detector: &mut Detector,
    config: &TrainConfig,
    held_out: &[Sample],
    trained: &[Sample],
    reporter: &dyn Reporter,
) -> Result<(), TrainError> {
    let shown = if held_out.is_empty() { &trained[..trained.len().min(DISPLAY_IMAGES)] } else { held_out };
    let mut normal = NormalScores::default();
    reporter.start("calibrating", shown.len() as u64);
    for sample in shown {
        normal.add(detector, sample)?;
        reporter.advance(1);
    }
    reporter.finish();
    let typical = median(&normal.map_peaks)?;
    if held_out.is_empty() {
        let spread = typical - median(&normal.map_means)?;
        detector.set_display_range(range(typical, typical + 2.0 * spread));
        return Ok(());
    }
    let target = config.calibration.target_false_reject_rate;
    let threshold = Threshold {
        value: threshold(&normal.image_scores, target)?,
        map_value: threshold(&normal.map_peaks, target)?,
        target_false_reject_rate: target,
        held_out: held_out.len(),
    };
    // The loss pushes normal and anomalous two margins apart: a span of that much keeps the shades of defects apart also
    // where the threshold is close to normal. A threshold further up widens it, so that its colour is the middle one.
    let span = (2.0 * (threshold.map_value - typical)).max(2.0 * config.margin as f32);
    detector.set_display_range(range(typical, typical + span));
    let values = quantiles(&normal.image_scores, &NORMAL_QUANTILES)?;
    detector.set_threshold(threshold, NORMAL_QUANTILES.into_iter().zip(values).collect());
    Ok(())
}

/// Scores of good images.
#[derive(Default)]
struct NormalScores {
    image_scores: Vec<f32>,
    map_peaks: Vec<f32>,
    map_means: Vec<f32>,
}

impl NormalScores {
    fn add(&mut self, detector: &Detector, sample: &Sample) -> Result<(), TrainError> {
        let photograph = decode::decode_file(&sample.path, &detector.preprocess().decode)?;
        let inspection = detector.inspect(&photograph)?;
        if !inspection.score.is_finite() {
            return Err(TrainError::NonFiniteScore { path: sample.path.clone(), score: inspection.score });
        }
        let sum: f64 = inspection.map.iter().map(|&v| f64::from(v)).sum();
        self.image_scores.push(inspection.score);
        self.map_peaks.push(inspection.map.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        self.map_means.push((sum / inspection.map.len().max(1) as f64) as f32);
        Ok(())
    }
}

fn median(values: &[f32]) -> Result<f32, TrainError> {
    Ok(quantiles(values, &[0.5])?.first().copied().unwrap_or_default())
}

/// A range that is one, also when all scores are alike.
fn range(low: f32, high: f32) -> (f32, f32) {
    let least = low.abs().max(1.0) * 1e-3;
    (low, high.max(low + least))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_is_a_partition_of_the_asked_size() {
        for (n, share, held_out) in
            [(100, 0.1, 10), (5, 0.1, 1), (2, 0.5, 0), (3, 0.9, 1), (0, 0.1, 0), (1, 0.1, 0), (50, 0.0, 0)]
        {
            let calibration = Calibration { held_out_share: share, target_false_reject_rate: 0.01 };
            let split = split(n, &calibration, &Generator::new(5));
            assert_eq!(split.held_out.len(), held_out, "n {n} share {share}");
            let mut all = [split.train, split.held_out].concat();
            all.sort_unstable();
            assert_eq!(all, (0..n).collect::<Vec<_>>());
        }
    }

    /// Published tables of Student's t: the series is good to a few hundredths from five degrees of freedom on.
    #[test]
    fn student_quantiles_agree_with_tables() {
        for (probability, freedom, want, allowed) in [
            (0.99, 5.0, 3.365, 0.05),
            (0.99, 10.0, 2.764, 0.01),
            (0.99, 30.0, 2.457, 0.002),
            (0.95, 5.0, 2.015, 0.01),
            (0.95, 1000.0, 1.646, 0.002),
        ] {
            let got = student_quantile(probability, freedom);
            assert!((got - want).abs() < allowed, "t {probability} {freedom}: {got} for {want}");
        }
    }

    #[test]
    fn few_images_get_the_normal_bound_and_many_their_quantile() {
        let few: Vec<f32> = vec![-1.0, -0.5, 0.0, 0.5, 1.0];
        // deviation 0.7906, t(0.99, 4) = 3.747, √1.2: 3.245; the series gives t a little low.
        assert!((threshold(&few, 0.01).unwrap() - 3.245).abs() < 0.15, "{}", threshold(&few, 0.01).unwrap());
        let many: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        let rejected = |t: f32| many.iter().filter(|&&s| s >= t).count();
        assert!(rejected(threshold(&many, 0.01).unwrap()) <= 10);
        assert!(rejected(threshold(&many, 0.01).unwrap()) >= 9);
        assert!(threshold(&[0.5, 0.75], 0.01).unwrap() > 0.75, "above the largest of two");
        assert!(threshold(&[], 0.01).is_err());
    }

    #[test]
    fn promise_is_limited_by_the_number_of_images() {
        assert_eq!(expected_false_reject_rate(9, 0.01), 0.1);
        assert_eq!(expected_false_reject_rate(999, 0.01), 0.01);
    }
}
