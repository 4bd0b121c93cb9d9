//! The transforms around the products, for all channels of one tile, a vector of channels at a time.

use super::{Clamp, POSITIONS, REACH, TILE};
use crate::ops::simd::{Simd, for_each_isa};

/// A channels-last image; `stride` numbers a pixel, a whole number of vectors.
pub(super) struct Image<'a> {
    pub(super) data: &'a [f32],
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) stride: usize,
}

/// Where a tile's first output pixel lies; its inputs begin one row above and one column to the left.
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
    /// Bᵀ d B of a tile: position p of channel c goes to `to[p * step + c]`.
    ///
    /// # Safety
    /// The machine has `isa`, whose lanes divide the image's stride; `to` can be written at every position for the whole
    /// stride.
    pub(super) input => transform_input(source: &TileSource<'_>, to: *mut f32, step: usize) -> ()
}

for_each_isa! {
    /// clamp(Aᵀ m A + bias + residual) of a tile; position p of channel c is at `products[p * step + c]`.
    ///
    /// # Safety
    /// The machine has `isa`, whose lanes divide the number of channels; out and residual have height x width pixels of
    /// that many channels.
    pub(super) output => transform_output(products: &[f32], step: usize, to: &OutputTile<'_>) -> ()
}

/// Bᵀ of the paper applied to six vectors.
#[inline(always)]
unsafe fn input_side<V: Simd>(d: [V::Vector; REACH]) -> [V::Vector; REACH] {
    // SAFETY: the caller has the features that `V` needs.
    unsafe {
        let (two, four, five) = (V::splat(2.0), V::splat(4.0), V::splat(5.0));
        let minus = |a: V::Vector, factor: V::Vector, b: V::Vector| V::subtract(a, V::multiply(factor, b));
        let (even, odd) = (minus(d[4], four, d[2]), minus(d[3], four, d[1]));
        let (even2, odd2) = (V::subtract(d[4], d[2]), V::multiply(two, V::subtract(d[3], d[1])));
        [
            V::multiply_add(four, d[0], minus(d[4], five, d[2])),
            V::add(even, odd),
            V::subtract(even, odd),
            V::add(even2, odd2),
            V::subtract(even2, odd2),
            V::multiply_add(four, d[1], minus(d[5], five, d[3])),
        ]
    }
}

/// Aᵀ of the paper applied to six vectors.
#[inline(always)]
unsafe fn output_side<V: Simd>(m: [V::Vector; REACH]) -> [V::Vector; TILE] {
    // SAFETY: the caller has the features that `V` needs.
    unsafe {
        let (two, four, eight) = (V::splat(2.0), V::splat(4.0), V::splat(8.0));
        let (sum, difference) = (V::add(m[1], m[2]), V::subtract(m[1], m[2]));
        let (sum2, difference2) = (V::add(m[3], m[4]), V::subtract(m[3], m[4]));
        [
            V::add(m[0], V::add(sum, sum2)),
            V::multiply_add(two, difference2, difference),
            V::multiply_add(four, sum2, sum),
            V::add(m[5], V::multiply_add(eight, difference2, difference)),
        ]
    }
}

#[inline(always)]
unsafe fn transform_input<V: Simd>(source: &TileSource<'_>, to: *mut f32, step: usize) {
    let TileSource { image: &Image { data, height, width, stride }, y, x } = *source;
    // Input pixel (i, j) of the tile is pixel (y + i - 1, x + j - 1) of the image.
    let inside = |i: usize, j: usize| (y + i).wrapping_sub(1) < height && (x + j).wrapping_sub(1) < width;
    // SAFETY: the caller's contract. A pixel inside the image has `stride` numbers, and `channel` runs over whole vectors
    // of them; positions are written at the same channels.
    unsafe {
        for channel in (0..stride).step_by(V::LANES) {
            let mut rows = [[V::splat(0.0); REACH]; REACH];
            for j in 0..REACH {
                let mut column = [V::splat(0.0); REACH];
                for (i, value) in column.iter_mut().enumerate() {
                    if inside(i, j) {
                        *value =
                            V::load(data.as_ptr().add(((y + i - 1) * width + x + j - 1) * stride + channel));
                    }
                }
                for (row, value) in rows.iter_mut().zip(input_side::<V>(column)) {
                    row[j] = value;
                }
            }
            for (i, row) in rows.into_iter().enumerate() {
                for (j, value) in input_side::<V>(row).into_iter().enumerate() {
                    V::store(to.add((i * REACH + j) * step + channel), value);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn transform_output<V: Simd>(products: &[f32], step: usize, to: &OutputTile<'_>) {
    let channels = to.bias.len();
    assert!(products.len() >= (POSITIONS - 1) * step + channels);
    let (rows, columns) = ((to.height - to.y).min(TILE), (to.width - to.x).min(TILE));
    // SAFETY: the caller's contract. Products are read below the asserted length; out and residual at pixels inside the
    // image, at whole vectors of their channels.
    unsafe {
        let (low, high) = (V::splat(to.clamp.low), V::splat(to.clamp.high));
        for channel in (0..channels).step_by(V::LANES) {
            let bias = V::load(to.bias.as_ptr().add(channel));
            let mut half = [[V::splat(0.0); REACH]; TILE];
            for j in 0..REACH {
                let mut column = [V::splat(0.0); REACH];
                for (i, value) in column.iter_mut().enumerate() {
                    *value = V::load(products.as_ptr().add((i * REACH + j) * step + channel));
                }
                for (row, value) in half.iter_mut().zip(output_side::<V>(column)) {
                    row[j] = value;
                }
            }
            for (i, row) in half.into_iter().enumerate().take(rows) {
                for (j, value) in output_side::<V>(row).into_iter().enumerate().take(columns) {
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
