//! Features as they are kept: rounded to a precision, with their sums.
//!
//! In: (patches, D) features in f32, or bytes. Out: the numbers again, in f32, or bytes; sums for the statistics.

use std::ops::Range;

use candle_core::{Device, Tensor};
use half::{f16, slice::HalfFloatSliceExt};
use rayon::prelude::*;

use crate::config::Precision;

/// Numbers as they are kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Rows {
    F16(Vec<f16>),
    F32(Vec<f32>),
}

/// The features of one image, with their sums.
#[derive(Debug, Clone)]
pub struct ImageRows {
    pub(crate) rows: Rows,
    pub(crate) sums: Sums,
}

/// Sums of every dimension, and of the squares. The order of addition is fixed: within blocks of rows, block by block,
/// then one image after another.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sums {
    pub(crate) sum: Vec<f64>,
    pub(crate) squares: Vec<f64>,
}

/// Largest magnitude that is kept: the largest finite f16. Features of the supported backbones stay below 1000.
const LARGEST: f32 = 65504.0;
/// Rows a block of the sums.
pub(crate) const BLOCK: usize = 64;

impl ImageRows {
    /// Of (patches, `dim`) features, rounded to `precision`.
    pub fn new(precision: Precision, dim: usize, features: &[f32]) -> Self {
        Self::of(Rows::new(precision, features), dim)
    }

    /// Of rows as they were kept. The sums are of what is kept, so that they are the same whenever it is read.
    pub(crate) fn of(rows: Rows, dim: usize) -> Self {
        let sums = Sums::of(&rows, dim);
        Self { rows, sums }
    }
}

impl Rows {
    pub(crate) fn with_capacity(precision: Precision, numbers: usize) -> Self {
        match precision {
            Precision::F16 => Self::F16(Vec::with_capacity(numbers)),
            Precision::F32 => Self::F32(Vec::with_capacity(numbers)),
        }
    }

    fn new(precision: Precision, features: &[f32]) -> Self {
        match precision {
            Precision::F32 => Self::F32(features.to_vec()),
            Precision::F16 => {
                let clamped: Vec<f32> = features.iter().map(|v| v.clamp(-LARGEST, LARGEST)).collect();
                let mut rows = vec![f16::ZERO; features.len()];
                rows.convert_from_f32_slice(&clamped);
                Self::F16(rows)
            }
        }
    }

    pub(crate) fn precision(&self) -> Precision {
        match self {
            Self::F16(_) => Precision::F16,
            Self::F32(_) => Precision::F32,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F16(rows) => rows.len(),
            Self::F32(rows) => rows.len(),
        }
    }

    /// Little-endian.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.bytes(0..self.len())
    }

    /// Those of the numbers in `range`.
    pub(crate) fn bytes(&self, range: Range<usize>) -> Vec<u8> {
        let mut bytes = vec![0; range.len() * self.precision().bytes()];
        match self {
            Self::F16(rows) => {
                let pairs = bytes.as_chunks_mut().0.iter_mut().zip(&rows[range]);
                pairs.for_each(|(to, v)| *to = v.to_le_bytes());
            }
            Self::F32(rows) => {
                let pairs = bytes.as_chunks_mut().0.iter_mut().zip(&rows[range]);
                pairs.for_each(|(to, v)| *to = v.to_le_bytes());
            }
        }
        bytes
    }

    pub(crate) fn from_bytes(precision: Precision, bytes: &[u8]) -> Self {
        match precision {
            Precision::F16 => Self::F16(bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b)).collect()),
            Precision::F32 => Self::F32(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()),
        }
    }

    /// Only the rows of `dim` numbers that `wanted` says.
    pub(crate) fn only(&self, dim: usize, wanted: impl Fn(usize) -> bool) -> Self {
        let mut kept = Self::with_capacity(self.precision(), 0);
        for row in (0..self.len() / dim.max(1)).filter(|&row| wanted(row)) {
            let range = row * dim..(row + 1) * dim;
            match (&mut kept, self) {
                (Self::F16(kept), Self::F16(rows)) => kept.extend_from_slice(&rows[range]),
                (Self::F32(kept), Self::F32(rows)) => kept.extend_from_slice(&rows[range]),
                // Of one precision by construction.
                _ => {}
            }
        }
        kept
    }

    /// `other` is of the same precision.
    pub(crate) fn extend(&mut self, other: &Self) {
        match (self, other) {
            (Self::F16(rows), Self::F16(more)) => rows.extend_from_slice(more),
            (Self::F32(rows), Self::F32(more)) => rows.extend_from_slice(more),
            (Self::F16(rows), Self::F32(more)) => rows.extend(more.iter().map(|&v| f16::from_f32(v))),
            (Self::F32(rows), Self::F16(more)) => rows.extend(more.iter().map(|v| v.to_f32())),
        }
    }

    /// (rows, `dim`) on a device, of the type that they are kept in.
    pub(crate) fn to_tensor(&self, dim: usize, device: &Device) -> candle_core::Result<Tensor> {
        let shape = (self.len() / dim.max(1), dim);
        match self {
            Self::F16(rows) => Tensor::from_slice(rows, shape, device),
            Self::F32(rows) => Tensor::from_slice(rows, shape, device),
        }
    }

    /// The numbers from `start` on, as many as `to` takes.
    pub(crate) fn copy_to(&self, start: usize, to: &mut [f32]) {
        let range = start..start + to.len();
        match self {
            Self::F16(rows) => rows[range].convert_to_f32_slice(to),
            Self::F32(rows) => to.copy_from_slice(&rows[range]),
        }
    }
}

impl Sums {
    pub(crate) fn zeros(dim: usize) -> Self {
        Self { sum: vec![0.0; dim], squares: vec![0.0; dim] }
    }

    pub(crate) fn of(rows: &Rows, dim: usize) -> Self {
        let count = rows.len() / dim.max(1);
        let blocks: Vec<Self> = (0..count.div_ceil(BLOCK))
            .into_par_iter()
            .map(|block| {
                let mut sums = Self::zeros(dim);
                let mut row = vec![0.0; dim];
                for index in block * BLOCK..count.min((block + 1) * BLOCK) {
                    rows.copy_to(index * dim, &mut row);
                    let sides = sums.sum.iter_mut().zip(&mut sums.squares);
                    for ((sum, squares), &value) in sides.zip(&row) {
                        *sum += f64::from(value);
                        *squares += f64::from(value) * f64::from(value);
                    }
                }
                sums
            })
            .collect();
        let mut total = Self::zeros(dim);
        blocks.iter().for_each(|block| total.add(block));
        total
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.sum.iter_mut().zip(&other.sum).for_each(|(to, from)| *to += from);
        self.squares.iter_mut().zip(&other.squares).for_each(|(to, from)| *to += from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_survive_the_way_to_bytes_and_back() {
        // More than a block of rows, so that blocks are added; what f16 cannot hold is rounded once and clamped.
        let features: Vec<f32> = (0..200 * 3).map(|i| (i as f32 - 200.0) * 0.0123).chain([1e9; 3]).collect();
        for precision in [Precision::F16, Precision::F32] {
            let image = ImageRows::new(precision, 3, &features);
            let again = ImageRows::of(Rows::from_bytes(precision, &image.rows.to_bytes()), 3);
            assert_eq!((&again.rows, &again.sums), (&image.rows, &image.sums));
            let mut last = [0.0; 3];
            image.rows.copy_to(600, &mut last);
            assert_eq!(last, [if precision == Precision::F16 { LARGEST } else { 1e9 }; 3]);
        }
    }
}
