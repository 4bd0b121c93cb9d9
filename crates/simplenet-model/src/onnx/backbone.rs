//! A backbone's graph as nodes of ONNX. In: the graph and an image (N, 3, H, W), normalised. Out: its stages, (N, C, h, w).
//!
//! Maps are (N, C, h, w), tokens (N, T, C). The position embedding is that of the image's size: a constant.

use super::graph::{Attribute, Edge, Graph};
use crate::{
    error::ModelError,
    graph::{self, Convolution, LayerNorm, Node, Op, Shape, Tokens, Values, floats},
    kernels::dense::Clamp,
    passes::fuse_epilogues,
};

/// A value with its shape, without the batch.
#[derive(Debug, Clone)]
pub(super) struct Map {
    pub(super) edge: Edge,
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

/// Adds every node of a graph whose scales and shifts are folded; gives its stages.
///
/// # Errors
/// Weights that cannot be read; a node that cannot be written.
pub(super) fn add(
    onnx: &mut Graph,
    graph: &graph::Graph,
    image: Edge,
    batch: Option<usize>,
) -> Result<Vec<Map>, ModelError> {
    let graph = fuse_epilogues(graph);
    let mut writer = Writer { onnx, batch, image: image.clone(), values: Vec::with_capacity(graph.len()) };
    for (_, node) in graph.nodes() {
        let shapes: Vec<Shape> = node.inputs.iter().map(|&input| graph.shape(input)).collect();
        let value = writer.node(node, &shapes)?;
        writer.values.push(value);
    }
    let stage = |(_, id): &(String, graph::NodeId)| {
        let Shape { height, width, channels } = graph.shape(*id);
        Map { edge: writer.values[id.0].edge.clone(), channels, height, width }
    };
    Ok(graph.stages().iter().map(stage).collect())
}

/// A value, and how its axes lie.
#[derive(Debug, Clone)]
struct Value {
    edge: Edge,
    layout: Layout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// (N, C, h, w).
    Map,
    /// (N, T, C).
    Tokens,
}

struct Writer<'a> {
    onnx: &'a mut Graph,
    batch: Option<usize>,
    image: Edge,
    values: Vec<Value>,
}

impl Writer<'_> {
    fn node(&mut self, node: &Node, shapes: &[Shape]) -> Result<Value, ModelError> {
        let Some((first, from)) = node.inputs.first().zip(shapes.first().copied()) else {
            return Ok(Value { edge: self.image.clone(), layout: Layout::Map });
        };
        let Value { edge: input, layout } = self.values[first.0].clone();
        let second = node.inputs.get(1).map(|second| self.values[second.0].edge.clone());
        let mut made = layout;
        let edge = match &node.op {
            Op::Convolution(conv) => {
                let sums = match layout {
                    Layout::Map => self.convolve(&input, conv, from)?,
                    Layout::Tokens => {
                        let Values { weight, bias } = conv.values()?;
                        self.onnx.linear(&input, &weight, &bias)
                    }
                };
                let sums = match second {
                    Some(second) => self.onnx.node("Add", &[&sums, &second], &[]),
                    None => sums,
                };
                self.clamped(sums, conv.clamp)
            }
            Op::Clamp(clamp) => self.clamped(input, *clamp),
            Op::MaxPool => self.onnx.node(
                "MaxPool",
                &[&input],
                &[
                    ("kernel_shape", Attribute::Ints(&[3, 3])),
                    ("strides", Attribute::Ints(&[2, 2])),
                    ("pads", Attribute::Ints(&[1, 1, 1, 1])),
                ],
            ),
            Op::LayerNorm(norm) => self.layer_norm(input, norm, layout)?,
            Op::Gelu => self.gelu(&input),
            Op::Tokens(tokens) => {
                made = Layout::Tokens;
                self.tokens(&input, tokens, from)?
            }
            Op::Attention { heads } => self.attention(&input, *heads, from),
            Op::Patches { sides } => {
                made = Layout::Map;
                self.patches(&input, *sides, from)
            }
            op @ (Op::Image | Op::Affine(_) | Op::Add | Op::InvertedResidual(_)) => {
                return Err(ModelError::Configuration {
                    what: "ONNX",
                    reason: format!("{} by itself cannot be written as a node yet", op.name()),
                });
            }
        };
        Ok(Value { edge, layout: made })
    }

    /// The sums of a convolution of a map, with its bias.
    fn convolve(&mut self, input: &Edge, conv: &Convolution, from: Shape) -> Result<Edge, ModelError> {
        let Values { weight, bias } = conv.values()?;
        let (shape, kernel, stride) = (conv.shape(), conv.kernel(), conv.stride);
        let weight = self.onnx.floats(&weight, &shape);
        let bias = self.onnx.floats(&bias, &[conv.outputs()]);
        let [vertical, horizontal] = conv.padding.around(from.sides(), kernel, stride);
        let pads = [vertical.0, horizontal.0, vertical.1, horizontal.1].map(|pad| pad as i64);
        let group = if conv.depthwise { conv.outputs() } else { 1 };
        Ok(self.onnx.node(
            "Conv",
            &[input, &weight, &bias],
            &[
                ("kernel_shape", Attribute::Ints(&[kernel as i64; 2])),
                ("strides", Attribute::Ints(&[stride as i64; 2])),
                ("pads", Attribute::Ints(&pads)),
                ("group", Attribute::Int(group)),
            ],
        ))
    }

    fn clamped(&mut self, value: Edge, clamp: Clamp) -> Edge {
        if clamp == Clamp::NONE {
            return value;
        }
        if clamp == Clamp::RELU {
            return self.onnx.node("Relu", &[&value], &[]);
        }
        let (low, high) = (self.onnx.number(clamp.low), self.onnx.number(clamp.high));
        self.onnx.node("Clip", &[&value, &low, &high], &[])
    }

    /// Layer norm over the channels.
    fn layer_norm(&mut self, value: Edge, norm: &LayerNorm, layout: Layout) -> Result<Edge, ModelError> {
        let (weight, bias) = (floats(&norm.weight)?, floats(&norm.bias)?);
        let (weight, bias) =
            (self.onnx.floats(&weight, &[weight.len()]), self.onnx.floats(&bias, &[bias.len()]));
        let epsilon = ("epsilon", Attribute::Float(norm.epsilon as f32));
        Ok(match layout {
            Layout::Tokens => {
                let settings = [("axis", Attribute::Int(2)), epsilon];
                self.onnx.node("LayerNormalization", &[&value, &weight, &bias], &settings)
            }
            Layout::Map => {
                let last = self.onnx.transpose(&value, &[0, 2, 3, 1]);
                let settings = [("axis", Attribute::Int(3)), epsilon];
                let normed = self.onnx.node("LayerNormalization", &[&last, &weight, &bias], &settings);
                self.onnx.transpose(&normed, &[0, 3, 1, 2])
            }
        })
    }

    /// x · (1 + erf(x / √2)) / 2; the operator of its own came with a later version.
    fn gelu(&mut self, x: &Edge) -> Edge {
        let (root, one, half) =
            (self.onnx.number(std::f32::consts::SQRT_2), self.onnx.number(1.0), self.onnx.number(0.5));
        let scaled = self.onnx.node("Div", &[x, &root], &[]);
        let erf = self.onnx.node("Erf", &[&scaled], &[]);
        let shifted = self.onnx.node("Add", &[&erf, &one], &[]);
        let product = self.onnx.node("Mul", &[x, &shifted], &[]);
        self.onnx.node("Mul", &[&product, &half], &[])
    }

    /// A map of patches -> tokens, the class token first.
    fn tokens(&mut self, input: &Edge, tokens: &Tokens, from: Shape) -> Result<Edge, ModelError> {
        let (patches, channels) = (from.pixels(), from.channels);
        let rows = self.onnx.reshape(input, &[channels, patches]);
        let rows = self.onnx.transpose(&rows, &[0, 2, 1]);
        let positions = self.onnx.floats(&floats(&tokens.positions)?, &[1, patches, channels]);
        let rows = self.onnx.node("Add", &[&rows, &positions], &[]);
        let class = self.onnx.floats(&floats(&tokens.class)?, &[1, 1, channels]);
        let class = match self.batch {
            Some(1) => class,
            _ => {
                let first = [("start", Attribute::Int(0)), ("end", Attribute::Int(1))];
                let images = self.onnx.node("Shape", &[input], &first);
                let rest = self.onnx.integers(&[1, channels as i64]);
                let shape = self.onnx.node("Concat", &[&images, &rest], &[("axis", Attribute::Int(0))]);
                self.onnx.node("Expand", &[&class, &shape], &[])
            }
        };
        Ok(self.onnx.node("Concat", &[&class, &rows], &[("axis", Attribute::Int(1))]))
    }

    /// (N, T, 3 · C) -> (N, T, C).
    fn attention(&mut self, qkv: &Edge, heads: usize, from: Shape) -> Edge {
        let (tokens, width) = (from.pixels(), from.channels / 3);
        let depth = width / heads;
        let parts = self.onnx.split(qkv, 2, &[width; 3]);
        let part = |onnx: &mut Graph, index: usize, order: &[i64]| {
            let part = onnx.reshape(&parts[index], &[tokens, heads, depth]);
            onnx.transpose(&part, order)
        };
        let query = part(self.onnx, 0, &[0, 2, 1, 3]);
        let key = part(self.onnx, 1, &[0, 2, 3, 1]);
        let value = part(self.onnx, 2, &[0, 2, 1, 3]);
        let scale = self.onnx.number((depth as f64).sqrt().recip() as f32);
        let query = self.onnx.node("Mul", &[&query, &scale], &[]);
        let products = self.onnx.node("MatMul", &[&query, &key], &[]);
        let weights = self.onnx.node("Softmax", &[&products], &[("axis", Attribute::Int(3))]);
        let mixed = self.onnx.node("MatMul", &[&weights, &value], &[]);
        let mixed = self.onnx.transpose(&mixed, &[0, 2, 1, 3]);
        self.onnx.reshape(&mixed, &[tokens, width])
    }

    /// Tokens without the class token -> a map.
    fn patches(&mut self, tokens: &Edge, [height, width]: [usize; 2], from: Shape) -> Edge {
        let [start, end, axis] = [1, (height * width) as i64 + 1, 1].map(|v| self.onnx.integers(&[v]));
        let patches = self.onnx.node("Slice", &[tokens, &start, &end, &axis], &[]);
        let planes = self.onnx.transpose(&patches, &[0, 2, 1]);
        self.onnx.reshape(&planes, &[from.channels, height, width])
    }
}
