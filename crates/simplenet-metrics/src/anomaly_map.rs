//! One image: its anomaly map and the truth about its pixels.
//!
//! Comes in: scores and a mask of one size. Goes out: the same, checked, and cut into anomalous runs and the normal
//! stretches between them.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::MetricError;
use crate::components::{Connectivity, Run, areas, label_runs, pixels};
use crate::score_key::{first_non_finite, key};
use crate::steps::pack;

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

impl<'a> AnomalyMap<'a> {
    /// Scores of the normal pixels, row by row.
    pub(crate) fn normal_scores(&self) -> impl Iterator<Item = f32> + '_ {
        self.scores.iter().zip(self.mask).filter(|&(_, &mask)| mask == 0).map(|(&score, _)| score)
    }

    /// The map's size fits its slices, and its scores are finite. `image`: its index, for the message.
    pub(crate) fn check(&self, image: usize) -> Result<(), MetricError> {
        let Self { scores, mask, width, height } = *self;
        let expected = pixels(width, height)?;
        if scores.len() != expected || mask.len() != expected {
            let (scores, mask) = (scores.len(), mask.len());
            return Err(MetricError::ShapeMismatch { image, width, height, expected, scores, mask });
        }
        check_finite(image, scores, width)
    }

    /// The anomalous pixels as runs of a row, with the area of each 8-connected region.
    pub(crate) fn regions(&self) -> (Vec<Run>, Vec<u32>) {
        let (runs, regions) = label_runs(self.mask, self.width, Connectivity::Eight);
        let areas = areas(&runs, regions);
        (runs, areas)
    }

    /// The pixels of `runs` as packed keys ([`crate::steps::pack`]); `areas` as [`Self::regions`] gives them.
    pub(crate) fn packed(&self, runs: &[Run], areas: &[u32]) -> Vec<u64> {
        let mut packed = Vec::with_capacity(areas.iter().map(|&area| area as usize).sum());
        for run in runs {
            packed.extend(self.under(run).iter().map(|&score| pack(key(score), areas[run.region])));
        }
        packed
    }

    /// The scores under a run.
    pub(crate) fn under(&self, run: &Run) -> &'a [f32] {
        &self.scores[run.y * self.width..][run.start..run.end]
    }

    /// The scores between `runs`, which are all runs of the mask.
    pub(crate) fn between<'r>(&self, runs: &'r [Run]) -> impl Iterator<Item = &'a [f32]> + use<'a, 'r> {
        let Self { scores, width, .. } = *self;
        let ends = runs.iter().map(move |run| (run.y * width + run.start, run.y * width + run.end));
        let mut start = 0;
        ends.chain([(scores.len(), scores.len())]).map(move |(end, next)| {
            let normal = &scores[start..end];
            start = next;
            normal
        })
    }
}

/// Refuses scores that are not finite. `image`: its index, for the message.
pub(crate) fn check_finite(image: usize, scores: &[f32], width: usize) -> Result<(), MetricError> {
    match first_non_finite(scores) {
        Some(index) => {
            let (x, y) = (index % width, index / width);
            Err(MetricError::NonFinitePixel { image, x, y, value: scores[index] })
        }
        None => Ok(()),
    }
}

/// Checks every map: there are pixels, sizes fit, scores are finite. The first fault in order is reported.
pub(crate) fn checked(maps: &[AnomalyMap<'_>]) -> Result<(), MetricError> {
    let faults: Vec<Result<(), MetricError>> =
        (0..maps.len()).into_par_iter().map(|image| maps[image].check(image)).collect();
    faults.into_iter().collect::<Result<(), _>>()?;
    if maps.iter().all(|map| map.scores.is_empty()) { Err(MetricError::Empty) } else { Ok(()) }
}
