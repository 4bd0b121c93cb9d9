//! What a training tells and asks while it runs: bars and notes on the terminal, curves into an event file, and whether
//! Ctrl-C was pressed. In: the library's calls. Out: the terminal, the file, the answer.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

use simplenet_train::{Reporter, reporter::StepScalars};

use crate::{
    error::CliError, interrupt::Interrupt, output::event_file::EventFile, progress::TerminalProgress,
};

/// The reporter of `train` and `train-all`.
pub struct TrainingReporter<'a> {
    progress: &'a TerminalProgress,
    interrupt: &'a Interrupt,
    events: Mutex<Option<EventFile>>,
}

impl<'a> TrainingReporter<'a> {
    /// A reporter; with `tensorboard`, curves go into a new event file in that folder.
    ///
    /// # Errors
    /// A folder or file that cannot be written.
    pub fn new(
        progress: &'a TerminalProgress,
        interrupt: &'a Interrupt,
        tensorboard: Option<&Path>,
    ) -> Result<Self, CliError> {
        let events = tensorboard.map(EventFile::create).transpose()?;
        Ok(Self { progress, interrupt, events: Mutex::new(events) })
    }
}

impl Reporter for TrainingReporter<'_> {
    fn start(&self, what: &str, total: u64) {
        self.progress.start(what, total);
    }

    fn advance(&self, n: u64) {
        self.progress.advance(n);
    }

    fn finish(&self) {
        self.progress.finish();
    }

    fn note(&self, text: &str) {
        self.progress.note(text);
    }

    fn warn(&self, text: &str) {
        self.progress.warn(text);
    }

    fn step(&self, step: &StepScalars) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(error)) = events.as_mut().map(|file| file.write_step(step)) {
            // Curves are not worth a training.
            self.progress.warn(&format!("{error}; training goes on without curves"));
            *events = None;
        }
    }

    fn stop(&self) -> bool {
        self.interrupt.asked()
    }
}
