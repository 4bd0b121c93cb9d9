//! The op over batches of channels-last tensors, on either device.

use candle_core::{CpuStorage, Result, Shape, Tensor};

use super::{output, reference};
use crate::kernels::tensor_op::{CpuInput, check_channels_last, custom_op, decoded, encoded};

/// The op's name, in errors too.
const NAME: &str = "max-pool-channels-last";

struct MaxPool;

/// (B, H, W, C) f32 or f16 -> (B, h, w, C) of the same type, with (h, w) as [`output`].
///
/// # Errors
/// Another shape or type; C that is no multiple of 8.
pub(crate) fn max_pool(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&MaxPool)
}

fn shape([batch, height, width, channels]: [usize; 4]) -> Shape {
    let [out_height, out_width] = output(height, width);
    Shape::from((batch, out_height, out_width, channels))
}

custom_op!(CustomOp1 for MaxPool, NAME, x x_layout);

impl MaxPool {
    fn cpu(&self, [(storage, layout)]: [CpuInput<'_>; 1]) -> Result<(CpuStorage, Shape)> {
        let dtype = candle_core::backend::BackendStorage::dtype(storage);
        let dims = check_channels_last(NAME, dtype, layout.dims())?;
        let [_, height, width, channels] = dims;
        let (x, shape) = (decoded(storage, layout)?, shape(dims));
        let mut out = vec![0.0; shape.elem_count()];
        let one_out = out.len() / dims[0];
        for (x, out) in x.chunks_exact(height * width * channels).zip(out.chunks_exact_mut(one_out)) {
            reference::max_pool(height, width, channels, x, out);
        }
        Ok((encoded(out, dtype)?, shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda(
        &self,
        [(storage, layout)]: [crate::kernels::tensor_op::CudaInput<'_>; 1],
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use crate::kernels::cuda;
        use candle_core::backend::BackendStorage;
        let dims = check_channels_last(NAME, storage.dtype(), layout.dims())?;
        let shape = shape(dims);
        cuda::check_len(NAME, layout.shape().elem_count())?;
        let (out, to) = cuda::output_like(storage, storage.dtype(), shape.elem_count())?;
        let launch = super::cuda::launch(storage.dtype(), dims, cuda::address(storage, layout)?, to);
        // SAFETY: `x` has the layout's numbers and `out` the shape's.
        unsafe { cuda::run(storage.device(), &[launch])? };
        Ok((out, shape))
    }
}
