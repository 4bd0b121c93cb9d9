//! Scores as integers of the same order, so that sorting, grouping of ties and counting are exact and fast.
//!
//! Comes in: finite `f32` scores. Goes out: `u32` keys with `key(a) < key(b)` exactly when `a < b`.

use crate::MetricError;

/// The key of a finite score. `-0.0` and `0.0` share one.
pub(crate) fn key(score: f32) -> u32 {
    // Adding 0.0 turns -0.0 into 0.0 and leaves every other value alone.
    let bits = (score + 0.0).to_bits();
    // Negative numbers: flip all bits (larger magnitude = lower); the others: set the top bit.
    bits ^ (((bits as i32 >> 31) as u32) | SIGN)
}

/// The score of a key: the inverse of [`key`].
pub(crate) fn score(key: u32) -> f32 {
    f32::from_bits(if key & SIGN != 0 { key ^ SIGN } else { !key })
}

/// Index of the first NaN or infinite score, if there is one.
pub(crate) fn first_non_finite(scores: &[f32]) -> Option<usize> {
    // Without an early exit the compiler vectorises this; blocks bound what a bad score makes us read twice.
    const BLOCK: usize = 4096;
    scores.chunks(BLOCK).enumerate().find_map(|(block, scores)| {
        let largest = scores.iter().fold(0, |largest, score| (score.to_bits() & !SIGN).max(largest));
        if largest < f32::INFINITY.to_bits() {
            return None;
        }
        scores.iter().position(|score| !score.is_finite()).map(|index| block * BLOCK + index)
    })
}

/// Refuses empty input and scores that are not finite.
pub(crate) fn check(scores: &[f32]) -> Result<(), MetricError> {
    if scores.is_empty() {
        return Err(MetricError::Empty);
    }
    match first_non_finite(scores) {
        Some(index) => Err(MetricError::NonFiniteScore { index, value: scores[index] }),
        None => Ok(()),
    }
}

const SIGN: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_the_order_and_come_back() {
        let ascending =
            [f32::MIN, -1e10, -1.5, -1e-40, 0.0, 1e-45, f32::MIN_POSITIVE, 0.5, 1.0, 1.0000001, f32::MAX];
        for pair in ascending.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{} and {}", pair[0], pair[1]);
        }
        for value in ascending {
            assert_eq!(score(key(value)).to_bits(), value.to_bits());
        }
        assert_eq!(key(-0.0), key(0.0));
        assert!(score(key(-0.0)).is_sign_positive());
    }

    #[test]
    fn finds_the_first_bad_score() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for index in [0, 4095, 4096, 9999] {
                let mut scores = vec![1.0f32; 10_000];
                scores[index] = bad;
                scores[9_999] = bad;
                assert_eq!(first_non_finite(&scores), Some(index));
            }
        }
        assert_eq!(first_non_finite(&[f32::MAX, f32::MIN, 0.0]), None);
        assert_eq!(check(&[]), Err(MetricError::Empty));
    }
}
