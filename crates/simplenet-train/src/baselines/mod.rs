//! What a user would take instead of SimpleNet, on the same features: PaDiM and PatchCore, small and plain.
//!
//! In: the network of a training (its extractor and feature norm), the images that it was trained on, the evaluated test
//! images. Out: the metrics of both, measured as SimpleNet's: the same preprocessing, masks and anomaly map. They learn
//! from the images that SimpleNet's head learnt from; nothing is held out for a threshold, and they have none.

mod coreset;
mod padim;
mod patch_core;

pub use padim::{Padim, PadimConfig};
pub use patch_core::{BankScore, PatchCore, PatchCoreConfig, PatchCoreScores};

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use simplenet_data::{
    dataset::Sample,
    loader::{Loader, LoaderOptions},
};
use simplenet_inference::{InferenceError, timed};
use simplenet_model::{
    BackboneId, ModelError,
    anomaly_map::{AnomalyMapConfig, ImageScore, anomaly_map, image_score},
    simplenet::SimpleNet,
};

use crate::{
    config::TrainConfig,
    error::TrainError,
    evaluation::{Evaluated, Measured, Metrics, measure, saturated_overlap::SaturatedOverlap},
    features::{Extraction, FeatureStorage},
    fit::training_samples,
    noise::Generator,
    reporter::{Reporter, Silent},
    statistics::sample_range::with_sample_range,
};

/// The settings of both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineConfig {
    /// PaDiM's.
    pub padim: PadimConfig,
    /// PatchCore's.
    pub patch_core: PatchCoreConfig,
}

impl BaselineConfig {
    /// The settings for a backbone's features.
    pub fn for_backbone(backbone: BackboneId) -> Self {
        Self { padim: PadimConfig::for_backbone(backbone), ..Self::default() }
    }
}

/// How both did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineResults {
    /// With which settings.
    pub config: BaselineConfig,
    /// PaDiM.
    pub padim: BaselineResult,
    /// PatchCore.
    pub patch_core: BaselineResult,
}

/// How one did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineResult {
    /// The metrics, under SimpleNet's names.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// Seconds from the training features to the fitted model.
    pub fit_seconds: f64,
    /// Mean milliseconds from an image's features to its patch scores.
    pub scoring_ms: f64,
}

/// Fits both to the training images of `net` and measures them on the images of its evaluation. The training
/// features are taken from the feature cache's folder, or computed again where there is none, with the same bits: `fit` has
/// let go of them. Where there is a `validation` set, nothing was held out of `train`. Of the test images only one at a time is in memory.
///
/// # Errors
/// Settings that cannot work, too few images, an image that cannot be read.
pub fn evaluate_baselines(
    baselines: &BaselineConfig,
    config: &TrainConfig,
    net: &SimpleNet,
    train: &[Sample],
    validation: &[Sample],
    images: &[Evaluated],
    storage: &FeatureStorage,
    reporter: &dyn Reporter,
) -> Result<BaselineResults, TrainError> {
    baselines.patch_core.validate()?;
    if config.preprocess.tiles.is_some() || config.preprocess.roi.is_some() {
        let problem = "the baselines take whole photographs, without tiles and without a region of interest";
        return Err(TrainError::setting("preprocess", "tiles or roi", problem));
    }
    let config = &with_sample_range(config, train, validation, &Silent);
    let (width, height) = config.preprocess.network_size();
    let (width, height) = (width as usize, height as usize);
    let mut extraction =
        Extraction::new(config, net.extractor(), &candle_core::Device::Cpu, storage, reporter)?;
    let generator = Generator::new(config.seed);
    let (train, _held_out) = training_samples(config, train, validation)?;
    let dim = net.extractor().feature_dim();
    let norm = net.norm();
    let what = "computing features for the baselines";
    let (cache, _use) = extraction.features(&train, config.augmentation.copies, what, &mut |_, _| {})?;
    let (padim, padim_fit) = timed(|| Padim::fit(&cache, norm, &baselines.padim, &generator));
    let (patch_core, patch_core_fit) =
        timed(|| PatchCore::fit(&cache, norm, &baselines.patch_core, &generator));
    let (padim, patch_core) = (padim?, patch_core?);
    drop(cache);

    let mut of_padim = Scored::new(padim_fit, images.len());
    let mut of_patch_core = Scored::new(patch_core_fit, images.len());
    let smoothing = AnomalyMapConfig { sigma: config.map_sigma, ..AnomalyMapConfig::default() };
    let (rows, columns) = extraction.engine.grid();
    let map = |scores: &[f32]| anomaly_map(scores, rows, columns, height, width, &smoothing);
    let paths: Vec<PathBuf> = images.iter().map(|image| image.sample.path.clone()).collect();
    reporter.start("evaluating the baselines", images.len() as u64);
    for image in Loader::new(paths, &config.preprocess, &LoaderOptions::default())? {
        let mut features = extraction.engine.features(&image?.tensor)?;
        features.chunks_exact_mut(dim).for_each(|row| norm.apply_to_row(row));
        let (scores, time) = timed(|| padim.patch_scores(&features));
        let scores = scores?;
        of_padim.push(image_score(&scores, columns, ImageScore::Largest), map(&scores), time);
        let (scores, time) = timed(|| patch_core.scores(&features));
        let scores = scores?;
        of_patch_core.push(scores.image, map(&scores.patches), time);
        reporter.advance(1);
    }
    reporter.finish();
    Ok(BaselineResults {
        config: *baselines,
        padim: of_padim.result(config, images)?,
        patch_core: of_patch_core.result(config, images)?,
    })
}

/// What a baseline gave for each image.
struct Scored {
    fit: Duration,
    scoring: Duration,
    scores: Vec<(f32, Vec<f32>)>,
}

impl Scored {
    fn new(fit: Duration, images: usize) -> Self {
        Self { fit, scoring: Duration::ZERO, scores: Vec::with_capacity(images) }
    }

    fn push(&mut self, score: f32, map: Vec<f32>, time: Duration) {
        self.scores.push((score, map));
        self.scoring += time;
    }

    fn result(self, config: &TrainConfig, images: &[Evaluated]) -> Result<BaselineResult, TrainError> {
        let size = config.preprocess.network_size();
        let measured: Vec<Measured<'_>> = images
            .iter()
            .zip(&self.scores)
            .map(|(image, (score, map))| Measured {
                sample: &image.sample,
                score: *score,
                map,
                size,
                mask: image.mask.as_deref(),
            })
            .collect();
        if let Some(broken) = measured.iter().find(|image| !image.score.is_finite()) {
            let (path, score) = (broken.sample.path.clone(), broken.score);
            return Err(InferenceError::NonFiniteScore { path: Some(path), score }.into());
        }
        let mut metrics = measure(&measured);
        if let Some(overlap) = SaturatedOverlap::of(images.iter().map(|image| &image.sample)) {
            for (number, (image, (_, map))) in images.iter().zip(&self.scores).enumerate() {
                let map = image.inspection.placement.map_to_original(map, f32::NAN)?;
                overlap.add(number, &image.sample, &map, &config.preprocess.decode)?;
            }
            overlap.finish(&mut metrics);
        }
        Ok(BaselineResult {
            metrics,
            fit_seconds: self.fit.as_secs_f64(),
            scoring_ms: 1e3 * self.scoring.as_secs_f64() / images.len().max(1) as f64,
        })
    }
}

fn check_features(
    what: &'static str,
    features: &[f32],
    patches: usize,
    dim: usize,
) -> Result<(), ModelError> {
    if features.len() == patches * dim {
        return Ok(());
    }
    let expected = format!("features of {patches} patches of {dim} numbers");
    Err(ModelError::InputShape { what, expected, actual: vec![features.len()] })
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use simplenet_model::feature_norm::FeatureNorm;

    use super::*;
    use crate::{config::Precision, features::cache::FeatureCache, noise::Purpose};

    /// How many training features there are.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Shape {
        pub(super) images: usize,
        pub(super) patches: usize,
        pub(super) dim: usize,
    }

    impl Shape {
        pub(super) fn len(self) -> usize {
            self.images * self.patches * self.dim
        }
    }

    /// Normal draws.
    pub(super) fn numbers(n: usize, seed: u32) -> Vec<f32> {
        let mut out = vec![0.0; n];
        Generator::new(99).fill_normal(Purpose::Noise, seed, 1.0, &mut out);
        out
    }

    pub(super) fn cache_of(features: &[f32], shape: Shape) -> FeatureCache {
        let mut cache = FeatureCache::new(Precision::F32, shape.images, shape.patches, shape.dim);
        assert_eq!(features.len(), shape.len());
        cache.push(features).unwrap();
        cache
    }

    pub(super) fn unit_norm(dim: usize) -> FeatureNorm {
        FeatureNorm::identity(dim, &Device::Cpu).unwrap()
    }

    pub(super) fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
    }
}
