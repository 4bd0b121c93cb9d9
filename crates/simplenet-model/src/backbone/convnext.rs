//! ConvNeXt cut after its third stage or an earlier one (Liu et al., "A ConvNet for the 2020s", 2022), with timm's names. In: an
//! image, sides multiples of 16. Out: `stages.0`, `stages.1`, `stages.2` after their last block, at a 4th, 8th and 16th of the
//! input.

use super::{architecture::Architecture, reader::Reader};
use crate::{
    error::ModelError,
    graph::{ChannelAffine, Convolution, Graph, NodeId, Op, Padding, doubles},
};

/// ε of every layer norm.
const NORM_EPSILON: f64 = 1e-6;
/// Kernel and stride of the stem; kernel and stride between stages.
const PATCH: usize = 4;
const HALVING: usize = 2;
/// Side of the depthwise kernel.
const KERNEL: usize = 7;
/// Width of a block's hidden layer over the stage's width.
const HIDDEN_RATIO: usize = 4;

/// A ConvNeXt up to its third stage.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvNext {
    /// Blocks in each stage, which is a level.
    pub(crate) blocks: &'static [usize],
    /// Channels of each stage.
    pub(crate) channels: &'static [usize],
}

impl Architecture for ConvNext {
    /// What is left over at a border is not looked at by the stem and between stages: sides are whole patches of the coarsest
    /// level, so that its grid is the finer one's, halved.
    fn side_multiple(&self) -> usize {
        PATCH * HALVING * HALVING
    }

    fn add_to(&self, graph: &mut Graph, up_to_level: usize, reader: &Reader<'_>) -> Result<(), ModelError> {
        let mut x = Graph::IMAGE;
        for (stage, (&blocks, &channels)) in
            self.blocks.iter().zip(self.channels).enumerate().take(up_to_level)
        {
            x = if stage == 0 {
                let x = add_convolution(graph, reader, "stem.0", x, channels, PATCH)?;
                add_norm(graph, reader, "stem.1", x)?
            } else {
                let x = add_norm(graph, reader, &format!("stages.{stage}.downsample.0"), x)?;
                add_convolution(graph, reader, &format!("stages.{stage}.downsample.1"), x, channels, HALVING)?
            };
            for block in 0..blocks {
                x = add_block(graph, reader, &format!("stages.{stage}.blocks.{block}"), x)?;
            }
            graph.name_stage(format!("stages.{stage}"), x);
        }
        Ok(())
    }
}

/// A convolution whose stride is its kernel.
fn add_convolution(
    graph: &mut Graph,
    reader: &Reader<'_>,
    name: &str,
    x: NodeId,
    outputs: usize,
    kernel: usize,
) -> Result<NodeId, ModelError> {
    let inputs = graph.shape(x).channels;
    let weight = reader.tensor(&format!("{name}.weight"), &[outputs, inputs, kernel, kernel])?;
    let bias = Some(reader.tensor(&format!("{name}.bias"), &[outputs])?);
    let conv = Convolution { bias, stride: kernel, ..Convolution::new(weight) };
    graph.add(Op::Convolution(Box::new(conv)), &[x])
}

fn add_norm(graph: &mut Graph, reader: &Reader<'_>, name: &str, x: NodeId) -> Result<NodeId, ModelError> {
    let norm = reader.layer_norm(name, graph.shape(x).channels, NORM_EPSILON)?;
    graph.add(Op::LayerNorm(Box::new(norm)), &[x])
}

/// The input + the scaled output of: depthwise 7×7, norm, two layers per position with GELU between them.
fn add_block(graph: &mut Graph, reader: &Reader<'_>, name: &str, x: NodeId) -> Result<NodeId, ModelError> {
    let channels = graph.shape(x).channels;
    let hidden = HIDDEN_RATIO * channels;
    let gamma = doubles(&reader.tensor(&format!("{name}.gamma"), &[channels])?)?;
    let weight = reader.tensor(&format!("{name}.conv_dw.weight"), &[channels, 1, KERNEL, KERNEL])?;
    let bias = Some(reader.tensor(&format!("{name}.conv_dw.bias"), &[channels])?);
    let filter = Convolution { bias, padding: Padding::Centred, depthwise: true, ..Convolution::new(weight) };
    let y = graph.add(Op::Convolution(Box::new(filter)), &[x])?;
    let y = add_norm(graph, reader, &format!("{name}.norm"), y)?;
    let linear = |part: &str, outputs: usize, inputs: usize| {
        let weight = reader.tensor(&format!("{name}.mlp.{part}.weight"), &[outputs, inputs])?;
        Convolution::linear(&weight, reader.tensor(&format!("{name}.mlp.{part}.bias"), &[outputs])?)
    };
    let (first, second) = (linear("fc1", hidden, channels)?, linear("fc2", channels, hidden)?);
    let y = graph.add(Op::Convolution(Box::new(first)), &[y])?;
    let y = graph.add(Op::Gelu, &[y])?;
    let y = graph.add(Op::Convolution(Box::new(second)), &[y])?;
    let scale = ChannelAffine { shift: vec![0.0; channels], scale: gamma };
    let y = graph.add(Op::Affine(scale), &[y])?;
    graph.add(Op::Add, &[y, x])
}
