//! How long-running functions tell about their progress: a trait, so that libraries never print.

use crate::error::TrainError;

/// Receives progress. Only the command line prints; libraries call these.
///
/// Phases do not nest: `start` begins one, `advance` counts within it, `finish` ends it.
pub trait Reporter: Send + Sync {
    /// A phase begins: what it does, and how many steps it has.
    fn start(&self, what: &str, total: u64);
    /// `n` more steps of the phase are done.
    fn advance(&self, n: u64);
    /// The phase is over.
    fn finish(&self);
    /// Something that a person should know, one sentence.
    fn note(&self, text: &str);
    /// The same for what may go wrong, or has gone wrong and does not end the run.
    fn warn(&self, text: &str) {
        self.note(text);
    }
    /// A step of the training is done; for curves. Passed over by default.
    fn step(&self, step: &StepScalars) {
        let _ = step;
    }
    /// Whether to stop, which is asked after every image and every step. What is done is kept then, and the call returns
    /// `TrainError::Interrupted`. Never by default.
    fn stop(&self) -> bool {
        false
    }
}

/// The numbers of a training step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepScalars {
    /// The step, from 1, over all epochs.
    pub step: usize,
    /// The loss before it.
    pub loss: f64,
    /// Share of the normal features at or above the margin.
    pub p_true: f64,
    /// Share of the anomalous features below minus the margin.
    pub p_fake: f64,
    /// Learning rate of the adaptor.
    pub adaptor_rate: f64,
    /// Learning rate of the discriminator.
    pub discriminator_rate: f64,
}

/// Reports nothing: for tests and for programs that do not care.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn start(&self, _what: &str, _total: u64) {}
    fn advance(&self, _n: u64) {}
    fn finish(&self) {}
    fn note(&self, _text: &str) {}
}

/// Stops where there is nothing to keep.
///
/// # Errors
/// `TrainError::Interrupted` when the reporter asks to stop.
pub(crate) fn stop_if_asked(reporter: &dyn Reporter) -> Result<(), TrainError> {
    if reporter.stop() { Err(TrainError::Interrupted { kept: None }) } else { Ok(()) }
}
