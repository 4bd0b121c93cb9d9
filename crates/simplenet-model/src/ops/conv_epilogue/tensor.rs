//! The op on either device.

use candle_core::{CpuStorage, DType, InplaceOp2, InplaceOp3, Layout, Result, Tensor, bail};

use super::{cpu, reference};
use crate::ops::{
    dense::Clamp,
    tensor_op::{decoded, encoded},
};

/// (B, C, H, W) f32 or f16, with (C) f32 and perhaps a residual of `x`'s shape and type -> (B, C, H, W). No gradient.
///
/// Writes over the memory of `x`, when that is contiguous: give it what nothing else holds, as a convolution's result is.
///
/// # Errors
/// Other shapes or types; a residual that lies in the memory of `x`.
pub(crate) fn conv_epilogue(
    x: Tensor,
    bias: &Tensor,
    residual: Option<&Tensor>,
    clamp: Clamp,
) -> Result<Tensor> {
    let [channels, plane] = check(&x, bias, residual)?;
    let (x, bias) = (x.contiguous()?, bias.contiguous()?);
    let op = Op { channels, plane, clamp };
    match residual {
        None => x.inplace_op2(&bias, &op)?,
        Some(residual) => x.inplace_op3(&bias, &residual.contiguous()?, &op)?,
    }
    Ok(x)
}

/// Its door has checked every shape and type.
struct Op {
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "the CPU counts the biases"))]
    channels: usize,
    /// Numbers of one channel of an image.
    plane: usize,
    clamp: Clamp,
}

const NAME: &str = "conv-epilogue";

/// Channels and numbers a plane.
fn check(x: &Tensor, bias: &Tensor, residual: Option<&Tensor>) -> Result<[usize; 2]> {
    let &[_, channels, height, width] = x.dims() else {
        bail!("{NAME}: takes (B, C, H, W), not {:?}", x.dims())
    };
    if !matches!(x.dtype(), DType::F32 | DType::F16) || x.elem_count() == 0 {
        bail!("{NAME}: takes f32 or f16 of at least one pixel, not {:?} of {:?}", x.dims(), x.dtype());
    }
    if bias.dtype() != DType::F32 || bias.dims() != [channels] {
        bail!(
            "{NAME}: takes a bias of shape [{channels}] in f32, not {:?} of {:?}",
            bias.dims(),
            bias.dtype()
        );
    }
    if let Some(residual) = residual
        && (residual.dtype(), residual.dims()) != (x.dtype(), x.dims())
    {
        bail!(
            "{NAME}: takes a residual like its input, {:?} of {:?}, not {:?} of {:?}",
            x.dims(),
            x.dtype(),
            residual.dims(),
            residual.dtype()
        );
    }
    Ok([channels, height * width])
}

impl Op {
    fn on_cpu(
        &self,
        (x, x_layout): (&mut CpuStorage, &Layout),
        (bias, bias_layout): (&CpuStorage, &Layout),
        residual: Option<(&CpuStorage, &Layout)>,
    ) -> Result<()> {
        let range = |layout: &Layout| match layout.contiguous_offsets() {
            Some((start, end)) => Ok(start..end),
            None => bail!("{NAME}: was given a view that is not contiguous, {layout:?}"),
        };
        let bias = &bias.as_slice::<f32>()?[range(bias_layout)?];
        if let CpuStorage::F32(x) = x {
            let residual = residual
                .map(|(storage, layout)| -> Result<_> { Ok(&storage.as_slice::<f32>()?[range(layout)?]) });
            cpu::conv_epilogue(self.plane, bias, residual.transpose()?, self.clamp, &mut x[range(x_layout)?]);
            return Ok(());
        }
        let residual = residual.map(|(storage, layout)| decoded(storage, layout)).transpose()?;
        let numbers = decoded(x, x_layout)?;
        let out = reference::conv_epilogue(self.plane, bias, residual.as_deref(), self.clamp, &numbers);
        if let (CpuStorage::F16(x), CpuStorage::F16(out)) = (x, encoded(out, DType::F16)?) {
            x[range(x_layout)?].copy_from_slice(&out);
        }
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn on_cuda(
        &self,
        (x, x_layout): (&candle_core::CudaStorage, &Layout),
        (bias, bias_layout): (&candle_core::CudaStorage, &Layout),
        residual: Option<(&candle_core::CudaStorage, &Layout)>,
    ) -> Result<()> {
        use crate::ops::cuda;
        use candle_core::backend::BackendStorage;
        let sides = [self.channels, self.plane];
        let count = x_layout.shape().elem_count();
        cuda::check_len(NAME, count)?;
        let to = cuda::address(x, x_layout)?;
        let bias = cuda::address(bias, bias_layout)?;
        let residual = residual.map(|(storage, layout)| cuda::address(storage, layout)).transpose()?;
        let launch = super::cuda::launch(x.dtype(), count, sides, self.clamp, to, bias, residual);
        // SAFETY: `x` and `residual` have `count` numbers, `bias` one a channel: by the door. `x` is borrowed mutably by the
        // caller, so that nothing else reads it.
        unsafe { cuda::run(x.device(), &[launch]) }
    }
}

impl InplaceOp2 for Op {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        x_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<()> {
        self.on_cpu((x, x_layout), (bias, bias_layout), None)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &mut candle_core::CudaStorage,
        x_layout: &Layout,
        bias: &candle_core::CudaStorage,
        bias_layout: &Layout,
    ) -> Result<()> {
        self.on_cuda((x, x_layout), (bias, bias_layout), None)
    }
}

impl InplaceOp3 for Op {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        x_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
    ) -> Result<()> {
        self.on_cpu((x, x_layout), (bias, bias_layout), Some((residual, residual_layout)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &mut candle_core::CudaStorage,
        x_layout: &Layout,
        bias: &candle_core::CudaStorage,
        bias_layout: &Layout,
        residual: &candle_core::CudaStorage,
        residual_layout: &Layout,
    ) -> Result<()> {
        self.on_cuda((x, x_layout), (bias, bias_layout), Some((residual, residual_layout)))
    }
}
