//! PatchCore (Roth et al.: "Towards total recall in industrial anomaly detection", CVPR 2022): distance to the nearest
//! of a few remembered patches of good parts.
//!
//! In: the features of the training images. Out: patch scores, and an image score. N training rows of width D leave
//! M = N · `coreset_share` rows in the memory bank, 4 · M · D bytes. Choosing them takes at most N · M distances of
//! width 128 (the triangle inequality spares about a quarter) and 512 · N bytes; scoring an image takes h·w · M · D
//! multiplications.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use simplenet_model::{
    anomaly_map::{ImageScore, image_score},
    compute::{Matrix, matmul_into},
    feature_norm::FeatureNorm,
};

use super::{
    check_features,
    coreset::{greedy_coreset, squared_distance},
};
use crate::{
    error::TrainError,
    features::cache::FeatureCache,
    noise::{Generator, Purpose},
};

/// Width of the random projection that the coreset is chosen in (the official code: 128).
const PROJECTED: usize = 128;
/// Rows that are read and projected in one go.
const ROWS: usize = 4096;
/// Patches and bank rows of one block of distances.
const BLOCK: [usize; 2] = [512, 2048];

/// PatchCore's settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchCoreConfig {
    /// Share of the training rows that the memory bank keeps. The paper has 0.25, 0.1 and 0.01, the scripts of the
    /// official code 0.1.
    pub coreset_share: f64,
    /// What an image's score is.
    pub image_score: BankScore,
}

/// What an image's score is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BankScore {
    /// The largest patch score, as SimpleNet's and as the official PatchCore code.
    Largest,
    /// The largest patch score, weighted by how lonely its nearest bank row is (the paper's equation 7). anomalib does
    /// so with 9 neighbours.
    Reweighted {
        /// Rows of the bank nearest to that row, itself among them.
        neighbours: usize,
    },
}

impl Default for PatchCoreConfig {
    fn default() -> Self {
        Self { coreset_share: 0.01, image_score: BankScore::Largest }
    }
}

impl PatchCoreConfig {
    /// Checks both settings.
    ///
    /// # Errors
    /// `TrainError::Setting` names the one that cannot work.
    pub fn validate(&self) -> Result<(), TrainError> {
        if !(self.coreset_share > 0.0 && self.coreset_share <= 1.0) {
            let problem = "must be above 0 and at most 1";
            return Err(TrainError::setting("patch_core.coreset_share", self.coreset_share, problem));
        }
        if let BankScore::Reweighted { neighbours: neighbours @ (0 | 1) } = self.image_score {
            let problem = "must be at least 2: one row has no neighbours to compare with";
            return Err(TrainError::setting("patch_core.image_score.neighbours", neighbours, problem));
        }
        Ok(())
    }
}

/// A memory bank.
#[derive(Debug, Clone)]
pub struct PatchCore {
    dim: usize,
    patches: usize,
    /// (M, D).
    bank: Vec<f32>,
    /// |m|² of its rows, (M).
    squares: Vec<f32>,
    image_score: BankScore,
}

/// What PatchCore says of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchCoreScores {
    /// Distances to the nearest row of the bank, (h·w).
    pub patches: Vec<f32>,
    /// The image's score.
    pub image: f32,
}

impl PatchCore {
    /// Chooses the memory bank among the rows in `cache`, after `norm`: greedily, on a random projection of the seed;
    /// features of 128 numbers and fewer are not projected. At least one row; fewer than asked for where rows repeat.
    ///
    /// # Errors
    /// `TrainError::TooFewImages` for an empty cache; a setting that cannot work.
    pub fn fit(
        cache: &FeatureCache,
        norm: &FeatureNorm,
        config: &PatchCoreConfig,
        generator: &Generator,
    ) -> Result<Self, TrainError> {
        config.validate()?;
        let (rows, dim) = (cache.rows(), cache.dim());
        if rows == 0 {
            return Err(TrainError::TooFewImages {
                what: "PatchCore's memory bank",
                needed: 1,
                found: 0,
                hint: "add photographs of good parts".into(),
            });
        }
        let count = ((rows as f64 * config.coreset_share) as usize).max(1);
        let chosen = {
            let width = dim.min(PROJECTED);
            greedy_coreset(&projected(cache, norm, width, generator)?, width, count)
        };
        let mut bank = vec![];
        cache.gather(&chosen, norm, &mut bank)?;
        let squares = bank.chunks_exact(dim).map(|row| row.iter().map(|v| v * v).sum()).collect();
        Ok(Self { dim, patches: cache.patches(), bank, squares, image_score: config.image_score })
    }

    /// Features (h·w, D), after the norm -> patch scores and the image's score.
    ///
    /// # Errors
    /// `ModelError::InputShape` for another number of values.
    pub fn scores(&self, features: &[f32]) -> Result<PatchCoreScores, TrainError> {
        check_features("PatchCore", features, self.patches, self.dim)?;
        let nearest = self.nearest(features)?;
        let rows = features.chunks_exact(self.dim);
        let patches: Vec<f32> =
            rows.clone().zip(&nearest).map(|(row, &m)| squared_distance(row, self.row(m)).sqrt()).collect();
        let largest = image_score(&patches, 1, ImageScore::Largest);
        let image = match self.image_score {
            BankScore::Largest => largest,
            BankScore::Reweighted { neighbours } => {
                let found = rows.zip(&nearest).zip(&patches).find(|(_, score)| **score == largest);
                found.map_or(largest, |((row, &m), _)| largest * self.weight(row, m, largest, neighbours))
            }
        };
        Ok(PatchCoreScores { patches, image })
    }

    /// Rows of the bank.
    pub fn rows(&self) -> usize {
        self.squares.len()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        4 * (self.bank.len() + self.squares.len())
    }

    fn row(&self, m: usize) -> &[f32] {
        &self.bank[m * self.dim..(m + 1) * self.dim]
    }

    /// The nearest row of the bank for every patch: the least |m|² − 2 x·m, block by block. Which row it is, is all that
    /// is taken from these: the difference of large numbers would be a poor distance.
    fn nearest(&self, features: &[f32]) -> Result<Vec<usize>, TrainError> {
        let [some_patches, some_rows] = BLOCK;
        let dim = self.dim;
        let mut products = vec![];
        let mut nearest = Vec::with_capacity(self.patches);
        for patches in features.chunks(some_patches * dim) {
            let count = patches.len() / dim;
            let mut best = vec![(f32::INFINITY, 0); count];
            for (block, (bank, squares)) in
                self.bank.chunks(some_rows * dim).zip(self.squares.chunks(some_rows)).enumerate()
            {
                products.resize(count * squares.len(), 0.0);
                let rows = Matrix::row_major(bank, squares.len(), dim)?;
                matmul_into(Matrix::row_major(patches, count, dim)?, rows.transposed(), &mut products)?;
                best.par_iter_mut().zip(products.par_chunks_exact(squares.len())).for_each(|(best, row)| {
                    for (i, (product, square)) in row.iter().zip(squares).enumerate() {
                        let distance = square - 2.0 * product;
                        if distance < best.0 {
                            *best = (distance, block * some_rows + i);
                        }
                    }
                });
            }
            nearest.extend(best.into_iter().map(|(_, row)| row));
        }
        Ok(nearest)
    }

    /// Equation 7's factor for the patch `x` at `distance` from its nearest row `m`:
    /// 1 − exp(|x − m|) / Σ exp(|x − m'|) over the rows m' nearest to m. A bank of one row weighs 1, as in anomalib.
    fn weight(&self, x: &[f32], m: usize, distance: f32, neighbours: usize) -> f32 {
        if self.rows() < 2 {
            return 1.0;
        }
        let mut near: Vec<(f32, usize)> =
            (0..self.rows()).map(|i| (squared_distance(self.row(m), self.row(i)), i)).collect();
        near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        near.truncate(neighbours);
        // exp of the differences to the distance itself: a distance of 100 would overflow.
        let sum: f32 =
            near.iter().map(|&(_, i)| (squared_distance(x, self.row(i)).sqrt() - distance).exp()).sum();
        1.0 - 1.0 / sum
    }
}

/// All rows of the cache, after the norm, on `width` random directions: Gaussian numbers of deviation 1/√`width`, which
/// keep distances on average. (N, `width`); the rows themselves where they are no wider.
fn projected(
    cache: &FeatureCache,
    norm: &FeatureNorm,
    width: usize,
    generator: &Generator,
) -> Result<Vec<f32>, TrainError> {
    let dim = cache.dim();
    let mut directions = vec![0.0; dim * width];
    generator.fill_normal(Purpose::CoresetProjection, 0, 1.0 / (width as f32).sqrt(), &mut directions);
    let directions = Matrix::row_major(&directions, dim, width)?;
    let mut all = vec![0.0; cache.rows() * width];
    let mut rows = vec![];
    for (block, out) in all.chunks_mut(ROWS * width).enumerate() {
        let count = out.len() / width;
        let indices: Vec<u32> = (block * ROWS..).take(count).map(|i| i as u32).collect();
        cache.gather(&indices, norm, &mut rows)?;
        if width == dim {
            out.copy_from_slice(&rows);
        } else {
            matmul_into(Matrix::row_major(&rows, count, dim)?, directions, out)?;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{Shape, cache_of, in_pool, numbers, unit_norm},
        *,
    };

    fn fit(cache: &FeatureCache, config: PatchCoreConfig) -> Result<PatchCore, TrainError> {
        PatchCore::fit(cache, &unit_norm(cache.dim()), &config, &Generator::new(3))
    }

    fn keeping(coreset_share: f64) -> PatchCoreConfig {
        PatchCoreConfig { coreset_share, ..PatchCoreConfig::default() }
    }

    fn distance(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn scores_are_those_of_the_definition() {
        // Several blocks of patches and of rows among them, and a projection (dim above 128).
        for (images, patches, dim, share) in
            [(1, 1, 1, 1.0), (3, 7, 5, 0.5), (2, 520, 9, 0.1), (5, 521, 3, 1.0), (4, 20, 131, 0.3)]
        {
            let shape = Shape { images, patches, dim };
            let train = numbers(shape.len(), 1);
            let image = numbers(patches * dim, 2);
            for image_score in [BankScore::Largest, BankScore::Reweighted { neighbours: 9 }] {
                let config = PatchCoreConfig { image_score, ..keeping(share) };
                let model = fit(&cache_of(&train, shape), config).unwrap();
                let want_rows = ((images * patches) as f64 * share) as usize;
                assert_eq!(model.rows(), want_rows.max(1), "{shape:?}");
                let bank: Vec<&[f32]> = model.bank.chunks_exact(dim).collect();
                assert!(
                    bank.iter().all(|row| train.chunks_exact(dim).any(|r| r == *row)),
                    "rows are kept whole"
                );

                let got = model.scores(&image).unwrap();
                let nearest = |x: &[f32]| {
                    let all = bank.iter().map(|m| distance(x, m)).enumerate();
                    all.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
                };
                let mut best = (0.0, 0, 0);
                for (patch, (x, got)) in image.chunks_exact(dim).zip(&got.patches).enumerate() {
                    let (m, want) = nearest(x);
                    // Of two rows that are equally near up to rounding (1e-6 of the squares) either may be taken.
                    assert!((f64::from(*got) - want).abs() <= 1e-4, "{shape:?}: {got} for {want}");
                    if want > best.0 {
                        best = (want, patch, m);
                    }
                }
                let (want, patch, m) = best;
                let weight = match image_score {
                    BankScore::Reweighted { neighbours } if bank.len() > 1 => {
                        let x = &image[patch * dim..(patch + 1) * dim];
                        let mut near: Vec<&&[f32]> = bank.iter().collect();
                        near.sort_by(|a, b| distance(a, bank[m]).total_cmp(&distance(b, bank[m])));
                        let sum: f64 = near.iter().take(neighbours).map(|n| distance(x, n).exp()).sum();
                        1.0 - want.exp() / sum
                    }
                    _ => 1.0,
                };
                assert!((f64::from(got.image) - weight * want).abs() <= 1e-3, "{shape:?} {image_score:?}");
            }
        }
    }

    #[test]
    fn what_is_in_the_bank_scores_zero() {
        let shape = Shape { images: 6, patches: 5, dim: 140 };
        let image = numbers(5 * 140, 3);
        // Identical images: five different rows, whatever is asked for.
        let model = fit(&cache_of(&image.repeat(6), shape), keeping(1.0)).unwrap();
        assert_eq!((model.rows(), model.bytes()), (5, 4 * 5 * 141));
        assert_eq!(model.scores(&image).unwrap(), PatchCoreScores { patches: vec![0.0; 5], image: 0.0 });
        // One constant.
        let model = fit(&cache_of(&vec![1.5; shape.len()], shape), keeping(0.5)).unwrap();
        assert_eq!(model.rows(), 1);
        assert_eq!(model.scores(&[1.5; 700]).unwrap().image, 0.0);
        // Far away: exp of such distances is infinite.
        let config = PatchCoreConfig { image_score: BankScore::Reweighted { neighbours: 9 }, ..keeping(1.0) };
        let far = fit(&cache_of(&image.repeat(6), shape), config).unwrap().scores(&[1000.0; 700]).unwrap();
        assert!(far.image.is_finite() && far.image > 0.0, "{}", far.image);
    }

    #[test]
    fn neither_threads_nor_the_order_of_images_matter() {
        let shape = Shape { images: 9, patches: 100, dim: 150 };
        let train = numbers(shape.len(), 4);
        let image = numbers(100 * 150, 5);
        let scores =
            |train: &[f32]| fit(&cache_of(train, shape), keeping(0.1)).unwrap().scores(&image).unwrap();
        let want = in_pool(1, || scores(&train));
        assert_eq!(in_pool(4, || scores(&train)), want);
        let reversed: Vec<f32> = train.chunks_exact(100 * 150).rev().flatten().copied().collect();
        assert_eq!(scores(&reversed), want);
    }

    #[test]
    fn what_cannot_work_is_said() {
        let shape = Shape { images: 1, patches: 2, dim: 3 };
        let one = cache_of(&numbers(6, 7), shape);
        let none = cache_of(&[], Shape { images: 0, ..shape });
        let alone = PatchCoreConfig { image_score: BankScore::Reweighted { neighbours: 1 }, ..keeping(1.0) };
        for (cache, config, words) in [
            (&none, keeping(0.1), &["at least 1", "0 found"][..]),
            (&one, keeping(0.0), &["coreset_share", "above 0"]),
            (&one, keeping(1.5), &["coreset_share", "at most 1"]),
            (&one, keeping(f64::NAN), &["coreset_share"]),
            (&one, alone, &["neighbours", "at least 2"]),
        ] {
            let error = fit(cache, config).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{words:?} in {error}");
        }
        let error = fit(&one, keeping(1.0)).unwrap().scores(&[0.0; 5]).unwrap_err().to_string();
        assert!(error.contains("PatchCore"), "{error}");
    }
}
