//! `simplenet import`: a checkpoint of the official code in; a model file with the backbone, its preprocessing and, from
//! photographs of good parts, a threshold out. Nothing is trained.

use std::path::PathBuf;

use simplenet_data::dataset::{Sample, folder};
use simplenet_model::{WeightsSource, checkpoint, official::OfficialCheckpoint};
use simplenet_train::{
    TrainConfig,
    calibration::{Rates, TooFew, false_reject::expected_false_reject_rate, recalibrate},
    config::Preset,
    import::{Imported, import},
};

use super::{backbone_weights, refuse_same_file};
use crate::{args::ImportArgs, config_file::ConfigFile, error::CliError, progress::TerminalProgress};

/// Runs the verb; `file` has the settings that the checkpoint was trained with, where they are not the official script's.
///
/// # Errors
/// A checkpoint that is none or does not fit the settings; missing weights; photographs that cannot be read; a file that
/// cannot be written.
pub fn run(
    args: &ImportArgs,
    file: Option<&ConfigFile>,
    progress: &TerminalProgress,
) -> Result<(), CliError> {
    let rates = Rates { false_reject: args.false_reject, review: args.review };
    rates.validate()?;
    refuse_same_file("--out", &args.out, &args.checkpoint)?;
    let checkpoint = OfficialCheckpoint::read(&args.checkpoint)?;
    let config = settings(args, file)?;
    let good: Vec<Sample> = match args.normal.as_slice() {
        [] => Vec::new(),
        folders => folder::load_good(folders)?.train,
    };
    let source = args.weights.clone().map_or(WeightsSource::Default, WeightsSource::File);
    let weights = backbone_weights(config.backbone, &source, progress)?;
    let Imported { mut detector, net } = import(&config, &checkpoint, &weights, &good, progress)?;
    if !good.is_empty() {
        let paths: Vec<PathBuf> = good.iter().map(|sample| sample.path.clone()).collect();
        recalibrate(&mut detector, rates, &paths, TooFew::Estimate, progress)?;
    }
    let mut record = detector.record().clone();
    if !good.is_empty() {
        record.calibrated_by = Some(simplenet_train::program());
    }
    if let Some(folder) = args.out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(CliError::io("create", folder))?;
    }
    let record = checkpoint::save(&args.out, &net, &record)?;

    let head = checkpoint.config;
    let layers = match head.adaptor.layers {
        0 => "no adaptor".into(),
        1 => "an adaptor of 1 layer".into(),
        n => format!("an adaptor of {n} layers"),
    };
    println!(
        "{}: {layers}, features of width {}, {} hidden numbers, behind {}",
        args.checkpoint.display(),
        head.adaptor.dim,
        head.discriminator.hidden,
        config.backbone
    );
    if head.adaptor.layers > 1 {
        progress.note(
            "the checkpoint does not say what stood between the adaptor's layers: nothing is taken to, as with \
             --proj_layer_type 0 and 1 of the official code; one that was trained with 2 gives other scores there",
        );
    }
    match &record.threshold {
        Some(threshold) => println!(
            "threshold {:.4} on the raw score: expect up to {:.1} % of good parts to be rejected",
            threshold.value,
            100.0 * expected_false_reject_rate(threshold.held_out, threshold.target_false_reject_rate)
        ),
        None => println!(
            "no threshold: an official checkpoint has none. Set one from photographs of good parts: simplenet calibrate --model \
             {} --normal FOLDER",
            args.out.display()
        ),
    }
    println!("model: {}", args.out.display());
    Ok(())
}

/// The paper preset's settings with what the configuration file changes.
fn settings(args: &ImportArgs, file: Option<&ConfigFile>) -> Result<TrainConfig, CliError> {
    let preset = TrainConfig::preset(Preset::Paper, args.backbone);
    let mut config = match file {
        Some(file) => file.change(&preset)?,
        None => preset,
    };
    config.backbone = args.backbone;
    Ok(config)
}
