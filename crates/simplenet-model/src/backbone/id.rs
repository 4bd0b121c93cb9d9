//! The backbones by name, and what is fixed about each: taps, channels, the tensors it needs.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{efficientnet_lite, resnet};
use crate::{
    error::ModelError,
    predictor::program::{Builder, Value},
    weights::BackboneWeights,
};

/// A supported pretrained network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BackboneId {
    /// EfficientNet-Lite0 up to its 112-channel stage; the embedded default. Taps: 40 and 112 channels.
    #[serde(rename = "efficientnet-lite0")]
    EfficientNetLite0,
    /// WideResNet-50-2, torchvision's first ImageNet weights; the paper's. Taps: 512 and 1024 channels.
    #[serde(rename = "wide-resnet50-2")]
    WideResNet50x2,
    /// ResNet-18. Taps: 128 and 256 channels.
    #[serde(rename = "resnet18")]
    ResNet18,
    /// ResNet-50. Taps: 512 and 1024 channels.
    #[serde(rename = "resnet50")]
    ResNet50,
}

/// A tensor that a backbone needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Key in the source framework's state dictionary.
    pub name: String,
    /// Shape; a convolution's weight is (out, in / groups, kh, kw), batch norm's parameters are (channels,).
    pub shape: Vec<usize>,
}

impl BackboneId {
    /// All of them, the default first.
    pub const ALL: [Self; 4] =
        [Self::EfficientNetLite0, Self::WideResNet50x2, Self::ResNet18, Self::ResNet50];

    /// Adds the network up to its last tap to a program for images of these sides; gives the taps.
    pub(crate) fn compile(
        self,
        weights: &BackboneWeights,
        image: [usize; 2],
        builder: &mut Builder,
    ) -> Result<Vec<Value>, ModelError> {
        let stages = match self {
            Self::EfficientNetLite0 => efficientnet_lite::compile(weights, image, builder)?,
            Self::WideResNet50x2 | Self::ResNet18 | Self::ResNet50 => {
                resnet::compile(self, weights, image, builder)?
            }
        };
        let taps = self.tap_stages();
        Ok(stages.into_iter().filter(|(name, _)| taps.contains(&name.as_str())).map(|(_, tap)| tap).collect())
    }

    /// The name used on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::EfficientNetLite0 => "efficientnet-lite0",
            Self::WideResNet50x2 => "wide-resnet50-2",
            Self::ResNet18 => "resnet18",
            Self::ResNet50 => "resnet50",
        }
    }

    /// Names of the tapped stages, as [`super::Stage::name`] spells them, from the finer to the coarser grid.
    pub fn tap_stages(self) -> &'static [&'static str] {
        match self {
            Self::EfficientNetLite0 => &["_blocks.4", "_blocks.10"],
            _ => &["layer2", "layer3"],
        }
    }

    /// Channels of each tap.
    pub fn tap_channels(self) -> &'static [usize] {
        match self {
            Self::EfficientNetLite0 => &[40, 112],
            Self::ResNet18 => &[128, 256],
            Self::WideResNet50x2 | Self::ResNet50 => &[512, 1024],
        }
    }

    /// How many input pixels one cell of each tap's grid spans, per side.
    pub fn tap_strides(self) -> &'static [usize] {
        &[8, 16]
    }

    /// Every tensor the network needs up to its last tap, in the order of the forward pass. Tensors beyond these (the
    /// classifier, later stages, `num_batches_tracked`) are ignored when a file is read.
    pub fn tensor_specs(self) -> Vec<TensorSpec> {
        match self {
            Self::EfficientNetLite0 => efficientnet_lite::tensor_specs(),
            Self::WideResNet50x2 | Self::ResNet18 | Self::ResNet50 => resnet::tensor_specs(self),
        }
    }
}

impl fmt::Display for BackboneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for BackboneId {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|id| id.name() == name).ok_or_else(|| ModelError::UnknownBackbone {
            name: name.to_string(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_as_text_and_as_json() {
        for id in BackboneId::ALL {
            assert_eq!(id.to_string().parse::<BackboneId>().unwrap(), id);
            assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{id}\""));
            assert_eq!(serde_json::from_str::<BackboneId>(&format!("\"{id}\"")).unwrap(), id);
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = "resnet-18".parse::<BackboneId>().unwrap_err().to_string();
        assert!(message.contains("`resnet-18`") && message.contains("wide-resnet50-2"), "{message}");
    }
}
