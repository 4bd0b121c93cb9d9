//! The innermost loop of every dense layer: some rows of A by panels of packed weights, summed in registers.
//!
//! A tile of up to 11 rows by two vectors keeps 22 sums, two weights and a broadcast input in AVX-512's 32 registers,
//! and its row pointers in general ones; 12 rows spill, and run at half the speed. On the project's machine (EPYC of
//! the Zen 5 kind, one core) 11 x 2 reaches 120 of the 125 thousand million multiply-adds a second that two 512-bit
//! units allow, 6 x 2 with AVX2 61 of 62.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::product::{Bf16Avx512, BytesAvx2Vnni, BytesAvx512Vnni};
use super::{
    packed::{PANEL_VECTORS, PackedMatrix},
    product::{Bf16, Bytes, F32, Kind, Product, TileRows},
};
#[cfg(target_arch = "x86_64")]
use crate::ops::simd::{Avx2, Avx512};
use crate::ops::{
    Isa,
    encoding::{self, Encoding},
    simd::{Plain, Simd},
};

/// What is done to a result before it is stored: kept between two bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Clamp {
    /// Lower bound.
    pub low: f32,
    /// Upper bound.
    pub high: f32,
}

impl Clamp {
    /// Every number stays as it is.
    pub(crate) const NONE: Self = Self { low: f32::NEG_INFINITY, high: f32::INFINITY };
    /// max(x, 0).
    pub(crate) const RELU: Self = Self { low: 0.0, high: f32::INFINITY };
    /// Between 0 and 6.
    pub(crate) const RELU6: Self = Self { low: 0.0, high: 6.0 };
}

/// Rows of A, each in `taps` pieces of `depth` consecutive words.
pub(crate) struct Rows<'a> {
    /// Piece `tap` of row r begins at `pointers[tap * count + r]`.
    pub(crate) pointers: &'a [*const f32],
    pub(crate) taps: usize,
    pub(crate) depth: usize,
    pub(crate) count: usize,
}

/// Where results go: row r, column c to place r * stride + c of `out`.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) out: *mut u8,
    pub(crate) encoding: Encoding,
    /// In numbers.
    pub(crate) stride: usize,
    /// Numbers added before the clamp, at the same places as in `out`; null for none.
    pub(crate) residual: *const u8,
    pub(crate) residual_encoding: Encoding,
    /// One number a padded column, where the sums begin; null for 0 where sums are not of integers.
    pub(crate) bias: *const f32,
    /// What a sum of integers is worth, one number a padded column; null for other sums.
    pub(crate) scale: *const f32,
    pub(crate) clamp: Clamp,
}

// SAFETY: a `Target` is only an address; who writes through it answers for writing each place from one thread.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

/// The most rows of a tile.
pub(crate) fn max_rows(isa: Isa) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Bf16 => Avx512::ROWS,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::Avx2Vnni => Avx2::ROWS,
        _ => Plain::ROWS,
    }
}

/// The parameters of [`multiply`] behind the instruction set, and the functions compiled for each product.
macro_rules! for_each_product {
    ($(($isa:pat, $kind:pat, $features:literal, $name:ident, $product:ty))*) => {
        /// Rows `first_row..` of the target = clamp(A · weights + bias + residual), in the panels of `range`. Every sum
        /// runs over taps and depth in ascending order, whatever the tile.
        ///
        /// # Safety
        /// The machine has `isa`, and `weights` was packed for it, as words of the same kind as those of `rows`.
        /// `rows.pointers` holds taps x count pointers, each to `depth` readable words; the weights have taps x depth rows.
        /// The target's row first_row + count - 1 and all columns of the panels can be written (and read from the residual,
        /// from the bias and for integers from the scale), by this thread alone.
        pub(crate) unsafe fn multiply(
            isa: Isa,
            rows: &Rows<'_>,
            weights: &PackedMatrix,
            range: Range<usize>,
            target: &Target,
            first_row: usize,
        ) {
            $(
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = $features)]
                unsafe fn $name(
                    rows: &Rows<'_>, weights: &PackedMatrix, range: Range<usize>, target: &Target, first_row: usize,
                ) {
                    // SAFETY: the caller's contract; this function has the features that the product needs.
                    unsafe { panels::<$product>(rows, weights, range, target, first_row) }
                }
            )*
            // SAFETY: the caller's contract.
            unsafe {
                match (isa, weights.kind()) {
                    $(
                        #[cfg(target_arch = "x86_64")]
                        ($isa, $kind) => $name(rows, weights, range, target, first_row),
                    )*
                    (_, Kind::F32) => panels::<F32<Plain>>(rows, weights, range, target, first_row),
                    (_, Kind::Bf16) => panels::<Bf16<Plain>>(rows, weights, range, target, first_row),
                    (_, Kind::Bytes) => panels::<Bytes<Plain>>(rows, weights, range, target, first_row),
                }
            }
        }
    };
}

for_each_product! {
    (Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Bf16, Kind::F32,
     "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq", avx512_f32, F32<Avx512>)
    (Isa::Avx512Bf16, Kind::Bf16,
     "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq,avx512bf16", avx512_bf16, Bf16Avx512)
    (Isa::Avx512 | Isa::Avx512Vnni, Kind::Bf16,
     "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq", avx512_halves, Bf16<Avx512>)
    (Isa::Avx512Bf16 | Isa::Avx512Vnni, Kind::Bytes,
     "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq,avx512vnni", avx512_vnni, BytesAvx512Vnni)
    (Isa::Avx512, Kind::Bytes,
     "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq", avx512_bytes, Bytes<Avx512>)
    (Isa::Avx2 | Isa::Avx2Vnni, Kind::F32, "avx2,fma", avx2_f32, F32<Avx2>)
    (Isa::Avx2 | Isa::Avx2Vnni, Kind::Bf16, "avx2,fma", avx2_halves, Bf16<Avx2>)
    (Isa::Avx2Vnni, Kind::Bytes, "avx2,fma,avxvnni", avx2_vnni, BytesAvx2Vnni)
    (Isa::Avx2, Kind::Bytes, "avx2,fma", avx2_bytes, Bytes<Avx2>)
}

/// All rows by one panel after the other: a panel stays in the second-level cache while the rows pass.
#[inline(always)]
unsafe fn panels<P: Product>(
    rows: &Rows<'_>,
    weights: &PackedMatrix,
    range: Range<usize>,
    target: &Target,
    first_row: usize,
) {
    debug_assert_eq!(rows.pointers.len(), rows.taps * rows.count);
    debug_assert_eq!(weights.rows(), rows.taps * rows.depth);
    for index in range {
        let (panel, column, vectors) = weights.panel(index);
        // SAFETY: the caller's contract; the panel holds vectors x LANES columns from `column` on.
        unsafe {
            if vectors == PANEL_VECTORS {
                tiles::<P, PANEL_VECTORS>(rows, panel.as_ptr(), column, target, first_row);
            } else {
                tiles::<P, 1>(rows, panel.as_ptr(), column, target, first_row);
            }
        }
    }
}

/// The rows in tiles of nearly equal size.
#[inline(always)]
unsafe fn tiles<P: Product, const VECTORS: usize>(
    rows: &Rows<'_>,
    panel: *const f32,
    column: usize,
    target: &Target,
    first_row: usize,
) {
    let tiles = rows.count.div_ceil(P::V::ROWS);
    let panel_len = rows.taps * rows.depth * VECTORS * P::V::LANES;
    let mut start = 0;
    for index in 1..=tiles {
        let end = rows.count * index / tiles;
        // The next panel follows in memory. Each tile asks for its share of it, so that it comes at an even pace.
        let ahead = Ahead {
            from: panel.wrapping_add(panel_len + panel_len * (index - 1) / tiles),
            step: VECTORS * P::V::LANES / tiles,
        };
        /// One arm for each number of rows, so that sums and pointers are registers.
        macro_rules! by_rows {
            ($($n:literal)*) => {
                match end - start {
                    // SAFETY: the caller's contract; rows start..end are some of its rows.
                    $($n => unsafe { tile::<P, $n, VECTORS>(rows, start, panel, ahead, column, target, first_row + start) },)*
                    _ => {}
                }
            };
        }
        match P::V::ROWS {
            11 => by_rows!(1 2 3 4 5 6 7 8 9 10 11),
            6 => by_rows!(1 2 3 4 5 6),
            _ => by_rows!(1 2 3 4),
        }
        start = end;
    }
}

/// Memory to ask for: `step` words with every row of weights.
#[derive(Clone, Copy)]
struct Ahead {
    from: *const f32,
    step: usize,
}

#[inline(always)]
unsafe fn tile<P: Product, const ROWS: usize, const VECTORS: usize>(
    rows: &Rows<'_>,
    start: usize,
    panel: *const f32,
    ahead: Ahead,
    column: usize,
    target: &Target,
    first_row: usize,
) {
    let lanes = P::V::LANES;
    // SAFETY: the caller's contract. The pointers of rows start..start + ROWS exist for every tap; each is read at
    // 0..depth. The panel is read taps x depth times VECTORS x LANES words, its length. Bias, scale, residual and out
    // are used at the panel's columns.
    unsafe {
        let of_column = |numbers: *const f32, v: usize| match numbers.is_null() {
            true => numbers,
            false => numbers.add(column + v * lanes),
        };
        let mut sums: [[P::Sums; VECTORS]; ROWS] =
            [std::array::from_fn(|v| P::start(of_column(target.bias, v))); ROWS];
        if !target.residual.is_null() {
            // On its way from the third-level cache while the sums are made.
            for r in 0..ROWS {
                let at =
                    ((first_row + r) * target.stride + column) * 4 / target.residual_encoding.in_a_word();
                for v in 0..VECTORS {
                    P::V::prefetch(target.residual.wrapping_add(at + v * 64).cast());
                }
            }
        }
        let pointers = rows.pointers.as_ptr().add(start);
        let (mut weights, mut next) = (panel, ahead.from);
        for tap in 0..rows.taps {
            let row: [*const f32; ROWS] = std::array::from_fn(|r| *pointers.add(tap * rows.count + r));
            for k in 0..rows.depth {
                let w: [P::Words; VECTORS] = std::array::from_fn(|v| P::load(weights.add(v * lanes)));
                // A cache line is 16 words: two steps reach every line of any step that occurs.
                P::V::prefetch(next);
                P::V::prefetch(next.wrapping_add(ahead.step / 2));
                next = next.wrapping_add(ahead.step);
                for r in 0..ROWS {
                    let x = P::splat(row[r].add(k));
                    for v in 0..VECTORS {
                        sums[r][v] = P::add(sums[r][v], x, w[v]);
                    }
                }
                weights = weights.add(VECTORS * lanes);
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let values: [_; VECTORS] = std::array::from_fn(|v| {
                P::finish(sums[v], of_column(target.scale, v), of_column(target.bias, v))
            });
            let at = (first_row + r) * target.stride + column;
            // What most layers are, without a question a vector.
            if target.encoding == Encoding::F32 && target.residual.is_null() {
                put::<P::V, VECTORS, false>(target, Encoding::F32, Encoding::F32, at, values);
            } else {
                put::<P::V, VECTORS, true>(target, target.encoding, target.residual_encoding, at, values);
            }
        }
    }
}

/// Adds the residual (where `RESIDUAL` and there is one), clamps and stores neighbouring vectors at place `at`.
#[inline(always)]
unsafe fn put<V: encoding::Encoded, const VECTORS: usize, const RESIDUAL: bool>(
    target: &Target,
    out: Encoding,
    residual: Encoding,
    at: usize,
    values: [V::Vector; VECTORS],
) {
    // SAFETY: the caller's contract.
    unsafe {
        let (low, high) = (V::splat(target.clamp.low), V::splat(target.clamp.high));
        for (v, mut value) in values.into_iter().enumerate() {
            let at = at + v * V::LANES;
            if RESIDUAL && !target.residual.is_null() {
                value = V::add(value, encoding::load::<V>(target.residual, at, residual));
            }
            encoding::store::<V>(target.out, at, out, V::min(V::max(value, low), high));
        }
    }
}
