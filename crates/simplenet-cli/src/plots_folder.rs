//! `plots/`: figures for papers beside `report.html`, each as SVG and PNG.
//!
//! In: what the report shows of a category; of a run its table and the metrics of its categories. Out: files, and a sentence about
//! what was drawn and what is undefined and why. A figure that cannot be drawn leaves no file, also none of an earlier run.

use std::{collections::BTreeSet, path::Path};

use simplenet_model::device::CPU;

use crate::{
    error::CliError,
    evaluation::MetricsFile,
    machine,
    output::{
        atomic,
        plots::{OwnSpeed, Picture, Plot, SPEED_AUROC, TestSet, TestedOn, speed_against_auroc},
        published_speed::PublishedSpeed,
        report::CategoryReport,
        table::{Column, ResultTable},
    },
};

/// The folder's name.
pub const PLOTS_FOLDER: &str = "plots";

/// Writes a category's figures into `plots/` of a result's folder, and gives the plots that were drawn.
///
/// # Errors
/// A file that cannot be written or removed.
pub fn write(folder: &Path, category: &CategoryReport) -> Result<Vec<Plot>, CliError> {
    let plots = folder.join(PLOTS_FOLDER);
    let mut drawn = vec![];
    for plot in Plot::ALL {
        let picture = plot.draw(category)?;
        drawn.extend(picture.is_some().then_some(plot));
        put(&plots, plot.name(), picture.as_ref())?;
    }
    Ok(drawn)
}

/// Writes the figures of an evaluated category, and says which there are and why others are not: `roc, histogram; no pro: …`.
///
/// # Errors
/// As [`write()`].
pub fn write_evaluated(
    folder: &Path,
    category: &CategoryReport,
    metrics: &MetricsFile,
) -> Result<String, CliError> {
    let drawn = write(folder, category)?;
    let mut text: Vec<&str> = drawn.iter().map(|plot| plot.name()).collect();
    if text.is_empty() {
        text.push("none");
    }
    let mut text = text.join(", ");
    for plot in Plot::ALL.into_iter().filter(|plot| !drawn.contains(plot)) {
        let metric = match plot {
            Plot::Roc => Some("image_AUROC"),
            Plot::Pro => Some("pixel_AUPRO"),
            Plot::Histogram => None,
        };
        let reason = metric.and_then(|name| metrics.metrics.reasons.get(name));
        let reason = match (reason, plot) {
            (Some(reason), _) => reason,
            (None, Plot::Pro) => "curves.json does not have it; evaluate again",
            (None, _) => "no scores",
        };
        text += &format!("; no {}: {reason}", plot.name());
    }
    Ok(text)
}

/// Writes the figure of speed against AUROC into `plots/` of a run's folder; `data` is the data set, `backbone` the run's. Gives
/// the reason where there is none.
///
/// # Errors
/// As [`write()`].
pub fn write_speed(
    folder: &Path,
    data: &Path,
    backbone: &str,
    table: &ResultTable,
    results: &[&MetricsFile],
) -> Result<Option<&'static str>, CliError> {
    let plots = folder.join(PLOTS_FOLDER);
    let own = own_speed(data, backbone, table, results);
    let picture = match &own {
        Ok(own) => Some(speed_against_auroc(own, &PublishedSpeed::embedded()?)?),
        Err(_) => None,
    };
    put(&plots, SPEED_AUROC, picture.as_ref())?;
    Ok(own.err())
}

/// The run's point: the means of `table.csv`.
fn own_speed(
    data: &Path,
    backbone: &str,
    table: &ResultTable,
    results: &[&MetricsFile],
) -> Result<OwnSpeed, &'static str> {
    let image_auroc = table.mean(Column::ImageAuroc).ok_or("no category has an image AUROC")?;
    let time = table.mean(Column::InferenceMilliseconds).map(|mean| mean.measurement.mean);
    let milliseconds = time.filter(|ms| *ms > 0.0).ok_or("no category has an inference time")?;
    let sets: Vec<TestSet> = results
        .iter()
        .map(|metrics| TestSet {
            category: metrics.category.clone(),
            normal: metrics.test_normal,
            anomalous: metrics.test_anomalous,
        })
        .collect();
    let devices: BTreeSet<&str> = results.iter().map(|metrics| metrics.device.as_str()).collect();
    let devices: Vec<String> = devices
        .into_iter()
        .map(|device| if device == CPU { machine::cpu() } else { device.to_string() })
        .collect();
    let precisions: BTreeSet<&str> = results.iter().map(|metrics| metrics.precision.name()).collect();
    let precisions: Vec<&str> = precisions.into_iter().collect();
    let name = data.file_stem().map(|name| name.to_string_lossy().into_owned());
    Ok(OwnSpeed {
        what: format!("{backbone}, {}", precisions.join(" and ")),
        data: name.unwrap_or_else(|| "other data".into()),
        tested_on: TestedOn::of(&sets),
        categories: (image_auroc.categories, table.rows.len()),
        image_auroc: image_auroc.measurement,
        milliseconds,
        batch: results.iter().map(|metrics| metrics.batch).max().unwrap_or(1),
        hardware: devices.join(" and "),
    })
}

/// Writes both files of a figure, or removes those of an earlier run, and the folder with the last of them.
fn put(plots: &Path, name: &str, picture: Option<&Picture>) -> Result<(), CliError> {
    let (svg, png) = (plots.join(format!("{name}.svg")), plots.join(format!("{name}.png")));
    if let Some(picture) = picture {
        atomic::write_text(&svg, &picture.svg)?;
        return Ok(atomic::write_bytes(&png, &picture.png)?);
    }
    for path in [svg, png] {
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(CliError::io("remove", &path)(e));
            }
            _ => {}
        }
    }
    // Not empty, or not there: both are fine.
    let _kept = std::fs::remove_dir(plots);
    Ok(())
}
