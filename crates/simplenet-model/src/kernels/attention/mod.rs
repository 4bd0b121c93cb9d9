//! Multi-head attention of the tokens of one image (Vaswani et al., "Attention Is All You Need", 2017, section 3.2).
//!
//! ```text
//! out[t, h] = Σ over s of softmax over s (q[t, h] · k[s, h] / √depth) · v[s, h]
//! ```
//!
//! In: (tokens, stride) f32, of each token its queries, keys and values, C each, head after head. Out: (tokens, C') of any
//! encoding, C' being C rounded up to whole vectors. A task takes some tokens through all heads; products are the `gemm` crate's,
//! on one thread, so that every sum has one order: results do not depend on the thread count.

#[cfg(test)]
mod reference;

use std::cell::RefCell;

use crate::kernels::{
    Isa,
    channels_last::lanes,
    encoding::{Encoding, convert},
    matmul::{Matrix, multiply},
    team::Team,
};

/// Tokens per task: their weights of one head for 400 tokens are 100 kB.
const TOKENS: usize = 64;

thread_local! {
    /// The weights of a task's tokens, and what it gives before it is encoded; kept to save the allocations.
    static SCRATCH: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// The layer.
#[derive(Debug, Clone)]
pub(crate) struct Attention {
    isa: Isa,
    heads: usize,
    channels: usize,
}

impl Attention {
    /// `channels` is C, a multiple of `heads`.
    pub(crate) fn new(isa: Isa, heads: usize, channels: usize) -> Self {
        Self { isa: isa.or_lower(), heads, channels }
    }

    /// Runs the layer; slices are words.
    ///
    /// # Panics
    /// Lengths that do not fit: a mistake in this crate's planning.
    pub(crate) fn forward(
        &self,
        team: &mut Team<'_>,
        stride: usize,
        input: &[f32],
        out_stride: usize,
        out: &mut [f32],
        encoding: Encoding,
    ) {
        let (channels, depth) = (self.channels, self.channels / self.heads);
        let tokens = input.len() / stride;
        let padded = channels.next_multiple_of(lanes(self.isa));
        let words = encoding.words(padded);
        assert!(3 * channels <= stride && padded == out_stride && out.len() == tokens * words);
        let scale = (depth as f32).sqrt().recip();
        team.for_each_chunk(out, TOKENS * words, |block, out| {
            let count = out.len() / words;
            SCRATCH.with_borrow_mut(|[weights, mixed]| {
                weights.resize(count * tokens, 0.0);
                mixed.clear();
                mixed.resize(count * padded, 0.0);
                for head in 0..self.heads {
                    let part = |part: usize, first: usize, rows: usize| {
                        Matrix::strided(
                            &input[first * stride + part * channels + head * depth..],
                            rows,
                            depth,
                            stride,
                        )
                    };
                    let queries = part(0, block * TOKENS, count);
                    multiply(queries, part(1, 0, tokens).transposed(), weights, tokens);
                    weights.chunks_exact_mut(tokens).for_each(|row| softmax(row, scale));
                    let weights = Matrix::strided(weights, count, tokens, tokens);
                    multiply(weights, part(2, 0, tokens), &mut mixed[head * depth..], padded);
                }
                for (out, mixed) in out.chunks_exact_mut(words).zip(mixed.chunks_exact(padded)) {
                    if encoding == Encoding::F32 {
                        out.copy_from_slice(mixed);
                    } else {
                        convert(self.isa, padded, mixed, Encoding::F32, out, encoding);
                    }
                }
            });
        });
    }
}

/// Partial sums that are kept side by side, so that loops vectorise.
const LANES: usize = 16;

/// exp(scale · x) over the sum of them all, in place.
fn softmax(row: &mut [f32], scale: f32) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    let mut sums = [0.0f32; LANES];
    let (blocks, rest) = row.as_chunks_mut::<LANES>();
    for block in blocks {
        for (sum, v) in sums.iter_mut().zip(block) {
            *v = exp((*v - largest) * scale);
            *sum += *v;
        }
    }
    for (sum, v) in sums.iter_mut().zip(rest) {
        *v = exp((*v - largest) * scale);
        *sum += *v;
    }
    let factor = sums.iter().sum::<f32>().recip();
    row.iter_mut().for_each(|v| *v *= factor);
}

/// Below this e^x counts for nothing beside 1.
const EXP_LIMIT: f32 = -87.0;
/// Added and taken off again, it rounds to whole numbers.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts, the first of few bits, so that its multiples are exact (Cephes, `expf.c`).
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// (e^r − 1 − r) / r² on [−ln 2 / 2, ln 2 / 2], the highest power first (Cephes, `expf.c`).
const EXP: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];

/// e^x for x up to 0, to 2 units in the last place.
#[inline(always)]
fn exp(x: f32) -> f32 {
    let x = if x < EXP_LIMIT { EXP_LIMIT } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let r = x - whole * LN_2[0] - whole * LN_2[1];
    let mut p = EXP[0];
    for factor in &EXP[1..] {
        p = p * r + factor;
    }
    // 2^whole: the low bits of `shifted` are the whole number.
    let power = f32::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    (p * r * r + r + 1.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{encoding::decode, numbers, team::with_team};

    #[test]
    fn exponentials_are_exact_to_rounding() {
        for i in 0..8700 {
            let x = -(i as f32) / 100.0;
            let (got, want) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((got - want).abs() <= 3e-7 * want, "{x}: {got}, not {want}");
        }
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn agrees_with_the_reference_for_any_number_of_threads() {
        for (tokens, heads, depth, stride) in
            [(1, 1, 4, 12), (5, 2, 3, 32), (64, 2, 16, 96), (197, 6, 64, 1152)]
        {
            let channels = heads * depth;
            let input: Vec<f32> = numbers(tokens * stride, 7).iter().map(|v| 2.0 * v).collect();
            let mut want = vec![0.0; tokens * channels];
            reference::attention(heads, channels, stride, &input, &mut want);
            for isa in Isa::available() {
                let padded = channels.next_multiple_of(lanes(isa));
                let layer = Attention::new(isa, heads, channels);
                for (encoding, tolerance) in
                    [(Encoding::F32, 2e-6), (Encoding::Bf16, 0.01), (Encoding::around_zero(2.0), 0.01)]
                {
                    let run = |threads: usize| {
                        let mut got = vec![f32::NAN; tokens * encoding.words(padded)];
                        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                        pool.install(|| {
                            with_team(|team| layer.forward(team, stride, &input, padded, &mut got, encoding));
                        });
                        decode(&got, encoding)
                    };
                    let got = run(1);
                    assert_eq!(got, run(3), "threads change the result");
                    for (got, want) in got.chunks(padded).zip(want.chunks(channels)) {
                        for (g, w) in got.iter().zip(want) {
                            assert!(
                                (g - w).abs() <= tolerance,
                                "{tokens} {heads} {encoding:?}: {g}, not {w}"
                            );
                        }
                    }
                }
            }
        }
    }
}
