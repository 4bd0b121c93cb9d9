//! The frozen feature extractors. In: (B, 3, H, W) f32, ImageNet-normalised. Out: two feature maps, at an eighth and
//! a sixteenth of the input's sides (of a vision transformer: both on the grid of patches); nothing after the second tap
//! is computed.

mod dinov2;
mod efficientnet_lite;
mod family;
mod id;
mod layers;
mod registry;
mod resnet;

pub use id::{BackboneId, TensorSpec};

use std::sync::OnceLock;

use candle_core::{Device, Tensor};

use crate::{
    error::ModelError,
    predictor::program::{Builder, Value},
    weights::BackboneWeights,
};
use family::Network;

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
    weights: BackboneWeights,
    device: Device,
    /// Built when it is first asked for: who only runs the compiled network needs neither its time nor its memory.
    network: OnceLock<Network>,
}

impl Backbone {
    /// Takes weights of any float type. The layers are built on `device` on the first run: batch norm is folded into the
    /// convolutions in f64, and the result kept as f32. `weights` itself stays as it is, for saving.
    ///
    /// # Errors
    /// Weights of another backbone.
    pub fn load(id: BackboneId, weights: &BackboneWeights, device: &Device) -> Result<Self, ModelError> {
        if weights.id != id {
            return Err(ModelError::InputShape {
                what: "backbone",
                expected: format!("weights of {id}, not of {}", weights.id),
                actual: Vec::new(),
            });
        }
        Ok(Self { id, weights: weights.clone(), device: device.clone(), network: OnceLock::new() })
    }

    fn network(&self) -> Result<&Network, ModelError> {
        if let Some(network) = self.network.get() {
            return Ok(network);
        }
        let network = self.id.spec().family.load(&self.weights, &self.device)?;
        Ok(self.network.get_or_init(|| network))
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

    /// Channels of each tap, in the order of [`Backbone::forward`].
    pub fn tap_channels(&self) -> &'static [usize] {
        self.id.tap_channels()
    }

    /// (B, 3, H, W) f32 -> the taps, one of (B, C, ceil(H / stride), ceil(W / stride)) for each of the id's
    /// [`BackboneId::tap_channels`] and [`BackboneId::tap_strides`], contiguous f32.
    ///
    /// # Errors
    /// Another rank, channel count or an empty side; sides that the network cannot take; on the first run a tensor of another shape; a device that is out of
    /// memory.
    pub fn forward(&self, images: &Tensor) -> Result<Vec<Tensor>, ModelError> {
        let taps = self.id.tap_stages();
        let stages = self.forward_stages(images)?;
        Ok(stages.into_iter().filter(|s| taps.contains(&s.name.as_str())).map(|s| s.features).collect())
    }

    /// Adds the network up to its last tap to a program for images of these sides; gives the taps, or `None` where the
    /// network has no compiled form.
    pub(crate) fn compile(
        &self,
        image: [usize; 2],
        builder: &mut Builder,
    ) -> Result<Option<Vec<Value>>, ModelError> {
        let taps = self.id.tap_stages();
        let stages = self.id.spec().family.compile(&self.weights, image, builder)?;
        let tapped = |stages: Vec<(String, Value)>| {
            stages.into_iter().filter(|(name, _)| taps.contains(&name.as_str())).map(|(_, tap)| tap).collect()
        };
        Ok(stages.map(tapped))
    }

    /// The same run with every stage's output by name, for comparing with another implementation.
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
