//! AUPIMO: how much of each anomalous image is found while next to nothing is reported on normal images.
//!
//! Definition (Bertoldo et al., "AUPIMO: Redefining Visual Anomaly Detection Benchmarks with High Speed and Low
//! Tolerance", BMVC 2024): the shared false-positive rate F(t) is the mean over the normal images of the share of
//! their pixels with a score `>= t`; T(t) of an anomalous image is the share of its anomalous pixels with a score
//! `>= t`. AUPIMO of the image is the mean of T over the logarithm of F between two bounds, 1e-5 and 1e-4:
//! the trapezoid area under T over ln F, divided by ln(upper / lower). Here the curve has a point for each
//! distinct score, and is interpolated at the bounds: the limit that evenly spaced thresholds (anomalib takes
//! 300,000) come close to.
//!
//! Comes in: one [`AnomalyMap`] an image, all together or one at a time. Goes out: a score for each anomalous image
//! and their mean.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use crate::MetricError;
use crate::anomaly_map::AnomalyMap;
use crate::score_key::key;
use crate::sum::Sum;
use crate::tally::{Tally, lock};

/// The false-positive rates between which AUPIMO is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PimoBounds {
    /// Above 0.
    pub lower: f64,
    /// Above `lower`, at most 1.
    pub upper: f64,
}

impl Default for PimoBounds {
    /// The paper's: 1e-5 and 1e-4.
    fn default() -> Self {
        Self { lower: 1e-5, upper: 1e-4 }
    }
}

/// AUPIMO of a test set.
#[derive(Debug, Clone, PartialEq)]
pub struct Aupimo {
    /// A score for each anomalous image, by its number in the set.
    pub per_image: Vec<ImageAupimo>,
    /// The mean of `per_image`.
    pub mean: f64,
}

/// AUPIMO of one anomalous image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageAupimo {
    /// The image's number in the set, from 0.
    pub image: usize,
    /// From 0 (nothing is found) to 1 (everything is found at the lower bound already).
    pub aupimo: f64,
}

/// AUPIMO of each anomalous image (one whose mask marks a pixel), and the mean.
///
/// # Errors
/// A map whose size does not fit, a score that is not finite, bounds that are not 0 < lower < upper <= 1, no normal
/// image, no anomalous image; a false-positive rate that steps over the lower bound from 0
/// ([`MetricError::CoarseFalsePositiveRate`]): the normal images have too few pixels, or too many of them tie.
pub fn aupimo(maps: &[AnomalyMap<'_>], bounds: PimoBounds) -> Result<Aupimo, MetricError> {
    let set = PimoAccumulator::new();
    let added: Vec<Result<(), MetricError>> =
        (0..maps.len()).into_par_iter().map(|image| set.add_numbered(image, &maps[image])).collect();
    added.into_iter().collect::<Result<(), _>>()?;
    set.aupimo(bounds)
}

/// Takes images in one at a time and forgets them. Memory: 4 bytes an anomalous pixel, and for the pixels of normal
/// images what [`crate::PixelAccumulator`] takes, for each size of image.
#[derive(Debug)]
pub struct PimoAccumulator {
    /// The normal images, by their number of pixels: F is a mean over images, whatever their sizes.
    normal: Mutex<BTreeMap<usize, Arc<NormalImages>>>,
    anomalous: Mutex<Vec<AnomalousImage>>,
    images: AtomicUsize,
}

#[derive(Debug)]
struct NormalImages {
    count: AtomicUsize,
    pixels: Tally,
}

#[derive(Debug)]
struct AnomalousImage {
    image: usize,
    /// Keys of the anomalous pixels.
    keys: Vec<u32>,
}

impl Default for PimoAccumulator {
    fn default() -> Self {
        Self::new()
    }
}

impl PimoAccumulator {
    /// An empty set.
    pub fn new() -> Self {
        Self { normal: Mutex::default(), anomalous: Mutex::default(), images: AtomicUsize::new(0) }
    }

    /// Takes an image in and returns its number: 0 for the first one, and so on.
    ///
    /// # Errors
    /// A size that does not fit, a score that is not finite. The set stays as it was.
    pub fn add(&mut self, map: &AnomalyMap<'_>) -> Result<usize, MetricError> {
        let image = self.images.load(Ordering::Relaxed);
        self.add_numbered(image, map)?;
        Ok(image)
    }

    fn add_numbered(&self, image: usize, map: &AnomalyMap<'_>) -> Result<(), MetricError> {
        map.check(image)?;
        let (runs, areas) = map.regions();
        if areas.is_empty() {
            let mut normal = lock(&self.normal);
            let empty = || Arc::new(NormalImages { count: AtomicUsize::new(0), pixels: Tally::new() });
            let images = normal.entry(map.scores.len()).or_insert_with(empty).clone();
            drop(normal);
            images.count.fetch_add(1, Ordering::Relaxed);
            images.pixels.add(std::iter::once(map.scores));
        } else {
            let keys = runs.iter().flat_map(|run| map.under(run)).map(|&score| key(score)).collect();
            lock(&self.anomalous).push(AnomalousImage { image, keys });
        }
        self.images.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// AUPIMO of what was taken in.
    ///
    /// # Errors
    /// As [`aupimo`].
    pub fn aupimo(self, bounds: PimoBounds) -> Result<Aupimo, MetricError> {
        let PimoBounds { lower, upper } = bounds;
        if !(lower > 0.0 && lower < upper && upper <= 1.0) {
            return Err(MetricError::InvalidBounds { lower, upper });
        }
        let mut normal = self.normal.into_inner().unwrap_or_else(PoisonError::into_inner);
        // An image without a pixel says nothing.
        normal.remove(&0);
        if normal.is_empty() {
            return Err(MetricError::NoNormalImages);
        }
        let mut anomalous = self.anomalous.into_inner().unwrap_or_else(PoisonError::into_inner);
        if anomalous.is_empty() {
            return Err(MetricError::NoAnomalousImages);
        }
        anomalous.sort_unstable_by_key(|image| image.image);
        anomalous.iter_mut().for_each(|image| image.keys.par_sort_unstable_by(|a, b| b.cmp(a)));
        let rises = rises(&normal, bounds)?;
        let score = |image: &AnomalousImage| ImageAupimo {
            image: image.image,
            aupimo: area(&rises, &image.keys) / (upper / lower).ln(),
        };
        let per_image: Vec<ImageAupimo> = anomalous.par_iter().map(score).collect();
        // Added in the order of the values: the order of the images does not change a bit.
        let mut values: Vec<f64> = per_image.iter().map(|image| image.aupimo).collect();
        values.sort_unstable_by(f64::total_cmp);
        let mut sum = Sum::default();
        values.iter().for_each(|&value| sum.add(value));
        Ok(Aupimo { mean: sum.value() / values.len() as f64, per_image })
    }
}

/// Where the shared false-positive rate rises between the bounds: at a score of a normal pixel.
#[derive(Debug, Clone, Copy)]
struct Rise {
    key: u32,
    /// The rise begins and ends at these parts of its height: 0 and 1, but for rises across a bound.
    start: f64,
    end: f64,
    /// How much ln F grows between them.
    width: f64,
}

/// The rises of the shared false-positive rate between the bounds, by descending score.
fn rises(normal: &BTreeMap<usize, Arc<NormalImages>>, bounds: PimoBounds) -> Result<Vec<Rise>, MetricError> {
    let count = |images: &Arc<NormalImages>| images.count.load(Ordering::Relaxed);
    let images: usize = normal.values().map(count).sum();
    let mut sizes: Vec<(f64, u64, Peekable<_>)> = normal
        .iter()
        .map(|(&size, group)| (size as f64 * images as f64, 0u64, group.pixels.entries().peekable()))
        .collect();
    let (lower, upper) = (bounds.lower.ln(), bounds.upper.ln());
    let mut rises = Vec::new();
    let mut previous = f64::NEG_INFINITY;
    while previous < upper
        && let Some(key) = sizes.iter_mut().filter_map(|size| size.2.peek().map(|entry| entry.0)).max()
    {
        for (_, above, entries) in &mut sizes {
            *above += entries.next_if(|entry| entry.0 == key).map_or(0, |entry| entry.1);
        }
        let rate: f64 = sizes.iter().map(|(pixels, above, _)| *above as f64 / pixels).sum();
        let next = rate.ln();
        if previous == f64::NEG_INFINITY && next > lower {
            return Err(MetricError::CoarseFalsePositiveRate { smallest: rate, lower: bounds.lower });
        }
        let (from, to) = (previous.max(lower), next.min(upper));
        if from < to {
            let part = |at: f64| (at - previous) / (next - previous);
            rises.push(Rise { key, start: part(from), end: part(to), width: to - from });
        }
        previous = next;
    }
    Ok(rises)
}

/// The area under the share of `keys` (descending) that is found, over ln F.
fn area(rises: &[Rise], keys: &[u32]) -> f64 {
    let mut sum = Sum::default();
    for &Rise { key, start, end, width } in rises {
        // The anomalous pixels that tie with the normal ones are found in proportion while F rises.
        let before = keys.partition_point(|&other| other > key) as f64;
        let tied = keys.partition_point(|&other| other >= key) as f64 - before;
        sum.add(width * (before + tied * (start + end) / 2.0));
    }
    sum.value() / keys.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map<'a>(scores: &'a [f32], mask: &'a [u8]) -> AnomalyMap<'a> {
        AnomalyMap { scores, mask, width: scores.len(), height: 1 }
    }

    fn check(maps: &[AnomalyMap<'_>], lower: f64, upper: f64, want: &[(usize, f64)]) {
        let got = aupimo(maps, PimoBounds { lower, upper }).unwrap();
        assert_eq!(got.per_image.iter().map(|image| image.image).collect::<Vec<_>>(), images(want));
        for (got, want) in got.per_image.iter().zip(want) {
            assert!((got.aupimo - want.1).abs() < 1e-14, "{got:?} instead of {want:?}");
        }
        let mean = want.iter().map(|(_, aupimo)| aupimo).sum::<f64>() / want.len() as f64;
        assert!((got.mean - mean).abs() < 1e-14);
    }

    fn images(want: &[(usize, f64)]) -> Vec<usize> {
        want.iter().map(|&(image, _)| image).collect()
    }

    #[test]
    fn known_values() {
        // F is 1/4, 2/4, 3/4, 1 at 4, 3, 2, 1.
        let normal = map(&[4.0, 3.0, 2.0, 1.0], &[0; 4]);
        let high = map(&[9.0, 0.0], &[1, 0]);
        let low = map(&[0.5, 0.0], &[1, 0]);
        let half = map(&[5.0, 2.5], &[1, 1]);
        let ln2 = 2f64.ln();
        check(&[normal, high, low], 0.25, 1.0, &[(1, 1.0), (2, 0.0)]);
        // Both pixels of `half` are found once F leaves 2/4: T = 1/2 on (1/4, 2/4), 1 on (2/4, 1).
        check(&[half, normal], 0.25, 1.0, &[(0, 0.75)]);
        check(&[half, normal], 0.25, 0.5, &[(0, 0.5)]);
        check(&[half, normal], 0.3, 0.6, &[(0, (0.5 * (0.5f64 / 0.3).ln() + (0.6f64 / 0.5).ln()) / ln2)]);
        // Found together with the normal pixel at 3: T rises along ln F.
        check(&[normal, map(&[3.0], &[1])], 0.25, 0.5, &[(1, 0.5)]);
        // Sizes weigh the same: F is (1/2)/2 at 4, (1/2 + 1/4)/2 at 3 and so on.
        let small = map(&[4.0, 0.0], &[0; 2]);
        let large = map(&[3.0, 2.0, 1.0, 0.0], &[0; 4]);
        let found = map(&[2.5], &[1]);
        check(&[small, large, found], 0.25, 0.5, &[(2, (0.5f64 / 0.375).ln() / ln2)]);
    }

    #[test]
    fn undefined_input_is_an_error() {
        let check = |maps: &[AnomalyMap<'_>], lower: f64, upper: f64, want: MetricError| {
            assert_eq!(aupimo(maps, PimoBounds { lower, upper }), Err(want));
        };
        let normal = map(&[2.0, 1.0], &[0, 0]);
        let anomalous = map(&[2.0, 1.0], &[1, 0]);
        check(&[anomalous], 0.1, 0.2, MetricError::NoNormalImages);
        check(&[], 0.1, 0.2, MetricError::NoNormalImages);
        check(&[map(&[], &[]), anomalous], 0.1, 0.2, MetricError::NoNormalImages);
        check(&[normal], 0.1, 0.2, MetricError::NoAnomalousImages);
        let coarse = MetricError::CoarseFalsePositiveRate { smallest: 0.5, lower: 0.4 };
        check(&[normal, anomalous], 0.4, 1.0, coarse);
        for (lower, upper) in [(0.0, 0.1), (0.2, 0.2), (0.5, 1.1)] {
            check(&[normal, anomalous], lower, upper, MetricError::InvalidBounds { lower, upper });
        }
        let bad = MetricError::NonFinitePixel { image: 1, x: 0, y: 0, value: f32::NEG_INFINITY };
        check(&[normal, map(&[f32::NEG_INFINITY], &[0])], 0.5, 1.0, bad);
    }

    #[test]
    fn one_at_a_time_gives_the_same() {
        let maps = [
            map(&[4.0, 3.0, 2.0, 1.0], &[0; 4]),
            map(&[4.5, 3.0], &[1, 1]),
            map(&[2.5, 0.0], &[0, 0]),
            map(&[2.0], &[7]),
        ];
        let bounds = PimoBounds { lower: 0.2, upper: 0.9 };
        let mut set = PimoAccumulator::new();
        for (image, map) in maps.iter().enumerate() {
            assert_eq!(set.add(map), Ok(image));
        }
        assert_eq!(set.aupimo(bounds), aupimo(&maps, bounds));
    }
}
