//! How much memory a device has left. In: a device. Out: bytes, where the device has memory of its own.

use candle_core::Device;

/// Free bytes of a GPU; none on the CPU, or when the driver does not say.
pub fn free_bytes(device: &Device) -> Option<u64> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(cuda) => {
            let (free, _all) = cuda.cuda_stream().context().mem_get_info().ok()?;
            Some(free as u64)
        }
        _ => None,
    }
}
