//! Several photographs at once: each thread takes one at a time, from its file to the end, so that none waits for
//! another. `infer` works so, and `bench` measures it.

use std::{
    collections::BTreeMap,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::sync_channel,
    },
};

use crate::error::CliError;

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
    std::thread::scope(|scope| {
        let (sender, results) = sync_channel(threads);
        for pool in &pools {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(task) = tasks.get(index) else { break };
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
            }
        }
        Ok(())
    })
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
}
