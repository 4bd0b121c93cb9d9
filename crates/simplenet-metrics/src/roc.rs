//! The ROC curve and the area under it.
//!
//! Definition: AUROC is the probability that a random anomalous sample scores higher than a random normal
//! one, a tie counting one half (Mann-Whitney); this equals the trapezoid area under the ROC curve.

use crate::MetricError;
use crate::steps::{Fold, SortedScores, Step, Totals, fold};

/// One point of a ROC curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RocPoint {
    /// Samples with a score `>=` this are predicted anomalous.
    pub threshold: f32,
    /// Share of the normal samples predicted anomalous.
    pub false_positive_rate: f64,
    /// Share of the anomalous samples predicted anomalous.
    pub true_positive_rate: f64,
}

/// Area under the ROC curve, exact: integer counts, one division at the end.
///
/// `labels`: `true` = anomalous, one for each score.
///
/// # Errors
/// Empty input, lengths that differ, a score that is not finite, one class only.
pub fn auroc(scores: &[f32], labels: &[bool]) -> Result<f64, MetricError> {
    let sorted = SortedScores::new(scores, labels)?;
    Ok(fold(sorted.steps(), OrderedPairs::new(sorted.totals())?))
}

/// The ROC curve: (0, 0) at threshold +infinity, then one point for each distinct score, descending.
///
/// # Errors
/// As [`auroc`].
pub fn roc_curve(scores: &[f32], labels: &[bool]) -> Result<Vec<RocPoint>, MetricError> {
    let sorted = SortedScores::new(scores, labels)?;
    let totals = sorted.totals().need_both()?;
    let mut curve =
        vec![RocPoint { threshold: f32::INFINITY, false_positive_rate: 0.0, true_positive_rate: 0.0 }];
    let mut positives = 0;
    curve.extend(sorted.steps().map(|step| {
        positives += step.positives;
        RocPoint {
            threshold: step.score,
            false_positive_rate: (step.negatives_above + step.negatives) as f64 / totals.negatives as f64,
            true_positive_rate: positives as f64 / totals.positives as f64,
        }
    }));
    Ok(curve)
}

/// AUROC by counting the (anomalous, normal) pairs that are in the right order.
#[derive(Debug)]
pub(crate) struct OrderedPairs {
    totals: Totals,
    /// Twice their number, a tie counting one.
    twice: u128,
}

impl OrderedPairs {
    /// # Errors
    /// One class only.
    pub(crate) fn new(totals: Totals) -> Result<Self, MetricError> {
        Ok(Self { totals: totals.need_both()?, twice: 0 })
    }
}

impl Fold for OrderedPairs {
    type Value = f64;

    fn add(&mut self, step: &Step) {
        let below = self.totals.negatives - step.negatives_above - step.negatives;
        self.twice += u128::from(step.positives) * (2 * u128::from(below) + u128::from(step.negatives));
    }

    fn value(&self) -> f64 {
        self.twice as f64 / (2.0 * self.totals.positives as f64 * self.totals.negatives as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let check = |scores: &[f32], labels: &[bool], want| assert_eq!(auroc(scores, labels), Ok(want));
        check(&[0.1, 0.9], &[false, true], 1.0);
        check(&[0.9, 0.1], &[false, true], 0.0);
        check(&[-0.0, 0.0], &[false, true], 0.5);
        check(&[1.0, 2.0, 2.0, 3.0], &[false, true, false, true], 0.875);
    }

    #[test]
    fn undefined_input_is_an_error() {
        let check = |scores: &[f32], labels: &[bool], want| {
            assert_eq!(auroc(scores, labels), Err(want));
            assert!(roc_curve(scores, labels).is_err());
        };
        check(&[], &[], MetricError::Empty);
        check(&[1.0], &[], MetricError::LengthMismatch { scores: 1, labels: 0 });
        check(&[1.0, 2.0], &[true, true], MetricError::SingleClass { positives: 2, negatives: 0 });
        check(&[1.0], &[false], MetricError::SingleClass { positives: 0, negatives: 1 });
        let infinite = MetricError::NonFiniteScore { index: 1, value: f32::INFINITY };
        check(&[1.0, f32::INFINITY], &[true, false], infinite);
        let nan = auroc(&[f32::NAN, 1.0], &[true, false]);
        assert!(matches!(nan, Err(MetricError::NonFiniteScore { index: 0, .. })), "{nan:?}");
    }

    #[test]
    fn curve_runs_from_corner_to_corner_and_holds_the_area() {
        let scores = [0.3, 0.3, 0.1, 0.8, 0.5, 0.5];
        let labels = [true, false, false, true, true, false];
        let curve = roc_curve(&scores, &labels).unwrap();
        let thresholds: Vec<f32> = curve.iter().map(|point| point.threshold).collect();
        assert_eq!(thresholds, [f32::INFINITY, 0.8, 0.5, 0.3, 0.1]);
        let last = curve[curve.len() - 1];
        assert_eq!((last.false_positive_rate, last.true_positive_rate), (1.0, 1.0));
        let area: f64 = curve
            .windows(2)
            .map(|pair| {
                (pair[1].false_positive_rate - pair[0].false_positive_rate)
                    * (pair[0].true_positive_rate + pair[1].true_positive_rate)
                    / 2.0
            })
            .sum();
        assert!((area - auroc(&scores, &labels).unwrap()).abs() < 1e-15);
    }
}
