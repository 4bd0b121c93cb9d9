//! `report.html` of evaluated categories: gathers what the result folders hold and hands it to the page.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use simplenet_data::decode::{DecodeOptions, decode_file};
use simplenet_train::config::TrainConfig;

use crate::{
    error::CliError,
    evaluation::MetricsFile,
    inspect::PREDICTIONS_FILE,
    machine,
    output::{
        atomic,
        prediction::PredictionRecord,
        prediction_file::read_predictions,
        report::{CategoryReport, Fact, Pictures, Report, ReportOptions, render},
        table::{MISSING, ResultTable},
    },
};

/// The report's file name.
pub const REPORT_FILE: &str = "report.html";

/// One category on the page, and the folder that its pictures are in.
pub struct Card {
    category: CategoryReport,
    folder: PathBuf,
}

impl Card {
    /// The card of a category whose results are in `folder`.
    ///
    /// # Errors
    /// A predictions file that cannot be read.
    pub fn read(metrics: &MetricsFile, folder: &Path, note: Option<String>) -> Result<Self, CliError> {
        let category = CategoryReport {
            name: metrics.category.clone(),
            metrics: facts(metrics),
            threshold: metrics.at_threshold.map(|t| t.threshold),
            predictions: read_predictions(&folder.join(PREDICTIONS_FILE))?,
            note,
        };
        Ok(Self { category, folder: folder.to_path_buf() })
    }

    /// The card of a category that has no results.
    pub fn failed(name: &str, reason: &str) -> Self {
        let note = Some(format!("failed: {reason}"));
        let category = CategoryReport { name: name.into(), note, ..CategoryReport::default() };
        Self { category, folder: PathBuf::new() }
    }
}

/// Writes the page.
///
/// # Errors
/// A file that cannot be written. A photograph that is gone leaves a placeholder.
pub fn write(
    path: &Path,
    title: &str,
    config: &TrainConfig,
    table: ResultTable,
    cards: Vec<Card>,
) -> Result<(), CliError> {
    let folders: HashMap<String, PathBuf> =
        cards.iter().map(|card| (card.category.name.clone(), card.folder.clone())).collect();
    let report = Report {
        title: title.to_string(),
        facts: vec![
            Fact::new("machine", machine::description()),
            Fact::new("program", concat!("simplenet ", env!("CARGO_PKG_VERSION"))),
            Fact::new("backbone", config.backbone.to_string()),
        ],
        settings: settings(config)?,
        table,
        categories: cards.into_iter().map(|card| card.category).collect(),
    };
    let decode = config.preprocess.decode.clone();
    let mut pictures = |category: &CategoryReport, record: &PredictionRecord| {
        load_pictures(folders.get(&category.name)?, record, &decode)
    };
    let page = render(&report, &ReportOptions::default(), &mut pictures)?;
    Ok(atomic::write_text(path, &page)?)
}

fn load_pictures(folder: &Path, record: &PredictionRecord, decode: &DecodeOptions) -> Option<Pictures> {
    let photograph = decode_file(&record.path.to_path_buf(), decode).ok()?;
    let overlay = record.heatmap.as_ref().and_then(|name| decode_file(&folder.join(name), decode).ok());
    Some(Pictures { photograph, overlay })
}

/// The configuration, one line of its TOML a fact.
fn settings(config: &TrainConfig) -> Result<Vec<Fact>, CliError> {
    let mut section = String::new();
    let mut facts = vec![];
    for line in config.to_toml()?.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = format!("{name}.");
        } else if let Some((name, value)) = line.split_once(" = ") {
            facts.push(Fact::new(format!("{section}{name}"), value));
        }
    }
    Ok(facts)
}

fn facts(file: &MetricsFile) -> Vec<Fact> {
    let m = &file.metrics;
    let metric = |title: &str, key: &str, value: Option<f64>| {
        let fact = Fact::new(title, value.map_or(MISSING.to_string(), |v| format!("{v:.4}")));
        match m.reasons.get(key) {
            Some(reason) => fact.with_detail(reason.clone()),
            None => fact,
        }
    };
    let mut facts = vec![
        metric("image AUROC", "image_AUROC", m.image_AUROC),
        metric("image AP", "image_AP", m.image_AP),
        metric("image F1-max", "image_F1Max", m.image_F1Max),
        metric("pixel AUROC", "pixel_AUROC", m.pixel_AUROC),
        metric("pixel AP", "pixel_AP", m.pixel_AP),
        metric("AUPRO@0.30", "pixel_AUPRO", m.pixel_AUPRO),
        metric("AUPRO@0.05", "pixel_AUPRO_005", m.pixel_AUPRO_005),
        Fact::new("inference", format!("{:.1} ms an image, {}", file.inference_ms, file.precision.name())),
    ];
    if let Some(seconds) = file.fit_seconds {
        facts.push(Fact::new("fit", format!("{seconds:.1} s")));
    }
    if let Some(t) = &file.at_threshold {
        facts.push(Fact::new(
            "at the threshold",
            format!(
                "{} of {} defective found, {} of {} good rejected",
                t.true_positives, file.test_anomalous, t.false_positives, file.test_normal
            ),
        ));
    }
    facts
}
