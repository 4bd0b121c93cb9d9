//! The PRO curves of all images at common thresholds, and the area under their sum.
//!
//! Comes in: maps, thresholds as keys, how often each image counts. Goes out: the AUPRO of that multiset of images,
//! and how wrong the thresholds that were left out can make it.
//!
//! Between two thresholds both rates only rise, so the exact curve stays in the rectangle that their two points
//! span, and the trapezoid is wrong by at most half of it.

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::anomaly_map::AnomalyMap;
use crate::resample::SplitMix64;
use crate::steps::PositiveGroups;
use crate::sum::Sum;
use crate::tally::Tally;

/// The curves of all images at common thresholds.
#[derive(Debug)]
pub(crate) struct Table {
    /// Thresholds as keys, descending.
    keys: Vec<u32>,
    /// Images with regions, then images without, each in the order they came.
    images: Vec<ImageCurve>,
    with_regions: usize,
}

/// One image's part of the table.
#[derive(Debug)]
struct ImageCurve {
    regions: u64,
    normal_pixels: u64,
    /// Normal pixels predicted, for each threshold.
    false_positives: Vec<u32>,
    /// Sum of the regions' overlaps, for each threshold; empty if there are no regions.
    overlaps: Vec<f64>,
}

/// An AUPRO from a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Area {
    pub(crate) value: f64,
    /// The exact value is no further away than this.
    pub(crate) error: f64,
}

impl Table {
    /// `maps` come in an order of the caller's choice, which decides what is drawn; `keys` descend.
    pub(crate) fn new(maps: &[AnomalyMap<'_>], keys: Vec<u32>) -> Self {
        let curves: Vec<ImageCurve> = maps.par_iter().map(|map| ImageCurve::new(map, &keys)).collect();
        let (mut images, without): (Vec<_>, Vec<_>) = curves.into_iter().partition(|image| image.regions > 0);
        let with_regions = images.len();
        images.extend(without);
        Self { keys, images, with_regions }
    }

    /// How often each image is drawn: those with regions and those without each on their own, as many as there
    /// are. A draw without a defect-free pixel is repeated; the maps must have one.
    pub(crate) fn draw(&self, stream: &mut SplitMix64) -> Vec<u32> {
        loop {
            let mut times = vec![0; self.images.len()];
            let (with, without) = times.split_at_mut(self.with_regions);
            stream.resample(with.len(), |index| with[index] += 1);
            stream.resample(without.len(), |index| without[index] += 1);
            if self.total(&times, |image| image.normal_pixels) > 0 {
                return times;
            }
        }
    }

    /// The AUPRO up to `limit` of a set that holds each image so many `times`, some normal pixel among them.
    pub(crate) fn area(&self, times: &[u32], limit: f64) -> Area {
        /// Thresholds summed at a time: two such rows stay in the first-level cache.
        const BLOCK: usize = 512;
        let negatives = self.total(times, |image| image.normal_pixels) as f64;
        let regions = self.total(times, |image| image.regions) as f64;
        let mut trapezoids = Trapezoids::new(limit * negatives);
        for (block, keys) in self.keys.chunks(BLOCK).enumerate() {
            let start = block * BLOCK;
            let (mut false_positives, mut overlaps) = ([0u64; BLOCK], [0.0f64; BLOCK]);
            for (image, &times) in self.images.iter().zip(times).filter(|&(_, &times)| times > 0) {
                for (sum, &count) in false_positives.iter_mut().zip(&image.false_positives[start..]) {
                    *sum += u64::from(times) * u64::from(count);
                }
                for (sum, &overlap) in
                    overlaps.iter_mut().zip(image.overlaps.get(start..).unwrap_or_default())
                {
                    *sum += f64::from(times) * overlap;
                }
            }
            for ((&key, &false_positives), &overlap) in keys.iter().zip(&false_positives).zip(&overlaps) {
                trapezoids.add(Point { key, false_positives: false_positives as f64, overlap });
            }
            if trapezoids.complete() {
                break;
            }
        }
        // Below the last threshold there is no anomalous pixel left, only normal ones.
        trapezoids.add(Point { key: 0, false_positives: negatives, overlap: trapezoids.last.overlap });
        let scale = regions * limit * negatives;
        Area { value: (trapezoids.area.value() / scale).min(1.0), error: trapezoids.error / scale }
    }

    /// Sum over the images drawn.
    fn total(&self, times: &[u32], count: impl Fn(&ImageCurve) -> u64) -> u64 {
        self.images.iter().zip(times).map(|(image, &times)| u64::from(times) * count(image)).sum()
    }
}

impl ImageCurve {
    fn new(map: &AnomalyMap<'_>, keys: &[u32]) -> Self {
        let (runs, areas) = map.regions();
        let mut anomalous = map.packed(&runs, &areas);
        anomalous.sort_unstable();
        let mut overlaps = Vec::new();
        if !areas.is_empty() {
            let mut groups = PositiveGroups::new(&anomalous).peekable();
            let mut overlap = Sum::default();
            overlaps.extend(keys.iter().map(|&key| {
                while let Some(group) = groups.next_if(|group| group.key >= key) {
                    overlap.add(group.overlap);
                }
                overlap.value()
            }));
        }

        let tally = Tally::new();
        tally.add(map.between(&runs));
        let mut descent = tally.descend();
        let false_positives = keys.iter().map(|&key| {
            let standing = descent.standing(key);
            // An image has fewer than 2^32 pixels.
            (standing.above + standing.equal) as u32
        });
        Self {
            regions: areas.len() as u64,
            normal_pixels: (map.scores.len() - anomalous.len()) as u64,
            false_positives: false_positives.collect(),
            overlaps,
        }
    }
}

/// A point of a curve, in counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    /// Pixels with this key and above are predicted anomalous.
    pub(crate) key: u32,
    /// Normal pixels predicted.
    pub(crate) false_positives: f64,
    /// Sum of the regions' overlaps.
    pub(crate) overlap: f64,
}

impl Point {
    /// Nothing is predicted.
    pub(crate) const START: Self = Self { key: u32::MAX, false_positives: 0.0, overlap: 0.0 };
}

/// The area under a curve up to a number of false positives, point by point.
#[derive(Debug)]
struct Trapezoids {
    limit: f64,
    last: Point,
    area: Sum,
    /// Half of the rectangles between the points, where the curve is not known to be straight.
    error: f64,
}

impl Trapezoids {
    fn new(limit: f64) -> Self {
        Self { limit, last: Point::START, area: Sum::default(), error: 0.0 }
    }

    /// Takes the next point in; what is beyond the limit does not count.
    fn add(&mut self, point: Point) {
        let width = point.false_positives - self.last.false_positives;
        let rise = point.overlap - self.last.overlap;
        let inside = width.min(self.limit - self.last.false_positives);
        if inside > 0.0 {
            self.area.add(inside * (self.last.overlap + rise * (inside / width) / 2.0));
            // One key is one score: its ties make a straight line.
            if self.last.key - point.key > 1 {
                self.error += rise * inside.min(width / 2.0);
            }
        }
        self.last = point;
    }

    /// Nothing that comes later counts.
    fn complete(&self) -> bool {
        self.last.false_positives >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_covers_the_worst_curve_between_two_points() {
        // From (0, 0) to (10, 1): the real curve may rise at once or at the end, and is cut at the limit.
        for (limit, trapezoid) in [(4.0, 0.8), (10.0, 5.0), (20.0, 15.0)] {
            let mut trapezoids = Trapezoids::new(limit);
            trapezoids.add(Point { key: 9, false_positives: 10.0, overlap: 1.0 });
            trapezoids.add(Point { key: 0, false_positives: 30.0, overlap: 1.0 });
            let got = trapezoids.area.value();
            assert!((got - trapezoid).abs() < 1e-15, "{limit}: {got}");
            let (lowest, highest) = ((limit - 10.0).max(0.0), limit);
            assert!(trapezoids.error >= (got - lowest).max(highest - got), "{limit}: {}", trapezoids.error);
        }
        // Neighbouring keys: nothing lies between them.
        let mut trapezoids = Trapezoids::new(5.0);
        trapezoids.add(Point { key: 9, false_positives: 0.0, overlap: 0.0 });
        trapezoids.add(Point { key: 8, false_positives: 10.0, overlap: 1.0 });
        assert_eq!((trapezoids.area.value(), trapezoids.error), (1.25, 0.0));
    }
}
