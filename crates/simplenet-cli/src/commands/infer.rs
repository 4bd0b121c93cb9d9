//! `simplenet infer`: photographs in; for each a verdict, a heat map, its regions, a raw map and the time it took.

use std::path::{Path, PathBuf};

use serde::Serialize;
use simplenet_model::checkpoint::Decision;
use simplenet_train::{
    Detector, TrainError,
    in_batches::{Inspected, inspect_file, inspect_files},
};

use super::{model_path, warn_of_slow_precision};
use crate::{
    args::InferArgs,
    device,
    error::CliError,
    inputs::{Input, inputs},
    inspect::{PREDICTIONS_FILE, Recorder},
    one_a_thread,
    output::{
        prediction::{JsonPath, PredictionError, PredictionLine, PredictionRecord, Verdict},
        prediction_file::PredictionWriter,
    },
    progress::TerminalProgress,
    tell,
};

/// How a run went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Photographs below the threshold and, of a model with one, below the band for review.
    pub normal: usize,
    /// Photographs in the band for review.
    pub review: usize,
    /// Photographs at or above the threshold.
    pub anomalous: usize,
    /// Photographs inspected by a model without a threshold: scored, not judged.
    pub unjudged: usize,
    /// Files that could not be inspected.
    pub failed: usize,
}

/// Runs the verb.
///
/// # Errors
/// A model that cannot be read, no input at all, an output folder that cannot be written. A photograph that cannot
/// be read is not an error of the run: it is counted in the outcome and has its line in predictions.jsonl.
pub fn run(args: &InferArgs, progress: &TerminalProgress) -> Result<Outcome, CliError> {
    let model = model_path(args.model.as_deref())?;
    let precision = args.inference.precision.precision();
    let choice = args.inference.device.device;
    let opened = device::open(choice, progress)?;
    device::check_batches(args.batch.batch.as_slice(), choice, &opened, progress)?;
    let mut detector = Detector::load_on(&model, precision, &opened)?;
    if let Some(batch) = args.batch.batch {
        detector = detector.with_batch(batch.into());
    }
    with_detector(args, &model, detector, progress)
}

/// Inspects by a detector that is at hand; `model` is its file.
///
/// # Errors
/// As [`run`].
pub fn with_detector(
    args: &InferArgs,
    model: &Path,
    mut detector: Detector,
    progress: &TerminalProgress,
) -> Result<Outcome, CliError> {
    if let Some(threshold) = args.threshold {
        detector.override_threshold(threshold);
    }
    println!("model: {}, in {}", model.display(), detector.precision().name());
    warn_of_slow_precision(&detector);
    let inputs = inputs(&args.input, model, &detector)?;
    std::fs::create_dir_all(&args.output).map_err(CliError::io("create", &args.output))?;
    let mut recorder = Recorder::new(&detector, &args.output, args.map_format.format())?;
    let predictions = args.output.join(PREDICTIONS_FILE);
    let mut writer = PredictionWriter::create(&predictions)?;

    let mut outcome = Outcome::default();
    progress.start("inspecting", inputs.len() as u64);
    let tasks: Vec<Task> =
        inputs.into_iter().map(|Input { path, name }| Task { path, name: recorder.reserve(&name) }).collect();
    let record = |task: &Task, inspected: Result<Inspected, TrainError>| {
        let Inspected { photograph, inspection, decode } = inspected?;
        recorder.record(&task.path, &task.name, &photograph, &inspection, decode)
    };
    let mut on_result = |task: &Task, result: Result<PredictionRecord, CliError>| {
        let line = match result {
            Ok(record) => {
                progress.result("photograph", &sentence(&record), &record);
                match (record.verdict, record.decision) {
                    (_, Some(Decision::Review)) => outcome.review += 1,
                    (Some(Verdict::Anomalous), _) => outcome.anomalous += 1,
                    (Some(Verdict::Normal), _) => outcome.normal += 1,
                    (None, _) => outcome.unjudged += 1,
                }
                PredictionLine::Prediction(record)
            }
            Err(error @ (CliError::Data(_) | CliError::Train(_))) => {
                let error = error.to_string();
                let text = format!("error      {error}");
                outcome.failed += 1;
                let error = PredictionError { path: JsonPath::new(&task.path), error };
                progress.failed_result("photograph", &text, &error);
                PredictionLine::Error(error)
            }
            // Not the photograph's fault: a full disk, say. Going on would lose results.
            Err(other) => return Err(other),
        };
        writer.push(&line)?;
        progress.advance(1);
        Ok(())
    };
    match detector.batch_predictor() {
        Some(_) => {
            let finish = |i: usize, inspected| record(&tasks[i], inspected);
            inspect_files(&detector, &tasks, progress, finish, |i, result| on_result(&tasks[i], result))?;
        }
        None => {
            let work = |task: &Task| record(task, inspect_file(&detector, &task.path));
            one_a_thread::in_order(&tasks, work, on_result)?;
        }
    }
    writer.finish()?;
    progress.finish();
    let unjudged = match outcome.unjudged {
        0 => String::new(),
        n => format!("{n} scored but not judged (the model has no threshold; see --threshold), "),
    };
    let judged = match detector.record().threshold.is_some_and(|threshold| threshold.review.is_some()) {
        true => format!("{} pass, {} review, {} reject", outcome.normal, outcome.review, outcome.anomalous),
        false => format!("{} normal, {} anomalous", outcome.normal, outcome.anomalous),
    };
    let text = format!(
        "{judged}, {unjudged}{} failed; heat maps and {PREDICTIONS_FILE} are in {}
",
        outcome.failed,
        args.output.display()
    );
    tell::result("summary", &text, &outcome);
    Ok(outcome)
}

/// A photograph, and the name that it alone has in the output folder.
struct Task {
    path: PathBuf,
    name: PathBuf,
}

impl AsRef<Path> for Task {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

/// One line a photograph, for people.
fn sentence(record: &PredictionRecord) -> String {
    let verdict = record.verdict.map_or("no verdict", Verdict::name);
    let verdict = record.decision.map_or(verdict, Decision::name);
    let regions = match record.regions.len() {
        0 => String::new(),
        1 => ", 1 region".to_string(),
        n => format!(", {n} regions"),
    };
    format!(
        "{verdict:<10} score {:>8.4}  {:>7.1} ms  {}{regions}",
        record.score,
        record.milliseconds.total,
        record.path.text()
    )
}
