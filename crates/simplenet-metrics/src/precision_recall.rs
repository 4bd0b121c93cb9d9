//! Precision and recall: the curve, average precision, and the best F1.
//!
//! Definitions (scikit-learn's): average precision is the step sum of precision over the increases of
//! recall, not a trapezoid; F1-max is the highest F1 over all distinct scores as thresholds.

use crate::MetricError;
use crate::steps::{SortedScores, Step, Totals};
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
    average_precision_of(sorted.steps(), sorted.totals())
}

/// The highest F1 over all thresholds; of equal ones the lowest threshold is reported.
///
/// # Errors
/// As [`average_precision`].
pub fn f1_max(scores: &[f32], labels: &[bool]) -> Result<F1Max, MetricError> {
    let sorted = SortedScores::new(scores, labels)?;
    f1_max_of(sorted.steps(), sorted.totals())
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

/// Average precision from steps.
pub(crate) fn average_precision_of(
    steps: impl Iterator<Item = Step>,
    totals: Totals,
) -> Result<f64, MetricError> {
    let positives = totals.need_positives()?.positives;
    let mut sum = Sum::default();
    let mut found = 0;
    for step in steps.filter(|step| step.positives > 0) {
        found += step.positives;
        sum.add(step.positives as f64 * (found as f64 / predicted(&step, found) as f64));
    }
    Ok(sum.value() / positives as f64)
}

/// F1-max from steps.
pub(crate) fn f1_max_of(steps: impl Iterator<Item = Step>, totals: Totals) -> Result<F1Max, MetricError> {
    let positives = totals.need_positives()?.positives;
    // F1 = 2 found / (predicted + positives). Fractions are compared as integers, so that equal values are
    // recognised as equal; steps descend, so that `>=` keeps the lowest threshold.
    let mut best = (0u64, 1u64, f32::INFINITY);
    let mut found = 0;
    for step in steps.filter(|step| step.positives > 0) {
        found += step.positives;
        let size = predicted(&step, found) + positives;
        if u128::from(found) * u128::from(best.1) >= u128::from(best.0) * u128::from(size) {
            best = (found, size, step.score);
        }
    }
    Ok(F1Max { f1: 2.0 * best.0 as f64 / best.1 as f64, threshold: best.2 })
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
