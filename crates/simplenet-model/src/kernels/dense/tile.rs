//! The innermost loop of every dense layer: some rows of A by panels of packed weights, summed in registers.
//!
//! A tile of up to 11 rows by two vectors keeps 22 sums, two weights and a broadcast input in AVX-512's 32 registers,
//! and its row pointers in general ones; 12 rows spill, and run at half the speed. On the project's machine (EPYC of
//! the Zen 5 kind, one core) 11 x 2 reaches 120 of the 125 thousand million multiply-adds a second that two 512-bit
//! units allow, 6 x 2 with AVX2 61 of 62.

use std::{marker::PhantomData, ops::Range};

use super::{
    packed::{PANEL_VECTORS, PackedMatrix},
    product::{Bf16, Bytes, F32, Kind, Product},
    rows::Rows,
};
use crate::kernels::{
    encoding::{self, Encoding},
    isa::{Block, Simd, Token, for_each_exact_isa, for_each_isa},
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

/// Where results go: row r, column c to place r * stride + c of the output.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The output's words: tasks write disjoint ones.
    out: *mut f32,
    len: usize,
    borrowed: PhantomData<&'a mut [f32]>,
    pub(crate) encoding: Encoding,
    /// In numbers.
    pub(crate) stride: usize,
    /// Words of what is added before the clamp, at the same places as in the output.
    pub(crate) residual: Option<&'a [f32]>,
    pub(crate) residual_encoding: Encoding,
    /// One number a padded column, where the sums begin.
    pub(crate) bias: Option<&'a [f32]>,
    /// What a sum of integers is worth, one number a padded column.
    pub(crate) scale: Option<&'a [f32]>,
    pub(crate) clamp: Clamp,
}

// SAFETY: whoever writes through it from several threads answers for disjoint places; see `multiply`.
unsafe impl Send for Target<'_> {}
// SAFETY: as above.
unsafe impl Sync for Target<'_> {}

impl<'a> Target<'a> {
    /// Sums of f32 as they are, in rows of `stride`.
    pub(crate) fn new(out: &'a mut [f32], stride: usize) -> Self {
        Self {
            out: out.as_mut_ptr(),
            len: out.len(),
            borrowed: PhantomData,
            encoding: Encoding::F32,
            stride,
            residual: None,
            residual_encoding: Encoding::F32,
            bias: None,
            scale: None,
            clamp: Clamp::NONE,
        }
    }
}

/// Rows `first_row..` of the target = clamp(A · weights + bias + residual), in the panels of `range`. Every sum runs over
/// taps and depth in ascending order, whatever the tile. The weights were packed for `token`, as words of the same kind as
/// those of `rows`.
///
/// # Panics
/// Weights of other sizes than the rows, a target without room.
///
/// # Safety
/// No other thread uses these rows of the target in the columns of these panels meanwhile.
pub(crate) unsafe fn multiply(
    token: Token,
    rows: &Rows<'_>,
    weights: &PackedMatrix,
    range: Range<usize>,
    target: &Target<'_>,
    first_row: usize,
) {
    assert_eq!(weights.rows(), rows.taps() * rows.depth());
    match weights.kind() {
        Kind::F32 => multiply_f32(token, rows, weights, range, target, first_row),
        Kind::Bf16 => multiply_bf16(token, rows, weights, range, target, first_row),
        Kind::Bytes => multiply_bytes(token, rows, weights, range, target, first_row),
    }
}

for_each_isa! {
    fn multiply_f32(
        rows: &Rows<'_>, weights: &PackedMatrix, range: Range<usize>, target: &Target<'_>, first_row: usize
    ) => f32_panels
}

for_each_exact_isa! {
    fn multiply_bf16(
        rows: &Rows<'_>, weights: &PackedMatrix, range: Range<usize>, target: &Target<'_>, first_row: usize
    ) => bf16_panels
}

for_each_exact_isa! {
    fn multiply_bytes(
        rows: &Rows<'_>, weights: &PackedMatrix, range: Range<usize>, target: &Target<'_>, first_row: usize
    ) => bytes_panels
}

/// Defines the same for one kind of products.
macro_rules! panels_of {
    ($($name:ident: $product:ident)*) => {$(
        #[inline(always)]
        fn $name<S: Simd>(
            simd: S,
            rows: &Rows<'_>,
            weights: &PackedMatrix,
            range: Range<usize>,
            target: &Target<'_>,
            first_row: usize,
        ) {
            panels($product(simd), rows, weights, range, target, first_row);
        }
    )*};
}

panels_of!(f32_panels: F32 bf16_panels: Bf16 bytes_panels: Bytes);

/// All rows by one panel after the other: a panel stays in the second-level cache while the rows pass.
#[inline(always)]
fn panels<P: Product>(
    product: P,
    rows: &Rows<'_>,
    weights: &PackedMatrix,
    range: Range<usize>,
    target: &Target<'_>,
    first_row: usize,
) {
    for index in range {
        let (panel, column, vectors) = weights.panel(index);
        if vectors == PANEL_VECTORS {
            tiles::<P, PANEL_VECTORS>(product, rows, panel, column, target, first_row);
        } else {
            tiles::<P, 1>(product, rows, panel, column, target, first_row);
        }
    }
}

/// The rows in tiles of nearly equal size.
#[inline(always)]
fn tiles<P: Product, const VECTORS: usize>(
    product: P,
    rows: &Rows<'_>,
    panel: &[f32],
    column: usize,
    target: &Target<'_>,
    first_row: usize,
) {
    let tiles = rows.count().div_ceil(P::S::TILE_ROWS);
    let mut start = 0;
    for index in 1..=tiles {
        let end = rows.count() * index / tiles;
        // The next panel follows in memory. Each tile asks for its share of it, so that it comes at an even pace.
        let ahead = Ahead {
            from: panel.as_ptr().wrapping_add(panel.len() + panel.len() * (index - 1) / tiles),
            step: VECTORS * P::S::LANES / tiles,
        };
        /// One arm for each number of rows, so that sums and pointers are registers.
        macro_rules! by_rows {
            ($($n:literal)*) => {
                match end - start {
                    $($n => tile::<P, $n, VECTORS>(product, rows, start, panel, ahead, column, target, first_row + start),)*
                    _ => {}
                }
            };
        }
        match P::S::TILE_ROWS {
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
fn tile<P: Product, const ROWS: usize, const VECTORS: usize>(
    product: P,
    rows: &Rows<'_>,
    start: usize,
    panel: &[f32],
    ahead: Ahead,
    column: usize,
    target: &Target<'_>,
    first_row: usize,
) {
    let (simd, lanes) = (product.simd(), P::S::LANES);
    let biases = of_columns::<P::S, VECTORS>(target.bias, column);
    let scales = of_columns::<P::S, VECTORS>(target.scale, column);
    let mut sums: [[P::Sums; VECTORS]; ROWS] = [std::array::from_fn(|v| product.start(biases[v])); ROWS];
    if let Some(residual) = target.residual {
        // On its way from the third-level cache while the sums are made.
        for r in 0..ROWS {
            let at = ((first_row + r) * target.stride + column) / target.residual_encoding.per_word();
            for v in 0..VECTORS {
                simd.prefetch(residual.as_ptr().wrapping_add(at + v * 16));
            }
        }
    }
    assert!(panel.len() == rows.taps() * rows.depth() * VECTORS * lanes);
    let (mut weights, mut next) = (panel.as_ptr(), ahead.from);
    for tap in 0..rows.taps() {
        let row: [*const f32; ROWS] = *rows.pieces(tap, start);
        for k in 0..rows.depth() {
            // SAFETY: the panel holds a step of vectors for each of taps x depth words, as asserted.
            let w: [P::Words; VECTORS] =
                std::array::from_fn(|v| product.read(unsafe { &*weights.add(v * lanes).cast() }));
            // A cache line is 16 words: two steps reach every line of any step that occurs.
            simd.prefetch(next);
            simd.prefetch(next.wrapping_add(ahead.step / 2));
            next = next.wrapping_add(ahead.step);
            for r in 0..ROWS {
                // SAFETY: a piece has `depth` words.
                let x = product.splat(unsafe { *row[r].add(k) });
                for v in 0..VECTORS {
                    sums[r][v] = product.add(sums[r][v], x, w[v]);
                }
            }
            weights = weights.wrapping_add(VECTORS * lanes);
        }
    }
    let end = (first_row + ROWS - 1) * target.stride + column + VECTORS * lanes;
    assert!(end <= target.len * target.encoding.per_word(), "dense layer: an output of {} words", target.len);
    for (r, sums) in sums.into_iter().enumerate() {
        let values: [_; VECTORS] = std::array::from_fn(|v| product.finish(sums[v], scales[v], biases[v]));
        let at = (first_row + r) * target.stride + column;
        // What most layers are, without a question a vector.
        if target.encoding == Encoding::F32 && target.residual.is_none() {
            put::<P::S, VECTORS, false>(simd, target, Encoding::F32, at, values);
        } else {
            put::<P::S, VECTORS, true>(simd, target, target.encoding, at, values);
        }
    }
}

/// The numbers of neighbouring vectors of columns.
#[inline(always)]
fn of_columns<S: Simd, const VECTORS: usize>(
    numbers: Option<&[f32]>,
    column: usize,
) -> [Option<&S::Lanes>; VECTORS] {
    std::array::from_fn(|v| numbers.map(|numbers| Block::first(&numbers[column + v * S::LANES..])))
}

/// Adds the residual (where `RESIDUAL` and there is one), clamps and stores neighbouring vectors at place `at`; `tile` has
/// checked that the target holds it, and that `encoding` is its own.
#[inline(always)]
fn put<S: Simd, const VECTORS: usize, const RESIDUAL: bool>(
    simd: S,
    target: &Target<'_>,
    encoding: Encoding,
    at: usize,
    values: [S::Vector; VECTORS],
) {
    let (low, high) = (simd.splat(target.clamp.low), simd.splat(target.clamp.high));
    let per_word = encoding.per_word();
    // SAFETY: these words lie in the output, as `tile` has checked, which is borrowed as long as the target; nobody else uses
    // them: what the caller of `multiply` promises.
    let out = unsafe {
        std::slice::from_raw_parts_mut(target.out.add(at / per_word), VECTORS * S::LANES / per_word)
    };
    for (v, mut value) in values.into_iter().enumerate() {
        if RESIDUAL && let Some(residual) = target.residual {
            let residual = encoding::load(simd, residual, at + v * S::LANES, target.residual_encoding);
            value = simd.add(value, residual);
        }
        // In this order of arguments what is not a number stays so.
        encoding::store(simd, out, v * S::LANES, encoding, simd.min(high, simd.max(low, value)));
    }
}
