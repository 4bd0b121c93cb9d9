//! The PRO of SimpleNet's official evaluation, for comparing with the paper's numbers. It is not AUPRO.
//!
//! Definition (official code, `compute_pro`): 200 steps between the lowest and the highest score of the set,
//! as numpy's `arange` lays them in f32; a pixel is predicted if its score is above the threshold; for the
//! region overlap, but not for the false-positive rate, the prediction is dilated by a 5x5 square; points
//! with a rate of 0.3 and more are dropped; the rates left are divided by their own maximum; trapezoid area,
//! with no point at (0, 0) and no interpolation. It reads far higher than [`crate::aupro`].

use std::collections::BTreeMap;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::MetricError;
use crate::anomaly_map::{AnomalyMap, checked};
use crate::overlap::need_regions;
use crate::steps::Totals;

const STEPS: usize = 200;
const FPR_LIMIT: f64 = 0.3;
/// Half the side of the square, without the centre.
const RADIUS: usize = 2;

/// SimpleNet's own PRO: for comparing with numbers of the official code only; see [`crate::aupro`].
///
/// # Errors
/// An empty set, a map whose size does not fit, a score that is not finite, no region, no defect-free pixel;
/// and where the official code fails: constant scores ([`MetricError::NoScoreRange`]), fewer than two
/// thresholds with a false-positive rate below 0.3, or none of them above 0 ([`MetricError::TooFewProPoints`]).
pub fn simplenet_compute_pro(maps: &[AnomalyMap<'_>]) -> Result<f64, MetricError> {
    checked(maps)?;
    let positives = maps.iter().flat_map(|map| map.mask).filter(|&&mask| mask != 0).count() as u64;
    let pixels = maps.iter().map(|map| map.mask.len() as u64).sum::<u64>();
    let totals = need_regions(Totals { positives, negatives: pixels - positives }, positives.min(1))?;
    let thresholds = Thresholds::new(maps)?;
    let counts = maps
        .par_iter()
        .map(|map| Counts::of(map, &thresholds))
        .reduce(|| Counts::new(thresholds.len()), Counts::merge);

    let rates: Vec<f64> =
        above(&counts.normal).iter().map(|&count| count as f64 / totals.negatives as f64).collect();
    let overlaps = counts.mean_overlaps();
    // Rates fall as thresholds rise: what is below the limit is the end of the list.
    let first = rates.partition_point(|&rate| rate >= FPR_LIMIT);
    let (rates, overlaps) = (&rates[first..], &overlaps[first..]);
    let largest = rates.first().copied().unwrap_or(0.0);
    if rates.len() < 2 || largest <= 0.0 {
        return Err(MetricError::TooFewProPoints { points: rates.len(), limit: FPR_LIMIT, largest });
    }
    let area = |(rates, overlaps): (&[f64], &[f64])| {
        (rates[0] / largest - rates[1] / largest) * (overlaps[0] + overlaps[1]) / 2.0
    };
    Ok(rates.windows(2).zip(overlaps.windows(2)).map(area).sum())
}

/// The thresholds, ascending.
struct Thresholds {
    values: Vec<f32>,
    step: f32,
}

impl Thresholds {
    /// numpy's `arange(min, max, (max - min) / 200)` in f32, rounding for rounding: the length is
    /// ceil((max - min) / step), value i is min + i x (second value - min).
    fn new(maps: &[AnomalyMap<'_>]) -> Result<Self, MetricError> {
        let (mut min, mut max) = (f32::INFINITY, f32::NEG_INFINITY);
        for &score in maps.iter().flat_map(|map| map.scores) {
            min = min.min(score);
            max = max.max(score);
        }
        let step = (max - min) / STEPS as f32;
        let length = ((max - min) / step).ceil();
        if !(step > 0.0 && length.is_finite()) {
            return Err(MetricError::NoScoreRange { min, max, steps: STEPS });
        }
        let first_step = (min + step) - min;
        let values = (0..length as usize).map(|i| min + i as f32 * first_step).collect();
        Ok(Self { values, step })
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    /// How many thresholds are below a score: it is predicted at exactly those.
    fn below(&self, score: f32) -> usize {
        // Evenly spaced, so division finds the place up to rounding; the comparisons decide.
        let mut count = (((score - self.values[0]) / self.step) as usize).min(self.len());
        while count < self.len() && self.values[count] < score {
            count += 1;
        }
        while count > 0 && self.values[count - 1] >= score {
            count -= 1;
        }
        count
    }
}

/// Pixels by the number of thresholds below their score (index 0..=thresholds).
struct Counts {
    normal: Vec<u64>,
    /// Dilated scores of region pixels, and the number of regions, by area: integers of the same area can
    /// be added in any order before they are divided.
    regions: BTreeMap<u64, (u64, Vec<u64>)>,
}

impl Counts {
    fn new(thresholds: usize) -> Self {
        Self { normal: vec![0; thresholds + 1], regions: BTreeMap::new() }
    }

    /// Counts one image.
    fn of(map: &AnomalyMap<'_>, thresholds: &Thresholds) -> Self {
        let mut counts = Self::new(thresholds.len());
        for score in map.normal_scores() {
            counts.normal[thresholds.below(score)] += 1;
        }
        let (runs, areas) = map.regions();
        if areas.is_empty() {
            return counts;
        }
        let areas: Vec<u64> = areas.into_iter().map(u64::from).collect();
        for &area in &areas {
            counts.regions.entry(area).or_insert_with(|| (0, vec![0; thresholds.len() + 1])).0 += 1;
        }
        // Dilating the prediction at every threshold = taking the maximum of the scores once.
        let dilated = dilate(map.scores, map.width);
        for run in &runs {
            if let Some((_, histogram)) = counts.regions.get_mut(&areas[run.region]) {
                for &score in &dilated[run.y * map.width..][run.start..run.end] {
                    histogram[thresholds.below(score)] += 1;
                }
            }
        }
        counts
    }

    /// Adds two sets of counts.
    fn merge(mut self, other: Self) -> Self {
        let add = |total: &mut [u64], part: &[u64]| {
            total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        };
        add(&mut self.normal, &other.normal);
        for (area, (regions, histogram)) in other.regions {
            let entry = self.regions.entry(area).or_insert_with(|| (0, vec![0; histogram.len()]));
            entry.0 += regions;
            add(&mut entry.1, &histogram);
        }
        self
    }

    /// Mean over all regions of the share found, for each threshold.
    fn mean_overlaps(&self) -> Vec<f64> {
        let regions: u64 = self.regions.values().map(|(regions, _)| regions).sum();
        let mut means = vec![0.0; self.normal.len() - 1];
        for (&area, (_, histogram)) in &self.regions {
            for (mean, found) in means.iter_mut().zip(above(histogram)) {
                *mean += found as f64 / area as f64;
            }
        }
        means.iter_mut().for_each(|mean| *mean /= regions as f64);
        means
    }
}

/// Pixels above each threshold, from the histogram of thresholds below each pixel.
fn above(histogram: &[u64]) -> Vec<u64> {
    let mut counts: Vec<u64> = histogram[1..].to_vec();
    for index in (1..counts.len()).rev() {
        counts[index - 1] += counts[index];
    }
    counts
}

/// The maximum over a 5x5 square around each pixel; what lies outside the image does not count.
fn dilate(scores: &[f32], width: usize) -> Vec<f32> {
    let mut rows = Vec::with_capacity(scores.len());
    for row in scores.chunks_exact(width) {
        rows.extend((0..width).map(|x| {
            let square = &row[x.saturating_sub(RADIUS)..(x + RADIUS + 1).min(width)];
            square.iter().copied().fold(f32::NEG_INFINITY, f32::max)
        }));
    }
    let height = scores.len() / width;
    let mut dilated = Vec::with_capacity(scores.len());
    for y in 0..height {
        let first = y.saturating_sub(RADIUS);
        let start = dilated.len();
        dilated.extend_from_slice(&rows[first * width..][..width]);
        for other in first + 1..(y + RADIUS + 1).min(height) {
            let row = &rows[other * width..][..width];
            dilated[start..].iter_mut().zip(row).for_each(|(max, &score)| *max = max.max(score));
        }
    }
    dilated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undefined_input_is_an_error() {
        let check = |scores: &[f32], mask: &[u8], want: MetricError| {
            let map = AnomalyMap { scores, mask, width: scores.len(), height: 1 };
            assert_eq!(simplenet_compute_pro(&[map]), Err(want));
        };
        assert_eq!(simplenet_compute_pro(&[]), Err(MetricError::Empty));
        check(&[1.0, 2.0], &[0, 0], MetricError::NoRegions);
        check(&[1.0, 2.0], &[1, 1], MetricError::NoNegatives { count: 2 });
        check(&[2.0, 2.0], &[0, 1], MetricError::NoScoreRange { min: 2.0, max: 2.0, steps: STEPS });
        let no_rate = MetricError::TooFewProPoints { points: 200, limit: FPR_LIMIT, largest: 0.0 };
        check(&[1.0, 2.0], &[0, 1], no_rate);
        let no_points = MetricError::TooFewProPoints { points: 0, limit: FPR_LIMIT, largest: 0.0 };
        check(&[2.0, 1.0], &[0, 1], no_points);
        let span = MetricError::NoScoreRange { min: f32::MIN, max: f32::MAX, steps: STEPS };
        check(&[f32::MIN, f32::MAX], &[0, 1], span);
    }

    #[test]
    fn dilation_stops_at_the_border() {
        let mut scores = vec![0.0; 7 * 6];
        scores[0] = 3.0;
        scores[7 * 5 + 6] = 2.0;
        let dilated = dilate(&scores, 7);
        for (index, &value) in dilated.iter().enumerate() {
            let (x, y) = (index % 7, index / 7);
            let want = if x <= 2 && y <= 2 {
                3.0
            } else if x >= 4 && y >= 3 {
                2.0
            } else {
                0.0
            };
            assert_eq!(value, want, "x {x} y {y}");
        }
    }

    #[test]
    fn places_scores_between_thresholds() {
        let scores = [-3.0, 0.1, 0.2, 5.0];
        let map = AnomalyMap { scores: &scores, mask: &[0; 4], width: 4, height: 1 };
        let thresholds = Thresholds::new(&[map]).unwrap();
        let mut probes = scores.to_vec();
        for &value in &thresholds.values {
            probes.extend([value.next_down(), value, value.next_up()]);
        }
        for probe in probes.into_iter().filter(|probe| (-3.0..=5.0).contains(probe)) {
            let want = thresholds.values.iter().filter(|&&value| value < probe).count();
            assert_eq!(thresholds.below(probe), want, "{probe}");
        }
    }
}
