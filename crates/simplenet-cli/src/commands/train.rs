//! `simplenet train`: photographs of good parts in, a model file and its record out.

use std::path::{Path, PathBuf};

use serde::Serialize;
use simplenet_data::{
    dataset::{Category, folder, mvtec},
    decode::image_size,
};
use simplenet_train::{
    Reporter,
    calibrate::expected_false_reject_rate,
    config::TrainConfig,
    fit::{Fit, FitReport, fit},
};

use super::{MODEL_FILE, RESULTS, backbone_weights};
use crate::{
    args::TrainArgs,
    error::CliError,
    output::atomic,
    progress::TerminalProgress,
    settings::{resolve, weights_source},
};

/// The record beside a model file: how it came to be.
pub const TRAINING_FILE: &str = "training.json";

/// What `training.json` holds.
#[derive(Debug, Serialize)]
struct TrainingRecord<'a> {
    data: &'a Path,
    category: &'a str,
    seed: u64,
    #[serde(flatten)]
    report: &'a FitReport,
}

/// Runs the verb.
///
/// # Errors
/// Unreadable images or settings, missing weights, a folder that cannot be written.
pub fn run(args: &TrainArgs, progress: &TerminalProgress) -> Result<(), CliError> {
    let config = resolve(&args.settings, args.seed)?;
    let category = match (&args.data, &args.normal) {
        (Some(dir), _) => mvtec::load_category(dir)?,
        (None, Some(dir)) => folder::load_normal(dir)?,
        (None, None) => return Err(CliError::Usage("train needs --data or --normal".into())),
    };
    let out = args.out.clone().unwrap_or_else(|| Path::new(RESULTS).join(&category.name));
    if args.settings.oracle && category.test.is_empty() {
        return Err(CliError::Usage("--oracle needs a test set; --normal has none".into()));
    }
    if let Some(first) = category.train.first() {
        note_inspected_share(&config, image_size(&first.path, &config.preprocess.decode)?, progress);
    }
    let weights = backbone_weights(config.backbone, &weights_source(&args.settings), progress)?;
    let oracle = args.settings.oracle.then_some(category.test.as_slice());
    let mut trained = fit(&config, &category.train, &weights, oracle, progress)?;
    let model = write(&mut trained, &config, &category, &out)?;
    summarise(&trained, &config, &model);
    Ok(())
}

/// Writes config.toml, training.json and, last, the model file into `out`; returns the model file's path.
///
/// # Errors
/// A folder that cannot be written.
pub fn write(
    trained: &mut Fit,
    config: &TrainConfig,
    category: &Category,
    out: &Path,
) -> Result<PathBuf, CliError> {
    std::fs::create_dir_all(out).map_err(CliError::io("create", out))?;
    atomic::write_text(&out.join("config.toml"), &config.to_toml()?)?;
    let record = TrainingRecord {
        data: &category.root,
        category: &category.name,
        seed: config.seed,
        report: &trained.report,
    };
    atomic::write_json(&out.join(TRAINING_FILE), &record)?;
    let path = out.join(MODEL_FILE);
    trained.detector.save(&path)?;
    Ok(path)
}

fn summarise(trained: &Fit, config: &TrainConfig, model: &Path) {
    let report = &trained.report;
    println!(
        "trained on {} images in {:.1} s (features {:.1} s, training {:.1} s), {} held out",
        report.trained_images,
        report.fit_seconds,
        report.extraction_seconds,
        report.training_seconds,
        report.held_out_images
    );
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
    println!("model: {}", model.display());
    println!("next:  simplenet infer --model {} --input FOLDER", model.display());
}

/// Says how much of a photograph is inspected, when a crop leaves part of it out.
pub fn note_inspected_share(config: &TrainConfig, size: (u32, u32), reporter: &dyn Reporter) {
    let share = config.preprocess.placement(size.0, size.1).inspected_share();
    if share < 0.9995 {
        reporter.note(&format!(
            "the centre crop inspects {:.1} % of each {} x {} photograph; defects outside it are not seen",
            100.0 * share,
            size.0,
            size.1
        ));
    }
}
