//! Vision transformers of DINOv2 up to a tapped block (Oquab et al., "DINOv2: Learning Robust Visual Features without
//! Supervision", 2023; the network of Dosovitskiy et al., "An Image is Worth 16x16 Words", 2020, with layer scale). In:
//! an image, sides multiples of the patch's. Out: the tokens of every block's patches as a map (H / 14, W / 14, C).
//!
//! Follows the official code's `get_intermediate_layers(…, reshape=True, norm=True)`: the final layer norm is applied to
//! each block's output, the class token is left out. The norm matters here: without it a token's length, which says
//! little about what is in the patch, would be most of its distance to other tokens.
//!
//! Differs from candle-transformers' model of the same name in what SimpleNet needs: intermediate blocks, no classifier
//! whose weights the files do not have, and a position embedding that is resized bicubically as the official code does
//! it, not to the nearest neighbour.

use candle_core::{DType, Tensor};

use super::{Levels, architecture::Architecture, reader::Reader};
use crate::{
    error::ModelError,
    graph::{ChannelAffine, Convolution, Graph, LayerNorm, NodeId, Op, Tokens, doubles},
};

/// It has no levels in the paper's sense: its two taps stand for the default's.
const LEVELS: Levels = Levels::PAPER;
/// Both taps lie on the grid of patches.
const STRIDES: &[usize] = &[14, 14];
/// ε of every layer norm.
const NORM_EPSILON: f64 = 1e-6;
/// Width of a block's hidden layer over the tokens' width.
const HIDDEN_RATIO: usize = 4;
/// The official code resizes the position embedding by (cells + 0.1) / trained cells, against rounding in a division that
/// it has no more; the trained weights are used with it.
const POSITION_OFFSET: f64 = 0.1;
/// The constant of PyTorch's bicubic interpolation (Keys, "Cubic Convolution Interpolation", 1981, with a = −0.75).
const CUBIC: f64 = -0.75;

/// A vision transformer of DINOv2 without registers, up to its last tapped block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DinoV2 {
    /// Values per token.
    pub(crate) width: usize,
    /// Heads of the attention.
    pub(crate) heads: usize,
    /// Blocks that are built.
    pub(crate) blocks: usize,
    /// Pixels of a patch's side.
    pub(crate) patch: usize,
    /// Patches per side of the images that it was trained on last: the grid of its position embedding.
    pub(crate) grid: usize,
}

/// A block's tensors.
struct Block {
    norm1: LayerNorm,
    qkv: Convolution,
    project: Convolution,
    norm2: LayerNorm,
    first: Convolution,
    second: Convolution,
    /// Layer scale after attention and after the hidden layer.
    scales: [ChannelAffine; 2],
}

impl Architecture for DinoV2 {
    fn levels(&self) -> Levels {
        LEVELS
    }

    /// Both taps or none.
    fn takes(&self, levels: Levels) -> bool {
        levels == LEVELS
    }

    fn strides(&self) -> &'static [usize] {
        STRIDES
    }

    fn side_multiple(&self) -> usize {
        self.patch
    }

    fn add_to(&self, graph: &mut Graph, _: usize, reader: &Reader<'_>) -> Result<(), ModelError> {
        let Self { width, patch, grid, .. } = *self;
        let class = reader.tensor("cls_token", &[1, 1, width])?;
        let positions = reader.tensor("pos_embed", &[1, 1 + grid * grid, width])?;
        let weight = reader.tensor("patch_embed.proj.weight", &[width, 3, patch, patch])?;
        let bias = reader.tensor("patch_embed.proj.bias", &[width])?;
        let blocks =
            (0..self.blocks).map(|index| self.block(reader, index)).collect::<Result<Vec<_>, _>>()?;
        let norm = reader.layer_norm("norm", width, NORM_EPSILON)?;

        // The embedding is a convolution whose stride is its kernel.
        let embedding = Convolution { bias: Some(bias), stride: patch, ..Convolution::new(weight) };
        let patches = graph.add(Op::Convolution(Box::new(embedding)), &[Graph::IMAGE])?;
        let sides = graph.shape(patches).sides();
        let tokens = self.tokens(&class, &positions, sides)?;
        let mut x = graph.add(Op::Tokens(Box::new(tokens)), &[patches])?;
        for (index, block) in blocks.into_iter().enumerate() {
            x = self.add_block(graph, block, x)?;
            let map = graph.add(Op::Patches { sides }, &[x])?;
            let map = graph.add(Op::LayerNorm(Box::new(norm.clone())), &[map])?;
            graph.name_stage(format!("blocks.{index}"), map);
        }
        Ok(())
    }
}

impl DinoV2 {
    fn block(&self, reader: &Reader<'_>, index: usize) -> Result<Block, ModelError> {
        let (width, hidden) = (self.width, HIDDEN_RATIO * self.width);
        let name = |part: &str| format!("blocks.{index}.{part}");
        let norm = |part: &str| reader.layer_norm(&name(part), width, NORM_EPSILON);
        let linear = |part: &str, outputs: usize, inputs: usize| {
            let weight = reader.tensor(&name(&format!("{part}.weight")), &[outputs, inputs])?;
            Convolution::linear(&weight, reader.tensor(&name(&format!("{part}.bias")), &[outputs])?)
        };
        let scale = |part: &str| -> Result<ChannelAffine, ModelError> {
            let scale = doubles(&reader.tensor(&name(&format!("{part}.gamma")), &[width])?)?;
            Ok(ChannelAffine { shift: vec![0.0; scale.len()], scale })
        };
        Ok(Block {
            norm1: norm("norm1")?,
            qkv: linear("attn.qkv", 3 * width, width)?,
            project: linear("attn.proj", width, width)?,
            norm2: norm("norm2")?,
            first: linear("mlp.fc1", hidden, width)?,
            second: linear("mlp.fc2", width, hidden)?,
            scales: [scale("ls1")?, scale("ls2")?],
        })
    }

    /// Tokens + attention of the normed tokens, then + two layers of the normed sum.
    fn add_block(&self, graph: &mut Graph, block: Block, x: NodeId) -> Result<NodeId, ModelError> {
        let Block { norm1, qkv, project, norm2, first, second, scales: [scale1, scale2] } = block;
        let mut add = |op: Op, inputs: &[NodeId]| graph.add(op, inputs);
        let y = add(Op::LayerNorm(Box::new(norm1)), &[x])?;
        let y = add(Op::Convolution(Box::new(qkv)), &[y])?;
        let y = add(Op::Attention { heads: self.heads }, &[y])?;
        let y = add(Op::Convolution(Box::new(project)), &[y])?;
        let y = add(Op::Affine(scale1), &[y])?;
        let x = add(Op::Add, &[y, x])?;
        let y = add(Op::LayerNorm(Box::new(norm2)), &[x])?;
        let y = add(Op::Convolution(Box::new(first)), &[y])?;
        let y = add(Op::Gelu, &[y])?;
        let y = add(Op::Convolution(Box::new(second)), &[y])?;
        let y = add(Op::Affine(scale2), &[y])?;
        add(Op::Add, &[y, x])
    }

    /// The class token with its position, and the position embedding of a grid of patches.
    fn tokens(
        &self,
        class: &Tensor,
        positions: &Tensor,
        [rows, columns]: [usize; 2],
    ) -> Result<Tokens, ModelError> {
        let Self { width, grid, .. } = *self;
        let positions = positions.to_dtype(DType::F32)?.squeeze(0)?;
        let class = (class.to_dtype(DType::F32)?.squeeze(0)? + positions.narrow(0, 0, 1)?)?;
        let positions = positions.narrow(0, 1, grid * grid)?.contiguous()?;
        if (rows, columns) == (grid, grid) {
            return Ok(Tokens { class, positions });
        }
        let device = positions.device();
        let along = |cells: usize| Tensor::from_vec(bicubic(grid, cells), (cells, grid), device);
        // Rows first, then columns: (rows, grid · width), then (columns, grid) · (grid, width) in each row.
        let resized = along(rows)?.matmul(&positions.reshape((grid, grid * width))?)?;
        let resized = along(columns)?
            .broadcast_as((rows, columns, grid))?
            .contiguous()?
            .matmul(&resized.reshape((rows, grid, width))?)?;
        Ok(Tokens { class, positions: resized.reshape((rows * columns, width))? })
    }
}

/// Bicubic interpolation of `from` values to `to` as a matrix (to, from): half-pixel centres, values beyond the ends are
/// the ends', no antialiasing, at the official code's scale.
fn bicubic(from: usize, to: usize) -> Vec<f32> {
    let scale = from as f64 / (to as f64 + POSITION_OFFSET);
    let mut matrix = vec![0.0; to * from];
    for (place, row) in matrix.chunks_exact_mut(from.max(1)).enumerate() {
        let center = (place as f64 + 0.5) * scale - 0.5;
        for neighbour in -1..=2 {
            let source = center.floor() + f64::from(neighbour);
            let index = source.clamp(0.0, from as f64 - 1.0) as usize;
            row[index] += cubic((center - source).abs()) as f32;
        }
    }
    matrix
}

/// The cubic convolution kernel at a distance below 2.
fn cubic(x: f64) -> f64 {
    match x {
        x if x <= 1.0 => ((CUBIC + 2.0) * x - (CUBIC + 3.0)) * x * x + 1.0,
        _ => ((x - 5.0) * x + 8.0) * CUBIC * x - 4.0 * CUBIC,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resized_positions_keep_constants_and_the_ends() {
        for (from, to) in [(37, 20), (37, 21), (37, 1), (37, 60), (5, 3)] {
            for row in bicubic(from, to).chunks_exact(from) {
                let sum: f32 = row.iter().sum();
                assert!((sum - 1.0).abs() < 1e-5, "{from} to {to}: {sum}");
            }
        }
        let ends = bicubic(2, 40);
        assert!(ends[0] > 0.99 && ends[2 * 40 - 1] > 0.99, "{ends:?}");
    }
}
