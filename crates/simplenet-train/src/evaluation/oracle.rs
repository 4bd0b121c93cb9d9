//! Patch scores of cached features, as the finished network will give them; the oracle, which looks at a test set with them.
//!
//! In: rows of a [`FeatureCache`], a head as it is now, the statistics of every place. Out: patch scores of an image; the
//! image AUROC of a test set, which is reported and chooses nothing.

use std::path::Path;

use candle_core::{Device, Tensor};
use simplenet_data::dataset::{Label, Sample};
use simplenet_model::{
    anomaly_map::image_score_within,
    feature_norm::FeatureNorm,
    position_energy::{PositionEnergy, ScoreWeights},
    simplenet::Head,
};

use crate::{
    config::{Position, TrainConfig},
    error::TrainError,
    features::{Extraction, cache::FeatureCache},
    head::trained_head::TrainedHead,
    noise::Generator,
    statistics::positions::{fit_positions, weigh, weighed_images},
};

/// The statistics of every place, and what they say of the training images that fix how they join the head's score.
pub(crate) struct Places {
    energy: PositionEnergy,
    head_weight: f64,
    weighed: Vec<usize>,
    /// Energies of the weighed images, one after another; they do not change while the head is trained.
    energies: Vec<f32>,
}

impl Places {
    /// Of a cache of images of this grid, if the settings ask for them.
    pub(crate) fn fit(
        config: &TrainConfig,
        cache: &FeatureCache,
        norm: &FeatureNorm,
        grid: (usize, usize),
    ) -> Result<Option<Self>, TrainError> {
        let Position::Cells(position) = &config.position else { return Ok(None) };
        let generator = Generator::new(config.seed);
        let energy = fit_positions(cache, norm, [grid.0, grid.1], position, &generator)?;
        let weighed = weighed_images(cache);
        let mut energies = vec![];
        for &image in &weighed {
            let of_image = energies_of(&energy, cache, norm, image, grid)?;
            let counts = |(patch, _): &(usize, f32)| cache.described()[image].tile.counts(*patch);
            energies.extend(of_image.into_iter().enumerate().filter(counts).map(|(_, energy)| energy));
        }
        Ok(Some(Self { energy, head_weight: position.head_weight, weighed, energies }))
    }

    /// How the energies join the scores of a head as it is now; `cache` is that of [`Places::fit`].
    fn weights(
        &self,
        head: &Head,
        norm: &FeatureNorm,
        cache: &FeatureCache,
    ) -> Result<ScoreWeights, TrainError> {
        let mut scores = vec![];
        for &image in &self.weighed {
            let of_image = score_rows(head, &rows_of(cache, norm, image)?)?;
            let counts = |(patch, _): &(usize, f32)| cache.described()[image].tile.counts(*patch);
            scores.extend(of_image.into_iter().enumerate().filter(counts).map(|(_, score)| score));
        }
        Ok(weigh(&scores, &self.energies, self.head_weight))
    }

    /// The finished network's half.
    pub(crate) fn joined(
        self,
        head: &Head,
        norm: &FeatureNorm,
        cache: &FeatureCache,
    ) -> Result<PositionEnergy, TrainError> {
        let weights = self.weights(head, norm, cache)?;
        Ok(PositionEnergy { weights, ..self.energy })
    }
}

/// Features and labels of a test set, for the oracle.
pub(crate) struct OracleSet {
    cache: FeatureCache,
    labels: Vec<bool>,
    grid: (usize, usize),
    /// Energies of each image, where places are known.
    energies: Vec<Vec<f32>>,
}

impl OracleSet {
    pub(crate) fn new(
        extraction: &mut Extraction<'_>,
        samples: &[Sample],
        places: Option<&Places>,
        norm: &FeatureNorm,
    ) -> Result<Self, TrainError> {
        let what = "computing test features for the oracle";
        let (cache, _use) = extraction.features(samples, 0, what, &mut |_, _| {})?;
        let grid = extraction.engine.grid();
        let mut energies = vec![];
        if let Some(places) = places {
            for image in 0..cache.images() {
                energies.push(energies_of(&places.energy, &cache, norm, image, grid)?);
            }
        }
        let labels = samples.iter().map(|s| s.label == Label::Anomalous).collect();
        Ok(Self { cache, labels, grid, energies })
    }

    /// The image AUROC with a head as it is now; `training` is the cache that `places` were fitted to.
    pub(crate) fn image_auroc(
        &self,
        config: &TrainConfig,
        head: &TrainedHead,
        places: Option<&Places>,
        training: &FeatureCache,
    ) -> Result<f64, TrainError> {
        let norm = &head.norm;
        let head = model_head(head, &Device::Cpu)?;
        let weights = places.map(|places| places.weights(&head, norm, training)).transpose()?;
        let mut image_scores = vec![f32::NEG_INFINITY; self.labels.len()];
        for (image, what) in self.cache.described().iter().enumerate() {
            let mut scores = score_rows(&head, &rows_of(&self.cache, norm, image)?)?;
            if let (Some(weights), Some(energies)) = (&weights, self.energies.get(image)) {
                scores.iter_mut().zip(energies).for_each(|(score, &e)| *score = weights.join(*score, e));
            }
            let (own, inside) = (what.tile.own.clone(), what.tile.inside.as_deref());
            let score = image_score_within(&scores, own, self.grid.1, inside, config.image_score);
            if let Some(largest) = image_scores.get_mut(what.photograph) {
                *largest = if score.is_nan() { score } else { largest.max(score) };
            }
        }
        Ok(simplenet_metrics::auroc(&image_scores, &self.labels)?)
    }
}

/// Energies of one image of a cache, at the places of its tile.
fn energies_of(
    energy: &PositionEnergy,
    cache: &FeatureCache,
    norm: &FeatureNorm,
    image: usize,
    (rows, columns): (usize, usize),
) -> Result<Vec<f32>, TrainError> {
    let features = rows_of(cache, norm, image)?;
    match energy.config.tile_count() {
        1 => Ok(energy.energies(&features, rows, columns)?),
        _ => Ok(energy.tile(cache.described()[image].tile.index).energies(&features, rows, columns)?),
    }
}

/// Features of one image of a cache, after the norm: (h·w, D).
fn rows_of(cache: &FeatureCache, norm: &FeatureNorm, image: usize) -> Result<Vec<f32>, TrainError> {
    let patches = cache.patches() as u32;
    let indices: Vec<u32> = (image as u32 * patches..(image as u32 + 1) * patches).collect();
    let mut rows = vec![];
    cache.gather(&indices, norm, &mut rows)?;
    Ok(rows)
}

/// The discriminator's scores of rows of features, negated: (rows).
fn score_rows(head: &Head, rows: &[f32]) -> Result<Vec<f32>, TrainError> {
    let dim = head.config().adaptor.dim;
    let features = Tensor::from_slice(rows, (rows.len() / dim, dim), &Device::Cpu)?;
    Ok(head.score(&features)?.to_vec1::<f32>().map_err(simplenet_model::ModelError::from)?)
}

/// The trained numbers as the model crate's layers.
pub(crate) fn model_head(head: &TrainedHead, device: &Device) -> Result<Head, TrainError> {
    Ok(Head::from_tensors(head.config(), &head.to_tensors(device)?, device, Path::new("the trained head"))?)
}
