//! `simplenet calibrate`: a model and photographs of good parts in; the same model with thresholds for the false-reject rate
//! that was asked for out. Or a threshold in, and the model with it out. Nothing is trained: the scores stay what they are.

use std::path::{Path, PathBuf};

use candle_core::Device;
use serde::Serialize;
use simplenet_data::{
    DifferenceCounts,
    dataset::{Place, folder},
};
use simplenet_inference::{Detector, DetectorOptions, DeviceChoice};
use simplenet_model::checkpoint::{self, Threshold};
use simplenet_train::calibration::{Rates, TooFew, recalibrate};

use super::train::note_left_out;
use crate::{
    args::CalibrateArgs,
    device,
    error::CliError,
    output::{
        TRAINING_FILE, atomic,
        calibration_report::{Border, CalibrationReport, ScoredImage},
        prediction::JsonPath,
    },
    progress::TerminalProgress,
    tell, unlike_training,
};

/// Runs the verb.
///
/// # Errors
/// A model or a photograph that cannot be read, rates that cannot be, too few photographs; a file that cannot be written.
/// The model file is as it was then.
pub fn run(args: &CalibrateArgs, progress: &TerminalProgress) -> Result<(), CliError> {
    match args.threshold {
        Some(threshold) => write_threshold(args, threshold),
        None => from_good_parts(args, progress),
    }
}

/// Sets the thresholds from photographs of good parts.
fn from_good_parts(args: &CalibrateArgs, progress: &TerminalProgress) -> Result<(), CliError> {
    let rates = Rates { false_reject: args.false_reject, review: args.review };
    rates.validate()?;
    let out = args.out.as_deref().unwrap_or(&args.model);
    require_writable(out)?;
    let (net, record) = checkpoint::load(&args.model, &Device::Cpu)?;
    let (before, calibrated_model_id) = (record.threshold, checkpoint::model_id(&record));
    let mut options = DetectorOptions::default();
    options.device = args.device.device;
    options.roi = args.roi.clone().map(Into::into);
    let mut detector = Detector::from_network(&net, record, &options)?;
    device::tell_of(&detector, &[], progress);
    let category = folder::load_good(&args.normal)?;
    note_left_out(&category, progress);
    let good: Vec<PathBuf> = category.train.into_iter().map(|sample| sample.path).collect();
    for folder in args.normal.iter().filter(|folder| trained_on(&args.model, folder)) {
        progress.warn(&format!(
            "{}: the model was trained on photographs in there. What it has seen scores lower than new good parts will, so \
             more of these will be rejected than is said here; take photographs that it was not trained on",
            folder.display()
        ));
    }
    let too_few = if args.strict { TooFew::Refuse } else { TooFew::Estimate };
    let knew = detector.record().image_profile.is_some();
    let images = recalibrate(&mut detector, rates, &good, too_few, progress)?;
    let mut differences = DifferenceCounts::default();
    images.iter().for_each(|image| differences.add(&image.differences));
    let scores: Vec<f32> = images.iter().map(|image| image.score).collect();
    let mut record = detector.record().clone();
    record.calibrated_by = Some(simplenet_train::program());
    let record = checkpoint::save(out, &net, &record)?;
    let Some(threshold) = record.threshold else {
        return Err(CliError::Usage("the calibration has set no threshold".into()));
    };
    let mut scored: Vec<(&PathBuf, f32)> = good.iter().zip(scores.iter().copied()).collect();
    scored.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    let report = CalibrationReport {
        program: simplenet_train::program(),
        model: JsonPath::new(out),
        model_id: checkpoint::model_id(&record),
        calibrated_model_id,
        normal: args.normal.iter().map(|folder| JsonPath::new(folder)).collect(),
        images: scores.len(),
        before,
        rejected_before: before.map(|t| scores.iter().filter(|&&score| score >= t.value).count()),
        threshold,
        rejected: Border::new(threshold.value, rates.false_reject, &scores),
        rejected_or_reviewed: threshold
            .review
            .map(|band| Border::new(band.value, rates.not_passed(), &scores)),
        normal_score_quantiles: record.normal_score_quantiles.clone(),
        scores: scored
            .into_iter()
            .map(|(path, score)| ScoredImage { path: JsonPath::new(path), score })
            .collect(),
    };
    tell::result("calibration", &report.to_terminal(), &report);
    report.notes().iter().for_each(|note| progress.warn(note));
    unlike_training::warn(&differences);
    if !knew {
        progress.note(
            "the model did not know what the photographs were like that it was trained on: it now takes these for such, and \
             `infer` and `eval` note others",
        );
    }
    if let Some(file) = &args.json {
        atomic::write_json(file, &report)?;
        println!("the same as JSON: {}", file.display());
    }
    println!("model: {}", out.display());
    Ok(())
}

/// Refuses a place that no model can be written to, before any photograph is inspected.
///
/// # Errors
/// A folder that is missing or may not be written.
fn require_writable(model: &Path) -> Result<(), CliError> {
    let folder = model.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::tempfile_in(folder).map(drop).map_err(|error| {
        CliError::Usage(format!(
            "the calibrated model cannot be written to {}: {error}; name a file that can be written with --out FILE",
            folder.display()
        ))
    })
}

/// Writes a threshold that a person chose into the model.
fn write_threshold(args: &CalibrateArgs, value: f32) -> Result<(), CliError> {
    let (net, record) = checkpoint::load(&args.model, &Device::Cpu)?;
    let (before, calibrated_model_id) = (record.threshold, checkpoint::model_id(&record));
    let mut options = DetectorOptions::default();
    options.device = DeviceChoice::Cpu;
    options.threshold = Some(value);
    let mut record = Detector::from_network(&net, record, &options)?.record().clone();
    record.calibrated_by = Some(simplenet_train::program());
    let out = args.out.as_deref().unwrap_or(&args.model);
    let record = checkpoint::save(out, &net, &record)?;
    let report = ChosenThreshold {
        program: simplenet_train::program(),
        model: JsonPath::new(out),
        model_id: checkpoint::model_id(&record),
        calibrated_model_id,
        before,
        threshold: record.threshold,
    };
    let was = before.map_or("none".into(), |before| before.value.to_string());
    let text = format!(
        "threshold {value}, chosen by hand (before: {was}): what it does to good parts is not promised\nmodel: {}\n",
        out.display()
    );
    tell::result("threshold", &text, &report);
    if let Some(file) = &args.json {
        atomic::write_json(file, &report)?;
        println!("the same as JSON: {}", file.display());
    }
    Ok(())
}

/// What `calibrate --threshold --json` writes.
#[derive(Debug, Serialize)]
struct ChosenThreshold {
    /// Name and version of the program.
    program: String,
    /// The model file that was written.
    model: JsonPath,
    /// Its id.
    model_id: String,
    /// The id of the model that was changed.
    calibrated_model_id: String,
    /// The threshold before; null if there was none.
    before: Option<Threshold>,
    /// The threshold now.
    threshold: Option<Threshold>,
}

/// Whether `normal` holds, or is among, the photographs that the model was trained on, as far as the record beside the model
/// file tells.
fn trained_on(model: &Path, normal: &Path) -> bool {
    #[derive(serde::Deserialize)]
    struct OnlyData {
        data: PathBuf,
        place: Option<Place>,
    }
    let record = std::fs::read_to_string(model.with_file_name(TRAINING_FILE)).unwrap_or_default();
    let Ok(OnlyData { data, place }) = serde_json::from_str(&record) else { return false };
    // A category's test images were not trained on.
    let category = data.join("train");
    let trained = match place.and_then(|place| place.folders) {
        Some(folders) => folders.normal,
        None if category.is_dir() => vec![category],
        None => vec![data],
    };
    trained.iter().any(|trained| match (trained.canonicalize(), normal.canonicalize()) {
        (Ok(trained), Ok(normal)) => normal.starts_with(&trained) || trained.starts_with(&normal),
        _ => false,
    })
}
