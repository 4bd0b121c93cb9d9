//! The step on a tensor, in place, on either device.

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, bail};

use super::{AdamStep, reference};
use crate::kernels::tensor_op::decoded;

struct Step(AdamStep);

/// One step on `state` (3, L), which is parameters, first and second moments, along `gradient`, L numbers of any shape; f32. In
/// place: every view of `state` changes. Its storage holds nothing else.
///
/// # Errors
/// Another shape or type; tensors of different devices.
pub fn step(state: &Tensor, gradient: &Tensor, step: AdamStep) -> Result<()> {
    state.inplace_op2(&gradient.contiguous()?, &Step(step))
}

/// L.
fn len(state: &Layout, gradient: &Layout) -> Result<usize> {
    match *state.dims() {
        [3, len]
            if len == gradient.shape().elem_count() && state.contiguous_offsets() == Some((0, 3 * len)) =>
        {
            Ok(len)
        }
        _ => bail!(
            "adam: takes a contiguous state (3, L) and a gradient of L numbers, not {:?} and {:?}",
            state.dims(),
            gradient.dims()
        ),
    }
}

impl InplaceOp2 for Step {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(
        &self,
        state: &mut CpuStorage,
        state_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<()> {
        let len = len(state_layout, gradient_layout)?;
        let (CpuStorage::F32(state), CpuStorage::F32(_)) = (state, gradient) else {
            bail!("adam: takes f32");
        };
        let gradient = decoded(gradient, gradient_layout)?;
        let (values, moments) = state.split_at_mut(len);
        let (first, second) = moments.split_at_mut(len);
        reference::update(&self.0, values, &gradient, first, second);
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        state: &mut candle_core::CudaStorage,
        state_layout: &Layout,
        gradient: &candle_core::CudaStorage,
        gradient_layout: &Layout,
    ) -> Result<()> {
        use crate::kernels::cuda;
        use candle_core::{DType, backend::BackendStorage};
        let len = len(state_layout, gradient_layout)?;
        if (state.dtype(), gradient.dtype()) != (DType::F32, DType::F32) {
            bail!("adam: takes f32, not {:?} and {:?}", state.dtype(), gradient.dtype());
        }
        cuda::check_len("adam", 3 * len)?;
        let (to, from) = (cuda::address(state, state_layout)?, cuda::address(gradient, gradient_layout)?);
        // SAFETY: `state` has 3 L numbers and `gradient` L, by `len`; `state` is borrowed mutably, so nothing else reads it
        // meanwhile.
        unsafe { cuda::run(state.device(), &[super::cuda::launch(&self.0, len, to, from)]) }
    }
}
