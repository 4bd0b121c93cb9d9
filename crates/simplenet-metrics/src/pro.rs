//! Per-region overlap (PRO): the curve and the area under it up to a false-positive rate (AUPRO).
//!
//! Definition (MVTec AD; Bergmann et al., IJCV 2021): regions are the 8-connected components of each mask;
//! PRO at a threshold is the mean over all regions of the set of the share of the region that is
//! predicted; the false-positive rate is taken over all defect-free pixels of the set. AUPRO is the
//! trapezoid area under PRO over that rate from (0, 0), one point for each distinct score, interpolated
//! linearly at the limit, and divided by the limit.

use crate::MetricError;
use crate::anomaly_map::AnomalyMap;
use crate::overlap::{ProPoint, check_limit, curve_of};
use crate::pixel::PixelRanking;

/// The usual limit of the false-positive rate.
pub const AUPRO_LIMIT: f64 = 0.30;

/// The strict limit that MVTec AD 2 and others use.
pub const AUPRO_STRICT_LIMIT: f64 = 0.05;

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
