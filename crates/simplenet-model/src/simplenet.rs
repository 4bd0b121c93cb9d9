//! SimpleNet put together. In: image batches (B, 3, H, W). Out: patch scores (B, h, w), higher = more anomalous.
//!
//! [`FeatureExtractor`] is the frozen half: backbone and aggregation. [`Head`] is the trained half: adaptor and
//! discriminator. [`SimpleNet`] is both, with the feature norm between them.

use std::{collections::HashMap, path::Path};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

use crate::{
    backbone::weights::BackboneWeights,
    backbone::{Backbone, BackboneId, Levels},
    discriminator::{self, Discriminator, DiscriminatorConfig},
    error::ModelError,
    feature_adaptor::{self, FeatureAdaptor, FeatureAdaptorConfig},
    feature_norm::FeatureNorm,
    patch_aggregator::{PatchAggregator, PatchAggregatorConfig},
    position_energy::{PositionEnergy, PositionEnergyConfig},
    tensor_check::require_f32,
};

/// Everything that fixes the network's structure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimpleNetConfig {
    /// The frozen network.
    pub backbone: BackboneId,
    /// Which of its levels are tapped.
    pub levels: Levels,
    /// From feature maps to patch features.
    pub aggregator: PatchAggregatorConfig,
    /// Adaptor and discriminator.
    pub head: HeadConfig,
    /// The position-aware half of the score, if there is one.
    pub position: Option<PositionEnergyConfig>,
}

/// Sizes of the trained half.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadConfig {
    /// The feature adaptor.
    pub adaptor: FeatureAdaptorConfig,
    /// The discriminator.
    pub discriminator: DiscriminatorConfig,
}

impl HeadConfig {
    /// The paper's head for features of width `dim` with a hidden layer of width `hidden`.
    pub fn new(dim: usize, hidden: usize) -> Self {
        Self { adaptor: FeatureAdaptorConfig::new(dim), discriminator: DiscriminatorConfig::new(dim, hidden) }
    }

    /// Checks every number, and that both halves are of one width.
    ///
    /// # Errors
    /// `ModelError::Configuration`.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.adaptor.validate()?;
        self.discriminator.validate()?;
        if self.adaptor.dim != self.discriminator.dim {
            return Err(ModelError::Configuration {
                what: "head",
                reason: format!(
                    "the adaptor's dim is {}, the discriminator's {}; they must be equal",
                    self.adaptor.dim, self.discriminator.dim
                ),
            });
        }
        Ok(())
    }

    /// Official names (`pre_projection.…`, `discriminator.…`) and shapes of the float tensors of such a head.
    pub fn tensor_specs(&self) -> Vec<(String, Vec<usize>)> {
        let under = |prefix: &'static str, specs: Vec<(String, Vec<usize>)>| {
            specs.into_iter().map(move |(name, shape)| (format!("{prefix}.{name}"), shape))
        };
        under(feature_adaptor::PREFIX, FeatureAdaptor::tensor_specs(&self.adaptor))
            .chain(under(discriminator::PREFIX, Discriminator::tensor_specs(&self.discriminator)))
            .collect()
    }

    /// The names of all tensors that such a head may have in a file: also the count of batches, an integer.
    pub fn tensor_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.tensor_specs().into_iter().map(|(name, _)| name).collect();
        names.push(format!("{}.{}", discriminator::PREFIX, discriminator::BATCHES));
        names
    }
}

/// The trained half: adapted features and how normal they look.
#[derive(Debug, Clone)]
pub struct Head {
    /// Moves features towards the domain at hand.
    pub adaptor: FeatureAdaptor,
    /// Tells normal features from anomalous ones.
    pub discriminator: Discriminator,
}

impl Head {
    /// Takes the official tensors from `vb`; over a `VarMap` the layers share its variables.
    ///
    /// # Errors
    /// As [`HeadConfig::validate`]; a tensor that is missing or has another shape.
    pub fn new(config: HeadConfig, vb: VarBuilder<'_>) -> Result<Self, ModelError> {
        config.validate()?;
        Ok(Self {
            adaptor: FeatureAdaptor::new(config.adaptor, vb.pp(feature_adaptor::PREFIX))?,
            discriminator: Discriminator::new(config.discriminator, vb.pp(discriminator::PREFIX))?,
        })
    }

    /// Copies the official tensors out of `tensors`, which may hold others too. `origin` is used in errors only.
    ///
    /// # Errors
    /// A tensor that is missing, has another shape, or is not f32.
    pub fn from_tensors(
        config: HeadConfig,
        tensors: &HashMap<String, Tensor>,
        device: &Device,
        origin: &Path,
    ) -> Result<Self, ModelError> {
        config.validate()?;
        require_f32(&config.tensor_specs(), tensors, origin)?;
        Self::new(config, VarBuilder::from_tensors(tensors.clone(), DType::F32, device))
    }

    /// What it was made from.
    pub fn config(&self) -> HeadConfig {
        HeadConfig { adaptor: *self.adaptor.config(), discriminator: *self.discriminator.config() }
    }

    /// (N, D) f32 features after the norm -> (N) patch scores −D(q), higher = more anomalous; no gradient.
    ///
    /// # Errors
    /// Another shape or type.
    pub fn score(&self, features: &Tensor) -> Result<Tensor, ModelError> {
        let adapted = self.adaptor.forward(features)?.detach();
        Ok(self.discriminator.forward_eval(&adapted)?.detach().neg()?)
    }

    /// Every tensor under its official name, detached.
    pub fn named_tensors(&self) -> Vec<(String, Tensor)> {
        let under = |prefix: &'static str, tensors: Vec<(String, Tensor)>| {
            tensors.into_iter().map(move |(name, tensor)| (format!("{prefix}.{name}"), tensor))
        };
        under(feature_adaptor::PREFIX, self.adaptor.named_tensors())
            .chain(under(discriminator::PREFIX, self.discriminator.named_tensors()))
            .collect()
    }
}

/// The frozen half: from images to patch features.
#[derive(Debug, Clone)]
pub struct FeatureExtractor {
    backbone: Backbone,
    aggregator: PatchAggregator,
}

impl FeatureExtractor {
    /// Builds backbone and aggregator on `device`. The weights are kept as they are, to be saved with a model.
    ///
    /// # Errors
    /// Weights that do not fit; levels that the backbone does not have; as [`PatchAggregatorConfig::validate`].
    pub fn load(
        id: BackboneId,
        levels: Levels,
        weights: &BackboneWeights,
        aggregator: PatchAggregatorConfig,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let backbone = Backbone::load(id, levels, weights, device)?;
        let aggregator = PatchAggregator::new(aggregator, &backbone.tap_channels())?;
        Ok(Self { backbone, aggregator })
    }

    /// (B, 3, H, W) f32, normalised -> (B, h, w, D) contiguous f32, not scaled; (h, w) as [`FeatureExtractor::grid`].
    ///
    /// # Errors
    /// `ModelError::InputShape` for another shape.
    pub fn features(&self, images: &Tensor) -> Result<Tensor, ModelError> {
        self.aggregator.forward(&self.backbone.forward(images)?)
    }

    /// Rows and columns of patches of an image of this height and width: the grid of the finest tapped level.
    pub fn grid(&self, height: usize, width: usize) -> (usize, usize) {
        let stride = self.backbone.taps().first().map_or(1, |tap| tap.stride);
        (height.div_ceil(stride), width.div_ceil(stride))
    }

    /// Width of a patch feature, D.
    pub fn feature_dim(&self) -> usize {
        self.aggregator.dim()
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        self.backbone.device()
    }

    /// The backbone.
    pub fn backbone(&self) -> &Backbone {
        &self.backbone
    }

    /// The backbone's weights as their source stores them.
    pub fn weights(&self) -> &BackboneWeights {
        self.backbone.weights()
    }

    /// The aggregator.
    pub fn aggregator(&self) -> &PatchAggregator {
        &self.aggregator
    }
}

/// The whole network.
#[derive(Debug, Clone)]
pub struct SimpleNet {
    extractor: FeatureExtractor,
    norm: FeatureNorm,
    head: Head,
    position: Option<PositionEnergy>,
}

impl SimpleNet {
    /// Joins the halves, with `norm` in between.
    ///
    /// # Errors
    /// `ModelError::Configuration` when the widths differ.
    pub fn new(extractor: FeatureExtractor, norm: FeatureNorm, head: Head) -> Result<Self, ModelError> {
        let widths = [extractor.feature_dim(), norm.dim(), head.config().adaptor.dim];
        if widths.iter().any(|&width| width != widths[0]) {
            return Err(ModelError::Configuration {
                what: "SimpleNet",
                reason: format!(
                    "the aggregator gives features of width {}, the norm takes {}, the head {}",
                    widths[0], widths[1], widths[2]
                ),
            });
        }
        Ok(Self { extractor, norm, head, position: None })
    }

    /// The same with a position-aware half of the score: the network is then for images of the grid that it was made from.
    ///
    /// # Errors
    /// As [`PositionEnergy::validate`]; `ModelError::Configuration` when it is for features of another width.
    pub fn with_position(self, position: PositionEnergy) -> Result<Self, ModelError> {
        position.validate()?;
        if position.features() != self.norm.dim() {
            return Err(ModelError::Configuration {
                what: "SimpleNet",
                reason: format!(
                    "the position energy takes features of width {}, there are features of width {}",
                    position.features(),
                    self.norm.dim()
                ),
            });
        }
        Ok(Self { position: Some(position), ..self })
    }

    /// Builds a network from its parts' numbers: backbone weights, the norm's tensors, and the head's under the
    /// official names.
    ///
    /// # Errors
    /// As [`FeatureExtractor::load`], [`Head::from_tensors`] (with `origin` in its errors) and [`SimpleNet::new`].
    pub fn from_tensors(
        config: &SimpleNetConfig,
        weights: &BackboneWeights,
        tensors: &HashMap<String, Tensor>,
        device: &Device,
        origin: &Path,
    ) -> Result<Self, ModelError> {
        let SimpleNetConfig { backbone, levels, aggregator, .. } = *config;
        let extractor = FeatureExtractor::load(backbone, levels, weights, aggregator, device)?;
        let head = Head::from_tensors(config.head, tensors, device, origin)?;
        let dim = extractor.feature_dim();
        let norm = FeatureNorm::from_tensors(dim, tensors, device, origin)?;
        let net = Self::new(extractor, norm, head)?;
        match config.position {
            Some(position) => {
                net.with_position(PositionEnergy::from_tensors(position, dim, tensors, origin)?)
            }
            None => Ok(net),
        }
    }

    /// What it is made of.
    pub fn config(&self) -> SimpleNetConfig {
        SimpleNetConfig {
            backbone: self.extractor.backbone.id(),
            levels: self.extractor.backbone.levels(),
            aggregator: *self.extractor.aggregator.config(),
            head: self.head.config(),
            position: self.position.as_ref().map(|position| position.config),
        }
    }

    /// The frozen half.
    pub fn extractor(&self) -> &FeatureExtractor {
        &self.extractor
    }

    /// Between the halves.
    pub fn norm(&self) -> &FeatureNorm {
        &self.norm
    }

    /// The trained half.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The position-aware half of the score.
    pub fn position(&self) -> Option<&PositionEnergy> {
        self.position.as_ref()
    }

    /// (B, 3, H, W) f32, normalised -> (B, h, w, D) f32 patch features, after the norm.
    ///
    /// # Errors
    /// `ModelError::InputShape` for another shape.
    pub fn features(&self, images: &Tensor) -> Result<Tensor, ModelError> {
        self.norm.forward(&self.extractor.features(images)?)
    }

    /// (B, h, w, D) f32 features after the norm -> (B, h, w) f32 raw patch scores, higher = more anomalous.
    ///
    /// # Errors
    /// Another shape or type; a grid that the position-aware half does not know.
    pub fn score_features(&self, features: &Tensor) -> Result<Tensor, ModelError> {
        let (b, h, w, dim) = features.dims4()?;
        let scores = self.head.score(&features.reshape((b * h * w, dim))?)?;
        let Some(position) = &self.position else { return Ok(scores.reshape((b, h, w))?) };
        let mut scores = scores.to_vec1::<f32>()?;
        let features = features.flatten_all()?.to_vec1::<f32>()?;
        for (scores, features) in scores.chunks_mut(h * w).zip(features.chunks(h * w * dim)) {
            let energies = position.energies(features, h, w)?;
            scores.iter_mut().zip(energies).for_each(|(s, energy)| *s = position.weights.join(*s, energy));
        }
        Ok(Tensor::from_vec(scores, (b, h, w), self.extractor.device())?)
    }

    /// (B, 3, H, W) f32, normalised -> (B, h, w) f32 raw patch scores, higher = more anomalous.
    ///
    /// # Errors
    /// `ModelError::InputShape` for another shape.
    pub fn patch_scores(&self, images: &Tensor) -> Result<Tensor, ModelError> {
        self.score_features(&self.features(images)?)
    }
}
