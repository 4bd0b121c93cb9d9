//! The fast implementation: a block of neighbouring output columns, of one row or of two, by one vector of channels in
//! registers.
//!
//! Each loaded number serves every output of the block that it belongs to, and each loaded weight a row of the block.
//! The loop is written once over a vector type and compiled once for each instruction set. Two rows at a time where
//! there are registers for it: what limits AVX-512 is how fast lines reach the nearest cache, and two rows share most
//! of theirs.
//!
//! On the layers of EfficientNet-Lite0 at 288 pixels (AMD EPYC, Zen 5, one thread, AVX-512) two rows at a time took
//! 0.78 of the time of one. Tried and not better: prefetching the next rows (1.06 of the time), and a few channels at a
//! time over all rows of a task (0.9 on small images, 1.2 on large ones).

use std::ops::Range;

use super::PackedDepthwise;
use crate::kernels::channels_last::{COLUMNS, blocks, inside};
use crate::kernels::dense::Clamp;
use crate::kernels::geometry::Geometry;
use crate::kernels::isa::{MAX_LANES, Simd, for_each_isa};

/// The most output rows that are computed together.
pub(super) const ROWS: usize = 2;

/// Computes the output rows from `first` on, as many as `out` holds. Lengths, kernel and stride are checked by
/// [`PackedDepthwise::forward`].
pub(super) fn forward(
    layer: &PackedDepthwise,
    geometry: &Geometry,
    input: &[f32],
    out: &mut [f32],
    first: usize,
) {
    if out.is_empty() {
        return;
    }
    match (layer.kernel, layer.stride) {
        (3, 1) => rows::<3, 1>(layer.token, layer, geometry, input, out, first),
        (3, _) => rows::<3, 2>(layer.token, layer, geometry, input, out, first),
        (5, 1) => rows::<5, 1>(layer.token, layer, geometry, input, out, first),
        (5, _) => rows::<5, 2>(layer.token, layer, geometry, input, out, first),
        (_, 1) => rows::<7, 1>(layer.token, layer, geometry, input, out, first),
        _ => rows::<7, 2>(layer.token, layer, geometry, input, out, first),
    }
}

for_each_isa! {
    /// Computes all output rows.
    fn rows<K, S>(layer: &PackedDepthwise, geometry: &Geometry, input: &[f32], out: &mut [f32], first: usize) => rows_of
}

/// All output rows, [`ROWS`] at a time where a vector's registers are many.
#[inline(always)]
fn rows_of<V: Simd, const K: usize, const S: usize>(
    simd: V,
    layer: &PackedDepthwise,
    geometry: &Geometry,
    input: &[f32],
    out: &mut [f32],
    first: usize,
) {
    let row = geometry.output()[1] * layer.lanes_channels;
    let rows = if V::LANES == MAX_LANES { ROWS } else { 1 };
    for (i, out) in out.chunks_mut(rows * row).enumerate() {
        if out.len() == ROWS * row {
            group::<V, K, S, ROWS>(simd, layer, geometry, input, first + i * rows, out);
        } else {
            group::<V, K, S, 1>(simd, layer, geometry, input, first + i * rows, out);
        }
    }
}

/// Computes R output rows from `y`, block by block.
#[inline(always)]
fn group<V: Simd, const K: usize, const S: usize, const R: usize>(
    simd: V,
    layer: &PackedDepthwise,
    geometry: &Geometry,
    input: &[f32],
    y: usize,
    out: &mut [f32],
) {
    let [height, width] = geometry.input;
    let (channels, out_width) = (layer.lanes_channels, geometry.output()[1]);
    // What the reads and writes of the blocks rely on.
    assert!(input.len() == height * width * channels && out.len() == R * out_width * channels);
    assert!(size_of_val(&layer.numbers[..]) / size_of::<f32>() >= channels * (1 + K * K));
    assert!(channels.is_multiple_of(V::LANES));
    assert!((geometry.kernel, geometry.stride) == (K, S));

    let line = width * channels;
    let tall = (R - 1) * S + K;
    let rows = inside(y * S, tall, geometry.vertical.0, height);
    for (start, count) in blocks(out_width) {
        let wide = (count - 1) * S + K;
        let columns = inside(start * S, wide, geometry.horizontal.0, width);
        // Where the block's first tap would be: outside of the input where that tap lies in the padding.
        let first = ((y * S) as isize - geometry.vertical.0 as isize) * line as isize
            + ((start * S) as isize - geometry.horizontal.0 as isize) * channels as isize;
        let block = Block {
            channels,
            line,
            out_line: out_width * channels,
            clamp: layer.clamp,
            numbers: layer.numbers.as_ptr().cast(),
            input: input.as_ptr().wrapping_offset(first),
            out: out.as_mut_ptr().wrapping_add(start * channels),
        };
        // SAFETY: Numbers: every vector of channels has 1 + K·K vectors, asserted
        // above. Reads: `rows` and `columns` are the taps inside of the input; `true` stands for all of them.
        // Writes: `count` columns from `start` lie in each of the R rows.
        unsafe {
            if count == 1 {
                block.run::<V, K, S, R, 1, false>(simd, rows.clone(), columns);
            } else if rows == (0..tall) && columns == (0..wide) {
                block.run::<V, K, S, R, COLUMNS, true>(simd, rows.clone(), columns);
            } else {
                block.run::<V, K, S, R, COLUMNS, false>(simd, rows.clone(), columns);
            }
        }
    }
}

/// The vector at an address.
///
/// # Safety
/// There are as many numbers.
#[inline(always)]
unsafe fn read<V: Simd>(simd: V, from: *const f32) -> V::Vector {
    // SAFETY: the caller's promise.
    simd.read(unsafe { &*from.cast() })
}

/// Repeats the body for each number. A loop may be too long for the compiler to unroll, which puts the sums into
/// memory: with plain code and stride 2 that took three times as long.
macro_rules! written_out {
    ($($number:literal)*; $name:ident => $body:block) => {$({
        let $name: usize = $number;
        $body
    })*};
}

/// Some neighbouring columns of one output row or two.
struct Block {
    /// C'.
    channels: usize,
    /// Numbers in a row of the input.
    line: usize,
    /// Numbers in a row of the output.
    out_line: usize,
    clamp: Clamp,
    numbers: *const f32,
    /// The first tap of the first column.
    input: *const f32,
    out: *mut f32,
}

impl Block {
    /// Computes R rows of T columns. Of the (R - 1)·S + K rows and (T - 1)·S + K columns of taps, those of `rows` and
    /// `columns` are read; all of them where `ALL`.
    ///
    /// # Safety
    /// The taps that are read lie in the input, the R rows of T columns of output may be written by this thread alone, there
    /// are (1 + K·K)·`channels` numbers, and whole vectors of channels.
    #[inline(always)]
    unsafe fn run<
        V: Simd,
        const K: usize,
        const S: usize,
        const R: usize,
        const T: usize,
        const ALL: bool,
    >(
        &self,
        simd: V,
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
        const { assert!(R == 1 || R == 2) };
        let part =
            |from: usize, to: usize| if ALL { from..to } else { from.max(rows.start)..to.min(rows.end) };
        // SAFETY: the caller's promise; `c` is a multiple of LANES below `channels`, which is one too.
        unsafe {
            let (low, high) = (simd.splat(self.clamp.low), simd.splat(self.clamp.high));
            for c in (0..self.channels).step_by(V::LANES) {
                let numbers = self.numbers.add(c * (1 + K * K));
                let mut sums = [[read(simd, numbers); T]; R];
                // Rows of taps of the first output row alone, of both, of the second alone.
                let (first, both) = if R == 1 { (0, K) } else { (S, K) };
                for y in part(0, first) {
                    self.add::<V, K, S, R, T, ALL>(simd, &mut sums, 0..1, c, y, &columns);
                }
                for y in part(first, both) {
                    self.add::<V, K, S, R, T, ALL>(simd, &mut sums, 0..R, c, y, &columns);
                }
                for y in part(both, (R - 1) * S + K) {
                    self.add::<V, K, S, R, T, ALL>(simd, &mut sums, 1..R, c, y, &columns);
                }
                for (r, sums) in sums.into_iter().enumerate() {
                    for (t, sum) in sums.into_iter().enumerate() {
                        // In this order of arguments what is not a number stays so.
                        let clipped = simd.min(high, simd.max(low, sum));
                        simd.write(
                            &mut *self.out.add(r * self.out_line + t * self.channels + c).cast(),
                            clipped,
                        );
                    }
                }
            }
        }
    }

    /// Adds the products of row `y` of the taps to the sums of the output rows `of`, for the channels from `c`.
    ///
    /// # Safety
    /// As for `run`; `y` is one of its rows and at least S for the second output row, below K for the first.
    #[inline(always)]
    unsafe fn add<
        V: Simd,
        const K: usize,
        const S: usize,
        const R: usize,
        const T: usize,
        const ALL: bool,
    >(
        &self,
        simd: V,
        sums: &mut [[V::Vector; T]; R],
        of: Range<usize>,
        c: usize,
        y: usize,
        columns: &Range<usize>,
    ) {
        // As many columns of taps as are written out below.
        const { assert!((T - 1) * S + K <= 17) };
        // SAFETY: the caller's promise; `numbers` has the bias and then K rows of K vectors.
        unsafe {
            let numbers = self.numbers.add(c * (1 + K * K));
            let mut weights = [[simd.splat(0.0); K]; R];
            for r in of.clone() {
                for (kx, weight) in weights[r].iter_mut().enumerate() {
                    *weight = read(simd, numbers.add((1 + (y - r * S) * K + kx) * V::LANES));
                }
            }
            let source = self.input.wrapping_add(y * self.line + c);
            written_out!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; column => {
                if column < (T - 1) * S + K && (ALL || columns.contains(&column)) {
                    let value = read(simd, source.wrapping_add(column * self.channels));
                    for r in of.clone() {
                        for (t, sum) in sums[r].iter_mut().enumerate() {
                            if t * S <= column && column < t * S + K {
                                *sum = simd.multiply_add(weights[r][column - t * S], value, *sum);
                            }
                        }
                    }
                }
            });
        }
    }
}
