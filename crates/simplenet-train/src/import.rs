//! From a checkpoint of the official code to a detector. In: its head, the settings that it was trained with, the backbone's
//! weights. Out: a detector without a threshold; `calibrate` gives it one.

use std::path::Path;

use candle_core::Device;
use simplenet_data::dataset::Sample;
use simplenet_inference::Detector;
use simplenet_model::{
    BackboneId, BackboneWeights, ModelError,
    feature_norm::FeatureNorm,
    official::OfficialCheckpoint,
    patch_aggregator::PatchAggregatorConfig,
    simplenet::{FeatureExtractor, SimpleNet},
};

use crate::{
    config::{FeatureScale, Position, TrainConfig},
    error::TrainError,
    features::{Extraction, FeatureStorage},
    fit::{on_cpu, record},
    reporter::Reporter,
    statistics::{
        activation_ranges::activation_ranges, image_profile::profile_of_files,
        sample_range::with_sample_range,
    },
};

/// A detector that was put together, and the network that it was compiled from.
pub struct Imported {
    /// Without a threshold.
    pub detector: Detector,
    /// To save it.
    pub net: SimpleNet,
}

/// Puts the head of `checkpoint` behind the backbone and preprocessing of `config`: the paper preset's, or what the
/// checkpoint was trained with. Sizes of the head are the checkpoint's. `good` photographs, if there are any, tell how far
/// the backbone's activations reach, which int8 needs.
///
/// # Errors
/// Settings that an official checkpoint cannot have; features of another width than the head takes; weights that do not fit;
/// a photograph that cannot be read.
pub fn import(
    config: &TrainConfig,
    checkpoint: &OfficialCheckpoint,
    weights: &BackboneWeights,
    good: &[Sample],
    reporter: &dyn Reporter,
) -> Result<Imported, TrainError> {
    let sizes = checkpoint.config;
    let config = &TrainConfig {
        adaptor_layers: sizes.adaptor.layers,
        hidden: sizes.discriminator.hidden,
        discriminators: 1,
        ..config.clone()
    };
    config.validate()?;
    let config = &with_sample_range(config, good, &[], reporter);
    if config.position != Position::Unaware {
        let problem = "an official checkpoint knows nothing of places: \"unaware\" is the only one that fits";
        return Err(TrainError::setting("position", "cells", problem));
    }
    if config.feature_scale != FeatureScale::None {
        let found = format!("{:?}", config.feature_scale);
        return Err(TrainError::setting(
            "feature_scale",
            found,
            "an official checkpoint takes features as they are: only \"none\" fits",
        ));
    }
    let device = Device::Cpu;
    let extractor =
        FeatureExtractor::load(config.backbone, config.levels, weights, config.aggregator, &device)?;
    if extractor.feature_dim() != sizes.adaptor.dim {
        let reason = other_width(config, sizes.adaptor.dim, extractor.feature_dim());
        return Err(ModelError::InvalidFile { file: checkpoint.path.clone(), reason }.into());
    }
    let (ranges, profile) = match good {
        [] => (None, None),
        _ => {
            let mut extraction =
                Extraction::new(config, &extractor, &device, &FeatureStorage::default(), reporter)?;
            let paths: Vec<&Path> = good.iter().map(|sample| sample.path.as_path()).collect();
            let profile = profile_of_files(&paths, &config.preprocess.decode)?;
            (Some(activation_ranges(&mut extraction, good)?), profile)
        }
    };
    let norm = FeatureNorm::identity(extractor.feature_dim(), &device)?;
    let net = SimpleNet::new(extractor, norm, checkpoint.head(&device)?)?;
    let mut record = record(config, &net, ranges, profile.as_ref())?;
    let file = checkpoint.path.file_name().unwrap_or_default().to_string_lossy();
    record.created_by =
        format!("{}, head imported from {file} (SHA-256 {})", crate::program(), checkpoint.sha256);
    Ok(Imported { detector: Detector::from_network(&net, record, &on_cpu())?, net })
}

/// What to say of a head that takes features of width `head` where the settings give `features`.
fn other_width(config: &TrainConfig, head: usize, features: usize) -> String {
    let means = PatchAggregatorConfig::channel_mean(config.aggregator.patch_size);
    let width = |id: &BackboneId| {
        let taps = id.taps(config.levels).ok()?;
        Some(means.dim(&taps.iter().map(|tap| tap.channels).collect::<Vec<_>>()))
    };
    let fitting: Vec<&str> =
        BackboneId::ALL.iter().filter(|id| width(id) == Some(head)).map(|id| id.name()).collect();
    let by_means = match fitting.as_slice() {
        [] => String::new(),
        some => format!(
            "; or reduction = \"channel-mean\", if this program exported it, which gives {head} for {}",
            some.join(", ")
        ),
    };
    format!(
        "its head takes features of width {head}, and these settings give {features} for {}: in the official code the width is \
         --target_embed_dimension, whatever the backbone. Give the settings that it was trained with in a file, `--config \
         FILE.toml`: [aggregator] reduction = {{ adaptive-pool = {{ pretrain_dim = N, target_dim = {head} }} }}, N being its \
         --pretrain_embed_dimension{by_means}",
        config.backbone
    )
}
