//! The fast implementation: a block of neighbouring output columns by one vector of channels in registers. A column's
//! maximum over the three rows serves both windows that share it.

use std::ops::Range;

use crate::ops::Isa;
use crate::ops::channels_last::{COLUMNS, blocks, inside, lanes};
use crate::ops::encoding::{self, Encoded, Encoding, RAW};
use crate::ops::geometry::Geometry;
use crate::ops::simd::for_each_isa;
use crate::ops::team::Team;

/// Sides of the window, and its step.
const K: usize = 3;
const S: usize = 2;
/// Vectors of output that take about 20 microseconds: less is not worth a task.
const MIN_TASK: usize = 8_000;

/// Lengths are checked by the module's `forward`; `isa` is one that this machine has.
pub(super) fn forward(
    team: &mut Team<'_>,
    isa: Isa,
    geometry: &Geometry,
    channels: usize,
    encoding: Encoding,
    input: &[f32],
    out: &mut [f32],
) {
    if out.is_empty() {
        return;
    }
    let vectors = geometry.output()[1] * channels / lanes(isa);
    let line = encoding.words(geometry.output()[1] * channels);
    let rows = MIN_TASK.div_ceil(vectors);
    team.for_each_chunk(out, rows * line, |task, out| {
        for (y, out) in out.chunks_exact_mut(line).enumerate() {
            // SAFETY: `isa` is one that this machine has.
            unsafe {
                match encoding {
                    Encoding::F32 => row::<0>(isa, geometry, channels, input, task * rows + y, out),
                    Encoding::Bf16 => row::<1>(isa, geometry, channels, input, task * rows + y, out),
                    Encoding::U8 { .. } => row::<2>(isa, geometry, channels, input, task * rows + y, out),
                }
            }
        }
    });
}

for_each_isa! {
    /// Computes output row `y` into `out`, encoded as [`RAW`]`[E]`.
    ///
    /// # Safety
    /// The machine has `isa`.
    row<E> => row_of(geometry: &Geometry, channels: usize, input: &[f32], y: usize, out: &mut [f32]) -> ()
}

/// One output row, block by block.
///
/// # Safety
/// The caller has the features that `V` needs.
#[inline(always)]
unsafe fn row_of<V: Encoded, const E: usize>(
    geometry: &Geometry,
    channels: usize,
    input: &[f32],
    y: usize,
    out: &mut [f32],
) {
    let [height, width] = geometry.input;
    let [out_height, out_width] = geometry.output();
    // What the reads and writes of the blocks rely on.
    let words = |numbers: usize| RAW[E].words(numbers);
    assert!(input.len() == words(height * width * channels) && out.len() == words(out_width * channels));
    assert!(y < out_height && channels.is_multiple_of(V::LANES));
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
            input: input.as_ptr().cast(),
            first,
            out: out.as_mut_ptr().cast(),
            start: start * channels,
        };
        // SAFETY: the instruction set is the caller's. Reads: `rows` and `columns` are the taps inside of the input;
        // `true` stands for all of them. Writes: the row has `count` columns from `start`.
        unsafe {
            if count == 1 {
                block.run::<V, E, 1, false>(rows.clone(), columns);
            } else if rows == (0..K) && columns == (0..taps) {
                block.run::<V, E, COLUMNS, true>(rows.clone(), columns);
            } else {
                block.run::<V, E, COLUMNS, false>(rows.clone(), columns);
            }
        }
    }
}

/// Some neighbouring columns of an output row.
struct Block {
    /// C'.
    channels: usize,
    /// Numbers in a row of the input.
    line: usize,
    input: *const u8,
    /// The first tap of the first column, in numbers.
    first: isize,
    out: *mut u8,
    /// The first number that is written.
    start: usize,
}

impl Block {
    /// Computes T columns. Of the K rows and (T - 1)·S + K columns of taps, those of `rows` and `columns` are read;
    /// all of them where `ALL`.
    ///
    /// # Safety
    /// The caller has the features that `V` needs. The taps that are read lie in the input, and T columns of output
    /// may be written.
    #[inline(always)]
    unsafe fn run<V: Encoded, const E: usize, const T: usize, const ALL: bool>(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
        let rows = if ALL { 0..K } else { rows };
        // SAFETY: the caller's promise; `c` is a multiple of LANES below `channels`, which is one too.
        unsafe {
            for c in (0..self.channels).step_by(V::LANES) {
                let mut best = [V::splat(f32::NEG_INFINITY); T];
                for column in 0..(T - 1) * S + K {
                    if !ALL && !columns.contains(&column) {
                        continue;
                    }
                    let source = self.first + (column * self.channels + c) as isize;
                    let mut tallest = V::splat(f32::NEG_INFINITY);
                    for ky in rows.clone() {
                        let at = (source + (ky * self.line) as isize) as usize;
                        tallest = V::max(tallest, encoding::load::<V>(self.input, at, RAW[E]));
                    }
                    for (t, best) in best.iter_mut().enumerate() {
                        if t * S <= column && column < t * S + K {
                            *best = V::max(*best, tallest);
                        }
                    }
                }
                for (t, best) in best.into_iter().enumerate() {
                    encoding::store::<V>(self.out, self.start + t * self.channels + c, RAW[E], best);
                }
            }
        }
    }
}
