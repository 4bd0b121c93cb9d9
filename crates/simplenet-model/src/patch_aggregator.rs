//! Locally aware patch features (paper, section 3.1). In: the backbone's feature maps. Out: one feature vector a patch,
//! on the grid of the finest map, as the official code computes it.

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

use crate::{
    error::ModelError,
    kernels::patch_aggregate::{MAX_LAYERS, PatchAggregate},
};

/// The largest patch that is supported.
const MAX_PATCH_SIZE: usize = 7;
/// Far above any sensible width; keeps a damaged file from asking for terabytes.
const MAX_DIM: usize = 1 << 16;

/// How feature maps become patch features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchAggregatorConfig {
    /// Side of the neighbourhood that a patch sees, in cells of each map: 1, 3, 5 or 7. The paper: 3.
    pub patch_size: usize,
    /// How the neighbourhood's numbers become one vector.
    pub reduction: Reduction,
}

/// How the C·k·k numbers of a patch's neighbourhoods, one a layer, become one vector of width D.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reduction {
    /// The official code's: adaptive average pool of each layer to `pretrain_dim`, of the stacked layers to `target_dim`.
    AdaptivePool {
        /// Width that each layer's unfolded values are pooled to. The official scripts: 1536.
        pretrain_dim: usize,
        /// Width of the result, D. The official scripts: 1536.
        target_dim: usize,
    },
    /// The mean over the neighbourhood of every channel: D is the sum of the layers' channels. The same chain, with each
    /// layer pooled to as many numbers as it has channels.
    ChannelMean,
}

impl Default for PatchAggregatorConfig {
    fn default() -> Self {
        Self::adaptive_pool(3, 1536, 1536)
    }
}

impl PatchAggregatorConfig {
    /// The official reduction to the given widths.
    pub fn adaptive_pool(patch_size: usize, pretrain_dim: usize, target_dim: usize) -> Self {
        Self { patch_size, reduction: Reduction::AdaptivePool { pretrain_dim, target_dim } }
    }

    /// One number a channel.
    pub fn channel_mean(patch_size: usize) -> Self {
        Self { patch_size, reduction: Reduction::ChannelMean }
    }

    /// D for layers of `tap_channels` channels.
    pub fn dim(&self, tap_channels: &[usize]) -> usize {
        match self.reduction {
            Reduction::AdaptivePool { target_dim, .. } => target_dim,
            Reduction::ChannelMean => tap_channels.iter().sum(),
        }
    }

    /// Checks every number.
    ///
    /// # Errors
    /// `ModelError::Configuration` names the first one that cannot work.
    pub fn validate(&self) -> Result<(), ModelError> {
        let invalid = |reason| Err(ModelError::Configuration { what: "patch aggregator", reason });
        if self.patch_size.is_multiple_of(2) || self.patch_size > MAX_PATCH_SIZE {
            return invalid(format!(
                "patch_size is {}, must be 1, 3, 5 or {MAX_PATCH_SIZE}",
                self.patch_size
            ));
        }
        if let Reduction::AdaptivePool { pretrain_dim, target_dim } = self.reduction {
            for (name, dim) in [("pretrain_dim", pretrain_dim), ("target_dim", target_dim)] {
                if !(1..=MAX_DIM).contains(&dim) {
                    return invalid(format!("{name} is {dim}, must lie between 1 and {MAX_DIM}"));
                }
            }
        }
        Ok(())
    }
}

/// The aggregator for given layers. It has no parameters: a fixed linear map without gradient.
#[derive(Debug, Clone)]
pub struct PatchAggregator {
    config: PatchAggregatorConfig,
    tap_channels: Vec<usize>,
    op: PatchAggregate,
}

impl PatchAggregator {
    /// For layers of `tap_channels` channels each, the finest first.
    ///
    /// # Errors
    /// As [`PatchAggregatorConfig::validate`]; no layer or more than three; a layer without channels.
    pub fn new(config: PatchAggregatorConfig, tap_channels: &[usize]) -> Result<Self, ModelError> {
        config.validate()?;
        if tap_channels.is_empty() || tap_channels.len() > MAX_LAYERS || tap_channels.contains(&0) {
            return Err(ModelError::Configuration {
                what: "patch aggregator",
                reason: format!(
                    "layers of {tap_channels:?} channels, must be 1 to {MAX_LAYERS} layers that have some"
                ),
            });
        }
        let pretrain_dims = match config.reduction {
            Reduction::AdaptivePool { pretrain_dim, .. } => vec![pretrain_dim; tap_channels.len()],
            Reduction::ChannelMean => tap_channels.to_vec(),
        };
        let dim = config.dim(tap_channels);
        let op = PatchAggregate::new(config.patch_size, &pretrain_dims, dim, tap_channels);
        Ok(Self { config, tap_channels: tap_channels.to_vec(), op })
    }

    /// What it was made from.
    pub fn config(&self) -> &PatchAggregatorConfig {
        &self.config
    }

    /// Width of the result, D.
    pub fn dim(&self) -> usize {
        self.config.dim(&self.tap_channels)
    }

    /// The kernel behind it.
    pub(crate) fn op(&self) -> &PatchAggregate {
        &self.op
    }

    /// Maps (B, C, h, w) f32, one a layer, each on its own grid -> (B, h, w, D) contiguous f32 on the first one's grid.
    /// Rows are in (image, y, x) order.
    ///
    /// # Errors
    /// `ModelError::InputShape` for maps that do not fit the layers; `ModelError::Candle` for another type than f32.
    pub fn forward(&self, maps: &[Tensor]) -> Result<Tensor, ModelError> {
        self.check(maps)?;
        // On other devices candle's own operations give the same numbers, more slowly.
        if maps.iter().all(|m| m.device().is_cpu() || m.device().is_cuda()) {
            Ok(self.op.forward(maps)?)
        } else {
            self.forward_reference(maps)
        }
    }

    /// The same by the official chain, step by step, on any device: slow, for comparing with.
    ///
    /// # Errors
    /// As [`PatchAggregator::forward`].
    pub fn forward_reference(&self, maps: &[Tensor]) -> Result<Tensor, ModelError> {
        self.check(maps)?;
        Ok(self.op.reference(maps)?)
    }

    fn check(&self, maps: &[Tensor]) -> Result<(), ModelError> {
        let batch = maps.first().and_then(|m| m.dims().first().copied()).unwrap_or(0);
        let fits = |map: &Tensor, channels: usize| match *map.dims() {
            [b, c, h, w] => b == batch && c == channels && h > 0 && w > 0,
            _ => false,
        };
        if maps.len() != self.tap_channels.len() {
            return Err(ModelError::InputShape {
                what: "patch aggregator",
                expected: format!("{} feature maps", self.tap_channels.len()),
                actual: vec![maps.len()],
            });
        }
        for (map, &channels) in maps.iter().zip(&self.tap_channels) {
            if !fits(map, channels) {
                return Err(ModelError::InputShape {
                    what: "patch aggregator",
                    expected: format!("({batch}, {channels}, h, w) with h, w > 0"),
                    actual: map.dims().to_vec(),
                });
            }
            if map.dtype() != DType::F32 {
                return Err(candle_core::Error::UnexpectedDType {
                    msg: "patch aggregator",
                    expected: DType::F32,
                    got: map.dtype(),
                }
                .into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn impossible_configurations_are_named() {
        let good = PatchAggregatorConfig::default();
        for (config, channels, word) in [
            (PatchAggregatorConfig { patch_size: 2, ..good }, vec![4], "patch_size is 2"),
            (PatchAggregatorConfig { patch_size: 9, ..good }, vec![4], "patch_size is 9"),
            (PatchAggregatorConfig::adaptive_pool(3, 0, 8), vec![4], "pretrain_dim is 0"),
            (PatchAggregatorConfig::adaptive_pool(3, 8, usize::MAX), vec![4], "target_dim"),
            (good, vec![], "layers of []"),
            (good, vec![1, 2, 3, 4], "1 to 3 layers"),
            (good, vec![1, 0], "[1, 0]"),
        ] {
            let error = PatchAggregator::new(config, &channels).unwrap_err().to_string();
            assert!(error.contains(word), "expected `{word}` in: {error}");
        }
    }

    #[test]
    fn maps_that_do_not_fit_are_named() {
        let config = PatchAggregatorConfig::adaptive_pool(3, 8, 8);
        let aggregator = PatchAggregator::new(config, &[4, 6]).unwrap();
        let map = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
        let first = map(&[2, 4, 3, 3], DType::F32);
        for (second, word) in [
            (map(&[2, 5, 2, 2], DType::F32), "(2, 6, h, w)"),
            (map(&[1, 6, 2, 2], DType::F32), "(2, 6, h, w)"),
            (map(&[2, 6, 2], DType::F32), "[2, 6, 2]"),
            (map(&[2, 6, 0, 2], DType::F32), "h, w > 0"),
            (map(&[2, 6, 2, 2], DType::F64), "F64"),
        ] {
            let error = aggregator.forward(&[first.clone(), second]).unwrap_err().to_string();
            assert!(error.contains(word), "expected `{word}` in: {error}");
        }
        assert!(aggregator.forward(&[first]).unwrap_err().to_string().contains("2 feature maps"));
    }
}
