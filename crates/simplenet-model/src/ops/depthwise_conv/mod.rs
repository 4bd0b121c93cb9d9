//! Depthwise convolution with the activations around it fused in. In: (B, C, H, W) f32. Out: (B, C, h, w) f32.
//!
//! For channel c, with clip(v) = min(max(v, 0), limit):
//!
//! ```text
//! a = clip(x + input_bias[c]), then zero-padded;   y = clip(Σ weight[c]·a + bias[c])
//! ```
//!
//! candle's grouped convolution splits the input and runs one convolution a channel: for the 288×288
//! EfficientNet-Lite0 it takes most of the time. Here each plane is copied once into a small padded scratch (where the
//! activation of the layer before is applied on the way) and read from cache by vectorised loops.
//! Every plane is computed by one thread in a fixed order: results depend neither on the thread count nor on the batch.

pub(crate) mod cpu;
#[cfg(any(test, feature = "cuda"))]
mod cuda;
#[cfg(test)]
mod reference;

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Shape, Tensor, backend::BackendStorage};

use super::Isa;
use crate::error::ModelError;

/// What an implementation has to know beside the numbers: sides, kernel, stride and zero padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Input height and width.
    pub input: [usize; 2],
    /// Side of the square kernel: 3 or 5.
    pub kernel: usize,
    /// Step in both directions: 1 or 2.
    pub stride: usize,
    /// Zero rows above and below.
    pub vertical: (usize, usize),
    /// Zero columns to the left and right.
    pub horizontal: (usize, usize),
}

impl Geometry {
    /// TensorFlow's "same" padding: the output's sides are the input's over the stride, rounded up.
    pub(crate) fn same(height: usize, width: usize, kernel: usize, stride: usize) -> Self {
        Self {
            input: [height, width],
            kernel,
            stride,
            vertical: same_padding(height, kernel, stride),
            horizontal: same_padding(width, kernel, stride),
        }
    }

    /// Output height and width; 0 where the kernel does not fit.
    pub(crate) fn output(&self) -> [usize; 2] {
        let side = |length: usize, (before, after): (usize, usize)| {
            let padded = length.saturating_add(before).saturating_add(after);
            padded.checked_sub(self.kernel).map_or(0, |room| room / self.stride + 1)
        };
        [side(self.input[0], self.vertical), side(self.input[1], self.horizontal)]
    }
}

/// Zeros before and after a side of `length` in TensorFlow's "same" scheme: the odd one comes after.
pub(crate) fn same_padding(length: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let total = (length.div_ceil(stride).saturating_sub(1) * stride + kernel).saturating_sub(length);
    (total / 2, total - total / 2)
}

/// The numbers of one layer; see the module's formula.
#[derive(Debug, Clone)]
pub(crate) struct Parameters {
    /// (C, kernel, kernel), flat.
    pub weight: Arc<[f32]>,
    /// (C), added to the sum.
    pub bias: Arc<[f32]>,
    /// (C), added to the input before it is clipped.
    pub input_bias: Arc<[f32]>,
    /// Upper end of both clips; 6 for ReLU6.
    pub limit: f32,
}

/// A depthwise layer with "same" padding, worked out for each input's size.
#[derive(Debug, Clone)]
pub(crate) struct DepthwiseConv {
    kernel: usize,
    stride: usize,
    parameters: Parameters,
    /// Weight, bias and input bias, one behind the other, where the layer computes.
    numbers: Tensor,
    isa: Isa,
}

impl DepthwiseConv {
    /// Checks that the parameters belong together. `isa` is what the layer uses if `device` is the CPU.
    ///
    /// # Errors
    /// A kernel other than 3 or 5, a stride other than 1 or 2, lengths that do not fit each other; a device that is out of
    /// memory.
    pub(crate) fn new(
        kernel: usize,
        stride: usize,
        parameters: Parameters,
        isa: Isa,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let channels = parameters.bias.len();
        let fits = parameters.weight.len() == channels * kernel * kernel
            && parameters.input_bias.len() == channels
            && matches!(kernel, 3 | 5)
            && matches!(stride, 1 | 2);
        if fits {
            let numbers = [&*parameters.weight, &*parameters.bias, &*parameters.input_bias].concat();
            let numbers = Tensor::new(numbers, device)?;
            Ok(Self { kernel, stride, parameters, numbers, isa })
        } else {
            Err(ModelError::InputShape {
                what: "depthwise convolution",
                expected: format!(
                    "kernel 3 or 5, stride 1 or 2, as many biases as channels, weight (C, k, k); \
                     got kernel {kernel}, stride {stride}, and as lengths of weight, bias, input bias"
                ),
                actual: vec![parameters.weight.len(), channels, parameters.input_bias.len()],
            })
        }
    }

    /// (B, C, H, W) f32 on the layer's device -> (B, C, ceil(H / stride), ceil(W / stride)). No gradient.
    ///
    /// # Errors
    /// Another rank, type, device or channel count.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let (_, channels, height, width) = x.dims4()?;
        if channels != self.parameters.bias.len() || height == 0 || width == 0 {
            return Err(ModelError::InputShape {
                what: "depthwise convolution",
                expected: format!("(B, {}, H, W) with H, W > 0", self.parameters.bias.len()),
                actual: x.dims().to_vec(),
            });
        }
        let geometry = Geometry::same(height, width, self.kernel, self.stride);
        let op = Op { geometry, parameters: self.parameters.clone(), isa: self.isa };
        Ok(x.contiguous()?.apply_op2_no_bwd(&self.numbers, &op)?)
    }
}

/// candle's side of the op; candle picks the method by device. Its second input is the parameters' numbers, for devices that
/// cannot read those in `parameters`.
struct Op {
    geometry: Geometry,
    parameters: Parameters,
    isa: Isa,
}

impl CustomOp2 for Op {
    fn name(&self) -> &'static str {
        "depthwise-conv"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (batch, channels, ..) = layout.shape().dims4()?;
        let CpuStorage::F32(data) = storage else {
            candle_core::bail!("depthwise-conv takes f32, got {:?}", storage.dtype())
        };
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("depthwise-conv takes a contiguous input")
        };
        let [height, width] = self.geometry.output();
        let mut out = vec![0.0; batch * channels * height * width];
        cpu::depthwise_conv(self.isa, &self.geometry, &self.parameters, &data[start..end], &mut out);
        Ok((CpuStorage::F32(out), (batch, channels, height, width).into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        x_layout: &Layout,
        numbers: &candle_core::CudaStorage,
        numbers_layout: &Layout,
    ) -> candle_core::Result<(candle_core::CudaStorage, Shape)> {
        use crate::ops::cuda;
        let (batch, channels, ..) = x_layout.shape().dims4()?;
        if x.dtype() != candle_core::DType::F32 {
            candle_core::bail!("depthwise-conv takes f32, got {:?}", x.dtype());
        }
        let [height, width] = self.geometry.output();
        let shape = Shape::from((batch, channels, height, width));
        cuda::check_len(self.name(), x_layout.shape().elem_count())?;
        let (out, to) = cuda::output_like(x, x.dtype(), shape.elem_count())?;
        let launch = self::cuda::launch(
            &self.geometry,
            [batch, channels],
            self.parameters.limit,
            cuda::address(x, x_layout)?,
            cuda::address(numbers, numbers_layout)?,
            to,
        );
        // SAFETY: `x` has the layout's numbers and `out` the shape's; `DepthwiseConv::new` has made `numbers` of as many
        // channels as `forward` has found in `x`.
        unsafe { cuda::run(x.device(), &[launch])? };
        Ok((out, shape))
    }
}

#[cfg(test)]
mod tests;
