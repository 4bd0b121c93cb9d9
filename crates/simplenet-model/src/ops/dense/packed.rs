//! A weight matrix in the order in which the kernel reads it.
//!
//! In: a dense (rows, columns) matrix. Out: panels of two vectors of columns (the last one may be a single vector),
//! each with its rows one after the other, columns padded with zeros to whole vectors.

use rayon::prelude::*;

use crate::ops::{Isa, aligned::Aligned, channels_last::lanes};

/// Vectors of columns in a full panel.
pub(crate) const PANEL_VECTORS: usize = 2;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct PackedMatrix {
    data: Aligned,
    rows: usize,
    lanes: usize,
    vectors: usize,
}

impl PackedMatrix {
    /// Packs element (row, column) = `value(row)(column)`, panels in parallel.
    pub(crate) fn new<F: Fn(usize) -> f32>(
        isa: Isa,
        rows: usize,
        columns: usize,
        value: impl Fn(usize) -> F + Sync,
    ) -> Self {
        let lanes = lanes(isa);
        let vectors = columns.div_ceil(lanes);
        let mut data = Aligned::zeros(rows * vectors * lanes);
        let width = PANEL_VECTORS * lanes;
        data.par_chunks_mut((rows * width).max(1)).enumerate().for_each(|(panel, packed)| {
            let first = panel * width;
            // The last panel may be narrower.
            for (row, packed) in packed.chunks_exact_mut(width.min(vectors * lanes - first)).enumerate() {
                let value = value(row);
                packed.iter_mut().zip(first..columns).for_each(|(slot, column)| *slot = value(column));
            }
        });
        Self { data, rows, lanes, vectors }
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
        let start = first * self.lanes * self.rows;
        (&self.data[start..start + vectors * self.lanes * self.rows], first * self.lanes, vectors)
    }
}
