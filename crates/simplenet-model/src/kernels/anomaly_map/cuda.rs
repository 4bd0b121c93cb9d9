//! The tables and the launch of `anomaly_map.cu`.

use candle_core::{Device, Result, Tensor};

use super::plan::Bands;
use crate::kernels::cuda::{Argument, Launch, u32_of};

const THREADS: u32 = 256;
/// Rows and columns of the map that a block makes, and rows of scores that it has at once: the kernel's own.
const TILE: [usize; 2] = [16, 32];
const ROUND: usize = 16;

/// One axis of the plan on a device.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    /// Where each band begins and how long it is.
    pub(super) bands: Tensor,
    /// Weights, (longest band, new positions): a step along the band is a row.
    pub(super) weights: Tensor,
}

impl Tables {
    /// # Errors
    /// A device that is out of memory.
    pub(super) fn new(bands: &Bands, device: &Device) -> Result<Self> {
        let to = bands.starts.len();
        let longest = (0..to).map(|i| bands.band(i).1.len()).max().unwrap_or(0);
        let (mut table, mut across) = (Vec::with_capacity(2 * to), vec![0f32; longest * to]);
        for i in 0..to {
            let (first, weights) = bands.band(i);
            table.extend([first as u32, weights.len() as u32]);
            for (step, &weight) in weights.iter().enumerate() {
                across[step * to + i] = weight;
            }
        }
        Ok(Self {
            bands: Tensor::from_vec(table, (to, 2), device)?,
            weights: Tensor::from_vec(across, (longest, to), device)?,
        })
    }
}

/// `scores` (B, h, w) -> `out` (B, H, W). `tables` are the addresses of bands and weights of the rows, then of the columns.
pub(super) fn launch(
    batch: usize,
    [height, width]: [usize; 2],
    [out_height, out_width]: [usize; 2],
    tables: [u64; 4],
    scores: u64,
    out: u64,
) -> Launch {
    let blocks = batch * out_height.div_ceil(TILE[0]) * out_width.div_ceil(TILE[1]);
    let mut arguments = vec![Argument::Address(scores), Argument::Address(out)];
    arguments.extend(tables.map(Argument::Address));
    arguments.extend([height, width, out_height, out_width].map(u32_of));
    Launch {
        op: "anomaly_map",
        kernel: "anomaly_map",
        grid: [blocks as u32, 1, 1],
        threads: THREADS,
        shared_bytes: (ROUND * TILE[1] * size_of::<f32>()) as u32,
        arguments,
    }
}
