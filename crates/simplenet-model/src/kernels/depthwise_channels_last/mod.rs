//! Depthwise convolution of channels-last activations. In: (H, W, C') f32, row-major. Out: (h, w, C') f32.
//!
//! For channel c, with clip(v) = min(max(v, low), high) and x zero-padded:
//!
//! ```text
//! y[oy, ox, c] = clip(Σ weight[c, ky, kx] · x[oy·stride + ky, ox·stride + kx, c] + bias[c])
//! ```
//!
//! C' is C rounded up to whole vectors. The channels beyond C hold zeros and stay zeros.
//!
//! No padded copy is made: taps that lie in the padding are left out. The taps of an output are summed in the order of ky,
//! then kx, whichever band of rows it is computed in.
//!
//! [`PackedDepthwise`] is the compiled network's on the CPU, [`DepthwiseTensor`] takes batches, on a GPU too.

mod cpu;
#[cfg(any(test, feature = "cuda"))]
mod cuda;
pub(crate) mod reference;
mod tensor;

pub(crate) use tensor::DepthwiseTensor;

use crate::kernels::Isa;
use crate::kernels::aligned::size;
use crate::kernels::channels_last::lanes;
use crate::kernels::dense::Clamp;
use crate::kernels::geometry::Geometry;
use crate::kernels::isa::{MAX_LANES, Token};
use crate::kernels::team::Team;

/// As many numbers as a cache line holds, so that no load of a vector crosses a line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; MAX_LANES]);

/// One layer's numbers in the order in which the kernel reads them, worked out once.
#[derive(Debug, Clone)]
pub(crate) struct PackedDepthwise {
    kernel: usize,
    stride: usize,
    /// C'.
    lanes_channels: usize,
    clamp: Clamp,
    token: Token,
    /// For each vector of channels: the bias, then the k·k taps. Flat: (C' / LANES, 1 + k·k, LANES).
    numbers: Vec<Line>,
}

impl PackedDepthwise {
    /// `weight` is (C, k, k), flat; `bias` is (C). An `isa` that this machine lacks falls back to a lower one; C' is rounded for the one that was asked for.
    ///
    /// # Panics
    /// A kernel other than 3, 5 or 7, a stride other than 1 or 2, a weight that does not fit the bias, no channels, a clamp whose bounds
    /// are not in order.
    pub(crate) fn new(
        kernel: usize,
        stride: usize,
        weight: &[f32],
        bias: &[f32],
        clamp: Clamp,
        isa: Isa,
    ) -> Self {
        assert!(
            matches!(kernel, 3 | 5 | 7) && matches!(stride, 1 | 2),
            "depthwise convolution: kernel 3, 5 or 7 and stride 1 or 2, got {kernel} and {stride}"
        );
        let (channels, taps) = (bias.len(), kernel * kernel);
        assert!(
            channels > 0 && weight.len() == channels * taps,
            "depthwise convolution: weight (C, {kernel}, {kernel}) and bias (C), got lengths {} and {channels}",
            weight.len()
        );
        assert!(clamp.low <= clamp.high, "depthwise convolution: a clamp of {clamp:?}");
        let lanes_channels = channels.next_multiple_of(lanes(isa));
        let token = isa.token();
        let vector = token.lanes();
        let count = size([lanes_channels, 1 + taps]);
        let mut numbers = vec![Line([0.0; MAX_LANES]); count.div_ceil(MAX_LANES)];
        for (c, (bias, weight)) in bias.iter().zip(weight.chunks_exact(taps)).enumerate() {
            for (row, &number) in std::iter::once(bias).chain(weight).enumerate() {
                let place = (c / vector * (1 + taps) + row) * vector + c % vector;
                numbers[place / MAX_LANES].0[place % MAX_LANES] = number;
            }
        }
        Self { kernel, stride, lanes_channels, clamp, token, numbers }
    }

    /// C', the channels of the input and the output with the zeros that fill the last vector.
    pub(crate) fn lanes_channels(&self) -> usize {
        self.lanes_channels
    }

    /// `input` is (H, W, C'), `out` (h, w, C') with the sides of `geometry`, which are the layer's kernel and stride.
    /// Runs on this thread alone and allocates nothing: [`crate::kernels::inverted_residual`] shares the work by bands.
    ///
    /// # Panics
    /// A geometry of another kernel or stride, lengths that do not fit it, sides beyond memory.
    pub(crate) fn forward(&self, geometry: &Geometry, input: &[f32], out: &mut [f32]) {
        self.check(geometry, input, out);
        cpu::forward(self, geometry, input, out, 0);
    }

    fn check(&self, geometry: &Geometry, input: &[f32], out: &[f32]) {
        let ([height, width], [out_height, out_width]) = (geometry.input, geometry.output());
        assert!(
            (geometry.kernel, geometry.stride) == (self.kernel, self.stride),
            "depthwise convolution: kernel {} and stride {}, got {} and {}",
            self.kernel,
            self.stride,
            geometry.kernel,
            geometry.stride
        );
        let expected =
            [[height, width], [out_height, out_width]].map(|[h, w]| size([h, w, self.lanes_channels]));
        assert!(
            [input.len(), out.len()] == expected,
            "depthwise convolution: lengths {expected:?} of input and output, got {:?}",
            [input.len(), out.len()]
        );
    }

    /// The same with the output's rows shared among a team.
    ///
    /// # Panics
    /// As [`PackedDepthwise::forward`].
    pub(crate) fn forward_rows(
        &self,
        team: &mut Team<'_>,
        geometry: &Geometry,
        input: &[f32],
        out: &mut [f32],
    ) {
        self.check(geometry, input, out);
        let row = geometry.output()[1] * self.lanes_channels;
        team.for_each_chunk(out, cpu::ROWS * row, |block, out| {
            cpu::forward(self, geometry, input, out, block * cpu::ROWS);
        });
    }
}

#[cfg(test)]
mod tests;
