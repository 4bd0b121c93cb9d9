//! The layer over batches of channels-last tensors, on either device.

use std::cmp::Ordering;

use candle_core::{CpuStorage, DType, Device, Layout, Result, Shape, Tensor, bail};

use super::reference;
use crate::kernels::{
    dense::Clamp,
    geometry::Geometry,
    tensor_op::{CHANNELS_TOGETHER, CpuInput, check_channels_last, custom_op, decoded, encoded},
};

const NAME: &str = "depthwise-channels-last";

/// A depthwise layer, its values on a device.
#[derive(Debug, Clone)]
pub(crate) struct DepthwiseTensor {
    kernel: usize,
    stride: usize,
    clamp: Clamp,
    /// (k · k, C) f32: a tap's channels lie together.
    weight: Tensor,
    /// (C) f32.
    bias: Tensor,
}

impl DepthwiseTensor {
    /// `weight` is (C, k, k), flat; `bias` is (C).
    ///
    /// # Errors
    /// A kernel other than 3 or 5 with stride 1 or 2, or 7 with stride 1; a weight that does not fit the bias, C that is no
    /// multiple of 8, a clamp whose bounds are not in order; a device that is out of memory.
    pub(crate) fn new(
        kernel: usize,
        stride: usize,
        weight: &[f32],
        bias: &[f32],
        clamp: Clamp,
        device: &Device,
    ) -> Result<Self> {
        if !matches!((kernel, stride), (3 | 5, 1 | 2) | (7, 1)) {
            bail!(
                "{NAME}: takes a kernel of 3 or 5 and a stride of 1 or 2, or a kernel of 7 and a stride of 1, not {kernel} \
                 and {stride}"
            );
        }
        let (channels, taps) = (bias.len(), kernel * kernel);
        if channels == 0 || !channels.is_multiple_of(CHANNELS_TOGETHER) || weight.len() != channels * taps {
            bail!(
                "{NAME}: takes a weight (C, {kernel}, {kernel}) and a bias (C), C a multiple of {CHANNELS_TOGETHER}, not \
                 lengths {} and {channels}",
                weight.len()
            );
        }
        if !matches!(clamp.low.partial_cmp(&clamp.high), Some(Ordering::Less | Ordering::Equal)) {
            bail!("{NAME}: takes a clamp whose bounds are in order, not {clamp:?}");
        }
        Ok(Self {
            kernel,
            stride,
            clamp,
            weight: Tensor::from_slice(weight, (channels, taps), device)?.t()?.contiguous()?,
            bias: Tensor::from_slice(bias, channels, device)?,
        })
    }

    /// (B, H, W, C) f32 or f16 -> (B, h, w, C) of the same type, for zero rows above and below and zero columns to the left and
    /// right; sums are in f32. No gradient.
    ///
    /// # Errors
    /// Another shape, type or device.
    pub(crate) fn forward(&self, x: &Tensor, [vertical, horizontal]: [(usize, usize); 2]) -> Result<Tensor> {
        let [_, height, width, channels] = check_channels_last(NAME, x.dtype(), x.dims())?;
        let expected = self.bias.elem_count();
        if channels != expected {
            bail!("{NAME}: takes (B, H, W, {expected}), not {:?}", x.dims());
        }
        let input = [height, width];
        let geometry = Geometry { input, kernel: self.kernel, stride: self.stride, vertical, horizontal };
        let op = Op { geometry, clamp: self.clamp };
        x.contiguous()?.apply_op3_no_bwd(&self.weight, &self.bias, &op)
    }
}

/// Its entry point has checked every shape and type.
struct Op {
    geometry: Geometry,
    clamp: Clamp,
}

impl Op {
    fn shape(&self, x: &Layout) -> Result<Shape> {
        let (batch, _, _, channels) = x.shape().dims4()?;
        let [height, width] = self.geometry.output();
        Ok(Shape::from((batch, height, width, channels)))
    }
}

custom_op!(CustomOp3 for Op, NAME, x x_layout, y y_layout, z z_layout);

impl Op {
    fn cpu(
        &self,
        [(x, x_layout), (weight, weight_layout), (bias, bias_layout)]: [CpuInput<'_>; 3],
    ) -> Result<(CpuStorage, Shape)> {
        let dtype: DType = candle_core::backend::BackendStorage::dtype(x);
        let shape = self.shape(x_layout)?;
        let (x, weight, bias) =
            (decoded(x, x_layout)?, decoded(weight, weight_layout)?, decoded(bias, bias_layout)?);
        let channels = bias.len();
        let by_channel: Vec<f32> =
            (0..channels).flat_map(|c| weight.iter().skip(c).step_by(channels).copied()).collect();
        let mut out = vec![0.0; shape.elem_count()];
        let [one_in, one_out] =
            [self.geometry.input, self.geometry.output()].map(|[height, width]| height * width * channels);
        for (x, out) in x.chunks_exact(one_in).zip(out.chunks_exact_mut(one_out)) {
            reference::depthwise(&self.geometry, &by_channel, &bias, self.clamp, x, out);
        }
        Ok((encoded(out, dtype)?, shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda(
        &self,
        [(x, x_layout), (weight, weight_layout), (bias, bias_layout)]: [crate::kernels::tensor_op::CudaInput<'_>;
            3],
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use crate::kernels::cuda;
        use candle_core::backend::BackendStorage;
        let shape = self.shape(x_layout)?;
        cuda::check_len(NAME, x_layout.shape().elem_count())?;
        let (out, to) = cuda::output_like(x, x.dtype(), shape.elem_count())?;
        let launch = super::cuda::launch(
            x.dtype(),
            &self.geometry,
            [x_layout.dims()[0], bias_layout.shape().elem_count()],
            self.clamp,
            cuda::address(x, x_layout)?,
            cuda::address(weight, weight_layout)?,
            cuda::address(bias, bias_layout)?,
            to,
        );
        // SAFETY: `x` has the layout's numbers and `out` the shape's, `weight` and `bias` those of the layer, by the entry point.
        unsafe { cuda::run(x.device(), &[launch])? };
        Ok((out, shape))
    }
}
