//! When the state of a training is kept, and going on from it: at most every so many seconds, and when the caller asks to
//! stop.
//!
//! In: where the state's file lies and how often it is written. Out: a training that goes on where an interrupted one
//! stopped, or an error that says where it has stopped.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    error::{Kept, TrainError},
    head::training_state::{Identity, TrainingState},
    reporter::Reporter,
};

/// Where the state of a training is kept, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepState {
    /// The file. The caller removes it once the result is safe: with [`KeepState::remove`].
    pub path: PathBuf,
    /// Least time between two states.
    pub every: Duration,
}

impl KeepState {
    /// Removes what is kept, if anything is, also half of it: the training is over, or must begin anew.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub fn remove(&self) -> std::io::Result<()> {
        simplenet_files::clear(simplenet_files::parent_folder(&self.path));
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// What is to be done with a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing.
    Nothing,
    /// It is time to keep it.
    Keep,
    /// The reporter asks to stop: it is kept, and the training ends.
    Stop,
}

/// Keeps the state of one training.
pub struct Keeper<'a> {
    file: Option<(&'a KeepState, Identity)>,
    begun: Instant,
    last: Instant,
    failed: bool,
}

impl<'a> Keeper<'a> {
    /// Nothing is kept.
    pub fn none() -> Self {
        let now = Instant::now();
        Self { file: None, begun: now, last: now, failed: false }
    }

    /// A keeper of the training that `identity` describes; `state`, its first, becomes the one that an interrupted run has
    /// left, if it has, which is then said.
    pub(crate) fn new(
        keep: &'a KeepState,
        identity: Identity,
        state: &mut TrainingState,
        reporter: &dyn Reporter,
    ) -> Self {
        if let Ok(bytes) = std::fs::read(&keep.path) {
            let file = keep.path.display();
            match state.resume(&bytes, &identity) {
                Ok(()) => reporter.note(&format!("going on after step {} from {file}", state.step)),
                Err(why) => reporter.warn(&format!("{file} is not gone on from: {why}; beginning anew")),
            }
        }
        let now = Instant::now();
        Self { file: Some((keep, identity)), begun: now, last: now, failed: false }
    }

    /// What is to be done after step `step` of `total`. The state need not be known for it.
    pub(crate) fn due(&self, step: usize, total: usize, reporter: &dyn Reporter) -> Due {
        if reporter.stop() {
            return Due::Stop;
        }
        let Some((keep, _)) = self.file.as_ref().filter(|_| !self.failed) else { return Due::Nothing };
        // A long training's last state too: calibrating and testing come after it.
        let over = step == total && self.begun.elapsed() >= keep.every;
        if over || self.last.elapsed() >= keep.every { Due::Keep } else { Due::Nothing }
    }

    /// Does it: keeps the state, and stops if that is asked for.
    ///
    /// # Errors
    /// `TrainError::Interrupted` to stop; `TrainError::State` when the state cannot be kept then.
    pub(crate) fn keep(
        &mut self,
        due: Due,
        state: &TrainingState,
        total: usize,
        reporter: &dyn Reporter,
    ) -> Result<(), TrainError> {
        let failed = |path: &Path, source| TrainError::State { path: path.to_path_buf(), source };
        match (due, &self.file) {
            (Due::Nothing, _) | (Due::Keep, None) => {}
            (Due::Stop, None) => return Err(TrainError::Interrupted { kept: None }),
            (Due::Stop, Some((keep, identity))) => {
                state.save(&keep.path, identity).map_err(|e| failed(&keep.path, e))?;
                let kept = Kept { path: keep.path.clone(), step: state.step, total };
                return Err(TrainError::Interrupted { kept: Some(kept) });
            }
            (Due::Keep, Some((keep, identity))) => {
                if let Err(source) = state.save(&keep.path, identity) {
                    // A full disk must not end hours of work that need it at the end only.
                    self.failed = true;
                    reporter.warn(&format!("{}; training goes on without", failed(&keep.path, source)));
                }
                self.last = Instant::now();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use candle_core::Device;
    use simplenet_model::{BackboneId, feature_norm::FeatureNorm};

    use super::*;
    use crate::{
        config::{Batch, Precision, Preset, TrainConfig},
        features::cache::{FeatureCache, Room},
        head::{
            steps::TensorSteps,
            trainer::{self, Epoch, begin, step_config, train_head},
            training_state::Oracle,
        },
        noise::{Generator, Purpose},
        reporter::StepScalars,
    };

    const DIM: usize = 6;

    /// Asks to stop after so many steps, and keeps what it is told.
    struct StopsAfter {
        steps: usize,
        seen: AtomicUsize,
        notes: Mutex<Vec<String>>,
    }

    impl StopsAfter {
        fn new(steps: usize) -> Self {
            Self { steps, seen: AtomicUsize::new(0), notes: Mutex::default() }
        }

        fn notes(&self) -> String {
            self.notes.lock().unwrap().join("\n")
        }
    }

    impl Reporter for StopsAfter {
        fn start(&self, _what: &str, _total: u64) {}
        fn advance(&self, _n: u64) {}
        fn finish(&self) {}
        fn note(&self, text: &str) {
            self.notes.lock().unwrap().push(text.into());
        }
        fn step(&self, _step: &StepScalars) {
            self.seen.fetch_add(1, Ordering::Relaxed);
        }
        fn stop(&self) -> bool {
            self.seen.load(Ordering::Relaxed) >= self.steps
        }
    }

    fn config(batch: Batch) -> TrainConfig {
        let mut config = TrainConfig::preset(Preset::Default, BackboneId::EfficientNetLite0);
        (config.epochs, config.hidden, config.discriminators, config.batch) = (3, 5, 2, batch);
        config
    }

    /// Features of 5 images of 7 patches.
    fn features(seed: u64) -> FeatureCache {
        features_within(u64::MAX, seed)
    }

    /// The same with so many bytes in memory.
    fn features_within(memory: u64, seed: u64) -> FeatureCache {
        let room = Room { memory, ..Room::default() };
        let mut cache = FeatureCache::within(room, Precision::F16, 5, 7, DIM);
        let mut numbers = vec![0.0; 5 * 7 * DIM];
        Generator::new(seed).fill_normal(Purpose::Initialisation, 0, 1.0, &mut numbers);
        cache.push(&numbers).unwrap();
        cache
    }

    /// Trains as `fit` does; an "oracle" that prefers the second epoch.
    fn train(
        config: &TrainConfig,
        cache: &FeatureCache,
        keep: Option<&KeepState>,
        reporter: &dyn Reporter,
    ) -> Result<TrainingState, TrainError> {
        train_by(Who::Cpu, config, cache, keep, reporter)
    }

    /// Who does the steps.
    #[derive(Clone, Copy, PartialEq)]
    enum Who {
        Cpu,
        /// The ops of a device, on the CPU.
        Tensors,
    }

    fn train_by(
        who: Who,
        config: &TrainConfig,
        cache: &FeatureCache,
        keep: Option<&KeepState>,
        reporter: &dyn Reporter,
    ) -> Result<TrainingState, TrainError> {
        let device = Device::Cpu;
        let norm = FeatureNorm::identity(DIM, &device).unwrap();
        let mut state = begin(config, DIM, norm);
        let mut keeper = match keep {
            Some(keep) => {
                let mut identity = Identity::new(config, cache, true, &device).unwrap();
                if who == Who::Tensors {
                    identity.device = "cuda".into();
                }
                Keeper::new(keep, identity, &mut state, reporter)
            }
            None => Keeper::none(),
        };
        let mut on_epoch = |mut epoch: Epoch<'_>| {
            assert!(epoch.head()?.tensors.hidden_weight.iter().all(|w| w.is_finite()));
            let image_auroc = [0.1, 0.7, 0.3][epoch.number - 1];
            if epoch.oracle.is_none_or(|best| image_auroc > best.image_auroc) {
                *epoch.oracle = Some(Oracle { epoch: epoch.number, image_auroc });
            }
            Ok(())
        };
        if who == Who::Cpu {
            return train_head(&device, config, cache, state, &mut keeper, reporter, &mut on_epoch);
        }
        let mut steps = TensorSteps::new(&device, config, step_config(config, DIM), cache, &state)?;
        trainer::train_by(&mut steps, config, cache, state, &mut keeper, reporter, &mut on_epoch)
    }

    fn check_same(got: &TrainingState, want: &TrainingState, what: &str) {
        assert!(got.head.tensors == want.head.tensors, "{what}: weights differ");
        assert!(got.head.statistics == want.head.statistics, "{what}: running statistics differ");
        assert!(got.moments == want.moments, "{what}: moments differ");
        assert_eq!((got.step, &got.losses, got.oracle), (want.step, &want.losses, want.oracle), "{what}");
    }

    #[test]
    fn a_training_that_stops_after_any_step_ends_with_the_same_weights() {
        let folder = tempfile::tempdir().unwrap();
        for (name, batch, adaptor_layers) in [
            ("images", Batch::Images(2), 1),
            ("patches", Batch::Patches { size: 16, steps: 4 }, 1),
            ("no adaptor", Batch::Images(2), 0),
            ("a deeper adaptor", Batch::Images(2), 3),
        ] {
            let (config, cache) = (TrainConfig { adaptor_layers, ..config(batch) }, features(1));
            let want = train(&config, &cache, None, &crate::Silent).unwrap();
            let keep =
                KeepState { path: folder.path().join(name).join("state"), every: Duration::from_secs(3600) };
            for steps in 1..=want.step {
                let what = format!("{name}, stopped after {steps} of {}", want.step);
                let first = StopsAfter::new(steps);
                let Err(TrainError::Interrupted { kept: Some(kept) }) =
                    train(&config, &cache, Some(&keep), &first)
                else {
                    panic!("{what}: it did not stop");
                };
                assert_eq!((kept.step, kept.total, &kept.path), (steps, want.step, &keep.path), "{what}");
                // Stopped once more, one step later.
                if steps < want.step {
                    train(&config, &cache, Some(&keep), &StopsAfter::new(1)).unwrap_err();
                }
                let last = StopsAfter::new(usize::MAX);
                check_same(&train(&config, &cache, Some(&keep), &last).unwrap(), &want, &what);
                let from = format!("going on after step {}", (steps + 1).min(want.step));
                assert!(last.notes().starts_with(&from), "{what}: {}", last.notes());
                let half = keep.path.with_file_name(".state.aB3xYz.part");
                std::fs::write(half, "half a state of a killed run").unwrap();
                keep.remove().unwrap();
                keep.remove().unwrap();
            }
            let left = std::fs::read_dir(folder.path().join(name)).unwrap().count();
            assert_eq!(left, 0, "{name}: temporary files are left");
        }
    }

    /// A kill leaves the last state that was kept in time; here one after every step.
    #[test]
    fn a_training_that_is_killed_goes_on_from_what_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let keep = KeepState { path: folder.path().join("state"), every: Duration::ZERO };
        let (config, cache) = (config(Batch::Patches { size: 16, steps: 4 }), features(1));
        let want = train(&config, &cache, Some(&keep), &crate::Silent).unwrap();
        let whole = std::fs::read(&keep.path).unwrap();
        // The end is kept too: what comes after the training may be interrupted.
        let reporter = StopsAfter::new(usize::MAX);
        check_same(&train(&config, &cache, Some(&keep), &reporter).unwrap(), &want, "nothing left to do");
        assert!(reporter.notes().starts_with("going on after step 12"), "{}", reporter.notes());

        // Whatever else lies there is said and passed over.
        let mut other = config.clone();
        other.seed += 1;
        let foreign = features(2);
        for (bytes, config, cache, words) in [
            (&whole[..], &other, &cache, "its settings were others"),
            (&whole, &config, &foreign, "its photographs or backbone were others"),
            (&whole[..whole.len() - 1], &config, &cache, "cannot be read"),
            (b"", &config, &cache, "cannot be read"),
        ] {
            std::fs::write(&keep.path, bytes).unwrap();
            let reporter = StopsAfter::new(usize::MAX);
            let got = train(config, cache, Some(&keep), &reporter).unwrap();
            assert!(reporter.notes().contains(words), "{words} in: {}", reporter.notes());
            check_same(&got, &train(config, cache, None, &crate::Silent).unwrap(), words);
        }
    }

    /// One bit anywhere in the file: in the header, in the numbers, in the checksum itself.
    #[test]
    fn a_state_with_a_changed_bit_is_never_gone_on_from() {
        let folder = tempfile::tempdir().unwrap();
        let keep = KeepState { path: folder.path().join("state"), every: Duration::from_secs(3600) };
        let (config, cache) = (config(Batch::Patches { size: 16, steps: 4 }), features(1));
        train(&config, &cache, Some(&keep), &StopsAfter::new(5)).unwrap_err();
        let whole = std::fs::read(&keep.path).unwrap();
        let device = Device::Cpu;
        let first = begin(&config, DIM, FeatureNorm::identity(DIM, &device).unwrap());
        let identity = Identity::new(&config, &cache, true, &device).unwrap();
        let mut state = first.clone();
        state.resume(&whole, &identity).unwrap();
        assert_eq!(state.step, 5);
        let mut damaged = whole.clone();
        let mut words = 0;
        for at in 0..whole.len() {
            for bit in [at % 8, 6] {
                damaged[at] ^= 1 << bit;
                let mut state = first.clone();
                let why = state.resume(&damaged, &identity).expect_err("a changed bit is taken");
                words += usize::from(why.contains("it is damaged"));
                check_same(&state, &first, "a refused state changes nothing");
                damaged[at] = whole[at];
            }
        }
        // The rest cannot be read, or is of another version.
        assert!(words > whole.len(), "{words} of {}", whole.len());
        let reporter = StopsAfter::new(usize::MAX);
        damaged[whole.len() - 3] ^= 64;
        std::fs::write(&keep.path, &damaged).unwrap();
        let got = train(&config, &cache, Some(&keep), &reporter).unwrap();
        assert!(reporter.notes().contains("it is damaged") && reporter.notes().contains("beginning anew"));
        check_same(&got, &train(&config, &cache, None, &crate::Silent).unwrap(), "a damaged state");
    }

    /// Every step's scalars come in order though they are read some at a time, and what is kept is of the last step.
    #[test]
    fn a_training_on_a_device_follows_the_cpus_and_goes_on_to_its_own_bits() {
        let folder = tempfile::tempdir().unwrap();
        let keep = KeepState { path: folder.path().join("state"), every: Duration::from_secs(3600) };
        let (config, cache) = (config(Batch::Patches { size: 16, steps: 4 }), features(1));
        let (cpu, device) = (Recorder::default(), Recorder::default());
        let want = train(&config, &cache, None, &cpu).unwrap();
        let whole = train_by(Who::Tensors, &config, &cache, None, &device).unwrap();
        let close = |what: &str, got: &[f32], want: &[f32]| {
            assert_eq!(got.len(), want.len(), "{what}");
            let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // Twelve steps of Adam, which divides gradients by their own size: sums in another order show.
            assert!(worst < 1e-4, "{what}: off by {worst}");
        };
        let pairs = whole.head.tensors.parameters().into_iter().zip(want.head.tensors.parameters());
        pairs.enumerate().for_each(|(i, (got, want))| close(&format!("parameter {i}"), got, want));
        close("running mean", &whole.head.statistics.mean, &want.head.statistics.mean);
        close("running variance", &whole.head.statistics.variance, &want.head.statistics.variance);
        assert_eq!(
            (whole.step, whole.losses.len(), whole.oracle),
            (want.step, want.losses.len(), want.oracle)
        );
        let (got, expected) = (device.0.into_inner().unwrap(), cpu.0.into_inner().unwrap());
        assert_eq!((got.len(), expected.len()), (12, 12));
        for (got, expected) in got.iter().zip(&expected) {
            let rates = |s: &StepScalars| (s.step, s.adaptor_rate, s.discriminator_rate);
            assert_eq!(rates(got), rates(expected));
            assert!((got.loss - expected.loss).abs() < 1e-4, "{got:?} for {expected:?}");
        }

        for steps in [1, 4, 5, 12] {
            let what = format!("stopped after {steps}");
            let stopped = train_by(Who::Tensors, &config, &cache, Some(&keep), &StopsAfter::new(steps));
            let Err(TrainError::Interrupted { kept: Some(kept) }) = stopped else {
                panic!("{what}: it did not stop");
            };
            // What a device has done is known at the end of an epoch.
            assert_eq!(kept.step, steps.next_multiple_of(4), "{what}");
            // The other kind of device begins anew, and says why.
            if steps == 4 {
                let other = StopsAfter::new(usize::MAX);
                check_same(&train(&config, &cache, Some(&keep), &other).unwrap(), &want, &what);
                assert!(other.notes().contains("another device"), "{what}: {}", other.notes());
            }
            let last = StopsAfter::new(usize::MAX);
            let got = train_by(Who::Tensors, &config, &cache, Some(&keep), &last).unwrap();
            check_same(&got, &whole, &what);
            assert!(last.notes().starts_with("going on after step"), "{what}: {}", last.notes());
            keep.remove().unwrap();
        }
    }

    /// Keeps the scalars.
    #[derive(Default)]
    struct Recorder(Mutex<Vec<StepScalars>>);

    impl Reporter for Recorder {
        fn start(&self, _what: &str, _total: u64) {}
        fn advance(&self, _n: u64) {}
        fn finish(&self) {}
        fn note(&self, _text: &str) {}
        fn step(&self, step: &StepScalars) {
            self.0.lock().unwrap().push(*step);
        }
    }

    #[test]
    fn a_loss_that_is_no_number_ends_the_training_wherever_it_runs() {
        for who in [Who::Cpu, Who::Tensors] {
            let mut config = config(Batch::Images(2));
            config.noise_sigma = f64::NAN;
            let error = train_by(who, &config, &features(1), None, &crate::Silent).unwrap_err();
            assert!(matches!(error, TrainError::Diverged { epoch: 1, .. }), "{error}");
        }
    }

    /// Features are where memory allows, which may be elsewhere when the training goes on.
    #[test]
    fn where_features_lie_may_change_between_the_runs() {
        let folder = tempfile::tempdir().unwrap();
        let keep = KeepState { path: folder.path().join("state"), every: Duration::from_secs(3600) };
        let config = config(Batch::Patches { size: 16, steps: 4 });
        let an_image = (7 * DIM * Precision::F16.bytes()) as u64;
        let want = train(&config, &features(1), None, &crate::Silent).unwrap();
        for (before, after) in [(u64::MAX, 0), (0, u64::MAX), (2 * an_image, 3 * an_image)] {
            let what = format!("{before} bytes in memory, then {after}");
            train(&config, &features_within(before, 1), Some(&keep), &StopsAfter::new(5)).unwrap_err();
            let last = StopsAfter::new(usize::MAX);
            let cache = features_within(after, 1);
            check_same(&train(&config, &cache, Some(&keep), &last).unwrap(), &want, &what);
            assert!(last.notes().starts_with("going on after step 5"), "{what}: {}", last.notes());
            keep.remove().unwrap();
        }
    }

    #[test]
    fn a_state_that_cannot_be_kept_does_not_end_the_training() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let keep = KeepState { path: folder.path().join("file/state"), every: Duration::ZERO };
        let (config, cache) = (config(Batch::Images(2)), features(1));
        let reporter = StopsAfter::new(usize::MAX);
        train(&config, &cache, Some(&keep), &reporter).unwrap();
        assert_eq!(reporter.notes().matches("training goes on without").count(), 1, "{}", reporter.notes());
        let error = train(&config, &cache, Some(&keep), &StopsAfter::new(2)).unwrap_err().to_string();
        assert!(error.contains("file/state") && error.contains("cannot be kept"), "{error}");
    }
}
