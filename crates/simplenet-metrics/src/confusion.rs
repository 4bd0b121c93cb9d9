//! What a threshold gets right and wrong.
//!
//! Comes in: scores, labels and a threshold. Goes out: the four counts.

use crate::MetricError;
use crate::score_key::check;

/// The four counts of a decision at one threshold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Confusion {
    /// Anomalous and predicted anomalous.
    pub true_positives: u64,
    /// Normal but predicted anomalous.
    pub false_positives: u64,
    /// Normal and predicted normal.
    pub true_negatives: u64,
    /// Anomalous but predicted normal.
    pub false_negatives: u64,
}

/// Counts the decisions "anomalous if score >= threshold".
///
/// The threshold may be infinite (nothing or everything is predicted).
///
/// # Errors
/// Empty input, lengths that differ, a score that is not finite, a threshold that is NaN.
pub fn confusion(scores: &[f32], labels: &[bool], threshold: f32) -> Result<Confusion, MetricError> {
    if scores.len() != labels.len() {
        return Err(MetricError::LengthMismatch { scores: scores.len(), labels: labels.len() });
    }
    check(scores)?;
    check_threshold(threshold)?;
    let mut counts = Confusion::default();
    for (&score, &label) in scores.iter().zip(labels) {
        match (score >= threshold, label) {
            (true, true) => counts.true_positives += 1,
            (true, false) => counts.false_positives += 1,
            (false, false) => counts.true_negatives += 1,
            (false, true) => counts.false_negatives += 1,
        }
    }
    Ok(counts)
}

/// Refuses NaN.
pub(crate) fn check_threshold(threshold: f32) -> Result<(), MetricError> {
    if threshold.is_nan() { Err(MetricError::InvalidThreshold) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_kind() {
        let scores = [1.0, 2.0, 3.0, 4.0, 5.0];
        let labels = [false, true, false, true, true];
        let check = |threshold, want: [u64; 4]| {
            let got = confusion(&scores, &labels, threshold).unwrap();
            let got = [got.true_positives, got.false_positives, got.true_negatives, got.false_negatives];
            assert_eq!(got, want, "{threshold}");
        };
        check(3.0, [2, 1, 1, 1]);
        check(3.5, [2, 0, 2, 1]);
        check(f32::INFINITY, [0, 0, 2, 3]);
        check(f32::NEG_INFINITY, [3, 2, 0, 0]);
        assert_eq!(confusion(&scores, &labels, f32::NAN), Err(MetricError::InvalidThreshold));
        assert_eq!(confusion(&[], &[], 0.0), Err(MetricError::Empty));
        let lengths = MetricError::LengthMismatch { scores: 5, labels: 1 };
        assert_eq!(confusion(&scores, &[true], 0.0), Err(lengths));
        // Minus zero is zero.
        assert_eq!(confusion(&[-0.0], &[true], 0.0).unwrap().true_positives, 1);
    }
}
