//! PaDiM (Defard, Setkov, Loesch, Audigier: "PaDiM: a patch distribution modeling framework for anomaly detection and
//! localization", ICPR 2020 workshops): a Gaussian for each patch position, on randomly chosen dimensions.
//!
//! In: the features of the training images. Out: Mahalanobis distances of an image's patches, each to its own
//! position's Gaussian. With d dimensions, h·w positions and n images it keeps h·w · d(d + 3)/2 numbers of 4 bytes
//! (d = 100 on 36×36: 27 MB; d = 550: 789 MB), fits in h·w · (n · d²/2 + d³/6) multiplications and scores an image in
//! h·w · d²/2.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use simplenet_model::{BackboneId, feature_norm::FeatureNorm};

use super::check_features;
use crate::{
    error::TrainError,
    features::cache::FeatureCache,
    noise::{Generator, Purpose},
    statistics::cholesky::{cholesky, packed_len},
};

/// Fewest images with a covariance.
const FEWEST_IMAGES: usize = 2;

/// PaDiM's settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PadimConfig {
    /// Dimensions drawn from the features' D by the seed; all of them where D is not larger.
    pub dimensions: usize,
    /// Added to the diagonal of every covariance (the paper's ε, 0.01). It keeps the matrix regular where there are
    /// fewer images than dimensions, or where a feature never changes.
    pub ridge: f64,
}

impl Default for PadimConfig {
    fn default() -> Self {
        Self { dimensions: 100, ridge: 0.01 }
    }
}

impl PadimConfig {
    /// The paper's number of dimensions: 550 for the networks with wide features, 100 for the others.
    pub fn for_backbone(backbone: BackboneId) -> Self {
        let taps = backbone.taps(backbone.levels()).unwrap_or_default();
        if taps.iter().any(|tap| tap.channels == 1024) {
            Self { dimensions: 550, ..Self::default() }
        } else {
            Self::default()
        }
    }

    fn validate(&self) -> Result<(), TrainError> {
        if self.dimensions == 0 {
            return Err(TrainError::setting("padim.dimensions", self.dimensions, "must be at least 1"));
        }
        if !(self.ridge.is_finite() && self.ridge > 0.0) {
            return Err(TrainError::setting("padim.ridge", self.ridge, "must be a number above 0"));
        }
        Ok(())
    }
}

/// Fitted Gaussians.
#[derive(Debug, Clone)]
pub struct Padim {
    /// The features' D.
    dim: usize,
    /// Which of them are looked at, ascending; d of them.
    chosen: Vec<u32>,
    /// (h·w, d).
    means: Vec<f32>,
    /// Cholesky factors of the covariances, (h·w, d(d + 1)/2): the columns of the lower triangle one after another.
    factors: Vec<f32>,
}

impl Padim {
    /// Means and covariances of the rows in `cache`, after `norm`. Sums are in f64, in the order of the images.
    ///
    /// # Errors
    /// `TrainError::TooFewImages` below two images; a setting that cannot work; features that are not finite.
    pub fn fit(
        cache: &FeatureCache,
        norm: &FeatureNorm,
        config: &PadimConfig,
        generator: &Generator,
    ) -> Result<Self, TrainError> {
        config.validate()?;
        let (images, patches, dim) = (cache.images(), cache.patches(), cache.dim());
        if images < FEWEST_IMAGES {
            return Err(TrainError::TooFewImages {
                what: "PaDiM's covariance",
                needed: FEWEST_IMAGES,
                found: images,
                hint: "add photographs of good parts".into(),
            });
        }
        let mut chosen = generator.permutation(Purpose::PadimDimensions, 0, dim);
        chosen.truncate(config.dimensions);
        chosen.sort_unstable();
        let d = chosen.len();
        let mut means = vec![0.0; patches * d];
        let mut factors = vec![0.0; patches * packed_len(d)];
        means
            .par_chunks_exact_mut(d)
            .zip(factors.par_chunks_exact_mut(packed_len(d)))
            .enumerate()
            .try_for_each(|(position, (mean, factor))| -> Result<(), TrainError> {
                let indices: Vec<u32> = (0..images).map(|image| (image * patches + position) as u32).collect();
                let mut rows = vec![];
                cache.gather(&indices, norm, &mut rows)?;
                let rows: Vec<f64> = rows
                    .chunks_exact(dim)
                    .flat_map(|row| chosen.iter().map(|&i| f64::from(row[i as usize])))
                    .collect();
                let (centre, mut covariance) = moments(&rows, d, config.ridge);
                cholesky(&mut covariance, d).map_err(|pivot| {
                    TrainError::setting(
                        "padim.ridge",
                        config.ridge,
                        format!(
                            "the covariance at patch position {position} has a pivot of {pivot}: raise the ridge, and \
                             check that the features are finite"
                        ),
                    )
                })?;
                mean.iter_mut().zip(centre).for_each(|(to, from)| *to = from as f32);
                factor.iter_mut().zip(covariance).for_each(|(to, from)| *to = from as f32);
                Ok(())
            })?;
        Ok(Self { dim, chosen, means, factors })
    }

    /// Features (h·w, D), after the norm -> Mahalanobis distances (h·w).
    ///
    /// # Errors
    /// `ModelError::InputShape` for another number of values.
    pub fn patch_scores(&self, features: &[f32]) -> Result<Vec<f32>, TrainError> {
        let d = self.chosen.len();
        check_features("PaDiM", features, self.means.len() / d, self.dim)?;
        let scores = features
            .par_chunks_exact(self.dim)
            .zip(self.means.par_chunks_exact(d).zip(self.factors.par_chunks_exact(packed_len(d))))
            .map(|(row, (mean, factor))| {
                let offsets = self.chosen.iter().zip(mean);
                let mut rest: Vec<f64> =
                    offsets.map(|(&i, &mean)| f64::from(row[i as usize]) - f64::from(mean)).collect();
                squared_distance(&mut rest, factor).sqrt() as f32
            });
        Ok(scores.collect())
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        4 * (self.chosen.len() + self.means.len() + self.factors.len())
    }
}

/// (n, d) -> mean (d), and covariance (divisor n − 1) plus `ridge` on the diagonal: lower triangle, column by column.
fn moments(rows: &[f64], d: usize, ridge: f64) -> (Vec<f64>, Vec<f64>) {
    let n = (rows.len() / d) as f64;
    let mut mean = vec![0.0; d];
    for row in rows.chunks_exact(d) {
        mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    mean.iter_mut().for_each(|sum| *sum /= n);
    let mut covariance = vec![0.0; packed_len(d)];
    let mut centred = vec![0.0; d];
    for row in rows.chunks_exact(d) {
        for ((to, value), mean) in centred.iter_mut().zip(row).zip(&mean) {
            *to = value - mean;
        }
        let mut columns = covariance.as_mut_slice();
        for j in 0..d {
            let (column, later) = columns.split_at_mut(d - j);
            column.iter_mut().zip(&centred[j..]).for_each(|(sum, value)| *sum += centred[j] * value);
            columns = later;
        }
    }
    covariance.iter_mut().for_each(|sum| *sum /= n - 1.0);
    let mut columns = covariance.as_mut_slice();
    for j in 0..d {
        let (column, later) = columns.split_at_mut(d - j);
        column[0] += ridge;
        columns = later;
    }
    (mean, covariance)
}

/// |L⁻¹ x|² by forward substitution; `x` is used up.
fn squared_distance(x: &mut [f64], factor: &[f32]) -> f64 {
    let (mut rest, mut columns, mut sum) = (x, factor, 0.0);
    while let Some((first, below)) = rest.split_first_mut() {
        let (column, later) = columns.split_at(below.len() + 1);
        let solved = *first / f64::from(column[0]);
        sum += solved * solved;
        below.iter_mut().zip(&column[1..]).for_each(|(to, &value)| *to -= solved * f64::from(value));
        (rest, columns) = (below, later);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{Shape, cache_of, in_pool, numbers, unit_norm},
        *,
    };

    fn fit(cache: &FeatureCache, dimensions: usize) -> Result<Padim, TrainError> {
        let config = PadimConfig { dimensions, ..PadimConfig::default() };
        Padim::fit(cache, &unit_norm(cache.dim()), &config, &Generator::new(7))
    }

    /// The definition: covariance as a full matrix, its inverse by Gauss-Jordan elimination, (x − μ)ᵀ Σ⁻¹ (x − μ).
    fn naive(train: &[f32], shape: Shape, chosen: &[u32], ridge: f64, image: &[f32]) -> Vec<f64> {
        let d = chosen.len();
        let score = |position: usize| {
            let row = |all: &[f32], image: usize| -> Vec<f64> {
                let start = (image * shape.patches + position) * shape.dim;
                chosen.iter().map(|&i| f64::from(all[start + i as usize])).collect()
            };
            let rows: Vec<Vec<f64>> = (0..shape.images).map(|i| row(train, i)).collect();
            let n = rows.len() as f64;
            let mean: Vec<f64> = (0..d).map(|i| rows.iter().map(|r| r[i]).sum::<f64>() / n).collect();
            let mut matrix: Vec<Vec<f64>> = (0..d)
                .map(|i| {
                    let cell = |j: usize| {
                        let products = rows.iter().map(|r| (r[i] - mean[i]) * (r[j] - mean[j]));
                        products.sum::<f64>() / (n - 1.0) + if i == j { ridge } else { 0.0 }
                    };
                    (0..d).map(cell).chain((0..d).map(|j| f64::from(u8::from(i == j)))).collect()
                })
                .collect();
            for i in 0..d {
                let pivot = matrix[i][i];
                matrix[i].iter_mut().for_each(|v| *v /= pivot);
                let source = matrix[i].clone();
                for (k, row) in matrix.iter_mut().enumerate().filter(|(k, _)| *k != i) {
                    let factor = row[i];
                    assert!(k != i);
                    row.iter_mut().zip(&source).for_each(|(v, s)| *v -= factor * s);
                }
            }
            let x: Vec<f64> = row(image, 0).iter().zip(&mean).map(|(x, m)| x - m).collect();
            let square: f64 =
                (0..d).map(|i| (0..d).map(|j| x[i] * matrix[i][d + j] * x[j]).sum::<f64>()).sum();
            square.sqrt()
        };
        (0..shape.patches).map(score).collect()
    }

    #[test]
    fn distances_are_those_of_the_definition() {
        for (images, patches, dim, dimensions) in
            [(2, 1, 1, 1), (2, 3, 5, 9), (7, 15, 13, 8), (40, 6, 21, 21), (5, 4, 33, 30)]
        {
            let shape = Shape { images, patches, dim };
            let train = numbers(shape.len(), 1);
            let image = numbers(patches * dim, 2);
            let padim = fit(&cache_of(&train, shape), dimensions).unwrap();
            assert_eq!(padim.chosen.len(), dimensions.min(dim));
            let want = naive(&train, shape, &padim.chosen, 0.01, &image);
            let got = padim.patch_scores(&image).unwrap();
            assert_eq!(got.len(), patches);
            for (got, want) in got.iter().zip(want) {
                // Means and factors are kept in f32, and a ridge of 0.01 magnifies their rounding a hundredfold.
                assert!(
                    (f64::from(*got) - want).abs() <= 1e-4 * want.max(1.0),
                    "{shape:?}: {got} for {want}"
                );
            }
        }
    }

    #[test]
    fn identical_and_constant_features_leave_the_ridge() {
        let shape = Shape { images: 4, patches: 3, dim: 6 };
        let one = numbers(18, 3);
        for image in [one, vec![2.5; 18]] {
            let padim = fit(&cache_of(&image.repeat(4), shape), 6).unwrap();
            assert!(padim.patch_scores(&image).unwrap().iter().all(|&score| score == 0.0));
            // The covariance is ridge · I: a step of 1 in all six dimensions is √6 / √0.01 far.
            let moved: Vec<f32> = image.iter().map(|v| v + 1.0).collect();
            for score in padim.patch_scores(&moved).unwrap() {
                assert!((score - 600f32.sqrt()).abs() < 1e-3, "{score}");
            }
        }
    }

    #[test]
    fn neither_threads_nor_the_order_of_images_matter() {
        let shape = Shape { images: 9, patches: 10, dim: 12 };
        let train = numbers(shape.len(), 4);
        let image = numbers(120, 5);
        let scores = |train: &[f32]| fit(&cache_of(train, shape), 7).unwrap().patch_scores(&image).unwrap();
        let want = in_pool(1, || scores(&train));
        assert_eq!(in_pool(4, || scores(&train)), want);
        let reversed: Vec<f32> = train.chunks_exact(120).rev().flatten().copied().collect();
        for (got, want) in scores(&reversed).iter().zip(&want) {
            // f64 sums in another order, then f32.
            assert!((got - want).abs() <= 1e-5 * want, "{got} for {want}");
        }
    }

    #[test]
    fn the_seed_chooses_the_dimensions() {
        let shape = Shape { images: 3, patches: 2, dim: 30 };
        let cache = cache_of(&numbers(shape.len(), 6), shape);
        let chosen = |seed| {
            let config = PadimConfig { dimensions: 10, ..PadimConfig::default() };
            Padim::fit(&cache, &unit_norm(30), &config, &Generator::new(seed)).unwrap().chosen
        };
        assert_eq!(chosen(1), chosen(1));
        assert_ne!(chosen(1), chosen(2));
        assert!(chosen(3).is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn what_cannot_work_is_said() {
        let shape = Shape { images: 1, patches: 2, dim: 3 };
        let one = cache_of(&numbers(6, 7), shape);
        let two = cache_of(&numbers(12, 7), Shape { images: 2, ..shape });
        let broken = cache_of(&[f32::NAN; 12], Shape { images: 2, ..shape });
        let config = |dimensions, ridge| PadimConfig { dimensions, ridge };
        for (cache, config, words) in [
            (&one, config(3, 0.01), &["at least 2", "1 found"][..]),
            (&two, config(0, 0.01), &["padim.dimensions", "at least 1"]),
            (&two, config(3, 0.0), &["padim.ridge", "above 0"]),
            (&two, config(3, f64::NAN), &["padim.ridge"]),
            (&broken, config(3, 0.01), &["patch position", "finite"]),
        ] {
            let error =
                Padim::fit(cache, &unit_norm(3), &config, &Generator::new(0)).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{words:?} in {error}");
        }
        let error = fit(&two, 3).unwrap().patch_scores(&[0.0; 5]).unwrap_err().to_string();
        assert!(error.contains("PaDiM"), "{error}");
    }
}
