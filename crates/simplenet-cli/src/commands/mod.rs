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

use simplenet_data::RegionOfInterest;
use simplenet_model::{BackboneId, BackboneWeights, WeightsSource, compute::Isa, weights};
use simplenet_train::Detector;

use crate::{args::RegionArgs, error::CliError, machine::precision_note, progress::TerminalProgress, tell};

/// Where results go and are looked for.
pub const RESULTS: &str = "results";
/// The model file's name in a result folder.
pub const MODEL_FILE: &str = "model.safetensors";

/// Looks only at what was asked for, and gives only regions that are large enough.
///
/// # Errors
/// A file that is no region of interest.
fn narrow(detector: &mut Detector, args: &RegionArgs) -> Result<(), CliError> {
    if let Some(file) = &args.roi {
        let region = RegionOfInterest::read(file, &detector.preprocess().decode)?;
        detector.narrow(region)?;
    }
    if let Some(pixels) = args.max_pixels {
        detector.override_max_pixels(pixels);
    }
    if let Some(pixels) = args.min_region_area {
        detector.override_min_region_area(pixels);
    }
    Ok(())
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

/// Says when the processor that a detector runs on is not made for the numbers it computes in.
fn warn_of_slow_precision(detector: &Detector) {
    let on_cpu = detector.batch_predictor().is_none();
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
