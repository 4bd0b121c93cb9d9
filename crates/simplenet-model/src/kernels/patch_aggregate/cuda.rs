//! The tables and the launch of `patch_aggregate.cu`.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::plan::{LayerPlan, Plan};
use crate::{
    bilinear::{Source, sources},
    kernels::cuda::{Argument, Launch, u32_of},
};

const THREADS: u32 = 256;
/// The kernel's own: its parameters name so many maps.
pub(super) const MOST_LAYERS: usize = 4;
/// Outputs, rows and columns of pixels that a block makes, where its shared memory allows: two runs of a warp; half of 36
/// columns would pool the columns at the seam twice.
const CHUNK: usize = 64;
const TILE_ROWS: usize = 4;
const TILE_COLUMNS: usize = 40;
/// Two such blocks and more live on a multiprocessor at once.
const SHARED_BYTES: usize = 40 << 10;
/// Words of a layer's header, as the list in the kernel.
const HEADER: usize = 12;
/// A tap's channel takes what its row and column leave of a word.
const MOST_CHANNELS: usize = 1 << 24;

/// How numbers of a map follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// (B, C, H, W).
    Planar,
    /// (B, H, W, C).
    ChannelsLast,
}

/// What a launch is told besides addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    layers: usize,
    patch_size: usize,
    height: usize,
    width: usize,
    dim: usize,
    tile_rows: usize,
    tile_columns: usize,
    chunk: usize,
    shared_bytes: usize,
}

/// The plan for maps of given sides, on a device.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    pub(super) sizes: Sizes,
    /// Headers, then for each layer where each output's taps begin and, for one that is resized, its sources.
    pub(super) table: Tensor,
    /// Place and weight of each tap.
    pub(super) taps: Tensor,
}

impl Tables {
    /// For maps of these sides, one a layer.
    ///
    /// # Errors
    /// More layers, channels or numbers of a map than the kernel counts; a device that is out of memory.
    pub(super) fn new(plan: &Plan, grids: &[[usize; 2]], order: Order, device: &Device) -> Result<Self> {
        let Some(&first) = grids.first() else { bail!("patch aggregation takes at least one map") };
        if plan.layers.len() > MOST_LAYERS || plan.layers.len() != grids.len() {
            bail!(
                "patch aggregation of {} layers, {MOST_LAYERS} at most, got {} maps",
                plan.layers.len(),
                grids.len()
            );
        }
        let mut table = vec![0; plan.layers.len() * HEADER];
        let mut taps = vec![];
        for (index, (layer, &grid)) in plan.layers.iter().zip(grids).enumerate() {
            let header = add_layer(layer, grid, first, order, &mut table, &mut taps)?;
            table[index * HEADER..][..HEADER].copy_from_slice(&header);
        }
        let (words, tap_words) = (table.len(), taps.len());
        Ok(Self {
            sizes: Sizes::new(plan, grids, first),
            table: Tensor::from_vec(table, words, device)?,
            taps: Tensor::from_vec(taps, tap_words, device)?,
        })
    }
}

/// Appends a layer's part of the tables; gives its header.
fn add_layer(
    layer: &LayerPlan,
    grid: [usize; 2],
    first: [usize; 2],
    order: Order,
    table: &mut Vec<u32>,
    taps: &mut Vec<u32>,
) -> Result<[u32; HEADER]> {
    let ([height, width], channels) = (grid, layer.channels);
    let image = height.saturating_mul(width).saturating_mul(channels);
    if image > i32::MAX as usize || channels > MOST_CHANNELS {
        bail!(
            "patch aggregation: a map of {height} x {width} x {channels} is larger than a kernel can count"
        );
    }
    let [row, column, channel] = match order {
        Order::Planar => [width, 1, height * width],
        Order::ChannelsLast => [width * channels, channels, 1],
    };
    let first_window = table.len();
    for output in 0..layer.outputs.len() {
        table.push((taps.len() / 2) as u32);
        for tap in layer.taps(output) {
            taps.push((tap.channel << 8 | tap.row << 4 | tap.column) as u32);
            taps.push(tap.weight.to_bits());
        }
    }
    table.push((taps.len() / 2) as u32);
    let resized = grid != first;
    let mut add_sources = |from: usize, to: usize| {
        let start = table.len();
        if resized {
            let words = |source: Source| [source.low as u32, source.high as u32, source.share.to_bits()];
            table.extend(sources(from, to).into_iter().flat_map(words));
        }
        start
    };
    let row_sources = add_sources(height, first[0]);
    let column_sources = add_sources(width, first[1]);
    Ok([
        height,
        width,
        image,
        row,
        column,
        channel,
        layer.outputs.start,
        layer.outputs.len(),
        first_window,
        usize::from(resized),
        row_sources,
        column_sources,
    ]
    .map(|field| field as u32))
}

impl Sizes {
    /// The largest tile whose pooled parts fit into a block's shared memory; a single pixel's do.
    fn new(plan: &Plan, grids: &[[usize; 2]], [height, width]: [usize; 2]) -> Self {
        let tiles_across = width.div_ceil(TILE_COLUMNS);
        let mut sizes = Self {
            layers: plan.layers.len(),
            patch_size: plan.patch_size,
            height,
            width,
            dim: plan.dim,
            tile_rows: TILE_ROWS.min(height),
            tile_columns: width.div_ceil(tiles_across),
            chunk: CHUNK.min(plan.dim),
            shared_bytes: 0,
        };
        loop {
            sizes.shared_bytes = sizes.pooled_numbers(plan, grids) * size_of::<f32>();
            let Self { tile_rows, tile_columns, .. } = sizes;
            match sizes.shared_bytes > SHARED_BYTES {
                true if tile_rows > 1 => sizes.tile_rows = tile_rows.div_ceil(2),
                true if tile_columns > 1 => sizes.tile_columns = tile_columns.div_ceil(2),
                _ => return sizes,
            }
        }
    }

    /// Numbers of the resized layers that a block pools, at most.
    fn pooled_numbers(&self, plan: &Plan, grids: &[[usize; 2]]) -> usize {
        let reach = |from: usize, to: usize, tile: usize| {
            let sources = sources(from, to);
            let tiles =
                sources.chunks(tile).filter_map(|tile| Some(tile.last()?.high + 1 - tile.first()?.low));
            tiles.max().unwrap_or(0)
        };
        let layers: Vec<_> = plan
            .layers
            .iter()
            .zip(grids)
            .filter(|(_, grid)| **grid != [self.height, self.width])
            .map(|(layer, &[height, width])| {
                let pixels =
                    reach(height, self.height, self.tile_rows) * reach(width, self.width, self.tile_columns);
                (&layer.outputs, pixels)
            })
            .collect();
        let chunk = |start: usize| -> usize {
            let end = start + self.chunk;
            layers
                .iter()
                .map(|(outputs, pixels)| {
                    outputs.end.min(end).saturating_sub(outputs.start.max(start)) * pixels
                })
                .sum()
        };
        (0..self.dim).step_by(self.chunk).map(chunk).max().unwrap_or(0)
    }

    /// Pixels of an image's result.
    #[cfg(test)]
    pub(super) fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Numbers of a pixel's result.
    #[cfg(test)]
    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    fn blocks(&self, batch: usize) -> usize {
        let tiles = self.height.div_ceil(self.tile_rows) * self.width.div_ceil(self.tile_columns);
        batch * tiles * self.dim.div_ceil(self.chunk)
    }
}

/// Maps of `batch` images in the tables' order -> `out` (B, h, w, D), all of `dtype`, f32 or f16.
pub(super) fn launch(
    dtype: DType,
    sizes: &Sizes,
    batch: usize,
    maps: &[u64],
    [table, taps]: [u64; 2],
    out: u64,
) -> Launch {
    let map = |index: usize| Argument::Address(maps.get(index).copied().unwrap_or(0));
    Launch {
        op: "patch_aggregate",
        kernel: if dtype == DType::F16 { "patch_aggregate_f16" } else { "patch_aggregate_f32" },
        grid: [sizes.blocks(batch) as u32, 1, 1],
        threads: THREADS,
        shared_bytes: sizes.shared_bytes as u32,
        arguments: vec![
            map(0),
            map(1),
            map(2),
            map(3),
            Argument::Address(out),
            Argument::Address(table),
            Argument::Address(taps),
            u32_of(sizes.layers),
            u32_of(sizes.patch_size),
            u32_of(sizes.height),
            u32_of(sizes.width),
            u32_of(sizes.dim),
            u32_of(sizes.tile_rows),
            u32_of(sizes.tile_columns),
            u32_of(sizes.chunk),
        ],
    }
}
