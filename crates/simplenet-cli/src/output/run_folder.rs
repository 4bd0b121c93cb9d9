//! A folder of results while a run writes into it, and what of an earlier run it holds.
//!
//! In: the folder, the settings that decide the numbers, whether an interrupted run goes on. Out: predictions.jsonl to
//! append to, with what it holds already, and `run.json`, which says what the run is and whether it is complete. A run that
//! was stopped, killed or ran out of disk leaves `"complete": false`; predictions.jsonl is valid up to its last line then.

use super::OutputError;
use super::atomic;
use super::plots::Plot;
use super::prediction::{JsonPath, PredictionLine};
use super::prediction_file::PredictionWriter;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use simplenet_data::dataset::listing::RESULT_FOLDERS;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The file that says what a run is.
pub const RUN_FILE: &str = "run.json";
/// The file with one line a photograph.
pub const PREDICTIONS_FILE: &str = "predictions.jsonl";

/// What of an earlier run would pass for this one's: made at a run's end, so absent until then.
const STALE: [&str; 3] = ["report.html", "metrics.json", "curves.json"];
/// The folder of figures.
const PLOTS: &str = "plots";

/// What `run.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The program and its version.
    pub program: String,
    /// Whether every photograph has its line and all files are written.
    pub complete: bool,
    /// How many photographs there are to inspect.
    pub photographs: usize,
    /// What decides the numbers: a run goes on only with the same.
    pub settings: Map<String, Value>,
    /// Files and folders that were passed over, with the reason.
    #[serde(default)]
    pub passed_over: Vec<RunPassedOver>,
}

/// A file or folder that was passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPassedOver {
    /// Which.
    #[serde(flatten)]
    pub path: JsonPath,
    /// Why, in one word.
    pub reason: String,
}

/// Whether a run begins anew or goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// What an earlier run has left is replaced.
    Anew,
    /// Photographs that have their line are not inspected again.
    GoOn,
}

/// A run that writes.
#[derive(Debug)]
pub struct RunFolder {
    folder: PathBuf,
    record: RunRecord,
    /// Where lines go.
    pub predictions: PredictionWriter,
    /// The lines that were there.
    pub before: Vec<PredictionLine>,
    /// Lines of an interrupted run that are replaced.
    pub replaced: usize,
}

impl RunFolder {
    /// Begins. What a killed run has left is cleared, what would pass for this run's results is removed.
    ///
    /// # Errors
    /// A folder that cannot be written or that another run writes into; going on where the settings were others.
    pub fn begin(folder: &Path, record: RunRecord, begin: Begin) -> Result<Self, OutputError> {
        let path = folder.join(PREDICTIONS_FILE);
        // A folder of other things keeps what is in it, whatever it is called.
        let has_results = path.exists();
        let mut predictions = PredictionWriter::open(&path)?;
        // What a new run replaces need not be readable.
        let earlier =
            read(folder).or_else(|error| if begin == Begin::GoOn { Err(error) } else { Ok(None) })?;
        let mut before = vec![];
        if begin == Begin::GoOn {
            before = predictions.go_on()?;
            refuse_others(folder, &record, earlier.as_ref(), before.len())?;
        }
        // Nobody else is at work here: the lock says so.
        clear(folder);
        if has_results {
            remove_stale(folder)?;
        }
        let mut replaced = 0;
        if begin == Begin::Anew {
            if earlier.is_some_and(|earlier| !earlier.complete) {
                replaced = predictions.go_on().map_or(0, |lines| lines.len());
            }
            predictions.restart()?;
        }
        predictions.reserve(record.photographs.saturating_sub(before.len()));
        let run = Self { folder: folder.to_path_buf(), record, predictions, before, replaced };
        run.write()?;
        Ok(run)
    }

    /// Ends: all that belongs to the run is written.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn complete(mut self) -> Result<(), OutputError> {
        self.predictions.finish()?;
        self.record.complete = true;
        self.write()
    }

    /// Ends without results: removes what would pass for some.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub fn discard(self) -> Result<(), OutputError> {
        let Self { folder, predictions, .. } = self;
        drop(predictions);
        [PREDICTIONS_FILE, RUN_FILE].iter().try_for_each(|name| remove(&folder.join(name)))
    }

    fn write(&self) -> Result<(), OutputError> {
        atomic::write_json(&self.folder.join(RUN_FILE), &self.record)
    }
}

impl RunRecord {
    /// The record of a run that has not ended.
    pub fn new(photographs: usize, settings: Map<String, Value>, passed_over: Vec<RunPassedOver>) -> Self {
        let program = concat!("simplenet ", env!("CARGO_PKG_VERSION")).into();
        Self { program, complete: false, photographs, settings, passed_over }
    }
}

/// The record in a folder; `None` where there is none.
///
/// # Errors
/// A file that cannot be read or holds something else.
pub fn read(folder: &Path) -> Result<Option<RunRecord>, OutputError> {
    let path = folder.join(RUN_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let record = serde_json::from_str(&text);
            record.map(Some).map_err(|source| OutputError::Json { path, line: source.line(), source })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OutputError::io("read", &path)(error)),
    }
}

/// Going on with other settings would mix two runs in one file.
fn refuse_others(
    folder: &Path,
    now: &RunRecord,
    earlier: Option<&RunRecord>,
    lines: usize,
) -> Result<(), OutputError> {
    let refuse = |reason: String| Err(OutputError::GoOn { folder: folder.to_path_buf(), reason });
    let Some(earlier) = earlier else {
        return match lines {
            0 => Ok(()),
            _ => refuse(format!(
                "its {PREDICTIONS_FILE} has no {RUN_FILE} beside it that says how it was made"
            )),
        };
    };
    let keys =
        now.settings.keys().chain(earlier.settings.keys().filter(|key| !now.settings.contains_key(*key)));
    let shown = |record: &RunRecord, key: &str| record.settings.get(key).unwrap_or(&Value::Null).to_string();
    let others: Vec<String> = keys
        .filter(|key| earlier.settings.get(*key) != now.settings.get(*key))
        .map(|key| format!("{key} was {}, and is {}", shown(earlier, key), shown(now, key)))
        .collect();
    if others.is_empty() { Ok(()) } else { refuse(others.join("; ")) }
}

/// Removes temporary files of killed runs, in the folder and below those of pictures.
fn clear(folder: &Path) {
    atomic::clear_leftovers(folder);
    for below in RESULT_FOLDERS {
        let folders = walkdir::WalkDir::new(folder.join(below)).into_iter().filter_map(Result::ok);
        for entry in folders.filter(|entry| entry.file_type().is_dir()) {
            atomic::clear_leftovers(entry.path());
        }
    }
}

/// Removes what a run writes at its end.
fn remove_stale(folder: &Path) -> Result<(), OutputError> {
    let plots = folder.join(PLOTS);
    let figures =
        Plot::ALL.iter().flat_map(|plot| ["svg", "png"].map(|ending| format!("{}.{ending}", plot.name())));
    STALE.iter().try_for_each(|name| remove(&folder.join(name)))?;
    figures.into_iter().try_for_each(|name| remove(&plots.join(name)))?;
    // Not empty, or not there: both are fine.
    let _kept = std::fs::remove_dir(plots);
    Ok(())
}

fn remove(path: &Path) -> Result<(), OutputError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(OutputError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::prediction::PredictionError;

    fn record(threshold: f64) -> RunRecord {
        let settings = serde_json::json!({ "model_id": "0123", "threshold": threshold });
        RunRecord::new(3, settings.as_object().cloned().unwrap_or_default(), vec![])
    }

    fn line(name: &str) -> PredictionLine {
        PredictionLine::Error(PredictionError { path: JsonPath::new(Path::new(name)), error: "x".into() })
    }

    fn names(folder: &Path) -> Vec<String> {
        let names = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_kill_leaves_is_known_as_incomplete_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("out");
        std::fs::create_dir_all(folder.join("heatmaps/sub")).unwrap();
        std::fs::create_dir_all(folder.join("plots")).unwrap();
        std::fs::write(folder.join("report.html"), "theirs").unwrap();
        drop(RunFolder::begin(&folder, record(0.5), Begin::Anew).unwrap());
        assert!(folder.join("report.html").exists(), "it was not a folder of results");
        for name in ["report.html", "heatmaps/sub/.a.png.AbCd12.part", "heatmaps/sub/a.png", "plots/roc.svg"]
        {
            std::fs::write(folder.join(name), "old").unwrap();
        }
        let mut run = RunFolder::begin(&folder, record(0.5), Begin::GoOn).unwrap();
        assert!(run.before.is_empty(), "nothing to go on with is no error");
        run.predictions.push(&line("a.png")).unwrap();
        assert!(matches!(
            RunFolder::begin(&folder, record(0.5), Begin::Anew),
            Err(OutputError::InUse { .. })
        ));
        // As a kill does.
        drop(run);
        assert_eq!(names(&folder), ["heatmaps", PREDICTIONS_FILE, RUN_FILE]);
        assert_eq!(names(&folder.join("heatmaps/sub")), ["a.png"]);
        assert!(!read(&folder).unwrap().unwrap().complete);

        let error = RunFolder::begin(&folder, record(0.75), Begin::GoOn).unwrap_err().to_string();
        assert!(error.contains("threshold was 0.5, and is 0.75"), "{error}");
        let mut run = RunFolder::begin(&folder, record(0.5), Begin::GoOn).unwrap();
        assert_eq!(run.before, [line("a.png")]);
        run.predictions.push(&line("b.png")).unwrap();
        run.complete().unwrap();
        assert!(read(&folder).unwrap().unwrap().complete);
        assert_eq!(
            super::super::prediction_file::read_predictions(&folder.join(PREDICTIONS_FILE)).unwrap().len(),
            2
        );

        let run = RunFolder::begin(&folder, record(0.75), Begin::Anew).unwrap();
        assert_eq!((run.replaced, run.before.len()), (0, 0), "what was complete is not missed");
        drop(run);
        std::fs::remove_file(folder.join(RUN_FILE)).unwrap();
        std::fs::write(folder.join(PREDICTIONS_FILE), line("a.png").to_json().unwrap() + "\n").unwrap();
        let error = RunFolder::begin(&folder, record(0.75), Begin::GoOn).unwrap_err().to_string();
        assert!(error.contains("no run.json"), "{error}");
    }
}
