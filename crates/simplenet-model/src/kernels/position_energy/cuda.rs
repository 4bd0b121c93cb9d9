//! The packed statistics and the launch of `position_energy.cu`.

use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use crate::{
    kernels::cuda::{Argument, Launch, u32_of},
    position_energy::{PositionEnergy, PositionEnergyConfig, ScoreWeights},
};

/// The kernel's own: patches of a block, columns of the whitening that lie together, most threads of a block.
const ROWS: usize = 12;
const BLOCK: usize = 32;
const MOST_THREADS: usize = 512;

/// The statistics on a device.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    /// (h, w, d).
    pub(super) means: Tensor,
    /// (cells, numbers of one), as [`pack`] lays them out.
    pub(super) whitening: Tensor,
}

impl Tables {
    /// # Errors
    /// A device that is out of memory.
    pub(super) fn new(statistics: &PositionEnergy, device: &Device) -> Result<Self> {
        let PositionEnergyConfig { rows, columns, dim, .. } = statistics.config;
        let (cells, numbers) = (statistics.config.cells(), cell_numbers(dim));
        let mut packed = vec![0f32; cells * numbers];
        packed.par_chunks_mut(numbers).enumerate().for_each(|(cell, packed)| pack(statistics, cell, packed));
        Ok(Self {
            means: Tensor::from_slice(&statistics.centre, (rows, columns, dim), device)?,
            whitening: Tensor::from_vec(packed, (cells, numbers), device)?,
        })
    }
}

/// Numbers of one cell's packed whitening.
fn cell_numbers(dim: usize) -> usize {
    let padded = dim.next_multiple_of(BLOCK);
    padded * (padded + BLOCK) / 2
}

/// Columns one after another, in blocks of 32; each holds the outputs from its block's first column on, up to a multiple of
/// 32. Zeros where the triangle has none.
fn pack(statistics: &PositionEnergy, cell: usize, packed: &mut [f32]) {
    let dim = statistics.config.dim;
    let padded = dim.next_multiple_of(BLOCK);
    let mut start = 0;
    for from in (0..dim).step_by(BLOCK) {
        let below = padded - from;
        for output in from..dim {
            let row = statistics.whitening_row(cell, output);
            for (k, &weight) in row[from..].iter().take(BLOCK).enumerate() {
                packed[start + k * below + output - from] = weight;
            }
        }
        start += BLOCK * below;
    }
}

/// Sizes of a run besides the statistics' own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// Numbers from one patch's features to the next's.
    pub(super) stride: usize,
}

/// Projected features `x` (B, h, w, stride) and `scores` (B, h, w) -> `out` (B, h, w). `tables` are the addresses of means
/// and whitening.
pub(super) fn launch(
    config: &PositionEnergyConfig,
    weights: ScoreWeights,
    sizes: &Sizes,
    [means, whitening]: [u64; 2],
    [x, scores]: [u64; 2],
    out: u64,
) -> Launch {
    let Sizes { batch, height, width, stride } = *sizes;
    let PositionEnergyConfig { rows, columns, cell, dim, .. } = *config;
    let patches = batch * cell.min(height) * cell.min(width);
    let blocks = patches.div_ceil(ROWS) * height.div_ceil(cell) * width.div_ceil(cell);
    let threads = dim.next_multiple_of(BLOCK).min(MOST_THREADS);
    let numbers = [batch, height, width, stride, dim, cell, rows, columns];
    let mut arguments: Vec<_> = [x, scores, means, whitening, out].map(Argument::Address).into();
    arguments.extend(numbers.map(u32_of));
    arguments.extend([weights.head, weights.energy, weights.offset].map(Argument::F32));
    Launch {
        op: "position_energy",
        kernel: "position_energy",
        grid: [blocks as u32, 1, 1],
        threads: threads as u32,
        shared_bytes: ((BLOCK + threads / 32) * ROWS * size_of::<f32>()) as u32,
        arguments,
    }
}
