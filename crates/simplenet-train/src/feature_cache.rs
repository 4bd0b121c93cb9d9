//! The training features, computed once: the backbone is frozen, so an image's patches never change.
//!
//! In: patch features of one image after another, (h·w, D) each. Out: rows by index, normalised, in f32; and mean and
//! deviation of every dimension. Rows are kept in f16, half the memory of f32: one part in 2048 of a feature, far below
//! the training noise; `Precision::F32` keeps them as they are, for the official protocol.

use half::{f16, slice::HalfFloatSliceExt};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use simplenet_model::feature_norm::FeatureNorm;

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
    sums: Vec<Sums>,
}

#[derive(Debug, Clone)]
enum Rows {
    F16(Vec<f16>),
    F32(Vec<f32>),
}

/// Running sums of one dimension, one image after another: the order of addition is fixed.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    sum: f64,
    squares: f64,
}

/// Mean and standard deviation of every dimension, and the deviation of all numbers together.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureStatistics {
    /// Mean of each dimension, (D).
    pub mean: Vec<f64>,
    /// Standard deviation of each dimension, (D).
    pub deviation: Vec<f64>,
    /// Standard deviation of all numbers.
    pub global_deviation: f64,
}

/// Largest magnitude that is kept: the largest finite f16. Features of the supported backbones stay below 1000.
const LARGEST: f32 = 65504.0;
/// Numbers copied at a time for the hash.
const HASHED_AT_ONCE: usize = 1 << 16;

impl FeatureCache {
    /// An empty cache for images of `patches` patches with `dim` numbers each, with room for `images`.
    pub fn new(precision: Precision, images: usize, patches: usize, dim: usize) -> Self {
        let capacity = images * patches * dim;
        let rows = match precision {
            Precision::F16 => Rows::F16(Vec::with_capacity(capacity)),
            Precision::F32 => Rows::F32(Vec::with_capacity(capacity)),
        };
        Self { rows, dim, patches, sums: vec![Sums::default(); dim] }
    }

    /// Adds the next image's features, (patches, dim) row-major; a slice of several images adds all of them.
    pub fn push(&mut self, features: &[f32]) {
        for row in features.chunks_exact(self.dim) {
            for (sums, &value) in self.sums.iter_mut().zip(row) {
                sums.sum += f64::from(value);
                sums.squares += f64::from(value) * f64::from(value);
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

    /// SHA-256 of all rows and their shape, 64 hexadecimal digits.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        hash.update([self.dim as u64, self.patches as u64].map(u64::to_le_bytes).concat());
        match &self.rows {
            Rows::F16(rows) => rows.chunks(HASHED_AT_ONCE).for_each(|some| {
                hash.update(some.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
            }),
            Rows::F32(rows) => rows.chunks(HASHED_AT_ONCE).for_each(|some| {
                hash.update(some.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
            }),
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
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

    /// Mean and deviation of what is in the cache; zeros for an empty one.
    pub fn statistics(&self) -> FeatureStatistics {
        let count = self.rows().max(1) as f64;
        let deviation = |sum: f64, squares: f64, count: f64| {
            let mean = sum / count;
            (squares / count - mean * mean).max(0.0).sqrt()
        };
        let total = |part: fn(&Sums) -> f64| self.sums.iter().map(part).sum::<f64>();
        FeatureStatistics {
            mean: self.sums.iter().map(|s| s.sum / count).collect(),
            deviation: self.sums.iter().map(|s| deviation(s.sum, s.squares, count)).collect(),
            global_deviation: deviation(
                total(|s| s.sum),
                total(|s| s.squares),
                count * self.dim.max(1) as f64,
            ),
        }
    }

    /// Copies rows into `out`, (indices, dim), after the norm. Indices beyond the
    /// last row give zeros.
    pub fn gather(&self, indices: &[u32], norm: &FeatureNorm, out: &mut Vec<f32>) {
        let dim = self.dim;
        out.resize(indices.len() * dim, 0.0);
        out.par_chunks_exact_mut(dim).zip(indices.par_iter()).with_min_len(64).for_each(|(to, &index)| {
            let range = index as usize * dim..(index as usize + 1) * dim;
            let found = match &self.rows {
                Rows::F16(rows) => rows.get(range).map(|from| from.convert_to_f32_slice(to)),
                Rows::F32(rows) => rows.get(range).map(|from| to.copy_from_slice(from)),
            };
            match found {
                Some(()) => norm.apply_to_row(to),
                None => to.fill(0.0),
            }
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
    fn rows_come_back_normalised_in_the_asked_order() {
        let device = candle_core::Device::Cpu;
        let norm = FeatureNorm::new(&[0.0, 0.25, 0.0, 0.75], &[2.0, 2.0, 4.0, 4.0], &device).unwrap();
        for precision in [Precision::F16, Precision::F32] {
            let cache = filled(precision);
            assert_eq!((cache.images(), cache.rows(), cache.dim(), cache.patches()), (2, 6, 4, 3));
            let mut out = vec![];
            cache.gather(&[5, 0, 99], &norm, &mut out);
            assert_eq!(out, [10.0, 10.0, 22.0, 20.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        }
    }

    #[test]
    fn statistics_are_those_of_the_numbers() {
        // 0, 1, ... 23 quarters in rows of four: every dimension has the variance of 0, 1, ... 5, which is 35/12.
        let statistics = filled(Precision::F16).statistics();
        let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-12, "{got} for {want}");
        close(statistics.global_deviation, (575.0f64 / 12.0 / 16.0).sqrt());
        for d in 0..4 {
            close(statistics.mean[d], 2.5 + 0.25 * d as f64);
            close(statistics.deviation[d], (35.0f64 / 12.0).sqrt());
        }
        assert_eq!(FeatureCache::new(Precision::F16, 0, 1, 1).statistics().global_deviation, 0.0);
    }
}
