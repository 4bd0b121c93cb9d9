//! 3×3 convolution of stride 1 by Winograd's minimal filtering F(4×4, 3×3) (Lavin and Gray, "Fast Algorithms for
//! Convolutional Neural Networks", 2015, section 4.3), on channels-last activations.
//!
//! ```text
//! out = clamp(conv3x3(in, zero padding 1) + bias + residual)
//! Y = Aᵀ [ Σ over c of (G g Gᵀ) ⊙ (Bᵀ d B) ] A     for each tile of 4×4 outputs, d being its 6×6 inputs
//! ```
//!
//! A quarter of the multiplications of the direct form: 36 for 16 outputs instead of 144. They are 36 matrix products,
//! one for each position in the 6×6 tile, over all tiles. Filters are transformed once, in f64. Rounding grows by the
//! transforms' factors: with the reference suite's inputs the error is below 1e-5 of the output's size.
//! Every product is summed by one task in a fixed order: results do not depend on the thread count.

mod transform;

use rayon::prelude::*;

use super::dense::{
    Clamp,
    packed::PackedMatrix,
    tile::{self, Rows, Target},
};
use super::{Isa, encoding::Encoding, team::Team};
use transform::{Image, OutputTile, TileSource};

/// Outputs along a side of a tile.
const TILE: usize = 4;
/// Inputs along a side of a tile.
const REACH: usize = TILE + 2;
/// Matrix products a layer.
const POSITIONS: usize = REACH * REACH;

/// G of the paper: from 3 taps to 6 positions.
const FILTER: [[f64; 3]; REACH] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// A 3×3 layer with transformed, packed filters.
#[derive(Debug, Clone)]
pub struct Winograd {
    isa: Isa,
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
    pub fn new(
        isa: Isa,
        [height, width]: [usize; 2],
        channels: usize,
        stride: usize,
        bias: &[f32],
        clamp: Clamp,
        weight: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let isa = isa.or_lower();
        let outputs = bias.len();
        // For each channel: position after position, all outputs.
        let mut transformed = vec![0.0; channels * POSITIONS * outputs];
        transformed.par_chunks_mut(POSITIONS * outputs).enumerate().for_each(|(channel, transformed)| {
            for output in 0..outputs {
                let taps: [f64; 9] = std::array::from_fn(|tap| f64::from(weight(tap, channel, output)));
                for (position, value) in filter(&taps).into_iter().flatten().enumerate() {
                    transformed[position * outputs + output] = value as f32;
                }
            }
        });
        let filters = PackedMatrix::stack(isa, POSITIONS, channels, outputs, |position, channel| {
            let row = &transformed[(channel * POSITIONS + position) * outputs..][..outputs];
            move |output| row[output]
        });
        let mut padded_bias = bias.to_vec();
        padded_bias.resize(filters[0].padded_columns(), 0.0);
        Self { isa, height, width, stride, filters, bias: padded_bias, clamp }
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
        [POSITIONS * self.tiles() * self.stride, POSITIONS * self.tiles() * self.output_stride()]
    }

    fn tile_rows(&self) -> usize {
        self.height.div_ceil(TILE)
    }

    fn tile_columns(&self) -> usize {
        self.width.div_ceil(TILE)
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
            // SAFETY: `isa` was bounded by what the machine has. `inputs` holds POSITIONS x tiles x stride numbers, and
            // this task alone writes those of its tile.
            unsafe {
                transform::input(self.isa, &source, transformed.at(tile * self.stride), tiles * self.stride)
            };
        });

        let stride = self.output_stride();
        let product = Shared(products.as_mut_ptr());
        team.for_each(POSITIONS, |position| {
            let filter = &self.filters[position];
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
                // SAFETY: as above; `depth` channels are within a tile's stride; `products` holds POSITIONS x tiles x
                // stride numbers, and this task alone writes those of its position.
                unsafe { tile::multiply(self.isa, &rows, filter, 0..filter.panels(), &target, 0) };
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
            unsafe { transform::output(self.isa, &products[tile * stride..], tiles * stride, &to) };
        });
    }

    /// Calls `run(tile, y, x)` for each tile and its first output pixel, a row of tiles a task.
    fn for_each_tile(&self, team: &Team<'_>, run: impl Fn(usize, usize, usize) + Sync) {
        team.for_each(self.tile_rows(), |row| {
            for column in 0..self.tile_columns() {
                run(row * self.tile_columns() + column, row * TILE, column * TILE);
            }
        });
    }
}

/// G g Gᵀ.
fn filter(taps: &[f64; 9]) -> [[f64; REACH]; REACH] {
    let side = |[a, b, c]: [f64; 3]| FILTER.map(|row| row[0] * a + row[1] * b + row[2] * c);
    let rows: [[f64; REACH]; 3] =
        std::array::from_fn(|y| side([taps[3 * y], taps[3 * y + 1], taps[3 * y + 2]]));
    let columns: [[f64; REACH]; REACH] = std::array::from_fn(|j| side([rows[0][j], rows[1][j], rows[2][j]]));
    std::array::from_fn(|i| std::array::from_fn(|j| columns[j][i]))
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
