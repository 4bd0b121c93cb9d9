//! A stream through a detector, in both of its forms: the results of one photograph after the other, in order, and no more than a
//! few begun while one hangs.

#![allow(clippy::unwrap_used, clippy::panic)] // tests: a failed expectation must stop them

mod drawn;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread::sleep,
    time::Duration,
};

use simplenet_data::DecodeOptions;
use simplenet_inference::{
    Detector, DetectorOptions, DeviceChoice, InferenceError, Inspected, Source, SourceImage, inspect_one,
    inspect_stream,
};

/// Both forms of the detector of a model file.
fn detectors(model: &Path) -> [Detector; 2] {
    [false, true].map(|batches| {
        let mut options = DetectorOptions::default();
        options.device = DeviceChoice::Cpu;
        options.batches_on_cpu = batches;
        options.batch = Some(4);
        Detector::open(model, &options).unwrap()
    })
}

fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

/// What is compared of a result.
fn of(inspected: Result<Inspected, InferenceError>) -> Result<(u32, usize, (u32, u32)), String> {
    let Inspected { photograph, inspection, .. } = inspected.map_err(|error| error.to_string())?;
    assert_eq!(inspection.decision.is_some_and(|d| d.name() == "reject"), inspection.score >= 0.0);
    let map = inspection.photograph_map;
    Ok((inspection.score.to_bits(), map.len(), photograph.dimensions()))
}

#[test]
fn a_stream_gives_what_one_after_the_other_gives() {
    let (folder, model, mut paths) = drawn::folder(9);
    let (absent, text) = (folder.path().join("absent.png"), folder.path().join("text.png"));
    std::fs::write(&text, "not a photograph").unwrap();
    paths.insert(2, absent);
    paths.push(text);
    for detector in detectors(&model) {
        let want: Vec<_> = paths.iter().map(|path| of(inspect_one(&detector, path))).collect();
        assert_eq!(want.iter().filter(|result| result.is_err()).count(), 2);
        for threads in [1, 2, 5] {
            let mut got = vec![];
            with_threads(threads, || {
                inspect_stream(
                    &detector,
                    &paths,
                    |_, inspected| of(inspected),
                    |path: &PathBuf, result| {
                        assert_eq!(path, &paths[got.len()]);
                        got.push(result);
                        Ok::<_, InferenceError>(())
                    },
                )
            })
            .unwrap();
            assert_eq!(got, want, "{threads} threads, batches: {}", detector.takes_batches());
        }
    }
}

/// Frames of a camera, of which the first is not there until it is released.
struct Frame<'a> {
    number: usize,
    begun: &'a AtomicUsize,
    released: &'a AtomicBool,
}

impl Source for Frame<'_> {
    fn path(&self) -> &Path {
        Path::new("camera")
    }

    fn read(&self, _: &DecodeOptions) -> Result<SourceImage, InferenceError> {
        self.begun.fetch_add(1, Relaxed);
        while self.number == 0 && !self.released.load(Relaxed) {
            sleep(Duration::from_millis(1));
        }
        match self.number {
            // Enough for a batch, and more.
            0..20 => Ok(drawn::photograph(self.number as u32).into()),
            _ => Err(InferenceError::Source { reason: "no frame".into() }),
        }
    }
}

#[test]
fn a_frame_that_never_comes_holds_twenty_thousand_back() {
    const FRAMES: usize = 20_001;
    const THREADS: usize = 2;
    let (_folder, model, _) = drawn::folder(0);
    for detector in detectors(&model) {
        let (begun, released) = (AtomicUsize::new(0), AtomicBool::new(false));
        let frames = (0..FRAMES).map(|number| Frame { number, begun: &begun, released: &released });
        let (mut scored, mut failed, mut held_back) = (0, 0, 0);
        with_threads(THREADS, || {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    // Until no more are begun.
                    while held_back == 0 || begun.load(Relaxed) > held_back {
                        held_back = begun.load(Relaxed);
                        sleep(Duration::from_millis(500));
                    }
                    released.store(true, Relaxed);
                });
                inspect_stream(
                    &detector,
                    frames,
                    |_, inspected| inspected.is_ok(),
                    |frame, is_ok| {
                        assert_eq!(frame.number, scored + failed);
                        if is_ok {
                            scored += 1
                        } else {
                            failed += 1
                        }
                        Ok::<_, InferenceError>(())
                    },
                )
            })
        })
        .unwrap();
        assert_eq!((scored, failed), (20, FRAMES - 20));
        let most = 4 * THREADS + if detector.takes_batches() { 2 * detector.batch() } else { 0 };
        assert_eq!(held_back, most, "batches: {}", detector.takes_batches());
    }
}
