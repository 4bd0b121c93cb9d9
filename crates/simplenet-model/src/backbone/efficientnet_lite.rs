//! EfficientNet-Lite up to the fifth row of its table or an earlier one (Tan and Le, "EfficientNet", 2019, in the "lite"
//! variant: ReLU6, no squeeze-and-excitation; stem and first row are not scaled). In: an image. Out: the outputs of the last
//! blocks of rows 2 to 5, at a 4th, 8th, 16th and 16th of the input; in Lite0 blocks 2, 4, 7 and 10 with 24, 40, 80, 112
//! channels.
//!
//! Follows the PyTorch port whose weights are embedded: batch-norm ε 1e-3, TensorFlow's "same" padding worked out for
//! the actual input size, no activation after a block's projection or sum.

use super::{architecture::Architecture, reader::Reader};
use crate::{
    error::ModelError,
    graph::{Convolution, Graph, NodeId, Op, Padding},
    kernels::dense::Clamp,
};

const BATCH_NORM_EPSILON: f64 = 1e-3;
const STEM_CHANNELS: usize = 32;
const STEM_KERNEL: usize = 3;
const STEM_STRIDE: usize = 2;
/// Rows of the table up to the last one at each level's stride.
const ROWS_OF_LEVELS: [usize; 3] = [2, 3, 5];

/// An EfficientNet-Lite up to its fifth row; kernels, strides and expansions are the same in all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EfficientNetLite {
    /// Blocks in each row.
    pub(crate) repeats: &'static [usize],
    /// Output channels of each row.
    pub(crate) channels: &'static [usize],
}

/// One row of the architecture's table: blocks of one kernel and expansion, the first with `stride` and the change of
/// channels.
struct Row {
    kernel: usize,
    stride: usize,
    expansion: usize,
}

/// The table of EfficientNet-B0, up to the last tap; how many blocks and channels a row has is the member's own.
const ROWS: [Row; 5] = [
    Row { kernel: 3, stride: 1, expansion: 1 },
    Row { kernel: 3, stride: 2, expansion: 6 },
    Row { kernel: 5, stride: 2, expansion: 6 },
    Row { kernel: 3, stride: 2, expansion: 6 },
    Row { kernel: 5, stride: 1, expansion: 6 },
];

impl Architecture for EfficientNetLite {
    fn add_to(&self, graph: &mut Graph, up_to_level: usize, reader: &Reader<'_>) -> Result<(), ModelError> {
        let layers = Layers { reader };
        let shape = [STEM_CHANNELS, 3, STEM_KERNEL, STEM_KERNEL];
        let mut x = layers.add(graph, Graph::IMAGE, ["_conv_stem", "_bn0"], shape, STEM_STRIDE)?;
        x = graph.add(Op::Clamp(Clamp::RELU6), &[x])?;
        let rows =
            up_to_level.checked_sub(1).and_then(|i| ROWS_OF_LEVELS.get(i)).copied().unwrap_or(ROWS.len());
        let members = ROWS.iter().zip(self.repeats).zip(self.channels).take(rows);
        let mut index = 0;
        for (row, ((table, &repeats), &channels)) in members.enumerate() {
            for repeat in 0..repeats {
                let stride = if repeat == 0 { table.stride } else { 1 };
                x = layers.add_block(graph, x, index, table, stride, channels)?;
                index += 1;
            }
            if row > 0 {
                graph.name_stage(format!("_blocks.{}", index - 1), x);
            }
        }
        Ok(())
    }
}

/// Adds layers with the source framework's names.
struct Layers<'a> {
    reader: &'a Reader<'a>,
}

impl Layers<'_> {
    /// A convolution of (out, in, k, k) with its batch norm; depthwise where `in` is 1.
    fn add(
        &self,
        graph: &mut Graph,
        input: NodeId,
        [conv, norm]: [&str; 2],
        shape: [usize; 4],
        stride: usize,
    ) -> Result<NodeId, ModelError> {
        let weight = self.reader.tensor(&format!("{conv}.weight"), &shape)?;
        let norm = self.reader.batch_norm(norm, shape[0], BATCH_NORM_EPSILON)?;
        let depthwise = shape[1] == 1;
        let conv = Convolution { stride, padding: Padding::Same, depthwise, ..Convolution::new(weight) };
        let sums = graph.add(Op::Convolution(Box::new(conv)), &[input])?;
        graph.add(Op::Affine(norm), &[sums])
    }

    /// Expand 1×1, depthwise, project 1×1; the sum where shapes allow it.
    fn add_block(
        &self,
        graph: &mut Graph,
        input: NodeId,
        index: usize,
        row: &Row,
        stride: usize,
        channels: usize,
    ) -> Result<NodeId, ModelError> {
        let name = |part: &str| format!("_blocks.{index}.{part}");
        let from = graph.shape(input).channels;
        let hidden = from * row.expansion;
        let mut x = input;
        if hidden != from {
            let names = [name("_expand_conv"), name("_bn0")];
            x = self.add(graph, x, names.each_ref().map(String::as_str), [hidden, from, 1, 1], 1)?;
            x = graph.add(Op::Clamp(Clamp::RELU6), &[x])?;
        }
        let names = [name("_depthwise_conv"), name("_bn1")];
        let shape = [hidden, 1, row.kernel, row.kernel];
        x = self.add(graph, x, names.each_ref().map(String::as_str), shape, stride)?;
        x = graph.add(Op::Clamp(Clamp::RELU6), &[x])?;
        let names = [name("_project_conv"), name("_bn2")];
        x = self.add(graph, x, names.each_ref().map(String::as_str), [channels, hidden, 1, 1], 1)?;
        if stride == 1 && from == channels { graph.add(Op::Add, &[x, input]) } else { Ok(x) }
    }
}
