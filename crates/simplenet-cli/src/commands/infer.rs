//! `simplenet infer`: photographs in; for each a verdict, a heat map, its regions, a raw map and the time it took.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::sync_channel,
    },
};

use candle_core::Device;
use simplenet_data::{
    dataset::{folder, mvtec},
    decode,
};
use simplenet_train::{Detector, TrainError, detector::timed};

use super::{model_path, train::TRAINING_FILE};
use crate::{
    args::InferArgs,
    error::CliError,
    inspect::{PREDICTIONS_FILE, Recorder},
    output::{
        prediction::{JsonPath, PredictionError, PredictionLine, PredictionRecord, Verdict},
        prediction_file::PredictionWriter,
    },
    progress::TerminalProgress,
};

/// How a run went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Photographs below the threshold.
    pub normal: usize,
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
    let mut detector = Detector::load(&model, &Device::Cpu)?;
    if let Some(threshold) = args.threshold {
        detector.override_threshold(threshold);
    }
    println!("model: {}", model.display());
    let inputs = inputs(args, &model, &detector)?;
    std::fs::create_dir_all(&args.output).map_err(CliError::io("create", &args.output))?;
    let mut recorder = Recorder::new(&detector, &args.output, args.map_format.format())?;
    let predictions = args.output.join(PREDICTIONS_FILE);
    let mut writer = PredictionWriter::create(&predictions)?;

    let mut outcome = Outcome::default();
    progress.start("inspecting", inputs.len() as u64);
    let tasks: Vec<Task> =
        inputs.into_iter().map(|Input { path, name }| Task { path, name: recorder.reserve(&name) }).collect();
    inspect_all(&detector, &recorder, &tasks, |task, result| {
        let line = match result {
            Ok(record) => {
                progress.line(&sentence(&record));
                match record.verdict {
                    Some(Verdict::Anomalous) => outcome.anomalous += 1,
                    Some(Verdict::Normal) => outcome.normal += 1,
                    None => outcome.unjudged += 1,
                }
                PredictionLine::Prediction(record)
            }
            Err(error @ (CliError::Data(_) | CliError::Train(_))) => {
                let error = error.to_string();
                progress.line(&format!("error      {error}"));
                outcome.failed += 1;
                PredictionLine::Error(PredictionError { path: JsonPath::new(&task.path), error })
            }
            // Not the photograph's fault: a full disk, say. Going on would lose results.
            Err(other) => return Err(other),
        };
        writer.push(&line)?;
        progress.advance(1);
        Ok(())
    })?;
    writer.finish()?;
    progress.finish();
    let unjudged = match outcome.unjudged {
        0 => String::new(),
        n => format!("{n} scored but not judged (the model has no threshold; see --threshold), "),
    };
    println!(
        "{} normal, {} anomalous, {unjudged}{} failed; heat maps and {PREDICTIONS_FILE} are in {}",
        outcome.normal,
        outcome.anomalous,
        outcome.failed,
        args.output.display()
    );
    Ok(outcome)
}

/// A photograph, and what its results are called below the output folder.
struct Input {
    path: PathBuf,
    name: PathBuf,
}

fn inputs(args: &InferArgs, model: &Path, detector: &Detector) -> Result<Vec<Input>, CliError> {
    let mut inputs = vec![];
    if args.input.is_empty() {
        let (root, images) = test_images(model, detector)?;
        println!("no --input: inspecting the {} test images of {}", images.len(), root.display());
        inputs.extend(images.into_iter().map(|path| named(path, &root)));
    }
    for root in &args.input {
        let folder = if root.is_dir() { root.as_path() } else { root.parent().unwrap_or(Path::new("")) };
        let images = folder::list_images(root)?;
        inputs.extend(images.into_iter().map(|path| named(path, folder)));
    }
    Ok(inputs)
}

fn named(path: PathBuf, root: &Path) -> Input {
    let name = path
        .strip_prefix(root)
        .map(Path::to_path_buf)
        .unwrap_or_else(|_| path.file_name().map(PathBuf::from).unwrap_or_default());
    Input { path, name }
}

/// The test images of the category that a model was trained on, from the record beside it.
fn test_images(model: &Path, detector: &Detector) -> Result<(PathBuf, Vec<PathBuf>), CliError> {
    #[derive(serde::Deserialize)]
    struct OnlyData {
        data: PathBuf,
    }
    let record = model.with_file_name(TRAINING_FILE);
    let no_input = |why: String| {
        CliError::Usage(format!("what should be inspected? {why}: give --input IMAGE_OR_FOLDER"))
    };
    let text = std::fs::read_to_string(&record).map_err(|e| {
        no_input(format!("there is no --input, and {} cannot be read ({e})", record.display()))
    })?;
    let OnlyData { data } = serde_json::from_str(&text).map_err(|e| {
        no_input(format!("there is no --input, and {} does not name the data ({e})", record.display()))
    })?;
    let category = mvtec::load_category_with(&data, &detector.preprocess().decode).map_err(|e| {
        no_input(format!("there is no --input, and the model's own data set has no test images ({e})"))
    })?;
    let images: Vec<PathBuf> = category.test.into_iter().map(|sample| sample.path).collect();
    if images.is_empty() {
        return Err(no_input(format!("there is no --input, and {} has no test images", data.display())));
    }
    Ok((data, images))
}

/// A photograph, and the name that it alone has in the output folder.
struct Task {
    path: PathBuf,
    name: PathBuf,
}

/// Inspects all photographs and hands their results over in order. One photograph alone gets all threads; of several,
/// each thread takes one at a time from file to heat map, so that none waits for another.
fn inspect_all(
    detector: &Detector,
    recorder: &Recorder<'_>,
    tasks: &[Task],
    mut on_result: impl FnMut(&Task, Result<PredictionRecord, CliError>) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let threads = rayon::current_num_threads().min(tasks.len());
    if threads < 2 {
        return tasks.iter().try_for_each(|task| on_result(task, inspect(detector, recorder, task)));
    }
    let one_thread = || rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pools = (0..threads).map(|_| one_thread()).collect::<Result<Vec<_>, _>>();
    let pools = pools.map_err(|e| CliError::Usage(format!("cannot start {threads} threads: {e}")))?;
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (sender, results) = sync_channel(threads);
        for pool in &pools {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(task) = tasks.get(index) else { break };
                    // Nobody receives any more once a result was fatal.
                    if sender.send((index, pool.install(|| inspect(detector, recorder, task)))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut due = 0;
        for (index, result) in results {
            early.insert(index, result);
            while let Some(result) = early.remove(&due) {
                on_result(&tasks[due], result)?;
                due += 1;
            }
        }
        Ok(())
    })
}

fn inspect(
    detector: &Detector,
    recorder: &Recorder<'_>,
    Task { path, name }: &Task,
) -> Result<PredictionRecord, CliError> {
    let (photograph, decoding) = timed(|| decode::decode_file(path, &detector.preprocess().decode));
    let photograph = photograph?;
    let inspection = detector.inspect(&photograph)?;
    if !inspection.score.is_finite() {
        let error = TrainError::NonFiniteScore { path: path.to_path_buf(), score: inspection.score };
        return Err(error.into());
    }
    recorder.record(path, name, &photograph, &inspection, decoding)
}

/// One line a photograph, for people.
fn sentence(record: &PredictionRecord) -> String {
    let verdict = record.verdict.map_or("no verdict", Verdict::name);
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
