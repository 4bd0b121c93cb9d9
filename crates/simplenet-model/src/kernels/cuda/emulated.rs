//! Launches on the CPU, for tests without a GPU: the kernel's own text, compiled by the C++ compiler.

use candle_core::{DType, Tensor};
use half::f16;

use super::Launch;

/// The orders in which threads run between two barriers; a missing barrier shows in one of them. In even orders asynchronous
/// copies land as late as they may, in odd ones at once. None where kernels cannot be run here, which is said once.
pub(crate) fn orders() -> &'static [i32] {
    static SAID: std::sync::Once = std::sync::Once::new();
    match simplenet_cuda_emulator::unavailable() {
        None => &[0, 1, 2, 3],
        Some(reason) => {
            SAID.call_once(|| eprintln!("skipped: CUDA kernels are not run on the CPU: {reason}"));
            &[]
        }
    }
}

/// Memory for a kernel, with guards around it that it must leave as they are.
pub(crate) struct Memory {
    bytes: Vec<u128>,
    len: usize,
}

/// Words of 16 bytes before and behind.
const GUARD: usize = 4;
const GUARDED: u128 = 0xDEAD_BEEF_DEAD_BEEF_DEAD_BEEF_DEAD_BEEF;

impl Memory {
    /// The numbers of a contiguous tensor.
    pub(crate) fn of(tensor: &Tensor) -> Self {
        let flat = tensor.flatten_all().unwrap();
        match tensor.dtype() {
            DType::F32 => Self::of_slice(&flat.to_vec1::<f32>().unwrap()),
            DType::F16 => Self::of_slice(&flat.to_vec1::<f16>().unwrap()),
            DType::U8 => Self::of_slice(&flat.to_vec1::<u8>().unwrap()),
            DType::U32 => Self::of_slice(&flat.to_vec1::<u32>().unwrap()),
            DType::F64 => Self::of_slice(&flat.to_vec1::<f64>().unwrap()),
            other => panic!("{other:?}"),
        }
    }

    /// Plain numbers.
    pub(crate) fn of_slice<T: Copy>(numbers: &[T]) -> Self {
        let len = size_of_val(numbers);
        let mut memory = Self::filled(len);
        // SAFETY: `of` holds `len` bytes from its first guard on, and any bytes can be copied.
        unsafe {
            std::ptr::copy_nonoverlapping(numbers.as_ptr().cast::<u8>(), memory.start().cast::<u8>(), len);
        }
        memory
    }

    /// Room for `len` numbers, full of what is no number.
    pub(crate) fn room(len: usize, dtype: DType) -> Self {
        Self::filled(len * dtype.size_in_bytes())
    }

    fn filled(len: usize) -> Self {
        let mut bytes = vec![u128::MAX; len.div_ceil(16) + 2 * GUARD];
        let end = bytes.len() - GUARD;
        bytes[..GUARD].fill(GUARDED);
        bytes[end..].fill(GUARDED);
        Self { bytes, len }
    }

    fn start(&mut self) -> *mut u128 {
        self.bytes[GUARD..].as_mut_ptr()
    }

    /// What a launch is told.
    pub(crate) fn address(&mut self) -> u64 {
        self.start() as u64
    }

    /// What lies there, as plain numbers.
    ///
    /// # Panics
    /// When a kernel wrote outside of it.
    pub(crate) fn numbers<T: Copy>(&self) -> Vec<T> {
        let (front, back) = (&self.bytes[..GUARD], &self.bytes[self.bytes.len() - GUARD..]);
        assert!(
            front.iter().chain(back).all(|&guard| guard == GUARDED),
            "a kernel wrote outside of its memory"
        );
        let first = self.bytes[GUARD..].as_ptr().cast::<T>();
        // SAFETY: there are `len` bytes; 16 bytes of alignment are enough for any number, and any bits are one.
        (0..self.len / size_of::<T>()).map(|i| unsafe { *first.add(i) }).collect()
    }

    /// The same as f32, of f32 or f16.
    pub(crate) fn floats(&self, dtype: DType) -> Vec<f32> {
        match dtype {
            DType::F16 => self.numbers::<f16>().into_iter().map(f16::to_f32).collect(),
            _ => self.numbers(),
        }
    }
}

/// Runs an op of one input and one output of `len` numbers; its launches are given both addresses.
pub(crate) fn on_tensor(
    x: &Tensor,
    len: usize,
    dtype: DType,
    launches: impl FnOnce(u64, u64) -> Vec<Launch>,
    order: i32,
) -> Vec<f32> {
    on_tensors(&[x], len, dtype, |inputs, out| launches(inputs[0], out), order)
}

/// The same with several inputs; the launches are given their addresses in this order, and then the output's.
pub(crate) fn on_tensors(
    inputs: &[&Tensor],
    len: usize,
    dtype: DType,
    launches: impl FnOnce(&[u64], u64) -> Vec<Launch>,
    order: i32,
) -> Vec<f32> {
    let mut inputs: Vec<Memory> = inputs.iter().map(|tensor| Memory::of(tensor)).collect();
    let mut out = Memory::room(len, dtype);
    let addresses: Vec<u64> = inputs.iter_mut().map(Memory::address).collect();
    let launches = launches(&addresses, out.address());
    // SAFETY: the op's launches are for tensors of these sizes; guards show where they are not.
    unsafe { run(&launches, order) };
    out.floats(dtype)
}

/// Runs launches one after another, threads in this order.
///
/// # Safety
/// As `run` on a device: every address is of as many numbers as the kernel reads or writes there.
pub(crate) unsafe fn run(launches: &[Launch], order: i32) {
    for launch in launches {
        let mut arguments: Vec<_> = launch.arguments.iter().map(super::Argument::as_ptr).collect();
        // SAFETY: by the caller.
        unsafe {
            simplenet_cuda_emulator::launch(
                launch.kernel,
                launch.grid,
                launch.threads,
                launch.shared_bytes as usize,
                order,
                &mut arguments,
            );
        }
    }
}
