//! Saturated per-region overlap (sPRO) and the area under its curve, as MVTec LOCO AD defines them.
//!
//! Definition (Bergmann et al., "Beyond Dents and Scratches", IJCV 2022, and the dataset's evaluation code): each
//! mask of an image is one defect, connected or not, and masks may overlap. A defect has a saturation area s: its
//! overlap at a threshold is the number of its pixels that are predicted divided by s, at most 1; for a missing
//! object any s of its possible places are enough. sPRO is the mean over all defects of the set, the
//! false-positive rate is taken over all pixels outside every defect of their image, and the area is that of
//! AUPRO ([`crate::aupro`]): trapezoids from (0, 0), one point for each distinct score, interpolated at the limit,
//! divided by it. With one defect for each connected region, saturated at its whole area, this is AUPRO itself.
//!
//! Comes in: one [`DefectMap`] an image. Goes out: the area at any limit.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::MetricError;
use crate::anomaly_map::AnomalyMap;
use crate::components::{Connectivity, label_runs};
use crate::overlap::OverlapArea;
use crate::ranking::{Pixels, Ranking};
use crate::saturation::Saturation;
use crate::score_key::key;
use crate::steps::{fold, pack};

/// The limit of the false-positive rate that MVTec LOCO AD reports.
pub const AUSPRO_LIMIT: f64 = 0.05;

/// The scores of one image's pixels, and its defects.
#[derive(Debug, Clone, Copy)]
pub struct DefectMap<'a> {
    /// `height` x `width` scores, row by row; higher = more anomalous.
    pub scores: &'a [f32],
    /// None for a good part.
    pub defects: &'a [Defect<'a>],
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// One defect: everything that one mask marks.
#[derive(Debug, Clone, Copy)]
pub struct Defect<'a> {
    /// `height` x `width` values, row by row; 0 = not this defect, anything else = this defect.
    pub mask: &'a [u8],
    /// How much of it must be found.
    pub saturation: Saturation,
}

/// Area under the sPRO curve up to `limit` (0 < limit <= 1), exact. [`SproAccumulator`] serves several limits.
///
/// # Errors
/// An invalid limit, an empty set, no defect, no pixel outside the defects; and as [`SproAccumulator::add`].
pub fn auspro(maps: &[DefectMap<'_>], limit: f64) -> Result<f64, MetricError> {
    let set = SproAccumulator::new();
    let added: Vec<Result<(), MetricError>> =
        (0..maps.len()).into_par_iter().map(|image| set.add_numbered(image, &maps[image])).collect();
    added.into_iter().collect::<Result<(), _>>()?;
    set.finish()?.auspro(limit)
}

/// Takes images in one at a time, from any thread, and forgets them. Memory: as [`crate::PixelAccumulator`], with
/// 8 bytes for each pixel of a defect's saturation area.
#[derive(Debug)]
pub struct SproAccumulator {
    pixels: Pixels,
    images: AtomicUsize,
}

impl Default for SproAccumulator {
    fn default() -> Self {
        Self::new()
    }
}

impl SproAccumulator {
    /// An empty set.
    pub fn new() -> Self {
        Self { pixels: Pixels::new(), images: AtomicUsize::new(0) }
    }

    /// Takes an image in.
    ///
    /// # Errors
    /// A size that does not fit, a score that is not finite, a defect whose saturation area is no pixel (an empty
    /// mask; 0 pixels; a share that is not in (0, 1] or rounds down to nothing). The set stays as it was.
    pub fn add(&self, map: &DefectMap<'_>) -> Result<(), MetricError> {
        self.add_numbered(self.images.load(Ordering::Relaxed), map)
    }

    /// Sorts what was taken in.
    ///
    /// # Errors
    /// No pixel at all.
    pub fn finish(self) -> Result<SproRanking, MetricError> {
        Ok(SproRanking(self.pixels.rank()?))
    }

    /// `image`: its number, for the message.
    fn add_numbered(&self, image: usize, map: &DefectMap<'_>) -> Result<(), MetricError> {
        let DefectMap { scores, defects, width, height } = *map;
        let mut anomalous = vec![0; scores.len()];
        let mut pixels = Vec::new();
        for (defect, Defect { mask, saturation }) in defects.iter().enumerate() {
            AnomalyMap { scores, mask, width, height }.check(image)?;
            let marked = scores.iter().zip(*mask).filter(|&(_, &value)| value != 0);
            let mut keys: Vec<u32> = marked.map(|(&score, _)| key(score)).collect();
            let saturated = saturation.of(keys.len());
            if saturated == 0 {
                let (area, saturation) = (keys.len(), *saturation);
                return Err(MetricError::NoSaturationArea { image, defect, area, saturation });
            }
            // Only the highest scores add to the overlap. Of those that tie with the last of them, as many stay
            // as it takes to reach 1.
            if saturated < keys.len() {
                keys.select_nth_unstable_by(saturated, |a, b| b.cmp(a));
            }
            pixels.extend(keys[..saturated].iter().map(|&key| pack(key, saturated as u32)));
            anomalous.iter_mut().zip(*mask).for_each(|(any, value)| *any |= value);
        }
        let map = AnomalyMap { scores, mask: &anomalous, width, height };
        map.check(image)?;
        let (runs, _) = label_runs(map.mask, width, Connectivity::Eight);
        self.pixels.add(map.between(&runs), pixels, defects.len());
        self.images.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// The pixels of a set in the order of their scores: what [`SproAccumulator::finish`] gives.
#[derive(Debug)]
pub struct SproRanking(Ranking);

impl SproRanking {
    /// As [`auspro`].
    ///
    /// # Errors
    /// An invalid limit, no defect, no pixel outside the defects.
    pub fn auspro(&self, limit: f64) -> Result<f64, MetricError> {
        Ok(fold(self.0.steps(), OverlapArea::new(&self.0, limit)?))
    }

    /// Defects of all images.
    pub fn defects(&self) -> u64 {
        self.0.regions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(scores: &[f32], defects: &[Defect<'_>], limit: f64, want: Result<f64, MetricError>) {
        let map = DefectMap { scores, defects, width: scores.len(), height: 1 };
        let got = auspro(&[map], limit);
        match (&got, &want) {
            (Ok(got), Ok(want)) => assert!((got - want).abs() < 1e-15, "{got} instead of {want}"),
            _ => assert_eq!(got, want),
        }
    }

    fn defect(mask: &[u8], saturation: Saturation) -> Defect<'_> {
        Defect { mask, saturation }
    }

    #[test]
    fn known_values() {
        use Saturation::{Pixels, Share};
        let scores = [5.0, 4.0, 3.0, 2.0, 1.0, 0.0];
        let mask = [1, 0, 1, 1, 0, 0];
        // All three pixels, of which the second and the third come after one of three normal pixels.
        check(&scores, &[defect(&mask, Pixels(3))], 1.0, Ok((1.0 + 2.0 * 2.0 / 3.0) / 3.0));
        check(&scores, &[defect(&mask, Pixels(900))], 1.0, Ok((1.0 + 2.0 * 2.0 / 3.0) / 3.0));
        // Two pixels are enough; one is; a share is rounded down.
        check(&scores, &[defect(&mask, Pixels(2))], 1.0, Ok((1.0 + 2.0 / 3.0) / 2.0));
        check(&scores, &[defect(&mask, Pixels(1))], 1.0, Ok(1.0));
        check(&scores, &[defect(&mask, Share(0.7))], 1.0, Ok((1.0 + 2.0 / 3.0) / 2.0));
        // Two defects that overlap; the pixels of both are no false positives.
        let other = [0, 1, 1, 0, 0, 0];
        let both = [defect(&mask, Pixels(1)), defect(&other, Pixels(2))];
        check(&scores, &both, 1.0, Ok(1.0));
        // The saturation is reached inside a tie with two of four normal pixels.
        let ties = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0];
        check(&ties, &[defect(&[1, 1, 0, 0, 0, 0], Pixels(1))], 1.0, Ok(0.75));
    }

    #[test]
    fn what_cannot_be_measured_is_an_error() {
        use Saturation::{Pixels, Share};
        let scores = [1.0, 2.0, 3.0];
        let mask = [0, 1, 0];
        check(&scores, &[], 0.3, Err(MetricError::NoRegions));
        check(&scores, &[defect(&[1; 3], Pixels(1))], 0.3, Err(MetricError::NoNegatives { count: 1 }));
        check(&scores, &[defect(&mask, Pixels(1))], 0.0, Err(MetricError::InvalidLimit { limit: 0.0 }));
        assert_eq!(auspro(&[], 0.3), Err(MetricError::Empty));
        let empty = [0; 3];
        for (mask, area, saturation) in
            [(&empty, 0, Pixels(4)), (&mask, 1, Pixels(0)), (&mask, 1, Share(0.5)), (&mask, 1, Share(1.1))]
        {
            let error = MetricError::NoSaturationArea { image: 0, defect: 1, area, saturation };
            check(&scores, &[defect(&[1, 0, 0], Pixels(1)), defect(mask, saturation)], 0.3, Err(error));
        }
        let short =
            MetricError::ShapeMismatch { image: 0, width: 3, height: 1, expected: 3, scores: 3, mask: 2 };
        check(&scores, &[defect(&[1; 2], Pixels(1))], 0.3, Err(short));
        let bad = MetricError::NonFinitePixel { image: 0, x: 1, y: 0, value: f32::INFINITY };
        check(&[0.0, f32::INFINITY], &[], 0.3, Err(bad));
    }
}
