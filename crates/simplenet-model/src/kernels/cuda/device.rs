//! Launches on a GPU, through candle's device: its stream, its memory, its driver.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use candle_core::{
    CudaDevice, CudaStorage, DType, Device, Layout, Result, Storage, Tensor,
    backend::BackendStorage,
    bail,
    cuda_backend::{
        DeviceId, WrapErr,
        cudarc::{
            driver::{
                CudaContext, CudaFunction, CudaModule, DevicePtr, LaunchConfig, result,
                sys::{CUdevice_attribute, CUfunction_attribute, CUmemPool_attribute},
            },
            nvrtc::Ptx,
        },
    },
};

use super::{Argument, Launch};

include!(concat!(env!("OUT_DIR"), "/fatbins.rs"));

/// Dynamic shared memory that a kernel gets without asking.
const SHARED_WITHOUT_ASKING: u32 = 48 << 10;

/// Kernels, and the dynamic shared memory that each was allowed.
type Functions = HashMap<(DeviceId, &'static str), (CudaFunction, u32)>;
type Modules = HashMap<(DeviceId, &'static str), Arc<CudaModule>>;

/// A GPU by its number, with one stream for all threads. (candle's `new_cuda` has another stream for every thread, and work is
/// handed from thread to thread.)
///
/// # Errors
/// Whatever the driver says.
pub(crate) fn open(ordinal: usize) -> Result<Device> {
    let device = Device::new_cuda_with_stream(ordinal)?;
    if let Device::Cuda(cuda) = &device {
        // SAFETY: there is one stream, so that everything is in order without events; they would cost every tensor two.
        unsafe { cuda.disable_event_tracking() };
        keep_freed_memory(cuda.cuda_stream().context());
    }
    Ok(device)
}

/// Lets the driver keep what is freed for what is asked for next. Otherwise it gives everything back whenever the program waits
/// for the device, and each batch begins by mapping its memory anew. Where this is refused, it is only slower.
fn keep_freed_memory(context: &CudaContext) {
    if !context.has_async_alloc() {
        return;
    }
    let mut threshold = u64::MAX;
    // SAFETY: the pool is the device's own and lives as long as it; the attribute is a number of 64 bits.
    unsafe {
        if let Ok(pool) = result::device::get_default_mem_pool(context.cu_device()) {
            let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            let _only_slower = result::mem_pool::set_attribute(pool, attribute, (&raw mut threshold).cast());
        }
    }
}

/// The address of the first number of a contiguous tensor.
///
/// All work of a device goes through one stream, in order: what made these numbers comes before what is launched now, and
/// memory that is freed is freed behind it.
///
/// # Errors
/// A view that is not contiguous; a type that the kernels do not take.
pub(crate) fn address(storage: &CudaStorage, layout: &Layout) -> Result<u64> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("a kernel was given a view that is not contiguous, {layout:?}; call contiguous() before");
    };
    let stream = storage.device().cuda_stream();
    macro_rules! start_of {
        ($kind:ty) => {{
            let view = storage.as_cuda_slice::<$kind>()?.slice(start..end);
            view.device_ptr(&stream).0
        }};
    }
    Ok(match storage.dtype() {
        DType::F32 => start_of!(f32),
        DType::F16 => start_of!(half::f16),
        DType::U8 => start_of!(u8),
        DType::U32 => start_of!(u32),
        DType::F64 => start_of!(f64),
        other => bail!("kernels take f32, f16, f64, u32 and u8, not {other:?}"),
    })
}

/// The address of a contiguous tensor that an op keeps: its weights.
///
/// # Errors
/// As [`address`]; a tensor that is not on a GPU.
pub(crate) fn address_of(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => address(storage, layout),
        _ => bail!("an op's weights are not on the GPU where it is run"),
    }
}

/// Multiprocessors of a GPU.
///
/// # Errors
/// Whatever the driver says.
pub(crate) fn processors(device: &CudaDevice) -> Result<usize> {
    let count = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
    Ok(device.cuda_stream().context().attribute(count).w()?.max(1) as usize)
}

/// Memory for `len` numbers that a kernel will write, all of them.
///
/// # Errors
/// A device that is out of memory; a type that the kernels do not give.
pub(crate) fn output(device: &CudaDevice, dtype: DType, len: usize) -> Result<CudaStorage> {
    // SAFETY: the caller's kernel writes every number before anything reads one.
    unsafe {
        Ok(match dtype {
            DType::F32 => CudaStorage::wrap_cuda_slice(device.alloc::<f32>(len)?, device.clone()),
            DType::F16 => CudaStorage::wrap_cuda_slice(device.alloc::<half::f16>(len)?, device.clone()),
            DType::F64 => CudaStorage::wrap_cuda_slice(device.alloc::<f64>(len)?, device.clone()),
            other => bail!("kernels give f32, f16 and f64, not {other:?}"),
        })
    }
}

/// [`output`] on a tensor's device, with its own address.
///
/// # Errors
/// As [`output`].
pub(crate) fn output_like(storage: &CudaStorage, dtype: DType, len: usize) -> Result<(CudaStorage, u64)> {
    let out = output(storage.device(), dtype, len)?;
    let address = address(&out, &Layout::contiguous(len))?;
    Ok((out, address))
}

/// Puts launches on the device's stream, in order.
///
/// # Errors
/// Whatever the driver says, with the kernel's name.
///
/// # Safety
/// Every address is of this device, and of as many numbers as the kernel reads or writes there.
pub(crate) unsafe fn run(device: &CudaDevice, launches: &[Launch]) -> Result<()> {
    let stream = device.cuda_stream();
    for launch in launches {
        let function = function(device, launch)?;
        let mut arguments = stream.launch_builder(&function);
        for argument in &launch.arguments {
            use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
            match argument {
                Argument::Address(value) => arguments.arg(value),
                Argument::U32(value) => arguments.arg(value),
                Argument::F32(value) => arguments.arg(value),
                Argument::F64(value) => arguments.arg(value),
            };
        }
        let [x, y, z] = launch.grid;
        let config = LaunchConfig {
            grid_dim: (x, y, z),
            block_dim: (launch.threads, 1, 1),
            shared_mem_bytes: launch.shared_bytes,
        };
        // SAFETY: arguments are those of the kernel, in its order (the op's suite runs the same launch); addresses by the
        // caller.
        unsafe { arguments.launch(config) }.w()?;
    }
    Ok(())
}

/// The kernel, loaded once a device. A fatbin holds machine code, so nothing is compiled at a first call.
fn function(device: &CudaDevice, launch: &Launch) -> Result<CudaFunction> {
    static FUNCTIONS: OnceLock<Mutex<(Modules, Functions)>> = OnceLock::new();
    let loaded = FUNCTIONS.get_or_init(Mutex::default);
    let mut loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
    let (modules, functions) = &mut *loaded;
    let id = device.id();
    let known = functions.get(&(id, launch.kernel)).cloned();
    let (function, allowed) = match known {
        Some(known) => known,
        None => {
            let module = match modules.get(&(id, launch.op)) {
                Some(module) => module.clone(),
                None => {
                    let module = load(device, launch.op)?;
                    modules.insert((id, launch.op), module.clone());
                    module
                }
            };
            (module.load_function(launch.kernel).w()?, SHARED_WITHOUT_ASKING)
        }
    };
    if launch.shared_bytes > allowed {
        let most = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        function.set_attribute(most, launch.shared_bytes as i32).w()?;
    }
    functions.insert((id, launch.kernel), (function.clone(), allowed.max(launch.shared_bytes)));
    Ok(function)
}

/// An op's machine code.
fn load(device: &CudaDevice, op: &str) -> Result<Arc<CudaModule>> {
    let Some((_, fatbin)) = FATBINS.iter().find(|(name, _)| *name == op) else {
        bail!("there is no kernel file {op}.cu");
    };
    device.cuda_stream().context().load_module(Ptx::from_binary(fatbin.to_vec())).w()
}
