//! Memory that was freed but that the C library keeps for later. In: nothing. Out: less resident memory.

/// Gives memory that is free in the process's heap back to the system, so that what is resident afterwards is in use. Does
/// nothing where the C library is not glibc. It costs milliseconds: call it between pieces of work, to measure each.
pub fn release_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim may be called at any time, from any thread: it takes the heap's own locks, and touches no memory that is
    // in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
