//! Keeps helping threads off the processor of the thread that they help.
//!
//! In a virtual machine the host takes idle processors away, and Linux then does not count them as idle: after a pause of
//! 20 ms or more it wakes a helper on the very processor that is busy with the leader, and moves it milliseconds later.
//! A helper is of no use there, so it is told never to run on it. Where the system cannot be asked, nothing is done.

#[cfg(target_os = "linux")]
mod linux {
    use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};

    /// A thread that can be told where not to run.
    #[derive(Debug, Clone)]
    pub(crate) struct Placed {
        thread: Pid,
        /// Where it may run at all.
        allowed: CpuSet,
    }

    /// The processor of this thread.
    pub(crate) fn current() -> usize {
        sched_getcpu()
    }

    impl Placed {
        /// This thread.
        pub(crate) fn this() -> Option<Self> {
            Some(Self { thread: gettid(), allowed: sched_getaffinity(None).ok()? })
        }

        /// Keeps it off a processor, as long as another one is left.
        pub(crate) fn keep_off(&self, processor: usize) {
            let mut left = self.allowed;
            if processor < CpuSet::MAX_CPU {
                left.unset(processor);
            }
            if left.count() > 0 {
                // Only a wish: where it is refused, the helper comes later.
                let _granted = sched_setaffinity(Some(self.thread), &left);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    /// A thread; there is nothing to tell it.
    #[derive(Debug, Clone)]
    pub(crate) struct Placed;

    pub(crate) fn current() -> usize {
        0
    }

    impl Placed {
        pub(crate) fn this() -> Option<Self> {
            None
        }

        pub(crate) fn keep_off(&self, _: usize) {}
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::{Placed, current};
#[cfg(target_os = "linux")]
pub(crate) use linux::{Placed, current};

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_leaves_the_processor_that_it_is_kept_off() {
        std::thread::spawn(|| {
            let this = Placed::this().unwrap();
            for _ in 0..20 {
                let here = current();
                this.keep_off(here);
                // With a single processor it stays.
                assert!(current() != here || std::thread::available_parallelism().unwrap().get() == 1);
            }
        })
        .join()
        .unwrap();
    }
}
