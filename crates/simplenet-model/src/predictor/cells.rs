//! The compiled half of `PositionEnergy` that depends on the place: whitening, cell by cell. In: projected features of
//! whole rows of cells. Out: the discriminator's scores of these places, joined with their energies.

use std::cell::RefCell;

use crate::{
    kernels::{
        Isa,
        aligned::Aligned,
        channels_last::lanes,
        dense::{Clamp, ConvGeometry, Dense},
    },
    position_energy::{PositionEnergy, PositionEnergyConfig, ScoreWeights},
};

/// The whitening of every cell, packed.
#[derive(Debug)]
pub(super) struct Cells {
    config: PositionEnergyConfig,
    /// One a cell: (d) -> (d), lower triangular.
    whitening: Vec<Dense>,
    /// Means, (h, w) rows of the padded width.
    centre: Aligned,
    weights: ScoreWeights,
}

thread_local! {
    /// Centred and whitened features of a cell; kept to save the allocation.
    static CELL: RefCell<[Aligned; 2]> = RefCell::default();
}

impl Cells {
    /// Packs the statistics.
    pub(super) fn compile(isa: Isa, energy: &PositionEnergy) -> Self {
        let config = energy.config;
        let dim = config.dim;
        let no_shift = vec![0.0; dim];
        let whitening: Vec<Dense> = (0..config.cells())
            .map(|cell| {
                let geometry = ConvGeometry::rows(config.cell * config.cell);
                let stride = padded(isa, dim);
                Dense::new(isa, geometry, dim, stride, &no_shift, Clamp::NONE, |_, from, to| {
                    energy.whitening_row(cell, to).get(from).copied().unwrap_or(0.0)
                })
            })
            .collect();
        let stride = padded(isa, dim);
        let mut centre = Aligned::zeros(config.rows * config.columns * stride);
        for (to, from) in centre.chunks_exact_mut(stride).zip(energy.centre.chunks_exact(dim)) {
            to[..dim].copy_from_slice(from);
        }
        Self { config, whitening, centre, weights: energy.weights }
    }

    /// Rows of patches that go together: bands begin at multiples of it.
    pub(super) fn rows_together(&self) -> usize {
        self.config.cell
    }

    /// `projected` holds the features of grid rows from `first_row` on, `width` patches each, of the padded width; the
    /// first row begins a cell. `scores` are the discriminator's and become the patch scores.
    pub(super) fn join(&self, projected: &[f32], first_row: usize, width: usize, scores: &mut [f32]) {
        let PositionEnergyConfig { columns, cell, .. } = self.config;
        let rows = scores.len() / width;
        let stride = projected.len() / scores.len().max(1);
        CELL.with_borrow_mut(|[centred, whitened]| {
            for top in (0..rows).step_by(cell) {
                for left in (0..width).step_by(cell) {
                    let (bottom, right) = ((top + cell).min(rows), (left + cell).min(width));
                    let places = || (top..bottom).flat_map(|y| (left..right).map(move |x| (y, x)));
                    let words = (bottom - top) * (right - left) * stride;
                    let centred = centred.at_least(words);
                    for ((y, x), to) in places().zip(centred.chunks_exact_mut(stride)) {
                        let from = &projected[(y * width + x) * stride..][..stride];
                        let mean = &self.centre[((first_row + y) * columns + x) * stride..][..stride];
                        to.iter_mut()
                            .zip(from.iter().zip(mean))
                            .for_each(|(to, (from, mean))| *to = from - mean);
                    }
                    let dense = &self.whitening[self.config.cell_of(first_row + top, left)];
                    let whitened = whitened.at_least(words);
                    dense.forward_pixels(centred, None, whitened);
                    for ((y, x), z) in places().zip(whitened.chunks_exact(stride)) {
                        let score = &mut scores[y * width + x];
                        *score = self.weights.join(*score, length(z));
                    }
                }
            }
        });
    }
}

/// Numbers of a row of `dim` as a layer of `isa` writes it.
fn padded(isa: Isa, dim: usize) -> usize {
    dim.next_multiple_of(lanes(isa))
}

/// |z|, summed in 16 lanes so that the loop vectorises.
fn length(z: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    for part in z.chunks(16) {
        lanes.iter_mut().zip(part).for_each(|(lane, v)| *lane += v * v);
    }
    lanes.iter().sum::<f32>().sqrt()
}
