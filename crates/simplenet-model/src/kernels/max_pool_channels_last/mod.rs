//! Max pooling of channels-last activations, 3×3 with stride 2 and one pixel of padding on every side.
//! In: (H, W, C') of any encoding, row-major. Out: the same encoding, (h, w, C') with h = (H - 1) / 2 + 1 and w = (W - 1) / 2 + 1, rounded down.
//!
//! ```text
//! y[oy, ox, c] = max over the pixels (2·oy + ky - 1, 2·ox + kx - 1) of the image, ky and kx in 0..3
//! ```
//!
//! C' is C rounded up to whole vectors; channels that hold only zeros stay zeros. Padding counts as absent. Every
//! output is computed by one task: results do not depend on the thread count.

mod cpu;
#[cfg(any(test, feature = "cuda"))]
mod cuda;
pub(crate) mod reference;
mod tensor;

pub(crate) use tensor::max_pool;

use crate::kernels::Isa;
use crate::kernels::aligned::size;
use crate::kernels::channels_last::lanes;
use crate::kernels::encoding::Encoding;
use crate::kernels::geometry::Geometry;
use crate::kernels::team::Team;

/// The sides of the pooled image.
pub(crate) fn output(height: usize, width: usize) -> [usize; 2] {
    geometry(height, width).output()
}

fn geometry(height: usize, width: usize) -> Geometry {
    Geometry { input: [height, width], kernel: 3, stride: 2, vertical: (1, 1), horizontal: (1, 1) }
}

/// `input` is (H, W, C'), `out` (h, w, C') with C' = `lanes_channels`, a multiple of the lanes of `isa`. An `isa` that
/// this machine lacks falls back to a lower one. Slices are words. Allocates nothing.
///
/// # Panics
/// Lengths that do not fit the sides, channels that are not whole vectors.
pub(crate) fn forward(
    team: &mut Team<'_>,
    isa: Isa,
    height: usize,
    width: usize,
    lanes_channels: usize,
    encoding: Encoding,
    input: &[f32],
    out: &mut [f32],
) {
    assert!(
        lanes_channels.is_multiple_of(lanes(isa)),
        "max pooling: whole vectors of {} channels, got {lanes_channels}",
        lanes(isa)
    );
    let geometry = geometry(height, width);
    let [out_height, out_width] = geometry.output();
    let expected =
        [[height, width], [out_height, out_width]].map(|[h, w]| encoding.words(size([h, w, lanes_channels])));
    assert!(
        [input.len(), out.len()] == expected,
        "max pooling: lengths {expected:?} of input and output, got {:?}",
        [input.len(), out.len()]
    );
    cpu::forward(team, isa.token(), &geometry, lanes_channels, encoding, input, out);
}

#[cfg(test)]
mod tests;
