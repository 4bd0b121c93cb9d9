//! Which defects a threshold finds, and how many of its alarms are none: counted in regions, not in pixels.
//!
//! Comes in: one [`AnomalyMap`] an image, a threshold, what counts as found. Goes out: [`RegionDetection`].
//!
//! Both masks of an image, the given one and the predicted one, are cut into runs; two sorted lists of runs
//! are compared, never pixels.

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::MetricError;
use crate::anomaly_map::{AnomalyMap, checked};
use crate::components::{Connectivity, Run, areas, label_runs};
use crate::confusion::check_threshold;
use crate::threshold::{check_rate, smallest_share};

/// What counts as a region, and as found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegionDetectionOptions {
    /// Which pixels are neighbours, in the masks and in the predictions. Default: [`Connectivity::Eight`].
    pub connectivity: Connectivity,
    /// Share of a ground-truth region's pixels, 0 to 1, that must be predicted to call it found; one pixel is
    /// always needed. Default: 0, so that one pixel is enough.
    pub min_overlap: f64,
    /// Predicted regions of fewer pixels are dropped before anything is counted. Default: 1, so that all stay.
    pub min_area: usize,
}

impl Default for RegionDetectionOptions {
    fn default() -> Self {
        Self { connectivity: Connectivity::Eight, min_overlap: 0.0, min_area: 1 }
    }
}

/// What a threshold finds, in regions of all images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct RegionDetection {
    /// Ground-truth regions that are found.
    pub found: u64,
    /// Ground-truth regions that are not.
    pub missed: u64,
    /// Predicted regions that touch a ground-truth pixel.
    pub true_regions: u64,
    /// Predicted regions that touch none.
    pub false_regions: u64,
    /// Images that have pixels.
    pub images: u64,
}

impl RegionDetection {
    /// Share of the ground-truth regions that are found; `None` if there are none.
    pub fn recall(&self) -> Option<f64> {
        share(self.found, self.found + self.missed)
    }

    /// Share of the predicted regions that touch a ground-truth pixel; `None` if nothing is predicted.
    pub fn precision(&self) -> Option<f64> {
        share(self.true_regions, self.true_regions + self.false_regions)
    }

    /// False regions an image, the abscissa of a FROC curve (Bunch et al., 1978); `None` if there are no images.
    pub fn false_regions_per_image(&self) -> Option<f64> {
        share(self.false_regions, self.images)
    }

    fn merge(self, other: Self) -> Self {
        Self {
            found: self.found + other.found,
            missed: self.missed + other.missed,
            true_regions: self.true_regions + other.true_regions,
            false_regions: self.false_regions + other.false_regions,
            images: self.images + other.images,
        }
    }
}

/// Counts the regions that "anomalous if score >= threshold" finds, misses, and makes up.
///
/// A ground-truth region is found by its pixels that belong to predicted regions of at least
/// `options.min_area` pixels: at least one, and at least the share `options.min_overlap` (compared as `f64`: 29
/// pixels of 100 are 0.29). One predicted region may find several, and several may find one together. A mask
/// without regions is no error: there is nothing to find there.
///
/// The threshold may be infinite (nothing or everything is predicted).
///
/// # Errors
/// A threshold that is NaN, a `min_overlap` outside [0, 1], an empty set, a map whose size does not fit, a score
/// that is not finite.
pub fn region_detection(
    maps: &[AnomalyMap<'_>],
    threshold: f32,
    options: &RegionDetectionOptions,
) -> Result<RegionDetection, MetricError> {
    check_threshold(threshold)?;
    check_rate("the overlap that makes a region found", options.min_overlap)?;
    checked(maps)?;
    let counts = maps.par_iter().map(|map| detect(map, threshold, options));
    Ok(counts.reduce(RegionDetection::default, RegionDetection::merge))
}

/// One image's counts.
fn detect(map: &AnomalyMap<'_>, threshold: f32, options: &RegionDetectionOptions) -> RegionDetection {
    let prediction: Vec<u8> = map.scores.iter().map(|&score| u8::from(score >= threshold)).collect();
    let (truth, truth_regions) = label_runs(map.mask, map.width, options.connectivity);
    let (predicted, predicted_regions) = label_runs(&prediction, map.width, options.connectivity);
    let (truth_areas, predicted_areas) = (areas(&truth, truth_regions), areas(&predicted, predicted_regions));
    let kept = |region: usize| predicted_areas[region] as usize >= options.min_area;

    let mut overlaps = vec![0u64; truth_regions];
    let mut touches = vec![false; predicted_regions];
    for_each_overlap(&truth, &predicted, |truth, predicted, pixels| {
        if kept(predicted) {
            overlaps[truth] += pixels as u64;
            touches[predicted] = true;
        }
    });

    let found = overlaps
        .iter()
        .zip(&truth_areas)
        .filter(|&(&overlap, &area)| overlap >= smallest_share(options.min_overlap, u64::from(area)).max(1))
        .count() as u64;
    let true_regions = touches.iter().filter(|&&touches| touches).count() as u64;
    RegionDetection {
        found,
        missed: truth_regions as u64 - found,
        true_regions,
        false_regions: (0..predicted_regions).filter(|&region| kept(region)).count() as u64 - true_regions,
        images: u64::from(!map.scores.is_empty()),
    }
}

/// Calls `visit(region of a, region of b, pixels)` for each stretch of pixels that a run of `a` and one of `b`
/// share. Both lists run row by row.
fn for_each_overlap(a: &[Run], b: &[Run], mut visit: impl FnMut(usize, usize, usize)) {
    let (mut i, mut j) = (0, 0);
    while let (Some(first), Some(second)) = (a.get(i), b.get(j)) {
        let (start, end) = (first.start.max(second.start), first.end.min(second.end));
        if first.y == second.y && start < end {
            visit(first.region, second.region, end - start);
        }
        // The one that ends first touches nothing that comes later.
        if (first.y, first.end) <= (second.y, second.end) { i += 1 } else { j += 1 }
    }
}

/// `part` of `whole`, if there is a whole.
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture: `#` is a predicted defect pixel, `o` a missed one, `x` a false alarm, `.` neither.
    fn detect_picture(picture: &[&str], options: &RegionDetectionOptions) -> RegionDetection {
        let cells: Vec<char> = picture.iter().flat_map(|row| row.chars()).collect();
        let scores: Vec<f32> = cells.iter().map(|cell| f32::from("#x".contains(*cell))).collect();
        let mask: Vec<u8> = cells.iter().map(|cell| u8::from("#o".contains(*cell))).collect();
        let map = AnomalyMap { scores: &scores, mask: &mask, width: picture[0].len(), height: picture.len() };
        region_detection(&[map], 1.0, options).unwrap()
    }

    fn counts(found: u64, missed: u64, true_regions: u64, false_regions: u64) -> RegionDetection {
        RegionDetection { found, missed, true_regions, false_regions, images: 1 }
    }

    #[test]
    fn counts_pictures() {
        let check = |picture: &[&str], options: RegionDetectionOptions, want| {
            assert_eq!(detect_picture(picture, &options), want, "{picture:?} {options:?}");
        };
        let default = RegionDetectionOptions::default();
        check(&["....", "...."], default, counts(0, 0, 0, 0));
        check(&["oo..", "...x"], default, counts(0, 1, 0, 1));
        // Touching is not overlapping.
        check(&["ooxx"], default, counts(0, 1, 0, 1));
        // One prediction over two defects; two predictions on one.
        check(&["#xx#", "o..o"], default, counts(2, 0, 1, 0));
        check(&["#oo#", "x..."], default, counts(1, 0, 2, 0));
        // Corners join or not.
        let four = RegionDetectionOptions { connectivity: Connectivity::Four, ..default };
        check(&["#.x.", ".o.."], default, counts(1, 0, 1, 1));
        check(&["#.x.", ".o.x"], four, counts(1, 1, 1, 2));
        // Overlap is a share of the defect, whatever the prediction's size.
        let half = RegionDetectionOptions { min_overlap: 0.5, ..default };
        check(&["##oo.#ooo"], half, counts(1, 1, 2, 0));
        let whole = RegionDetectionOptions { min_overlap: 1.0, ..default };
        check(&["xx##xx.#o"], whole, counts(1, 1, 2, 0));
        // Small predictions find nothing and are no false alarms either.
        let large = RegionDetectionOptions { min_area: 3, ..default };
        check(&["##o.xx.#xx", ".........."], large, counts(1, 1, 1, 0));
        check(&["##o.xx.#xx"], RegionDetectionOptions { min_area: 0, ..default }, counts(2, 0, 2, 1));
    }

    #[test]
    fn shares() {
        let got = RegionDetection { found: 3, missed: 1, true_regions: 2, false_regions: 6, images: 4 };
        assert_eq!((got.recall(), got.precision()), (Some(0.75), Some(0.25)));
        assert_eq!(got.false_regions_per_image(), Some(1.5));
        let none = RegionDetection::default();
        assert_eq!((none.recall(), none.precision(), none.false_regions_per_image()), (None, None, None));
    }

    #[test]
    fn undefined_input_is_an_error() {
        let map = AnomalyMap { scores: &[1.0, 2.0], mask: &[0, 1], width: 2, height: 1 };
        let default = RegionDetectionOptions::default();
        assert_eq!(region_detection(&[map], f32::NAN, &default), Err(MetricError::InvalidThreshold));
        assert_eq!(region_detection(&[], 0.0, &default), Err(MetricError::Empty));
        assert!(region_detection(&[AnomalyMap { height: 2, ..map }], 0.0, &default).is_err());
        for min_overlap in [-0.1, 1.1, f64::NAN] {
            let got = region_detection(&[map], 0.0, &RegionDetectionOptions { min_overlap, ..default });
            assert!(matches!(got, Err(MetricError::InvalidRate { .. })), "{min_overlap}: {got:?}");
        }
        let at = |threshold| region_detection(&[map], threshold, &default);
        assert_eq!(at(f32::INFINITY), Ok(counts(0, 1, 0, 0)));
        assert_eq!(at(f32::NEG_INFINITY), Ok(counts(1, 0, 1, 0)));
    }
}
