//! The formula as it stands, summed in f64 as [`PositionEnergy::energies`] does.

use rayon::prelude::*;

use crate::position_energy::PositionEnergy;

/// Projected features (rows · columns, stride) of one image, of which the first d of each row are read, and scores
/// (rows · columns) -> joined scores.
pub(super) fn join(
    statistics: &PositionEnergy,
    columns: usize,
    stride: usize,
    x: &[f32],
    scores: &[f32],
) -> Vec<f32> {
    let config = statistics.config;
    let joined = |(place, (x, &score)): (usize, (&[f32], &f32))| {
        let (row, column) = (place / columns, place % columns);
        let means = &statistics.centre[(row * config.columns + column) * config.dim..][..config.dim];
        let centred: Vec<f64> =
            x.iter().zip(means).map(|(&x, &mean)| f64::from(x) - f64::from(mean)).collect();
        let cell = config.cell_of(row, column);
        let whitened = (0..config.dim).map(|i| -> f64 {
            statistics.whitening_row(cell, i).iter().zip(&centred).map(|(&w, x)| f64::from(w) * x).sum()
        });
        let energy = whitened.map(|z| z * z).sum::<f64>().sqrt();
        statistics.weights.join(score, energy as f32)
    };
    x.par_chunks_exact(stride).zip(scores).enumerate().map(joined).collect()
}
