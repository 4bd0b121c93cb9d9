//! `curves.json`: the ROC curve of the images and the curve of per-region overlap of an evaluation, as columns of numbers.
//!
//! In: an evaluation. Out: what `report.html` and `plots/` draw, and what a program of one's own may. No point is moved; points
//! are left out as `simplenet_metrics::thin_curve` does it.

use std::path::Path;

use serde::{Deserialize, Serialize};
use simplenet_data::dataset::Label;
use simplenet_inference::Detector;
use simplenet_metrics::{roc_curve, thin_curve};
use simplenet_train::evaluation::{Evaluation, curves::pro_curve};

use crate::{
    error::CliError,
    output::{
        OutputError, atomic,
        prediction::{PredictionLine, Verdict},
        report::{Curve, CurvePoint},
    },
};

/// The file's name.
pub const CURVES_FILE: &str = "curves.json";
/// Parts of a rate that the curves tell apart.
const PARTS: usize = 500;

/// What the file holds. A curve that is undefined is null.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CurvesFile {
    /// ROC of the image scores.
    pub image_roc: Option<Columns>,
    /// Mean per-region overlap over the pixels' false-positive rate.
    pub pro: Option<Columns>,
    /// The model's threshold on the anomaly map; null without one.
    pub map_threshold: Option<f32>,
}

/// A curve, from the highest threshold to the lowest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Columns {
    /// False-positive rates.
    pub false_positive_rate: Vec<f64>,
    /// True-positive rates, or mean overlaps of the regions.
    pub rate: Vec<f64>,
    /// The lowest score that is predicted anomalous; null at (0, 0).
    pub threshold: Vec<Option<f32>>,
}

impl Columns {
    fn of(points: impl IntoIterator<Item = CurvePoint>) -> Self {
        let mut columns = Self::default();
        for point in points {
            columns.false_positive_rate.push(point.x);
            columns.rate.push(point.y);
            columns.threshold.push(point.threshold);
        }
        columns
    }

    /// The curve for drawing.
    pub fn curve(&self, area: Option<f64>, threshold: Option<f32>) -> Curve {
        let rates = self.false_positive_rate.iter().zip(&self.rate);
        let points = rates.zip(&self.threshold).map(|((&x, &y), &threshold)| CurvePoint { x, y, threshold });
        Curve { area, points: points.collect(), threshold }
    }
}

impl CurvesFile {
    /// The curves of an evaluation.
    pub fn of(detector: &Detector, evaluation: &Evaluation) -> Self {
        let images = evaluation.images.iter();
        let scored = images.map(|i| (i.inspection.score, i.sample.label == Label::Anomalous));
        let size = detector.preprocess().network_size();
        let pro = pro_curve(&evaluation.images, size, PARTS).map(|points| {
            Columns::of(points.iter().map(|p| point(p.false_positive_rate, p.region_overlap, p.threshold)))
        });
        let map_threshold = detector.record().threshold.map(|t| t.map_value);
        Self { image_roc: roc(scored).map(Columns::of), pro, map_threshold }
    }

    /// Writes the file into a result's folder.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), CliError> {
        Ok(atomic::write_json(&folder.join(CURVES_FILE), self)?)
    }

    /// Reads the file of a result; `None` of a result that has none.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Self>, CliError> {
        let path = folder.join(CURVES_FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(CliError::io("read", &path)(e)),
        };
        let file = serde_json::from_str(&text);
        Ok(Some(file.map_err(|source| OutputError::Json { path, line: 0, source })?))
    }
}

/// The points of the ROC curve of labelled scores, thinned; `None` where it is undefined.
pub fn roc(scored: impl Iterator<Item = (f32, bool)>) -> Option<Vec<CurvePoint>> {
    let (scores, labels): (Vec<f32>, Vec<bool>) = scored.unzip();
    let full = roc_curve(&scores, &labels).ok()?;
    let thin = thin_curve(full, |p| (p.false_positive_rate, p.true_positive_rate), PARTS);
    Some(thin.iter().map(|p| point(p.false_positive_rate, p.true_positive_rate, p.threshold)).collect())
}

/// The same of predictions; those without a label are left out.
pub fn roc_of(predictions: &[PredictionLine]) -> Option<Vec<CurvePoint>> {
    roc(predictions.iter().filter_map(|line| match line {
        PredictionLine::Prediction(record) => Some((record.score, record.label? == Verdict::Anomalous)),
        PredictionLine::Error(_) => None,
    }))
}

fn point(x: f64, y: f64, threshold: f32) -> CurvePoint {
    CurvePoint { x, y, threshold: threshold.is_finite().then_some(threshold) }
}
