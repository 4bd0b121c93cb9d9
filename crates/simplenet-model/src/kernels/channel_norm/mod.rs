//! Layer norm over the channels of each position of a channels-last map (Ba, Kiros and Hinton, "Layer Normalization", 2016).
//!
//! ```text
//! y[p, c] = (x[p, c] − mean over c of x[p]) / √(variance over c of x[p] + ε) · weight[c] + bias[c]
//! ```
//!
//! In: (positions, stride) f32, of which the first C values of each are in use. Out: (positions, C') of any encoding, C' being C
//! rounded up to whole vectors, zeros beyond C. Sums go in 16 lanes that are added in one order: results depend neither on the
//! instruction set nor on the thread count.

#[cfg(test)]
mod reference;

use std::cell::RefCell;

use crate::kernels::{
    Isa,
    channels_last::lanes,
    encoding::{Encoding, convert},
    team::Team,
};

/// Partial sums that are kept side by side, so that loops vectorise.
const LANES: usize = 16;
/// Positions per task.
const POSITIONS: usize = 16;

thread_local! {
    /// A position's values before they are encoded; kept to save the allocation.
    static ROW: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// A layer's values.
#[derive(Debug, Clone)]
pub(crate) struct ChannelNorm {
    isa: Isa,
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

impl ChannelNorm {
    /// `weight` and `bias` are (C).
    pub(crate) fn new(isa: Isa, weight: Vec<f32>, bias: Vec<f32>, epsilon: f32) -> Self {
        Self { isa: isa.or_lower(), weight, bias, epsilon }
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
        out: &mut [f32],
        encoding: Encoding,
    ) {
        let channels = self.weight.len();
        let padded = channels.next_multiple_of(lanes(self.isa));
        let words = encoding.words(padded);
        let positions = input.len() / stride;
        assert!(channels <= stride && out.len() == positions * words);
        team.for_each_chunk(out, POSITIONS * words, |block, out| {
            let rows = input.chunks_exact(stride).skip(block * POSITIONS);
            ROW.with_borrow_mut(|row| {
                for (out, x) in out.chunks_exact_mut(words).zip(rows) {
                    if encoding == Encoding::F32 {
                        self.normalise(&x[..channels], out);
                    } else {
                        row.resize(padded, 0.0);
                        self.normalise(&x[..channels], row);
                        convert(self.isa, padded, row, Encoding::F32, out, encoding);
                    }
                }
            });
        });
    }

    /// One position.
    fn normalise(&self, x: &[f32], out: &mut [f32]) {
        let count = x.len() as f32;
        let mean = lane_sum(x, |v| v) / count;
        let variance = lane_sum(x, |v| (v - mean) * (v - mean)) / count;
        let factor = (variance + self.epsilon).sqrt().recip();
        let (values, rest) = out.split_at_mut(x.len());
        for ((out, x), (weight, bias)) in values.iter_mut().zip(x).zip(self.weight.iter().zip(&self.bias)) {
            *out = (x - mean) * factor * weight + bias;
        }
        rest.fill(0.0);
    }
}

/// Σ f(x), in [`LANES`] partial sums.
fn lane_sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        sums.iter_mut().zip(block).for_each(|(sum, &v)| *sum += f(v));
    }
    sums.iter_mut().zip(rest).for_each(|(sum, &v)| *sum += f(v));
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{encoding::decode, numbers, team::with_team};

    #[test]
    fn agrees_with_the_reference_in_every_encoding() {
        for isa in Isa::available() {
            for (positions, channels, stride) in [(1, 1, 4), (3, 7, 16), (50, 96, 96), (401, 384, 384)] {
                let input: Vec<f32> = numbers(positions * stride, 1).iter().map(|v| 3.0 * v + 0.7).collect();
                let (weight, bias) = (numbers(channels, 2), numbers(channels, 3));
                let mut want = vec![0.0; positions * channels];
                reference::layer_norm(stride, &input, &weight, &bias, 1e-6, &mut want);
                let layer = ChannelNorm::new(isa, weight, bias, 1e-6);
                let padded = channels.next_multiple_of(lanes(isa));
                for (encoding, tolerance) in
                    [(Encoding::F32, 2e-6), (Encoding::Bf16, 0.02), (Encoding::around_zero(4.0), 0.02)]
                {
                    let mut got = vec![f32::NAN; positions * encoding.words(padded)];
                    with_team(|team| layer.forward(team, stride, &input, &mut got, encoding));
                    for (got, want) in decode(&got, encoding).chunks(padded).zip(want.chunks(channels)) {
                        for (g, w) in got.iter().zip(want) {
                            assert!((g - w).abs() <= tolerance, "{isa:?} {channels}: {g}, not {w}");
                        }
                        assert!(got[channels..].iter().all(|&v| v == 0.0), "{isa:?} {channels}: padding");
                    }
                }
            }
        }
    }
}
