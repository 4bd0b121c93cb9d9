//! Vision transformers of DINOv2 up to a tapped block (Oquab et al., "DINOv2: Learning Robust Visual Features without
//! Supervision", 2023; the network of Dosovitskiy et al., "An Image is Worth 16x16 Words", 2020, with layer scale). In:
//! (B, 3, H, W), sides multiples of the patch's. Out: the tokens of every block's patches as a map (B, C, H / 14, W / 14).
//!
//! Follows the official code's `get_intermediate_layers(…, reshape=True, norm=True)`: the final layer norm is applied to
//! each block's output, the class token is left out. The norm matters here: without it a token's length, which says
//! little about what is in the patch, would be most of its distance to other tokens.
//!
//! Differs from candle-transformers' model of the same name in what SimpleNet needs: intermediate blocks, no classifier
//! whose weights the files do not have, and a position embedding that is resized bicubically as the official code does
//! it, not to the nearest neighbour. There is no compiled form: [`crate::Predictor`] runs these layers.

use candle_core::{DType, Device, Module, Tensor};
use candle_nn::{LayerNorm, Linear, ops::softmax_last_dim};

use super::{Levels, Stage, TensorSpec, family::DinoV2};
use crate::{error::ModelError, weights::BackboneWeights};

/// It has no levels in the paper's sense: its two taps stand for the default's.
pub(super) const LEVELS: Levels = Levels::PAPER;
/// Both taps lie on the grid of patches.
pub(super) const STRIDES: &[usize] = &[14, 14];
/// ε of every layer norm.
const NORM_EPSILON: f64 = 1e-6;
/// Width of a block's hidden layer over the tokens' width.
const HIDDEN_RATIO: usize = 4;
/// The official code resizes the position embedding by (cells + 0.1) / trained cells, against rounding in a division that
/// it has no more; the trained weights are used with it.
const POSITION_OFFSET: f64 = 0.1;
/// The constant of PyTorch's bicubic interpolation (Keys, "Cubic Convolution Interpolation", 1981, with a = −0.75).
const CUBIC: f64 = -0.75;

/// Names and shapes of every tensor up to the last built block, and the final norm.
pub(super) fn tensor_specs(net: &DinoV2) -> Vec<TensorSpec> {
    let DinoV2 { width, patch, grid, blocks, .. } = *net;
    let mut specs = Vec::new();
    let mut push = |name: String, shape: &[usize]| specs.push(TensorSpec { name, shape: shape.to_vec() });
    push("cls_token".into(), &[1, 1, width]);
    push("pos_embed".into(), &[1, 1 + grid * grid, width]);
    push("patch_embed.proj.weight".into(), &[width, 3, patch, patch]);
    push("patch_embed.proj.bias".into(), &[width]);
    for block in 0..blocks {
        let mut layer = |name: &str, outputs: usize, inputs: &[usize]| {
            push(format!("blocks.{block}.{name}.weight"), &[&[outputs], inputs].concat());
            push(format!("blocks.{block}.{name}.bias"), &[outputs]);
        };
        layer("norm1", width, &[]);
        layer("attn.qkv", 3 * width, &[width]);
        layer("attn.proj", width, &[width]);
        layer("norm2", width, &[]);
        layer("mlp.fc1", HIDDEN_RATIO * width, &[width]);
        layer("mlp.fc2", width, &[HIDDEN_RATIO * width]);
        push(format!("blocks.{block}.ls1.gamma"), &[width]);
        push(format!("blocks.{block}.ls2.gamma"), &[width]);
    }
    push("norm.weight".into(), &[width]);
    push("norm.bias".into(), &[width]);
    specs
}

/// Every named stage with its channels.
#[cfg(test)]
pub(super) fn stages(net: &DinoV2) -> Vec<(String, usize)> {
    (0..net.blocks).map(|block| (format!("blocks.{block}"), net.width)).collect()
}

/// One block: tokens + attention of the normed tokens, then + two layers of the normed sum.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) norm1: LayerNorm,
    pub(crate) qkv: Linear,
    /// Layer scale folded in, as in `second`.
    pub(crate) project: Linear,
    pub(crate) norm2: LayerNorm,
    pub(crate) first: Linear,
    pub(crate) second: Linear,
}

/// The network with its weights.
#[derive(Debug, Clone)]
pub(crate) struct Layers {
    pub(crate) net: DinoV2,
    pub(crate) class_token: Tensor,
    /// (grid · grid, width), and that of the class token (1, width).
    positions: Tensor,
    pub(crate) class_position: Tensor,
    /// Of a patch's numbers in (colour, row, column) order.
    pub(crate) patch_embedding: Linear,
    pub(crate) blocks: Vec<Block>,
    pub(crate) norm: LayerNorm,
}

/// Reads tensors as f32 on a device.
struct Reader<'a> {
    weights: &'a BackboneWeights,
    device: &'a Device,
}

impl Reader<'_> {
    fn tensor(&self, name: &str) -> Result<Tensor, ModelError> {
        Ok(self.weights.get(name)?.to_dtype(DType::F32)?.to_device(self.device)?)
    }

    fn norm(&self, name: &str) -> Result<LayerNorm, ModelError> {
        let part = |part: &str| self.tensor(&format!("{name}.{part}"));
        Ok(LayerNorm::new(part("weight")?, part("bias")?, NORM_EPSILON))
    }

    fn linear(&self, name: &str) -> Result<Linear, ModelError> {
        let part = |part: &str| self.tensor(&format!("{name}.{part}"));
        Ok(Linear::new(part("weight")?, Some(part("bias")?)))
    }

    /// A linear layer whose outputs are multiplied by `gamma`: γ ∘ (W x + b) is a linear layer too.
    fn scaled(&self, name: &str, gamma: &str) -> Result<Linear, ModelError> {
        let gamma = self.tensor(gamma)?;
        let weight = self.tensor(&format!("{name}.weight"))?.broadcast_mul(&gamma.unsqueeze(1)?)?;
        let bias = (self.tensor(&format!("{name}.bias"))? * gamma)?;
        Ok(Linear::new(weight, Some(bias)))
    }
}

impl Layers {
    /// Reads every layer.
    pub(super) fn load(net: &DinoV2, weights: &BackboneWeights, device: &Device) -> Result<Self, ModelError> {
        let read = Reader { weights, device };
        let positions = read.tensor("pos_embed")?.squeeze(0)?;
        let embedding = read.tensor("patch_embed.proj.weight")?.flatten_from(1)?;
        let block = |index: usize| -> Result<Block, ModelError> {
            let name = |part: &str| format!("blocks.{index}.{part}");
            Ok(Block {
                norm1: read.norm(&name("norm1"))?,
                qkv: read.linear(&name("attn.qkv"))?,
                project: read.scaled(&name("attn.proj"), &name("ls1.gamma"))?,
                norm2: read.norm(&name("norm2"))?,
                first: read.linear(&name("mlp.fc1"))?,
                second: read.scaled(&name("mlp.fc2"), &name("ls2.gamma"))?,
            })
        };
        Ok(Self {
            net: *net,
            class_token: read.tensor("cls_token")?.squeeze(0)?,
            class_position: positions.narrow(0, 0, 1)?,
            positions: positions.narrow(0, 1, net.grid * net.grid)?.contiguous()?,
            patch_embedding: Linear::new(embedding, Some(read.tensor("patch_embed.proj.bias")?)),
            blocks: (0..net.blocks).map(block).collect::<Result<_, _>>()?,
            norm: read.norm("norm")?,
        })
    }

    /// (B, 3, H, W) -> each block's patch tokens after the final norm, (B, width, H / patch, W / patch). One image at a
    /// time, so that a result does not depend on what else is in the batch.
    pub(super) fn forward_stages(&self, images: &Tensor) -> Result<Vec<Stage>, ModelError> {
        let batch = images.dim(0)?;
        let each = (0..batch).map(|i| self.forward_one(&images.narrow(0, i, 1)?.squeeze(0)?));
        let each = each.collect::<Result<Vec<Vec<Tensor>>, ModelError>>()?;
        let stage = |block: usize| -> Result<Stage, ModelError> {
            let maps: Vec<&Tensor> = each.iter().map(|maps| &maps[block]).collect();
            Ok(Stage { name: format!("blocks.{block}"), features: Tensor::stack(&maps, 0)? })
        };
        (0..self.blocks.len()).map(stage).collect()
    }

    /// (3, H, W) -> each block's map (width, H / patch, W / patch).
    fn forward_one(&self, image: &Tensor) -> Result<Vec<Tensor>, ModelError> {
        let patch = self.net.patch;
        let (_, height, width) = image.dims3()?;
        let (rows, columns) = (height / patch, width / patch);
        // A convolution whose stride is its kernel is one matrix product over the patches.
        let patches = image.reshape((3, rows, patch, columns, patch))?.permute((1, 3, 0, 2, 4))?;
        let patches = patches.reshape((rows * columns, 3 * patch * patch))?;
        let tokens = (self.patch_embedding.forward(&patches)? + self.positions_of(rows, columns)?)?;
        let class = (&self.class_token + &self.class_position)?;
        let mut x = Tensor::cat(&[&class, &tokens], 0)?;
        let mut maps = Vec::new();
        for block in &self.blocks {
            x = block.forward(&x, self.net.heads)?;
            let patches = self.norm.forward(&x.narrow(0, 1, rows * columns)?.contiguous()?)?;
            maps.push(patches.t()?.reshape((self.net.width, rows, columns))?.contiguous()?);
        }
        Ok(maps)
    }

    /// The position embedding of a grid of patches: (rows · columns, width).
    pub(crate) fn positions_of(&self, rows: usize, columns: usize) -> Result<Tensor, ModelError> {
        let DinoV2 { grid, width, .. } = self.net;
        if (rows, columns) == (grid, grid) {
            return Ok(self.positions.clone());
        }
        let device = self.positions.device();
        let along = |cells: usize| Tensor::from_vec(bicubic(grid, cells), (cells, grid), device);
        // Rows first, then columns: (rows, grid · width), then (columns, grid) · (grid, width) in each row.
        let resized = along(rows)?.matmul(&self.positions.reshape((grid, grid * width))?)?;
        let resized = along(columns)?
            .broadcast_as((rows, columns, grid))?
            .contiguous()?
            .matmul(&resized.reshape((rows, grid, width))?)?;
        Ok(resized.reshape((rows * columns, width))?)
    }
}

impl Block {
    /// (tokens, width) -> the same.
    fn forward(&self, x: &Tensor, heads: usize) -> Result<Tensor, ModelError> {
        let x = (x + self.attention(&self.norm1.forward(x)?, heads)?)?;
        let hidden = self.first.forward(&self.norm2.forward(&x)?)?.gelu_erf()?;
        Ok((&x + self.second.forward(&hidden)?)?)
    }

    fn attention(&self, x: &Tensor, heads: usize) -> Result<Tensor, ModelError> {
        let (tokens, width) = x.dims2()?;
        let depth = width / heads;
        let qkv = self.qkv.forward(x)?.reshape((tokens, 3, heads, depth))?.permute((1, 2, 0, 3))?;
        let part = |index: usize| qkv.get(index)?.contiguous();
        let query = (part(0)? * (depth as f64).sqrt().recip())?;
        let weights = softmax_last_dim(&query.matmul(&part(1)?.t()?.contiguous()?)?)?;
        let mixed = weights.matmul(&part(2)?)?.transpose(0, 1)?.reshape((tokens, width))?;
        Ok(self.project.forward(&mixed)?)
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
