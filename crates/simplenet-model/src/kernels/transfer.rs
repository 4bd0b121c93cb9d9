//! Bytes and numbers between a program's memory and a device's. In and out: slices and tensors.
//!
//! The driver copies ordinary memory through a small buffer of its own, one thread at a few GB/s; page-locked memory goes over
//! the bus as fast as that is. So batches go through page-locked buffers, which are kept: filling and emptying them is shared
//! by the threads. On the CPU a transfer is candle's copy.

use candle_core::{Device, Result, Tensor};

/// Page-locked buffers of one network on one device, kept from batch to batch.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    #[cfg(feature = "cuda")]
    buffers: pinned::Buffers,
}

impl Transfers {
    /// Bytes -> a tensor of this shape on `device`.
    ///
    /// # Errors
    /// A device that is out of memory; another number of bytes than the shape has.
    pub(crate) fn upload(&self, bytes: &[u8], shape: &[usize], device: &Device) -> Result<Tensor> {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(cuda) => self.buffers.upload(bytes, shape, cuda),
            _ => Tensor::from_slice(bytes, shape, device),
        }
    }

    /// The numbers of an f32 tensor, when the device has made them.
    ///
    /// # Errors
    /// Whatever the device says of what it was asked for before; another type.
    pub(crate) fn download(&self, tensor: &Tensor) -> Result<Vec<f32>> {
        match tensor.device() {
            #[cfg(feature = "cuda")]
            Device::Cuda(cuda) => self.buffers.download(&tensor.contiguous()?, cuda),
            _ => tensor.flatten_all()?.to_vec1(),
        }
    }
}

#[cfg(feature = "cuda")]
mod pinned {
    use std::sync::{Mutex, PoisonError};

    use candle_core::{
        CudaDevice, CudaStorage, Result, Shape, Storage, Tensor, bail,
        cuda_backend::{
            WrapErr,
            cudarc::driver::{DeviceRepr, PinnedHostSlice},
        },
        op::BackpropOp,
    };
    use rayon::prelude::*;

    /// Numbers that a thread copies in one go.
    const CHUNK: usize = 1 << 18;

    /// Bytes on their way to a device, and numbers on their way back. What is kept is as large as the largest batch was.
    #[derive(Debug, Default)]
    pub(super) struct Buffers {
        up: Mutex<Vec<PinnedHostSlice<u8>>>,
        down: Mutex<Vec<PinnedHostSlice<f32>>>,
    }

    /// One that is large enough, or a new one.
    fn take<T: DeviceRepr>(
        kept: &Mutex<Vec<PinnedHostSlice<T>>>,
        len: usize,
        device: &CudaDevice,
    ) -> Result<PinnedHostSlice<T>> {
        let found = kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match found.filter(|buffer| buffer.len() >= len) {
            Some(buffer) => Ok(buffer),
            // Flags 0: memory that the CPU can also read fast. SAFETY: whoever takes a buffer fills it before a read.
            None => unsafe { device.cuda_stream().context().alloc_pinned_with_flags(len, 0).w() },
        }
    }

    fn keep<T>(kept: &Mutex<Vec<PinnedHostSlice<T>>>, buffer: PinnedHostSlice<T>) {
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }

    impl Buffers {
        pub(super) fn upload(&self, bytes: &[u8], shape: &[usize], device: &CudaDevice) -> Result<Tensor> {
            let shape = Shape::from(shape);
            if shape.elem_count() != bytes.len() || bytes.is_empty() {
                bail!("{} bytes for a tensor of {shape:?}", bytes.len());
            }
            let mut buffer = take(&self.up, bytes.len(), device)?;
            let staged = &mut buffer.as_mut_slice().w()?[..bytes.len()];
            staged
                .par_chunks_mut(CHUNK)
                .zip(bytes.par_chunks(CHUNK))
                .for_each(|(to, from)| to.copy_from_slice(from));
            let stream = device.cuda_stream();
            // SAFETY: the copy writes all of it.
            let mut memory = unsafe { device.alloc::<u8>(bytes.len())? };
            stream.memcpy_htod(&*staged, &mut memory).w()?;
            // The buffer is read until the copy is over, so it is waited for before anybody else may have it.
            stream.synchronize().w()?;
            keep(&self.up, buffer);
            let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(memory, device.clone()));
            Ok(Tensor::from_storage(storage, shape, BackpropOp::none(), false))
        }

        pub(super) fn download(&self, tensor: &Tensor, device: &CudaDevice) -> Result<Vec<f32>> {
            let len = tensor.elem_count();
            let (storage, layout) = tensor.storage_and_layout();
            let (Storage::Cuda(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets())
            else {
                bail!("a tensor of {layout:?} is not a whole one of this device");
            };
            let mut buffer = take(&self.down, len, device)?;
            let staged = &mut buffer.as_mut_slice().w()?[..len];
            let stream = device.cuda_stream();
            stream.memcpy_dtoh(&storage.as_cuda_slice::<f32>()?.slice(start..end), staged).w()?;
            stream.synchronize().w()?;
            let mut numbers = vec![0.0; len];
            numbers
                .par_chunks_mut(CHUNK)
                .zip(staged.par_chunks(CHUNK))
                .for_each(|(to, from)| to.copy_from_slice(from));
            keep(&self.down, buffer);
            Ok(numbers)
        }
    }
}
