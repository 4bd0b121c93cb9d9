//! The training features, computed once: the backbone is frozen, so an image's patches never change.
//!
//! In: patch features of one image after another, (h·w, D) each. Out: rows by index, scaled, in f32; and the standard
//! deviation of all numbers. Rows are kept in f16, half the memory of f32: one part in 2048 of a feature, far below
//! the training noise; `Precision::F32` keeps them as they are, for the official protocol.

use half::{f16, slice::HalfFloatSliceExt};
use rayon::prelude::*;

/// How rows are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Two bytes a number.
    F16,
    /// Four bytes a number.
    F32,
}

/// The patch features of a set of images.
#[derive(Debug, Clone)]
pub struct FeatureCache {
    rows: Rows,
    dim: usize,
    patches: usize,
    sums: Sums,
}

#[derive(Debug, Clone)]
enum Rows {
    F16(Vec<f16>),
    F32(Vec<f32>),
}

/// Running sums for the deviation, one image after another: the order of addition is fixed.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    count: f64,
    sum: f64,
    squares: f64,
}

/// Largest magnitude that is kept: the largest finite f16. Features of the supported backbones stay below 1000.
const LARGEST: f32 = 65504.0;

impl FeatureCache {
    /// An empty cache for images of `patches` patches with `dim` numbers each, with room for `images`.
    pub fn new(precision: Precision, images: usize, patches: usize, dim: usize) -> Self {
        let capacity = images * patches * dim;
        let rows = match precision {
            Precision::F16 => Rows::F16(Vec::with_capacity(capacity)),
            Precision::F32 => Rows::F32(Vec::with_capacity(capacity)),
        };
        Self { rows, dim, patches, sums: Sums::default() }
    }

    /// Adds the next image's features, (patches, dim) row-major; a slice of several images adds all of them.
    pub fn push(&mut self, features: &[f32]) {
        for image in features.chunks_exact(self.patches * self.dim) {
            self.sums.count += image.len() as f64;
            // Summed by row, then over rows: f32 within a row would lose digits, f64 throughout is slower.
            for row in image.chunks_exact(self.dim) {
                self.sums.sum += row.iter().map(|&v| f64::from(v)).sum::<f64>();
                self.sums.squares += row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>();
            }
        }
        match &mut self.rows {
            Rows::F32(rows) => rows.extend_from_slice(features),
            Rows::F16(rows) => {
                let start = rows.len();
                rows.resize(start + features.len(), f16::ZERO);
                let clamped: Vec<f32> = features.iter().map(|v| v.clamp(-LARGEST, LARGEST)).collect();
                rows[start..].convert_from_f32_slice(&clamped);
            }
        }
    }

    /// Numbers in a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Patches an image.
    pub fn patches(&self) -> usize {
        self.patches
    }

    /// Images so far.
    pub fn images(&self) -> usize {
        self.rows() / self.patches.max(1)
    }

    /// Rows so far: images times patches.
    pub fn rows(&self) -> usize {
        match &self.rows {
            Rows::F16(rows) => rows.len() / self.dim.max(1),
            Rows::F32(rows) => rows.len() / self.dim.max(1),
        }
    }

    /// Standard deviation of all numbers; 0 for an empty cache.
    pub fn deviation(&self) -> f64 {
        let Sums { count, sum, squares } = self.sums;
        if count == 0.0 {
            return 0.0;
        }
        let mean = sum / count;
        (squares / count - mean * mean).max(0.0).sqrt()
    }

    /// Copies rows, multiplied by `scale`, into `out`, (indices, dim). Indices beyond the last row are left out.
    pub fn gather(&self, indices: &[u32], scale: f32, out: &mut Vec<f32>) {
        let dim = self.dim;
        out.resize(indices.len() * dim, 0.0);
        out.par_chunks_exact_mut(dim).zip(indices.par_iter()).with_min_len(64).for_each(|(to, &index)| {
            let range = index as usize * dim..(index as usize + 1) * dim;
            match &self.rows {
                Rows::F16(rows) => {
                    if let Some(from) = rows.get(range) {
                        from.convert_to_f32_slice(to);
                    }
                }
                Rows::F32(rows) => {
                    if let Some(from) = rows.get(range) {
                        to.copy_from_slice(from);
                    }
                }
            }
            to.iter_mut().for_each(|v| *v *= scale);
        });
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        match &self.rows {
            Rows::F16(rows) => rows.capacity() * 2,
            Rows::F32(rows) => rows.capacity() * 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(precision: Precision) -> FeatureCache {
        let mut cache = FeatureCache::new(precision, 2, 3, 4);
        for image in 0..2 {
            let features: Vec<f32> = (0..12).map(|i| (image * 12 + i) as f32 * 0.25).collect();
            cache.push(&features);
        }
        cache
    }

    #[test]
    fn rows_come_back_scaled_in_the_asked_order() {
        for precision in [Precision::F16, Precision::F32] {
            let cache = filled(precision);
            assert_eq!((cache.images(), cache.rows(), cache.dim(), cache.patches()), (2, 6, 4, 3));
            let mut out = vec![];
            cache.gather(&[5, 0], 2.0, &mut out);
            assert_eq!(out, [10.0, 10.5, 11.0, 11.5, 0.0, 0.5, 1.0, 1.5]);
        }
    }

    #[test]
    fn deviation_is_that_of_all_numbers() {
        // 0, 1, ... 23 quarters: variance (24² − 1) / 12 / 16
        let want = (575.0f64 / 12.0 / 16.0).sqrt();
        assert!((filled(Precision::F16).deviation() - want).abs() < 1e-12);
        assert_eq!(FeatureCache::new(Precision::F16, 0, 1, 1).deviation(), 0.0);
    }
}
