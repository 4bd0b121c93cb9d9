//! The overlap of regions with what is predicted, over the steps of a ranking. Comes in: a ranking of all pixels of a set.
//! Goes out: the points of its PRO curve, the area under it. `pro` has the definition.

use crate::MetricError;
use crate::ranking::Ranking;
use crate::steps::{Fold, Step, Totals};
use crate::sum::Sum;
use crate::thin::thin_curve;

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

/// The PRO curve of a ranking.
pub(crate) fn curve_of(ranking: &Ranking) -> Result<Vec<ProPoint>, MetricError> {
    Ok(points_of(ranking)?.collect())
}

/// The PRO curve of a ranking, thinned as by [`crate::thin_curve`] while it is walked down.
pub(crate) fn thin_curve_of(ranking: &Ranking, parts: usize) -> Result<Vec<ProPoint>, MetricError> {
    let rates = |point: &ProPoint| (point.false_positive_rate, point.region_overlap);
    Ok(thin_curve(points_of(ranking)?, rates, parts))
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
            region_overlap: if found == totals.positives {
                1.0
            } else {
                overlap.value() / ranking.regions as f64
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
    if limit > 0.0 && limit <= 1.0 { Ok(()) } else { Err(MetricError::InvalidLimit { limit }) }
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
