//! The trained numbers of adaptor and discriminator.
//!
//! In: what a training has reached. Out: the same as tensors with the official names.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use simplenet_model::{
    discriminator::DiscriminatorConfig, feature_adaptor::FeatureAdaptorConfig, feature_norm::FeatureNorm,
    simplenet::HeadConfig,
};

use crate::{
    error::TrainError,
    head::head_step::{HeadTensors, RunningStatistics},
};

/// Adaptor and discriminator after training (or in the middle of it).
#[derive(Debug, Clone)]
pub struct TrainedHead {
    /// Width of the features, D.
    pub dim: usize,
    /// Width of the hidden layer of all discriminators together, H.
    pub hidden: usize,
    /// Discriminators trained side by side.
    pub discriminators: usize,
    /// What is done to cached features before the head.
    pub norm: FeatureNorm,
    /// The weights.
    pub tensors: HeadTensors,
    /// The batch norm's statistics for inference.
    pub statistics: RunningStatistics,
}

impl TrainedHead {
    /// Sizes of the head as the model crate's layers, the discriminators as one.
    pub fn config(&self) -> HeadConfig {
        let layers = self.tensors.adaptor_weights.len();
        HeadConfig {
            adaptor: FeatureAdaptorConfig { dim: self.dim, layers },
            discriminator: DiscriminatorConfig::new(self.dim, self.hidden),
        }
    }

    /// The head as tensors with the official names (`pre_projection.…`, `discriminator.…`). The biases before the
    /// batch norm are zero: the norm cancels them. Several discriminators become one of their joint width: the mean of
    /// their logits is a single tail whose weights are divided by their number.
    ///
    /// # Errors
    /// Out of memory.
    pub fn to_tensors(&self, device: &Device) -> Result<HashMap<String, Tensor>, TrainError> {
        let Self { dim, hidden, tensors, statistics, .. } = self;
        let (dim, hidden) = (*dim, *hidden);
        let zeros = vec![0.0f32; dim.max(hidden)];
        let tail: Vec<f32> = tensors.tail_weight.iter().map(|w| w / self.discriminators as f32).collect();
        let mut entries: HashMap<String, Tensor> = HashMap::new();
        for (i, weight) in tensors.adaptor_weights.iter().enumerate() {
            let name = format!("pre_projection.layers.{i}fc");
            entries.insert(format!("{name}.weight"), Tensor::from_slice(weight, (dim, dim), device)?);
            entries.insert(format!("{name}.bias"), Tensor::from_slice(&zeros[..dim], dim, device)?);
        }
        let of_discriminator: [(&str, &[f32], Vec<usize>); 7] = [
            ("discriminator.body.block1.0.weight", &tensors.hidden_weight, vec![hidden, dim]),
            ("discriminator.body.block1.0.bias", &zeros[..hidden], vec![hidden]),
            ("discriminator.body.block1.1.weight", &tensors.norm_weight, vec![hidden]),
            ("discriminator.body.block1.1.bias", &tensors.norm_bias, vec![hidden]),
            ("discriminator.body.block1.1.running_mean", &statistics.mean, vec![hidden]),
            ("discriminator.body.block1.1.running_var", &statistics.variance, vec![hidden]),
            ("discriminator.tail.weight", &tail, vec![1, hidden]),
        ];
        for (name, values, shape) in of_discriminator {
            entries.insert(name.to_string(), Tensor::from_slice(values, shape, device)?);
        }
        Ok(entries)
    }
}
