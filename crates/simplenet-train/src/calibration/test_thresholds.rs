//! Thresholds that a labelled test set suggests: the best F1, every defect found, no good part rejected.
//!
//! In: raw image scores and labels. Out: three thresholds, each with what it does to the test set. They are chosen on test data
//! and so promise nothing about other parts: they are reported for people, and nothing in this project uses them.

use serde::{Deserialize, Serialize};
use simplenet_metrics::{confusion, f1_max, fpr_at_tpr, threshold_for_false_reject_rate};

/// Three thresholds on the raw image score, chosen on the test set that they are reported for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TestThresholds {
    /// The lowest threshold with the highest F1.
    pub f1_max: TestThreshold,
    /// The highest threshold that finds every defective part.
    pub finds_every_defect: TestThreshold,
    /// The lowest threshold that rejects no good part.
    pub rejects_no_good_part: TestThreshold,
}

/// A threshold, and what it does to the test set that it was chosen on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TestThreshold {
    /// On the raw image score; a score at it is anomalous.
    pub threshold: f32,
    /// Defective parts found.
    pub true_positives: u64,
    /// Good parts rejected.
    pub false_positives: u64,
}

impl TestThresholds {
    /// The thresholds of a test set; `labels` are true for defective parts. None where there are parts of one kind only, or a
    /// score is not a number.
    pub fn of(scores: &[f32], labels: &[bool]) -> Option<Self> {
        let at = |threshold: f32| {
            let counts = confusion(scores, labels, threshold).ok()?;
            let (true_positives, false_positives) = (counts.true_positives, counts.false_positives);
            Some(TestThreshold { threshold, true_positives, false_positives })
        };
        let good: Vec<f32> = scores
            .iter()
            .zip(labels)
            .filter(|&(_, &anomalous)| !anomalous)
            .map(|(&score, _)| score)
            .collect();
        Some(Self {
            f1_max: at(f1_max(scores, labels).ok()?.threshold)?,
            finds_every_defect: at(fpr_at_tpr(scores, labels, 1.0).ok()?.threshold)?,
            rejects_no_good_part: at(threshold_for_false_reject_rate(&good, 0.0).ok()?)?,
        })
    }

    /// The thresholds with what each is, in a few words.
    pub fn named(&self) -> [(&'static str, TestThreshold); 3] {
        [
            ("best F1", self.f1_max),
            ("finds every defect", self.finds_every_defect),
            ("rejects no good part", self.rejects_no_good_part),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_threshold_does_what_it_is_named_for_and_no_better_one_does() {
        // Overlapping, separable, a tie between a good and a defective part, the highest score is a good part's.
        for (good, bad) in [
            (&[0.0f32, 1.0, 2.5, 3.0][..], &[2.0f32, 2.75, 4.0, 5.0][..]),
            (&[0.0, 1.0], &[2.0, 3.0]),
            (&[0.0, 2.0], &[2.0, 3.0]),
            (&[9.0, 1.0], &[2.0, 3.0]),
        ] {
            let scores = [good, bad].concat();
            let labels: Vec<bool> = (0..scores.len()).map(|i| i >= good.len()).collect();
            let found = |t: f32| bad.iter().filter(|&&score| score >= t).count() as u64;
            let rejected = |t: f32| good.iter().filter(|&&score| score >= t).count() as u64;
            let got = TestThresholds::of(&scores, &labels).unwrap();
            for (name, t) in got.named() {
                let counts = (t.true_positives, t.false_positives);
                assert_eq!(counts, (found(t.threshold), rejected(t.threshold)), "{name} of {scores:?}");
            }
            let all = got.finds_every_defect.threshold;
            assert!(
                found(all) == bad.len() as u64 && found(all.next_up()) < bad.len() as u64,
                "{scores:?}: {got:?}"
            );
            let none = got.rejects_no_good_part.threshold;
            assert!(rejected(none) == 0 && rejected(none.next_down()) > 0, "{scores:?}: {got:?}");
            let f1 = |t: f32| 2.0 * found(t) as f64 / (found(t) + rejected(t) + bad.len() as u64) as f64;
            let best = scores.iter().map(|&t| f1(t)).fold(0.0, f64::max);
            assert_eq!(f1(got.f1_max.threshold), best, "{scores:?}: {got:?}");
        }
    }

    #[test]
    fn parts_of_one_kind_have_none() {
        for (scores, labels) in [(&[1.0f32, 2.0], [true, true]), (&[1.0, 2.0], [false, false])] {
            assert_eq!(TestThresholds::of(scores, &labels), None);
        }
        assert_eq!(TestThresholds::of(&[f32::NAN, 1.0], &[true, false]), None);
    }
}
