//! Runs the CUDA kernels of simplenet-model on the CPU: for tests of their logic without a GPU.
//!
//! In: a kernel's name, its grid and its arguments, as a driver is told them. Out: what the kernel wrote. Every CUDA thread
//! is a fibre, one block runs after another; `cuda_emu.h` says what is checked.

use std::ffi::c_void;

/// Why kernels cannot be run on this machine, if they cannot.
pub fn unavailable() -> Option<&'static str> {
    if cfg!(emulator) {
        None
    } else {
        Some("this was built without a C++20 compiler (install g++ 10 or newer)")
    }
}

/// Runs a kernel. `order` is the order in which threads run between barriers: 0 upwards, 1 downwards, another number is the
/// seed of a shuffle; in order 2 warps go side by side, in the others one after another, as far as barriers let them. One
/// launch runs at a time.
///
/// # Panics
/// A kernel that does not exist; a machine without the emulator. The process ends, with a message, where not every
/// thread reaches a barrier.
///
/// # Safety
/// `arguments` point to the kernel's parameters, of its types and in its order, and the addresses among them to as many
/// numbers as it reads or writes.
pub unsafe fn launch(
    kernel: &str,
    grid: [u32; 3],
    threads: u32,
    shared_bytes: usize,
    order: i32,
    arguments: &mut [*mut c_void],
) {
    #[cfg(emulator)]
    {
        use std::{
            ffi::{CString, c_char, c_int, c_uint},
            sync::{Mutex, PoisonError},
        };
        unsafe extern "C" {
            fn emu_launch(
                name: *const c_char,
                grid: *const c_uint,
                threads: c_uint,
                shared: usize,
                order: c_int,
                arguments: *mut *mut c_void,
            ) -> c_int;
        }
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let name = CString::new(kernel).unwrap_or_default();
        // SAFETY: by the caller; the emulator's state is one launch's at a time.
        let missing = unsafe {
            emu_launch(name.as_ptr(), grid.as_ptr(), threads, shared_bytes, order, arguments.as_mut_ptr())
        };
        assert!(missing == 0, "there is no kernel {kernel}");
    }
    #[cfg(not(emulator))]
    {
        let _ = (grid, threads, shared_bytes, order, arguments);
        assert!(unavailable().is_none(), "{kernel}: {}", unavailable().unwrap_or_default());
    }
}
