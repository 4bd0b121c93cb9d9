//! `simplenet infer`: photographs in; for each a verdict, a heat map, its regions, a raw map and the time it took.

use std::path::{Path, PathBuf};

use serde::Serialize;
use simplenet_data::{DecodeOptions, DifferenceCounts};
use simplenet_inference::{Detector, InferenceError, Inspected, Source, SourceImage, inspect_stream};
use simplenet_model::checkpoint::Decision;

use super::{
    detector_options,
    infer_report::Gathered,
    infer_run::{Results, tasks},
    model_path, open_detector, warn_of_slow_precision,
};
use crate::{
    args::InferArgs,
    error::CliError,
    inputs::{Inputs, PassedOverFields, inputs, passed_over_words},
    inspect::{PREDICTIONS_FILE, Recorded, Recorder, settings},
    interrupt::Interrupt,
    output::{
        OutputError,
        prediction::{JsonPath, PredictionRecord, Verdict},
        run_folder::{Begin, RunFolder, RunPassedOver, RunRecord},
    },
    progress::TerminalProgress,
    tell::{self, Level},
    unlike_training,
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
    /// Photographs that were inspected and whose heat map or raw map could not be written.
    pub without_maps: usize,
    /// Files and folders that were passed over.
    pub passed_over: usize,
}

impl Outcome {
    /// How many things went wrong.
    pub fn failures(&self) -> usize {
        self.failed + self.without_maps
    }
}

/// Runs the verb.
///
/// # Errors
/// A model that cannot be read, no input at all, an output folder that cannot be written. A photograph that cannot
/// be read is not an error of the run: it is counted in the outcome and has its line in predictions.jsonl.
pub fn run(args: &InferArgs, progress: &TerminalProgress) -> Result<Outcome, CliError> {
    let interrupt = Interrupt::on_signals()?;
    let model = model_path(args.photographs.model.as_deref())?;
    let mut options = detector_options(&args.inference, &args.batch, &args.region);
    options.threshold = args.threshold;
    let detector = open_detector(&model, &options, &args.batch, progress)?;
    inspect(args, &model, &detector, &interrupt, progress)
}

/// Inspects by a detector that was opened as the flags say; `model` is its file.
///
/// # Errors
/// As [`run`].
pub fn with_detector(
    args: &InferArgs,
    model: &Path,
    detector: &Detector,
    progress: &TerminalProgress,
) -> Result<Outcome, CliError> {
    inspect(args, model, detector, &Interrupt::on_signals()?, progress)
}

fn inspect(
    args: &InferArgs,
    model: &Path,
    detector: &Detector,
    interrupt: &Interrupt,
    progress: &TerminalProgress,
) -> Result<Outcome, CliError> {
    println!("model: {}, in {}", model.display(), detector.precision().name());
    warn_of_slow_precision(detector);
    let outputs = std::slice::from_ref(&args.output);
    let Inputs { photographs, passed_over, repeated } =
        inputs(&args.photographs.input, outputs, model, detector)?;
    if !passed_over.is_empty() {
        tell::line(
            Level::Warn,
            "passed_over",
            &passed_over_words(&passed_over),
            &PassedOverFields::of(&passed_over),
        );
    }
    if repeated > 0 {
        progress.note(&format!("{repeated} photographs were named more than once, and are inspected once"));
    }

    let mut recorder = Recorder::new(detector, &args.output, args.map_format.format())?;
    let mut settings = settings("infer", detector, &args.region)?;
    settings.insert("map_format".into(), format!("{:?}", args.map_format).to_lowercase().into());
    let named = passed_over
        .iter()
        .map(|entry| RunPassedOver { path: JsonPath::new(&entry.path), reason: entry.reason.name().into() });
    let record = RunRecord::new(photographs.len(), settings, named.collect());
    let begin = if args.resume { Begin::GoOn } else { Begin::Anew };
    let run = RunFolder::begin(&args.output, record, begin).map_err(|error| match error {
        damaged @ OutputError::Json { .. } if args.resume => CliError::Usage(format!(
            "{damaged}; the results there cannot be gone on with: the same command without --resume begins anew"
        )),
        other => other.into(),
    })?;
    let (tasks, others) = tasks(photographs, &run.before, &mut recorder);
    tell_of_earlier(&run, tasks.len(), others, progress);

    let total = run.before.len() + tasks.len();
    let gathered = Gathered::begin(args, total, &run.before, progress)?;
    let sizes = gathered.as_ref().map(|gathered| gathered.sizes);
    let mut outcome = Outcome { passed_over: passed_over.len(), ..Outcome::default() };
    let mut differences = DifferenceCounts::default();
    run.before.iter().for_each(|line| outcome.count(line, &mut differences));
    let done = run.before.len();
    let mut results = Results {
        outcome,
        differences,
        run,
        gathered,
        recorder: &recorder,
        progress,
        interrupt,
        done,
        total,
    };
    progress.start("inspecting", tasks.len() as u64);
    let record = |task: &&Task, inspected: Result<Inspected, InferenceError>| -> Recorded {
        let Inspected { photograph, inspection, decode, .. } = inspected?;
        inspection.note.iter().for_each(|note| progress.warn(note));
        let record = recorder.record(&task.path, &task.name, &photograph, &inspection, decode)?;
        let pictures = match sizes.filter(|_| !recorder.is_disk_full()) {
            Some(sizes) => Some(recorder.layers(&photograph, &inspection, sizes)?.to_json()?),
            None => None,
        };
        Ok((record, pictures))
    };
    let inspected = results
        .stop_if_asked()
        .and_then(|()| inspect_stream(detector, &tasks, record, |task, result| results.take(task, result)));
    progress.finish();
    inspected?;

    let Results { mut outcome, differences, mut run, gathered, .. } = results;
    outcome.without_maps = recorder.without_maps();
    run.predictions.finish()?;
    let report = match gathered {
        Some(gathered) => gathered.write(args, model, detector)?,
        None => "",
    };
    run.complete()?;
    summarise(args, detector, &outcome, report);
    unlike_training::warn(&differences);
    Ok(outcome)
}

/// Says what is done with an earlier run's results.
fn tell_of_earlier(run: &RunFolder, left: usize, others: usize, progress: &TerminalProgress) {
    if !run.before.is_empty() {
        progress.note(&format!("going on after {} photographs; {left} are left", run.before.len()));
    }
    if others > 0 {
        progress.note(&format!("{others} of these are not among the inputs any more; their lines are kept"));
    }
    if run.replaced > 0 {
        progress.warn(&format!(
            "the {} photographs of an interrupted run are inspected again; with --resume it would have gone on",
            run.replaced
        ));
    }
}

/// The last line.
fn summarise(args: &InferArgs, detector: &Detector, outcome: &Outcome, report: &str) {
    let some = |count: usize, what: &str| match count {
        0 => String::new(),
        count => format!("{count} {what}; "),
    };
    let unjudged = match outcome.unjudged {
        0 => String::new(),
        n => format!("{n} scored but not judged (the model has no threshold; see --threshold), "),
    };
    let judged = if detector.record().threshold.is_some_and(|threshold| threshold.review.is_some()) {
        format!("{} pass, {} review, {} reject", outcome.normal, outcome.review, outcome.anomalous)
    } else {
        format!("{} normal, {} anomalous", outcome.normal, outcome.anomalous)
    };
    let text = format!(
        "{judged}, {unjudged}{} failed; {}{}heat maps{report} and {PREDICTIONS_FILE} are in {}\n",
        outcome.failed,
        some(outcome.passed_over, "passed over"),
        some(outcome.without_maps, "without heat map or raw map (see above)"),
        args.output.display()
    );
    tell::result("summary", &text, outcome);
}

/// A photograph, and the name that it alone has in the output folder.
pub(super) struct Task {
    pub(super) path: PathBuf,
    pub(super) name: PathBuf,
    /// Why it cannot be inspected.
    pub(super) problem: Option<String>,
}

impl Source for Task {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self, options: &DecodeOptions) -> Result<SourceImage, InferenceError> {
        match &self.problem {
            Some(problem) => Err(InferenceError::Source { reason: problem.clone() }),
            None => self.path.read(options),
        }
    }
}

/// One line a photograph, for people.
pub(super) fn sentence(record: &PredictionRecord) -> String {
    let verdict = record.verdict.map_or("no verdict", Verdict::name);
    let verdict = record.decision.map_or(verdict, Decision::name);
    let regions = match record.regions.len() {
        0 => String::new(),
        1 => ", 1 region".to_string(),
        n => format!(", {n} regions"),
    };
    format!(
        "{verdict:<10} score {:>8.4}  {:>7.1} ms  {}{regions}{}",
        record.score,
        record.milliseconds.total,
        tell::escaped_line(record.path.text()),
        unlike_training::mark(&record.differences)
    )
}
