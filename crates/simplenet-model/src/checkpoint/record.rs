//! The record in a model file: everything about a model that is not a tensor.

use std::{collections::HashMap, path::Path};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::{
    anomaly_map::{AnomalyMapConfig, ImageScore, image_score},
    backbone::{BackboneId, Levels},
    discriminator::DiscriminatorConfig,
    error::ModelError,
    feature_adaptor::FeatureAdaptorConfig,
    feature_norm::FeatureNorm,
    patch_aggregator::PatchAggregatorConfig,
    position_energy::PositionEnergyConfig,
    precision::ActivationRanges,
    simplenet::{HeadConfig, SimpleNet, SimpleNetConfig},
};

use super::{BACKBONE_PREFIX, FORMAT_VERSION, Threshold};

/// Largest magnitude of a normalised value; beyond it sums overflow.
const MAX_NORMALISED: f32 = 1e6;

/// What a model file says about its model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRecord {
    /// The format's version; see [`FORMAT_VERSION`].
    pub format_version: u32,
    /// SHA-256 over this record and every tensor, 64 hexadecimal digits; empty before the model was saved.
    pub content_sha256: String,
    /// Name and version of the program that wrote it.
    pub created_by: String,
    /// The frozen network.
    pub backbone: BackboneId,
    /// SHA-256 of the file that the backbone's weights came from.
    pub backbone_sha256: String,
    /// Which of its levels are tapped; 2 and 3 in files of versions before 3.
    #[serde(default)]
    pub levels: Levels,
    /// From feature maps to patch features.
    pub aggregator: PatchAggregatorConfig,
    /// Sizes of the adaptor.
    pub adaptor: FeatureAdaptorConfig,
    /// Sizes of the discriminator.
    pub discriminator: DiscriminatorConfig,
    /// Sizes of the position-aware half of the score, if there is one; none in files of versions before 3.
    #[serde(default)]
    pub position: Option<PositionEnergyConfig>,
    /// How the anomaly map is smoothed.
    pub anomaly_map: AnomalyMapConfig,
    /// How patch scores become the image's; the largest one in files of versions before 3.
    #[serde(default)]
    pub image_score: ImageScore,
    /// Mean of the input normalisation, RGB on a scale of 0 to 1.
    pub mean: [f32; 3],
    /// Standard deviation of the input normalisation.
    pub std: [f32; 3],
    /// From photograph to network input, as the data crate writes it.
    pub preprocessing: serde_json::Value,
    /// How it was trained, as the training crate writes it.
    pub training: serde_json::Value,
    /// Where normal ends, when it was calibrated.
    pub threshold: Option<Threshold>,
    /// Name and version of the program that set the threshold after the training; none if the training did, and in files
    /// before version 3.
    #[serde(default)]
    pub calibrated_by: Option<String>,
    /// The map scores between which heat maps spread their colours, (low, high): low leaves a photograph untouched.
    pub display_range: Option<(f32, f32)>,
    /// Quantiles of the image scores of held-out normal images: (share, score), to show a score in proportion.
    pub normal_score_quantiles: Vec<(f64, f32)>,
    /// Fewest pixels of the photograph that a region has; smaller ones are not given. 0 gives all, and in files that do not say
    /// it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_region_area: u64,
    /// The ranges of the backbone's activations on good images, which int8 needs; none in files of version 1.
    #[serde(default)]
    pub activation_ranges: Option<ActivationRanges>,
    /// What the images are like that it was trained on, as the data crate writes it; none in files of versions before 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_profile: Option<serde_json::Value>,
    /// Inputs whose scores are known.
    pub goldens: Vec<Golden>,
}

fn is_zero(pixels: &u64) -> bool {
    *pixels == 0
}

/// An input of which the right score is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// Name of its tensor in the file: (3, height, width) u8.
    pub tensor: String,
    /// The pixels and their size.
    pub input: GoldenInput,
    /// The raw image score where the model was made.
    pub image_score: f32,
}

/// A small RGB image at the network's input: normalised with the record's mean and deviation, not resized.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenInput {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// (3, height, width), row-major; a tensor of its own in a file, not part of the JSON.
    #[serde(skip)]
    pub rgb: Vec<u8>,
}

/// What a caller has to say about a model beside the network itself.
#[derive(Debug, Clone)]
pub struct RecordInput {
    /// Name and version of the program.
    pub created_by: String,
    /// How the anomaly map is smoothed.
    pub anomaly_map: AnomalyMapConfig,
    /// How patch scores become the image's.
    pub image_score: ImageScore,
    /// Mean of the input normalisation.
    pub mean: [f32; 3],
    /// Standard deviation of the input normalisation.
    pub std: [f32; 3],
    /// From photograph to network input.
    pub preprocessing: serde_json::Value,
    /// How it was trained.
    pub training: serde_json::Value,
    /// Inputs to keep with their scores, two or so.
    pub goldens: Vec<GoldenInput>,
}

impl GoldenInput {
    /// From pixels as image libraries hold them: (height, width, 3), row-major.
    ///
    /// # Errors
    /// `ModelError::InputShape` when `rgb` does not have that many numbers, or none.
    pub fn from_interleaved(width: usize, height: usize, rgb: &[u8]) -> Result<Self, ModelError> {
        let pixels = width.checked_mul(height).filter(|&n| n > 0 && n.checked_mul(3) == Some(rgb.len()));
        if pixels.is_none() {
            return Err(ModelError::InputShape {
                what: "golden input",
                expected: format!("{height} x {width} x 3 numbers, at least one pixel"),
                actual: vec![rgb.len()],
            });
        }
        let channel = |c: usize| rgb.iter().skip(c).step_by(3).copied();
        Ok(Self { width, height, rgb: (0..3).flat_map(channel).collect() })
    }

    /// The raw image score that `net` gives it by `rule`, normalised with `mean` and `std`: ((v / 255) − mean) / std.
    ///
    /// # Errors
    /// Pixels that do not match the size; a failing tensor operation.
    pub fn image_score(
        &self,
        net: &SimpleNet,
        mean: [f32; 3],
        std: [f32; 3],
        rule: ImageScore,
    ) -> Result<f32, ModelError> {
        let plane = (self.width * self.height).max(1);
        let input: Vec<f32> = self
            .rgb
            .iter()
            .enumerate()
            .map(|(i, &v)| {
                let c = (i / plane).min(2);
                (f32::from(v) / 255.0 - mean[c]) / std[c]
            })
            .collect();
        let shape = (1, 3, self.height, self.width);
        let scores = net.patch_scores(&Tensor::from_vec(input, shape, net.extractor().device())?)?;
        let (_, _rows, columns) = scores.dims3()?;
        Ok(image_score(&scores.flatten_all()?.to_vec1::<f32>()?, columns, rule))
    }
}

impl Golden {
    /// Shape of its tensor in the file.
    pub fn shape(&self) -> Vec<usize> {
        vec![3, self.input.height, self.input.width]
    }

    pub(super) fn to_tensor(&self) -> Result<Tensor, ModelError> {
        Ok(Tensor::from_slice(&self.input.rgb, self.shape(), &Device::Cpu)?)
    }
}

impl ModelRecord {
    /// The record of a network: structure and backbone are read off `net`, the golden inputs are scored by it.
    ///
    /// # Errors
    /// A golden input that cannot be scored.
    pub fn new(net: &SimpleNet, input: RecordInput) -> Result<Self, ModelError> {
        let SimpleNetConfig { backbone, levels, aggregator, head, position } = net.config();
        let RecordInput {
            created_by,
            anomaly_map,
            image_score: rule,
            mean,
            std,
            preprocessing,
            training,
            goldens,
        } = input;
        let goldens = goldens
            .into_iter()
            .enumerate()
            .map(|(i, input)| {
                let image_score = input.image_score(net, mean, std, rule)?;
                Ok(Golden { tensor: format!("golden.{i}.rgb"), input, image_score })
            })
            .collect::<Result<_, ModelError>>()?;
        Ok(Self {
            format_version: FORMAT_VERSION,
            content_sha256: String::new(),
            created_by,
            backbone,
            backbone_sha256: net.extractor().weights().sha256.clone(),
            levels,
            aggregator,
            adaptor: head.adaptor,
            discriminator: head.discriminator,
            position,
            anomaly_map,
            image_score: rule,
            mean,
            std,
            preprocessing,
            training,
            threshold: None,
            calibrated_by: None,
            display_range: None,
            normal_score_quantiles: Vec::new(),
            min_region_area: 0,
            activation_ranges: None,
            image_profile: None,
            goldens,
        })
    }

    /// The network's structure.
    pub fn network(&self) -> SimpleNetConfig {
        SimpleNetConfig {
            backbone: self.backbone,
            levels: self.levels,
            aggregator: self.aggregator,
            head: HeadConfig { adaptor: self.adaptor, discriminator: self.discriminator },
            position: self.position,
        }
    }

    /// The shapes of all tensors that a file of this record has, by name.
    pub(super) fn tensor_shapes(&self, file: &Path) -> Result<HashMap<String, Vec<usize>>, ModelError> {
        self.validate_settings(file)?;
        let head = self.network().head;
        let backbone = self.backbone.tensor_specs_for(self.levels).into_iter();
        let mut shapes: HashMap<String, Vec<usize>> =
            backbone.map(|spec| (format!("{BACKBONE_PREFIX}{}", spec.name), spec.shape)).collect();
        // Those without a shape of their own are single numbers.
        shapes.extend(head.tensor_names().into_iter().map(|name| (name, vec![])));
        shapes.extend(head.tensor_specs());
        shapes.extend(FeatureNorm::tensor_specs(self.adaptor.dim));
        shapes.extend(self.position.iter().flat_map(|position| position.tensor_specs(self.adaptor.dim)));
        shapes.extend(self.goldens.iter().map(|golden| (golden.tensor.clone(), golden.shape())));
        Ok(shapes)
    }

    /// Checks every number; `file` is where it comes from or goes to.
    pub(super) fn validate(&self, file: &Path) -> Result<(), ModelError> {
        self.validate_settings(file)?;
        for golden in &self.goldens {
            let GoldenInput { width, height, rgb } = &golden.input;
            let fits = width.checked_mul(*height).and_then(|n| n.checked_mul(3)) == Some(rgb.len());
            if !golden.image_score.is_finite() || rgb.is_empty() || !fits {
                return Err(ModelError::InvalidFile {
                    file: file.to_path_buf(),
                    reason: format!(
                        "its record is unusable: golden input `{}` of {height} x {width}, {} numbers, score {}",
                        golden.tensor,
                        rgb.len(),
                        golden.image_score
                    ),
                });
            }
        }
        Ok(())
    }

    /// Checks every number but those of the golden inputs.
    pub(super) fn validate_settings(&self, file: &Path) -> Result<(), ModelError> {
        let invalid = |reason: String| ModelError::InvalidFile {
            file: file.to_path_buf(),
            reason: format!("its record is unusable: {reason}"),
        };
        self.backbone.taps(self.levels).map_err(|e| invalid(e.to_string()))?;
        self.aggregator.validate().map_err(|e| invalid(e.to_string()))?;
        self.network().head.validate().map_err(|e| invalid(e.to_string()))?;
        self.position
            .iter()
            .try_for_each(PositionEnergyConfig::validate)
            .map_err(|e| invalid(e.to_string()))?;
        self.anomaly_map.validate().map_err(|e| invalid(e.to_string()))?;
        self.image_score.validate().map_err(|e| invalid(e.to_string()))?;
        let normalisation =
            self.mean.iter().all(|v| v.is_finite()) && self.std.iter().all(|v| v.is_finite() && *v > 0.0);
        let scale = |(mean, std): (&f32, &f32)| mean.abs().max((1.0 - mean).abs()) / std;
        let normalisation =
            normalisation && self.mean.iter().zip(&self.std).all(|pair| scale(pair) <= MAX_NORMALISED);
        if !normalisation {
            return Err(invalid(format!("mean {:?}, std {:?}", self.mean, self.std)));
        }
        if let Some(t) = self.threshold.filter(|t| !t.is_usable()) {
            return Err(invalid(format!("threshold {t:?}")));
        }
        if let Some((low, high)) = self.display_range
            && !(low.is_finite() && high.is_finite() && low < high)
        {
            return Err(invalid(format!("display range {low} to {high}")));
        }
        if self.normal_score_quantiles.iter().any(|(share, score)| !share.is_finite() || !score.is_finite()) {
            return Err(invalid("a quantile of the normal scores is not a number".into()));
        }
        if self.activation_ranges.as_ref().is_some_and(|ranges| !ranges.is_usable()) {
            return Err(invalid("a range of the activations is negative or not a number".into()));
        }
        Ok(())
    }
}
