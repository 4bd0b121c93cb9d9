//! How long this thread computes before others that want its CPU get their turn. In: nothing. Out: shorter turns, where the
//! kernel has them (Linux from 6.12 on); nothing elsewhere.

/// Asks for turns of 0.1 ms, for this thread and those that it starts afterwards, instead of a few milliseconds.
///
/// A thread gets as much of a CPU as before, in shorter pieces, and so waits less for each. Threads that compute an image
/// together wait for each other: where other programs keep the CPUs busy, an image then takes less time, and its worst
/// times come closer to the usual ones. A program calls this once, before it starts threads.
pub fn prefer_short_time_slices() {
    #[cfg(all(target_os = "linux", not(miri)))]
    // Of the other policies `sched_runtime` is something else, or none of our business.
    if let Some(mut attributes) = attributes().filter(|a| a.sched_policy == libc::SCHED_OTHER as u32) {
        attributes.sched_runtime = SLICE;
        // SAFETY: the call is given a `sched_attr` of this thread's own.
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    }
}

/// Nanoseconds of a turn.
#[cfg(all(target_os = "linux", not(miri)))]
const SLICE: u64 = 100_000;

/// How this thread is scheduled.
#[cfg(all(target_os = "linux", not(miri)))]
fn attributes() -> Option<libc::sched_attr> {
    let size = size_of::<libc::sched_attr>() as u32;
    // SAFETY: all zeros are a `sched_attr`; the call is given it with its size.
    unsafe {
        let mut attributes: libc::sched_attr = std::mem::zeroed();
        (libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) == 0).then_some(attributes)
    }
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn turns_are_short_and_the_priority_stays() {
        // On a thread of its own, which a person has given a lower priority.
        let ran = std::thread::spawn(|| {
            // SAFETY: takes numbers only; of this thread.
            unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 5) };
            prefer_short_time_slices();
            attributes().map(|a| (a.sched_policy, a.sched_nice, a.sched_runtime))
        });
        let (policy, nice, slice) = ran.join().unwrap().unwrap();
        assert_eq!((policy, nice), (libc::SCHED_OTHER as u32, 5));
        // Before 6.12 Linux tells none.
        assert!(slice == SLICE || slice == 0, "{slice} ns");
    }
}
