//! The kinds of node. Weights are the tensors as their source stores them; what passes fold into them is kept beside and
//! applied when a lowering asks for the values, so that a graph costs no memory of its own.

use candle_core::{DType, Device, Tensor};

use crate::{error::ModelError, kernels::dense::Clamp};

/// What a node computes. Shapes: (height, width, channels).
#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// The image: (H, W, 3), normalised.
    Image,
    /// A convolution over all channels, or of each channel by itself; then what is folded into it; then, with a second
    /// input, the sum with that one; then the clamp.
    Convolution(Box<Convolution>),
    /// x · scale + shift, one pair per channel: batch norm in evaluation mode, layer scale.
    Affine(ChannelAffine),
    /// min(max(x, low), high).
    Clamp(Clamp),
    /// The sum of two maps.
    Add,
    /// 3×3 maxima with stride 2 and one pixel of padding, of values that are not negative.
    MaxPool,
    /// The block of mobile networks as one node.
    InvertedResidual(Box<InvertedResidual>),
    /// Layer norm over the channels of each position.
    LayerNorm(Box<LayerNorm>),
    /// x · (1 + erf(x / √2)) / 2.
    Gelu,
    /// A grid of patches (h, w, C) -> tokens (1, 1 + h · w, C): the class token first, the position embedding added.
    Tokens(Box<Tokens>),
    /// Multi-head attention of tokens: (1, T, 3 · C), queries, keys and values side by side -> (1, T, C).
    Attention { heads: usize },
    /// Tokens without the class token, as the map of these sides.
    Patches { sides: [usize; 2] },
}

impl Op {
    /// For messages.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Image => "the image",
            Self::Convolution(conv) if conv.depthwise => "a depthwise convolution",
            Self::Convolution(_) => "a convolution",
            Self::Affine(_) => "a scale and shift per channel",
            Self::Clamp(_) => "a clamp",
            Self::Add => "a sum",
            Self::MaxPool => "max pooling",
            Self::InvertedResidual(_) => "an inverted residual block",
            Self::LayerNorm(_) => "layer norm",
            Self::Gelu => "GELU",
            Self::Tokens(_) => "tokens",
            Self::Attention { .. } => "attention",
            Self::Patches { .. } => "patches of tokens",
        }
    }
}

/// What surrounds a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Padding {
    /// Nothing.
    None,
    /// Half the kernel on every side.
    Centred,
    /// TensorFlow's "same": the odd zero comes last.
    Same,
}

impl Padding {
    /// Zeros before and after each side of a map.
    pub(crate) fn around(self, sides: [usize; 2], kernel: usize, stride: usize) -> [(usize, usize); 2] {
        sides.map(|side| match self {
            Self::None => (0, 0),
            Self::Centred => (kernel / 2, kernel / 2),
            Self::Same => crate::kernels::geometry::same_padding(side, kernel, stride),
        })
    }
}

/// One factor and one shift per channel, in f64.
#[derive(Debug, Clone)]
pub(crate) struct ChannelAffine {
    pub(crate) scale: Vec<f64>,
    pub(crate) shift: Vec<f64>,
}

/// A convolution of a square kernel.
#[derive(Debug, Clone)]
pub(crate) struct Convolution {
    /// (out, in, k, k), of a depthwise one (channels, 1, k, k), of any float type.
    pub(crate) weight: Tensor,
    /// (out).
    pub(crate) bias: Option<Tensor>,
    pub(crate) stride: usize,
    pub(crate) padding: Padding,
    /// Whether each channel is convolved by itself.
    pub(crate) depthwise: bool,
    /// What a pass has folded in: applied to the sums and the bias.
    pub(crate) affine: Option<ChannelAffine>,
    pub(crate) clamp: Clamp,
}

/// A convolution's values as kernels take them, everything folded in.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    /// (out, in / groups, k, k), flat.
    pub(crate) weight: Vec<f32>,
    /// (out).
    pub(crate) bias: Vec<f32>,
}

impl Convolution {
    /// Over all channels, without bias, padding and activation, with stride 1.
    pub(crate) fn new(weight: Tensor) -> Self {
        Self {
            weight,
            bias: None,
            stride: 1,
            padding: Padding::None,
            depthwise: false,
            affine: None,
            clamp: Clamp::NONE,
        }
    }

    /// A linear layer per position: `weight` is (out, in), `bias` (out).
    pub(crate) fn linear(weight: &Tensor, bias: Tensor) -> Result<Self, ModelError> {
        let (outputs, inputs) = weight.dims2()?;
        Ok(Self { bias: Some(bias), ..Self::new(weight.reshape((outputs, inputs, 1, 1))?) })
    }

    /// (out, in / groups, k, k).
    pub(crate) fn shape(&self) -> [usize; 4] {
        <[usize; 4]>::try_from(self.weight.dims()).unwrap_or([0; 4])
    }

    /// Side of the kernel.
    pub(crate) fn kernel(&self) -> usize {
        self.shape()[2]
    }

    /// Channels that it gives.
    pub(crate) fn outputs(&self) -> usize {
        self.shape()[0]
    }

    /// Weight and bias with what was folded in, worked out in f64 and rounded once:
    /// (W x + b) · s + t is a convolution with the weight W · s and the bias b · s + t.
    pub(crate) fn values(&self) -> Result<Values, ModelError> {
        let outputs = self.outputs();
        let mut weight = floats(&self.weight)?;
        let bias = self.bias.as_ref().map(doubles).transpose()?;
        let Some(ChannelAffine { scale, shift }) = &self.affine else {
            let bias =
                bias.map_or_else(|| vec![0.0; outputs], |bias| bias.iter().map(|&b| b as f32).collect());
            return Ok(Values { weight, bias });
        };
        let row = (weight.len() / outputs.max(1)).max(1);
        for (row, scale) in weight.chunks_exact_mut(row).zip(scale) {
            row.iter_mut().for_each(|w| *w = (f64::from(*w) * scale) as f32);
        }
        let bias = match bias {
            None => shift.iter().map(|&shift| shift as f32).collect(),
            Some(bias) => bias
                .iter()
                .zip(scale)
                .zip(shift)
                .map(|((b, scale), shift)| (b * scale + shift) as f32)
                .collect(),
        };
        Ok(Values { weight, bias })
    }
}

/// Expansion (if there is one), depthwise convolution and projection; the input is added where `residual`.
#[derive(Debug, Clone)]
pub(crate) struct InvertedResidual {
    pub(crate) expand: Option<Convolution>,
    pub(crate) depthwise: Convolution,
    pub(crate) project: Convolution,
    pub(crate) residual: bool,
}

/// Weight and bias (C) of a layer norm.
#[derive(Debug, Clone)]
pub(crate) struct LayerNorm {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
    pub(crate) epsilon: f64,
}

/// What makes patches into tokens.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    /// (C), with its own position added.
    pub(crate) class: Tensor,
    /// (patches, C), of the grid in hand.
    pub(crate) positions: Tensor,
}

/// The values of a tensor of any float type, in f32.
pub(crate) fn floats(tensor: &Tensor) -> Result<Vec<f32>, ModelError> {
    Ok(tensor.to_device(&Device::Cpu)?.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
}

/// The same in f64.
pub(crate) fn doubles(tensor: &Tensor) -> Result<Vec<f64>, ModelError> {
    Ok(tensor.to_device(&Device::Cpu)?.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?)
}
