//! `simplenet infer`: photographs in; for each a verdict, a heat map, its regions, a raw map and the time it took.

use std::path::{Path, PathBuf};

use serde::Serialize;
use simplenet_model::checkpoint::Decision;
use simplenet_train::{
    Detector, TrainError,
    in_batches::{Inspected, inspect_file, inspect_files},
};

use super::{eval::training_config, model_path, narrow, warn_of_slow_precision};
use crate::{
    args::InferArgs,
    device,
    error::CliError,
    inputs::{Input, inputs},
    inspect::{PREDICTIONS_FILE, Recorder},
    one_a_thread,
    output::{
        layers::LayerSizes,
        layers_file::LayersWriter,
        prediction::{JsonPath, PredictionError, PredictionLine, PredictionRecord, Verdict},
        prediction_file::PredictionWriter,
        report::{CategoryReport, Fact},
        table::ResultTable,
    },
    plots_folder,
    progress::TerminalProgress,
    report_page::{self, Card, Heading, REPORT_FILE},
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
    let model = model_path(args.photographs.model.as_deref())?;
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
    narrow(&mut detector, &args.region)?;
    println!("model: {}, in {}", model.display(), detector.precision().name());
    warn_of_slow_precision(&detector);
    let inputs = inputs(&args.photographs.input, model, &detector)?;
    std::fs::create_dir_all(&args.output).map_err(CliError::io("create", &args.output))?;
    let mut recorder = Recorder::new(&detector, &args.output, args.map_format.format())?;
    let predictions = args.output.join(PREDICTIONS_FILE);
    let mut writer = PredictionWriter::create(&predictions)?;
    let mut gathered = Gathered::begin(args, inputs.len(), progress)?;

    let mut outcome = Outcome::default();
    progress.start("inspecting", inputs.len() as u64);
    let tasks: Vec<Task> =
        inputs.into_iter().map(|Input { path, name }| Task { path, name: recorder.reserve(&name) }).collect();
    let sizes = gathered.as_ref().map(|gathered| gathered.sizes);
    let record = |task: &Task, inspected: Result<Inspected, TrainError>| {
        let Inspected { photograph, inspection, decode } = inspected?;
        let record = recorder.record(&task.path, &task.name, &photograph, &inspection, decode)?;
        let pictures = match sizes {
            Some(sizes) => Some(recorder.layers(&photograph, &inspection, sizes)?.to_json()?),
            None => None,
        };
        Ok((record, pictures))
    };
    let mut on_result = |task: &Task, result: Result<(PredictionRecord, Option<String>), CliError>| {
        let (line, pictures) = match result {
            Ok((record, pictures)) => {
                progress.result("photograph", &sentence(&record), &record);
                match (record.verdict, record.decision) {
                    (_, Some(Decision::Review)) => outcome.review += 1,
                    (Some(Verdict::Anomalous), _) => outcome.anomalous += 1,
                    (Some(Verdict::Normal), _) => outcome.normal += 1,
                    (None, _) => outcome.unjudged += 1,
                }
                (PredictionLine::Prediction(record), pictures)
            }
            Err(error @ (CliError::Data(_) | CliError::Train(_))) => {
                let error = error.to_string();
                let text = format!("error      {error}");
                outcome.failed += 1;
                let error = PredictionError { path: JsonPath::new(&task.path), error };
                progress.failed_result("photograph", &text, &error);
                (PredictionLine::Error(error), None)
            }
            // Not the photograph's fault: a full disk, say. Going on would lose results.
            Err(other) => return Err(other),
        };
        writer.push(&line)?;
        if let Some(gathered) = &mut gathered {
            gathered.push(line, pictures.as_deref())?;
        }
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
    let report = match gathered {
        Some(gathered) => gathered.write(args, model, &detector)?,
        None => "",
    };
    let unjudged = match outcome.unjudged {
        0 => String::new(),
        n => format!("{n} scored but not judged (the model has no threshold; see --threshold), "),
    };
    let judged = match detector.record().threshold.is_some_and(|threshold| threshold.review.is_some()) {
        true => format!("{} pass, {} review, {} reject", outcome.normal, outcome.review, outcome.anomalous),
        false => format!("{} normal, {} anomalous", outcome.normal, outcome.anomalous),
    };
    let text = format!(
        "{judged}, {unjudged}{} failed; heat maps{report} and {PREDICTIONS_FILE} are in {}\n",
        outcome.failed,
        args.output.display()
    );
    tell::result("summary", &text, &outcome);
    Ok(outcome)
}

/// Photographs up to which a report is written: a page of more is of no use.
const MOST_IN_REPORT: usize = 20_000;

/// What the report will show: predictions in memory, pictures in a file without a name.
struct Gathered {
    predictions: Vec<PredictionLine>,
    pictures: LayersWriter,
    sizes: LayerSizes,
}

impl Gathered {
    /// `None` where no report is wanted, or it would be too large, which is said.
    fn begin(
        args: &InferArgs,
        photographs: usize,
        progress: &TerminalProgress,
    ) -> Result<Option<Self>, CliError> {
        if args.no_report {
            return Ok(None);
        }
        if photographs > MOST_IN_REPORT {
            progress.note(&format!(
                "no {REPORT_FILE}: it is written for up to {MOST_IN_REPORT} photographs, and these are {photographs}"
            ));
            return Ok(None);
        }
        let sizes = LayerSizes::for_count(photographs);
        Ok(Some(Self { predictions: vec![], pictures: LayersWriter::unnamed(&args.output)?, sizes }))
    }

    fn push(&mut self, line: PredictionLine, pictures: Option<&str>) -> Result<(), CliError> {
        self.pictures.push(pictures)?;
        self.predictions.push(line);
        Ok(())
    }

    /// Writes the page; gives what the last line says of it.
    fn write(self, args: &InferArgs, model: &Path, detector: &Detector) -> Result<&'static str, CliError> {
        let threshold = detector.record().threshold;
        let name = match args.photographs.input.as_slice() {
            [one] => one.display().to_string(),
            [] => String::from("the model's test images"),
            several => format!("{} inputs", several.len()),
        };
        let category = CategoryReport {
            name: name.clone(),
            threshold: threshold.map(|t| t.value),
            review_threshold: threshold.and_then(|t| t.review).map(|band| band.value),
            predictions: self.predictions,
            ..CategoryReport::default()
        };
        let facts = vec![
            Fact::new("model", model.display().to_string()),
            Fact::new("computed", format!("in {} on {}", detector.precision().name(), detector.device())),
        ];
        let config = training_config(detector).ok();
        let plots = plots_folder::write(&args.output, &category)?;
        report_page::write(
            &args.output.join(REPORT_FILE),
            Heading { title: &format!("Inspection of {name}"), facts, config: config.as_ref() },
            ResultTable::default(),
            vec![Card::inspected(category, self.pictures.passing()?)],
        )?;
        Ok(if plots.is_empty() { ", report.html" } else { ", report.html, plots" })
    }
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
