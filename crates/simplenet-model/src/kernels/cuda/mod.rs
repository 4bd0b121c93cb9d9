//! What all CUDA kernels share on the host's side. In: a [`Launch`], made by an op. Out: a run of its kernel, on a GPU (feature
//! `cuda`) or, in tests without one, on the CPU by `tests/cuda-emulator`.
//!
//! An op's `cuda.rs` turns shapes and addresses into launches and knows nothing of where they run; so the tests check it
//! together with the kernel. Addresses are the device's, or the host's in the emulator.

#[cfg(feature = "cuda")]
mod device;
#[cfg(test)]
pub(crate) mod emulated;

#[cfg(feature = "cuda")]
pub(crate) use device::{address, address_of, open, output_like, processors, run};

/// One run of a kernel: what the driver is told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Launch {
    /// The op whose `.cu` holds the kernel: the name of its folder.
    pub(crate) op: &'static str,
    /// The kernel's name, as in its `KERNEL(threads, name)`.
    pub(crate) kernel: &'static str,
    /// Blocks along x, y and z.
    pub(crate) grid: [u32; 3],
    /// Threads of a block, along x.
    pub(crate) threads: u32,
    /// Bytes of dynamic shared memory of a block.
    pub(crate) shared_bytes: u32,
    /// What the kernel is given, in the order of its parameters and of their types.
    pub(crate) arguments: Vec<Argument>,
}

/// One parameter of a kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Argument {
    /// A pointer; 0 is null.
    Address(u64),
    U32(u32),
    F32(f32),
    F64(f64),
}

#[cfg(test)]
impl Argument {
    /// Where its bytes lie, as a launch is told.
    #[cfg(test)]
    fn as_ptr(&self) -> *mut std::ffi::c_void {
        match self {
            Self::Address(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Self::U32(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Self::F32(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Self::F64(value) => std::ptr::from_ref(value).cast_mut().cast(),
        }
    }
}

/// A count or an index as kernels take it.
///
/// # Panics
/// Above 2³¹ − 1: every entry point checks its sizes by [`check_len`] first.
pub(crate) fn u32_of(n: usize) -> Argument {
    debug_assert!(n <= i32::MAX as usize, "{n} is checked by the entry point");
    Argument::U32(n as u32)
}

/// Blocks of so many threads for so many pieces of work, when a kernel's threads stride over what is left.
pub(crate) fn blocks(pieces: usize, threads: u32) -> u32 {
    /// Several for every place on a large GPU (132 multiprocessors of 8 blocks of 256 threads): more would only begin and end.
    const MOST: usize = 4096;
    pieces.div_ceil(threads as usize).clamp(1, MOST) as u32
}

/// Refuses tensors that kernels cannot index: they count in 31 bits.
///
/// # Errors
/// Says what is too large, and to take smaller batches.
pub(crate) fn check_len(what: &'static str, len: usize) -> candle_core::Result<()> {
    if len > i32::MAX as usize {
        candle_core::bail!(
            "{what}: {len} numbers are more than a kernel can count, {}; take fewer images at once",
            i32::MAX
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_cannot_count_is_refused() {
        assert!(check_len("maps", i32::MAX as usize).is_ok());
        let error = check_len("maps", i32::MAX as usize + 1).unwrap_err().to_string();
        assert!(error.contains("maps") && error.contains("fewer images"), "{error}");
    }

    #[test]
    fn blocks_are_enough_for_all_and_never_too_many() {
        for (pieces, blocks_of_256) in
            [(0, 1), (1, 1), (256, 1), (257, 2), (4096 * 256, 4096), (usize::MAX, 4096)]
        {
            assert_eq!(blocks(pieces, 256), blocks_of_256, "{pieces}");
        }
    }
}
