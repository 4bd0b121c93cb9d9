//! The report of `infer`: gathered while photographs are inspected, written when all are.
//!
//! In: a line and the pictures of each photograph. Out: `report.html` and `plots/`. Predictions are kept in memory, pictures in
//! a file that stays, for a run that goes on with more photographs.

use std::path::Path;

use simplenet_inference::Detector;

use super::eval::training_config;
use crate::{
    args::InferArgs,
    error::CliError,
    output::{
        layers::LayerSizes,
        layers_file::{LayersWriter, PICTURES_FILE},
        prediction::PredictionLine,
        report::{CategoryReport, Fact},
        table::ResultTable,
    },
    plots_folder,
    progress::TerminalProgress,
    report_page::{self, Card, Heading, REPORT_FILE},
};

/// Photographs up to which a report is written: a page of more is of no use.
const MOST_IN_REPORT: usize = 20_000;

/// What the report will show: predictions in memory, pictures in a file that stays.
pub(super) struct Gathered {
    predictions: Vec<PredictionLine>,
    pictures: LayersWriter,
    /// How large the pictures are.
    pub(super) sizes: LayerSizes,
}

impl Gathered {
    /// `None` where no report is wanted, or it would be too large, which is said.
    ///
    /// # Errors
    /// A file of pictures that cannot be written.
    pub(super) fn begin(
        args: &InferArgs,
        photographs: usize,
        before: &[PredictionLine],
        progress: &TerminalProgress,
    ) -> Result<Option<Self>, CliError> {
        if args.no_report {
            // Those of a run that is gone on with, or replaced.
            let _none = std::fs::remove_file(args.output.join(PICTURES_FILE));
            return Ok(None);
        }
        if photographs > MOST_IN_REPORT {
            progress.note(&format!(
                "no {REPORT_FILE}: it is written for up to {MOST_IN_REPORT} photographs, and these are {photographs}"
            ));
            return Ok(None);
        }
        let sizes = LayerSizes::for_count(photographs);
        let pictures = LayersWriter::open(&args.output, before.len())?;
        Ok(Some(Self { predictions: before.to_vec(), pictures, sizes }))
    }

    /// Adds the pictures of a photograph: before its line is written, so that a run that goes on finds both.
    ///
    /// # Errors
    /// A disk that is full.
    pub(super) fn add_pictures(&mut self, pictures: Option<&str>) -> Result<(), CliError> {
        Ok(self.pictures.push(pictures)?)
    }

    /// Adds its line.
    pub(super) fn add_line(&mut self, line: PredictionLine) {
        self.predictions.push(line);
    }

    /// Gives up the report: its pictures' space is for the verdicts.
    pub(super) fn give_up(self) {
        self.pictures.remove();
    }

    /// Writes the page; gives what the last line says of it.
    ///
    /// # Errors
    /// A page or a figure that cannot be written.
    pub(super) fn write(
        self,
        args: &InferArgs,
        model: &Path,
        detector: &Detector,
    ) -> Result<&'static str, CliError> {
        let threshold = detector.record().threshold;
        let name = match args.photographs.input.as_slice() {
            [one] => one.display().to_string(),
            [] => String::from("the model's test images"),
            several => format!("{} inputs", several.len()),
        };
        let category = CategoryReport {
            name: name.clone(),
            threshold: threshold.map(|t| t.value),
            review_threshold: threshold.and_then(|t| t.review).map(|band| band.value),
            predictions: self.predictions,
            ..CategoryReport::default()
        };
        let facts = vec![
            Fact::new("model", model.display().to_string()),
            Fact::new("computed", format!("in {} on {}", detector.precision().name(), detector.device())),
        ];
        let config = training_config(detector).ok();
        let plots = plots_folder::write(&args.output, &category)?;
        report_page::write(
            &args.output.join(REPORT_FILE),
            Heading { title: &format!("Inspection of {name}"), facts, config: config.as_ref() },
            ResultTable::default(),
            vec![Card::inspected(category, Some(self.pictures.into_reader()?))],
        )?;
        Ok(if plots.is_empty() { ", report.html" } else { ", report.html, plots" })
    }
}
