//! Single points of the ROC curve: the price of a wanted recall, and the recall that a price buys.
//!
//! Comes in: scores, labels and a rate. Goes out: the threshold there, with both rates.
//!
//! Only steps that hold an anomalous sample are looked at: recall moves nowhere else, and between two of them
//! the higher threshold has no more false positives. So producers that leave the other steps out
//! ([`crate::ranking::Ranking::steps`]) give the same result.

use crate::MetricError;
use crate::steps::{Fold, SortedScores, Step, Totals, fold};
use crate::threshold::{check_rate, largest_share, smallest_share};

/// One point of a ROC curve and the threshold that reaches it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OperatingPoint {
    /// Samples with a score `>=` this are predicted anomalous; +infinity predicts nothing.
    pub threshold: f32,
    /// Share of the anomalous samples predicted anomalous (recall).
    pub true_positive_rate: f64,
    /// Share of the normal samples predicted anomalous.
    pub false_positive_rate: f64,
}

/// The point with the lowest false-positive rate of those whose true-positive rate is `>= true_positive_rate`:
/// the one with the highest threshold. At 0.95 it is the "FPR95" of the out-of-distribution literature
/// (Liang et al., ICLR 2018).
///
/// `labels`: `true` = anomalous, one for each score. Rates are compared as `f64` shares of whole samples: 29 of
/// 100 reach a target of 0.29. Target 0 is reached by predicting nothing (threshold +infinity).
///
/// # Errors
/// A target outside [0, 1], empty input, lengths that differ, a score that is not finite, one class only.
pub fn fpr_at_tpr(
    scores: &[f32],
    labels: &[bool],
    true_positive_rate: f64,
) -> Result<OperatingPoint, MetricError> {
    check_rate(TPR_TARGET, true_positive_rate)?;
    let sorted = SortedScores::new(scores, labels)?;
    Ok(fold(sorted.steps(), FprAtTpr::new(sorted.totals(), true_positive_rate)?))
}

/// The point with the highest recall of those whose false-positive rate is `<= false_positive_rate`; of
/// equal ones the one with the highest threshold, which has the lowest false-positive rate.
///
/// Predicting nothing (threshold +infinity, both rates 0) is a point, so there always is one. Labels and
/// comparison as in [`fpr_at_tpr`].
///
/// # Errors
/// As [`fpr_at_tpr`].
pub fn recall_at_fpr(
    scores: &[f32],
    labels: &[bool],
    false_positive_rate: f64,
) -> Result<OperatingPoint, MetricError> {
    check_rate(FPR_TARGET, false_positive_rate)?;
    let sorted = SortedScores::new(scores, labels)?;
    Ok(fold(sorted.steps(), RecallAtFpr::new(sorted.totals(), false_positive_rate)?))
}

const TPR_TARGET: &str = "the target true-positive rate";
const FPR_TARGET: &str = "the target false-positive rate";

/// [`fpr_at_tpr`] from steps.
#[derive(Debug)]
pub(crate) struct FprAtTpr {
    totals: Totals,
    /// Anomalous samples to be found.
    needed: u64,
    found: u64,
    best: Point,
}

impl FprAtTpr {
    /// # Errors
    /// A target outside [0, 1], one class only.
    pub(crate) fn new(totals: Totals, target: f64) -> Result<Self, MetricError> {
        check_rate(TPR_TARGET, target)?;
        let totals = totals.need_both()?;
        let needed = smallest_share(target, totals.positives);
        Ok(Self { totals, needed, found: 0, best: Point::NOTHING })
    }
}

impl Fold for FprAtTpr {
    type Value = OperatingPoint;

    fn add(&mut self, step: &Step) {
        if step.positives > 0 && self.found < self.needed {
            self.found += step.positives;
            self.best = Point::at(step, self.found);
        }
    }

    fn value(&self) -> OperatingPoint {
        self.best.rates(self.totals)
    }
}

/// [`recall_at_fpr`] from steps.
#[derive(Debug)]
pub(crate) struct RecallAtFpr {
    totals: Totals,
    /// Normal samples that may be predicted anomalous.
    allowed: u64,
    found: u64,
    best: Point,
}

impl RecallAtFpr {
    /// # Errors
    /// A target outside [0, 1], one class only.
    pub(crate) fn new(totals: Totals, target: f64) -> Result<Self, MetricError> {
        check_rate(FPR_TARGET, target)?;
        let totals = totals.need_both()?;
        let allowed = largest_share(target, totals.negatives);
        Ok(Self { totals, allowed, found: 0, best: Point::NOTHING })
    }
}

impl Fold for RecallAtFpr {
    type Value = OperatingPoint;

    fn add(&mut self, step: &Step) {
        if step.positives > 0 && step.negatives_above + step.negatives <= self.allowed {
            self.found += step.positives;
            self.best = Point::at(step, self.found);
        }
    }

    fn value(&self) -> OperatingPoint {
        self.best.rates(self.totals)
    }
}

/// A point in counts.
#[derive(Debug, Clone, Copy)]
struct Point {
    threshold: f32,
    true_positives: u64,
    false_positives: u64,
}

impl Point {
    const NOTHING: Self = Self { threshold: f32::INFINITY, true_positives: 0, false_positives: 0 };

    fn at(step: &Step, found: u64) -> Self {
        let false_positives = step.negatives_above + step.negatives;
        Self { threshold: step.score, true_positives: found, false_positives }
    }

    fn rates(self, totals: Totals) -> OperatingPoint {
        OperatingPoint {
            threshold: self.threshold,
            true_positive_rate: self.true_positives as f64 / totals.positives as f64,
            false_positive_rate: self.false_positives as f64 / totals.negatives as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: (f32, f64, f64) = (f32::INFINITY, 0.0, 0.0);

    fn parts(point: Result<OperatingPoint, MetricError>) -> (f32, f64, f64) {
        let point = point.unwrap();
        (point.threshold, point.true_positive_rate, point.false_positive_rate)
    }

    #[test]
    fn known_values() {
        // Descending: + +- - + -
        let scores = [5.0, 4.0, 4.0, 3.0, 2.0, 1.0];
        let labels = [true, true, false, false, true, false];
        let third = 1.0 / 3.0;
        let check = |target, want| assert_eq!(parts(fpr_at_tpr(&scores, &labels, target)), want, "{target}");
        check(0.0, NOTHING);
        check(0.1, (5.0, third, 0.0));
        check(third, (5.0, third, 0.0));
        check(third.next_up(), (4.0, 2.0 / 3.0, third));
        check(1.0, (2.0, 1.0, 2.0 / 3.0));
        let check =
            |target, want| assert_eq!(parts(recall_at_fpr(&scores, &labels, target)), want, "{target}");
        check(0.0, (5.0, third, 0.0));
        check(third.next_down(), (5.0, third, 0.0));
        check(third, (4.0, 2.0 / 3.0, third));
        // Threshold 2, not 1: no more recall is to be had.
        check(1.0, (2.0, 1.0, 2.0 / 3.0));
        // The highest score is normal.
        assert_eq!(parts(recall_at_fpr(&[2.0, 1.0], &[false, true], 0.5)), NOTHING);
    }

    #[test]
    fn rates_are_shares_of_whole_samples() {
        // 100 of each, in turn: the k-th anomalous one has k normal ones above it.
        let scores: Vec<f32> = (0..200).map(|i| -(i as f32)).collect();
        let labels: Vec<bool> = (0..200).map(|i| i % 2 == 1).collect();
        for percent in 0..=100 {
            let target = f64::from(percent) / 100.0;
            let got = fpr_at_tpr(&scores, &labels, target).unwrap();
            assert_eq!((got.true_positive_rate, got.false_positive_rate), (target, target));
            assert_eq!(recall_at_fpr(&scores, &labels, target), Ok(got));
        }
    }

    #[test]
    fn steps_without_anomalous_samples_change_nothing() {
        let scores = [9.0, 8.0, 7.0, 7.0, 6.0, 5.0, 4.0, 3.0];
        let labels = [false, true, true, false, false, false, true, false];
        let sorted = SortedScores::new(&scores, &labels).unwrap();
        for target in (0..=20).map(|i| f64::from(i) / 20.0) {
            let steps = || sorted.steps().filter(|step| step.positives > 0);
            let got = fold(steps(), FprAtTpr::new(sorted.totals(), target).unwrap());
            assert_eq!(Ok(got), fpr_at_tpr(&scores, &labels, target), "{target}");
            let got = fold(steps(), RecallAtFpr::new(sorted.totals(), target).unwrap());
            assert_eq!(Ok(got), recall_at_fpr(&scores, &labels, target), "{target}");
        }
    }

    #[test]
    fn undefined_input_is_an_error() {
        let check = |scores: &[f32], labels: &[bool], want: MetricError| {
            assert_eq!(fpr_at_tpr(scores, labels, 0.5), Err(want.clone()));
            assert_eq!(recall_at_fpr(scores, labels, 0.5), Err(want));
        };
        check(&[], &[], MetricError::Empty);
        check(&[1.0], &[], MetricError::LengthMismatch { scores: 1, labels: 0 });
        check(&[1.0], &[true], MetricError::SingleClass { positives: 1, negatives: 0 });
        check(&[1.0], &[false], MetricError::SingleClass { positives: 0, negatives: 1 });
        for rate in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            for got in [fpr_at_tpr(&[1.0], &[true], rate), recall_at_fpr(&[1.0], &[true], rate)] {
                assert!(matches!(got, Err(MetricError::InvalidRate { .. })), "{rate}: {got:?}");
            }
        }
    }
}
