//! Per-region overlap (PRO): the curve and the area under it up to a false-positive rate (AUPRO).
//!
//! Definition (MVTec AD; Bergmann et al., IJCV 2021): regions are the 8-connected components of each mask;
//! PRO at a threshold is the mean over all regions of the set of the share of the region that is
//! predicted; the false-positive rate is taken over all defect-free pixels of the set. AUPRO is the
//! trapezoid area under PRO over that rate from (0, 0), one point for each distinct score, interpolated
//! linearly at the limit, and divided by the limit.

use crate::MetricError;
use crate::anomaly_map::AnomalyMap;
use crate::pixel::PixelRanking;
use crate::ranking::Ranking;
use crate::steps::{Fold, Step, Totals};
use crate::sum::Sum;

/// The usual limit of the false-positive rate.
pub const AUPRO_LIMIT: f64 = 0.30;

/// The strict limit that MVTec AD 2 and others use.
pub const AUPRO_STRICT_LIMIT: f64 = 0.05;

/// One point of a PRO curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProPoint {
    /// Pixels with a score `>=` this are predicted anomalous.
    pub threshold: f32,
    /// Share of the defect-free pixels that are predicted.
    pub false_positive_rate: f64,
    /// Mean over the regions of the share of the region that is predicted.
    pub region_overlap: f64,
}

/// AUPRO of a set of maps up to `limit` (0 < limit <= 1), exact.
///
/// For several limits, or pixel AUROC and the like as well, [`crate::pixel_metrics`] shares the work.
///
/// # Errors
/// An invalid limit, an empty set, a map whose size does not fit, a score that is not finite, no region,
/// no defect-free pixel.
pub fn aupro(maps: &[AnomalyMap<'_>], limit: f64) -> Result<f64, MetricError> {
    check_limit(limit)?;
    PixelRanking::of(maps)?.aupro(limit)
}

/// The PRO curve: (0, 0) at threshold +infinity, then one point for each distinct score, descending.
///
/// Every distinct score is kept (24 bytes a point); AUPRO itself needs no curve.
///
/// # Errors
/// An empty set, a map whose size does not fit, a score that is not finite, no region, no defect-free pixel.
pub fn pro_curve(maps: &[AnomalyMap<'_>]) -> Result<Vec<ProPoint>, MetricError> {
    curve_of(PixelRanking::of(maps)?.ranking())
}

/// The PRO curve of a ranking.
fn curve_of(ranking: &Ranking) -> Result<Vec<ProPoint>, MetricError> {
    Ok(points_of(ranking)?.collect())
}

/// The PRO curve of a ranking, thinned as by [`crate::thin_curve`] while it is walked down.
pub(crate) fn thin_curve_of(ranking: &Ranking, parts: usize) -> Result<Vec<ProPoint>, MetricError> {
    let rates = |point: &ProPoint| (point.false_positive_rate, point.region_overlap);
    Ok(crate::thin_curve(points_of(ranking)?, rates, parts))
}

/// The points of the PRO curve, one after the other.
fn points_of(ranking: &Ranking) -> Result<impl Iterator<Item = ProPoint> + '_, MetricError> {
    let totals = defined(ranking)?;
    let start = ProPoint { threshold: f32::INFINITY, false_positive_rate: 0.0, region_overlap: 0.0 };
    let (mut found, mut overlap) = (0, Sum::default());
    let steps = ranking.all_steps().map(move |step| {
        found += step.positives;
        overlap.add(step.overlap);
        ProPoint {
            threshold: step.score,
            false_positive_rate: (step.negatives_above + step.negatives) as f64 / totals.negatives as f64,
            // Once every pixel is found the overlap is 1, whatever the rounding of 1 / area says.
            region_overlap: match found == totals.positives {
                true => 1.0,
                false => overlap.value() / ranking.regions as f64,
            },
        }
    });
    Ok(std::iter::once(start).chain(steps))
}

/// AUPRO.
///
/// The area is summed pixel by pixel instead of point by point: a step that adds `overlap` at false-positive
/// count x raises the curve from x to the limit, and its own ties make the rise linear. All terms are
/// positive, so nothing cancels.
#[derive(Debug)]
pub(crate) struct OverlapArea {
    /// The limit as a number of normal pixels.
    limit_count: f64,
    regions: u64,
    area: Sum,
}

impl OverlapArea {
    /// # Errors
    /// An invalid limit, no region, no defect-free pixel.
    pub(crate) fn new(ranking: &Ranking, limit: f64) -> Result<Self, MetricError> {
        check_limit(limit)?;
        let negatives = defined(ranking)?.negatives;
        Ok(Self { limit_count: limit * negatives as f64, regions: ranking.regions, area: Sum::default() })
    }
}

impl Fold for OverlapArea {
    type Value = f64;

    fn add(&mut self, step: &Step) {
        let (limit, start) = (self.limit_count, step.negatives_above as f64);
        if start >= limit {
            return;
        }
        let width = step.negatives as f64;
        let reach = if start + width <= limit {
            limit - (start + width / 2.0)
        } else {
            // The limit lies inside the rise: a triangle.
            (limit - start) * ((limit - start) / width) / 2.0
        };
        self.area.add(step.overlap * (reach / limit));
    }

    fn value(&self) -> f64 {
        // 1 / area of a region, added up over its pixels, may round to a hair above 1.
        (self.area.value() / self.regions as f64).min(1.0)
    }
}

/// Refuses limits outside (0, 1].
pub(crate) fn check_limit(limit: f64) -> Result<(), MetricError> {
    match limit > 0.0 && limit <= 1.0 {
        true => Ok(()),
        false => Err(MetricError::InvalidLimit { limit }),
    }
}

/// There are regions and defect-free pixels, or the error that says which is missing.
pub(crate) fn need_regions(totals: Totals, regions: u64) -> Result<Totals, MetricError> {
    if regions == 0 {
        return Err(MetricError::NoRegions);
    }
    totals.need_negatives()
}

fn defined(ranking: &Ranking) -> Result<Totals, MetricError> {
    need_regions(ranking.totals, ranking.regions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map<'a>(scores: &'a [f32], mask: &'a [u8]) -> AnomalyMap<'a> {
        AnomalyMap { scores, mask, width: scores.len(), height: 1 }
    }

    #[test]
    fn known_values() {
        let check = |scores: &[f32], mask: &[u8], limit, want: f64| {
            let got = aupro(&[map(scores, mask)], limit).unwrap();
            assert!((got - want).abs() < 1e-15, "{scores:?} {mask:?} {limit}: {got} instead of {want}");
        };
        // Found before any false positive; found after the limit; found with everything else.
        check(&[9.0, 1.0, 1.0, 1.0], &[1, 0, 0, 0], 0.3, 1.0);
        check(&[0.0, 1.0, 1.0, 1.0], &[1, 0, 0, 0], 1.0, 0.0);
        check(&[1.0, 1.0, 1.0, 1.0], &[1, 0, 0, 0], 0.3, 0.15);
        check(&[1.0, 1.0, 1.0, 1.0], &[1, 0, 0, 0], 1.0, 0.5);
        // Two regions, the large one found at once, the small one after one of two normal pixels.
        check(&[5.0, 5.0, 4.0, 3.0, 1.0], &[1, 1, 0, 1, 0], 1.0, 0.75);
        check(&[5.0, 5.0, 4.0, 3.0, 1.0], &[1, 1, 0, 1, 0], 0.5, 0.5);
    }

    #[test]
    fn curve_starts_at_zero_and_ends_at_one() {
        let curve = pro_curve(&[map(&[5.0, 5.0, 4.0, 3.0, 1.0], &[1, 1, 0, 1, 0])]).unwrap();
        let points: Vec<_> = curve
            .iter()
            .map(|point| (point.threshold, point.false_positive_rate, point.region_overlap))
            .collect();
        let start = (f32::INFINITY, 0.0, 0.0);
        assert_eq!(points, [start, (5.0, 0.0, 0.5), (4.0, 0.5, 0.5), (3.0, 0.5, 1.0), (1.0, 1.0, 1.0)]);
    }

    #[test]
    fn undefined_input_is_an_error() {
        let normal = [map(&[1.0, 2.0], &[0, 0])];
        let defect = [map(&[1.0, 2.0], &[1, 1])];
        assert_eq!(aupro(&normal, 0.3), Err(MetricError::NoRegions));
        assert_eq!(pro_curve(&normal), Err(MetricError::NoRegions));
        assert_eq!(aupro(&defect, 0.3), Err(MetricError::NoNegatives { count: 2 }));
        assert_eq!(pro_curve(&defect), Err(MetricError::NoNegatives { count: 2 }));
        assert_eq!(aupro(&[], 0.3), Err(MetricError::Empty));
        for limit in [0.0, -0.1, 1.1, f64::INFINITY] {
            assert_eq!(aupro(&normal, limit), Err(MetricError::InvalidLimit { limit }));
        }
        assert!(matches!(aupro(&normal, f64::NAN), Err(MetricError::InvalidLimit { .. })));
    }
}
