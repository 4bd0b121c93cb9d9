//! What is normal at each place: the position-aware half of the patch score, estimated in closed form. In: the training
//! features by place. Out: a [`PositionEnergy`]: a mean for each place, a whitening for each cell of places, and how its
//! energy joins the discriminator's score.
//!
//! A covariance of d numbers from a few dozen images is hardly known, so it is pooled over the places of a cell, each
//! about its own mean, and drawn towards the covariance of all places (shrinkage). docs/reference.md has the formulas.

use rayon::prelude::*;
use simplenet_model::{
    compute::{Matrix, matmul_into},
    feature_norm::FeatureNorm,
    position_energy::{ONE_TILE, PositionEnergy, PositionEnergyConfig, ScoreWeights},
};

use crate::{
    config::PositionConfig,
    error::TrainError,
    features::cache::FeatureCache,
    noise::{Generator, Purpose},
    statistics::cholesky::{cholesky, inverse_rows},
};

/// Places of a cell whose patches count as one independent one: 3×3 neighbourhoods overlap.
const PLACES_PER_SAMPLE: f64 = 4.0;
/// Images whose scores and energies fix the weights.
const WEIGHED_IMAGES: usize = 16;
/// Most cells of photographs that are cut into tiles: a cell's covariance is (d, d), 46 KB in a file at the embedded backbone's 152
/// numbers, and a large photograph has a hundred times the patches of a small one. Cells grow instead.
const MOST_CELLS_OF_TILES: usize = 1024;

/// Patches along a side of the cells: those that were asked for or, of photographs that are cut into tiles, as many more as
/// keep the cells of all tiles few.
fn cell_side(asked: usize, [rows, columns]: [usize; 2], tiles: [usize; 2]) -> usize {
    let cells = |cell: usize| tiles[0] * tiles[1] * rows.div_ceil(cell) * columns.div_ceil(cell);
    match tiles {
        ONE_TILE => asked,
        _ => {
            let fits = |cell: &usize| cells(*cell) <= MOST_CELLS_OF_TILES;
            (asked..=rows.max(columns)).find(fits).unwrap_or(asked.max(rows.max(columns)))
        }
    }
}

/// Statistics of the rows in `cache` that count, after `norm`, of images of `rows` x `columns` patches. The tiles of photographs
/// have places of their own. A place that no row counts for has the mean 0 and the covariance of all places. The energy
/// alone is the score until [`weigh`].
///
/// # Errors
/// `TrainError::Setting` for settings that cannot work, or features that are not finite; what [`FeatureCache::gather`]
/// returns.
pub fn fit_positions(
    cache: &FeatureCache,
    norm: &FeatureNorm,
    [rows, columns]: [usize; 2],
    config: &PositionConfig,
    generator: &Generator,
) -> Result<PositionEnergy, TrainError> {
    config.validate()?;
    let features = cache.dim();
    let tiles = cache.tiles();
    let cell = cell_side(config.cell, [rows, columns], tiles);
    let sizes = PositionEnergyConfig { rows, columns, cell, dim: features.min(config.dimensions), tiles };
    let dim = sizes.dim;
    let projection = projection(features, dim, generator);
    let moments: Vec<Moments> = (0..sizes.tile_count() * sizes.cells())
        .into_par_iter()
        .map(|cell| Moments::of(cache, norm, &projection, &sizes, cell))
        .collect::<Result<_, _>>()?;

    let mut everywhere = vec![0.0; dim * dim];
    let samples: f64 = moments.iter().map(|cell| cell.samples).sum();
    for cell in &moments {
        let share = cell.samples / samples.max(1.0);
        everywhere.iter_mut().zip(&cell.covariance).for_each(|(sum, &v)| *sum += share * f64::from(v));
    }
    let whitening: Vec<Vec<f32>> = moments
        .par_iter()
        .map(|cell| {
            // Of every image, but where the region of interest leaves places out of some.
            let places = cell.places.len().max(1) as f64;
            let known = cell.samples / places * (places / PLACES_PER_SAMPLE).max(1.0);
            let own = known / (known + config.shrinkage);
            let mut covariance = vec![];
            for column in 0..dim {
                let below = column * dim + column..(column + 1) * dim;
                let pairs = cell.covariance[below.clone()].iter().zip(&everywhere[below]);
                covariance.extend(pairs.enumerate().map(|(i, (&v, all))| {
                    own * f64::from(v) + (1.0 - own) * all + if i == 0 { config.ridge } else { 0.0 }
                }));
            }
            cholesky(&mut covariance, dim).map_err(|pivot| {
                let problem = format!(
                    "a covariance has a pivot of {pivot}: raise the ridge, and check that the features are finite"
                );
                TrainError::setting("position.ridge", config.ridge, problem)
            })?;
            Ok(inverse_rows(&covariance, dim).into_iter().map(|v| v as f32).collect())
        })
        .collect::<Result<_, TrainError>>()?;

    let mut centre = vec![0.0; sizes.tile_count() * rows * columns * dim];
    for cell in &moments {
        for (&place, mean) in cell.places.iter().zip(cell.means.chunks_exact(dim)) {
            centre[place * dim..(place + 1) * dim].copy_from_slice(mean);
        }
    }
    Ok(PositionEnergy {
        config: sizes,
        projection,
        centre,
        whitening: whitening.concat(),
        weights: ScoreWeights { head: 0.0, energy: 1.0, offset: 0.0 },
    })
}

/// (d, D) row-major: the features themselves, or random directions of length 1 on average where d is smaller.
fn projection(features: usize, dim: usize, generator: &Generator) -> Vec<f32> {
    let mut projection = vec![0.0; dim * features];
    if dim == features {
        projection.iter_mut().step_by(features + 1).for_each(|diagonal| *diagonal = 1.0);
    } else {
        let sigma = 1.0 / (features as f32).sqrt();
        generator.fill_normal(Purpose::PositionProjection, 0, sigma, &mut projection);
    }
    projection
}

/// Mean and covariance of a cell.
struct Moments {
    /// Its places that a row counts for, as positions in the grids of all tiles.
    places: Vec<usize>,
    /// (places, d).
    means: Vec<f32>,
    /// (d, d), about the places' own means, unbiased.
    covariance: Vec<f32>,
    /// Patches that it was made of.
    samples: f64,
}

impl Moments {
    fn of(
        cache: &FeatureCache,
        norm: &FeatureNorm,
        projection: &[f32],
        sizes: &PositionEnergyConfig,
        cell: usize,
    ) -> Result<Self, TrainError> {
        let (dim, features) = (sizes.dim, cache.dim());
        let (tile, cell) = (cell / sizes.cells(), cell % sizes.cells());
        let all = (0..sizes.rows).flat_map(|y| (0..sizes.columns).map(move |x| (y, x)));
        let in_cell = all.filter(|&(y, x)| sizes.cell_of(y, x) == cell).map(|(y, x)| y * sizes.columns + x);
        let with_rows = in_cell.map(|patch| (patch, rows_of_place(cache, tile, patch)));
        let (places, of_places): (Vec<usize>, Vec<Vec<u32>>) =
            with_rows.filter(|(_, rows)| !rows.is_empty()).unzip();
        let patches = of_places.concat();
        let places: Vec<usize> =
            places.into_iter().map(|patch| tile * sizes.rows * sizes.columns + patch).collect();
        let mut rows = vec![];
        cache.gather(&patches, norm, &mut rows)?;
        if dim < features {
            let mut projected = vec![0.0; patches.len() * dim];
            let directions = Matrix::row_major(projection, dim, features)?.transposed();
            matmul_into(Matrix::row_major(&rows, patches.len(), features)?, directions, &mut projected)?;
            rows = projected;
        }
        if places.is_empty() {
            return Ok(Self { places, means: vec![], covariance: vec![0.0; dim * dim], samples: 0.0 });
        }
        let mut means = vec![0.0; places.len() * dim];
        let mut left = rows.as_mut_slice();
        for (images, mean) in of_places.iter().map(Vec::len).zip(means.chunks_exact_mut(dim)) {
            let (rows, after) = std::mem::take(&mut left).split_at_mut(images * dim);
            left = after;
            let mut sums = vec![0.0f64; dim];
            for row in rows.chunks_exact(dim) {
                sums.iter_mut().zip(row).for_each(|(sum, &v)| *sum += f64::from(v));
            }
            mean.iter_mut().zip(sums).for_each(|(mean, sum)| *mean = (sum / images as f64) as f32);
            for row in rows.chunks_exact_mut(dim) {
                row.iter_mut().zip(&*mean).for_each(|(v, mean)| *v -= mean);
            }
        }
        let centred = Matrix::row_major(&rows, patches.len(), dim)?;
        let mut covariance = vec![0.0; dim * dim];
        matmul_into(centred.transposed(), centred, &mut covariance)?;
        // One image has no deviation from its own mean; the shrinkage then has nothing but the ridge.
        let unbiased = (patches.len() - places.len()).max(1) as f32;
        covariance.iter_mut().for_each(|sum| *sum /= unbiased);
        Ok(Self { samples: patches.len() as f64, places, means, covariance })
    }
}

/// Row numbers in the cache of a patch of a tile, of all images where it counts.
fn rows_of_place(cache: &FeatureCache, tile: usize, patch: usize) -> Vec<u32> {
    let images = cache.described().iter().enumerate();
    let those = images.filter(|(_, what)| what.tile.index == tile && what.tile.counts(patch));
    those.map(|(image, _)| (image * cache.patches() + patch) as u32).collect()
}

/// Images of the cache whose scores fix the weights, evenly spread, over the tiles too.
pub fn weighed_images(cache: &FeatureCache) -> Vec<usize> {
    let images = cache.images();
    let count = images.min(WEIGHED_IMAGES);
    let tiles = cache.tiles()[0] * cache.tiles()[1];
    (0..count).map(|i| (i * images / count + i % tiles.max(1)) % images).collect()
}

/// Weights that bring energies and the discriminator's `scores` of the same good patches to mean 0 and deviation 1, the
/// scores times `head_weight`.
pub fn weigh(scores: &[f32], energies: &[f32], head_weight: f64) -> ScoreWeights {
    let (score_mean, score_scale) = standard(scores);
    let (energy_mean, energy_scale) = standard(energies);
    let head = head_weight * score_scale;
    ScoreWeights {
        head: head as f32,
        energy: energy_scale as f32,
        offset: -(head * score_mean + energy_scale * energy_mean) as f32,
    }
}

/// Mean, and one over the standard deviation; 0 where nothing varies.
fn standard(values: &[f32]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
    (mean, if variance > 0.0 { 1.0 / variance.sqrt() } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Precision, features::cache::Room};

    fn cache(images: usize, patches: usize, dim: usize, seed: u32) -> FeatureCache {
        cache_within(Room::default(), images, [patches, dim], seed)
    }

    fn cache_within(room: Room, images: usize, [patches, dim]: [usize; 2], seed: u32) -> FeatureCache {
        let mut cache = FeatureCache::within(room, Precision::F32, images, patches, dim);
        let mut numbers = vec![0.0; images * patches * dim];
        Generator::new(5).fill_normal(Purpose::Noise, seed, 1.0, &mut numbers);
        // Every place has a level of its own.
        for (i, value) in numbers.iter_mut().enumerate() {
            *value += (i / dim % patches) as f32;
        }
        cache.push(&numbers).unwrap();
        cache
    }

    fn fit(cache: &FeatureCache, grid: [usize; 2], config: &PositionConfig) -> PositionEnergy {
        let norm = FeatureNorm::identity(cache.dim(), &candle_core::Device::Cpu).unwrap();
        fit_positions(cache, &norm, grid, config, &Generator::new(3)).unwrap()
    }

    /// Without shrinkage and ridge the mean squared energy of the training patches is d (n − 1)/n, cell by cell: the trace
    /// of the covariance's inverse times itself.
    #[test]
    fn training_patches_are_white() {
        for (images, grid, cell, dim) in
            [(40, [5, 4], 2, 3), (25, [3, 7], 3, 6), (60, [2, 2], 1, 4), (30, [4, 4], 4, 1)]
        {
            let cache = cache(images, grid[0] * grid[1], dim, 1);
            let config = PositionConfig { cell, shrinkage: 0.0, ridge: 1e-9, ..PositionConfig::default() };
            let energy = fit(&cache, grid, &config);
            energy.validate().unwrap();
            let norm = FeatureNorm::identity(dim, &candle_core::Device::Cpu).unwrap();
            let mut squares = vec![(0.0, 0.0); energy.config.cells()];
            for image in 0..images as u32 {
                let patches = (grid[0] * grid[1]) as u32;
                let mut rows = vec![];
                let indices: Vec<u32> = (image * patches..(image + 1) * patches).collect();
                cache.gather(&indices, &norm, &mut rows).unwrap();
                for (place, e) in energy.energies(&rows, grid[0], grid[1]).unwrap().into_iter().enumerate() {
                    let (sum, count) = &mut squares[energy.config.cell_of(place / grid[1], place % grid[1])];
                    (*sum, *count) = (*sum + f64::from(e).powi(2), *count + 1.0);
                }
            }
            let want = dim as f64 * (images as f64 - 1.0) / images as f64;
            for (sum, count) in squares {
                assert!((sum / count - want).abs() < 1e-3 * want, "{grid:?}: {} for {want}", sum / count);
            }
        }
    }

    #[test]
    fn few_images_and_wide_features_work() {
        for (images, dimensions) in [(1, 256), (2, 256), (2, 5), (12, 5)] {
            let cache = cache(images, 12, 9, 2);
            let config = PositionConfig { dimensions, ..PositionConfig::default() };
            let energy = fit(&cache, [3, 4], &config);
            energy.validate().unwrap();
            assert_eq!((energy.config.dim, energy.features()), (dimensions.min(9), 9));
            assert_eq!(energy, fit(&cache, [3, 4], &config), "the same again");
        }
    }

    #[test]
    fn where_rows_lie_changes_no_bit() {
        let (images, grid, dim) = (10, [4, 5], 9);
        let image = (grid[0] * grid[1] * dim * Precision::F32.bytes()) as u64;
        for dimensions in [5, 256] {
            let config = PositionConfig { dimensions, ..PositionConfig::default() };
            let want = fit(&cache(images, 20, dim, 3), grid, &config);
            for kept in [0, 1, 7, 9] {
                let room = Room { memory: kept * image, ..Room::default() };
                let cache = cache_within(room, images, [20, dim], 3);
                assert_eq!(cache.bytes_on_disk(), (10 - kept) * image);
                assert_eq!(fit(&cache, grid, &config), want, "{kept} of {images} images in memory");
            }
        }
    }

    #[test]
    fn weights_bring_both_to_one_scale() {
        let scores = [-3.0, -1.0, -2.0, -2.0];
        let energies = [10.0, 30.0, 20.0, 20.0];
        let weights = weigh(&scores, &energies, 0.5);
        let deviation = 0.5f32.sqrt();
        let got = weights.join(-1.0, 30.0);
        assert!((got - 1.5 / deviation).abs() < 1e-5, "{got}");
        assert!(weights.join(-2.0, 20.0).abs() < 1e-5);
        assert_eq!(weigh(&[1.0; 3], &[2.0; 3], 0.5).join(5.0, 5.0), 0.0);
    }
}
