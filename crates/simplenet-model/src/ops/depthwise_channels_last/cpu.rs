//! The fast implementation: a block of neighbouring output columns by one vector of channels in registers.
//!
//! Each loaded number serves every output of the block that it belongs to, and each loaded weight the whole block.
//! The loop is written once over a vector type and compiled once for each instruction set.

use std::ops::Range;

use rayon::prelude::*;

use super::PackedDepthwise;
use crate::ops::Isa;
use crate::ops::channels_last::{COLUMNS, blocks, inside, lanes};
use crate::ops::depthwise_conv::Geometry;
#[cfg(target_arch = "x86_64")]
use crate::ops::simd::{Avx2, Avx512};
use crate::ops::simd::{Plain, Simd};

/// Multiply-adds of vectors that take about 20 microseconds: less is not worth a task.
const MIN_TASK: usize = 80_000;

/// Lengths, kernel and stride are checked by [`PackedDepthwise::forward`].
pub(super) fn forward(layer: &PackedDepthwise, geometry: &Geometry, input: &[f32], out: &mut [f32]) {
    let run: RowFn = match (geometry.kernel, geometry.stride, layer.isa) {
        #[cfg(target_arch = "x86_64")]
        (3, 1, Isa::Avx512) => avx512::<3, 1>,
        #[cfg(target_arch = "x86_64")]
        (3, _, Isa::Avx512) => avx512::<3, 2>,
        #[cfg(target_arch = "x86_64")]
        (_, 1, Isa::Avx512) => avx512::<5, 1>,
        #[cfg(target_arch = "x86_64")]
        (_, _, Isa::Avx512) => avx512::<5, 2>,
        #[cfg(target_arch = "x86_64")]
        (3, 1, Isa::Avx2) => avx2::<3, 1>,
        #[cfg(target_arch = "x86_64")]
        (3, _, Isa::Avx2) => avx2::<3, 2>,
        #[cfg(target_arch = "x86_64")]
        (_, 1, Isa::Avx2) => avx2::<5, 1>,
        #[cfg(target_arch = "x86_64")]
        (_, _, Isa::Avx2) => avx2::<5, 2>,
        (3, 1, _) => scalar::<3, 1>,
        (3, ..) => scalar::<3, 2>,
        (_, 1, _) => scalar::<5, 1>,
        _ => scalar::<5, 2>,
    };
    let row = geometry.output()[1] * layer.lanes_channels;
    if out.is_empty() {
        return;
    }
    let row_cost = row / lanes(layer.isa) * geometry.kernel * geometry.kernel;
    out.par_chunks_exact_mut(row).with_min_len(MIN_TASK.div_ceil(row_cost)).enumerate().for_each(
        |(y, out)| {
            // SAFETY: `layer.isa` is one that `Isa::detect` found on this machine.
            unsafe { run(layer, geometry, input, y, out) }
        },
    );
}

/// Computes output row `y` into `out`.
type RowFn = unsafe fn(&PackedDepthwise, &Geometry, &[f32], usize, &mut [f32]);

unsafe fn scalar<const K: usize, const S: usize>(
    layer: &PackedDepthwise,
    geometry: &Geometry,
    input: &[f32],
    y: usize,
    out: &mut [f32],
) {
    // SAFETY: plain code runs anywhere.
    unsafe { row::<Plain, K, S>(layer, geometry, input, y, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<const K: usize, const S: usize>(
    layer: &PackedDepthwise,
    geometry: &Geometry,
    input: &[f32],
    y: usize,
    out: &mut [f32],
) {
    // SAFETY: this function has the features that `Avx2` needs.
    unsafe { row::<Avx2, K, S>(layer, geometry, input, y, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
fn avx512<const K: usize, const S: usize>(
    layer: &PackedDepthwise,
    geometry: &Geometry,
    input: &[f32],
    y: usize,
    out: &mut [f32],
) {
    // SAFETY: this function has the features that `Avx512` needs.
    unsafe { row::<Avx512, K, S>(layer, geometry, input, y, out) }
}

/// One output row, block by block. Inlined into each of the functions above and compiled there for its instruction
/// set.
///
/// # Safety
/// The caller has the features that `V` needs.
#[inline(always)]
unsafe fn row<V: Simd, const K: usize, const S: usize>(
    layer: &PackedDepthwise,
    geometry: &Geometry,
    input: &[f32],
    y: usize,
    out: &mut [f32],
) {
    let [height, width] = geometry.input;
    let (channels, out_width) = (layer.lanes_channels, geometry.output()[1]);
    // What the reads and writes of the blocks rely on.
    assert!(input.len() == height * width * channels && out.len() == out_width * channels);
    assert!(size_of_val(&layer.numbers[..]) / size_of::<f32>() >= channels * (1 + K * K));
    assert!(channels.is_multiple_of(V::LANES));
    assert!((geometry.kernel, geometry.stride) == (K, S));

    let line = width * channels;
    let rows = inside(y * S, K, geometry.vertical.0, height);
    for (start, count) in blocks(out_width) {
        let taps = (count - 1) * S + K;
        let columns = inside(start * S, taps, geometry.horizontal.0, width);
        // Where the block's first tap would be: outside of the input where that tap lies in the padding.
        let first = ((y * S) as isize - geometry.vertical.0 as isize) * line as isize
            + ((start * S) as isize - geometry.horizontal.0 as isize) * channels as isize;
        let block = Block {
            channels,
            line,
            limit: layer.limit,
            numbers: layer.numbers.as_ptr().cast(),
            input: input.as_ptr().wrapping_offset(first),
            out: out.as_mut_ptr().wrapping_add(start * channels),
        };
        // SAFETY: the instruction set is the caller's. Numbers: every vector of channels has 1 + K·K vectors, asserted
        // above. Reads: `rows` and `columns` are the taps inside of the input; `true` stands for all of them.
        // Writes: `count` columns from `start` lie in the row.
        unsafe {
            if count == 1 {
                block.run::<V, K, S, 1, false>(rows.clone(), columns);
            } else if rows == (0..K) && columns == (0..taps) {
                block.run::<V, K, S, COLUMNS, true>(rows.clone(), columns);
            } else {
                block.run::<V, K, S, COLUMNS, false>(rows.clone(), columns);
            }
        }
    }
}

/// Repeats the body for each number. A loop may be too long for the compiler to unroll, which puts the sums into memory:
/// with plain code and stride 2 that took three times as long.
macro_rules! written_out {
    ($($number:literal)*; $name:ident => $body:block) => {$({
        let $name: usize = $number;
        $body
    })*};
}

/// Some neighbouring columns of an output row.
struct Block {
    /// C'.
    channels: usize,
    /// Numbers in a row of the input.
    line: usize,
    limit: f32,
    numbers: *const f32,
    /// The first tap of the first column.
    input: *const f32,
    out: *mut f32,
}

impl Block {
    /// Computes T columns. Of the K rows and (T - 1)·S + K columns of taps, those of `rows` and `columns` are read;
    /// all of them where `ALL`.
    ///
    /// # Safety
    /// The caller has the features that `V` needs. The taps that are read lie in the input, T columns of output may be
    /// written, and there are (1 + K·K)·`channels` numbers.
    #[inline(always)]
    unsafe fn run<V: Simd, const K: usize, const S: usize, const T: usize, const ALL: bool>(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
        // As many columns of taps as are written out below.
        const { assert!((T - 1) * S + K <= 15) };
        let rows = if ALL { 0..K } else { rows };
        // SAFETY: the caller's promise; `c` is a multiple of LANES below `channels`, which is one too.
        unsafe {
            let (zero, limit) = (V::splat(0.0), V::splat(self.limit));
            for c in (0..self.channels).step_by(V::LANES) {
                let numbers = self.numbers.add(c * (1 + K * K));
                let mut sums = [V::load(numbers); T];
                for ky in rows.clone() {
                    let weights: [V::Vector; K] =
                        std::array::from_fn(|kx| V::load(numbers.add((1 + ky * K + kx) * V::LANES)));
                    let source = self.input.wrapping_add(ky * self.line + c);
                    written_out!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14; column => {
                        if column < (T - 1) * S + K && (ALL || columns.contains(&column)) {
                            let value = V::load(source.wrapping_add(column * self.channels));
                            for (t, sum) in sums.iter_mut().enumerate() {
                                if t * S <= column && column < t * S + K {
                                    *sum = V::multiply_add(weights[column - t * S], value, *sum);
                                }
                            }
                        }
                    });
                }
                for (t, sum) in sums.into_iter().enumerate() {
                    // In this order of arguments what is not a number stays so.
                    V::store(self.out.add(t * self.channels + c), V::min(limit, V::max(zero, sum)));
                }
            }
        }
    }
}
