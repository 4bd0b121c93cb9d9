//! A weight matrix in the order in which the kernel reads it.
//!
//! In: a dense (rows, columns) matrix. Out: panels of two vectors of columns (the last one may be a single vector),
//! each with its rows one after the other, columns padded with zeros to whole vectors.

use crate::ops::{Isa, channels_last::lanes};

/// Vectors of columns in a full panel.
pub(crate) const PANEL_VECTORS: usize = 2;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct PackedMatrix {
    data: Vec<f32>,
    /// Where in `data` the first whole cache line begins.
    start: usize,
    rows: usize,
    lanes: usize,
    vectors: usize,
}

/// Numbers in a cache line.
const LINE: usize = 16;

impl PackedMatrix {
    /// Packs element (row, column) = `value(row, column)`.
    pub(crate) fn new(isa: Isa, rows: usize, columns: usize, value: impl Fn(usize, usize) -> f32) -> Self {
        let lanes = lanes(isa);
        let vectors = columns.div_ceil(lanes);
        let mut data = vec![0.0f32; rows * vectors * lanes + LINE];
        let start = data.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        let mut packed = data[start..].iter_mut();
        for first in (0..vectors).step_by(PANEL_VECTORS) {
            let panel = first * lanes..vectors.min(first + PANEL_VECTORS) * lanes;
            for row in 0..rows {
                for (column, slot) in panel.clone().zip(packed.by_ref()) {
                    if column < columns {
                        *slot = value(row, column);
                    }
                }
            }
        }
        Self { data, start, rows, lanes, vectors }
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
