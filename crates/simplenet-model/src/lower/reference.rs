//! A graph in candle, node by node: the reference that every other lowering is compared with, made to be read. In: a batch
//! (B, 3, H, W) f32, normalised. Out: the named values, (B, C, h, w) each.
//!
//! Images are independent of each other: 1×1 convolutions run one image at a time, and so does attention.

use candle_core::{Device, Tensor};

use super::tensor_ops;
use crate::{
    error::ModelError,
    graph::{Convolution, Graph, NodeId, Op, Values, floats},
    kernels::dense::Clamp,
};

/// A graph with its values on a device.
#[derive(Debug)]
pub(crate) struct Reference {
    graph: Graph,
    parts: Vec<Parts>,
    /// The last node that reads each value.
    last_uses: Vec<usize>,
}

/// What a node has beside its inputs, on the device.
#[derive(Debug)]
enum Parts {
    None,
    /// Weight and bias.
    Two(Tensor, Tensor),
    /// Of a depthwise convolution.
    Values(Values),
}

impl Reference {
    /// Works out every node's values. Scales and shifts are best folded before ([`crate::passes::fold_affine`]).
    ///
    /// # Errors
    /// Weights that cannot be read; a node that is made for compiled networks; a device that is out of memory.
    pub(crate) fn new(graph: Graph, device: &Device) -> Result<Self, ModelError> {
        let parts = graph.nodes().map(|(_, node)| parts(&node.op, device)).collect::<Result<_, _>>()?;
        let last_uses = graph.last_uses();
        Ok(Self { graph, parts, last_uses })
    }

    /// (B, 3, H, W) f32 of the graph's sides -> the value of every stage, (B, C, h, w), contiguous.
    ///
    /// # Errors
    /// A failing tensor operation.
    pub(crate) fn run(&self, images: &Tensor) -> Result<Vec<(String, Tensor)>, ModelError> {
        let mut values: Vec<Option<Tensor>> = vec![None; self.graph.len()];
        for ((id, node), parts) in self.graph.nodes().zip(&self.parts) {
            let input = |index: usize| -> Result<&Tensor, ModelError> {
                let read = node.inputs.get(index).and_then(|&NodeId(id)| values[id].as_ref());
                read.ok_or_else(|| unsupported(&node.op))
            };
            let value = match (&node.op, parts) {
                (Op::Image, _) => images.clone(),
                (Op::Convolution(conv), parts) => {
                    let sums = convolve(conv, parts, input(0)?)?;
                    let sums = if node.inputs.len() > 1 { (sums + input(1)?)? } else { sums };
                    clamp(sums, conv.clamp)?
                }
                (Op::Affine(_), Parts::Two(scale, shift)) => {
                    input(0)?.broadcast_mul(scale)?.broadcast_add(shift)?
                }
                (Op::Clamp(bounds), _) => clamp(input(0)?.clone(), *bounds)?,
                (Op::Add, _) => (input(0)? + input(1)?)?,
                (Op::MaxPool, _) => {
                    // What comes in is not negative: zeros are as good as the minus infinity of a padding.
                    let padded = input(0)?.pad_with_zeros(2, 1, 1)?.pad_with_zeros(3, 1, 1)?;
                    padded.max_pool2d_with_stride(3, 2)?
                }
                (Op::LayerNorm(norm), Parts::Two(weight, bias)) => {
                    per_position(input(0)?, |x| tensor_ops::layer_norm(x, weight, bias, norm.epsilon))?
                }
                (Op::Gelu, _) => input(0)?.gelu_erf()?,
                (Op::Tokens(_), Parts::Two(class, positions)) => {
                    per_position(input(0)?, |x| tensor_ops::tokens(x, class, positions))?
                }
                (Op::Attention { heads }, _) => {
                    per_position(input(0)?, |x| tensor_ops::attention(x, *heads))?
                }
                (Op::Patches { sides }, _) => per_position(input(0)?, |x| tensor_ops::patches(x, *sides))?,
                _ => return Err(unsupported(&node.op)),
            };
            values[id.0] = Some(value);
            for read in &node.inputs {
                if self.last_uses[read.0] == id.0 {
                    values[read.0] = None;
                }
            }
        }
        let stages = self.graph.stages().iter();
        let stage = |(name, id): &(String, NodeId)| {
            let value = values[id.0].clone().ok_or_else(|| unsupported(&self.graph.node(*id).op))?;
            Ok((name.clone(), value.contiguous()?))
        };
        stages.map(stage).collect()
    }
}

fn unsupported(op: &Op) -> ModelError {
    ModelError::Configuration {
        what: "graph",
        reason: format!("the reference does not run {} here", op.name()),
    }
}

fn parts(op: &Op, device: &Device) -> Result<Parts, ModelError> {
    let on_device = |values: Vec<f32>, shape: &[usize]| Tensor::from_vec(values, shape, device);
    Ok(match op {
        Op::Convolution(conv) => {
            let values = conv.values()?;
            if conv.depthwise {
                return Ok(Parts::Values(values));
            }
            let (shape, outputs) = (conv.shape(), conv.outputs());
            Parts::Two(on_device(values.weight, &shape)?, on_device(values.bias, &[1, outputs, 1, 1])?)
        }
        Op::Affine(affine) => {
            let row = |values: &[f64]| {
                on_device(values.iter().map(|&v| v as f32).collect(), &[1, values.len(), 1, 1])
            };
            Parts::Two(row(&affine.scale)?, row(&affine.shift)?)
        }
        Op::LayerNorm(norm) => {
            let row = |tensor: &Tensor| -> Result<Tensor, ModelError> {
                Ok(on_device(floats(tensor)?, &[tensor.elem_count()])?)
            };
            Parts::Two(row(&norm.weight)?, row(&norm.bias)?)
        }
        Op::Tokens(tokens) => {
            let all = |tensor: &Tensor| -> Result<Tensor, ModelError> {
                Ok(on_device(floats(tensor)?, tensor.dims())?)
            };
            Parts::Two(all(&tokens.class)?, all(&tokens.positions)?)
        }
        _ => Parts::None,
    })
}

/// The sums of a convolution with its bias.
fn convolve(conv: &Convolution, parts: &Parts, x: &Tensor) -> Result<Tensor, ModelError> {
    let (batch, channels, height, width) = x.dims4()?;
    let [outputs, inputs, kernel, _] = conv.shape();
    let pads = conv.padding.around([height, width], kernel, conv.stride);
    let (weight, bias) = match parts {
        Parts::Two(weight, bias) => (weight, bias),
        Parts::Values(values) => return depthwise(conv, values, pads, x),
        Parts::None => return Err(unsupported(&Op::Convolution(Box::new(conv.clone())))),
    };
    let sums = if kernel == 1 && conv.stride == 1 {
        // A matrix product per image.
        let weight = weight.reshape((1, outputs, inputs))?.broadcast_as((batch, outputs, inputs))?;
        weight
            .matmul(&x.reshape((batch, channels, height * width))?)?
            .reshape((batch, outputs, height, width))?
    } else {
        let [(top, bottom), (left, right)] = pads;
        if (top, left) == (bottom, right) && top == left {
            x.conv2d(weight, top, conv.stride, 1, 1)?
        } else {
            let padded = x.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?;
            padded.conv2d(weight, 0, conv.stride, 1, 1)?
        }
    };
    Ok(sums.broadcast_add(bias)?)
}

/// A depthwise convolution by its formula, from the bias on, tap after tap, each a fused multiply-add. candle's own runs one
/// convolution per channel.
fn depthwise(
    conv: &Convolution,
    Values { weight, bias }: &Values,
    [(top, bottom), (left, right)]: [(usize, usize); 2],
    x: &Tensor,
) -> Result<Tensor, ModelError> {
    let (batch, channels, height, width) = x.dims4()?;
    let (kernel, stride) = (conv.kernel(), conv.stride);
    let out = |side: usize, pads: usize| (side + pads - kernel) / stride + 1;
    let (out_height, out_width) = (out(height, top + bottom), out(width, left + right));
    let values = x.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
    let mut sums = Vec::with_capacity(batch * channels * out_height * out_width);
    for (index, plane) in values.chunks_exact(height * width).enumerate() {
        let channel = index % channels;
        let taps = &weight[channel * kernel * kernel..][..kernel * kernel];
        for (y, x) in (0..out_height).flat_map(|y| (0..out_width).map(move |x| (y, x))) {
            let mut sum = bias[channel];
            for (tap, weight) in taps.iter().enumerate() {
                let (row, column) = (y * stride + tap / kernel, x * stride + tap % kernel);
                let inside = (top..top + height).contains(&row) && (left..left + width).contains(&column);
                let value = if inside { plane[(row - top) * width + column - left] } else { 0.0 };
                sum = weight.mul_add(value, sum);
            }
            sums.push(sum);
        }
    }
    Ok(Tensor::from_vec(sums, (batch, channels, out_height, out_width), x.device())?)
}

/// NaN stays.
fn clamp(x: Tensor, Clamp { low, high }: Clamp) -> Result<Tensor, ModelError> {
    let x = if low > f32::NEG_INFINITY { x.maximum(low)? } else { x };
    Ok(if high < f32::INFINITY { x.minimum(high)? } else { x })
}

/// (B, C, h, w) -> what `run` makes of (B, h, w, C), channels first again.
fn per_position(
    x: &Tensor,
    run: impl FnOnce(&Tensor) -> candle_core::Result<Tensor>,
) -> Result<Tensor, ModelError> {
    Ok(run(&x.permute((0, 2, 3, 1))?.contiguous()?)?.permute((0, 3, 1, 2))?.contiguous()?)
}
