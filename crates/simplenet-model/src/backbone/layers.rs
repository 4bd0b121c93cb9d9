//! Convolutions with batch norm folded in, shared by the backbones. In: a tensor dictionary and names. Out: layers
//! whose weights are f32 constants.
//!
//! Folding (evaluation mode): y = γ·(conv(x) − μ)/√(σ² + ε) + β is a convolution with weight w·s and bias β − μ·s,
//! s = γ/√(σ² + ε) for each output channel. Done in f64 and rounded once.

use candle_core::{DType, Device, Tensor};

use crate::{
    error::ModelError,
    ops::{conv_epilogue::conv_epilogue, dense::Clamp},
    predictor::network::Convolution,
    weights::BackboneWeights,
};

/// A convolution's weight (out, in / groups, kh, kw) and bias (out), flat, batch norm folded in.
pub(super) struct Folded {
    pub(super) weight: Vec<f32>,
    pub(super) shape: [usize; 4],
    pub(super) bias: Vec<f32>,
}

impl Folded {
    /// The same as the compiled network takes it; square kernels only.
    pub(super) fn convolution(&self, stride: usize, clamp: Clamp) -> Convolution<'_> {
        Convolution { weight: &self.weight, bias: &self.bias, kernel: self.shape[2], stride, clamp }
    }
}

/// Reads `{conv}.weight` and the four parameters of `{norm}` and folds them.
pub(super) fn fold(
    weights: &BackboneWeights,
    conv: &str,
    norm: &str,
    epsilon: f64,
) -> Result<Folded, ModelError> {
    let weight = weights.get(&format!("{conv}.weight"))?;
    let (o, i, kh, kw) = weight.dims4()?;
    let vector = |name: &str| -> Result<Vec<f64>, ModelError> {
        Ok(weights.get(&format!("{norm}.{name}"))?.to_dtype(DType::F64)?.to_vec1()?)
    };
    let (gamma, beta) = (vector("weight")?, vector("bias")?);
    let (mean, variance) = (vector("running_mean")?, vector("running_var")?);
    let scale: Vec<f64> = gamma.iter().zip(&variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
    let bias = beta.iter().zip(&mean).zip(&scale).map(|((b, m), s)| (b - m * s) as f32).collect();
    let mut weight = weight.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
    for (row, s) in weight.chunks_exact_mut((i * kh * kw).max(1)).zip(&scale) {
        for w in row {
            *w = (f64::from(*w) * s) as f32;
        }
    }
    Ok(Folded { weight, shape: [o, i, kh, kw], bias })
}

/// What is done to a convolution's sums.
#[derive(Clone, Copy)]
pub(super) struct After<'a> {
    /// Added to them, of their shape.
    pub(super) residual: Option<&'a Tensor>,
    /// The activation.
    pub(super) clamp: Clamp,
}

impl After<'_> {
    /// The bias is all.
    pub(super) const NOTHING: Self = Self { residual: None, clamp: Clamp::NONE };
    /// max(x, 0).
    pub(super) const RELU: Self = Self { residual: None, clamp: Clamp::RELU };
}

/// Convolution with bias, symmetric zero padding of half the kernel.
#[derive(Debug, Clone)]
pub(super) struct Conv {
    weight: Tensor,
    bias: Tensor,
    stride: usize,
}

impl Conv {
    /// From folded parameters.
    pub(super) fn new(folded: Folded, stride: usize, device: &Device) -> Result<Self, ModelError> {
        let channels = folded.shape[0];
        Ok(Self {
            weight: Tensor::from_vec(folded.weight, &folded.shape, device)?,
            bias: Tensor::from_vec(folded.bias, channels, device)?,
            stride,
        })
    }

    /// (B, C, H, W) -> (B, O, ceil(H / stride), ceil(W / stride)) for odd kernels.
    pub(super) fn forward(&self, x: &Tensor, after: After<'_>) -> Result<Tensor, ModelError> {
        let y = self.forward_padded_no_bias(x, self.weight.dim(2)? / 2)?;
        Ok(conv_epilogue(y, &self.bias, after.residual, after.clamp)?)
    }

    /// The same with another symmetric padding (0 where the caller has padded already) and without the bias, for an op that
    /// adds it itself.
    pub(super) fn forward_padded_no_bias(&self, x: &Tensor, padding: usize) -> Result<Tensor, ModelError> {
        Ok(x.conv2d(&self.weight, padding, self.stride, 1, 1)?)
    }
}

/// 1×1 convolution of stride 1 as a matrix product, one image at a time, so that a result does not depend on what
/// else is in the batch.
#[derive(Debug, Clone)]
pub(super) struct Pointwise {
    weight: Tensor,
    bias: Tensor,
}

impl Pointwise {
    /// From folded parameters of a 1×1 kernel.
    pub(super) fn new(folded: Folded, device: &Device) -> Result<Self, ModelError> {
        let [o, i, ..] = folded.shape;
        Ok(Self {
            weight: Tensor::from_vec(folded.weight, (1, o, i), device)?,
            bias: Tensor::from_vec(folded.bias, o, device)?,
        })
    }

    /// (B, C, H, W) -> (B, O, H, W).
    pub(super) fn forward(&self, x: &Tensor, after: After<'_>) -> Result<Tensor, ModelError> {
        Ok(conv_epilogue(self.forward_no_bias(x)?, &self.bias, after.residual, after.clamp)?)
    }

    /// The same without the bias, for an op that adds it itself.
    pub(super) fn forward_no_bias(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let (b, c, h, w) = x.dims4()?;
        let (_, o, i) = self.weight.dims3()?;
        let y = self.weight.broadcast_as((b, o, i))?.matmul(&x.reshape((b, c, h * w))?)?;
        Ok(y.reshape((b, o, h, w))?)
    }
}
