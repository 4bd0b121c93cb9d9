//! Image scores counted into bins, and round numbers for an axis: what the report's histogram and the one for papers share.
//!
//! In: scores with their labels. Out: counts over equal parts of a range, the range, ticks.

use crate::output::{prediction::Verdict, report::CategoryReport};

/// One image's score and label.
pub(in crate::output) type Scored = (f32, Option<Verdict>);

/// Parts of a histogram's range.
pub(in crate::output) const BINS: usize = 36;

/// A category's finite scores with their labels.
pub(in crate::output) fn scores_of(category: &CategoryReport) -> Vec<Scored> {
    let scores = category.records().map(|(_, record)| (record.score, record.label));
    scores.filter(|(score, _)| score.is_finite()).collect()
}

/// The ends of a category's histogram; `None` without a finite score.
pub(in crate::output) fn extent_of(category: &CategoryReport) -> Option<(f64, f64)> {
    let scores = scores_of(category);
    let borders = [category.threshold, category.review_threshold].into_iter().flatten();
    let borders: Vec<f32> = borders.filter(|t| t.is_finite()).collect();
    if scores.is_empty() { None } else { extent(scores.into_iter().map(|(score, _)| score).chain(borders)) }
}

/// Counts per bin: good (or unlabelled) above, defective below.
pub(in crate::output) struct Bins {
    pub(in crate::output) above: [usize; BINS],
    pub(in crate::output) below: [usize; BINS],
}

impl Bins {
    pub(in crate::output) fn count(scores: &[Scored], low: f64, high: f64) -> Self {
        let mut bins = Self { above: [0; BINS], below: [0; BINS] };
        for (score, label) in scores {
            let position = (f64::from(*score) - low) / (high - low) * BINS as f64;
            let index = (position as usize).min(BINS - 1);
            match label {
                Some(Verdict::Anomalous) => bins.below[index] += 1,
                _ => bins.above[index] += 1,
            }
        }
        bins
    }

    pub(in crate::output) fn tallest(&self) -> usize {
        self.above.iter().chain(&self.below).copied().max().unwrap_or(0)
    }
}

/// Smallest and largest value with a margin; a single value gets room around it.
pub(in crate::output) fn extent(values: impl Iterator<Item = f32>) -> Option<(f64, f64)> {
    let (low, high) = values.map(f64::from).fold(None, |range: Option<(f64, f64)>, v| {
        Some(range.map_or((v, v), |(low, high)| (low.min(v), high.max(v))))
    })?;
    let margin = ((high - low) * 0.02).max(low.abs().max(high.abs()) * 1e-3).max(1e-6);
    Some((low - margin, high + margin))
}

/// Round values inside the range, with as many decimals as their distance needs.
pub(in crate::output) fn ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let rough = (high - low) / 8.0;
    let power = 10f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(10.0 * power);
    let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    let first = (low / step).ceil() as i64;
    (first..first + 12)
        .map(|k| k as f64 * step)
        .take_while(|v| *v <= high)
        .map(|v| (v, format!("{:.decimals$}", if v == 0.0 { 0.0 } else { v })))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        for (low, high) in [(-0.53, 1.62), (0.0, 1e-4), (-1000.0, 5.0), (0.49, 0.51)] {
            let ticks = ticks(low, high);
            assert!((3..=9).contains(&ticks.len()), "{low} {high}: {ticks:?}");
            assert!(ticks.iter().all(|(v, _)| *v >= low && *v <= high), "{ticks:?}");
        }
        let texts: Vec<String> = ticks(-0.53, 1.62).into_iter().map(|t| t.1).collect();
        assert_eq!(texts, ["-0.5", "0.0", "0.5", "1.0", "1.5"]);
    }
}
