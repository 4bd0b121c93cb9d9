//! One tile of an image: which of its patches count, and its anomaly map.
//!
//! In: patch scores, (rows, columns). Out: the map of the tile's pixels, (height, width); NaN where no patch inside the region of
//! interest is near.

use std::{ops::Range, sync::Arc};

use simplenet_model::anomaly_map::{AnomalyMapConfig, anomaly_map};

/// Share of the smoothing's weight that must lie on patches inside for a pixel to have a score.
const LEAST_REACH: f32 = 1e-3;

/// What of one tile counts.
#[derive(Debug, Clone, PartialEq)]
pub struct TileView {
    /// Its number in the layout.
    pub index: usize,
    /// Rows and columns of patches that no other tile sees better.
    pub own: [Range<usize>; 2],
    /// Which patches are inside the region, row by row; all without it.
    pub inside: Option<Arc<[bool]>>,
}

impl TileView {
    /// A whole photograph.
    pub fn whole() -> Self {
        Self { index: 0, own: [0..usize::MAX, 0..usize::MAX], inside: None }
    }

    /// Whether a patch counts.
    pub fn counts(&self, patch: usize) -> bool {
        self.inside.as_ref().is_none_or(|inside| inside.get(patch) == Some(&true))
    }
}

/// The anomaly map of a tile: of patches inside the region alone, where it does not hold all of them. What lies outside may be
/// anything, a hand or a belt, and must not reach in with the smoothing: the map is a mean of patches inside.
pub(crate) fn tile_map(
    tile: &TileView,
    scores: &[f32],
    (rows, columns): (usize, usize),
    (width, height): (usize, usize),
    config: &AnomalyMapConfig,
) -> Vec<f32> {
    let smooth = |scores: &[f32]| anomaly_map(scores, rows, columns, height, width, config);
    let Some(inside) = &tile.inside else { return smooth(scores) };
    let kept = |(&score, &inside): (&f32, &bool)| if inside { score } else { 0.0 };
    let sums = smooth(&scores.iter().zip(inside.iter()).map(kept).collect::<Vec<_>>());
    let reach = smooth(&inside.iter().map(|&inside| f32::from(u8::from(inside))).collect::<Vec<_>>());
    let mean = |(sum, reach)| if reach >= LEAST_REACH { sum / reach } else { f32::NAN };
    sums.into_iter().zip(reach).map(mean).collect()
}
