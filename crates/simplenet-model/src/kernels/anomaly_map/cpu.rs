//! The map on the CPU: scores across first, while they are few, then down.

use rayon::prelude::*;

use super::AnomalyMapPlan;

/// Pixels of the map that a task makes at least, some 60 µs: fewer are made before another thread is awake.
const PIXELS: usize = 1 << 17;

/// Scores (h, w) -> map (H, W), the plan's. Each number is a sum of products in a fixed order.
pub(crate) fn anomaly_map(plan: &AnomalyMapPlan, scores: &[f32]) -> Vec<f32> {
    let AnomalyMapPlan { rows, columns } = plan;
    let width = columns.starts.len();
    let mut map = vec![0f32; rows.starts.len() * width];
    if map.is_empty() {
        return map;
    }
    let mut across = vec![0f32; rows.from * width];
    for (across, scores) in across.chunks_exact_mut(width).zip(scores.chunks_exact(columns.from)) {
        for (x, out) in across.iter_mut().enumerate() {
            let (first, weights) = columns.band(x);
            *out = weights.iter().zip(&scores[first..]).map(|(weight, score)| weight * score).sum();
        }
    }
    map.par_chunks_mut(width).enumerate().with_min_len(PIXELS.div_ceil(width)).for_each(|(y, out)| {
        let (first, weights) = rows.band(y);
        for (weight, line) in weights.iter().zip(across[first * width..].chunks_exact(width)) {
            out.iter_mut().zip(line).for_each(|(out, number)| *out += weight * number);
        }
    });
    map
}
