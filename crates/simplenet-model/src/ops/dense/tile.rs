//! The innermost loop of every dense layer: some rows of A by panels of packed weights, summed in registers.
//!
//! A tile of up to 11 rows by two vectors keeps 22 sums, two weights and a broadcast input in AVX-512's 32 registers,
//! and its row pointers in general ones; 12 rows spill, and run at half the speed. On the project's machine (EPYC of
//! the Zen 5 kind, one core) 11 x 2 reaches 120 of the 125 thousand million multiply-adds a second that two 512-bit
//! units allow, 6 x 2 with AVX2 61 of 62.

use std::ops::Range;

use super::packed::{PANEL_VECTORS, PackedMatrix};
use crate::ops::Isa;
#[cfg(target_arch = "x86_64")]
use crate::ops::simd::{Avx2, Avx512};
use crate::ops::simd::{Plain, Simd, for_each_isa};

/// What is done to a result before it is stored: kept between two bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clamp {
    /// Lower bound.
    pub low: f32,
    /// Upper bound.
    pub high: f32,
}

impl Clamp {
    /// Every number stays as it is.
    pub const NONE: Self = Self { low: f32::NEG_INFINITY, high: f32::INFINITY };
    /// max(x, 0).
    pub const RELU: Self = Self { low: 0.0, high: f32::INFINITY };
    /// Between 0 and 6.
    pub const RELU6: Self = Self { low: 0.0, high: 6.0 };
}

/// Rows of A, each in `taps` pieces of `depth` consecutive numbers.
pub(crate) struct Rows<'a> {
    /// Piece `tap` of row r begins at `pointers[tap * count + r]`.
    pub(crate) pointers: &'a [*const f32],
    pub(crate) taps: usize,
    pub(crate) depth: usize,
    pub(crate) count: usize,
}

/// Where results go: row r, column c to `out[r * stride + c]`.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) out: *mut f32,
    pub(crate) stride: usize,
    /// Numbers added before the clamp, laid out as `out`; null for none.
    pub(crate) residual: *const f32,
    /// One number a padded column, where the sums begin; null for 0.
    pub(crate) bias: *const f32,
    pub(crate) clamp: Clamp,
}

// SAFETY: a `Target` is only an address; who writes through it answers for writing each place from one thread.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

/// The most rows of a tile.
pub(crate) fn max_rows(isa: Isa) -> usize {
    match isa {
        Isa::Scalar => Plain::ROWS,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => Avx2::ROWS,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => Avx512::ROWS,
        #[cfg(not(target_arch = "x86_64"))]
        _ => Plain::ROWS,
    }
}

/// How many rows of sums fit the registers.
trait TileRows {
    const ROWS: usize;
}

impl TileRows for Plain {
    const ROWS: usize = 4;
}

#[cfg(target_arch = "x86_64")]
impl TileRows for Avx2 {
    const ROWS: usize = 6;
}

#[cfg(target_arch = "x86_64")]
impl TileRows for Avx512 {
    const ROWS: usize = 11;
}

for_each_isa! {
    /// Rows `first_row..` of the target = clamp(A · weights + bias + residual), in the panels of `range`. Every sum runs
    /// over taps and depth in ascending order, whatever the tile.
    ///
    /// # Safety
    /// The machine has `isa`, and `weights` was packed for it. `rows.pointers` holds taps x count pointers, each to
    /// `depth` readable numbers; the weights have taps x depth rows. The target's row first_row + count - 1 and all
    /// columns of the panels can be written (and read from the residual, and from the bias), by this thread alone.
    pub(crate) multiply => panels(
        rows: &Rows<'_>, weights: &PackedMatrix, range: Range<usize>, target: &Target, first_row: usize
    ) -> ()
}

/// All rows by one panel after the other: a panel stays in the second-level cache while the rows pass.
#[inline(always)]
unsafe fn panels<V: Simd + TileRows>(
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
                tiles::<V, PANEL_VECTORS>(rows, panel.as_ptr(), column, target, first_row);
            } else {
                tiles::<V, 1>(rows, panel.as_ptr(), column, target, first_row);
            }
        }
    }
}

/// The rows in tiles of nearly equal size.
#[inline(always)]
unsafe fn tiles<V: Simd + TileRows, const VECTORS: usize>(
    rows: &Rows<'_>,
    panel: *const f32,
    column: usize,
    target: &Target,
    first_row: usize,
) {
    let tiles = rows.count.div_ceil(V::ROWS);
    let panel_len = rows.taps * rows.depth * VECTORS * V::LANES;
    let mut start = 0;
    for index in 1..=tiles {
        let end = rows.count * index / tiles;
        // The next panel follows in memory: the last tile asks for it, so that it is on its way from main memory.
        let ahead = if index == tiles { panel_len } else { 0 };
        /// One arm for each number of rows, so that sums and pointers are registers.
        macro_rules! by_rows {
            ($($n:literal)*) => {
                match end - start {
                    // SAFETY: the caller's contract; rows start..end are some of its rows.
                    $($n => unsafe { tile::<V, $n, VECTORS>(rows, start, panel, ahead, column, target, first_row + start) },)*
                    _ => {}
                }
            };
        }
        match V::ROWS {
            11 => by_rows!(1 2 3 4 5 6 7 8 9 10 11),
            6 => by_rows!(1 2 3 4 5 6),
            _ => by_rows!(1 2 3 4),
        }
        start = end;
    }
}

#[inline(always)]
unsafe fn tile<V: Simd, const ROWS: usize, const VECTORS: usize>(
    rows: &Rows<'_>,
    start: usize,
    panel: *const f32,
    ahead: usize,
    column: usize,
    target: &Target,
    first_row: usize,
) {
    // SAFETY: the caller's contract. The pointers of rows start..start + ROWS exist for every tap; each is read at
    // 0..depth. The panel is read taps x depth times VECTORS x LANES numbers, its length. Bias, residual and out are
    // used at the panel's columns.
    unsafe {
        let mut sums = [[V::splat(0.0); VECTORS]; ROWS];
        if !target.bias.is_null() {
            sums = [std::array::from_fn(|v| V::load(target.bias.add(column + v * V::LANES))); ROWS];
        }
        let pointers = rows.pointers.as_ptr().add(start);
        let mut weights = panel;
        for tap in 0..rows.taps {
            let row: [*const f32; ROWS] = std::array::from_fn(|r| *pointers.add(tap * rows.count + r));
            for k in 0..rows.depth {
                let w: [V::Vector; VECTORS] = std::array::from_fn(|v| V::load(weights.add(v * V::LANES)));
                for v in 0..VECTORS {
                    V::prefetch(weights.wrapping_add(ahead + v * V::LANES));
                }
                for r in 0..ROWS {
                    let x = V::splat(*row[r].add(k));
                    for v in 0..VECTORS {
                        sums[r][v] = V::multiply_add(x, w[v], sums[r][v]);
                    }
                }
                weights = weights.add(VECTORS * V::LANES);
            }
        }
        let (low, high) = (V::splat(target.clamp.low), V::splat(target.clamp.high));
        for (r, sums) in sums.into_iter().enumerate() {
            for (v, mut sum) in sums.into_iter().enumerate() {
                let at = (first_row + r) * target.stride + column + v * V::LANES;
                if !target.residual.is_null() {
                    sum = V::add(sum, V::load(target.residual.add(at)));
                }
                V::store(target.out.add(at), V::min(V::max(sum, low), high));
            }
        }
    }
}
