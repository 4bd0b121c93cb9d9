//! Work on numbered items ahead of whoever takes the results, on all cores, in order.
//!
//! In: a number of items and a function of an item's number. Out: an iterator over the results in the order of the
//! numbers, whatever the thread count. No more than the look-ahead are worked on or wait at a time.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

/// An iterator over the results of work done ahead; see [`Ahead::new`].
pub struct Ahead<T> {
    job: Arc<Job<T>>,
    items: usize,
    look_ahead: usize,
    /// The next item to start on.
    next: usize,
    /// Results to come, in order.
    pending: VecDeque<Receiver<T>>,
}

struct Job<T> {
    work: Box<dyn Fn(usize) -> T + Send + Sync>,
    cancelled: AtomicBool,
}

/// The task of an item ended without a result: it panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// The item.
    pub index: usize,
}

impl<T: Send + 'static> Ahead<T> {
    /// Starts on the first items at once, on rayon's threads. A look-ahead of 0 is twice the number of threads.
    pub fn new(items: usize, look_ahead: usize, work: impl Fn(usize) -> T + Send + Sync + 'static) -> Self {
        let look_ahead = match look_ahead {
            0 => 2 * rayon::current_num_threads(),
            chosen => chosen,
        };
        let job = Arc::new(Job { work: Box::new(work), cancelled: AtomicBool::new(false) });
        let mut ahead = Self { job, items, look_ahead, next: 0, pending: VecDeque::new() };
        ahead.fill();
        ahead
    }

    fn fill(&mut self) {
        while self.pending.len() < self.look_ahead && self.next < self.items {
            let (job, index) = (Arc::clone(&self.job), self.next);
            let (sender, receiver) = sync_channel(1);
            rayon::spawn(move || {
                if !job.cancelled.load(Ordering::Relaxed) {
                    // The receiver is gone when the iterator was dropped meanwhile: nobody wants the result.
                    let _ = sender.send((job.work)(index));
                }
            });
            self.pending.push_back(receiver);
            self.next += 1;
        }
    }
}

impl<T: Send + 'static> Iterator for Ahead<T> {
    type Item = Result<T, Lost>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next - self.pending.len();
        let receiver = self.pending.pop_front()?;
        let result = wait(&receiver).ok_or(Lost { index });
        self.fill();
        Some(result)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.pending.len() + self.items - self.next;
        (left, Some(left))
    }
}

impl<T: Send + 'static> ExactSizeIterator for Ahead<T> {}

impl<T> Drop for Ahead<T> {
    fn drop(&mut self) {
        self.job.cancelled.store(true, Ordering::Relaxed);
    }
}

impl<T> fmt::Debug for Ahead<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { items, look_ahead, next, pending, .. } = self;
        write!(
            f,
            "Ahead {{ items: {items}, look_ahead: {look_ahead}, next: {next}, pending: {} }}",
            pending.len()
        )
    }
}

/// Waits for a result; `None` when its task ended without one. On one of rayon's own threads it works on waiting
/// tasks instead of sleeping: with one thread nobody else would.
fn wait<T>(receiver: &Receiver<T>) -> Option<T> {
    loop {
        match receiver.try_recv() {
            Ok(result) => return Some(result),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => match rayon::yield_now() {
                None => return receiver.recv().ok(),
                Some(rayon::Yield::Executed) => {}
                Some(rayon::Yield::Idle) => std::thread::yield_now(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    #[test]
    fn in_order_and_never_more_than_the_look_ahead() {
        for look_ahead in [0, 1, 3, 100] {
            let started = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&started);
            let mut ahead = Ahead::new(12, look_ahead, move |index| {
                count.fetch_add(1, Ordering::SeqCst);
                // Earlier items take longer, so that later ones are ready first.
                std::thread::sleep(Duration::from_millis(12 - index as u64));
                index
            });
            for index in 0..12 {
                assert_eq!(ahead.len(), 12 - index);
                let most =
                    index + if look_ahead == 0 { 2 * rayon::current_num_threads() } else { look_ahead };
                assert!(started.load(Ordering::SeqCst) <= most, "look-ahead {look_ahead}, item {index}");
                assert_eq!(ahead.next(), Some(Ok(index)));
            }
            assert!(ahead.next().is_none() && ahead.next().is_none());
        }
    }

    #[test]
    fn works_on_the_only_thread_of_a_pool_and_when_dropped_in_the_middle() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let taken: Vec<usize> =
            pool.install(|| Ahead::new(9, 2, |i| i * i).take(5).map(Result::unwrap).collect());
        assert_eq!(taken, [0, 1, 4, 9, 16]);
    }
}
