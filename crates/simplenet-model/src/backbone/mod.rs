//! The frozen feature extractors. In: (B, 3, H, W) f32, ImageNet-normalised. Out: a feature map for each tapped level,
//! the paper's at an eighth and a sixteenth of the input's sides (of a vision transformer: both on the grid of patches);
//! nothing after the last tap is computed.

mod architecture;
mod convnext;
mod dinov2;
mod efficientnet_lite;
mod id;
mod levels;
mod reader;
mod registry;
mod resnet;
pub mod weights;

pub use id::{BackboneId, Tap, TensorSpec};
pub use levels::Levels;

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Device, Tensor};

use crate::{
    error::ModelError,
    graph::{COLOURS, Graph},
    lower::reference::Reference,
    passes::fold_affine,
};
use reader::Reader;
use weights::BackboneWeights;

/// One named feature map on the way through a backbone.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The name the source framework gives it: `layer2`, `_blocks.4`, `blocks.5`.
    pub name: String,
    /// (B, C, h, w) f32.
    pub features: Tensor,
}

/// A reference network, and the sides of the images that it is for.
type Built = ([usize; 2], Arc<Reference>);

/// A pretrained network in evaluation mode, cut after its last tap. Weights are constants: no gradient flows here.
#[derive(Debug, Clone)]
pub struct Backbone {
    id: BackboneId,
    levels: Levels,
    taps: Vec<Tap>,
    weights: BackboneWeights,
    device: Device,
    /// The network in candle for the sides of the last run. Built when it is first asked for: who only runs the compiled
    /// network needs neither its time nor its memory.
    reference: Arc<Mutex<Option<Built>>>,
}

impl Backbone {
    /// Takes weights of any float type. The reference network is built on `device` on the first run: batch norm is folded
    /// into the convolutions in f64, and the result kept as f32. Of `weights`, what the levels need stays as it is, for saving.
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
            reference: Arc::default(),
        })
    }

    /// The network up to its last tap for images of these sides, its stages the taps.
    ///
    /// # Errors
    /// Sides that the network cannot take; a tensor of another shape.
    pub(crate) fn graph(&self, sides: [usize; 2]) -> Result<Graph, ModelError> {
        let mut graph = self.whole_graph(sides)?;
        graph.retain_stages(|stage| self.taps.iter().any(|tap| tap.stage == stage));
        Ok(graph)
    }

    /// The same with every stage that has a name.
    fn whole_graph(&self, [height, width]: [usize; 2]) -> Result<Graph, ModelError> {
        self.id.check_sides(height, width)?;
        let mut graph = Graph::new([height, width]);
        let reader = Reader::Weights(&self.weights);
        self.id.spec().network.add_to(&mut graph, self.levels.last(), &reader)?;
        Ok(fold_affine(&graph))
    }

    /// The reference network for these sides; the last one is kept.
    fn reference(&self, sides: [usize; 2]) -> Result<Arc<Reference>, ModelError> {
        let mut kept = self.reference.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((of, reference)) if *of == sides => Ok(reference.clone()),
            _ => {
                let reference = Arc::new(Reference::new(self.whole_graph(sides)?, &self.device)?);
                *kept = Some((sides, reference.clone()));
                Ok(reference)
            }
        }
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

    /// (B, 3, H, W) f32 -> the taps, one of (B, C, ceil(H / stride), ceil(W / stride)) for each of [`Backbone::taps`],
    /// contiguous f32.
    ///
    /// # Errors
    /// Another rank, channel count or an empty side; sides that the network cannot take; on the first run a tensor of
    /// another shape; a device that is out of memory.
    pub fn forward(&self, images: &Tensor) -> Result<Vec<Tensor>, ModelError> {
        let stages = self.forward_stages(images)?;
        Ok(stages
            .into_iter()
            .filter(|stage| self.taps.iter().any(|tap| tap.stage == stage.name))
            .map(|stage| stage.features)
            .collect())
    }

    /// The same run with the output of every stage up to the last tap by name, for comparing with another implementation.
    ///
    /// # Errors
    /// As [`Backbone::forward`].
    pub fn forward_stages(&self, images: &Tensor) -> Result<Vec<Stage>, ModelError> {
        let sides = match *images.dims() {
            [b, COLOURS, h, w] if b > 0 && h > 0 && w > 0 => [h, w],
            _ => {
                return Err(ModelError::InputShape {
                    what: "backbone",
                    expected: "(B, 3, H, W) with B, H, W > 0".into(),
                    actual: images.dims().to_vec(),
                });
            }
        };
        self.id.check_sides(sides[0], sides[1])?;
        let stages = self.reference(sides)?.run(images)?;
        Ok(stages.into_iter().map(|(name, features)| Stage { name, features }).collect())
    }
}
