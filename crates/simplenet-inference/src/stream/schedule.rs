//! Who works on what, and when: tasks from an iterator through several threads, their results in order.
//!
//! Each of as many threads as rayon has takes one task at a time. Work that can be done in batches leaves its thread half way: one
//! thread more runs the batches, and whoever is free finishes them. Results are handed over in order, so early ones wait
//! for a slow one. How many may wait is bounded ([`AHEAD`]): threads rest rather than fill the memory with results behind one
//! task that hangs.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::error::InferenceError;

/// How far tasks may be begun ahead of the oldest result that is not there yet: tasks per thread.
pub(super) const AHEAD: usize = 4;
/// And batches, where there are any: one that runs, one that is gathered.
const BATCHES_AHEAD: usize = 2;
/// How long a batch that is not full waits for more.
const GATHERING: Duration = Duration::from_millis(50);

/// What is done with a task.
pub(super) trait Work<T>: Sync {
    /// What waits for its batch.
    type Ready: Send;
    /// What comes out of it.
    type Scored: Send;
    /// What is handed over.
    type Result: Send;

    /// The largest batch; none where [`Work::begin`] does everything.
    fn batch(&self) -> Option<usize>;
    /// The first half, or all of it.
    fn begin(&self, task: &T) -> Step<Self::Ready, Self::Result>;
    /// The middle of several tasks at once, in any order; gives one each, in theirs.
    ///
    /// # Errors
    /// What ends the work.
    fn run(&self, batch: Vec<Self::Ready>) -> Result<Vec<Self::Scored>, InferenceError>;
    /// The second half.
    fn end(&self, task: &T, scored: Self::Scored) -> Self::Result;
}

/// How far a task has come.
pub(super) enum Step<M, R> {
    /// To its result.
    Done(R),
    /// To the batch.
    Network(M),
}

/// Does `work` on all tasks and hands the results over in the tasks' order, on the calling thread.
///
/// # Errors
/// The first error of `on_result` or of a batch, after which no new task is begun; threads that cannot be started.
pub(super) fn in_order<T: Send, I: Iterator<Item = T> + Send, W: Work<T>, E: From<InferenceError>>(
    tasks: I,
    work: &W,
    mut on_result: impl FnMut(T, W::Result) -> Result<(), E>,
) -> Result<(), E> {
    let threads = rayon::current_num_threads().min(tasks.size_hint().1.unwrap_or(usize::MAX));
    if threads < 2 && work.batch().is_none() {
        for task in tasks {
            if let Step::Done(result) = work.begin(&task) {
                on_result(task, result)?;
            }
        }
        return Ok(());
    }
    // While one waits for the next task, another finishes what a batch has given.
    let threads = threads.max(if work.batch().is_some() { 2 } else { 1 });
    let one_thread = || rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pools = (0..threads).map(|_| one_thread()).collect::<Result<Vec<_>, _>>();
    let pools = pools.map_err(|e| InferenceError::Threads { count: threads, reason: e.to_string() })?;
    let window = AHEAD * threads + work.batch().map_or(0, |batch| BATCHES_AHEAD * batch);
    let board = Board { window, tasks: Mutex::new(tasks), state: Mutex::default(), changed: Condvar::new() };
    std::thread::scope(|scope| {
        let board = &board;
        // Also where a result is fatal or a panic unwinds: threads that rest must wake up to end.
        let _closed_at_last = CloseOnDrop(board);
        let mut workers: Vec<_> =
            pools.iter().map(|pool| scope.spawn(|| pool.install(|| board.work(work)))).collect();
        if work.batch().is_some() {
            workers.push(scope.spawn(|| board.run_batches(work)));
        }
        while let Some((task, result)) = board.due_result() {
            on_result(task, result)?;
            board.change(|state| state.due += 1);
        }
        board.change(|state| state.closed = true);
        workers.into_iter().for_each(join);
        board.lock().failed.take().map_or(Ok(()), |error| Err(error.into()))
    })
}

fn join(thread: std::thread::ScopedJoinHandle<'_, ()>) {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Where the threads see what there is to do.
struct Board<T, I, W: Work<T>> {
    /// Tasks less than so many after the one that is due may be begun.
    window: usize,
    tasks: Mutex<I>,
    state: Mutex<StateOf<T, W>>,
    changed: Condvar,
}

type StateOf<T, W> = State<T, <W as Work<T>>::Ready, <W as Work<T>>::Scored, <W as Work<T>>::Result>;

struct State<T, M, S, R> {
    /// The task whose result is due.
    due: usize,
    /// Tasks that were begun.
    begun: usize,
    /// Whether a thread waits for the next task, which may take its time to come.
    asking: bool,
    /// Whether there are no more tasks.
    exhausted: bool,
    /// Tasks in their first half.
    beginning: usize,
    /// Tasks without their result.
    unfinished: usize,
    /// Those that wait for their batch, and since when the oldest does.
    ready: VecDeque<(usize, T, M)>,
    since: Option<Instant>,
    scored: VecDeque<(usize, T, S)>,
    results: BTreeMap<usize, (T, R)>,
    /// Whether nothing is to be begun any more.
    closed: bool,
    /// Why, where a batch is.
    failed: Option<InferenceError>,
}

impl<T, M, S, R> Default for State<T, M, S, R> {
    fn default() -> Self {
        Self {
            due: 0,
            begun: 0,
            asking: false,
            exhausted: false,
            beginning: 0,
            unfinished: 0,
            ready: VecDeque::new(),
            since: None,
            scored: VecDeque::new(),
            results: BTreeMap::new(),
            closed: false,
            failed: None,
        }
    }
}

/// What a thread does next.
enum Next<T, S> {
    Ask,
    End(usize, T, S),
}

impl<T, I: Iterator<Item = T>, W: Work<T>> Board<T, I, W> {
    /// One thread's part.
    fn work(&self, work: &W) {
        let _others_end_too = CloseOnPanic(self);
        while let Some(next) = self.next() {
            match next {
                Next::Ask => self.begin(work),
                Next::End(index, task, scored) => {
                    let result = work.end(&task, scored);
                    self.change(|state| state.finish(index, task, result));
                }
            }
        }
    }

    /// Waits for something to do; none when everything is done.
    fn next(&self) -> Option<Next<T, W::Scored>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some((index, task, scored)) = state.scored.pop_front() {
                return Some(Next::End(index, task, scored));
            }
            if !state.asking && state.may_begin(self.window) {
                state.asking = true;
                return Some(Next::Ask);
            }
            if state.exhausted && state.unfinished == 0 {
                return None;
            }
            state = self.wait(state);
        }
    }

    /// Asks for a task and does its first half.
    fn begin(&self, work: &W) {
        let task = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
        let begun = self.change(|state| {
            state.asking = false;
            // It may have come long after the end was called for.
            let task = task.filter(|_| !state.closed);
            let index = state.begun;
            match &task {
                Some(_) => {
                    state.begun += 1;
                    state.beginning += 1;
                    state.unfinished += 1;
                }
                None => state.exhausted = true,
            }
            task.map(|task| (index, task))
        });
        let Some((index, task)) = begun else { return };
        let step = work.begin(&task);
        self.change(|state| {
            state.beginning -= 1;
            match step {
                Step::Done(result) => state.finish(index, task, result),
                Step::Network(ready) => {
                    state.since.get_or_insert_with(Instant::now);
                    state.ready.push_back((index, task, ready));
                }
            }
        });
    }

    /// The part of the thread that runs batches.
    fn run_batches(&self, work: &W) {
        let _others_end_too = CloseOnPanic(self);
        while let Some(batch) = self.gather(work.batch().unwrap_or(1)) {
            let (tasks, ready): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|(index, task, ready)| ((index, task), ready)).unzip();
            match work.run(ready) {
                Ok(scored) => self.change(|state| {
                    let scored = tasks.into_iter().zip(scored);
                    state.scored.extend(scored.map(|((index, task), scored)| (index, task, scored)));
                }),
                Err(error) => {
                    return self.change(|state| {
                        state.failed = Some(error);
                        state.closed = true;
                    });
                }
            }
        }
    }

    /// Waits for a batch: a full one, or what there is when no more will come or none has come for a while.
    fn gather(&self, batch: usize) -> Option<Vec<(usize, T, W::Ready)>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let more = state.beginning > 0 || state.asking || state.may_begin(self.window);
            let waited = state.since.map_or(Duration::ZERO, |since| since.elapsed());
            let enough = state.ready.len() >= batch || !more || waited >= GATHERING;
            if enough && !state.ready.is_empty() {
                let batch = batch.min(state.ready.len());
                let gathered = state.ready.drain(..batch).collect();
                state.since = (!state.ready.is_empty()).then(Instant::now);
                return Some(gathered);
            }
            if state.exhausted && state.beginning == 0 && state.ready.is_empty() {
                return None;
            }
            state = match state.since {
                Some(_) => self.wait_for(state, GATHERING - waited.min(GATHERING)),
                None => self.wait(state),
            };
        }
    }

    /// Waits for the result that is due; none where there are no more, or will be none.
    fn due_result(&self) -> Option<(T, W::Result)> {
        let mut state = self.lock();
        loop {
            let due = state.due;
            if let Some(result) = state.results.remove(&due) {
                return Some(result);
            }
            if state.closed || (state.exhausted && due == state.begun) {
                return None;
            }
            state = self.wait(state);
        }
    }

    fn change<R>(&self, change: impl FnOnce(&mut StateOf<T, W>) -> R) -> R {
        let changed = change(&mut self.lock());
        self.changed.notify_all();
        changed
    }

    fn lock(&self) -> MutexGuard<'_, StateOf<T, W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a, S>(&self, state: MutexGuard<'a, S>) -> MutexGuard<'a, S> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for<'a, S>(&self, state: MutexGuard<'a, S>, most: Duration) -> MutexGuard<'a, S> {
        self.changed.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner).0
    }
}

impl<T, M, S, R> State<T, M, S, R> {
    fn may_begin(&self, window: usize) -> bool {
        !self.exhausted && self.begun < self.due + window
    }

    fn finish(&mut self, index: usize, task: T, result: R) {
        self.unfinished -= 1;
        self.results.insert(index, (task, result));
    }
}

/// Ends the work of all threads when the calling one leaves it.
struct CloseOnDrop<'a, T, I: Iterator<Item = T>, W: Work<T>>(&'a Board<T, I, W>);

impl<T, I: Iterator<Item = T>, W: Work<T>> Drop for CloseOnDrop<'_, T, I, W> {
    fn drop(&mut self) {
        self.0.change(|state| state.closed = true);
    }
}

/// Ends the work of the others where one thread panics: its result would be waited for without end.
struct CloseOnPanic<'a, T, I: Iterator<Item = T>, W: Work<T>>(&'a Board<T, I, W>);

impl<T, I: Iterator<Item = T>, W: Work<T>> Drop for CloseOnPanic<'_, T, I, W> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.change(|state| state.closed = true);
        }
    }
}

#[cfg(test)]
mod tests;
