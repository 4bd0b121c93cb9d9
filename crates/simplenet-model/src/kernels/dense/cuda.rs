//! The launches of `dense.cu`: which tile, how many blocks, which sizes.

use candle_core::DType;

use super::{Clamp, ConvGeometry};
use crate::kernels::cuda::{Argument, Launch, blocks, u32_of};

/// What one block computes: so many rows (output pixels) by so many columns (outputs).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tile {
    rows: usize,
    columns: usize,
    threads: u32,
    shared_bytes: u32,
    names: [&'static str; 2],
}

/// Stages of the ring in shared memory, and halves of a row of each.
const HALF_STAGES: usize = 4;
const HALF_DEPTH: usize = 32;
/// Floats beyond a row of a tile in shared memory.
const HALF_PAD: usize = 8;

/// A tile of `dense.cu`'s `HalfTile`: the ring of stages, or the tile's sums where these are more.
const fn half(rows: usize, columns: usize, threads: u32, names: [&'static str; 2]) -> Tile {
    let ring = HALF_STAGES * (rows + columns) * HALF_DEPTH * 2;
    let sums = rows * (columns + HALF_PAD) * 4;
    Tile { rows, columns, threads, shared_bytes: if ring > sums { ring } else { sums } as u32, names }
}

/// A tile of `FloatTile`: two stages of 16 numbers of both operands.
const fn float(edge: usize, names: [&'static str; 2]) -> Tile {
    Tile {
        rows: edge,
        columns: edge,
        threads: 256,
        shared_bytes: (2 * 2 * 16 * (edge + 4) * 4) as u32,
        names,
    }
}

/// Largest first. Whichever is taken, a sum has the same bits. The end of the head has one tile a type: there the order of the
/// sum over the outputs depends on it. The names are those of the kernel that stores and of the one that ends the head, if there is one.
const HALVES: [Tile; 3] = [
    half(128, 128, 256, ["dense_f16_128x128", "leaky_dot_f16_128x128"]),
    half(128, 64, 128, ["dense_f16_128x64", ""]),
    half(64, 64, 128, ["dense_f16_64x64", ""]),
];
const HALVES_TO_FLOATS: [Tile; 1] = [half(64, 64, 128, ["dense_f16_to_f32_64x64", ""])];
const FLOATS: [Tile; 2] =
    [float(128, ["dense_f32_128x128", "leaky_dot_f32_128x128"]), float(64, ["dense_f32_64x64", ""])];

/// What a tile's sums become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Store = 0,
    LeakyDot = 1,
}

/// The tiles for numbers of type `from`, results of type `to`, largest first.
pub(crate) fn tiles(from: DType, to: DType, end: End) -> Vec<Tile> {
    let all: &[Tile] = match (from, to, end) {
        (DType::F16, DType::F32, End::Store) => &HALVES_TO_FLOATS,
        (DType::F16, ..) => &HALVES,
        _ => &FLOATS,
    };
    all.iter().filter(|tile| !tile.names[end as usize].is_empty()).copied().collect()
}

impl Tile {
    /// The largest of some tiles that gives every multiprocessor work; where none does, the one of the most blocks. A tile
    /// whose second half of columns would be empty is passed over.
    pub(crate) fn best(tiles: &[Tile], rows: usize, columns: usize, processors: usize) -> Option<Tile> {
        let fits = |tile: &&Tile| columns > tile.columns / 2 && tile.blocks(rows, columns) >= processors;
        tiles.iter().find(fits).or(tiles.last()).copied()
    }

    fn blocks(&self, rows: usize, columns: usize) -> usize {
        rows.div_ceil(self.rows) * self.across(columns)
    }

    /// Blocks side by side.
    pub(crate) fn across(&self, columns: usize) -> usize {
        columns.div_ceil(self.columns)
    }
}

/// The sizes of a layer over a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) geometry: ConvGeometry,
    pub(crate) batch: usize,
    /// Numbers that are read at each tap, and from one pixel to the next.
    pub(crate) depth: usize,
    pub(crate) pixel: usize,
    pub(crate) outputs: usize,
}

impl Sizes {
    /// Rows of the product.
    pub(crate) fn rows(&self) -> usize {
        self.batch * self.geometry.pixels()
    }

    fn arguments(&self) -> Vec<Argument> {
        let ConvGeometry { input, kernel, stride, before, output } = self.geometry;
        let k = kernel[0] * kernel[1] * self.depth;
        [
            self.rows(),
            self.outputs,
            k,
            self.depth,
            self.pixel,
            input[0],
            input[1],
            kernel[1],
            stride,
            before[0],
            before[1],
            output[0],
            output[1],
        ]
        .map(u32_of)
        .to_vec()
    }

    fn launch(&self, tile: &Tile, end: End, mut arguments: Vec<Argument>) -> Launch {
        arguments.extend(self.arguments());
        Launch {
            op: "dense",
            kernel: tile.names[end as usize],
            grid: [tile.blocks(self.rows(), self.outputs) as u32, 1, 1],
            threads: tile.threads,
            shared_bytes: tile.shared_bytes,
            arguments,
        }
    }
}

/// Where a layer's numbers lie: x (B, H, W, pixel), weight (outputs, k), bias (outputs) f32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operands {
    pub(crate) x: u64,
    pub(crate) weight: u64,
    pub(crate) bias: u64,
}

/// -> `out` (B, h, w, outputs); `residual` of the same shape and type, or 0.
pub(crate) fn store(
    sizes: &Sizes,
    tile: &Tile,
    clamp: Clamp,
    from: Operands,
    residual: u64,
    out: u64,
) -> Launch {
    let addresses = [from.x, from.weight, from.bias, residual, out].map(Argument::Address);
    let clamp = [clamp.low, clamp.high].map(Argument::F32);
    sizes.launch(tile, End::Store, addresses.into_iter().chain(clamp).collect())
}

/// -> `out` (rows) f32, by way of `partial` (rows, tile.across(outputs)) f32; `tail` (outputs) f32.
pub(crate) fn leaky_dot(
    sizes: &Sizes,
    tile: &Tile,
    slope: f32,
    from: Operands,
    tail: u64,
    partial: u64,
    out: u64,
) -> [Launch; 2] {
    const THREADS: u32 = 256;
    let addresses = [from.x, from.weight, from.bias, tail, partial].map(Argument::Address);
    let arguments = addresses.into_iter().chain([Argument::F32(slope)]).collect();
    let sum = Launch {
        op: "dense",
        kernel: "sum_parts",
        grid: [blocks(sizes.rows(), THREADS), 1, 1],
        threads: THREADS,
        shared_bytes: 0,
        arguments: vec![
            Argument::Address(partial),
            Argument::Address(out),
            u32_of(sizes.rows()),
            u32_of(tile.across(sizes.outputs)),
        ],
    };
    [sizes.launch(tile, End::LeakyDot, arguments), sum]
}
