//! Pixel metrics of a test set: AUROC, average precision, F1-max and AUPRO from one sort.
//!
//! Comes in: one [`AnomalyMap`] an image, sizes may differ. Goes out: [`PixelMetrics`].
//!
//! Only the anomalous pixels are kept and sorted; normal ones are counted between them ([`crate::ladder`]).
//! Memory beside the maps: at most 16 bytes an anomalous pixel, and for each thread 16 bytes a distinct score
//! among them plus two batches of at most 16 MB.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use crate::components::{Connectivity, label_runs};
use crate::ladder::{Counter, Counts, Ladder};
use crate::precision_recall::{average_precision_of, f1_max_of};
use crate::pro::aupro_of;
use crate::roc::auroc_of;
use crate::score_key::{first_non_finite, key};
use crate::steps::{Step, Totals, pack};
use crate::{F1Max, MetricError};

/// The scores of one image's pixels and the truth about them.
#[derive(Debug, Clone, Copy)]
pub struct AnomalyMap<'a> {
    /// `height` x `width` scores, row by row; higher = more anomalous.
    pub scores: &'a [f32],
    /// `height` x `width` values, row by row; 0 = normal, anything else = anomalous.
    pub mask: &'a [u8],
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// All pixel metrics of a set. A metric that is undefined holds the reason.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelMetrics {
    /// As [`crate::auroc`], over all pixels of the set.
    pub auroc: Result<f64, MetricError>,
    /// As [`crate::average_precision`], over all pixels of the set.
    pub average_precision: Result<f64, MetricError>,
    /// As [`crate::f1_max`], over all pixels of the set.
    pub f1_max: Result<F1Max, MetricError>,
    /// As [`crate::aupro`], one value for each limit asked for, in that order.
    pub aupro: Vec<Result<f64, MetricError>>,
    /// Defect-free pixels.
    pub normal_pixels: u64,
    /// Pixels that the masks mark.
    pub anomalous_pixels: u64,
    /// 8-connected regions in the masks.
    pub regions: u64,
}

/// AUROC, average precision, F1-max, and AUPRO at each of `limits`, from one sort.
///
/// Input that cannot be used at all (empty, sizes that do not fit, a score that is not finite) puts its
/// error into every field, with counts of 0.
pub fn pixel_metrics(maps: &[AnomalyMap<'_>], limits: &[f64]) -> PixelMetrics {
    let set = match PixelSet::new(maps) {
        Ok(set) => set,
        Err(error) => {
            return PixelMetrics {
                auroc: Err(error.clone()),
                average_precision: Err(error.clone()),
                f1_max: Err(error.clone()),
                aupro: vec![Err(error); limits.len()],
                normal_pixels: 0,
                anomalous_pixels: 0,
                regions: 0,
            };
        }
    };
    let totals = set.totals();
    PixelMetrics {
        auroc: auroc_of(set.steps(), totals),
        average_precision: average_precision_of(set.steps(), totals),
        f1_max: f1_max_of(set.steps(), totals),
        aupro: limits.iter().map(|&limit| aupro_of(set.steps(), totals, set.regions, limit)).collect(),
        normal_pixels: totals.negatives,
        anomalous_pixels: totals.positives,
        regions: set.regions,
    }
}

impl AnomalyMap<'_> {
    /// Scores of the normal pixels, row by row.
    pub(crate) fn normal_scores(&self) -> impl Iterator<Item = f32> + '_ {
        self.scores.iter().zip(self.mask).filter(|&(_, &mask)| mask == 0).map(|(&score, _)| score)
    }

    /// The map's size fits its slices, and its scores are finite. `image`: its index, for the message.
    fn check(&self, image: usize) -> Result<(), MetricError> {
        let Self { scores, mask, width, height } = *self;
        let expected = width.checked_mul(height).filter(|&pixels| pixels <= u32::MAX as usize);
        let expected = expected.ok_or(MetricError::ImageTooLarge { width, height })?;
        if scores.len() != expected || mask.len() != expected {
            let (scores, mask) = (scores.len(), mask.len());
            return Err(MetricError::ShapeMismatch { image, width, height, expected, scores, mask });
        }
        match first_non_finite(scores) {
            Some(index) => Err(MetricError::NonFinitePixel {
                image,
                x: index % width,
                y: index / width,
                value: scores[index],
            }),
            None => Ok(()),
        }
    }
}

/// Checks every map: there are pixels, sizes fit, scores are finite. The first fault in order is reported.
pub(crate) fn checked(maps: &[AnomalyMap<'_>]) -> Result<(), MetricError> {
    let faults: Vec<Result<(), MetricError>> =
        (0..maps.len()).into_par_iter().map(|image| maps[image].check(image)).collect();
    faults.into_iter().collect::<Result<(), _>>()?;
    match maps.iter().all(|map| map.scores.is_empty()) {
        true => Err(MetricError::Empty),
        false => Ok(()),
    }
}

/// The anomalous pixels of all maps as packed keys with the area of their region, and the number of regions.
pub(crate) fn anomalous_pixels(maps: &[AnomalyMap<'_>]) -> (Vec<u64>, u64) {
    let found: Vec<(Vec<u64>, u64)> = maps
        .par_iter()
        .map(|map| {
            let (runs, regions) = label_runs(map.mask, map.width, Connectivity::Eight);
            let mut areas = vec![0u32; regions];
            for run in &runs {
                areas[run.region] += (run.end - run.start) as u32;
            }
            let mut pixels = Vec::with_capacity(areas.iter().map(|&area| area as usize).sum());
            for run in &runs {
                let row = &map.scores[run.y * map.width..][run.start..run.end];
                pixels.extend(row.iter().map(|&score| pack(key(score), areas[run.region])));
            }
            (pixels, regions as u64)
        })
        .collect();
    let regions = found.iter().map(|(_, regions)| regions).sum();
    let mut pixels = Vec::with_capacity(found.iter().map(|(pixels, _)| pixels.len()).sum());
    for (part, _) in found {
        pixels.extend(part);
    }
    (pixels, regions)
}

/// The pixels of a set, reduced to what the metrics need.
#[derive(Debug)]
pub(crate) struct PixelSet {
    /// Packed anomalous pixels, ascending.
    positives: Vec<u64>,
    ladder: Ladder,
    counts: Counts,
    totals: Totals,
    regions: u64,
}

impl PixelSet {
    /// Checks the maps, sorts the anomalous pixels, and counts the normal ones.
    pub(crate) fn new(maps: &[AnomalyMap<'_>]) -> Result<Self, MetricError> {
        checked(maps)?;
        let (mut positives, regions) = anomalous_pixels(maps);
        positives.par_sort_unstable();
        let ladder = Ladder::new(&positives);
        let counts = count_normal_pixels(maps, &ladder);
        let totals = Totals { positives: positives.len() as u64, negatives: counts.iter().sum() };
        Ok(Self { positives, ladder, counts, totals, regions })
    }

    /// One step for each distinct score of an anomalous pixel, descending.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Step> + '_ {
        self.ladder.steps(&self.positives, &self.counts)
    }

    /// Size of both classes.
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// Number of regions.
    pub(crate) fn regions(&self) -> u64 {
        self.regions
    }
}

/// Counts the normal pixels of all maps on the ladder, in parallel.
fn count_normal_pixels(maps: &[AnomalyMap<'_>], ladder: &Ladder) -> Counts {
    const PIECE: usize = 1 << 16;
    let pieces: Vec<(&[f32], &[u8])> =
        maps.iter().flat_map(|map| map.scores.chunks(PIECE).zip(map.mask.chunks(PIECE))).collect();
    // One array of counts a worker, and no more workers than the arrays are worth: their memory stays
    // below two counts a pixel.
    let pixels: usize = maps.iter().map(|map| map.scores.len()).sum();
    let workers = rayon::current_num_threads().min(1 + pixels / ladder.places());
    let next = AtomicUsize::new(0);
    let count = |_| {
        let mut counter = Counter::new(ladder);
        while let Some((scores, mask)) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            counter.add(scores, mask);
        }
        counter.finish()
    };
    let add = |mut total: Counts, part: Counts| {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        total
    };
    (0..workers).into_par_iter().map(count).reduce_with(add).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_input_is_said_in_every_field() {
        let check = |maps: &[AnomalyMap<'_>], want: MetricError| {
            let got = pixel_metrics(maps, &[0.3, 0.05]);
            assert_eq!(got.auroc, Err(want.clone()));
            assert_eq!(got.average_precision, Err(want.clone()));
            assert_eq!(got.f1_max, Err(want.clone()));
            assert_eq!(got.aupro, vec![Err(want); 2]);
        };
        let good = AnomalyMap { scores: &[1.0, 2.0, 3.0, 4.0], mask: &[0, 0, 9, 0], width: 2, height: 2 };
        let fault = |scores, mask| MetricError::ShapeMismatch {
            image: 1,
            width: 2,
            height: 2,
            expected: 4,
            scores,
            mask,
        };
        check(&[], MetricError::Empty);
        check(&[AnomalyMap { scores: &[], mask: &[], width: 0, height: 7 }], MetricError::Empty);
        check(&[good, AnomalyMap { mask: &[0], ..good }], fault(4, 1));
        check(&[good, AnomalyMap { scores: &[0.0; 5], ..good }], fault(5, 4));
        let infinite = AnomalyMap { scores: &[0.0, 1.0, 2.0, f32::INFINITY], ..good };
        let where_it_is = MetricError::NonFinitePixel { image: 1, x: 1, y: 1, value: f32::INFINITY };
        check(&[good, infinite, infinite], where_it_is);
        let huge = AnomalyMap { width: usize::MAX, ..good };
        check(&[huge], MetricError::ImageTooLarge { width: usize::MAX, height: 2 });
    }

    #[test]
    fn each_metric_has_its_own_reason() {
        let normal = AnomalyMap { scores: &[1.0, 2.0], mask: &[0, 0], width: 2, height: 1 };
        let got = pixel_metrics(&[normal], &[0.3, 2.0]);
        assert_eq!(got.auroc, Err(MetricError::SingleClass { positives: 0, negatives: 2 }));
        assert_eq!(got.average_precision, Err(MetricError::NoPositives { count: 2 }));
        assert_eq!(got.aupro, [Err(MetricError::NoRegions), Err(MetricError::InvalidLimit { limit: 2.0 })]);
        assert_eq!((got.normal_pixels, got.anomalous_pixels, got.regions), (2, 0, 0));
        let defect = AnomalyMap { mask: &[1, 255], ..normal };
        let got = pixel_metrics(&[defect], &[0.3]);
        assert_eq!(got.average_precision, Ok(1.0));
        assert_eq!(got.aupro, [Err(MetricError::NoNegatives { count: 2 })]);
        assert_eq!((got.normal_pixels, got.anomalous_pixels, got.regions), (0, 2, 1));
    }
}
