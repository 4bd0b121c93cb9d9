//! The verbs: each takes resolved arguments and a progress display, does its work through the libraries and says the
//! result. `xtask` calls the same functions.

pub mod bench;
pub mod bench_batches;
pub mod calibrate;
pub mod completions;
pub mod data;
pub mod eval;
pub mod export;
pub mod import;
pub mod infer;
mod infer_report;
mod infer_run;
pub mod info;
pub mod man;
pub mod train;
pub mod verify;

use std::path::{Path, PathBuf};

use simplenet_inference::{Detector, DetectorOptions};
use simplenet_model::{BackboneId, BackboneWeights, WeightsSource, compute::Isa, weights};

use crate::{
    args::{BatchArgs, InferenceArgs, RegionArgs},
    device,
    error::CliError,
    machine::precision_note,
    progress::TerminalProgress,
    tell,
};

/// Where results go and are looked for.
pub const RESULTS: &str = "results";
/// The model file's name in a result folder.
pub const MODEL_FILE: &str = "model.safetensors";

/// How `eval` and `infer` open a detector.
fn detector_options(inference: &InferenceArgs, batch: &BatchArgs, region: &RegionArgs) -> DetectorOptions {
    let mut options = DetectorOptions::default();
    options.device = inference.device.device;
    options.precision = inference.precision.precision();
    options.batch = batch.batch.map(usize::from);
    options.roi = region.roi.clone().map(Into::into);
    options.min_area = region.min_region_area;
    options.max_pixels = region.max_pixels;
    options
}

/// Opens a model file, and says on which device where it is not simply the CPU.
///
/// # Errors
/// A batch on a CPU that was chosen; as [`Detector::open`].
fn open_detector(
    model: &Path,
    options: &DetectorOptions,
    batch: &BatchArgs,
    progress: &TerminalProgress,
) -> Result<Detector, CliError> {
    device::check_batches(batch.batch.as_slice(), options.device)?;
    let detector = Detector::open(model, options)?;
    device::tell_of(&detector, batch.batch.as_slice(), progress);
    Ok(detector)
}

/// The model that was asked for, or the newest one under `results/`.
///
/// # Errors
/// A sentence that says how to make one, when there is none.
pub fn model_path(asked: Option<&Path>) -> Result<PathBuf, CliError> {
    match asked {
        Some(path) => Ok(path.to_path_buf()),
        None => newest_model(Path::new(RESULTS)).ok_or_else(|| {
            CliError::Usage(format!(
                "no {MODEL_FILE} under {RESULTS}/: train one first (`cargo xtask train-all`, or `simplenet train \
                 --normal FOLDER_OF_GOOD_PHOTOGRAPHS`), or name one with --model"
            ))
        }),
    }
}

/// Says when the CPU that a detector runs on is not made for the numbers it computes in.
fn warn_of_slow_precision(detector: &Detector) {
    let on_cpu = !detector.takes_batches();
    if let Some(note) = precision_note(detector.precision(), Isa::detect()).filter(|_| on_cpu) {
        tell::result("warning", &format!("{note}\n"), &tell::NoFields {});
    }
}

/// The model file under `root` that was written last.
pub fn newest_model(root: &Path) -> Option<PathBuf> {
    walkdir::WalkDir::new(root)
        .sort_by_file_name()
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name() == MODEL_FILE)
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.into_path())))
        .max_by(|a, b| a.0.cmp(&b.0))
        .map(|(_, path)| path)
}

/// Two files of a command line must not be one: what is read would be lost.
fn refuse_same_file(flag: &str, out: &Path, read: &Path) -> Result<(), CliError> {
    match (out.canonicalize(), read.canonicalize()) {
        (Ok(a), Ok(b)) if a == b => Err(CliError::Usage(format!(
            "{flag} {} is the file that is read: give another name",
            out.display()
        ))),
        _ => Ok(()),
    }
}

/// The backbone's weights; downloads them at the first use, with a progress bar.
///
/// # Errors
/// As `weights::resolve`: no network, a wrong hash, a file that does not fit.
pub fn backbone_weights(
    backbone: BackboneId,
    source: &WeightsSource,
    progress: &TerminalProgress,
) -> Result<BackboneWeights, CliError> {
    Ok(weights::resolve(backbone, source, progress)?)
}
