//! `simplenet eval`: a model and a labelled category in, its metrics out.

use std::path::Path;

use simplenet_data::DifferenceCounts;
use simplenet_inference::Detector;
use simplenet_model::device::CPU;
use simplenet_train::{TrainError, config::TrainConfig};

use super::{detector_options, open_detector, train::note_left_out, warn_of_slow_precision};
use crate::{
    args::EvalArgs,
    error::CliError,
    evaluation::{METRICS_FILE, MetricsFile, evaluate_category, run_numbers, summarise, write_metrics},
    inspect::PREDICTIONS_FILE,
    interrupt::Interrupt,
    output::{
        report::Fact,
        table::{ResultRow, ResultTable},
    },
    plots_folder::{self, PLOTS_FOLDER},
    progress::TerminalProgress,
    report_page::{self, Card, Heading, REPORT_FILE},
    tell,
    training_reporter::TrainingReporter,
    unlike_training,
};

/// Runs the verb.
///
/// # Errors
/// An unreadable model, image or mask; a category without a test set; a file that cannot be written.
pub fn run(args: &EvalArgs, progress: &TerminalProgress) -> Result<MetricsFile, CliError> {
    let options = detector_options(&args.inference, &args.batch, &args.region);
    let detector = open_detector(&args.model, &options, &args.batch, progress)?;
    with_detector(args, &detector, progress)
}

/// Evaluates a detector that was opened as the flags say.
///
/// # Errors
/// As [`run`].
pub fn with_detector(
    args: &EvalArgs,
    detector: &Detector,
    progress: &TerminalProgress,
) -> Result<MetricsFile, CliError> {
    let source = &args.source;
    if !source.folders.abnormal.is_empty() && source.folders.normal_test.is_empty() {
        return Err(CliError::Usage(
            "eval with --abnormal needs good test images too: name a folder of good parts that were not trained on \
             with --normal-test"
                .into(),
        ));
    }
    let category = source.source()?.load(&detector.preprocess().decode)?;
    if category.test.is_empty() {
        return Err(CliError::Usage(format!(
            "{} has no test images: an evaluation needs test/good and at least one test/<defect> folder, or plain folders \
             named with --normal-test and --abnormal",
            category.root.display()
        )));
    }
    note_left_out(&category, progress);
    let config = training_config(detector)?;
    let interrupt = Interrupt::on_signals()?;
    let reporter = TrainingReporter::new(progress, &interrupt, None)?;
    let out = args.output.as_deref();
    let evaluation = evaluate_category(detector, &category, &config, &args.region, out, &reporter);
    let (evaluation, without_maps) = evaluation.map_err(|error| stopped(error, out))?;
    let metrics = summarise(detector, &category, &evaluation, config.seed, None, None);
    // Before any file: a disk that is full must not cost the numbers.
    tell::result("metrics", &describe(&metrics), &metrics);
    if let Some(path) = &args.json {
        write_metrics(path, &metrics)?;
    }
    let mut plots = None;
    if let Some(out) = &args.output {
        write_metrics(&out.join(METRICS_FILE), &metrics)?;
        let table =
            ResultTable { rows: vec![ResultRow::new(&*metrics.category, vec![run_numbers(&metrics)])] };
        let card = Card::read(&metrics, out, None)?;
        plots = Some(plots_folder::write_evaluated(out, card.category(), &metrics)?);
        report_page::write(
            &out.join(REPORT_FILE),
            Heading {
                title: &format!("{}: evaluation", metrics.category),
                facts: vec![Fact::new("model", args.model.display().to_string())],
                config: Some(&config),
            },
            table,
            vec![card],
        )?;
    }
    if let (Some(out), Some(plots)) = (&args.output, plots) {
        println!("  report           {}", out.join(REPORT_FILE).display());
        println!("  plots            {} ({plots})", out.join(PLOTS_FOLDER).display());
    }
    let mut differences = DifferenceCounts::default();
    evaluation.images.iter().for_each(|image| differences.add(&image.inspection.differences));
    unlike_training::warn(&differences);
    warn_of_slow_precision(detector);
    if without_maps > 0 {
        return Err(CliError::Usage(format!("{without_maps} images are without their heat map (see above)")));
    }
    Ok(metrics)
}

/// An evaluation that a signal has stopped, in its own words.
fn stopped(error: CliError, out: Option<&Path>) -> CliError {
    if !matches!(error, CliError::Train(TrainError::Interrupted { .. })) {
        return error;
    }
    CliError::Stopped(match out {
        Some(out) => format!(
            "stopped; {} keeps what was inspected. Metrics need every image: the same command begins anew",
            out.join(PREDICTIONS_FILE).display()
        ),
        None => "stopped; metrics need every image: the same command begins anew".into(),
    })
}

/// The configuration that a model was trained with, from its record.
///
/// # Errors
/// A record that this program cannot read.
pub fn training_config(detector: &Detector) -> Result<TrainConfig, CliError> {
    serde_json::from_value(detector.record().training.clone())
        .map_err(|e| CliError::Usage(format!("the model's training settings cannot be read: {e}")))
}

/// The metrics as lines for people.
pub fn describe(file: &MetricsFile) -> String {
    let m = &file.metrics;
    let rows = [
        ("image_AUROC", m.image_AUROC),
        ("image_AP", m.image_AP),
        ("image_F1Max", m.image_F1Max),
        ("pixel_AUROC", m.pixel_AUROC),
        ("pixel_AP", m.pixel_AP),
        ("pixel_F1Max", m.pixel_F1Max),
        ("pixel_AUPRO", m.pixel_AUPRO),
        ("pixel_AUPRO_005", m.pixel_AUPRO_005),
        ("pixel_AUsPRO", m.pixel_AUsPRO),
        ("pixel_AUsPRO_005", m.pixel_AUsPRO_005),
    ];
    let mut text = format!(
        "{}: {} good and {} anomalous images\n",
        file.category, file.test_normal, file.test_anomalous
    );
    for (name, value) in rows {
        match (value, m.reasons.get(name)) {
            (Some(value), _) => text += &format!("  {name:<16} {value:.4}\n"),
            (None, Some(reason)) => text += &format!("  {name:<16} n/a: {reason}\n"),
            // Only data sets with saturation areas have these.
            (None, None) if name.starts_with("pixel_AUsPRO") => {}
            (None, None) => text += &format!("  {name:<16} n/a\n"),
        }
    }
    for (name, value) in &m.image_AUROC_by_type {
        text += &format!("  image_AUROC      {value:.4} of {name}\n");
    }
    if let Some(t) = &file.at_threshold {
        text += &format!(
            "  at threshold {:.4}: {} of {} defective parts found, {} of {} good parts rejected\n",
            t.threshold, t.true_positives, file.test_anomalous, t.false_positives, file.test_normal
        );
        if let Some(review) = t.review {
            text += &format!(
                "  for review from {:.4}: {} defective and {} good parts more\n",
                review.threshold, review.anomalous, review.normal
            );
        }
    }
    if let Some(chosen) = &file.thresholds_chosen_on_test_data {
        text += "  chosen on these test images, so without a promise for others (simplenet calibrate --threshold):\n";
        for (name, t) in chosen.named() {
            text += &format!(
                "    {name:<22} {:<10} {} of {} defective parts found, {} of {} good parts rejected\n",
                t.threshold, t.true_positives, file.test_anomalous, t.false_positives, file.test_normal
            );
        }
    }
    let precision = file.precision.name();
    text += &format!("  inference        {:.1} ms an image (median), {precision}", file.inference_ms);
    if file.device != CPU {
        text += &format!(", {} at once on {}", file.batch, file.device);
    }
    text + "\n"
}
