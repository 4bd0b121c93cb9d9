//! The kinds of network that rows of the table are made of: what a row says, and the one place that leads from it to code.
//! A kind has its tensors, its literal layers, and, where it is worth it, its compiled form.

use candle_core::{Device, Tensor};

use super::{Levels, Stage, TensorSpec, dinov2, efficientnet_lite, resnet};
use crate::{
    error::ModelError,
    predictor::network::{NetworkBuilder, Value},
    weights::BackboneWeights,
};

/// Strides of a convolutional network's levels.
const STRIDES: &[usize] = &[4, 8, 16];

/// A kind of network with what sets its members apart.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Family {
    ResNet(ResNet),
    EfficientNetLite(EfficientNetLite),
    DinoV2(DinoV2),
}

/// A ResNet up to `layer3`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResNet {
    /// Residual blocks in each stage, which is a level.
    pub(crate) blocks: &'static [usize],
    /// A block's output channels over the stage's base width (64, 128, 256): 1 for basic blocks, 4 for bottlenecks.
    pub(crate) expansion: usize,
    /// Width of a bottleneck's 3×3 over the base width; unused in basic blocks.
    pub(crate) widening: usize,
}

/// An EfficientNet-Lite up to its fifth row; kernels, strides and expansions are the same in all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EfficientNetLite {
    /// Blocks in each row.
    pub(crate) repeats: &'static [usize],
    /// Output channels of each row.
    pub(crate) channels: &'static [usize],
}

/// A vision transformer of DINOv2 without registers, up to its last tapped block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DinoV2 {
    /// Numbers a token.
    pub(crate) width: usize,
    /// Heads of the attention.
    pub(crate) heads: usize,
    /// Blocks that are built.
    pub(crate) blocks: usize,
    /// Pixels of a patch's side.
    pub(crate) patch: usize,
    /// Patches a side of the images that it was trained on last: the grid of its position embedding.
    pub(crate) grid: usize,
}

/// The layers of a network with their weights, as candle runs them.
#[derive(Debug, Clone)]
pub(super) enum Network {
    ResNet(resnet::Layers),
    EfficientNetLite(efficientnet_lite::Layers),
    DinoV2(dinov2::Layers),
}

impl Family {
    /// The levels that it has.
    pub(super) fn levels(&self) -> Levels {
        match self {
            Self::ResNet(_) | Self::EfficientNetLite(_) => Levels::ALL,
            Self::DinoV2(_) => dinov2::LEVELS,
        }
    }

    /// Whether it can be tapped at these levels.
    pub(super) fn takes(&self, levels: Levels) -> bool {
        match self {
            Self::ResNet(_) | Self::EfficientNetLite(_) => true,
            Self::DinoV2(_) => levels == dinov2::LEVELS,
        }
    }

    /// How many input pixels one cell of each level's grid spans, per side.
    pub(super) fn strides(&self) -> &'static [usize] {
        match self {
            Self::ResNet(_) | Self::EfficientNetLite(_) => STRIDES,
            Self::DinoV2(_) => dinov2::STRIDES,
        }
    }

    /// The same network, cut after the last of these levels.
    pub(super) fn up_to(self, levels: Levels) -> Self {
        match self {
            Self::ResNet(net) => Self::ResNet(resnet::up_to(net, levels.last())),
            Self::EfficientNetLite(net) => {
                Self::EfficientNetLite(efficientnet_lite::up_to(net, levels.last()))
            }
            Self::DinoV2(_) => self,
        }
    }

    /// What both sides of an image must be a multiple of.
    pub(super) fn side_multiple(&self) -> usize {
        match self {
            Self::ResNet(_) | Self::EfficientNetLite(_) => 1,
            Self::DinoV2(net) => net.patch,
        }
    }

    /// Whether there is a compiled form.
    pub(super) fn is_compiled(&self) -> bool {
        match self {
            Self::ResNet(_) | Self::EfficientNetLite(_) => true,
            Self::DinoV2(_) => false,
        }
    }

    /// The stages that have a name, with their channels, in order.
    #[cfg(test)]
    pub(super) fn stages(&self) -> Vec<(String, usize)> {
        match self {
            Self::ResNet(net) => resnet::stages(net),
            Self::EfficientNetLite(net) => efficientnet_lite::stages(net),
            Self::DinoV2(net) => dinov2::stages(net),
        }
    }

    /// Names and shapes of every tensor up to the last level.
    pub(super) fn tensor_specs(&self) -> Vec<TensorSpec> {
        match self {
            Self::ResNet(net) => resnet::tensor_specs(net),
            Self::EfficientNetLite(net) => efficientnet_lite::tensor_specs(net),
            Self::DinoV2(net) => dinov2::tensor_specs(net),
        }
    }

    /// Builds the literal layers.
    pub(super) fn load(&self, weights: &BackboneWeights, device: &Device) -> Result<Network, ModelError> {
        Ok(match self {
            Self::ResNet(net) => Network::ResNet(resnet::Layers::load(net, weights, device)?),
            Self::EfficientNetLite(net) => {
                Network::EfficientNetLite(efficientnet_lite::Layers::load(net, weights, device)?)
            }
            Self::DinoV2(net) => Network::DinoV2(dinov2::Layers::load(net, weights, device)?),
        })
    }

    /// Adds every layer to a program for images of these sides; gives each named stage's output. `None` where there is
    /// no compiled form ([`Family::is_compiled`]).
    pub(super) fn compile(
        &self,
        weights: &BackboneWeights,
        image: [usize; 2],
        builder: &mut dyn NetworkBuilder,
    ) -> Result<Option<Vec<(String, Value)>>, ModelError> {
        match self {
            Self::ResNet(net) => resnet::compile(net, weights, image, builder).map(Some),
            Self::EfficientNetLite(net) => efficientnet_lite::compile(net, weights, image, builder).map(Some),
            Self::DinoV2(_) => Ok(None),
        }
    }
}

impl Network {
    /// (B, 3, H, W) f32 -> each named stage's output.
    pub(super) fn forward_stages(&self, images: &Tensor) -> Result<Vec<Stage>, ModelError> {
        match self {
            Self::ResNet(layers) => layers.forward_stages(images),
            Self::EfficientNetLite(layers) => layers.forward_stages(images),
            Self::DinoV2(layers) => layers.forward_stages(images),
        }
    }
}
