//! A weight matrix in the order in which the kernel reads it.
//!
//! In: a dense (rows, columns) matrix. Out: panels of two vectors of columns (the last one may be a single vector),
//! each with its rows one after the other, columns padded with zeros to whole vectors.

use std::sync::Arc;

use rayon::prelude::*;

use crate::ops::{Isa, aligned::Aligned, channels_last::lanes};

/// Vectors of columns in a full panel.
pub(crate) const PANEL_VECTORS: usize = 2;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct PackedMatrix {
    /// This matrix's numbers, and those of the ones packed together with it.
    data: Arc<Aligned>,
    start: usize,
    rows: usize,
    lanes: usize,
    vectors: usize,
}

impl PackedMatrix {
    /// Packs element (row, column) = `value(row)(column)`.
    pub(crate) fn new<F: Fn(usize) -> f32>(
        isa: Isa,
        rows: usize,
        columns: usize,
        value: impl Fn(usize) -> F + Sync,
    ) -> Self {
        let shape = Shape::new(isa, rows, columns);
        let mut data = Aligned::zeros(shape.len());
        shape.pack(&mut data, &value);
        shape.matrix(&Arc::new(data), 0)
    }

    /// Packs matrices of one shape, one behind the other in memory: of matrix i the element `value(i, row)(column)`.
    pub(crate) fn stack<F: Fn(usize) -> f32>(
        isa: Isa,
        count: usize,
        rows: usize,
        columns: usize,
        value: impl Fn(usize, usize) -> F + Sync,
    ) -> Vec<Self> {
        let shape = Shape::new(isa, rows, columns);
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

    /// Rows.
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
    rows: usize,
    columns: usize,
    lanes: usize,
    vectors: usize,
}

impl Shape {
    fn new(isa: Isa, rows: usize, columns: usize) -> Self {
        let lanes = lanes(isa);
        Self { rows, columns, lanes, vectors: columns.div_ceil(lanes) }
    }

    /// Numbers of a packed matrix.
    fn len(&self) -> usize {
        self.rows * self.vectors * self.lanes
    }

    /// Fills one matrix, panels in parallel.
    fn pack<F: Fn(usize) -> f32>(&self, packed: &mut [f32], value: &(impl Fn(usize) -> F + Sync)) {
        let Self { rows, columns, lanes, vectors } = *self;
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
        let Self { rows, lanes, vectors, .. } = *self;
        PackedMatrix { data: Arc::clone(data), start: index * self.len(), rows, lanes, vectors }
    }
}
