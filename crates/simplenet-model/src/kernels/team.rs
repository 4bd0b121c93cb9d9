//! Threads that stay together for a whole network: one wake-up an image, not one a layer.
//!
//! A network is a few dozen steps of a tenth of a millisecond. Handing each to a thread pool by itself lets the other
//! threads fall asleep in between, and waking one takes as long as the step.
//!
//! So the thread that runs the network leads: it publishes one job after the other, each a number of tasks, and takes
//! tasks itself. Helpers join once and take tasks of whatever job is out. The leader waits only for tasks that a helper has
//! begun. If no helper comes, because all help elsewhere, it does all of them: there is nothing to deadlock on. Which
//! thread runs a task changes nothing.
//!
//! Whoever waits spins for a moment and then sleeps until it is woken. Where other programs want the same CPUs that
//! matters: a thread that spins uses up its share of one while its partner waits for another, and is sent away when that one
//! comes back; a thread that sleeps keeps its share, is woken at once, and both then run at the same time. Nobody waits for
//! a helper that has no task, at the end of a run neither.
//!
//! Helpers are threads of their own, as many as the caller's rayon pool has threads besides one, and not rayon's: after a
//! pause of 100 ms a worker of rayon joined 1 to 5 ms late on the project's machine (two virtual CPUs, one of them
//! busy with the leader; the kernel woke the worker that had last run on that one), a parked thread after 20 µs.
//! EfficientNet-Lite0 then took 5.4 ms, which is what one thread takes.

use std::{
    cell::UnsafeCell,
    hint::spin_loop,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::Thread,
    time::{Duration, Instant},
};

use super::time_slice::prefer_short_time_slices;

/// A state is (generation, end, next task), so that one exchange takes a task of just the job that was seen. The leader
/// takes from the front and helpers from the end: of two threads each gets about the same half of every layer, whose
/// inputs it has just written into its own cache.
const FIELD: u32 = 21;
const MASK: u64 = (1 << FIELD) - 1;
/// No further job will come.
const FINISHED: u64 = u64::MAX;
/// How long a thread that waits spins before it sleeps. Most of the work that one thread of a team does while another waits
/// is shorter; waking a thread takes about a quarter of it.
const PATIENCE: Duration = Duration::from_micros(200);

/// Where a task is taken from.
#[derive(Debug, Clone, Copy)]
enum End {
    Front,
    Back,
}

/// A job: what to do with each task's number.
type Job<'a> = &'a (dyn Fn(usize) + Sync);

/// The leader's side of a team; see the module.
///
/// Jobs are published through `&mut`: while one runs, nobody else has the team, so no task can publish a job of its own,
/// on this thread or on another. `with_team(|team| team.for_each(2, |_| team.for_each(2, |_| {})))` does not compile: two
/// closures need the team as their own at the same time (E0499, E0500).
pub(crate) struct Team<'a> {
    shared: &'a Shared,
    helpers: &'a [&'static Helper],
    threads: usize,
    /// It stays on the thread that made it, which is the one that helpers wake: it is neither `Send` nor `Sync`.
    of_this_thread: PhantomData<*const ()>,
}

/// What leader and helpers look at.
struct Shared {
    state: AtomicU64,
    /// The job that `state` speaks of; written by the leader while there is none.
    job: UnsafeCell<Option<Job<'static>>>,
    /// Tasks of the job, and how many of them are done.
    tasks: AtomicUsize,
    done: AtomicUsize,
    panicked: AtomicBool,
    leader: Sleeper,
}

// SAFETY: `job` is written by the leader only, before it publishes the job's state (release) and after all tasks of the
// job before are done (acquire); helpers read it only while they hold a task, hence between those two. There is one
// leader: `Team` is made once for a `Shared`, and whoever publishes holds it as `&mut` until the job's tasks are done.
unsafe impl Sync for Shared {}

/// A thread that may sleep until something has happened.
struct Sleeper {
    thread: Thread,
    asleep: AtomicBool,
}

impl Sleeper {
    fn this() -> Self {
        Self { thread: std::thread::current(), asleep: AtomicBool::new(false) }
    }

    /// Waits, as the thread that it is of. Whoever makes `ready` true calls [`Sleeper::wake`] afterwards; both sides are
    /// sequentially consistent, so that one of them sees the other.
    fn wait_until(&self, ready: impl Fn() -> bool) {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            // How long a turn takes differs between CPUs by ten times; reading the clock takes as long as one or two.
            for _ in 0..20 {
                if ready() {
                    return;
                }
                spin_loop();
            }
        }
        while !ready() {
            self.asleep.store(true, Ordering::SeqCst);
            if !ready() {
                std::thread::park();
            }
            self.asleep.store(false, Ordering::SeqCst);
        }
    }

    fn wake(&self) {
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }
}

/// A thread that helps whoever asks; it lives as long as the program.
struct Helper {
    /// The team that it is to help next, until it joins.
    offer: Mutex<Option<Arc<Shared>>>,
    offered: AtomicBool,
    sleeper: Sleeper,
}

/// All helpers, and those that nobody has asked.
struct Helpers {
    count: usize,
    idle: Vec<&'static Helper>,
}

static HELPERS: Mutex<Helpers> = Mutex::new(Helpers { count: 0, idle: Vec::new() });

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Helpers {
    /// Up to `wanted` idle helpers; new ones are made while there are fewer than that in all.
    fn ask(wanted: usize) -> Vec<&'static Helper> {
        let mut helpers = lock(&HELPERS);
        while helpers.count < wanted {
            // Where the system gives no further thread, the team is smaller.
            let Some(helper) = Helper::spawn() else { break };
            helpers.count += 1;
            helpers.idle.push(helper);
        }
        let kept = helpers.idle.len().saturating_sub(wanted);
        helpers.idle.split_off(kept)
    }
}

impl Helper {
    fn spawn() -> Option<&'static Self> {
        let (send, receive) = std::sync::mpsc::sync_channel::<&'static Self>(1);
        let named = std::thread::Builder::new().name("simplenet-helper".into());
        let spawned = named.spawn(move || {
            prefer_short_time_slices();
            let helper: &'static Self = Box::leak(Box::new(Self {
                offer: Mutex::new(None),
                offered: AtomicBool::new(false),
                sleeper: Sleeper::this(),
            }));
            // Where nobody listens, the thread has nothing to do.
            if send.send(helper).is_ok() {
                helper.serve();
            }
        });
        spawned.ok()?;
        receive.recv().ok()
    }

    /// Asks it to join a team.
    fn offer(&self, team: Arc<Shared>) {
        let mut offer = lock(&self.offer);
        *offer = Some(team);
        self.offered.store(true, Ordering::SeqCst);
        drop(offer);
        self.sleeper.wake();
    }

    /// The offer, which nobody else has then.
    fn take_offer(&self) -> Option<Arc<Shared>> {
        let mut offer = lock(&self.offer);
        self.offered.store(false, Ordering::SeqCst);
        offer.take()
    }

    /// The thread's whole life.
    fn serve(&self) -> ! {
        loop {
            self.sleeper.wait_until(|| self.offered.load(Ordering::SeqCst));
            if let Some(team) = self.take_offer() {
                team.help(&self.sleeper);
            }
        }
    }
}

/// Ends the team when the leader is through, also by a panic. Helpers that have joined leave by themselves: all they see
/// from then on is that it is over. They can be offered the next team before.
struct Ended<'a> {
    shared: &'a Shared,
    helpers: Vec<&'static Helper>,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.shared.state.store(FINISHED, Ordering::SeqCst);
        for helper in &self.helpers {
            drop(helper.take_offer());
            helper.sleeper.wake();
        }
        lock(&HELPERS).idle.append(&mut self.helpers);
    }
}

/// Runs `lead` on this thread while others help: as many as the current rayon pool has threads, this one included, where
/// they are not helping elsewhere.
pub(crate) fn with_team<R>(lead: impl FnOnce(&mut Team<'_>) -> R) -> R {
    let shared = Arc::new(Shared {
        state: AtomicU64::new(0),
        job: UnsafeCell::new(None),
        tasks: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        panicked: AtomicBool::new(false),
        leader: Sleeper::this(),
    });
    let threads = rayon::current_num_threads();
    let helpers = if threads > 1 { Helpers::ask(threads - 1) } else { Vec::new() };
    let ended = Ended { shared: &shared, helpers };
    ended.helpers.iter().for_each(|helper| helper.offer(Arc::clone(&shared)));
    lead(&mut Team { shared: &shared, helpers: &ended.helpers, threads, of_this_thread: PhantomData })
}

impl Team<'_> {
    /// The most threads that can work on a job.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `run` with every number below `tasks`, each once, in any order and on any threads; returns when all are
    /// through.
    pub(crate) fn for_each(&mut self, tasks: usize, run: impl Fn(usize) + Sync) {
        assert!((tasks as u64) < MASK, "{tasks} tasks are more than a team takes");
        if tasks < 2 {
            return (0..tasks).for_each(run);
        }
        let shared = self.shared;
        let job: Job<'_> = &run;
        shared.tasks.store(tasks, Ordering::Relaxed);
        shared.done.store(0, Ordering::Relaxed);
        // SAFETY: no task is out, so nobody reads `job`. The longer lifetime is never used beyond this call: whoever
        // reads it holds a task, and this call returns only when all tasks are done.
        unsafe { *shared.job.get() = Some(std::mem::transmute::<Job<'_>, Job<'static>>(job)) };
        let generation = (shared.state.load(Ordering::Relaxed) >> (2 * FIELD)).wrapping_add(1);
        // The generation wraps; FINISHED is not among the values because the tasks are fewer than MASK.
        shared.state.store((generation << (2 * FIELD)) | ((tasks as u64) << FIELD), Ordering::SeqCst);
        self.helpers.iter().take(tasks - 1).for_each(|helper| helper.sleeper.wake());
        while shared.take_task(End::Front) {}
        shared.leader.wait_until(|| shared.done.load(Ordering::SeqCst) == tasks);
        if shared.panicked.load(Ordering::Relaxed) {
            resume_unwind(Box::new("a task of the network panicked"));
        }
    }

    /// As [`Team::for_each`] over the pieces of `size` of a slice; the last may be shorter.
    pub(crate) fn for_each_chunk(
        &mut self,
        slice: &mut [f32],
        size: usize,
        run: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let len = slice.len();
        let start = Start(slice.as_mut_ptr());
        self.for_each(len.div_ceil(size.max(1)), |index| {
            let first = index * size;
            // SAFETY: pieces lie in the slice, which is borrowed mutably for this call, and no two tasks have the same.
            let piece = unsafe { std::slice::from_raw_parts_mut(start.at(first), size.min(len - first)) };
            run(index, piece);
        });
    }
}

impl Shared {
    /// Whether a task of the job is left.
    fn has_task(state: u64) -> bool {
        state != FINISHED && state & MASK < (state >> FIELD) & MASK
    }

    /// Does a task of the current job, if one is left.
    fn take_task(&self, end: End) -> bool {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            if !Self::has_task(state) {
                return false;
            }
            let taken = match end {
                End::Front => state + 1,
                End::Back => state - (1 << FIELD),
            };
            match self.state.compare_exchange_weak(state, taken, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        let task = match end {
            End::Front => state & MASK,
            End::Back => ((state >> FIELD) & MASK) - 1,
        };
        let tasks = self.tasks.load(Ordering::Relaxed);
        // SAFETY: this thread holds a task, so the leader does not touch `job` before `done` counts it.
        let job = unsafe { *self.job.get() };
        if let Some(job) = job
            && let Err(payload) = catch_unwind(AssertUnwindSafe(|| job(task as usize)))
        {
            // Dropping what was thrown may panic once more, before the task counts as done.
            std::mem::forget(payload);
            self.panicked.store(true, Ordering::Relaxed);
        }
        if self.done.fetch_add(1, Ordering::SeqCst) + 1 == tasks {
            self.leader.wake();
        }
        true
    }

    /// Does tasks until the leader is through, as the thread that `this` is of.
    fn help(&self, this: &Sleeper) {
        loop {
            while self.take_task(End::Back) {}
            let news = |state| state == FINISHED || Self::has_task(state);
            this.wait_until(|| news(self.state.load(Ordering::SeqCst)));
            if self.state.load(Ordering::SeqCst) == FINISHED {
                return;
            }
        }
    }
}

/// The start of a slice whose pieces go to different tasks.
#[derive(Clone, Copy)]
struct Start(*mut f32);

// SAFETY: only an address; `for_each_chunk` answers for disjoint pieces.
unsafe impl Sync for Start {}

impl Start {
    fn at(&self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    #[test]
    fn every_task_runs_once_and_jobs_follow_each_other() {
        for threads in [1, 2, 5] {
            pool(threads).install(|| {
                with_team(|team| {
                    let all: Vec<usize> =
                        if cfg!(miri) { vec![0, 1, 2, 7, 50] } else { (0..300).chain([5000]).collect() };
                    for tasks in all {
                        let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                        team.for_each(tasks, |task| {
                            counts[task].fetch_add(1, Ordering::Relaxed);
                        });
                        assert!(
                            counts.iter().all(|count| count.load(Ordering::Relaxed) == 1),
                            "{threads} {tasks}"
                        );
                    }
                });
            });
        }
    }

    /// Without it every other test here would pass with a leader that does all the work.
    #[test]
    fn helpers_take_tasks() {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let helped = || {
            let threads = Mutex::new(std::collections::HashSet::new());
            pool(2).install(|| {
                with_team(|team| {
                    team.for_each(20, |_| {
                        threads.lock().unwrap().insert(std::thread::current().id());
                        std::thread::sleep(std::time::Duration::from_millis(2));
                    });
                });
            });
            threads.into_inner().unwrap().len() == 2
        };
        // The helper may be with another test's team at first.
        while !helped() {
            assert!(std::time::Instant::now() < deadline, "no helper came");
        }
    }

    #[test]
    fn chunks_cover_a_slice() {
        let mut numbers = vec![0.0; 1003];
        pool(3).install(|| {
            with_team(|team| {
                team.for_each_chunk(&mut numbers, 10, |index, piece| piece.fill(index as f32));
                team.for_each_chunk(&mut [], 10, |_, _| {});
            });
        });
        assert!(numbers.iter().enumerate().all(|(i, &v)| v == (i / 10) as f32));
    }

    #[test]
    fn teams_on_one_pool_do_not_wait_for_each_other() {
        let pool = pool(2);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..if cfg!(miri) { 2 } else { 20 } {
                        let sum = AtomicUsize::new(0);
                        pool.install(|| {
                            with_team(|team| {
                                for _ in 0..30 {
                                    team.for_each(8, |task| {
                                        sum.fetch_add(task, Ordering::Relaxed);
                                    });
                                }
                            });
                        });
                        assert_eq!(sum.into_inner(), 30 * 28);
                    }
                });
            }
        });
    }

    /// A task, which may run on any thread, can then not get hold of the team to publish a job, and the leader is the thread
    /// that is woken. Compiles only where `Team` is neither `Send` nor `Sync`: otherwise `A` could be either type.
    #[test]
    fn a_team_stays_on_its_thread() {
        trait NeitherOf<A> {
            fn is() {}
        }
        impl<T: ?Sized> NeitherOf<()> for T {}
        impl<T: ?Sized + Send> NeitherOf<u8> for T {}
        impl<T: ?Sized + Sync> NeitherOf<u16> for T {}
        <Team<'_> as NeitherOf<_>>::is();
    }

    /// What is thrown must not be dropped by whoever catches it: the leader would wait for ever, or leave while others work.
    #[test]
    fn a_payload_that_panics_when_it_is_dropped_does_no_harm() {
        struct Twice;
        impl Drop for Twice {
            fn drop(&mut self) {
                panic!("once more");
            }
        }
        for threads in [1, 2, 4] {
            let finished = AtomicUsize::new(0);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                pool(threads).install(|| {
                    with_team(|team| {
                        team.for_each(50, |task| {
                            if task % 10 == 3 {
                                std::panic::panic_any(Twice);
                            }
                            finished.fetch_add(1, Ordering::Relaxed);
                        });
                    });
                });
            }));
            assert!(outcome.is_err() && finished.into_inner() == 45, "{threads}");
        }
    }

    #[test]
    fn a_panic_in_a_task_reaches_the_caller() {
        let result = catch_unwind(|| {
            pool(2).install(|| with_team(|team| team.for_each(50, |task| assert!(task != 30, "thirty"))))
        });
        assert!(result.is_err());
    }
}
