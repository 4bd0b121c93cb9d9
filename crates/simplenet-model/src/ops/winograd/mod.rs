//! 3×3 convolution of stride 1 by Winograd's minimal filtering F(4×4, 3×3) or F(3×3, 3×3) (Lavin and Gray, "Fast
//! Algorithms for Convolutional Neural Networks", 2015, section 4), on channels-last activations.
//!
//! ```text
//! out = clamp(conv3x3(in, zero padding 1) + bias + residual)
//! Y = Aᵀ [ Σ over c of (G g Gᵀ) ⊙ (Bᵀ d B) ] A     for each tile of T×T outputs, d being its (T + 2)×(T + 2) inputs
//! ```
//!
//! A quarter of the multiplications of the direct form with T = 4 (36 for 16 outputs instead of 144), 0.31 with T = 3. They
//! are (T + 2)² matrix products, one for each position in the tile, over all tiles. The tile is the one that multiplies
//! less for the image's sides, the smaller one where they are equal: on 18×18 pixels five tiles of 4 cover 20, six of 3
//! just 18, with 0.7 of the weights to read. Filters are transformed once, in f64. Rounding grows by the transforms'
//! factors: with the reference suite's inputs the error is below 1e-5 of the output's size.
//! Every product is summed by one task in a fixed order: results do not depend on the thread count.

mod transform;

use rayon::prelude::*;

use super::dense::{
    Clamp,
    packed::PackedMatrix,
    tile::{self, Rows, Target},
};
use super::{Isa, channels_last::lanes, encoding::Encoding, team::Team};
use transform::{Image, OutputTile, TileSource};

/// G for tiles of 4: from 3 taps to 6 positions, the points 0, 1, −1, 2, −2 and infinity.
const FILTER_4: [[f64; 3]; 6] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];
/// G for tiles of 3: the points 0, 1, −1, 2 and infinity.
const FILTER_3: [[f64; 3]; 5] = [
    [1.0 / 2.0, 0.0, 0.0],
    [-1.0 / 2.0, -1.0 / 2.0, -1.0 / 2.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 6.0, 1.0 / 3.0, 2.0 / 3.0],
    [0.0, 0.0, 1.0],
];

/// Outputs along a side of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tile {
    /// 3, from 5 inputs.
    Three,
    /// 4, from 6 inputs.
    Four,
}

impl Tile {
    /// The one with fewer multiplications for an image of these sides.
    pub fn best(sides: [usize; 2]) -> Self {
        let cost = |tile: Self| tile.positions() * tile.count(sides[0]) * tile.count(sides[1]);
        if cost(Self::Four) < cost(Self::Three) { Self::Four } else { Self::Three }
    }

    fn outputs(self) -> usize {
        match self {
            Self::Three => 3,
            Self::Four => 4,
        }
    }

    /// Tiles along a side.
    fn count(self, side: usize) -> usize {
        side.div_ceil(self.outputs())
    }

    /// Matrix products a layer.
    fn positions(self) -> usize {
        (self.outputs() + 2).pow(2)
    }

    fn filter(self) -> &'static [[f64; 3]] {
        match self {
            Self::Three => &FILTER_3,
            Self::Four => &FILTER_4,
        }
    }
}

/// A 3×3 layer with transformed, packed filters.
#[derive(Debug, Clone)]
pub struct Winograd {
    isa: Isa,
    tile: Tile,
    height: usize,
    width: usize,
    /// Numbers a pixel of the input: a whole number of vectors.
    stride: usize,
    filters: Vec<PackedMatrix>,
    bias: Vec<f32>,
    clamp: Clamp,
}

impl Winograd {
    /// Transforms a layer for images of this size. `channels` of the input's `stride` numbers a pixel are read (the
    /// stride is a multiple of the instruction set's lanes); `weight(tap, channel, output)` with taps row by row.
    ///
    /// # Panics
    /// A stride that is not whole vectors or below the channels.
    pub fn new(
        isa: Isa,
        tile: Tile,
        [height, width]: [usize; 2],
        channels: usize,
        stride: usize,
        bias: &[f32],
        clamp: Clamp,
        weight: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let isa = isa.or_lower();
        assert!(
            channels <= stride && stride.is_multiple_of(lanes(isa)),
            "Winograd: {channels} channels in pixels of {stride} numbers, whole vectors of {}",
            lanes(isa)
        );
        let (outputs, positions) = (bias.len(), tile.positions());
        // For each channel: position after position, all outputs.
        let mut transformed = vec![0.0; channels * positions * outputs];
        transformed.par_chunks_mut(positions * outputs).enumerate().for_each(|(channel, transformed)| {
            for output in 0..outputs {
                let taps: [f64; 9] = std::array::from_fn(|tap| f64::from(weight(tap, channel, output)));
                for (position, value) in filter(tile, &taps).enumerate() {
                    transformed[position * outputs + output] = value as f32;
                }
            }
        });
        let filters = PackedMatrix::stack(isa, positions, channels, outputs, |position, channel| {
            let row = &transformed[(channel * positions + position) * outputs..][..outputs];
            move |output| row[output]
        });
        let mut padded_bias = bias.to_vec();
        padded_bias.resize(filters[0].padded_columns(), 0.0);
        Self { isa, tile, height, width, stride, filters, bias: padded_bias, clamp }
    }

    /// Numbers of one output pixel: the outputs, rounded up to whole vectors.
    pub fn output_stride(&self) -> usize {
        self.bias.len()
    }

    /// Numbers of the output.
    pub fn output_len(&self) -> usize {
        self.height * self.width * self.output_stride()
    }

    /// Numbers of the two scratch buffers: transformed inputs and products.
    pub fn scratch_lens(&self) -> [usize; 2] {
        [self.stride, self.output_stride()].map(|stride| self.tile.positions() * self.tiles() * stride)
    }

    fn tile_rows(&self) -> usize {
        self.tile.count(self.height)
    }

    fn tile_columns(&self) -> usize {
        self.tile.count(self.width)
    }

    fn tiles(&self) -> usize {
        self.tile_rows() * self.tile_columns()
    }

    /// Runs the layer.
    ///
    /// # Panics
    /// Slices that are shorter than the layer needs: a mistake in this crate's planning.
    pub fn forward(
        &self,
        team: &Team<'_>,
        input: &[f32],
        residual: Option<&[f32]>,
        out: &mut [f32],
        scratch: [&mut [f32]; 2],
    ) {
        let [inputs, products] = scratch;
        let tiles = self.tiles();
        let [inputs_len, products_len] = self.scratch_lens();
        assert!(input.len() >= self.height * self.width * self.stride && out.len() >= self.output_len());
        assert!(inputs.len() >= inputs_len && products.len() >= products_len);
        assert!(residual.is_none_or(|residual| residual.len() >= self.output_len()));

        let image = Image { data: input, height: self.height, width: self.width, stride: self.stride };
        let transformed = Shared(inputs.as_mut_ptr());
        self.for_each_tile(team, |tile, y, x| {
            let source = TileSource { image: &image, y, x };
            // SAFETY: `isa` was bounded by what the machine has. `inputs` holds positions x tiles x stride numbers, and
            // this task alone writes those of its tile.
            unsafe {
                let (to, step) = (transformed.at(tile * self.stride), tiles * self.stride);
                match self.tile {
                    Tile::Three => transform::input::<5>(self.isa, &source, to, step),
                    Tile::Four => transform::input::<6>(self.isa, &source, to, step),
                }
            };
        });

        let stride = self.output_stride();
        let product = Shared(products.as_mut_ptr());
        // As many tasks for each thread.
        let positions = self.tile.positions();
        let groups = if positions.is_multiple_of(team.threads()) { 1 } else { team.threads() };
        team.for_each(positions * groups, |task| {
            let (position, group) = (task / groups, task % groups);
            let filter = &self.filters[position];
            let panels = filter.panels() * group / groups..filter.panels() * (group + 1) / groups;
            let rows = &inputs[position * tiles * self.stride..][..tiles * self.stride];
            super::dense::with_row_pointers(rows, self.stride, |pointers| {
                let rows = Rows { pointers, taps: 1, depth: filter.rows(), count: tiles };
                let target = Target {
                    out: product.at(position * tiles * stride).cast(),
                    encoding: Encoding::F32,
                    stride,
                    residual: std::ptr::null(),
                    residual_encoding: Encoding::F32,
                    bias: std::ptr::null(),
                    scale: std::ptr::null(),
                    clamp: Clamp::NONE,
                };
                // SAFETY: as above; `depth` channels are within a tile's stride; `products` holds positions x tiles x
                // stride numbers, and this task alone writes those of its position and panels.
                unsafe { tile::multiply(self.isa, &rows, filter, panels, &target, 0) };
            });
        });

        let target = Shared(out.as_mut_ptr());
        self.for_each_tile(team, |tile, y, x| {
            let to = OutputTile {
                out: target.at(0),
                residual: residual.map_or(std::ptr::null(), <[f32]>::as_ptr),
                bias: &self.bias,
                clamp: self.clamp,
                height: self.height,
                width: self.width,
                y,
                x,
            };
            // SAFETY: as above; out and residual hold height x width x stride numbers, and this task alone writes the
            // pixels of its tile.
            unsafe {
                let (products, step) = (&products[tile * stride..], tiles * stride);
                match self.tile {
                    Tile::Three => transform::output::<5, 3>(self.isa, products, step, &to),
                    Tile::Four => transform::output::<6, 4>(self.isa, products, step, &to),
                }
            };
        });
    }

    /// Calls `run(tile, y, x)` for each tile and its first output pixel, a row of tiles a task.
    fn for_each_tile(&self, team: &Team<'_>, run: impl Fn(usize, usize, usize) + Sync) {
        team.for_each(self.tile_rows(), |row| {
            for column in 0..self.tile_columns() {
                let side = self.tile.outputs();
                run(row * self.tile_columns() + column, row * side, column * side);
            }
        });
    }
}

/// G g Gᵀ, position after position.
fn filter(tile: Tile, taps: &[f64; 9]) -> impl Iterator<Item = f64> + '_ {
    let along = |of: &[f64; 3], [a, b, c]: [f64; 3]| of[0] * a + of[1] * b + of[2] * c;
    tile.filter().iter().flat_map(move |of_rows| {
        tile.filter().iter().map(move |of_columns| {
            let row = |y: usize| along(of_columns, [taps[3 * y], taps[3 * y + 1], taps[3 * y + 2]]);
            along(of_rows, [row(0), row(1), row(2)])
        })
    })
}

/// The start of a buffer that tasks write disjoint parts of.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: only an address; those who write through it answer for disjoint places.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    fn at(&self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

#[cfg(test)]
mod tests;
