//! Precision and recall: the curve, average precision, and the best F1.
//!
//! Definitions (scikit-learn's): average precision is the step sum of precision over the increases of
//! recall, not a trapezoid; F1-max is the highest F1 over all distinct scores as thresholds.

use crate::MetricError;
use crate::steps::{Fold, SortedScores, Step, Totals, fold};
use crate::sum::Sum;

/// The best F1 and the threshold that reaches it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct F1Max {
    /// 2 TP / (2 TP + FP + FN).
    pub f1: f64,
    /// The lowest score that reaches `f1` when all scores `>=` it are predicted anomalous.
    pub threshold: f32,
}

/// One point of a precision-recall curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrecisionRecallPoint {
    /// Samples with a score `>=` this are predicted anomalous.
    pub threshold: f32,
    /// Share of the predicted samples that are anomalous.
    pub precision: f64,
    /// Share of the anomalous samples that are predicted.
    pub recall: f64,
}

/// Average precision: sum over thresholds of (recall - previous recall) x precision.
///
/// `labels`: `true` = anomalous, one for each score.
///
/// # Errors
/// Empty input, lengths that differ, a score that is not finite, nothing anomalous.
pub fn average_precision(scores: &[f32], labels: &[bool]) -> Result<f64, MetricError> {
    let sorted = SortedScores::new(scores, labels)?;
    Ok(fold(sorted.steps(), PrecisionSum::new(sorted.totals())?))
}

/// The highest F1 over all thresholds; of equal ones the lowest threshold is reported.
///
/// # Errors
/// As [`average_precision`].
pub fn f1_max(scores: &[f32], labels: &[bool]) -> Result<F1Max, MetricError> {
    let sorted = SortedScores::new(scores, labels)?;
    Ok(fold(sorted.steps(), BestF1::new(sorted.totals())?))
}

/// The precision-recall curve: recall 0 and precision 1 at threshold +infinity (nothing is predicted; the
/// usual convention), then one point for each distinct score, descending.
///
/// # Errors
/// As [`average_precision`].
pub fn precision_recall_curve(
    scores: &[f32],
    labels: &[bool],
) -> Result<Vec<PrecisionRecallPoint>, MetricError> {
    let sorted = SortedScores::new(scores, labels)?;
    let totals = sorted.totals().need_positives()?;
    let mut curve = vec![PrecisionRecallPoint { threshold: f32::INFINITY, precision: 1.0, recall: 0.0 }];
    let mut found = 0;
    curve.extend(sorted.steps().map(|step| {
        found += step.positives;
        PrecisionRecallPoint {
            threshold: step.score,
            precision: found as f64 / predicted(&step, found) as f64,
            recall: found as f64 / totals.positives as f64,
        }
    }));
    Ok(curve)
}

/// Average precision: precision summed over the anomalous samples.
#[derive(Debug)]
pub(crate) struct PrecisionSum {
    positives: u64,
    found: u64,
    sum: Sum,
}

impl PrecisionSum {
    /// # Errors
    /// Nothing anomalous.
    pub(crate) fn new(totals: Totals) -> Result<Self, MetricError> {
        Ok(Self { positives: totals.need_positives()?.positives, found: 0, sum: Sum::default() })
    }
}

impl Fold for PrecisionSum {
    type Value = f64;

    fn add(&mut self, step: &Step) {
        if step.positives > 0 {
            self.found += step.positives;
            self.sum.add(step.positives as f64 * (self.found as f64 / predicted(step, self.found) as f64));
        }
    }

    fn value(&self) -> f64 {
        self.sum.value() / self.positives as f64
    }
}

/// F1-max: the best fraction so far, F1 = 2 x `best_found` / `best_size`.
#[derive(Debug)]
pub(crate) struct BestF1 {
    positives: u64,
    found: u64,
    best_found: u64,
    /// Predicted + anomalous samples.
    best_size: u64,
    threshold: f32,
}

impl BestF1 {
    /// # Errors
    /// Nothing anomalous.
    pub(crate) fn new(totals: Totals) -> Result<Self, MetricError> {
        let positives = totals.need_positives()?.positives;
        Ok(Self { positives, found: 0, best_found: 0, best_size: 1, threshold: f32::INFINITY })
    }
}

impl Fold for BestF1 {
    type Value = F1Max;

    fn add(&mut self, step: &Step) {
        if step.positives == 0 {
            return;
        }
        self.found += step.positives;
        let size = predicted(step, self.found) + self.positives;
        // Fractions are compared as integers, so that equal values are recognised as equal; steps descend, so
        // that `>=` keeps the lowest threshold.
        if u128::from(self.found) * u128::from(self.best_size)
            >= u128::from(self.best_found) * u128::from(size)
        {
            (self.best_found, self.best_size, self.threshold) = (self.found, size, step.score);
        }
    }

    fn value(&self) -> F1Max {
        F1Max { f1: 2.0 * self.best_found as f64 / self.best_size as f64, threshold: self.threshold }
    }
}

/// Samples predicted anomalous when the step is included; `found` of them are.
fn predicted(step: &Step, found: u64) -> u64 {
    found + step.negatives_above + step.negatives
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let check = |scores: &[f32], labels: &[bool], ap: f64, f1: f64, threshold: f32| {
            let got = average_precision(scores, labels).unwrap();
            assert!((got - ap).abs() < 1e-15, "{got} {ap}");
            assert_eq!(f1_max(scores, labels), Ok(F1Max { f1, threshold }));
        };
        check(&[0.1, 0.9], &[false, true], 1.0, 1.0, 0.9);
        check(&[0.9, 0.1], &[false, true], 0.5, 2.0 / 3.0, 0.1);
        check(&[0.9, 0.1], &[true, true], 1.0, 1.0, 0.1);
        // F1 is 2/3 at 4.0 (1 of 1, 1 of 2) and at 1.0 (2 of 4): the lower one is reported.
        check(&[4.0, 3.0, 2.0, 1.0], &[true, false, false, true], 0.75, 2.0 / 3.0, 1.0);
        check(&[0.0, -0.0], &[true, false], 0.5, 2.0 / 3.0, 0.0);
    }

    #[test]
    fn undefined_input_is_an_error() {
        let check = |scores: &[f32], labels: &[bool], want: MetricError| {
            assert_eq!(average_precision(scores, labels), Err(want.clone()));
            assert_eq!(f1_max(scores, labels), Err(want.clone()));
            assert_eq!(precision_recall_curve(scores, labels), Err(want));
        };
        check(&[], &[], MetricError::Empty);
        check(&[1.0, 2.0], &[false, false], MetricError::NoPositives { count: 2 });
        check(&[1.0], &[true, true], MetricError::LengthMismatch { scores: 1, labels: 2 });
        let infinite = MetricError::NonFiniteScore { index: 0, value: f32::NEG_INFINITY };
        check(&[f32::NEG_INFINITY, 0.0], &[true, false], infinite);
    }

    #[test]
    fn curve_has_a_point_for_each_distinct_score() {
        let curve = precision_recall_curve(&[3.0, 2.0, 2.0, 1.0], &[true, true, false, false]).unwrap();
        let point = |threshold, precision, recall| PrecisionRecallPoint { threshold, precision, recall };
        assert_eq!(
            curve,
            [
                point(f32::INFINITY, 1.0, 0.0),
                point(3.0, 1.0, 0.5),
                point(2.0, 2.0 / 3.0, 1.0),
                point(1.0, 0.5, 1.0)
            ]
        );
    }
}
