//! What becomes of each result of `infer`: its line at once, its pictures for the report, its place in the counts.
//!
//! In: photographs with what was found, or why nothing was, in their order. Out: a growing predictions.jsonl, events, and the
//! outcome. A signal ends the run after the photograph at hand, with all lines before it kept; a full disk ends heat maps
//! and report, not verdicts.

use std::collections::HashSet;

use simplenet_data::DifferenceCounts;
use simplenet_model::checkpoint::Decision;

use super::{
    infer::{Outcome, Task, sentence},
    infer_report::Gathered,
};
use crate::{
    error::CliError,
    inputs::Input,
    inspect::{Recorded, Recorder},
    interrupt::Interrupt,
    output::{
        prediction::{JsonPath, PredictionError, PredictionLine, Verdict},
        run_folder::RunFolder,
    },
    progress::TerminalProgress,
    tell,
};

/// A run's results as they come.
pub(super) struct Results<'a> {
    pub(super) outcome: Outcome,
    /// In what photographs are unlike those trained on.
    pub(super) differences: DifferenceCounts,
    pub(super) run: RunFolder,
    pub(super) gathered: Option<Gathered>,
    pub(super) recorder: &'a Recorder<'a>,
    pub(super) progress: &'a TerminalProgress,
    pub(super) interrupt: &'a Interrupt,
    /// Photographs that have their line, those of the run before among them.
    pub(super) done: usize,
    /// Photographs that there are.
    pub(super) total: usize,
}

impl Results<'_> {
    /// Takes the result of the photograph that is due.
    ///
    /// # Errors
    /// A line that cannot be written; a run that is to stop.
    pub(super) fn take(&mut self, task: &Task, result: Recorded) -> Result<(), CliError> {
        let (line, pictures) = match result {
            Ok((record, pictures)) => {
                self.progress.result("photograph", &sentence(&record), &record);
                (PredictionLine::Prediction(record), pictures)
            }
            Err(error) => {
                let error = PredictionError { path: JsonPath::new(&task.path), error: error.to_string() };
                let text = format!("error      {}", tell::escaped_line(&error.error));
                self.progress.failed_result("photograph", &text, &error);
                (PredictionLine::Error(error), None)
            }
        };
        self.outcome.count(&line, &mut self.differences);
        if let Some(note) = self.recorder.take_note() {
            self.progress.warn(&note);
        }
        self.keep_pictures(pictures.as_deref());
        self.run.predictions.push(&line).map_err(|error| {
            CliError::Usage(format!(
                "{error}: {} of {} photographs have their line there; free some space, and the same command with --resume \
                 goes on after them",
                self.done, self.total
            ))
        })?;
        if let Some(gathered) = &mut self.gathered {
            gathered.add_line(line);
        }
        self.done += 1;
        self.progress.advance(1);
        self.stop_if_asked()
    }

    /// # Errors
    /// [`CliError::Interrupted`] where a signal has come and there is something left to do.
    pub(super) fn stop_if_asked(&self) -> Result<(), CliError> {
        if !self.interrupt.asked() || self.done >= self.total {
            return Ok(());
        }
        let kept = String::from("predictions.jsonl keeps them: the same command with --resume goes on");
        Err(CliError::Interrupted { done: self.done, total: self.total, kept })
    }

    /// Keeps the pictures of a photograph; where the disk is full, there is no report.
    fn keep_pictures(&mut self, pictures: Option<&str>) {
        let Some(gathered) = &mut self.gathered else { return };
        // A map or the pictures themselves may be the first that does not fit: the reason is one.
        let full = || String::from("the disk is full");
        let failed = if self.recorder.is_disk_full() {
            Some(full())
        } else {
            let failed = gathered.add_pictures(pictures).err();
            failed.map(|error| if error.is_disk_full() { full() } else { error.to_string() })
        };
        if let Some(reason) = failed
            && let Some(gathered) = self.gathered.take()
        {
            self.progress.warn(&format!("no report.html: {reason}"));
            gathered.give_up();
        }
    }
}

impl Outcome {
    /// Counts a photograph, and in what it is unlike those trained on.
    pub(super) fn count(&mut self, line: &PredictionLine, differences: &mut DifferenceCounts) {
        let PredictionLine::Prediction(record) = line else {
            self.failed += 1;
            return;
        };
        differences.add(&record.differences);
        match (record.verdict, record.decision) {
            (_, Some(Decision::Review)) => self.review += 1,
            (Some(Verdict::Anomalous), _) => self.anomalous += 1,
            (Some(Verdict::Normal), _) => self.normal += 1,
            (None, _) => self.unjudged += 1,
        }
    }
}

/// The photographs that have no line yet, each with a name of its own in the output folder; and how many lines there are of
/// photographs that are not among these inputs.
pub(super) fn tasks(
    photographs: Vec<Input>,
    before: &[PredictionLine],
    recorder: &mut Recorder<'_>,
) -> (Vec<Task>, usize) {
    let done: HashSet<&JsonPath> = before.iter().map(PredictionLine::path).collect();
    let mut named = HashSet::new();
    for line in before {
        if let PredictionLine::Prediction(record) = line {
            recorder.take(record);
            if record.heatmap.is_some() {
                named.insert(line.path());
            }
        }
    }
    let with_paths = photographs.into_iter().map(|input| (JsonPath::new(&input.path), input));
    let (old, new): (Vec<_>, Vec<_>) = with_paths.partition(|(path, _)| done.contains(path));
    // As in a run from the start: also what could not be read has taken a name.
    for (_, input) in old.iter().filter(|(path, _)| !named.contains(path)) {
        recorder.reserve(&input.name);
    }
    let task = |(_, input): (_, Input)| Task {
        name: recorder.reserve(&input.name),
        path: input.path,
        problem: input.problem,
    };
    (new.into_iter().map(task).collect(), before.len() - old.len())
}
