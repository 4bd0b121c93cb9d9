//! Dense layers on channels-last activations: convolutions of any kernel and stride, and plain matrix products.
//!
//! ```text
//! out[y, x, o] = clamp(Σ over ky, kx, c of weight[o, c, ky, kx] · in[y·s + ky − top, x·s + kx − left, c]
//!                      + bias[o] + residual[y, x, o])
//! ```
//!
//! In: (H, W, C), a pixel's channels consecutive. Out: (h, w, O'), O rounded up to whole vectors, zeros beyond O. Each of
//! in, residual and out is f32, bf16 or bytes ([`Encoding`]); the weights are rounded to what the input is, bytes with a
//! step for each output. It is one matrix product whose rows are read where they lie, through pointers: nothing is unfolded into memory, and
//! taps outside the image point at zeros. Weights are packed once. Every output is summed by one task in a fixed
//! order: results do not depend on the thread count.

#[cfg(any(test, feature = "cuda"))]
pub(crate) mod cuda;
pub(crate) mod packed;
mod product;
pub(crate) mod reference;
pub(crate) mod rows;
mod tensor;
pub(crate) mod tile;

use super::{Isa, aligned::size, encoding::Encoding, isa::Token, team::Team};
use packed::PackedMatrix;
use rows::Rows;
pub(crate) use tensor::{DenseTensor, Reads};
pub(crate) use tile::Clamp;
use tile::{Target, multiply};

/// Sides, kernel, stride and padding of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConvGeometry {
    /// Input height and width.
    pub input: [usize; 2],
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Step in both directions.
    pub stride: usize,
    /// Zero rows above and zero columns to the left.
    pub before: [usize; 2],
    /// Output height and width; what lies below and to the right of the image counts as zeros too.
    pub output: [usize; 2],
}

impl ConvGeometry {
    /// A kernel of odd sides with zeros of half its size all around: the output's sides are the input's over the
    /// stride, rounded up.
    pub(crate) fn centred(input: [usize; 2], kernel: usize, stride: usize) -> Self {
        let output = input.map(|side| side.div_ceil(stride));
        Self { input, kernel: [kernel; 2], stride, before: [kernel / 2; 2], output }
    }

    /// One row after the other, as a matrix product takes them.
    pub(crate) fn rows(count: usize) -> Self {
        Self::centred([count, 1], 1, 1)
    }

    /// Checks that no size which the layer reckons with is beyond memory: `row` values of a row of weights, `stride` of an
    /// input pixel, `outputs` of an output pixel.
    ///
    /// # Panics
    /// One is.
    fn check(&self, row: usize, stride: usize, outputs: usize) {
        let Self { input, kernel, stride: step, before, output } = *self;
        size([row, outputs]);
        size([input[0], input[1], stride]);
        size([output[0], output[1], outputs]);
        for axis in 0..2 {
            let reach = output[axis].checked_mul(step).and_then(|reach| reach.checked_add(kernel[axis]));
            let padded = input[axis].checked_add(before[axis]);
            assert!(
                step > 0 && reach.is_some() && padded.is_some(),
                "dense layer: {self:?} is beyond memory"
            );
        }
    }

    /// Number of output pixels.
    pub(crate) fn pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }
}

/// What a layer reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Input {
    /// Channels that are read at each tap.
    pub depth: usize,
    /// Numbers from one pixel to the next: whole words, and at least `depth` rounded up to whole words where taps can touch
    /// the image's end.
    pub stride: usize,
    /// How they are kept. Bytes whose zero is not 0 go with layers without padding only.
    pub encoding: Encoding,
}

/// What a layer writes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Output {
    /// What is done to each result.
    pub clamp: Clamp,
    /// How results are kept.
    pub encoding: Encoding,
    /// How what is added to them is kept.
    pub residual: Encoding,
}

/// A dense layer with packed weights.
#[derive(Debug, Clone)]
pub(crate) struct Dense {
    token: Token,
    geometry: ConvGeometry,
    input: Encoding,
    /// Words read at each tap, and from one pixel to the next.
    depth: usize,
    stride: usize,
    weights: PackedMatrix,
    bias: Vec<f32>,
    /// What a sum of bytes is worth; empty for other sums.
    scale: Vec<f32>,
    output: Output,
    /// What a tap outside the image reads.
    zeros: Vec<f32>,
}

/// A task's share of the input, in words, should stay in the second-level cache beside a panel of weights.
const BLOCK_WORDS: usize = 96 * 1024;
/// Tasks a thread, so that threads end together.
const TASKS_PER_THREAD: usize = 4;

impl Dense {
    /// Packs a layer of f32. `depth`: channels that are read at each tap; `stride`: numbers from one pixel to the next, at
    /// least `depth` where taps can touch the image's end; `weight(tap, channel, output)`; a bias for each output.
    pub(crate) fn new(
        isa: Isa,
        geometry: ConvGeometry,
        depth: usize,
        stride: usize,
        bias: &[f32],
        clamp: Clamp,
        weight: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let encoding = Encoding::F32;
        let output = Output { clamp, encoding, residual: encoding };
        Self::encoded(isa, geometry, Input { depth, stride, encoding }, output, bias, weight)
    }

    /// Packs a layer; `weight(tap, channel, output)`, and a bias for each output.
    ///
    /// # Panics
    /// Pixels that do not begin at words; padding of bytes whose zero is not 0; sizes beyond memory.
    pub(crate) fn encoded(
        isa: Isa,
        geometry: ConvGeometry,
        input: Input,
        output: Output,
        bias: &[f32],
        weight: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let token = isa.token();
        let Input { depth, stride, encoding } = input;
        let (taps, per_word) = (size(geometry.kernel), encoding.per_word());
        assert!(
            stride.is_multiple_of(per_word),
            "dense layer: pixels of {stride} numbers do not begin at words of {encoding:?}"
        );
        geometry.check(size([taps, depth]), stride, bias.len().next_multiple_of(token.lanes()));
        let mut bias = bias.to_vec();
        let mut scale = Vec::new();
        let outputs = bias.len();
        let weights = match encoding {
            Encoding::F32 => PackedMatrix::new(token, taps * depth, outputs, |row| {
                let (tap, channel, weight) = (row / depth, row % depth, &weight);
                move |output| weight(tap, channel, output)
            }),
            Encoding::Bf16 => PackedMatrix::halves(token, taps, depth, outputs, weight),
            Encoding::U8 { step, zero } => {
                assert!(
                    zero == 0 || taps == 1,
                    "dense layer: padding of bytes whose zero is {zero} is not written"
                );
                let (weights, steps, sums) = PackedMatrix::bytes(token, taps, depth, outputs, weight);
                scale = steps.into_iter().map(|of_weight| of_weight * step).collect();
                for ((bias, scale), sum) in bias.iter_mut().zip(&scale).zip(sums) {
                    *bias -= f32::from(zero) * scale * sum as f32;
                }
                scale.resize(weights.padded_columns(), 0.0);
                weights
            }
        };
        bias.resize(weights.padded_columns(), 0.0);
        let depth = encoding.words(depth);
        let stride = stride / per_word;
        let zeros = vec![0.0; depth];
        Self { token, geometry, input: encoding, depth, stride, weights, bias, scale, output, zeros }
    }

    /// How the input is kept.
    pub(crate) fn input_encoding(&self) -> Encoding {
        self.input
    }

    /// Numbers of one output pixel, O'.
    pub(crate) fn output_stride(&self) -> usize {
        self.weights.padded_columns()
    }

    /// Numbers of the output.
    pub(crate) fn output_len(&self) -> usize {
        self.geometry.pixels() * self.output_stride()
    }

    /// The words that the input must hold at least.
    fn input_len(&self) -> usize {
        let ConvGeometry { input, kernel, stride, before, output } = self.geometry;
        // The last pixel that any tap touches, row by row.
        let last = |axis: usize| {
            let reach = (output[axis].max(1) - 1) * stride + kernel[axis] - 1;
            reach.saturating_sub(before[axis]).min(input[axis].max(1) - 1)
        };
        (last(0) * input[1] + last(1)) * self.stride + self.depth
    }

    /// Runs the layer; allocates nothing once every thread has run a layer of this size. Slices are words.
    ///
    /// # Panics
    /// Slices that are shorter than the layer needs: a mistake in this crate's planning.
    pub(crate) fn forward(
        &self,
        team: &mut Team<'_>,
        input: &[f32],
        residual: Option<&[f32]>,
        out: &mut [f32],
    ) {
        assert!(input.len() >= self.input_len());
        let pixels = self.geometry.pixels();
        let target = self.target(pixels, residual, out);
        // Neighbouring taps share most of what they read.
        let words_per_row = self.depth * self.geometry.kernel[0];
        let most = (BLOCK_WORDS / words_per_row).max(2 * self.token.tile_rows());
        // As many tasks for each thread: with 11 tasks on two threads one of them waits a twelfth of the time.
        let blocks = match pixels.div_ceil(most) {
            0 | 1 => 1,
            blocks => blocks.next_multiple_of(team.threads()),
        };
        let panels = self.weights.panels();
        let groups = (TASKS_PER_THREAD * team.threads()).div_ceil(blocks).min(panels);
        team.for_each(blocks * groups, |task| {
            let (block, group) = (task / groups, task % groups);
            let (start, end) = (pixels * block / blocks, pixels * (block + 1) / blocks);
            let range = panels * group / groups..panels * (group + 1) / groups;
            Rows::taps_of(&self.geometry, input, self.stride, &self.zeros, start..end, |rows| {
                // SAFETY: tasks differ in their rows or in their panels, so no number of `out` has two writers.
                unsafe { multiply(self.token, rows, &self.weights, range, &target, start) };
            });
        });
    }

    /// Where the results of so many pixels go.
    ///
    /// # Panics
    /// Slices that are shorter.
    fn target<'a>(&'a self, pixels: usize, residual: Option<&'a [f32]>, out: &'a mut [f32]) -> Target<'a> {
        let Output { clamp, encoding, residual: residual_encoding } = self.output;
        let numbers = pixels * self.output_stride();
        assert!(out.len() >= encoding.words(numbers));
        assert!(residual.is_none_or(|residual| residual.len() >= residual_encoding.words(numbers)));
        let mut target = Target::new(out, self.output_stride());
        (target.encoding, target.clamp) = (encoding, clamp);
        (target.residual, target.residual_encoding) = (residual, residual_encoding);
        target.bias = Some(&self.bias);
        target.scale = (!self.scale.is_empty()).then_some(&self.scale);
        target
    }

    /// Runs a 1×1 layer of stride 1 on some pixels, on this thread alone: `input` holds just these, `residual` and `out`
    /// at least these.
    ///
    /// # Panics
    /// A layer of another kind; slices that are shorter.
    pub(crate) fn forward_pixels(&self, input: &[f32], residual: Option<&[f32]>, out: &mut [f32]) {
        let ConvGeometry { kernel, stride, .. } = self.geometry;
        let count = input.len() / self.stride;
        assert!(kernel == [1, 1] && stride == 1 && self.depth <= self.stride);
        let target = self.target(count, residual, out);
        Rows::dense(input, self.stride, self.depth, |rows| {
            // SAFETY: `out` is borrowed mutably, and this thread alone writes it.
            unsafe { multiply(self.token, rows, &self.weights, 0..self.weights.panels(), &target, 0) };
        });
    }
}

#[cfg(test)]
mod tests;
