//! The transforms around the products, for all channels of one tile, a vector of channels at a time.

use super::{Clamp, MOST_POSITIONS};
use crate::kernels::isa::{Simd, Token, for_each_isa};

/// A channels-last image; `stride` numbers a pixel, a whole number of vectors.
pub(super) struct Image<'a> {
    pub(super) data: &'a [f32],
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) stride: usize,
}

/// Where a tile's first output pixel lies; its inputs begin one row above and one column to the left of that pixel's middle
/// tap.
pub(super) struct TileSource<'a> {
    pub(super) image: &'a Image<'a>,
    pub(super) y: usize,
    pub(super) x: usize,
}

/// Where a tile's outputs go.
pub(super) struct OutputTile<'a> {
    pub(super) out: *mut f32,
    /// As `out`.
    pub(super) residual: Option<&'a [f32]>,
    /// One a channel: its length is the number of channels.
    pub(super) bias: &'a [f32],
    pub(super) clamp: Clamp,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) y: usize,
    pub(super) x: usize,
}

/// Bᵀ d B of a tile of R x R inputs: position p of channel c goes to `to[places[p] * stride + c]`. R = 7 is the tile of
/// stride 2.
///
/// # Panics
/// An image that is shorter than its sides say, a stride that is not whole vectors of `token`.
///
/// # Safety
/// `to` can be written at every position for the whole stride, by this thread alone.
pub(super) unsafe fn input<const R: usize>(
    token: Token,
    source: &TileSource<'_>,
    to: *mut f32,
    places: &[usize; MOST_POSITIONS],
) {
    let Image { data, height, width, stride } = *source.image;
    assert!(data.len() >= height * width * stride && stride.is_multiple_of(token.lanes()));
    each_input::<R>(token, source, to, places);
}

/// clamp(Aᵀ m A + bias + residual) of a tile of T x T outputs, from R x R positions; position p of channel c is at
/// `products[places[p] * channels + c]`.
///
/// # Panics
/// Channels that are not whole vectors of `token`.
///
/// # Safety
/// `to.out` has height x width pixels of the channels; this thread alone writes those of the tile.
pub(super) unsafe fn output<const R: usize, const T: usize>(
    token: Token,
    products: &[f32],
    places: &[usize; MOST_POSITIONS],
    to: &OutputTile<'_>,
) {
    assert!(to.bias.len().is_multiple_of(token.lanes()));
    each_output::<R, T>(token, products, places, to);
}

for_each_isa! {
    fn each_input<R>(source: &TileSource<'_>, to: *mut f32, places: &[usize; MOST_POSITIONS]) => transform_input
}

for_each_isa! {
    fn each_output<R, T>(
        products: &[f32], places: &[usize; MOST_POSITIONS], to: &OutputTile<'_>
    ) => transform_output
}

/// Bᵀ applied to R vectors: 6 or 5 as in the paper, 7 for stride 2 (four positions of the outer taps, three of the middle
/// one).
#[inline(always)]
fn input_side<S: Simd, const R: usize>(simd: S, d: [S::Vector; R]) -> [S::Vector; R] {
    let minus = |a: S::Vector, factor: S::Vector, b: S::Vector| simd.subtract(a, simd.multiply(factor, b));
    let mut out = d;
    if R == 6 {
        let (two, four, five) = (simd.splat(2.0), simd.splat(4.0), simd.splat(5.0));
        let (even, odd) = (minus(d[4], four, d[2]), minus(d[3], four, d[1]));
        let (even2, odd2) = (simd.subtract(d[4], d[2]), simd.multiply(two, simd.subtract(d[3], d[1])));
        out[0] = simd.multiply_add(four, d[0], minus(d[4], five, d[2]));
        out[1] = simd.add(even, odd);
        out[2] = simd.subtract(even, odd);
        out[3] = simd.add(even2, odd2);
        out[4] = simd.subtract(even2, odd2);
        out[R - 1] = simd.multiply_add(four, d[1], minus(d[R - 1], five, d[3]));
    } else if R == 7 {
        out[0] = simd.subtract(d[0], d[4]);
        out[1] = simd.add(d[2], d[4]);
        out[2] = simd.subtract(d[4], d[2]);
        out[3] = simd.subtract(d[R - 1], d[2]);
        out[4] = d[1];
        out[R - 2] = d[3];
        out[R - 1] = d[R - 2];
    } else {
        let (two, three) = (simd.splat(2.0), simd.splat(3.0));
        let difference = simd.subtract(d[3], d[1]);
        out[0] = simd.multiply_add(two, simd.subtract(d[0], d[2]), difference);
        out[1] = minus(simd.subtract(d[3], d[2]), two, d[1]);
        out[2] = simd.multiply_add(two, d[1], minus(d[3], three, d[2]));
        out[3] = difference;
        out[4] = minus(simd.subtract(d[4], d[2]), two, difference);
    }
    out
}

/// Aᵀ applied to R vectors: from 6 to 4 or from 5 to 3 as in the paper, from 7 to 3 for stride 2.
#[inline(always)]
fn output_side<S: Simd, const R: usize, const T: usize>(simd: S, m: [S::Vector; R]) -> [S::Vector; T] {
    let (two, four) = (simd.splat(2.0), simd.splat(4.0));
    let (sum, difference) = (simd.add(m[1], m[2]), simd.subtract(m[1], m[2]));
    let mut out = [m[0]; T];
    if R == 6 {
        let eight = simd.splat(8.0);
        let (sum2, difference2) = (simd.add(m[3], m[4]), simd.subtract(m[3], m[4]));
        out[0] = simd.add(m[0], simd.add(sum, sum2));
        out[1] = simd.multiply_add(two, difference2, difference);
        out[2] = simd.multiply_add(four, sum2, sum);
        out[T - 1] = simd.add(m[R - 1], simd.multiply_add(eight, difference2, difference));
    } else if R == 7 {
        out[0] = simd.add(simd.add(m[0], sum), m[4]);
        out[1] = simd.add(difference, m[R - 2]);
        out[2] = simd.add(simd.add(m[3], sum), m[R - 1]);
    } else {
        out[0] = simd.add(m[0], simd.add(sum, m[3]));
        out[1] = simd.multiply_add(two, m[3], difference);
        out[2] = simd.add(m[4], simd.multiply_add(four, m[3], sum));
    }
    out
}

#[inline(always)]
fn transform_input<S: Simd, const R: usize>(
    simd: S,
    source: &TileSource<'_>,
    to: *mut f32,
    places: &[usize; MOST_POSITIONS],
) {
    let TileSource { image: &Image { data, height, width, stride }, y, x } = *source;
    let (y, x) = if R == 7 { (2 * y, 2 * x) } else { (y, x) };
    // Input pixel (i, j) of the tile is pixel (y + i - 1, x + j - 1) of the image.
    let inside = |i: usize, j: usize| (y + i).wrapping_sub(1) < height && (x + j).wrapping_sub(1) < width;
    for channel in (0..stride).step_by(S::LANES) {
        let mut rows = [[simd.splat(0.0); R]; R];
        for j in 0..R {
            let mut column = [simd.splat(0.0); R];
            for (i, value) in column.iter_mut().enumerate() {
                if inside(i, j) {
                    let at = ((y + i - 1) * width + x + j - 1) * stride + channel;
                    // SAFETY: a pixel inside the image has `stride` numbers, and `channel` runs over whole vectors of them.
                    *value = simd.read(unsafe { &*data.as_ptr().add(at).cast() });
                }
            }
            for (row, value) in rows.iter_mut().zip(input_side(simd, column)) {
                row[j] = value;
            }
        }
        for (i, row) in rows.into_iter().enumerate() {
            for (j, value) in input_side(simd, row).into_iter().enumerate() {
                // SAFETY: what the caller of `input` promises; `channel` as above.
                simd.write(unsafe { &mut *to.add(places[i * R + j] * stride + channel).cast() }, value);
            }
        }
    }
}

#[inline(always)]
fn transform_output<S: Simd, const R: usize, const T: usize>(
    simd: S,
    products: &[f32],
    places: &[usize; MOST_POSITIONS],
    to: &OutputTile<'_>,
) {
    let channels = to.bias.len();
    let last = places.iter().fold(0, |last, &place| last.max(place));
    assert!(products.len() >= (last + 1) * channels && R * R <= MOST_POSITIONS);
    let (rows, columns) = ((to.height - to.y).min(T), (to.width - to.x).min(T));
    let (low, high) = (simd.splat(to.clamp.low), simd.splat(to.clamp.high));
    for channel in (0..channels).step_by(S::LANES) {
        let bias = simd.load(&to.bias[channel..]);
        let mut half = [[simd.splat(0.0); R]; T];
        for j in 0..R {
            let mut column = [simd.splat(0.0); R];
            for (i, value) in column.iter_mut().enumerate() {
                let at = places[i * R + j] * channels + channel;
                // SAFETY: below the asserted length, as `channel` runs over whole vectors.
                *value = simd.read(unsafe { &*products.as_ptr().add(at).cast() });
            }
            for (row, value) in half.iter_mut().zip(output_side::<S, R, T>(simd, column)) {
                row[j] = value;
            }
        }
        for (i, row) in half.into_iter().enumerate().take(rows) {
            for (j, value) in output_side::<S, R, T>(simd, row).into_iter().enumerate().take(columns) {
                let at = ((to.y + i) * to.width + to.x + j) * channels + channel;
                let mut value = simd.add(value, bias);
                if let Some(residual) = to.residual {
                    value = simd.add(value, simd.load(&residual[at..]));
                }
                // SAFETY: a pixel of the tile inside the image, which the caller of `output` lets this thread write.
                let out = unsafe { &mut *to.out.add(at).cast() };
                // In this order of arguments what is not a number stays so.
                simd.write(out, simd.min(high, simd.max(low, value)));
            }
        }
    }
}
