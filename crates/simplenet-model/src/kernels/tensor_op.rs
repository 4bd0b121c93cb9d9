//! What the ops over tensors share, whatever the device. In: a storage with its layout, as candle gives them. Out: its
//! numbers. On the CPU these ops are their references: plain, to be compared with; the [`crate::Predictor`] is what is fast
//! there.

use candle_core::{CpuStorage, DType, Layout, Result, bail};
use half::f16;

/// Channels of a channels-last tensor come in multiples of this: 8 halves are the 16 bytes that a GPU's thread loads at once.
pub(crate) const CHANNELS_TOGETHER: usize = 8;

/// The numbers of a contiguous f32 or f16 tensor, as f32.
///
/// # Errors
/// A view that is not contiguous; another type.
pub(crate) fn decoded(storage: &CpuStorage, layout: &Layout) -> Result<Vec<f32>> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("an op was given a view that is not contiguous, {layout:?}; call contiguous() before");
    };
    match storage {
        CpuStorage::F32(numbers) => Ok(numbers[start..end].to_vec()),
        CpuStorage::F16(numbers) => Ok(numbers[start..end].iter().map(|v| v.to_f32()).collect()),
        CpuStorage::U8(numbers) => Ok(numbers[start..end].iter().map(|&v| f32::from(v)).collect()),
        _ => bail!("an op takes f32, f16 and u8"),
    }
}

/// Numbers as f32 or rounded to f16.
///
/// # Errors
/// Another type.
pub(crate) fn encoded(numbers: Vec<f32>, dtype: DType) -> Result<CpuStorage> {
    match dtype {
        DType::F32 => Ok(CpuStorage::F32(numbers)),
        DType::F16 => Ok(CpuStorage::F16(numbers.into_iter().map(f16::from_f32).collect())),
        other => bail!("an op gives f32 and f16, not {other:?}"),
    }
}

/// Numbers of that type in 16 bytes.
#[cfg(any(test, feature = "cuda"))]
pub(crate) fn pack_len(dtype: DType) -> usize {
    16 / dtype.size_in_bytes()
}

/// Checks that a tensor is (B, H, W, C), f32 or f16, with whole packs of channels.
///
/// # Errors
/// Says what it is instead.
pub(crate) fn check_channels_last(what: &'static str, dtype: DType, dims: &[usize]) -> Result<[usize; 4]> {
    let &[b, h, w, c] = dims else { bail!("{what}: takes (B, H, W, C), not {dims:?}") };
    if !matches!(dtype, DType::F32 | DType::F16) {
        bail!("{what}: takes f32 or f16, not {dtype:?}");
    }
    if b == 0 || h == 0 || w == 0 || c == 0 || !c.is_multiple_of(CHANNELS_TOGETHER) {
        bail!(
            "{what}: takes (B, H, W, C) of at least one pixel and C a multiple of {CHANNELS_TOGETHER}, not {dims:?}"
        );
    }
    Ok([b, h, w, c])
}

/// An input of an op on the CPU.
pub(crate) type CpuInput<'a> = (&'a CpuStorage, &'a Layout);

/// An input of an op on a GPU.
#[cfg(feature = "cuda")]
pub(crate) type CudaInput<'a> = (&'a candle_core::CudaStorage, &'a Layout);

/// Implements candle's `CustomOp1`, `CustomOp2` or `CustomOp3` by the type's own `cpu` and `cuda`, which take the inputs as an
/// array and return the output with its shape.
macro_rules! custom_op {
    ($op:ident for $type:ty, $name:expr, $($storage:ident $layout:ident),+) => {
        impl candle_core::$op for $type {
            fn name(&self) -> &'static str {
                $name
            }

            fn cpu_fwd(
                &self,
                $($storage: &candle_core::CpuStorage, $layout: &candle_core::Layout),+
            ) -> candle_core::Result<(candle_core::CpuStorage, candle_core::Shape)> {
                self.cpu([$(($storage, $layout)),+])
            }

            #[cfg(feature = "cuda")]
            fn cuda_fwd(
                &self,
                $($storage: &candle_core::CudaStorage, $layout: &candle_core::Layout),+
            ) -> candle_core::Result<(candle_core::CudaStorage, candle_core::Shape)> {
                self.cuda([$(($storage, $layout)),+])
            }
        }
    };
}
pub(crate) use custom_op;

/// The devices that a suite runs tensors on: the CPU and, with the feature `cuda` and a GPU, that.
#[cfg(test)]
pub(crate) fn test_devices() -> Vec<candle_core::Device> {
    #[allow(unused_mut, reason = "a GPU is one more")]
    let mut devices = vec![candle_core::Device::Cpu];
    #[cfg(feature = "cuda")]
    match super::cuda::open(0) {
        Ok(device) => devices.push(device),
        Err(error) => eprintln!("skipped: no GPU: {error}"),
    }
    devices
}
