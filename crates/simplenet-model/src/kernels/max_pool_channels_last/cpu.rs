//! The fast implementation: a block of neighbouring output columns by one vector of channels in registers. A column's
//! maximum over the three rows serves both windows that share it.

use std::ops::Range;

use crate::kernels::channels_last::{COLUMNS, blocks, inside};
use crate::kernels::encoding::{self, Encoding, RAW};
use crate::kernels::geometry::Geometry;
use crate::kernels::isa::{Simd, Token, for_each_isa};
use crate::kernels::team::Team;

/// Sides of the window, and its step.
const K: usize = 3;
const STEP: usize = 2;
/// Vectors of output that take about 20 microseconds: less is not worth a task.
const MIN_TASK: usize = 8_000;

/// Lengths are checked by the module's `forward`
pub(super) fn forward(
    team: &mut Team<'_>,
    token: Token,
    geometry: &Geometry,
    channels: usize,
    encoding: Encoding,
    input: &[f32],
    out: &mut [f32],
) {
    if out.is_empty() {
        return;
    }
    let vectors = geometry.output()[1] * channels / token.lanes();
    let line = encoding.words(geometry.output()[1] * channels);
    let rows = MIN_TASK.div_ceil(vectors);
    team.for_each_chunk(out, rows * line, |task, out| {
        for (y, out) in out.chunks_exact_mut(line).enumerate() {
            let run = match encoding {
                Encoding::F32 => row::<0>,
                Encoding::Bf16 => row::<1>,
                Encoding::U8 { .. } => row::<2>,
            };
            run(token, geometry, channels, input, task * rows + y, out);
        }
    });
}

for_each_isa! {
    /// Computes output row `y` into `out`, encoded as [`RAW`]`[E]`.
    fn row<E>(geometry: &Geometry, channels: usize, input: &[f32], y: usize, out: &mut [f32]) => row_of
}

/// One output row, block by block.
#[inline(always)]
fn row_of<S: Simd, const E: usize>(
    simd: S,
    geometry: &Geometry,
    channels: usize,
    input: &[f32],
    y: usize,
    out: &mut [f32],
) {
    let [height, width] = geometry.input;
    let [out_height, out_width] = geometry.output();
    let words = |numbers: usize| RAW[E].words(numbers);
    assert!(input.len() == words(height * width * channels) && out.len() == words(out_width * channels));
    assert!(y < out_height && channels.is_multiple_of(S::LANES));
    assert!((geometry.kernel, geometry.stride) == (K, STEP));

    let line = width * channels;
    let rows = inside(y * STEP, K, geometry.vertical.0, height);
    for (start, count) in blocks(out_width) {
        let taps = (count - 1) * STEP + K;
        let columns = inside(start * STEP, taps, geometry.horizontal.0, width);
        // Where the block's first tap would be: outside of the input where that tap lies in the padding.
        let first = ((y * STEP) as isize - geometry.vertical.0 as isize) * line as isize
            + ((start * STEP) as isize - geometry.horizontal.0 as isize) * channels as isize;
        let block = Block { channels, line, input, first, start: start * channels };
        if count == 1 {
            block.run::<S, E, 1, false>(simd, rows.clone(), columns, out);
        } else if rows == (0..K) && columns == (0..taps) {
            block.run::<S, E, COLUMNS, true>(simd, rows.clone(), columns, out);
        } else {
            block.run::<S, E, COLUMNS, false>(simd, rows.clone(), columns, out);
        }
    }
}

/// Some neighbouring columns of an output row.
struct Block<'a> {
    /// C'.
    channels: usize,
    /// Numbers in a row of the input.
    line: usize,
    input: &'a [f32],
    /// The first tap of the first column, in numbers.
    first: isize,
    /// The first number that is written.
    start: usize,
}

impl Block<'_> {
    /// Computes T columns into a row. Of the K rows and (T - 1)·2 + K columns of taps, those of `rows` and `columns` are
    /// read; all of them where `ALL`.
    #[inline(always)]
    fn run<S: Simd, const E: usize, const T: usize, const ALL: bool>(
        &self,
        simd: S,
        rows: Range<usize>,
        columns: Range<usize>,
        out: &mut [f32],
    ) {
        let rows = if ALL { 0..K } else { rows };
        for c in (0..self.channels).step_by(S::LANES) {
            let mut best = [simd.splat(f32::NEG_INFINITY); T];
            for column in 0..(T - 1) * STEP + K {
                if !ALL && !columns.contains(&column) {
                    continue;
                }
                let source = self.first + (column * self.channels + c) as isize;
                let mut tallest = simd.splat(f32::NEG_INFINITY);
                for ky in rows.clone() {
                    let at = (source + (ky * self.line) as isize) as usize;
                    tallest = simd.max(tallest, encoding::load(simd, self.input, at, RAW[E]));
                }
                for (t, best) in best.iter_mut().enumerate() {
                    if t * STEP <= column && column < t * STEP + K {
                        *best = simd.max(*best, tallest);
                    }
                }
            }
            for (t, best) in best.into_iter().enumerate() {
                encoding::store(simd, out, self.start + t * self.channels + c, RAW[E], best);
            }
        }
    }
}
