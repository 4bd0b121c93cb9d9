//! Several photographs at once: each thread takes one at a time, from its file to the end, so that none waits for
//! another. `infer` works so, and `bench` measures it.
//!
//! Results are handed over in order, so early ones wait for a slow one. How many may wait is bounded ([`AHEAD`] per thread):
//! threads rest rather than fill the memory with results behind one file that hangs.

use std::{
    collections::BTreeMap,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::sync_channel,
    },
};

use crate::error::CliError;

/// How far a thread may be ahead of the oldest result that is not there yet: tasks per thread.
pub const AHEAD: usize = 4;

/// Does `work` on all tasks and hands the results over in the tasks' order, on the calling thread. One task alone gets
/// all threads; of several, each is one thread's.
///
/// # Errors
/// The first error of `on_result`, after which no new task is begun; threads that cannot be started.
pub fn in_order<T: Sync, R: Send>(
    tasks: &[T],
    work: impl Fn(&T) -> R + Sync,
    mut on_result: impl FnMut(&T, R) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let threads = rayon::current_num_threads().min(tasks.len());
    if threads < 2 {
        return tasks.iter().try_for_each(|task| on_result(task, work(task)));
    }
    let one_thread = || rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pools = (0..threads).map(|_| one_thread()).collect::<Result<Vec<_>, _>>();
    let pools = pools.map_err(|e| CliError::Usage(format!("cannot start {threads} threads: {e}")))?;
    let next = AtomicUsize::new(0);
    let window = Window::new(AHEAD * threads);
    std::thread::scope(|scope| {
        // Also where a result is fatal or a panic unwinds: threads that rest must wake up to end.
        let _closed_at_last = CloseOnDrop(&window);
        let (sender, results) = sync_channel(threads);
        for pool in &pools {
            let (sender, next, work, window) = (sender.clone(), &next, &work, &window);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(task) = tasks.get(index).filter(|_| window.wait_for(index)) else { break };
                    // Nobody receives any more once a result was fatal.
                    if sender.send((index, pool.install(|| work(task)))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut due = 0;
        for (index, result) in results {
            early.insert(index, result);
            while let Some(result) = early.remove(&due) {
                on_result(&tasks[due], result)?;
                due += 1;
                window.move_to(due);
            }
        }
        Ok(())
    })
}

/// Which tasks may be begun: those less than `size` after the one that is due.
struct Window {
    size: usize,
    /// The task whose result is due; none once no task is to be begun any more.
    due: Mutex<Option<usize>>,
    moved: Condvar,
}

impl Window {
    fn new(size: usize) -> Self {
        Self { size, due: Mutex::new(Some(0)), moved: Condvar::new() }
    }

    /// Rests until this task may be begun; `false` where it is not to be.
    fn wait_for(&self, index: usize) -> bool {
        let early = |due: &mut Option<usize>| due.is_some_and(|due| index >= due + self.size);
        let due = self.moved.wait_while(self.lock(), early);
        due.unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn move_to(&self, due: usize) {
        *self.lock() = Some(due);
        self.moved.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Option<usize>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct CloseOnDrop<'a>(&'a Window);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
        self.0.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
    }

    #[test]
    fn results_come_in_order_whoever_is_first() {
        for (threads, count) in [(1, 5), (2, 0), (3, 1), (3, 2), (4, 60)] {
            let tasks: Vec<u64> = (0..count).collect();
            let slow_first = |&task: &u64| {
                std::thread::sleep(std::time::Duration::from_micros(500 * (count - task) % 1500));
                10 * task
            };
            let mut got = vec![];
            with_threads(threads, || {
                in_order(&tasks, slow_first, |&task, result| {
                    got.push((task, result));
                    Ok(())
                })
            })
            .unwrap();
            let want: Vec<(u64, u64)> = tasks.iter().map(|&task| (task, 10 * task)).collect();
            assert_eq!(got, want, "{threads} threads, {count} tasks");
        }
    }

    #[test]
    fn an_error_ends_the_work() {
        let tasks: Vec<usize> = (0..10_000).collect();
        let begun = AtomicUsize::new(0);
        let work = |_: &usize| {
            begun.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(1));
        };
        let fails = |&task: &usize, ()| match task {
            4 => Err(CliError::Usage("four".into())),
            _ => Ok(()),
        };
        let result = with_threads(3, || in_order(&tasks, work, fails));
        assert_eq!(result.unwrap_err().to_string(), "four");
        let begun = begun.into_inner();
        assert!(begun < tasks.len(), "all {begun} tasks were begun");
    }

    #[test]
    fn a_stuck_task_holds_the_others_back() {
        const THREADS: usize = 3;
        let tasks: Vec<usize> = (0..200).collect();
        let begun = AtomicUsize::new(0);
        let work = |&task: &usize| {
            let number = begun.fetch_add(1, Ordering::Relaxed);
            if task == 0 {
                // Long enough for the others to run through all tasks if nothing held them.
                std::thread::sleep(std::time::Duration::from_millis(200));
                return begun.load(Ordering::Relaxed);
            }
            number
        };
        let mut begun_behind_the_first = 0;
        with_threads(THREADS, || {
            in_order(&tasks, work, |&task, result| {
                if task == 0 {
                    begun_behind_the_first = result;
                }
                Ok(())
            })
        })
        .unwrap();
        assert_eq!(begun_behind_the_first, AHEAD * THREADS);
        assert_eq!(begun.into_inner(), tasks.len());
    }
}
