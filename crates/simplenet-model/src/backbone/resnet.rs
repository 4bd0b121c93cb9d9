//! ResNets, wide ones too, as torchvision defines them, cut after `layer3` or earlier (He et al., "Deep Residual
//! Learning for Image Recognition", 2015; the stride of a bottleneck sits on its 3×3, as in torchvision; Zagoruyko and
//! Komodakis, "Wide Residual Networks", 2016).
//! In: an image. Out: `layer1`, `layer2`, `layer3`, as far as it goes, after the last ReLU of each.

use super::{architecture::Architecture, reader::Reader};
use crate::{
    error::ModelError,
    graph::{ChannelAffine, Convolution, Graph, NodeId, Op, Padding},
    kernels::dense::Clamp,
};

/// PyTorch's default ε of batch norm.
const BATCH_NORM_EPSILON: f64 = 1e-5;
/// Output channels of the 7×7 stem.
const STEM_CHANNELS: usize = 64;

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

/// A convolution with its batch norm.
struct Layer {
    conv: Convolution,
    norm: ChannelAffine,
}

impl Layer {
    /// `shape` is (out, in, k, k).
    fn read(
        reader: &Reader<'_>,
        conv: &str,
        norm: &str,
        shape: [usize; 4],
        stride: usize,
    ) -> Result<Self, ModelError> {
        let weight = reader.tensor(&format!("{conv}.weight"), &shape)?;
        let norm = reader.batch_norm(norm, shape[0], BATCH_NORM_EPSILON)?;
        Ok(Self { conv: Convolution { stride, padding: Padding::Centred, ..Convolution::new(weight) }, norm })
    }

    fn add_to(self, graph: &mut Graph, input: NodeId) -> Result<NodeId, ModelError> {
        let sums = graph.add(Op::Convolution(Box::new(self.conv)), &[input])?;
        graph.add(Op::Affine(self.norm), &[sums])
    }
}

impl Architecture for ResNet {
    fn add_to(&self, graph: &mut Graph, up_to_level: usize, reader: &Reader<'_>) -> Result<(), ModelError> {
        let stem = Layer::read(reader, "conv1", "bn1", [STEM_CHANNELS, 3, 7, 7], 2)?;
        let stem = stem.add_to(graph, Graph::IMAGE)?;
        let stem = graph.add(Op::Clamp(Clamp::RELU), &[stem])?;
        let mut x = graph.add(Op::MaxPool, &[stem])?;
        for (stage, &count) in self.blocks.iter().enumerate().take(up_to_level) {
            for block in 0..count {
                let prefix = format!("layer{}.{block}", stage + 1);
                let stride = if block == 0 && stage > 0 { 2 } else { 1 };
                x = self.add_block(graph, reader, &prefix, 64 << stage, stride, x)?;
            }
            graph.name_stage(format!("layer{}", stage + 1), x);
        }
        Ok(())
    }
}

impl ResNet {
    /// One residual block: its main path and, where shape or stride change, the projection beside it. ReLU after every
    /// convolution; the last one's comes after the sum.
    fn add_block(
        &self,
        graph: &mut Graph,
        reader: &Reader<'_>,
        prefix: &str,
        base: usize,
        stride: usize,
        x: NodeId,
    ) -> Result<NodeId, ModelError> {
        let (input, output) = (graph.shape(x).channels, base * self.expansion);
        let layer = |index: usize, shape: [usize; 4], stride: usize| {
            Layer::read(
                reader,
                &format!("{prefix}.conv{index}"),
                &format!("{prefix}.bn{index}"),
                shape,
                stride,
            )
        };
        let main = if self.expansion == 1 {
            vec![layer(1, [base, input, 3, 3], stride)?, layer(2, [base, base, 3, 3], 1)?]
        } else {
            let width = base * self.widening;
            vec![
                layer(1, [width, input, 1, 1], 1)?,
                layer(2, [width, width, 3, 3], stride)?,
                layer(3, [output, width, 1, 1], 1)?,
            ]
        };
        let shortcut = if stride != 1 || input != output {
            let (conv, norm) = (format!("{prefix}.downsample.0"), format!("{prefix}.downsample.1"));
            Layer::read(reader, &conv, &norm, [output, input, 1, 1], stride)?.add_to(graph, x)?
        } else {
            x
        };
        let last = main.len() - 1;
        let mut y = x;
        for (index, layer) in main.into_iter().enumerate() {
            y = layer.add_to(graph, y)?;
            if index == last {
                y = graph.add(Op::Add, &[y, shortcut])?;
            }
            y = graph.add(Op::Clamp(Clamp::RELU), &[y])?;
        }
        Ok(y)
    }
}
