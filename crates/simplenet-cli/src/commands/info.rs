//! `simplenet info`: what is in a model file, readable.

use simplenet_data::{Preprocess, Tiles};
use simplenet_inference::profile_of;
use simplenet_model::{checkpoint, position_energy::PositionEnergyConfig};
use simplenet_train::calibration::false_reject::expected_false_reject_rate;

use super::model_path;
use crate::{args::ModelArgs, error::CliError, tell};

/// Runs the verb.
///
/// # Errors
/// A file that is not a whole, unedited model file.
pub fn run(args: &ModelArgs) -> Result<(), CliError> {
    let path = model_path(args.model.as_deref())?;
    let text = describe(&path)?;
    tell::result("info", &text, &checkpoint::inspect(&path)?.record);
    Ok(())
}

/// A preprocessing without the region of interest, which may be thousands of numbers and has a row of its own.
fn without_roi(preprocessing: &serde_json::Value) -> serde_json::Value {
    let mut short = preprocessing.clone();
    if let Some(fields) = short.as_object_mut() {
        fields.remove("roi");
    }
    short
}

/// The text that `info` prints.
///
/// # Errors
/// As `run`.
pub fn describe(path: &std::path::Path) -> Result<String, CliError> {
    let contents = checkpoint::inspect(path)?;
    let record = &contents.record;
    let mut text = String::new();
    let mut row = |name: &str, value: String| text += &format!("{name:<20} {value}\n");
    row("file", path.display().to_string());
    row("model id", checkpoint::model_id(record));
    row("format version", record.format_version.to_string());
    row("made by", record.created_by.clone());
    row("backbone", format!("{} (weights SHA-256 {})", record.backbone, record.backbone_sha256));
    row(
        "features",
        format!(
            "{} numbers a patch, {:?}, levels {}",
            record.adaptor.dim, record.aggregator.reduction, record.levels
        ),
    );
    row("anomaly map", format!("Gaussian sigma {} pixels", record.anomaly_map.sigma));
    row("preprocessing", without_roi(&record.preprocessing).to_string());
    if let Ok(preprocess) = serde_json::from_value::<Preprocess>(record.preprocessing.clone()) {
        if let Some(Tiles { width, height, overlap }) = preprocess.tiles {
            let (to_width, to_height) = preprocess.network_size();
            let places = match record.position {
                Some(PositionEnergyConfig { tiles: [down, across], .. }) => {
                    format!("; photographs of {across} x {down} tiles, whose places it knows")
                }
                None => String::new(),
            };
            let text = format!(
                "{width} x {height} pixels, overlap {overlap}, network input {to_width} x {to_height}{places}"
            );
            row("tiles", text);
        }
        if let Some(roi) = &preprocess.roi {
            row("region of interest", roi.describe());
        }
    }
    if record.min_region_area > 0 {
        row("least region area", format!("{} pixels of the photograph", record.min_region_area));
    }
    match &record.threshold {
        Some(t) => {
            let origin = if t.is_by_hand() {
                "chosen by hand, without a promise".to_string()
            } else {
                format!(
                    "from {} held-out good images, target false-reject rate {:.2} %, to be expected: {:.2} %",
                    t.held_out,
                    100.0 * t.target_false_reject_rate,
                    100.0 * expected_false_reject_rate(t.held_out, t.target_false_reject_rate)
                )
            };
            let numbers =
                format!("{:.6} on the raw image score, {:.6} on the map; {origin}", t.value, t.map_value);
            row("threshold", numbers);
            if let Some(band) = t.review {
                row(
                    "for review",
                    format!(
                        "from {:.6} on the raw image score, {:.6} on the map, up to the threshold; target {:.2} % of \
                         good parts",
                        band.value,
                        band.map_value,
                        100.0 * band.target_share
                    ),
                );
            }
            if let Some(program) = &record.calibrated_by {
                row("threshold set by", program.clone());
            }
        }
        None => row("threshold", "none: no good images were held out".into()),
    }
    let quantiles: Vec<String> =
        record.normal_score_quantiles.iter().map(|(q, v)| format!("{:.0} %: {v:.4}", 100.0 * q)).collect();
    if !quantiles.is_empty() {
        row("normal scores", quantiles.join(", "));
    }
    row(
        "int8",
        match &record.activation_ranges {
            Some(ranges) if !ranges.as_slice().is_empty() => {
                format!("possible: the ranges of {} layers were measured", ranges.as_slice().len())
            }
            _ => {
                "not possible: the ranges of the activations were not measured (an older version made it, or it was \
                 imported without photographs)"
                    .into()
            }
        },
    );
    match profile_of(record)? {
        Some(profile) => {
            row(
                "trained on",
                format!("{} images (what differs from them is noted, not judged)", profile.images),
            );
            profile.describe().into_iter().for_each(|(name, text)| row(&format!("  {name}"), text));
        }
        None => row(
            "trained on",
            "not measured: an older version made it, or it was imported without photographs".into(),
        ),
    }
    if let Some(seed) = record.training.get("seed") {
        row("seed", seed.to_string());
    }
    let mut training = record.training.clone();
    if let Some(preprocess) = training.get_mut("preprocess") {
        *preprocess = without_roi(preprocess);
    }
    row("training", training.to_string());
    row(
        "tensors",
        format!(
            "{} ({} numbers)",
            contents.tensors.len(),
            contents.tensors.iter().map(|t| t.shape.iter().product::<usize>()).sum::<usize>()
        ),
    );
    for tensor in &contents.tensors {
        text += &format!("  {:<60} {:<5} {:?}\n", tensor.name, tensor.dtype, tensor.shape);
    }
    Ok(text)
}
