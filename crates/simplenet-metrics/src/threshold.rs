//! Thresholds and quantiles from normal scores alone.
//!
//! Comes in: the scores of images known to be good (held out from training). Goes out: the lowest threshold
//! that keeps false rejects at a target rate, and quantiles for showing where a score stands.

use crate::MetricError;
use crate::score_key::{check, key, score};

/// The smallest `f32` threshold `t` for which the share of `normal_scores` that are `>= t` is at most `target`.
///
/// Rule: with n scores, the k = floor(target x n) highest may be rejected, so `t` is the next `f32` above the
/// (k + 1)-th highest score. Scores equal to that one are never rejected: with ties the share can be below
/// the target, never above. `target` 1 rejects everything: the lowest score is returned. With
/// `target` < 1 / n nothing of the sample is rejected; that says little about rates below 1 / n.
///
/// # Errors
/// Empty input, a score that is not finite, a target outside [0, 1].
pub fn threshold_for_false_reject_rate(normal_scores: &[f32], target: f64) -> Result<f32, MetricError> {
    check_rate("the target false-reject rate", target)?;
    let ascending = sorted(normal_scores)?;
    let count = ascending.len();
    let rejected = largest_share(target, count as u64) as usize;
    Ok(match count.checked_sub(rejected + 1) {
        Some(highest_kept) => ascending[highest_kept].next_up(),
        None => ascending[0],
    })
}

/// Quantiles of `scores` at `probabilities` (0 = lowest, 1 = highest), in the order asked for.
///
/// Between two scores the value is interpolated linearly at position p x (n - 1), in `f64` (the usual
/// default, Hyndman and Fan's type 7).
///
/// # Errors
/// Empty input, a score that is not finite, a probability outside [0, 1].
pub fn quantiles(scores: &[f32], probabilities: &[f64]) -> Result<Vec<f32>, MetricError> {
    let ascending = sorted(scores)?;
    let last = ascending.len() - 1;
    let quantile = |&probability: &f64| {
        check_rate("a quantile's probability", probability)?;
        Ok(interpolated(probability, last, |index| f64::from(ascending[index])) as f32)
    };
    probabilities.iter().map(quantile).collect()
}

/// The quantile at `probability` of the ascending values `at(0)` to `at(last)`, as [`quantiles`] defines it.
pub(crate) fn interpolated(probability: f64, last: usize, at: impl Fn(usize) -> f64) -> f64 {
    let position = probability * last as f64;
    let below = (position.floor() as usize).min(last);
    let (low, high) = (at(below), at((below + 1).min(last)));
    low + (high - low) * (position - below as f64)
}

/// The largest k for which k / count <= share, as `f64` sees it: 0.29 of 100 is 29, although 0.29 x 100 is less.
pub(crate) fn largest_share(share: f64, count: u64) -> u64 {
    let mut k = ((share * count as f64) as u64).min(count);
    while k < count && (k + 1) as f64 / count as f64 <= share {
        k += 1;
    }
    while k > 0 && k as f64 / count as f64 > share {
        k -= 1;
    }
    k
}

/// The smallest k for which k / count >= share, as `f64` sees it; `count` > 0.
pub(crate) fn smallest_share(share: f64, count: u64) -> u64 {
    let k = largest_share(share, count);
    k + u64::from((k as f64 / count as f64) < share)
}

/// The scores in ascending order, checked.
fn sorted(scores: &[f32]) -> Result<Vec<f32>, MetricError> {
    check(scores)?;
    let mut keys: Vec<u32> = scores.iter().map(|&score| key(score)).collect();
    keys.sort_unstable();
    Ok(keys.into_iter().map(score).collect())
}

/// Refuses rates outside [0, 1].
pub(crate) fn check_rate(name: &'static str, value: f64) -> Result<(), MetricError> {
    if (0.0..=1.0).contains(&value) { Ok(()) } else { Err(MetricError::InvalidRate { name, value }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(scores: &[f32], threshold: f32) -> f64 {
        scores.iter().filter(|&&score| score >= threshold).count() as f64 / scores.len() as f64
    }

    #[test]
    fn threshold_is_the_smallest_that_keeps_the_target() {
        let ties = [0.0, -0.0, 0.5, 0.5, 0.5, 2.0, -3.0, 2.0];
        let hundred: Vec<f32> = (0..100).map(|i| (i * 37 % 100) as f32 - 40.0).collect();
        for scores in [&ties[..], &hundred[..], &[1.5][..]] {
            for percent in 0..100 {
                let target = f64::from(percent) / 100.0;
                let threshold = threshold_for_false_reject_rate(scores, target).unwrap();
                assert!(share(scores, threshold) <= target, "{target} of {scores:?}");
                assert!(share(scores, threshold.next_down()) > target, "{target} of {scores:?}");
            }
            let everything = threshold_for_false_reject_rate(scores, 1.0).unwrap();
            assert_eq!(share(scores, everything), 1.0);
        }
        assert_eq!(share(&hundred, threshold_for_false_reject_rate(&hundred, 0.29).unwrap()), 0.29);
        assert_eq!(threshold_for_false_reject_rate(&hundred, 0.0), Ok(59.0f32.next_up()));
    }

    #[test]
    fn shares_are_the_nearest_counts_on_either_side() {
        for count in [1, 3, 7, 100, 1000, 4097] {
            for share in
                (0..=1000).map(|i| f64::from(i) / 1000.0).chain([0.3f64.next_up(), 0.7f64.next_down()])
            {
                let all = || (0..=count).map(|k| (k, k as f64 / count as f64));
                let at_most = all().filter(|&(_, value)| value <= share).map(|(k, _)| k).max();
                let at_least = all().filter(|&(_, value)| value >= share).map(|(k, _)| k).min();
                assert_eq!(Some(largest_share(share, count)), at_most, "{share} of {count}");
                assert_eq!(Some(smallest_share(share, count)), at_least, "{share} of {count}");
            }
        }
    }

    #[test]
    fn quantiles_interpolate() {
        let scores = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantiles(&scores, &[0.0, 1.0, 0.5, 0.25]), Ok(vec![1.0, 4.0, 2.5, 1.75]));
        assert_eq!(quantiles(&[7.0], &[0.3]), Ok(vec![7.0]));
        assert_eq!(quantiles(&[f32::MIN, f32::MAX], &[0.5]), Ok(vec![0.0]));
    }

    #[test]
    fn undefined_input_is_an_error() {
        assert_eq!(threshold_for_false_reject_rate(&[], 0.1), Err(MetricError::Empty));
        assert_eq!(quantiles(&[], &[0.1]), Err(MetricError::Empty));
        assert!(threshold_for_false_reject_rate(&[f32::NAN], 0.1).is_err());
        for rate in [-0.1, 1.1, f64::NAN] {
            let got = threshold_for_false_reject_rate(&[1.0], rate);
            assert!(matches!(got, Err(MetricError::InvalidRate { .. })), "{rate}");
            assert!(matches!(quantiles(&[1.0], &[rate]), Err(MetricError::InvalidRate { .. })), "{rate}");
        }
    }
}
