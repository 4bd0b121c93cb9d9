//! A weight matrix in the order in which the kernel reads it.
//!
//! In: a dense (rows, columns) matrix of words: a word is one f32, two bf16 or four bytes ([`Kind`]). Out: panels of two
//! vectors of columns (the last one may be a single vector), each with its rows one after the other, columns padded with
//! zeros to whole vectors.

use std::sync::Arc;

use rayon::prelude::*;

use super::product::Kind;
use crate::kernels::{aligned::Aligned, encoding::bf16, isa::Token};

/// Vectors of columns in a full panel.
pub(crate) const PANEL_VECTORS: usize = 2;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct PackedMatrix {
    /// This matrix's numbers, and those of the ones packed together with it.
    data: Arc<Aligned>,
    start: usize,
    kind: Kind,
    rows: usize,
    lanes: usize,
    vectors: usize,
}

/// Two bf16 as a word.
fn two_halves(first: f32, second: f32) -> f32 {
    f32::from_bits(u32::from(bf16(first)) | u32::from(bf16(second)) << 16)
}

/// The largest byte of a weight: the same on both sides of zero.
const LARGEST_BYTE: f32 = 127.0;

impl PackedMatrix {
    /// Packs element (row, column) = `value(row)(column)`, as f32.
    pub(crate) fn new<F: Fn(usize) -> f32>(
        token: Token,
        rows: usize,
        columns: usize,
        value: impl Fn(usize) -> F + Sync,
    ) -> Self {
        Self::pack(token, Kind::F32, rows, columns, value)
    }

    /// Packs rows of two bf16 a word, each tap's `depth` rows filled up with zeros: `value(tap, row, column)`.
    pub(crate) fn halves(
        token: Token,
        taps: usize,
        depth: usize,
        columns: usize,
        value: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let words = depth.div_ceil(2);
        let value = &value;
        Self::pack(token, Kind::Bf16, taps * words, columns, |row| {
            let (tap, first) = (row / words, row % words * 2);
            let at = move |row: usize, column: usize| if row < depth { value(tap, row, column) } else { 0.0 };
            move |column| two_halves(at(first, column), at(first + 1, column))
        })
    }

    /// Packs rows of four bytes a word, each tap's `depth` rows filled up with zeros: `value(tap, row, column)`. Each
    /// column has a step of its own, with which its largest number becomes 127. Also returned: for each column its step,
    /// and the sum of its bytes.
    pub(crate) fn bytes(
        token: Token,
        taps: usize,
        depth: usize,
        columns: usize,
        value: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> (Self, Vec<f32>, Vec<i32>) {
        let words = depth.div_ceil(4);
        let a_column = (taps * words * 4).max(1);
        // Column after column, as weights are stored, and only then in the kernel's order.
        let mut quantised = vec![0u8; columns * a_column];
        let steps = quantised.par_chunks_mut(a_column).enumerate().map(|(column, quantised)| {
            let places = || (0..depth).flat_map(|row| (0..taps).map(move |tap| (tap, row)));
            let largest = places().fold(0.0f32, |most, (tap, row)| most.max(value(tap, row, column).abs()));
            let step = if largest > 0.0 { largest / LARGEST_BYTE } else { 1.0 };
            let mut sum = 0;
            for (tap, row) in places() {
                let byte = (value(tap, row, column) / step).round_ties_even() as i8;
                sum += i32::from(byte);
                quantised[tap * words * 4 + row] = byte as u8;
            }
            (step, sum)
        });
        let (steps, sums): (Vec<f32>, Vec<i32>) = steps.unzip();
        let quantised = &quantised;
        let matrix = Self::pack(token, Kind::Bytes, taps * words, columns, |row| {
            move |column| {
                let bytes = &quantised[column * a_column + row * 4..][..4];
                f32::from_bits(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            }
        });
        (matrix, steps, sums)
    }

    fn pack<F: Fn(usize) -> f32>(
        token: Token,
        kind: Kind,
        rows: usize,
        columns: usize,
        value: impl Fn(usize) -> F + Sync,
    ) -> Self {
        let shape = Shape::new(token, kind, rows, columns);
        let mut data = Aligned::zeros(shape.len());
        shape.pack(&mut data, &value);
        shape.matrix(&Arc::new(data), 0)
    }

    /// Packs matrices of one shape, one behind the other in memory: of matrix i the element `value(i, row)(column)`, as f32.
    pub(crate) fn stack<F: Fn(usize) -> f32>(
        token: Token,
        count: usize,
        rows: usize,
        columns: usize,
        value: impl Fn(usize, usize) -> F + Sync,
    ) -> Vec<Self> {
        let shape = Shape::new(token, Kind::F32, rows, columns);
        let mut data = Aligned::zeros(count * shape.len());
        let matrices = data.par_chunks_mut(shape.len().max(1)).enumerate();
        matrices.for_each(|(index, packed)| shape.pack(packed, &|row| value(index, row)));
        let data = Arc::new(data);
        (0..count).map(|index| shape.matrix(&data, index)).collect()
    }

    /// Columns with the padding.
    pub(crate) fn padded_columns(&self) -> usize {
        self.vectors * self.lanes
    }

    /// What its words hold.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Rows of words.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Number of panels.
    pub(crate) fn panels(&self) -> usize {
        self.vectors.div_ceil(PANEL_VECTORS)
    }

    /// Panel `index`: its numbers, its first column and its vectors.
    pub(crate) fn panel(&self, index: usize) -> (&[f32], usize, usize) {
        let first = index * PANEL_VECTORS;
        let vectors = PANEL_VECTORS.min(self.vectors - first);
        let start = self.start + first * self.lanes * self.rows;
        (&self.data[start..start + vectors * self.lanes * self.rows], first * self.lanes, vectors)
    }
}

/// What all matrices of a stack share.
#[derive(Debug, Clone, Copy)]
struct Shape {
    kind: Kind,
    rows: usize,
    columns: usize,
    lanes: usize,
    vectors: usize,
}

impl Shape {
    fn new(token: Token, kind: Kind, rows: usize, columns: usize) -> Self {
        let lanes = token.lanes();
        Self { kind, rows, columns, lanes, vectors: columns.div_ceil(lanes) }
    }

    /// Words of a packed matrix.
    fn len(&self) -> usize {
        self.rows * self.vectors * self.lanes
    }

    /// Fills one matrix, panels in parallel.
    fn pack<F: Fn(usize) -> f32>(&self, packed: &mut [f32], value: &(impl Fn(usize) -> F + Sync)) {
        let Self { rows, columns, lanes, vectors, .. } = *self;
        let width = PANEL_VECTORS * lanes;
        packed.par_chunks_mut((rows * width).max(1)).enumerate().for_each(|(panel, packed)| {
            let first = panel * width;
            // The last panel may be narrower.
            for (row, packed) in packed.chunks_exact_mut(width.min(vectors * lanes - first)).enumerate() {
                let value = value(row);
                packed.iter_mut().zip(first..columns).for_each(|(slot, column)| *slot = value(column));
            }
        });
    }

    /// The `index`-th matrix in `data`.
    fn matrix(&self, data: &Arc<Aligned>, index: usize) -> PackedMatrix {
        let Self { kind, rows, lanes, vectors, .. } = *self;
        PackedMatrix { data: Arc::clone(data), start: index * self.len(), kind, rows, lanes, vectors }
    }
}
