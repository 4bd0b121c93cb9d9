//! `simplenet train`: photographs of good parts in, a model file and its record out.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::json;
use simplenet_data::{
    dataset::{Category, GroundTruth, Place, Source, check::unreadable},
    decode::image_size,
};
use simplenet_model::{BackboneWeights, weights};
use simplenet_train::{
    Reporter, TrainError,
    calibration::false_reject::expected_false_reject_rate,
    config::TrainConfig,
    features::FeatureUse,
    fit::{Fit, FitOptions, FitReport, fit},
    head::resume::KeepState,
};

use super::{MODEL_FILE, RESULTS, backbone_weights};
use crate::{
    args::{RunArgs, TrainArgs},
    config_file::{ConfigFile, resolve},
    device,
    error::CliError,
    evaluation::METRICS_FILE,
    interrupt::Interrupt,
    output::{TRAINING_FILE, atomic},
    progress::TerminalProgress,
    settings::{feature_storage, weights_source},
    tell::{self, Level},
    training_reporter::TrainingReporter,
};

/// The state of a training that is not over, in the output folder.
pub const STATE_FILE: &str = "checkpoint.state";
/// Folder of the curves, in the output folder.
pub const TENSORBOARD: &str = "tensorboard";

/// What `training.json` holds.
#[derive(Debug, Serialize)]
struct TrainingRecord<'a> {
    category: &'a str,
    #[serde(flatten)]
    origin: Origin,
    seed: u64,
    #[serde(flatten)]
    report: &'a FitReport,
}

/// What a model was made from: enough to tell whether it would come out the same again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The category's folder.
    pub data: PathBuf,
    /// SHA-256 over the names and sizes of the category's images and masks.
    pub data_sha256: String,
    /// SHA-256 of the backbone's weights.
    pub backbone_sha256: String,
    /// How the category is found again, where `data` does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl Origin {
    /// Of a category and weights.
    ///
    /// # Errors
    /// A file that has gone since the category was listed.
    pub fn of(category: &Category, weights: &BackboneWeights) -> Result<Self, CliError> {
        let mut listing = String::new();
        for sample in category.samples() {
            let masks = sample.mask.as_ref().map(GroundTruth::files).unwrap_or_default();
            for path in [&sample.path].into_iter().chain(masks) {
                let size = std::fs::metadata(path).map_err(CliError::io("read", path))?.len();
                listing +=
                    &format!("{}\t{size}\n", path.strip_prefix(&category.root).unwrap_or(path).display());
            }
        }
        Ok(Self {
            data: category.root.clone(),
            data_sha256: weights::sha256_hex(listing.as_bytes()),
            backbone_sha256: weights.sha256.clone(),
            place: place_to_record(&category.place),
        })
    }
}

/// Where a category is found again; nothing where its folder says it.
fn place_to_record(place: &Place) -> Option<Place> {
    let by_path = Source::path(&place.path).place().is_ok_and(|found| found == *place);
    (!by_path || place.path.is_file()).then(|| place.clone())
}

/// Runs the verb; `file` has settings that the flags do not name.
///
/// # Errors
/// Unreadable images or settings, missing weights, a folder that cannot be written.
pub fn run(args: &TrainArgs, file: Option<&ConfigFile>, progress: &TerminalProgress) -> Result<(), CliError> {
    let config = resolve(&args.settings, args.seed, file)?;
    let category = args.source.source()?.load(&config.preprocess.decode)?;
    note_left_out(&category, progress);
    let out = args.out.clone().unwrap_or_else(|| Path::new(RESULTS).join(&category.name));
    if args.settings.oracle && category.test.is_empty() {
        return Err(CliError::Usage("--oracle needs a test set; --normal has none".into()));
    }
    if let Some(first) = category.train.first() {
        note_inspected_share(&config, image_size(&first.path, &config.preprocess.decode)?, progress);
    }
    let opened = device::open(args.settings.device.device, progress)?;
    let weights = backbone_weights(config.backbone, &weights_source(&args.settings), progress)?;
    // Now, not after the work: a folder that cannot be made would lose it.
    std::fs::create_dir_all(&out).map_err(CliError::io("create", &out))?;
    atomic::clear_leftovers(&out);
    let options = FitOptions {
        storage: feature_storage(&args.settings.storage),
        validation: &category.validation,
        oracle: args.settings.oracle.then_some(category.test.as_slice()),
        keep: Some(keep_state(&args.run, &out, args.fresh)?),
        device: opened.device.clone(),
    };
    let interrupt = Interrupt::on_signals()?;
    let reporter = TrainingReporter::new(progress, &interrupt, tensorboard(&args.run, &out).as_deref())?;
    let trained = fit(&config, &category.train, &weights, &options, &reporter);
    let trained = trained.inspect_err(|_| {
        progress.unwind(0);
        let _kept_unless_empty = std::fs::remove_dir(&out);
    });
    let mut trained = trained.map_err(|error| all_unreadable(&category, &config, error))?;
    let origin = Origin::of(&category, &weights)?;
    let model = write(&mut trained, &config, &category.name, origin, &out)?;
    if let Some(keep) = &options.keep {
        keep.remove().map_err(CliError::io("remove", &keep.path))?;
    }
    summarise(&trained, &config, &model);
    Ok(())
}

/// All photographs that cannot be read, where a training stopped at the first of several.
fn all_unreadable(category: &Category, config: &TrainConfig, first: TrainError) -> CliError {
    if !matches!(first, TrainError::Data(_)) {
        return first.into();
    }
    let samples = || category.train.iter().chain(&category.validation);
    let reasons = unreadable(samples().map(|sample| sample.path.as_path()), &config.preprocess.decode);
    let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    if reasons.len() < 2 {
        return first.into();
    }
    TrainError::UnreadableImages { found: samples().count(), reasons }.into()
}

/// Where a run in `out` keeps the state of its training; what an earlier one has kept is removed if it is to begin anew.
///
/// # Errors
/// A state that cannot be removed.
pub fn keep_state(args: &RunArgs, out: &Path, fresh: bool) -> Result<KeepState, CliError> {
    let keep = KeepState { path: out.join(STATE_FILE), every: Duration::from_secs_f64(args.save_every) };
    if fresh {
        keep.remove().map_err(CliError::io("remove", &keep.path))?;
    }
    Ok(keep)
}

/// Where a run in `out` writes its curves, if it does.
fn tensorboard(args: &RunArgs, out: &Path) -> Option<PathBuf> {
    let asked = args.tensorboard.as_ref()?;
    Some(asked.clone().unwrap_or_else(|| out.join(TENSORBOARD)))
}

/// Writes config.toml, training.json and, last, the model file into `out`; returns the model file's path. Metrics of an
/// earlier model in that folder are removed: they would be taken for this one's.
///
/// # Errors
/// A folder that cannot be written.
pub fn write(
    trained: &mut Fit,
    config: &TrainConfig,
    category: &str,
    origin: Origin,
    out: &Path,
) -> Result<PathBuf, CliError> {
    write_record(trained, config, category, origin, out)?;
    let path = out.join(MODEL_FILE);
    trained.save(&path)?;
    Ok(path)
}

/// The same without the model file.
///
/// # Errors
/// As [`write()`].
pub fn write_record(
    trained: &Fit,
    config: &TrainConfig,
    category: &str,
    origin: Origin,
    out: &Path,
) -> Result<(), CliError> {
    std::fs::create_dir_all(out).map_err(CliError::io("create", out))?;
    let metrics = out.join(METRICS_FILE);
    if metrics.exists() {
        std::fs::remove_file(&metrics).map_err(CliError::io("remove", &metrics))?;
    }
    atomic::write_text(&out.join("config.toml"), &config.to_toml()?)?;
    let record = TrainingRecord { category, origin, seed: config.seed, report: &trained.report };
    Ok(atomic::write_json(&out.join(TRAINING_FILE), &record)?)
}

fn summarise(trained: &Fit, config: &TrainConfig, model: &Path) {
    let report = &trained.report;
    let for_threshold = match report.validation_images {
        0 => format!("{} held out", report.held_out_images),
        validation => format!("{validation} of the validation set give the threshold"),
    };
    println!(
        "trained on {} images in {:.1} s (features {:.1} s, training {:.1} s), {for_threshold}",
        report.trained_images, report.fit_seconds, report.extraction_seconds, report.training_seconds,
    );
    println!("{}", describe(&report.features));
    tell::event(Level::Info, "training", "how the training went", report);
    match &trained.detector.record().threshold {
        Some(threshold) => println!(
            "threshold {:.4} on the raw score: expect up to {:.1} % of good parts to be rejected",
            threshold.value,
            100.0 * expected_false_reject_rate(threshold.held_out, threshold.target_false_reject_rate)
        ),
        None => println!("no threshold: no good images were held out (see --held-out)"),
    }
    if let Some(oracle) = report.oracle {
        println!(
            "oracle (epoch chosen on the test set, for comparison only): image AUROC {:.4} at epoch {} of {}",
            oracle.image_auroc, oracle.epoch, config.epochs
        );
    }
    tell::result("model", &format!("model: {}\n", model.display()), &json!({ "path": model }));
    println!("next:  simplenet infer --model {} --input FOLDER", model.display());
}

/// Where the features came from and where they were kept.
fn describe(features: &FeatureUse) -> String {
    let FeatureUse { images, from_cache, bytes_in_memory, bytes_on_disk } = *features;
    let computed = match from_cache {
        0 => format!("features of {images} images computed"),
        _ if from_cache == images => format!("features of {images} images from the feature cache"),
        _ => format!(
            "features of {from_cache} images from the feature cache, of {} computed",
            images - from_cache
        ),
    };
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let memory = match bytes_on_disk {
        0 => format!("{} in memory", megabytes(bytes_in_memory)),
        beyond => format!("{} in memory, {} on disk", megabytes(bytes_in_memory), megabytes(beyond)),
    };
    format!("{computed}; {memory}")
}

/// Says which images of a data set are not used, and why; and what else is to be known of it.
pub fn note_left_out(category: &Category, reporter: &dyn Reporter) {
    for note in &category.notes {
        reporter.note(&format!("{}: {}", category.name, note.message));
    }
    for left_out in &category.left_out {
        let (name, count) = (&category.name, left_out.images.len());
        reporter.note(&format!("{name}: {count} images are not used: {}", left_out.why));
    }
}

/// Says how much of a photograph is inspected, when a crop or the region of interest leaves part of it out.
pub fn note_inspected_share(config: &TrainConfig, size: (u32, u32), reporter: &dyn Reporter) {
    let placement = config.preprocess.placement(size.0, size.1);
    let share = placement.inspected_share();
    if let Some(roi) = &config.preprocess.roi {
        let pixels = roi.pixels(&placement);
        let inside = pixels.iter().filter(|&&inside| inside).count() as f64 / pixels.len().max(1) as f64;
        reporter.warn(&format!(
            "{:.1} % of each {} x {} photograph is inspected: the region of interest is {}",
            100.0 * share * inside,
            size.0,
            size.1,
            roi.describe()
        ));
    } else if share < 0.9995 {
        reporter.warn(&format!(
            "the centre crop inspects {:.1} % of each {} x {} photograph; defects outside it are not seen",
            100.0 * share,
            size.0,
            size.1
        ));
    }
}
