//! The block of mobile networks as one op: 1×1 expansion, depthwise convolution, 1×1 projection, and the sum with the
//! input where shapes allow it (Sandler et al., "MobileNetV2", 2018), on channels-last activations.
//!
//! ```text
//! out = project(depthwise(expand(in))) (+ in)
//! ```
//!
//! The maps in between are six times as wide as those around: at 144×144 pixels they do not fit the second-level cache.
//! So the output is made in bands of rows: a task expands the rows that its band reads, filters and projects them while
//! they are in the cache, and the block has one barrier instead of three. Rows at a band's edge are expanded twice. Every
//! number is computed as the three layers by themselves compute it, bit for bit.
//!
//! The output is f32, and so is the depthwise convolution. What the two dense layers read is converted to what their
//! weights are (bf16, bytes) band by band.

use std::cell::RefCell;

use super::{
    Isa,
    aligned::Aligned,
    dense::Dense,
    depthwise_channels_last::PackedDepthwise,
    encoding::{Encoding, convert},
    geometry::Geometry,
    team::Team,
};

/// Numbers of a band's maps in between. EfficientNet-Lite0 at 288 pixels, two threads of an EPYC of the Zen 5 kind (1 MiB
/// of second-level cache each): 3.5 ms with 80 x 1024, 2.8 with 160, 2.5 with 240, 2.3 with 320 to 480, 2.4 with 800;
/// fewer bands expand fewer rows twice. The three layers one after the other took 4.2.
const BAND_NUMBERS: usize = 400 * 1024;

thread_local! {
    /// A thread's maps in between; kept to save the allocation.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The maps of a band.
#[derive(Default)]
struct Scratch {
    expanded: Aligned,
    filtered: Aligned,
    /// Another map in another encoding.
    converted: Aligned,
}

/// The packed layers of a block.
#[derive(Debug, Clone)]
pub(crate) struct InvertedResidual {
    /// Which kernels convert.
    pub(crate) isa: Isa,
    /// How the input is kept; f32 where it is added.
    pub(crate) input: Encoding,
    /// None where the depthwise layer reads the block's input.
    pub(crate) expand: Option<Dense>,
    pub(crate) depthwise: PackedDepthwise,
    pub(crate) geometry: Geometry,
    pub(crate) project: Dense,
    /// Whether the input is added.
    pub(crate) residual: bool,
}

impl InvertedResidual {
    /// Rows of a band, so that its maps fit, and threads get as many bands each.
    fn band_rows(&self, threads: usize) -> usize {
        let Geometry { input: [_, width], kernel, stride, .. } = self.geometry;
        let [height, out_width] = self.geometry.output();
        let hidden = self.depthwise.lanes_channels();
        let (a_row, an_input_row) = (out_width * hidden, width * hidden);
        // rows · a_row + ((rows − 1) · stride + kernel) · an_input_row <= BAND_NUMBERS
        let halo = kernel.saturating_sub(stride) * an_input_row;
        let most = (BAND_NUMBERS.saturating_sub(halo) / (a_row + stride * an_input_row)).max(1);
        let bands = height.div_ceil(most).next_multiple_of(threads);
        height.div_ceil(bands)
    }

    /// Runs the block: (H, W, C') words -> (h, w, O') f32. Allocates nothing once every thread has run a block of this
    /// size.
    ///
    /// # Panics
    /// Slices of other lengths: a mistake in this crate's planning.
    pub(crate) fn forward(&self, team: &mut Team<'_>, input: &[f32], out: &mut [f32]) {
        let [height, width] = self.geometry.output();
        let [in_height, in_width] = self.geometry.input;
        // Words of a pixel.
        let (channels, outputs) = (input.len() / (in_height * in_width), self.project.output_stride());
        assert!(out.len() == height * width * outputs && input.len() == in_height * in_width * channels);
        assert!(!self.residual || self.input == Encoding::F32);
        let rows = self.band_rows(team.threads());
        team.for_each_chunk(out, rows * width * outputs, |band, out| {
            let start = band * rows;
            let (geometry, first) = band_geometry(&self.geometry, start, out.len() / (width * outputs));
            let input_rows = &input[first * in_width * channels..][..geometry.input[0] * in_width * channels];
            SCRATCH.with_borrow_mut(|Scratch { expanded, filtered, converted }| {
                let hidden = self.depthwise.lanes_channels();
                let filtered = filtered.at_least(geometry.output()[0] * width * hidden);
                match &self.expand {
                    Some(expand) => {
                        let expanded = expanded.at_least(geometry.input[0] * in_width * hidden);
                        let wanted = expand.input_encoding();
                        let input_rows = as_encoding(self.isa, input_rows, self.input, converted, wanted);
                        expand.forward_pixels(input_rows, None, expanded);
                        self.depthwise.forward(&geometry, expanded, filtered);
                    }
                    None => {
                        let plain = Encoding::F32;
                        let input_rows = as_encoding(self.isa, input_rows, self.input, converted, plain);
                        self.depthwise.forward(&geometry, input_rows, filtered);
                    }
                }
                let wanted = self.project.input_encoding();
                let filtered = as_encoding(self.isa, filtered, Encoding::F32, converted, wanted);
                let residual = self.residual.then(|| &input[start * width * outputs..][..out.len()]);
                self.project.forward_pixels(filtered, residual, out);
            });
        });
    }
}

/// The same numbers in another encoding, in `buffer` where it is another one.
fn as_encoding<'a>(
    isa: Isa,
    words: &'a [f32],
    encoding: Encoding,
    buffer: &'a mut Aligned,
    wanted: Encoding,
) -> &'a [f32] {
    if encoding == wanted {
        return words;
    }
    let count = words.len() * encoding.per_word();
    let converted = buffer.at_least(wanted.words(count));
    convert(isa, count, words, encoding, converted, wanted);
    converted
}

/// The geometry of output rows `start..start + rows` over the input rows that they read, and the first of these.
fn band_geometry(whole: &Geometry, start: usize, rows: usize) -> (Geometry, usize) {
    let Geometry { input: [height, width], kernel, stride, vertical: (above, _), horizontal } = *whole;
    let first = (start * stride).saturating_sub(above).min(height);
    let end = ((start + rows - 1) * stride + kernel).saturating_sub(above).min(height).max(first);
    let above = above.saturating_sub(start * stride);
    let below = ((rows - 1) * stride + kernel).saturating_sub(end - first + above);
    (Geometry { input: [end - first, width], kernel, stride, vertical: (above, below), horizontal }, first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{
        Isa,
        channels_last::lanes,
        dense::{Clamp, ConvGeometry},
        numbers,
        team::with_team,
    };

    /// The block against its three layers run one after the other, bit for bit, for several numbers of threads (and so of
    /// bands).
    fn check(isa: Isa, size: [usize; 2], channels: usize, expansion: usize, kernel: usize, stride: usize) {
        let hidden = channels * expansion;
        let (wide, padded) = (hidden.next_multiple_of(lanes(isa)), channels.next_multiple_of(lanes(isa)));
        let geometry = Geometry::same(size[0], size[1], kernel, stride);
        let dense = |pixels: usize, from: usize, stride: usize, to: usize, clamp: Clamp, seed: u32| {
            let weights = numbers(from * to, seed);
            let bias = numbers(to, seed + 1);
            Dense::new(isa, ConvGeometry::rows(pixels), from, stride, &bias, clamp, |_, c, o| {
                weights[o * from + c]
            })
        };
        let [height, width] = geometry.output();
        let expand = dense(size[0] * size[1], channels, padded, hidden, Clamp::RELU6, 1);
        let (weight, bias) = (numbers(hidden * kernel * kernel, 5), numbers(hidden, 6));
        let depthwise = PackedDepthwise::new(kernel, stride, &weight, &bias, Clamp::RELU6, isa);
        let project = dense(height * width, hidden, wide, channels, Clamp::NONE, 7);
        let residual = stride == 1;
        let mut input = numbers(size[0] * size[1] * padded, 9);
        input.chunks_mut(padded).for_each(|pixel| pixel[channels..].fill(0.0));

        let mut expanded = vec![0.0; expand.output_len()];
        with_team(|team| expand.forward(team, &input, None, &mut expanded));
        let mut filtered = vec![0.0; height * width * wide];
        depthwise.forward(&geometry, &expanded, &mut filtered);
        let mut want = vec![0.0; project.output_len()];
        with_team(|team| project.forward(team, &filtered, residual.then_some(input.as_slice()), &mut want));

        let block = InvertedResidual {
            isa,
            input: Encoding::F32,
            expand: Some(expand),
            depthwise,
            geometry,
            project,
            residual,
        };
        for threads in [1, 2, 3, 7] {
            let mut got = vec![f32::NAN; want.len()];
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| with_team(|team| block.forward(team, &input, &mut got)));
            assert_eq!(got, want, "{isa:?} {size:?} x {channels}, k{kernel} s{stride}, {threads} threads");
        }
    }

    #[test]
    fn is_its_three_layers_bit_for_bit() {
        for isa in Isa::available() {
            for size in [[1, 1], [2, 3], [9, 7], [20, 16]] {
                for kernel in [3, 5] {
                    for stride in [1, 2] {
                        check(isa, size, 5, 6, kernel, stride);
                    }
                }
            }
            // Several bands whatever the number of threads.
            check(isa, [70, 60], 16, 6, 5, 2);
        }
    }
}
