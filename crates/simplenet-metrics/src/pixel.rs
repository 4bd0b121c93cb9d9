//! Pixel metrics of a test set: AUROC, average precision, F1-max and AUPRO, from one pass over the images.
//!
//! Comes in: one [`AnomalyMap`] an image, all together or one at a time; sizes may differ. Goes out:
//! [`PixelMetrics`], or single metrics from a [`PixelRanking`].

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::anomaly_map::{AnomalyMap, check_finite};
use crate::components::pixels;
use crate::confusion::check_threshold;
use crate::operating_point::{FprAtTpr, RecallAtFpr};
use crate::overlap::{OverlapArea, ProPoint, thin_curve_of};
use crate::precision_recall::{BestF1, PrecisionSum};
use crate::ranking::{Pixels, Ranking};
use crate::roc::OrderedPairs;
use crate::score_key::key;
use crate::steps::{Fold, Step, fold, packed_key};
use crate::{Confusion, F1Max, MetricError, OperatingPoint};

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

/// AUROC, average precision, F1-max, and AUPRO at each of `limits`, from one pass over the maps.
///
/// Memory beside the maps: as for [`PixelAccumulator`].
///
/// Input that cannot be used at all (empty, sizes that do not fit, a score that is not finite) puts its
/// error into every field, with counts of 0.
pub fn pixel_metrics(maps: &[AnomalyMap<'_>], limits: &[f64]) -> PixelMetrics {
    match PixelRanking::of(maps) {
        Ok(ranking) => ranking.metrics(limits),
        Err(error) => PixelMetrics {
            auroc: Err(error.clone()),
            average_precision: Err(error.clone()),
            f1_max: Err(error.clone()),
            aupro: vec![Err(error); limits.len()],
            normal_pixels: 0,
            anomalous_pixels: 0,
            regions: 0,
        },
    }
}

/// Takes images in one at a time, from any thread, and forgets them: for test sets whose maps do not fit in memory.
///
/// The result is exact, and the same whatever the order of the images and the number of threads.
///
/// Memory: 8 bytes an anomalous pixel; for the normal ones at most 2 bytes a pixel (3 while it grows), and never
/// more than 16 MiB for each power of two that their scores reach into, on either side of 0; 2.3 MB for each
/// thread that adds. Scores from 0.001 to 10 lie in 14 powers of two: 224 MiB, for ten images or ten million.
///
/// ```
/// use simplenet_metrics::{AnomalyMap, PixelAccumulator};
///
/// let set = PixelAccumulator::new();
/// for scores in [[0.1, 0.2, 0.9, 0.3], [0.2, 0.8, 0.7, 0.1]] {
///     set.add(&AnomalyMap { scores: &scores, mask: &[0, 0, 1, 0], width: 2, height: 2 })?;
/// }
/// set.add_normal(&[0.3, 0.1, 0.2, 0.2], 2, 2)?; // a good part: nothing is marked
/// let ranking = set.finish()?;
/// println!("{} {:?}", ranking.auroc()?, ranking.metrics(&[0.30, 0.05]));
/// # Ok::<(), simplenet_metrics::MetricError>(())
/// ```
#[derive(Debug)]
pub struct PixelAccumulator {
    pixels: Pixels,
    /// Images taken in.
    images: AtomicUsize,
}

impl Default for PixelAccumulator {
    fn default() -> Self {
        Self::new()
    }
}

impl PixelAccumulator {
    /// An empty set.
    pub fn new() -> Self {
        Self { pixels: Pixels::new(), images: AtomicUsize::new(0) }
    }

    /// Takes an image in.
    ///
    /// # Errors
    /// A size that does not fit, a score that is not finite; the image number in the error is the number of images
    /// taken in before. The set stays as it was.
    pub fn add(&self, map: &AnomalyMap<'_>) -> Result<(), MetricError> {
        self.add_numbered(self.images.load(Ordering::Relaxed), map)
    }

    /// Takes in the part of an image that was looked at: scores elsewhere do not matter, NaN among them, and what the mask
    /// marks there counts for nothing; a region that reaches out of it is as large as what lies inside.
    ///
    /// # Errors
    /// As [`Self::add`], for the pixels that were looked at; an `inspected` that does not have a value a pixel. An image
    /// of which nothing was looked at is not an error.
    pub fn add_inspected(&self, map: &AnomalyMap<'_>, inspected: &[bool]) -> Result<(), MetricError> {
        let image = self.images.load(Ordering::Relaxed);
        let AnomalyMap { scores, mask, width, height } = *map;
        let expected = pixels(width, height)?;
        if inspected.len() != expected {
            let actual = inspected.len();
            return Err(MetricError::MapShape { image, width, height, expected, actual });
        }
        if scores.len() != expected || mask.len() != expected {
            let (scores, mask) = (scores.len(), mask.len());
            return Err(MetricError::ShapeMismatch { image, width, height, expected, scores, mask });
        }
        let kept = |(&score, &inside): (&f32, &bool)| if inside { score } else { 0.0 };
        let scores: Vec<f32> = scores.iter().zip(inspected).map(kept).collect();
        let mask: Vec<u8> =
            mask.iter().zip(inspected).map(|(&mark, &inside)| mark * u8::from(inside)).collect();
        let map = AnomalyMap { scores: &scores, mask: &mask, width, height };
        map.check(image)?;
        let (runs, areas) = map.regions();
        // Pixels that count as normal, stretch by stretch.
        let normal: Vec<bool> =
            mask.iter().zip(inspected).map(|(&mark, &inside)| inside && mark == 0).collect();
        let mut left = map.scores;
        let stretches = normal.chunk_by(|a, b| a == b).filter_map(|chunk| {
            let (stretch, after) = left.split_at(chunk.len());
            left = after;
            chunk[0].then_some(stretch)
        });
        self.pixels.add(stretches, map.packed(&runs, &areas), areas.len());
        self.images.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Takes an image without a defect in; there is no need for a mask.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_normal(&self, scores: &[f32], width: usize, height: usize) -> Result<(), MetricError> {
        let image = self.images.load(Ordering::Relaxed);
        let expected = pixels(width, height)?;
        if scores.len() != expected {
            return Err(MetricError::MapShape { image, width, height, expected, actual: scores.len() });
        }
        check_finite(image, scores, width)?;
        self.pixels.add(std::iter::once(scores), Vec::new(), 0);
        self.images.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Takes an image in whose mask has a bit a pixel: row by row without gaps, the first pixel in the highest bit
    /// (what numpy's `packbits` makes of a whole mask). What is left of the last byte does not matter.
    ///
    /// # Errors
    /// As [`Self::add`], and a mask that is not ceil(width x height / 8) bytes long.
    pub fn add_packed(
        &self,
        scores: &[f32],
        mask_bits: &[u8],
        width: usize,
        height: usize,
    ) -> Result<(), MetricError> {
        let pixels = pixels(width, height)?;
        let expected = pixels.div_ceil(8);
        if mask_bits.len() != expected {
            let image = self.images.load(Ordering::Relaxed);
            return Err(MetricError::PackedMaskLength {
                image,
                width,
                height,
                expected,
                actual: mask_bits.len(),
            });
        }
        let bits = mask_bits.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
        let mask: Vec<u8> = bits.take(pixels).collect();
        self.add(&AnomalyMap { scores, mask: &mask, width, height })
    }

    /// The number of images taken in.
    pub fn images(&self) -> usize {
        self.images.load(Ordering::Relaxed)
    }

    /// Sorts what was taken in; every pixel metric can be read from the result.
    ///
    /// # Errors
    /// No pixel at all.
    pub fn finish(self) -> Result<PixelRanking, MetricError> {
        Ok(PixelRanking(self.pixels.rank()?))
    }

    /// `image`: its number, for the message.
    fn add_numbered(&self, image: usize, map: &AnomalyMap<'_>) -> Result<(), MetricError> {
        map.check(image)?;
        let (runs, areas) = map.regions();
        self.pixels.add(map.between(&runs), map.packed(&runs, &areas), areas.len());
        self.images.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// All pixels of a test set in the order of their scores: what [`PixelAccumulator::finish`] gives.
#[derive(Debug)]
pub struct PixelRanking(Ranking);

impl PixelRanking {
    /// Takes all maps in, in parallel.
    ///
    /// # Errors
    /// No pixel at all, a map whose size does not fit, a score that is not finite (the first of these by image).
    pub fn of(maps: &[AnomalyMap<'_>]) -> Result<Self, MetricError> {
        let set = PixelAccumulator::new();
        let added: Vec<Result<(), MetricError>> =
            (0..maps.len()).into_par_iter().map(|image| set.add_numbered(image, &maps[image])).collect();
        added.into_iter().collect::<Result<(), _>>()?;
        set.finish()
    }

    /// Defect-free pixels.
    pub fn normal_pixels(&self) -> u64 {
        self.0.totals.negatives
    }

    /// Pixels that the masks mark.
    pub fn anomalous_pixels(&self) -> u64 {
        self.0.totals.positives
    }

    /// 8-connected regions in the masks.
    pub fn regions(&self) -> u64 {
        self.0.regions
    }

    /// As [`crate::auroc`], over all pixels.
    ///
    /// # Errors
    /// One class only.
    pub fn auroc(&self) -> Result<f64, MetricError> {
        Ok(fold(self.0.steps(), OrderedPairs::new(self.0.totals)?))
    }

    /// As [`crate::average_precision`], over all pixels.
    ///
    /// # Errors
    /// No anomalous pixel.
    pub fn average_precision(&self) -> Result<f64, MetricError> {
        Ok(fold(self.0.steps(), PrecisionSum::new(self.0.totals)?))
    }

    /// As [`crate::f1_max`], over all pixels.
    ///
    /// # Errors
    /// No anomalous pixel.
    pub fn f1_max(&self) -> Result<F1Max, MetricError> {
        Ok(fold(self.0.steps(), BestF1::new(self.0.totals)?))
    }

    /// As [`crate::aupro`].
    ///
    /// # Errors
    /// An invalid limit, no region, no defect-free pixel.
    pub fn aupro(&self, limit: f64) -> Result<f64, MetricError> {
        Ok(fold(self.0.steps(), OverlapArea::new(&self.0, limit)?))
    }

    /// As [`crate::pro_curve`], with points left out as by [`crate::thin_curve`]: at most 4 · `parts` + 3 remain, and the
    /// full curve is never held.
    ///
    /// # Errors
    /// No region, no defect-free pixel.
    pub fn thin_pro_curve(&self, parts: usize) -> Result<Vec<ProPoint>, MetricError> {
        thin_curve_of(&self.0, parts)
    }

    /// As [`crate::fpr_at_tpr()`], over all pixels.
    ///
    /// # Errors
    /// A target outside [0, 1], one class only.
    pub fn fpr_at_tpr(&self, true_positive_rate: f64) -> Result<OperatingPoint, MetricError> {
        Ok(fold(self.0.steps(), FprAtTpr::new(self.0.totals, true_positive_rate)?))
    }

    /// As [`crate::recall_at_fpr()`], over all pixels.
    ///
    /// # Errors
    /// A target outside [0, 1], one class only.
    pub fn recall_at_fpr(&self, false_positive_rate: f64) -> Result<OperatingPoint, MetricError> {
        Ok(fold(self.0.steps(), RecallAtFpr::new(self.0.totals, false_positive_rate)?))
    }

    /// As [`crate::confusion()`], over all pixels.
    ///
    /// # Errors
    /// A threshold that is NaN.
    pub fn confusion(&self, threshold: f32) -> Result<Confusion, MetricError> {
        check_threshold(threshold)?;
        let lowest = key(threshold);
        let missed = self.0.positives.partition_point(|&packed| packed_key(packed) < lowest) as u64;
        let standing = self.0.normal.descend().standing(lowest);
        let false_positives = standing.above + standing.equal;
        Ok(Confusion {
            true_positives: self.anomalous_pixels() - missed,
            false_positives,
            true_negatives: self.normal_pixels() - false_positives,
            false_negatives: missed,
        })
    }

    /// AUROC, average precision, F1-max, and AUPRO at each of `limits`, from one walk down the scores.
    pub fn metrics(&self, limits: &[f64]) -> PixelMetrics {
        let Ranking { totals, regions, .. } = self.0;
        let mut auroc = OrderedPairs::new(totals);
        let mut average_precision = PrecisionSum::new(totals);
        let mut f1_max = BestF1::new(totals);
        let mut aupro: Vec<_> = limits.iter().map(|&limit| OverlapArea::new(&self.0, limit)).collect();
        for step in self.0.steps() {
            feed(&mut auroc, &step);
            feed(&mut average_precision, &step);
            feed(&mut f1_max, &step);
            aupro.iter_mut().for_each(|aupro| feed(aupro, &step));
        }
        PixelMetrics {
            auroc: auroc.map(|fold| fold.value()),
            average_precision: average_precision.map(|fold| fold.value()),
            f1_max: f1_max.map(|fold| fold.value()),
            aupro: aupro.into_iter().map(|aupro| aupro.map(|fold| fold.value())).collect(),
            normal_pixels: totals.negatives,
            anomalous_pixels: totals.positives,
            regions,
        }
    }

    pub(crate) fn ranking(&self) -> &Ranking {
        &self.0
    }
}

/// Takes a step in where the metric is defined.
fn feed<F: Fold>(fold: &mut Result<F, MetricError>, step: &Step) {
    if let Ok(fold) = fold {
        fold.add(step);
    }
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

    /// What was not looked at counts as if the picture ended there: rows below and columns beside, whatever they hold.
    #[test]
    fn what_was_not_looked_at_counts_for_nothing() {
        let (width, height) = (7, 5);
        let score = |x: usize, y: usize| ((x * 31 + y * 17 + 3) % 23) as f32 / 7.0;
        let mark = |x: usize, y: usize| u8::from((2..6).contains(&x) && y < 3 || (x, y) == (0, 3));
        let inside = |x: usize, y: usize| x < 4 && y < 4;
        let places = || (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let scores: Vec<f32> =
            places().map(|(x, y)| if inside(x, y) { score(x, y) } else { f32::NAN }).collect();
        let mask: Vec<u8> = places().map(|(x, y)| mark(x, y)).collect();
        let inspected: Vec<bool> = places().map(|(x, y)| inside(x, y)).collect();
        let whole = AnomalyMap { scores: &scores, mask: &mask, width, height };
        let set = PixelAccumulator::new();
        set.add_inspected(&whole, &inspected).unwrap();
        let got = set.finish().unwrap().metrics(&[0.3, 0.05]);

        let small = || places().filter(|&(x, y)| inside(x, y));
        let scores: Vec<f32> = small().map(|(x, y)| score(x, y)).collect();
        let mask: Vec<u8> = small().map(|(x, y)| mark(x, y)).collect();
        let want =
            pixel_metrics(&[AnomalyMap { scores: &scores, mask: &mask, width: 4, height: 4 }], &[0.3, 0.05]);
        assert_eq!(got, want);
        assert_eq!((got.normal_pixels, got.anomalous_pixels, got.regions), (9, 7, 2));

        let set = PixelAccumulator::new();
        assert!(set.add_inspected(&whole, &inspected[1..]).is_err());
        // A score inside that is no number is refused, as ever.
        assert!(set.add_inspected(&whole, &[true; 35]).is_err());
        set.add_inspected(&whole, &[false; 35]).unwrap();
        assert!(set.finish().is_err(), "no pixel at all");
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
