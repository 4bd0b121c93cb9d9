use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::*;

/// Work that is done at once.
struct Plain<F>(F);

impl<T, R: Send, F: Fn(&T) -> R + Sync> Work<T> for Plain<F> {
    type Ready = ();
    type Scored = ();
    type Result = R;

    fn batch(&self) -> Option<usize> {
        None
    }

    fn begin(&self, task: &T) -> Step<(), R> {
        Step::Done((self.0)(task))
    }

    fn run(&self, _: Vec<()>) -> Result<Vec<()>, InferenceError> {
        Ok(vec![])
    }

    fn end(&self, task: &T, (): ()) -> R {
        (self.0)(task)
    }
}

/// Work in batches of up to four: what `begin` gives, tenfold, or 0 for odd tasks, which never come to a batch.
struct Batched<F> {
    begin: F,
    sizes: Mutex<Vec<usize>>,
    fails_at: Option<usize>,
}

impl<F> Batched<F> {
    const MOST: usize = 4;

    fn new(begin: F) -> Self {
        Self { begin, sizes: Mutex::default(), fails_at: None }
    }
}

impl<F: Fn(usize) + Sync> Work<usize> for Batched<F> {
    type Ready = usize;
    type Scored = usize;
    type Result = usize;

    fn batch(&self) -> Option<usize> {
        Some(Self::MOST)
    }

    fn begin(&self, task: &usize) -> Step<usize, usize> {
        (self.begin)(*task);
        if task % 2 == 1 { Step::Done(0) } else { Step::Network(*task) }
    }

    fn run(&self, batch: Vec<usize>) -> Result<Vec<usize>, InferenceError> {
        self.sizes.lock().unwrap().push(batch.len());
        if batch.iter().any(|&task| Some(task) == self.fails_at) {
            return Err(InferenceError::NoActivationRanges);
        }
        Ok(batch.iter().map(|task| 10 * task).collect())
    }

    fn end(&self, _: &usize, scored: usize) -> usize {
        scored
    }
}

fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

fn sleep(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// The results of tasks `0..count`, with their tasks.
fn results<W: Work<usize, Result = usize>>(
    threads: usize,
    count: usize,
    work: &W,
) -> Result<Vec<(usize, usize)>, InferenceError> {
    let mut got = vec![];
    with_threads(threads, || {
        in_order(0..count, work, |task, result| {
            got.push((task, result));
            Ok::<_, InferenceError>(())
        })
    })
    .map(|()| got)
}

#[test]
fn results_come_in_order_whoever_is_first() {
    for (threads, count) in [(1, 5), (2, 0), (3, 1), (3, 2), (4, 60)] {
        let slow_first = |&task: &usize| {
            std::thread::sleep(Duration::from_micros(500 * (count - task) as u64 % 1500));
            10 * task
        };
        let want: Vec<(usize, usize)> = (0..count).map(|task| (task, 10 * task)).collect();
        let got = results(threads, count, &Plain(slow_first)).unwrap();
        assert_eq!(got, want, "{threads} threads, {count} tasks");

        let work =
            Batched::new(|task| std::thread::sleep(Duration::from_micros(500 * (7 - task as u64 % 7))));
        let want: Vec<(usize, usize)> =
            (0..count).map(|task| (task, if task % 2 == 1 { 0 } else { 10 * task })).collect();
        assert_eq!(
            results(threads, count, &work).unwrap(),
            want,
            "{threads} threads, {count} tasks in batches"
        );
        let sizes = work.sizes.into_inner().unwrap();
        assert!(sizes.iter().all(|size| (1..=4).contains(size)), "{sizes:?}");
        assert_eq!(sizes.iter().sum::<usize>(), count.div_ceil(2));
    }
}

#[test]
fn one_task_alone_gets_all_threads_and_several_one_each() {
    for (count, want) in [(1, 3), (2, 1), (9, 1)] {
        let got = results(3, count, &Plain(|_: &usize| rayon::current_num_threads())).unwrap();
        assert!(got.iter().all(|&(_, threads)| threads == want), "{count} tasks: {got:?}");
    }
}

#[test]
fn an_error_ends_the_work() {
    let begun = AtomicUsize::new(0);
    let work = Plain(|_: &usize| {
        begun.fetch_add(1, Relaxed);
        sleep(1);
    });
    let result = with_threads(3, || {
        in_order(0..10_000, &work, |task: usize, ()| match task {
            4 => Err(InferenceError::Source { reason: "four".into() }),
            _ => Ok(()),
        })
    });
    assert_eq!(result.unwrap_err().to_string(), "four");
    assert!(begun.load(Relaxed) < 10_000, "all tasks were begun");

    let failing = Batched { fails_at: Some(8), ..Batched::new(|_| {}) };
    let error = results(2, 10_000, &failing).unwrap_err();
    assert!(matches!(error, InferenceError::NoActivationRanges), "{error}");
}

#[test]
fn a_panic_of_one_thread_ends_them_all() {
    let panics = |&task: &usize| if task == 5 { panic!("of task five") } else { task };
    let caught = std::panic::catch_unwind(|| results(3, 1000, &Plain(panics)));
    assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"of task five"));
    let in_batches = Batched::new(|task| {
        if task == 5 {
            panic!("of task five")
        }
    });
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| results(3, 1000, &in_batches)));
    assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"of task five"));
}

/// What is begun while one task hangs, of 20,000 behind it, and whether all of them have their result in the end.
fn begun_behind<W: Work<usize>>(stuck: &Stuck, work: &W) -> usize {
    let (mut begun, mut done) = (0, 0);
    with_threads(Stuck::THREADS, || {
        std::thread::scope(|scope| {
            let begun = &mut begun;
            scope.spawn(move || {
                // Until nothing is begun any more.
                loop {
                    let before = stuck.begun.load(Relaxed);
                    sleep(150);
                    *begun = stuck.begun.load(Relaxed);
                    if *begun == before && before > 0 {
                        break;
                    }
                }
                stuck.released.store(true, Relaxed);
            });
            in_order(0..Stuck::TASKS, work, |task, _| {
                assert_eq!(task, done);
                done += 1;
                Ok::<_, InferenceError>(())
            })
        })
    })
    .unwrap();
    assert_eq!(done, Stuck::TASKS);
    begun
}

/// A first task that hangs until it is released.
#[derive(Default)]
struct Stuck {
    begun: AtomicUsize,
    released: AtomicBool,
}

impl Stuck {
    const THREADS: usize = 3;
    const TASKS: usize = 20_001;

    fn begin(&self, task: usize) {
        self.begun.fetch_add(1, Relaxed);
        while task == 0 && !self.released.load(Relaxed) {
            sleep(1);
        }
    }
}

#[test]
fn a_task_that_hangs_holds_the_others_back() {
    let stuck = Stuck::default();
    assert_eq!(begun_behind(&stuck, &Plain(|&task: &usize| stuck.begin(task))), AHEAD * Stuck::THREADS);
    let stuck = Stuck::default();
    let work = Batched::new(|task| stuck.begin(task));
    assert_eq!(begun_behind(&stuck, &work), AHEAD * Stuck::THREADS + BATCHES_AHEAD * 4);
}

/// A camera gives its next frame when there is one: the result of the last one does not wait for it.
#[test]
fn results_do_not_wait_for_the_next_task_to_come() {
    for threads in [1, 2] {
        let last = Mutex::new(None::<usize>);
        // The next task is there when the last one's result is.
        let frames = (0..6).inspect(|&frame| {
            while frame > 0 && *last.lock().unwrap() != Some(frame - 1) {
                sleep(1);
            }
        });
        let work = Batched::new(|_| {});
        with_threads(threads, || {
            in_order(frames, &work, |task, _| {
                *last.lock().unwrap() = Some(task);
                Ok::<_, InferenceError>(())
            })
        })
        .unwrap();
    }
}

/// A frame that comes after the end was called for is not inspected.
#[test]
fn what_comes_after_the_end_is_not_begun() {
    let (ended, begun) = (AtomicBool::new(false), Mutex::new(vec![]));
    let frames = (0..2).inspect(|&frame| {
        while frame == 1 && !ended.load(Relaxed) {
            sleep(1);
        }
        // The other thread closes the work right after.
        sleep(20);
    });
    let work = Batched::new(|task| begun.lock().unwrap().push(task));
    let result = with_threads(2, || {
        in_order(frames, &work, |_, _| {
            ended.store(true, Relaxed);
            Err(InferenceError::Source { reason: "stop".into() })
        })
    });
    assert!(result.is_err());
    assert_eq!(*begun.lock().unwrap(), [0]);
}
