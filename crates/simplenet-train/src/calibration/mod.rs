//! The decision threshold, from good images that were not trained on.
//!
//! In: held-out good images and the share of good parts that may be rejected. Out: the thresholds, with a band of parts for
//! review where it is asked for, the quantiles of the scores, and the range of the heat maps' colours. What share of good
//! parts a threshold rejects is in `false_reject`.

pub mod false_reject;
pub mod test_thresholds;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use simplenet_data::{Difference, dataset::Sample};
use simplenet_inference::{Detector, InferenceError, Inspected, inspect_stream};
use simplenet_metrics::quantiles;
use simplenet_model::checkpoint::{ModelRecord, ReviewBand, Threshold};

use crate::{
    calibration::false_reject::{images_needed, threshold},
    config::{Calibration, MARGIN, TrainConfig, to_json},
    error::TrainError,
    noise::{Generator, Purpose},
    reporter::{Reporter, stop_if_asked},
    statistics::image_profile::profile_of_files,
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
/// enough images remain to train on; at least `fewest_held_out` where these are no more than a third of all.
pub fn split(n: usize, calibration: &Calibration, generator: &Generator) -> Split {
    let wanted = match calibration.held_out_share {
        0.0 => 0,
        share => {
            let fewest = if calibration.fewest_held_out <= n / 3 { calibration.fewest_held_out } else { 1 };
            ((n as f64 * share).round() as usize).max(fewest).max(1)
        }
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
    let paths: Vec<PathBuf> = shown.iter().map(|sample| sample.path.clone()).collect();
    let normal = NormalScores::of(detector, &paths, reporter)?;
    if held_out.is_empty() {
        let typical = median(&normal.map_peaks)?;
        let spread = typical - median(&normal.map_means)?;
        let mut record = detector.record().clone();
        record.display_range = Some(range(typical, typical + 2.0 * spread));
        return Ok(detector.set_record(record)?);
    }
    let rates = Rates { false_reject: config.calibration.target_false_reject_rate, review: 0.0 };
    let mut record = detector.record().clone();
    normal.set_thresholds(&mut record, rates, config.margin)?;
    Ok(detector.set_record(record)?)
}

/// Shares of good parts that thresholds are set for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Share that may be rejected.
    pub false_reject: f64,
    /// Share that may be sent to a person, beside those rejected; 0 for no band.
    pub review: f64,
}

impl Rates {
    /// Checks that thresholds can be set for them.
    ///
    /// # Errors
    /// `TrainError::Setting` for a false-reject rate that is not above 0, a negative review share, and more than half of
    /// the good parts together.
    pub fn validate(&self) -> Result<(), TrainError> {
        let Self { false_reject, review } = *self;
        if !(false_reject > 0.0 && false_reject <= 0.5) {
            let problem = "must lie above 0 and not above 0.5 (50 %): it is the share of good parts that may be rejected";
            return Err(TrainError::setting("false-reject", false_reject, problem));
        }
        if !(review >= 0.0 && false_reject + review <= 0.5) {
            let problem = "must not be negative, nor above 0.5 (50 %) together with the false-reject rate: it is the \
                           share of good parts that a person looks at; 0 is no band";
            return Err(TrainError::setting("review", review, problem));
        }
        Ok(())
    }

    /// The share of good parts that may not pass.
    pub fn not_passed(&self) -> f64 {
        self.false_reject + self.review
    }
}

/// What to do when the photographs are too few to promise the rates that were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooFew {
    /// Set the threshold by the bound of a normal distribution, and leave it to the caller to say so.
    Estimate,
    /// Refuse.
    Refuse,
}

/// Fewest good photographs that a threshold can be set from: with fewer, no distribution can be estimated.
pub const FEWEST_CALIBRATED: usize = 3;

/// Sets the thresholds of a trained detector anew, with its quantiles and the range of its heat maps' colours, from
/// photographs of good parts that it was not trained on. A model that does not know what good images are like learns it from
/// them. Returns what was found in them, in the order of `good`.
///
/// # Errors
/// Rates that cannot be; fewer than three photographs, or, with [`TooFew::Refuse`], fewer than the false-reject rate
/// needs; photographs that cannot be read, all of them by name, because a threshold without them would promise more than it
/// keeps. The detector is unchanged then.
pub fn recalibrate(
    detector: &mut Detector,
    rates: Rates,
    good: &[PathBuf],
    too_few: TooFew,
    reporter: &dyn Reporter,
) -> Result<Vec<CalibrationImage>, TrainError> {
    rates.validate()?;
    let needed = match too_few {
        TooFew::Estimate => FEWEST_CALIBRATED,
        TooFew::Refuse => images_needed(rates.false_reject).unwrap_or(usize::MAX).max(FEWEST_CALIBRATED),
    };
    if good.len() < needed {
        return Err(TrainError::TooFewImages {
            what: "calibration",
            needed,
            found: good.len(),
            hint: format!(
                "add photographs of good parts, or ask for a higher rate than {} %",
                100.0 * rates.false_reject
            ),
        });
    }
    let margin = detector.record().training.get("margin").and_then(serde_json::Value::as_f64);
    let normal = NormalScores::of(detector, good, reporter)?;
    let mut record = detector.record().clone();
    if record.image_profile.is_none() {
        let paths: Vec<&Path> = good.iter().map(PathBuf::as_path).collect();
        let profile = profile_of_files(&paths, &detector.preprocess().decode)?;
        record.image_profile = profile.as_ref().map(to_json).transpose()?;
    }
    normal.set_thresholds(&mut record, rates, margin.unwrap_or(MARGIN))?;
    detector.set_record(record)?;
    let scores = normal.image_scores.into_iter().zip(normal.differences);
    Ok(scores.map(|(score, differences)| CalibrationImage { score, differences }).collect())
}

/// A photograph that thresholds were set from.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CalibrationImage {
    /// Its raw image score.
    pub score: f32,
    /// In what it is unlike those that the model was trained on.
    pub differences: Vec<Difference>,
}

/// Scores of a good image.
struct NormalScore {
    note: Option<String>,
    differences: Vec<Difference>,
    image_score: f32,
    map_peak: f32,
    map_mean: f32,
}

impl NormalScore {
    fn of(Inspected { inspection, .. }: &Inspected) -> Self {
        // Without what the region of interest leaves out.
        let map = || inspection.map.iter().copied().filter(|v| !v.is_nan());
        let sum: f64 = map().map(f64::from).sum();
        Self {
            note: inspection.note.clone(),
            differences: inspection.differences.clone(),
            image_score: inspection.score,
            map_peak: map().fold(f32::NEG_INFINITY, f32::max),
            map_mean: (sum / map().count().max(1) as f64) as f32,
        }
    }
}

/// Scores of good images.
#[derive(Default)]
struct NormalScores {
    differences: Vec<Vec<Difference>>,
    image_scores: Vec<f32>,
    map_peaks: Vec<f32>,
    map_means: Vec<f32>,
}

impl NormalScores {
    /// Inspects photographs; all that cannot be inspected are named in one error.
    fn of(detector: &Detector, paths: &[PathBuf], reporter: &dyn Reporter) -> Result<Self, TrainError> {
        let mut normal = Self::default();
        let mut failures = vec![];
        reporter.start("calibrating", paths.len() as u64);
        // Photographs and maps are large, and few numbers of each are needed.
        let finish = |_: &&PathBuf, inspected: Result<Inspected, InferenceError>| {
            inspected.map(|it| NormalScore::of(&it))
        };
        inspect_stream(detector, paths, finish, |_, score| {
            match score {
                Ok(score) => normal.add(score, reporter),
                Err(error) => failures.push(TrainError::from(error)),
            }
            reporter.advance(1);
            stop_if_asked(reporter)
        })?;
        reporter.finish();
        match (failures.pop(), failures.len()) {
            (None, _) => Ok(normal),
            (Some(only), 0) => Err(only),
            (Some(last), _) => {
                failures.push(last);
                let reasons = failures.iter().map(ToString::to_string).collect();
                Err(TrainError::UnusableImages { found: paths.len(), reasons })
            }
        }
    }

    fn add(&mut self, score: NormalScore, reporter: &dyn Reporter) {
        let NormalScore { note, differences, image_score, map_peak, map_mean } = score;
        note.iter().for_each(|note| reporter.warn(note));
        self.differences.push(differences);
        self.image_scores.push(image_score);
        self.map_peaks.push(map_peak);
        self.map_means.push(map_mean);
    }

    /// Thresholds, quantiles and display range for the record of a detector whose loss had this margin.
    fn set_thresholds(&self, record: &mut ModelRecord, rates: Rates, margin: f64) -> Result<(), TrainError> {
        let borders = |target| -> Result<(f32, f32), TrainError> {
            Ok((threshold(&self.image_scores, target)?, threshold(&self.map_peaks, target)?))
        };
        let (value, map_value) = borders(rates.false_reject)?;
        let review = if rates.review > 0.0 {
            let (low, map_low) = borders(rates.not_passed())?;
            let (low, map_low) = (low.min(value), map_low.min(map_value));
            Some(ReviewBand { value: low, map_value: map_low, target_share: rates.review })
        } else {
            None
        };
        let threshold = Threshold {
            value,
            map_value,
            target_false_reject_rate: rates.false_reject,
            held_out: self.image_scores.len(),
            review,
        };
        // The loss pushes the discriminators' scores of normal and anomalous two margins apart: a span of at least that much
        // (of deviations, where scores know the place) keeps the shades of defects apart
        // also where the threshold is close to normal. A threshold further up widens it, so that its colour is the middle
        // one.
        let typical = median(&self.map_peaks)?;
        let span = (2.0 * (map_value - typical)).max(2.0 * margin as f32);
        let values = quantiles(&self.image_scores, &NORMAL_QUANTILES)?;
        record.display_range = Some(range(typical, typical + span));
        record.threshold = Some(threshold);
        record.normal_score_quantiles = NORMAL_QUANTILES.into_iter().zip(values).collect();
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
    fn rates_that_cannot_be_are_named() {
        for (false_reject, review, word) in [
            (0.005, 0.05, None),
            (0.5, 0.0, None),
            (0.0, 0.1, Some("false-reject")),
            (0.6, 0.0, Some("false-reject")),
            (f64::NAN, 0.0, Some("false-reject")),
            (0.1, 0.45, Some("review")),
            (0.1, -0.1, Some("review")),
        ] {
            let got = Rates { false_reject, review }.validate().err().map(|e| e.to_string());
            let right = match (&got, word) {
                (None, None) => true,
                (Some(message), Some(word)) => message.contains(word),
                _ => false,
            };
            assert!(right, "{false_reject}, {review}: {got:?}");
        }
    }

    #[test]
    fn split_is_a_partition_of_the_asked_size() {
        for (n, share, fewest, held_out) in [
            (100, 0.1, 0, 10),
            (5, 0.1, 0, 1),
            (2, 0.5, 0, 0),
            (3, 0.9, 0, 1),
            (0, 0.1, 6, 0),
            (1, 0.1, 0, 0),
            (50, 0.0, 6, 0),
            (50, 0.1, 6, 6),
            (100, 0.1, 6, 10),
            (18, 0.1, 6, 6),
            (17, 0.1, 6, 2),
        ] {
            let calibration = Calibration {
                held_out_share: share,
                fewest_held_out: fewest,
                target_false_reject_rate: 0.01,
            };
            let split = split(n, &calibration, &Generator::new(5));
            assert_eq!(split.held_out.len(), held_out, "n {n} share {share} fewest {fewest}");
            let mut all = [split.train, split.held_out].concat();
            all.sort_unstable();
            assert_eq!(all, (0..n).collect::<Vec<_>>());
        }
    }
}
