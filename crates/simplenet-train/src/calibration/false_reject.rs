//! How many good parts a threshold rejects, and what n good photographs can say about it.
//!
//! In: raw scores of good photographs that were not trained on, and the share of good parts that may be rejected. Out: the
//! threshold, the share to be expected, the share that is not exceeded with 95 % confidence, and how many photographs a
//! share needs. Parts are taken to be exchangeable: the next good part is like those photographed. Nothing is assumed of
//! how their scores are distributed, except where there are too few.

use simplenet_metrics::threshold_for_false_reject_rate;

use crate::error::TrainError;

/// Confidence of [`confident_false_reject_rate`].
pub const CONFIDENCE: f64 = 0.95;

/// How many of `n` good scores may lie at or above a threshold, so that the chance that the next good part does is at most
/// `target`: the largest k with (k + 1) / (n + 1) ≤ target, since the next part is equally likely to come at any place in
/// the order. None when n is too small for any.
pub fn allowed_rejections(n: usize, target: f64) -> Option<usize> {
    let share = |rank: usize| rank as f64 / (n + 1) as f64;
    let mut rank = (target.clamp(0.0, 1.0) * (n + 1) as f64) as usize;
    // A share as it was typed is at least that many of n + 1, whatever the product was rounded to.
    while rank <= n && share(rank + 1) <= target {
        rank += 1;
    }
    while rank > 0 && share(rank) > target {
        rank -= 1;
    }
    rank.checked_sub(1).map(|k| k.min(n))
}

/// The fewest good photographs that can promise `target`; none for a target of 0.
pub fn images_needed(target: f64) -> Option<usize> {
    if target <= 0.0 {
        return None;
    }
    let mut n = (1.0 / target - 1.0).max(0.0) as usize;
    while allowed_rejections(n, target).is_none() {
        n += 1;
    }
    Some(n)
}

/// The false-reject rate to be expected of a threshold from `n` good photographs: (k + 1) / (n + 1) with k as
/// [`allowed_rejections`] says. Where the photographs are too few it is 1 / (n + 1), the chance that the next good part
/// scores highest of all: no threshold that they reach can promise less.
pub fn expected_false_reject_rate(n: usize, target: f64) -> f64 {
    (allowed_rejections(n, target).unwrap_or(0) + 1) as f64 / (n + 1) as f64
}

/// The false-reject rate that such a threshold does not exceed with 95 % confidence: the rate beyond the (k + 1)-th highest
/// of n scores has the distribution Beta(k + 1, n − k), whatever that of the scores. It is Clopper and Pearson's upper bound
/// for k rejected of n.
pub fn confident_false_reject_rate(n: usize, target: f64) -> f64 {
    let k = allowed_rejections(n, target).unwrap_or(0);
    if k >= n {
        return 1.0;
    }
    // P(at most k of n are rejected) falls with the rate; the bound is where it is 5 %.
    let (mut low, mut high) = (0.0f64, 1.0f64);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if at_most(k, n, middle) > 1.0 - CONFIDENCE { low = middle } else { high = middle }
    }
    high
}

/// P(at most `k` of `n`) when each has probability `rate`, in (0, 1).
fn at_most(k: usize, n: usize, rate: f64) -> f64 {
    let odds = rate.ln() - (-rate).ln_1p();
    let mut term = n as f64 * (-rate).ln_1p();
    let mut sum = term.exp();
    for i in 1..=k {
        term += ((n - i + 1) as f64 / i as f64).ln() + odds;
        sum += term.exp();
    }
    sum.min(1.0)
}

/// The threshold on scores of good images for a target false-reject rate.
///
/// With at least 1 / target − 1 images it lies just above the (k + 1)-th highest score, with k as [`allowed_rejections`]
/// says, which keeps the target without any assumption. Fewer images have no such score: then it is the one-sided
/// prediction bound of a normal distribution, mean + t · deviation · √(1 + 1/n), or just above the largest score if that is
/// higher.
///
/// # Errors
/// Empty or non-finite scores.
pub fn threshold(good_scores: &[f32], target: f64) -> Result<f32, TrainError> {
    let count = good_scores.len();
    let allowed = allowed_rejections(count, target);
    let rejected = allowed.map_or(0.0, |k| k as f64 / count.max(1) as f64);
    let empirical = threshold_for_false_reject_rate(good_scores, rejected)?;
    if allowed.is_some() || count < 3 || target <= 0.0 {
        return Ok(empirical);
    }
    let n = count as f64;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::{Generator, Purpose};

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
        let scores = |n: usize| (0..n).map(|i| i as f32).collect::<Vec<f32>>();
        for (n, target, rejected) in
            [(1000, 0.01, 9), (99, 0.01, 0), (100, 0.01, 0), (199, 0.01, 1), (3, 0.5, 1)]
        {
            let border = threshold(&scores(n), target).unwrap();
            let got = scores(n).iter().filter(|&&s| s >= border).count();
            assert_eq!(got, rejected, "{n} images, {target}");
        }
        assert!(threshold(&[0.5, 0.75], 0.01).unwrap() > 0.75, "above the largest of two");
        assert!(threshold(&[], 0.01).is_err());
    }

    #[test]
    fn a_rate_needs_its_number_of_images() {
        for (target, needed) in
            [(0.01, 99), (0.005, 199), (0.003, 333), (0.07, 14), (0.29, 3), (0.5, 1), (1.0, 0)]
        {
            assert_eq!(images_needed(target), Some(needed), "{target}");
            assert!(expected_false_reject_rate(needed, target) <= target, "{target}");
            if needed > 0 {
                assert!(expected_false_reject_rate(needed - 1, target) > target, "{target}");
            }
        }
        assert_eq!(images_needed(0.0), None);
        for (n, target, rate) in [(9, 0.01, 0.1), (999, 0.01, 0.01), (100, 0.01, 1.0 / 101.0), (0, 0.01, 1.0)]
        {
            assert_eq!(expected_false_reject_rate(n, target), rate, "{n}");
        }
    }

    /// Clopper and Pearson's one-sided bounds: "rule of three" for none, and tables.
    #[test]
    fn confident_rates_agree_with_tables() {
        for (n, target, want) in [
            (199, 0.005, 1.0 - 0.05f64.powf(1.0 / 199.0)), // none of 199
            (10, 0.01, 0.2589),                            // none of 10
            (199, 0.01, 0.0236),                           // 1 of 199
            (999, 0.01, 0.0157),                           // 9 of 999
        ] {
            let got = confident_false_reject_rate(n, target);
            assert!((got - want).abs() < 1e-4, "{n}, {target}: {got} for {want}");
        }
        assert_eq!(confident_false_reject_rate(0, 0.5), 1.0);
    }

    /// What is promised is what happens: over many sets of n good parts, the mean share beyond the threshold, and how often
    /// it exceeds the confident rate. Scores are uniform, so that the true share beyond a threshold is known.
    #[test]
    fn promises_hold_over_many_sets() {
        const SETS: usize = 4000;
        let generator = Generator::new(11);
        for (n, target) in [(99, 0.01), (150, 0.01), (199, 0.05), (20, 0.1)] {
            let (mut sum, mut exceeded) = (0.0, 0);
            for set in 0..SETS {
                let draw = |i: usize| generator.block(Purpose::Noise, set as u32, i as u64)[0] >> 8;
                let scores: Vec<f32> = (0..n).map(|i| draw(i) as f32 / (1u32 << 24) as f32).collect();
                let beyond = 1.0 - f64::from(threshold(&scores, target).unwrap());
                sum += beyond;
                exceeded += usize::from(beyond > confident_false_reject_rate(n, target));
            }
            let (mean, expected) = (sum / SETS as f64, expected_false_reject_rate(n, target));
            // Four standard errors: the share's deviation is about √(k + 1) / n.
            let error = 4.0 * (expected / n as f64 / SETS as f64).sqrt();
            assert!((mean - expected).abs() < error, "{n}, {target}: {mean} for {expected}");
            let share = exceeded as f64 / SETS as f64;
            assert!(
                (share - 0.05).abs() < 4.0 * (0.05 * 0.95 / SETS as f64).sqrt(),
                "{n}, {target}: {share}"
            );
        }
    }
}
