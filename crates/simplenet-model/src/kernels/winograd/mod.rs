//! 3×3 convolution by Winograd's minimal filtering F(4×4, 3×3) or F(3×3, 3×3), with stride 2 in two phases (Lavin and Gray, "Fast
//! Algorithms for Convolutional Neural Networks", 2015, section 4), on channels-last activations.
//!
//! ```text
//! out = clamp(conv3x3(in, stride, zero padding 1) + bias + residual)
//! Y = Aᵀ [ Σ over c of (G g Gᵀ) ⊙ (Bᵀ d B) ] A     for each tile of T×T outputs, d being its R×R inputs
//! ```
//!
//! A quarter of the multiplications of the direct form with T = 4 (36 for 16 outputs instead of 144), 0.31 with T = 3. They
//! are R² matrix products, one for each position in the tile, over all tiles. With stride 2 the outer taps meet the inputs
//! at odd places only, a filter of two taps for which F(3, 2) takes 4 products instead of 6, and the middle tap the even
//! ones: 7 products for 3 outputs instead of 9 along each side, 0.6 in both. Positions of the middle tap share a filter. The tile is the one that multiplies
//! less for the image's sides, the smaller one where they are equal: on 18×18 pixels five tiles of 4 cover 20, six of 3
//! just 18, with 0.7 of the weights to read. Filters are transformed once, in f64. Rounding grows by the transforms'
//! factors: with the reference suite's inputs the error is below 1e-5 of the output's size.
//! Every product is summed by one task in a fixed order: results do not depend on the thread count.

mod tile;
mod transform;

use rayon::prelude::*;

use super::dense::{
    Clamp,
    packed::PackedMatrix,
    rows::Rows,
    tile::{Target, multiply},
};
use super::{Isa, aligned::size, isa::Token, team::Team};
pub(crate) use tile::Tile;
use tile::{Group, MOST_POSITIONS};
use transform::{Image, OutputTile, TileSource};

/// A 3×3 layer with transformed, packed filters.
#[derive(Debug, Clone)]
pub(crate) struct Winograd {
    token: Token,
    tile: Tile,
    height: usize,
    width: usize,
    /// Numbers a pixel of the input: a whole number of vectors.
    stride: usize,
    groups: Vec<Group>,
    /// One for each group.
    filters: Vec<PackedMatrix>,
    bias: Vec<f32>,
    clamp: Clamp,
}

impl Winograd {
    /// Transforms a layer for inputs of this size. `channels` of the input's `stride` numbers a pixel are read (the
    /// stride is a multiple of the instruction set's lanes); `weight(tap, channel, output)` with taps row by row.
    ///
    /// # Panics
    /// A stride that is not whole vectors or below the channels; sizes beyond memory.
    pub(crate) fn new(
        isa: Isa,
        tile: Tile,
        [height, width]: [usize; 2],
        channels: usize,
        stride: usize,
        bias: &[f32],
        clamp: Clamp,
        weight: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let token = isa.token();
        assert!(
            channels <= stride && stride.is_multiple_of(token.lanes()),
            "Winograd: {channels} channels in pixels of {stride} numbers, whole vectors of {}",
            token.lanes()
        );
        let (outputs, groups) = (bias.len(), tile.groups());
        // All that is multiplied later: the image, and what the tiles make of it.
        let sides = [height, width].map(|side| side.next_multiple_of(tile.outputs() * tile.stride()));
        size([sides[0], sides[1], stride.max(outputs.next_multiple_of(token.lanes())), tile.positions()]);
        let count = groups.len();
        // For each channel: filter after filter, all outputs.
        let mut transformed = vec![0.0; channels * count * outputs];
        transformed.par_chunks_mut(count * outputs).enumerate().for_each(|(channel, transformed)| {
            for output in 0..outputs {
                let taps: [f64; 9] = std::array::from_fn(|tap| f64::from(weight(tap, channel, output)));
                for (index, group) in groups.iter().enumerate() {
                    transformed[index * outputs + output] = tile.transformed(&taps, group.filter) as f32;
                }
            }
        });
        let filters = PackedMatrix::stack(token, count, channels, outputs, |index, channel| {
            let row = &transformed[(channel * count + index) * outputs..][..outputs];
            move |output| row[output]
        });
        let mut padded_bias = bias.to_vec();
        padded_bias.resize(filters[0].padded_columns(), 0.0);
        Self { token, tile, height, width, stride, groups, filters, bias: padded_bias, clamp }
    }

    /// Numbers of one output pixel: the outputs, rounded up to whole vectors.
    pub(crate) fn output_stride(&self) -> usize {
        self.bias.len()
    }

    /// Sides of the output.
    pub(crate) fn output(&self) -> [usize; 2] {
        [self.height, self.width].map(|side| side.div_ceil(self.tile.stride()))
    }

    /// Numbers of the output.
    pub(crate) fn output_len(&self) -> usize {
        let [height, width] = self.output();
        height * width * self.output_stride()
    }

    /// Numbers of the two scratch buffers: transformed inputs and products.
    pub(crate) fn scratch_lens(&self) -> [usize; 2] {
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
    pub(crate) fn forward(
        &self,
        team: &mut Team<'_>,
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

        let mut places: [usize; MOST_POSITIONS] = self.tile.places();
        places.iter_mut().for_each(|place| *place *= tiles);
        let image = Image { data: input, height: self.height, width: self.width, stride: self.stride };
        let transformed = Shared(inputs.as_mut_ptr());
        self.for_each_tile(team, |tile, y, x| {
            let source = TileSource { image: &image, y, x };
            // SAFETY: `inputs` holds positions x tiles x stride numbers, and this task alone writes those of its tile.
            unsafe {
                let to = transformed.at(tile * self.stride);
                match self.tile {
                    Tile::Three => transform::input::<5>(self.token, &source, to, &places),
                    Tile::Four => transform::input::<6>(self.token, &source, to, &places),
                    Tile::ThreeWithStride2 => transform::input::<7>(self.token, &source, to, &places),
                }
            };
        });

        let stride = self.output_stride();
        // As many tasks for each thread.
        let (groups, threads) = (self.groups.len(), team.threads());
        let parts = if groups.is_multiple_of(threads) { 1 } else { threads };
        let inputs = &*inputs;
        let target = Target::new(&mut *products, stride);
        team.for_each(groups * parts, |task| {
            let (index, part) = (task / parts, task % parts);
            let (Group { first, count, .. }, filter) = (self.groups[index], &self.filters[index]);
            let panels = filter.panels() * part / parts..filter.panels() * (part + 1) / parts;
            let rows = &inputs[first * tiles * self.stride..][..count * tiles * self.stride];
            Rows::dense(rows, self.stride, filter.rows(), |rows| {
                // SAFETY: this task alone writes the rows of its group in its panels.
                unsafe { multiply(self.token, rows, filter, panels, &target, first * tiles) };
            });
        });

        let [height, width] = self.output();
        let target = Shared(out.as_mut_ptr());
        self.for_each_tile(team, |tile, y, x| {
            let to = OutputTile {
                out: target.at(0),
                residual,
                bias: &self.bias,
                clamp: self.clamp,
                height,
                width,
                y,
                x,
            };
            // SAFETY: out holds the output's numbers, and this task alone writes the pixels of its tile.
            unsafe {
                let products = &products[tile * stride..];
                match self.tile {
                    Tile::Three => transform::output::<5, 3>(self.token, products, &places, &to),
                    Tile::Four => transform::output::<6, 4>(self.token, products, &places, &to),
                    Tile::ThreeWithStride2 => transform::output::<7, 3>(self.token, products, &places, &to),
                }
            };
        });
    }

    /// Calls `run(tile, y, x)` for each tile and its first output pixel, a row of tiles a task.
    fn for_each_tile(&self, team: &mut Team<'_>, run: impl Fn(usize, usize, usize) + Sync) {
        team.for_each(self.tile_rows(), |row| {
            for column in 0..self.tile_columns() {
                let side = self.tile.outputs();
                run(row * self.tile_columns() + column, row * side, column * side);
            }
        });
    }
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
