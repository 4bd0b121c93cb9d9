//! Features with their noise, as a tensor on either device.

use candle_core::{CpuStorage, Layout, Result, Shape, Tensor, bail};

use super::Draws;
use crate::kernels::{
    Isa,
    tensor_op::{CpuInput, custom_op, decoded, encoded},
};

/// The op's name, in errors too.
const NAME: &str = "normal-noise";

struct WithNormalNoise {
    draws: Draws,
    sigma: f32,
}

/// (n, D) f32 -> (2n, D) f32: the rows, then the same with noise of standard deviation `sigma`. Number i of the noise, counted
/// row by row, depends on `draws` and i only, and is the same on every device to the bit.
///
/// # Errors
/// Another shape or type.
pub fn with_normal_noise(x: &Tensor, draws: Draws, sigma: f32) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&WithNormalNoise { draws, sigma })
}

fn shape(layout: &Layout) -> Result<Shape> {
    let &[n, dim] = layout.dims() else { bail!("normal-noise: takes (n, D), not {:?}", layout.dims()) };
    Ok(Shape::from((2 * n, dim)))
}

custom_op!(CustomOp1 for WithNormalNoise, NAME, x x_layout);

impl WithNormalNoise {
    fn cpu(&self, [(storage, layout)]: [CpuInput<'_>; 1]) -> Result<(CpuStorage, Shape)> {
        let shape = shape(layout)?;
        let dtype = candle_core::backend::BackendStorage::dtype(storage);
        if dtype != candle_core::DType::F32 {
            bail!("normal-noise: takes f32, not {dtype:?}");
        }
        let mut out = decoded(storage, layout)?;
        let count = out.len();
        out.resize(2 * count, 0.0);
        let (x, noisy) = out.split_at_mut(count);
        super::fill(Isa::detect(), self.draws, self.sigma, noisy);
        noisy.iter_mut().zip(x).for_each(|(out, x)| *out += *x);
        Ok((encoded(out, dtype)?, shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda(
        &self,
        [(storage, layout)]: [crate::kernels::tensor_op::CudaInput<'_>; 1],
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use crate::kernels::cuda;
        use candle_core::{DType, backend::BackendStorage};
        let shape = shape(layout)?;
        if storage.dtype() != DType::F32 {
            bail!("normal-noise: takes f32, not {:?}", storage.dtype());
        }
        cuda::check_len(NAME, shape.elem_count())?;
        let count = layout.shape().elem_count();
        let (out, to) = cuda::output_like(storage, DType::F32, 2 * count)?;
        let launch = super::cuda::launch(self.draws, self.sigma, count, cuda::address(storage, layout)?, to);
        // SAFETY: `x` has the layout's numbers and `out` twice as many.
        unsafe { cuda::run(storage.device(), &[launch])? };
        Ok((out, shape))
    }
}
