//! The decision threshold, from good images that were not trained on.
//!
//! In: raw image scores of held-out good images and the share of good parts that may be rejected.
//! Out: the threshold, and what share of good parts it may be expected to reject.

use serde::{Deserialize, Serialize};
use simplenet_metrics::threshold;

use crate::{
    config::Calibration,
    error::TrainError,
    noise::{Generator, Purpose},
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

/// The false-reject rate that can be promised for `n` held-out images: no threshold taken from them can promise
/// less than 1 / (n + 1) (the chance that the next good part scores highest of all, if they are exchangeable).
pub fn expected_false_reject_rate(n: usize, target: f64) -> f64 {
    target.max(1.0 / (n as f64 + 1.0))
}

/// The threshold for raw scores of held-out good images: a part is anomalous when its score is at or above it.
///
/// # Errors
/// Empty or non-finite scores.
pub fn threshold(held_out_scores: &[f32], target_false_reject_rate: f64) -> Result<f32, TrainError> {
    Ok(threshold::threshold_for_false_reject_rate(held_out_scores, target_false_reject_rate)?)
}

/// (quantile, raw score) pairs of the held-out good scores.
///
/// # Errors
/// Empty or non-finite scores.
pub fn normal_quantiles(held_out_scores: &[f32]) -> Result<Vec<(f64, f32)>, TrainError> {
    let values = threshold::quantiles(held_out_scores, &NORMAL_QUANTILES)?;
    Ok(NORMAL_QUANTILES.into_iter().zip(values).collect())
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

    #[test]
    fn promise_is_limited_by_the_number_of_images() {
        assert_eq!(expected_false_reject_rate(9, 0.01), 0.1);
        assert_eq!(expected_false_reject_rate(999, 0.01), 0.01);
    }
}
