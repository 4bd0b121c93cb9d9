//! The transforms around the products, for all channels of one tile, a vector of channels at a time.

use super::{Clamp, MOST_POSITIONS};
use crate::ops::simd::{Simd, for_each_isa};

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
    /// As `out`; null for none.
    pub(super) residual: *const f32,
    /// One a channel: its length is the number of channels.
    pub(super) bias: &'a [f32],
    pub(super) clamp: Clamp,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) y: usize,
    pub(super) x: usize,
}

for_each_isa! {
    /// Bᵀ d B of a tile of R x R inputs: position p of channel c goes to `to[places[p] * stride + c]`. R = 7 is
    /// the tile of stride 2.
    ///
    /// # Safety
    /// The machine has `isa`, whose lanes divide the image's stride; `to` can be written at every position for the whole
    /// stride.
    pub(super) input<R> => transform_input(source: &TileSource<'_>, to: *mut f32, places: &[usize; MOST_POSITIONS]) -> ()
}

for_each_isa! {
    /// clamp(Aᵀ m A + bias + residual) of a tile of T x T outputs, from R x R positions; position p of channel c is
    /// at `products[places[p] * channels + c]`.
    ///
    /// # Safety
    /// The machine has `isa`, whose lanes divide the number of channels; out and residual have height x width pixels of
    /// that many channels.
    pub(super) output<R, T> => transform_output(
        products: &[f32], places: &[usize; MOST_POSITIONS], to: &OutputTile<'_>
    ) -> ()
}

/// Bᵀ applied to R vectors: 6 or 5 as in the paper, 7 for stride 2 (four positions of the outer taps, three of the middle
/// one).
#[inline(always)]
unsafe fn input_side<V: Simd, const R: usize>(d: [V::Vector; R]) -> [V::Vector; R] {
    // SAFETY: the caller has the features that `V` needs.
    unsafe {
        let minus = |a: V::Vector, factor: V::Vector, b: V::Vector| V::subtract(a, V::multiply(factor, b));
        let mut out = d;
        if R == 6 {
            let (two, four, five) = (V::splat(2.0), V::splat(4.0), V::splat(5.0));
            let (even, odd) = (minus(d[4], four, d[2]), minus(d[3], four, d[1]));
            let (even2, odd2) = (V::subtract(d[4], d[2]), V::multiply(two, V::subtract(d[3], d[1])));
            out[0] = V::multiply_add(four, d[0], minus(d[4], five, d[2]));
            out[1] = V::add(even, odd);
            out[2] = V::subtract(even, odd);
            out[3] = V::add(even2, odd2);
            out[4] = V::subtract(even2, odd2);
            out[R - 1] = V::multiply_add(four, d[1], minus(d[R - 1], five, d[3]));
        } else if R == 7 {
            out[0] = V::subtract(d[0], d[4]);
            out[1] = V::add(d[2], d[4]);
            out[2] = V::subtract(d[4], d[2]);
            out[3] = V::subtract(d[R - 1], d[2]);
            out[4] = d[1];
            out[R - 2] = d[3];
            out[R - 1] = d[R - 2];
        } else {
            let (two, three) = (V::splat(2.0), V::splat(3.0));
            let difference = V::subtract(d[3], d[1]);
            out[0] = V::multiply_add(two, V::subtract(d[0], d[2]), difference);
            out[1] = minus(V::subtract(d[3], d[2]), two, d[1]);
            out[2] = V::multiply_add(two, d[1], minus(d[3], three, d[2]));
            out[3] = difference;
            out[4] = minus(V::subtract(d[4], d[2]), two, difference);
        }
        out
    }
}

/// Aᵀ applied to R vectors: from 6 to 4 or from 5 to 3 as in the paper, from 7 to 3 for stride 2.
#[inline(always)]
unsafe fn output_side<V: Simd, const R: usize, const T: usize>(m: [V::Vector; R]) -> [V::Vector; T] {
    // SAFETY: the caller has the features that `V` needs.
    unsafe {
        let (two, four) = (V::splat(2.0), V::splat(4.0));
        let (sum, difference) = (V::add(m[1], m[2]), V::subtract(m[1], m[2]));
        let mut out = [m[0]; T];
        if R == 6 {
            let eight = V::splat(8.0);
            let (sum2, difference2) = (V::add(m[3], m[4]), V::subtract(m[3], m[4]));
            out[0] = V::add(m[0], V::add(sum, sum2));
            out[1] = V::multiply_add(two, difference2, difference);
            out[2] = V::multiply_add(four, sum2, sum);
            out[T - 1] = V::add(m[R - 1], V::multiply_add(eight, difference2, difference));
        } else if R == 7 {
            out[0] = V::add(V::add(m[0], sum), m[4]);
            out[1] = V::add(difference, m[R - 2]);
            out[2] = V::add(V::add(m[3], sum), m[R - 1]);
        } else {
            out[0] = V::add(m[0], V::add(sum, m[3]));
            out[1] = V::multiply_add(two, m[3], difference);
            out[2] = V::add(m[4], V::multiply_add(four, m[3], sum));
        }
        out
    }
}

#[inline(always)]
unsafe fn transform_input<V: Simd, const R: usize>(
    source: &TileSource<'_>,
    to: *mut f32,
    places: &[usize; MOST_POSITIONS],
) {
    let TileSource { image: &Image { data, height, width, stride }, y, x } = *source;
    let (y, x) = if R == 7 { (2 * y, 2 * x) } else { (y, x) };
    // Input pixel (i, j) of the tile is pixel (y + i - 1, x + j - 1) of the image.
    let inside = |i: usize, j: usize| (y + i).wrapping_sub(1) < height && (x + j).wrapping_sub(1) < width;
    // SAFETY: the caller's contract. A pixel inside the image has `stride` numbers, and `channel` runs over whole vectors
    // of them; positions are written at the same channels.
    unsafe {
        for channel in (0..stride).step_by(V::LANES) {
            let mut rows = [[V::splat(0.0); R]; R];
            for j in 0..R {
                let mut column = [V::splat(0.0); R];
                for (i, value) in column.iter_mut().enumerate() {
                    if inside(i, j) {
                        *value =
                            V::load(data.as_ptr().add(((y + i - 1) * width + x + j - 1) * stride + channel));
                    }
                }
                for (row, value) in rows.iter_mut().zip(input_side::<V, R>(column)) {
                    row[j] = value;
                }
            }
            for (i, row) in rows.into_iter().enumerate() {
                for (j, value) in input_side::<V, R>(row).into_iter().enumerate() {
                    V::store(to.add(places[i * R + j] * stride + channel), value);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn transform_output<V: Simd, const R: usize, const T: usize>(
    products: &[f32],
    places: &[usize; MOST_POSITIONS],
    to: &OutputTile<'_>,
) {
    let channels = to.bias.len();
    let last = places.iter().fold(0, |last, &place| last.max(place));
    assert!(products.len() >= (last + 1) * channels && R * R <= MOST_POSITIONS);
    let (rows, columns) = ((to.height - to.y).min(T), (to.width - to.x).min(T));
    // SAFETY: the caller's contract. Products are read below the asserted length; out and residual at pixels inside the
    // image, at whole vectors of their channels.
    unsafe {
        let (low, high) = (V::splat(to.clamp.low), V::splat(to.clamp.high));
        for channel in (0..channels).step_by(V::LANES) {
            let bias = V::load(to.bias.as_ptr().add(channel));
            let mut half = [[V::splat(0.0); R]; T];
            for j in 0..R {
                let mut column = [V::splat(0.0); R];
                for (i, value) in column.iter_mut().enumerate() {
                    *value = V::load(products.as_ptr().add(places[i * R + j] * channels + channel));
                }
                for (row, value) in half.iter_mut().zip(output_side::<V, R, T>(column)) {
                    row[j] = value;
                }
            }
            for (i, row) in half.into_iter().enumerate().take(rows) {
                for (j, value) in output_side::<V, R, T>(row).into_iter().enumerate().take(columns) {
                    let at = ((to.y + i) * to.width + to.x + j) * channels + channel;
                    let mut value = V::add(value, bias);
                    if !to.residual.is_null() {
                        value = V::add(value, V::load(to.residual.add(at)));
                    }
                    V::store(to.out.add(at), V::min(V::max(value, low), high));
                }
            }
        }
    }
}
