//! Patch scores of cached features, as the finished network will give them; the oracle, which looks at a test set with them.
//!
//! In: rows of a [`FeatureCache`], a head as it is now, the statistics of every place. Out: patch scores of an image; the
//! image AUROC of a test set, which is reported and chooses nothing.

use std::path::Path;

use candle_core::{Device, Tensor};
use simplenet_data::dataset::{Label, Sample};
use simplenet_model::{
    anomaly_map::image_score, feature_norm::FeatureNorm, position_energy::PositionEnergy, simplenet::Head,
};

use crate::{
    config::{Position, TrainConfig},
    error::TrainError,
    feature_cache::FeatureCache,
    features::Extraction,
    noise::Generator,
    position_statistics::{fit_positions, weigh, weighed_images},
    trainer::TrainedHead,
};

/// What makes patch scores of cached features.
pub(crate) struct Scoring {
    pub(crate) head: Head,
    pub(crate) positions: Option<PositionEnergy>,
}

impl Scoring {
    /// A head as it is now, and its positions' energy brought to its scale on images of `cache`.
    pub(crate) fn of(
        config: &TrainConfig,
        head: &TrainedHead,
        positions: Option<PositionEnergy>,
        cache: &FeatureCache,
    ) -> Result<Self, TrainError> {
        let mut scoring = Self { head: model_head(head, &Device::Cpu)?, positions };
        if let (Position::Cells(position), Some(energy)) = (&config.position, &mut scoring.positions) {
            let (rows, columns) = (energy.config.rows, energy.config.columns);
            let (mut scores, mut energies) = (vec![], vec![]);
            for image in weighed_images(cache) {
                let features = rows_of(cache, &head.norm, image)?;
                energies.extend(energy.energies(&features, rows, columns)?);
                scores.extend(score_rows(&scoring.head, &features)?);
            }
            energy.weights = weigh(&scores, &energies, position.head_weight);
        }
        Ok(scoring)
    }

    /// Patch scores of one image of a cache, (h·w), `columns` a row of the grid.
    pub(crate) fn patch_scores(
        &self,
        cache: &FeatureCache,
        norm: &FeatureNorm,
        image: usize,
        columns: usize,
    ) -> Result<Vec<f32>, TrainError> {
        let features = rows_of(cache, norm, image)?;
        let mut scores = score_rows(&self.head, &features)?;
        if let Some(energy) = &self.positions {
            let energies = energy.energies(&features, scores.len() / columns, columns)?;
            scores.iter_mut().zip(energies).for_each(|(score, e)| *score = energy.weights.join(*score, e));
        }
        Ok(scores)
    }
}

/// The statistics of every place, if the settings ask for them.
pub(crate) fn positions(
    config: &TrainConfig,
    cache: &FeatureCache,
    norm: &FeatureNorm,
    grid: [usize; 2],
) -> Result<Option<PositionEnergy>, TrainError> {
    match &config.position {
        Position::Unaware => Ok(None),
        Position::Cells(position) => {
            fit_positions(cache, norm, grid, position, &Generator::new(config.seed)).map(Some)
        }
    }
}

/// Features and labels of a test set, for the oracle.
pub(crate) struct OracleSet {
    cache: FeatureCache,
    labels: Vec<bool>,
}

impl OracleSet {
    pub(crate) fn new(extraction: &mut Extraction<'_>, samples: &[Sample]) -> Result<Self, TrainError> {
        let what = "computing test features for the oracle";
        let (cache, _use) = extraction.features(samples, 0, what, &mut |_, _| {})?;
        Ok(Self { cache, labels: samples.iter().map(|s| s.label == Label::Anomalous).collect() })
    }

    pub(crate) fn image_auroc(
        &self,
        config: &TrainConfig,
        norm: &FeatureNorm,
        scoring: &Scoring,
        columns: usize,
    ) -> Result<f64, TrainError> {
        let score = |image| {
            let scores = scoring.patch_scores(&self.cache, norm, image, columns)?;
            Ok(image_score(&scores, columns, config.image_score))
        };
        let scores: Vec<f32> = (0..self.cache.images()).map(score).collect::<Result<_, TrainError>>()?;
        Ok(simplenet_metrics::auroc(&scores, &self.labels)?)
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
fn model_head(head: &TrainedHead, device: &Device) -> Result<Head, TrainError> {
    Ok(Head::from_tensors(head.config(), &head.to_tensors(device)?, device, Path::new("the trained head"))?)
}
