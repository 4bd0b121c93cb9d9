//! `report.html` of evaluated categories, and of inspected photographs: gathers what there is and hands it to the page.

use std::path::{Path, PathBuf};

use simplenet_data::decode::{DecodeOptions, decode_file};
use simplenet_train::config::TrainConfig;

use crate::{
    curves_file::{CurvesFile, roc_of},
    error::CliError,
    evaluation::MetricsFile,
    inspect::PREDICTIONS_FILE,
    machine,
    output::{
        OutputError, atomic,
        layers::{LayerSizes, Layers},
        layers_file::LayersReader,
        prediction::PredictionLine,
        prediction_file::read_predictions,
        report::{CategoryReport, Curve, Fact, PictureSource, Report, ReportOptions, render},
        table::{MISSING, ResultTable},
    },
};

/// The report's file name.
pub const REPORT_FILE: &str = "report.html";

/// One category on the page, and where its pictures are.
pub struct Card {
    category: CategoryReport,
    pictures: Pictures,
}

enum Pictures {
    /// Kept when the photographs were inspected.
    Kept(LayersReader),
    /// Of a result without kept pictures: the photographs alone, read again.
    Photographs(DecodeOptions),
    None,
}

impl Card {
    /// The card of a category whose results are in `folder`.
    ///
    /// # Errors
    /// A predictions file, a file of curves or of pictures that cannot be read.
    pub fn read(metrics: &MetricsFile, folder: &Path, note: Option<String>) -> Result<Self, CliError> {
        let predictions = read_predictions(&folder.join(PREDICTIONS_FILE))?;
        let threshold = metrics.at_threshold.map(|t| t.threshold);
        let roc = roc_of(&predictions);
        let curves = CurvesFile::read(folder)?.unwrap_or_default();
        let pro = curves.pro.map(|pro| pro.curve(metrics.metrics.pixel_AUPRO, curves.map_threshold));
        // Pictures of another run, which was interrupted, do not belong to these predictions.
        let kept = LayersReader::open(folder)?.filter(|kept| kept.len() == predictions.len());
        let category = CategoryReport {
            name: metrics.category.clone(),
            metrics: facts(metrics),
            threshold,
            review_threshold: metrics.at_threshold.and_then(|t| t.review).map(|band| band.threshold),
            roc: roc.map(|points| Curve { area: metrics.metrics.image_AUROC, points, threshold }),
            pro,
            predictions,
            note,
        };
        let pictures = match kept {
            Some(kept) => Pictures::Kept(kept),
            None => Pictures::Photographs(DecodeOptions::default()),
        };
        Ok(Self { category, pictures })
    }

    /// The card of a category that has no results.
    pub fn failed(name: &str, reason: &str) -> Self {
        let note = Some(format!("failed: {reason}"));
        let category = CategoryReport { name: name.into(), note, ..CategoryReport::default() };
        Self { category, pictures: Pictures::None }
    }

    /// The card of photographs that were inspected.
    pub fn inspected(category: CategoryReport, pictures: Option<LayersReader>) -> Self {
        Self { category, pictures: pictures.map_or(Pictures::None, Pictures::Kept) }
    }

    /// What the card shows.
    pub fn category(&self) -> &CategoryReport {
        &self.category
    }
}

/// What a page says above its cards.
pub struct Heading<'a> {
    /// The title.
    pub title: &'a str,
    /// What else there is to say, after machine and program.
    pub facts: Vec<Fact>,
    /// The settings of the training, where they are known.
    pub config: Option<&'a TrainConfig>,
}

/// Writes the page.
///
/// # Errors
/// A file that cannot be written. A photograph that is gone leaves a placeholder.
pub fn write(
    path: &Path,
    heading: Heading<'_>,
    table: ResultTable,
    cards: Vec<Card>,
) -> Result<(), CliError> {
    let mut facts = vec![
        Fact::new("machine", machine::description()),
        Fact::new("program", concat!("simplenet ", env!("CARGO_PKG_VERSION"))),
    ];
    facts.extend(heading.config.map(|config| Fact::new("backbone", config.backbone.to_string())));
    facts.extend(heading.facts);
    let (categories, pictures): (Vec<_>, Vec<_>) =
        cards.into_iter().map(|card| (card.category, card.pictures)).unzip();
    let mut sources = Sources { paths: paths(&categories, &pictures), pictures };
    let report = Report {
        title: heading.title.to_string(),
        facts,
        settings: heading.config.map(settings).transpose()?.unwrap_or_default(),
        table,
        categories,
    };
    Ok(atomic::write_pieces(path, |sink| render(&report, &ReportOptions::default(), &mut sources, sink))?)
}

/// The pictures of all cards.
struct Sources {
    pictures: Vec<Pictures>,
    /// The photographs of the cards without kept pictures.
    paths: Vec<Vec<Option<PathBuf>>>,
}

/// What a photograph without kept pictures comes to on the page, roughly.
const GUESS: usize = 64 << 10;

fn paths(categories: &[CategoryReport], pictures: &[Pictures]) -> Vec<Vec<Option<PathBuf>>> {
    let path = |line: &PredictionLine| match line {
        PredictionLine::Prediction(record) => Some(record.path.to_path_buf()),
        PredictionLine::Error(_) => None,
    };
    categories
        .iter()
        .zip(pictures)
        .map(|(category, pictures)| match pictures {
            Pictures::Photographs(_) => category.predictions.iter().map(path).collect(),
            _ => vec![],
        })
        .collect()
}

impl PictureSource for Sources {
    fn page_bytes(&self, category: usize, line: usize) -> usize {
        match &self.pictures[category] {
            Pictures::Kept(kept) => kept.page_bytes(line),
            Pictures::Photographs(_) if self.paths[category][line].is_some() => GUESS,
            _ => 0,
        }
    }

    fn read(&mut self, category: usize, line: usize) -> Result<Option<Layers>, OutputError> {
        match &mut self.pictures[category] {
            Pictures::Kept(kept) => kept.read(line),
            Pictures::Photographs(decode) => {
                let path = self.paths[category][line].as_deref();
                let Some(photograph) = path.and_then(|path| decode_file(path, decode).ok()) else {
                    return Ok(None);
                };
                let sizes = LayerSizes::for_count(self.paths[category].len());
                Layers::of_photograph(&photograph, sizes).map(Some)
            }
            Pictures::None => Ok(None),
        }
    }
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
    facts
}
