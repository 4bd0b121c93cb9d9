//! The frozen feature extractors. In: (B, 3, H, W) f32, ImageNet-normalised. Out: a feature map for each tapped level,
//! the paper's at an eighth and a sixteenth of the input's sides (of a vision transformer: both on the grid of patches);
//! nothing after the last tap is computed.

pub(crate) mod dinov2;
mod efficientnet_lite;
mod family;
mod id;
mod layers;
mod levels;
mod registry;
mod resnet;

pub use id::{BackboneId, Tap, TensorSpec};
pub use levels::Levels;

use std::sync::OnceLock;

use candle_core::{Device, Tensor};

use crate::{
    error::ModelError,
    predictor::network::{NetworkBuilder, Value},
    weights::BackboneWeights,
};
use family::{Family, Network};

/// One named feature map on the way through a backbone.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The name the source framework gives it: `layer2`, `_blocks.4`, `blocks.5`.
    pub name: String,
    /// (B, C, h, w) f32.
    pub features: Tensor,
}

/// A pretrained network in evaluation mode, cut after its last tap. Weights are constants: no gradient flows here.
#[derive(Debug, Clone)]
pub struct Backbone {
    id: BackboneId,
    levels: Levels,
    taps: Vec<Tap>,
    weights: BackboneWeights,
    device: Device,
    /// Built when it is first asked for: who only runs the compiled network needs neither its time nor its memory.
    network: OnceLock<Network>,
}

impl Backbone {
    /// Takes weights of any float type. The layers are built on `device` on the first run: batch norm is folded into the
    /// convolutions in f64, and the result kept as f32. Of `weights`, what the levels need stays as it is, for saving.
    ///
    /// # Errors
    /// Weights of another backbone, or that lack a tensor; levels that the network does not have.
    pub fn load(
        id: BackboneId,
        levels: Levels,
        weights: &BackboneWeights,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let taps = id.taps(levels)?;
        if weights.id != id {
            return Err(ModelError::InputShape {
                what: "backbone",
                expected: format!("weights of {id}, not of {}", weights.id),
                actual: Vec::new(),
            });
        }
        Ok(Self {
            id,
            levels,
            taps,
            weights: weights.for_levels(levels)?,
            device: device.clone(),
            network: OnceLock::new(),
        })
    }

    fn network(&self) -> Result<&Network, ModelError> {
        if let Some(network) = self.network.get() {
            return Ok(network);
        }
        let network = self.family().load(&self.weights, &self.device)?;
        Ok(self.network.get_or_init(|| network))
    }

    /// What is built: nothing after the last tap.
    fn family(&self) -> Family {
        self.id.spec().family.up_to(self.levels)
    }

    /// Which network this is.
    pub fn id(&self) -> BackboneId {
        self.id
    }

    /// The weights as their source stores them.
    pub fn weights(&self) -> &BackboneWeights {
        &self.weights
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The levels that are tapped.
    pub fn levels(&self) -> Levels {
        self.levels
    }

    /// What is tapped, in the order of [`Backbone::forward`].
    pub fn taps(&self) -> &[Tap] {
        &self.taps
    }

    /// Channels of each tap.
    pub fn tap_channels(&self) -> Vec<usize> {
        self.taps.iter().map(|tap| tap.channels).collect()
    }

    /// The literal layers of a vision transformer, which has no compiled form; none of other networks.
    ///
    /// # Errors
    /// A tensor of another shape; a device that is out of memory.
    pub(crate) fn transformer(&self) -> Result<Option<&dinov2::Layers>, ModelError> {
        match self.family() {
            Family::DinoV2(_) => Ok(match self.network()? {
                Network::DinoV2(layers) => Some(layers),
                Network::ResNet(_) | Network::EfficientNetLite(_) => None,
            }),
            Family::ResNet(_) | Family::EfficientNetLite(_) => Ok(None),
        }
    }

    pub(crate) fn is_tapped(&self, stage: &str) -> bool {
        self.taps.iter().any(|tap| tap.stage == stage)
    }

    /// (B, 3, H, W) f32 -> the taps, one of (B, C, ceil(H / stride), ceil(W / stride)) for each of [`Backbone::taps`],
    /// contiguous f32.
    ///
    /// # Errors
    /// Another rank, channel count or an empty side; sides that the network cannot take; on the first run a tensor of
    /// another shape; a device that is out of memory.
    pub fn forward(&self, images: &Tensor) -> Result<Vec<Tensor>, ModelError> {
        let stages = self.forward_stages(images)?;
        Ok(stages.into_iter().filter(|s| self.is_tapped(&s.name)).map(|s| s.features).collect())
    }

    /// Adds the network up to its last tap to a program for images of these sides; gives the taps, or `None` where the
    /// network has no compiled form.
    pub(crate) fn compile(
        &self,
        image: [usize; 2],
        builder: &mut dyn NetworkBuilder,
    ) -> Result<Option<Vec<Value>>, ModelError> {
        let stages = self.family().compile(&self.weights, image, builder)?;
        let tapped = |stages: Vec<(String, Value)>| {
            stages.into_iter().filter(|(name, _)| self.is_tapped(name)).map(|(_, tap)| tap).collect()
        };
        Ok(stages.map(tapped))
    }

    /// The same run with the output of every stage up to the last tap by name, for comparing with another implementation.
    ///
    /// # Errors
    /// As [`Backbone::forward`].
    pub fn forward_stages(&self, images: &Tensor) -> Result<Vec<Stage>, ModelError> {
        match *images.dims() {
            [b, 3, h, w] if b > 0 && h > 0 && w > 0 => self.id.check_sides(h, w)?,
            _ => {
                return Err(ModelError::InputShape {
                    what: "backbone",
                    expected: "(B, 3, H, W) with B, H, W > 0".into(),
                    actual: images.dims().to_vec(),
                });
            }
        }
        self.network()?.forward_stages(images)
    }
}
