//! A graph as a list of ops over channels-last tensors of one device. In: a batch of images. Out: the graph's stages.
//!
//! Weights go to the device once, in the type that is computed in. A tensor is dropped after its last use, so that the device's
//! memory is used again at once.

use candle_core::{DType, Device, Tensor};

use super::tensor_ops;
use crate::{
    error::ModelError,
    graph::{COLOURS, Convolution, Graph, Node, NodeId, Op, Values, floats},
    kernels::{
        dense::{ConvGeometry, DenseTensor, Reads},
        depthwise_channels_last::DepthwiseTensor,
        max_pool_channels_last::max_pool,
        pack_image::{self, PackImage},
        tensor_op::CHANNELS_TOGETHER,
    },
    passes::fuse_epilogues,
};

/// What a step does with its inputs.
#[derive(Debug)]
enum Work {
    /// The packed image, or the sum with a second input.
    Dense(DenseTensor),
    /// And its zeros around.
    Depthwise(DepthwiseTensor, [(usize, usize); 2]),
    MaxPool,
    LayerNorm {
        weight: Tensor,
        bias: Tensor,
        epsilon: f64,
    },
    Gelu,
    Tokens {
        class: Tensor,
        positions: Tensor,
    },
    Attention {
        heads: usize,
    },
    Patches {
        sides: [usize; 2],
    },
}

/// Steps, ready to run: one per node after the image.
#[derive(Debug)]
pub(crate) struct TensorProgram {
    pack: PackImage,
    /// The fused graph's structure.
    graph: Graph,
    steps: Vec<Work>,
    last_uses: Vec<usize>,
}

impl TensorProgram {
    /// Puts a graph whose scales and shifts are folded on a device; `dtype` is f32 or f16.
    ///
    /// # Errors
    /// Weights that cannot be read; a node that has no op here; a device that is out of memory.
    pub(crate) fn compile(graph: &Graph, device: &Device, dtype: DType) -> Result<Self, ModelError> {
        let graph = fuse_epilogues(graph);
        let mut pack = None;
        let mut compiler = Compiler { graph: &graph, device, dtype, pack: &mut pack };
        let steps = graph.nodes().skip(1).map(|(id, node)| compiler.work(id, node));
        let steps = steps.collect::<Result<_, _>>()?;
        let Some(pack) = pack else {
            return Err(ModelError::Configuration {
                what: "predictor",
                reason: "the network has no layers".into(),
            });
        };
        let last_uses = graph.last_uses();
        Ok(Self { pack, steps, last_uses, graph })
    }

    /// Rows and columns of each stage.
    pub(crate) fn grids(&self) -> Vec<[usize; 2]> {
        self.graph.stages().iter().map(|(_, id)| self.graph.shape(*id).sides()).collect()
    }

    /// How images become the first map.
    pub(crate) fn pack(&self) -> &PackImage {
        &self.pack
    }

    /// The first map of a batch, as [`TensorProgram::pack`] makes it -> the stages, (B, h, w, C) each.
    ///
    /// # Errors
    /// Another shape; a device that is out of memory.
    pub(crate) fn run(&self, packed: Tensor) -> candle_core::Result<Vec<Tensor>> {
        let missing = || candle_core::Error::Msg("a step of the network reads what no step has made".into());
        let mut values: Vec<Option<Tensor>> = vec![None; self.graph.len()];
        values[0] = Some(packed);
        for ((id, node), work) in self.graph.nodes().skip(1).zip(&self.steps) {
            let input = |index: usize| node.inputs.get(index).and_then(|input| values[input.0].as_ref());
            let x = input(0).ok_or_else(missing)?;
            let out = match work {
                Work::Dense(layer) => layer.forward(x, input(1))?,
                Work::Depthwise(layer, pads) => layer.forward(x, *pads)?,
                Work::MaxPool => max_pool(x)?,
                Work::LayerNorm { weight, bias, epsilon } => {
                    tensor_ops::layer_norm(x, weight, bias, *epsilon)?
                }
                Work::Gelu => tensor_ops::gelu(x)?,
                Work::Tokens { class, positions } => tensor_ops::tokens(x, class, positions)?,
                Work::Attention { heads } => tensor_ops::attention(x, *heads)?,
                Work::Patches { sides } => tensor_ops::patches(x, *sides)?,
            };
            values[id.0] = Some(out);
            for read in &node.inputs {
                if self.last_uses[read.0] == id.0 {
                    values[read.0] = None;
                }
            }
        }
        self.graph.stages().iter().map(|(_, id)| values[id.0].clone().ok_or_else(missing)).collect()
    }
}

struct Compiler<'a> {
    graph: &'a Graph,
    device: &'a Device,
    dtype: DType,
    /// Known once the convolution is that reads the image.
    pack: &'a mut Option<PackImage>,
}

impl Compiler<'_> {
    fn work(&mut self, id: NodeId, node: &Node) -> Result<Work, ModelError> {
        let on_device = |tensor: &Tensor, shape: &[usize]| -> Result<Tensor, ModelError> {
            Ok(Tensor::from_vec(floats(tensor)?, shape, self.device)?)
        };
        Ok(match &node.op {
            Op::Convolution(conv) if node.inputs[0] == Graph::IMAGE => Work::Dense(self.stem(id, conv)?),
            Op::Convolution(conv) if conv.depthwise => {
                let Values { weight, bias } = conv.values()?;
                let (kernel, stride) = (conv.kernel(), conv.stride);
                let pads = conv.padding.around(self.graph.shape(node.inputs[0]).sides(), kernel, stride);
                let layer = DepthwiseTensor::new(kernel, stride, &weight, &bias, conv.clamp, self.device)?;
                Work::Depthwise(layer, pads)
            }
            Op::Convolution(conv) => Work::Dense(self.convolution(id, conv, node.inputs[0])?),
            Op::MaxPool => Work::MaxPool,
            Op::LayerNorm(norm) => {
                let shape = [norm.weight.elem_count()];
                let (weight, bias) = (on_device(&norm.weight, &shape)?, on_device(&norm.bias, &shape)?);
                Work::LayerNorm { weight, bias, epsilon: norm.epsilon }
            }
            Op::Gelu => Work::Gelu,
            Op::Tokens(tokens) => {
                let class = on_device(&tokens.class, tokens.class.dims())?;
                Work::Tokens { class, positions: on_device(&tokens.positions, tokens.positions.dims())? }
            }
            &Op::Attention { heads } => Work::Attention { heads },
            &Op::Patches { sides } => Work::Patches { sides },
            op @ (Op::Image | Op::Affine(_) | Op::Clamp(_) | Op::Add | Op::InvertedResidual(_)) => {
                return Err(ModelError::Configuration {
                    what: "predictor",
                    reason: format!("{} by itself has no op over batches", op.name()),
                });
            }
        })
    }

    /// A layer of `dtype` in and out; `weight(tap, value, output)`.
    fn dense(
        &self,
        geometry: ConvGeometry,
        [depth, pixel]: [usize; 2],
        conv: &Convolution,
        bias: &[f32],
        weight: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Result<DenseTensor, ModelError> {
        let reads = Reads { depth, pixel, dtype: self.dtype, out: self.dtype };
        Ok(DenseTensor::new(geometry, reads, bias, conv.clamp, weight, self.device)?)
    }

    fn convolution(&self, id: NodeId, conv: &Convolution, input: NodeId) -> Result<DenseTensor, ModelError> {
        let Values { weight, bias } = conv.values()?;
        let (from, kernel, stride) = (self.graph.shape(input), conv.kernel(), conv.stride);
        let pads = conv.padding.around(from.sides(), kernel, stride);
        let geometry = ConvGeometry {
            input: from.sides(),
            kernel: [kernel; 2],
            stride,
            before: pads.map(|side| side.0),
            output: self.graph.shape(id).sides(),
        };
        let (channels, taps) = (from.channels, kernel * kernel);
        self.dense(geometry, [channels; 2], conv, &bias, |tap, channel, output| {
            weight[(output * channels + channel) * taps + tap]
        })
    }

    /// The convolution of the image, and how the image is packed for it.
    fn stem(&mut self, id: NodeId, conv: &Convolution) -> Result<DenseTensor, ModelError> {
        let Values { weight, bias } = conv.values()?;
        let (kernel, stride) = (conv.kernel(), conv.stride);
        let image = self.graph.shape(Graph::IMAGE).sides();
        let sides = conv.padding.around(image, kernel, stride);
        let output = self.graph.shape(id).sides();
        // A row of the kernel is read at once: with its colours padded, and as many pixels as fill whole packs.
        let pixel = pack_image::CHANNELS;
        let depth = (kernel * pixel).next_multiple_of(CHANNELS_TOGETHER);
        // As wide as the last tap reads; an even width keeps every second pixel at a multiple of 16 bytes.
        let width = ((output[1] - 1) * stride + depth / pixel).max(image[1] + sides[1].0).next_multiple_of(2);
        let padded = [((output[0] - 1) * stride + kernel).max(image[0] + sides[0].0), width];
        if !stride.is_multiple_of(2) {
            return Err(ModelError::Configuration {
                what: "predictor",
                reason: format!(
                    "a first convolution of stride {stride}; the kernels read whole packs at even pixels"
                ),
            });
        }
        *self.pack = Some(PackImage { before: [sides[0].0, sides[1].0], padded, dtype: self.dtype });
        let geometry = ConvGeometry { input: padded, kernel: [kernel, 1], stride, before: [0, 0], output };
        self.dense(geometry, [depth, pixel], conv, &bias, |ky, k, o| {
            let (kx, colour) = (k / pixel, k % pixel);
            if kx < kernel && colour < COLOURS {
                weight[((o * COLOURS + colour) * kernel + ky) * kernel + kx]
            } else {
                0.0
            }
        })
    }
}
