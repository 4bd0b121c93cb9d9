//! Exact metrics for anomaly detection: slices in, numbers out.
//!
//! Comes in: `f32` scores (higher = more anomalous) with `bool` labels, or anomaly maps with masks. Goes out: numbers,
//! curves, regions and thresholds, or a [`MetricError`] that says why there is none.
//!
//! ```
//! use simplenet_metrics::{AnomalyMap, auroc, pixel_metrics};
//!
//! let image_auroc = auroc(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true])?;
//! assert_eq!(image_auroc, 0.75);
//!
//! let maps = [AnomalyMap { scores: &[0.1, 0.2, 0.9, 0.3], mask: &[0, 0, 1, 0], width: 2, height: 2 }];
//! let pixels = pixel_metrics(&maps, &[0.30, 0.05]); // one pass for all of them
//! assert_eq!(pixels.auroc?, 1.0);
//! assert_eq!(pixels.aupro[0], Ok(1.0));
//! # Ok::<(), simplenet_metrics::MetricError>(())
//! ```
//!
//! # What there is
//! - Images, from scores and labels: [`auroc()`], [`roc_curve`], [`average_precision`], [`precision_recall_curve`],
//!   [`f1_max`], [`fpr_at_tpr`], [`recall_at_fpr`], [`confusion()`], [`auroc_interval`]; from scores of good images
//!   alone: [`threshold_for_false_reject_rate`], [`quantiles`].
//! - Pixels, from maps and masks: [`pixel_metrics`] (all at once), [`aupro`], [`pro_curve`]; one image at a time,
//!   for sets that do not fit in memory: [`PixelAccumulator`].
//! - Regions and images: [`region_detection()`], [`auspro`] (MVTec LOCO AD's sPRO), [`aupimo`],
//!   [`aupro_interval()`], [`connected_components`].
//! - Curves with fewer points, for drawing: [`thin_curve`], [`PixelRanking::thin_pro_curve`].
//! - For comparing with the numbers of SimpleNet's paper only: [`simplenet_compute_pro`].
//!
//! With the feature `ndarray`, maps and masks can be views of its arrays.
//!
//! # Rules that hold everywhere
//! - A threshold `t` predicts "anomalous" for every score `>= t`; equal scores always move together.
//! - `-0.0` and `0.0` are one score. NaN and infinite scores are an error that says where.
//! - What is undefined (one class, no region, empty input) is a [`MetricError`], never a number.
//! - Nothing is binned, sampled, clamped or normalised. (The one exception says so: [`aupro_interval()`].)
//! - Pixels are counted in integers: neither the number of threads nor the order of the images changes a
//!   bit of a result.

#![forbid(unsafe_code)]

mod anomaly_map;
mod aupro_interval;
mod bootstrap;
mod components;
mod confusion;
mod curve_table;
mod error;
mod operating_point;
mod pimo;
mod pixel;
mod precision_recall;
mod pro;
mod ranking;
mod region_detection;
mod resample;
mod roc;
mod score_key;
mod simplenet_pro;
mod spro;
mod steps;
mod sum;
mod tally;
mod thin;
mod threshold;
#[cfg(feature = "ndarray")]
mod views;

pub use anomaly_map::AnomalyMap;
pub use aupro_interval::aupro_interval;
pub use bootstrap::{Bootstrap, Interval, auroc_interval};
pub use components::{Components, Connectivity, Region, connected_components};
pub use confusion::{Confusion, confusion};
pub use error::MetricError;
pub use operating_point::{OperatingPoint, fpr_at_tpr, recall_at_fpr};
pub use pimo::{Aupimo, ImageAupimo, PimoAccumulator, PimoBounds, aupimo};
pub use pixel::{PixelAccumulator, PixelMetrics, PixelRanking, pixel_metrics};
pub use precision_recall::{F1Max, PrecisionRecallPoint, average_precision, f1_max, precision_recall_curve};
pub use pro::{AUPRO_LIMIT, AUPRO_STRICT_LIMIT, ProPoint, aupro, pro_curve};
pub use region_detection::{RegionDetection, RegionDetectionOptions, region_detection};
pub use roc::{RocPoint, auroc, roc_curve};
pub use simplenet_pro::simplenet_compute_pro;
pub use spro::{AUSPRO_LIMIT, Defect, DefectMap, Saturation, SproAccumulator, SproRanking, auspro};
pub use thin::thin_curve;
pub use threshold::{quantiles, threshold_for_false_reject_rate};

/// The README's example, compiled by the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
