#![doc = include_str!("../README.md")]
//!
//! # Where to begin
//! - Images, from scores and labels: [`auroc()`], [`roc_curve`], [`average_precision`], [`precision_recall_curve`],
//!   [`f1_max`], [`fpr_at_tpr`], [`recall_at_fpr`], [`confusion()`], [`auroc_interval`]; from scores of good images
//!   alone: [`threshold_for_false_reject_rate`], [`quantiles`].
//! - Pixels, from maps and masks: [`pixel_metrics`] (all at once), [`aupro`], [`pro_curve`]; one image at a time,
//!   for sets that do not fit in memory: [`PixelAccumulator`].
//! - Regions and images: [`region_detection()`], [`auspro`] (MVTec LOCO AD's sPRO), [`aupimo`],
//!   [`aupro_interval()`], [`connected_components`].
//! - Curves with fewer points, for drawing: [`thin_curve`], [`PixelRanking::thin_pro_curve`].
//! - For comparing with the numbers of SimpleNet's paper only: [`simplenet_compute_pro`].

#![forbid(unsafe_code)]

mod anomaly_map;
mod aupro_interval;
mod bootstrap;
mod components;
mod confusion;
mod curve_table;
mod error;
mod operating_point;
mod overlap;
mod pimo;
mod pixel;
mod precision_recall;
mod pro;
mod ranking;
mod region_detection;
mod resample;
mod roc;
mod saturation;
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
pub use overlap::ProPoint;
pub use pimo::{Aupimo, ImageAupimo, PimoAccumulator, PimoBounds, aupimo};
pub use pixel::{PixelAccumulator, PixelMetrics, PixelRanking, pixel_metrics};
pub use precision_recall::{F1Max, PrecisionRecallPoint, average_precision, f1_max, precision_recall_curve};
pub use pro::{AUPRO_LIMIT, AUPRO_STRICT_LIMIT, aupro, pro_curve};
pub use region_detection::{RegionDetection, RegionDetectionOptions, region_detection};
pub use roc::{RocPoint, auroc, roc_curve};
pub use saturation::Saturation;
pub use simplenet_pro::simplenet_compute_pro;
pub use spro::{AUSPRO_LIMIT, Defect, DefectMap, SproAccumulator, SproRanking, auspro};
pub use thin::thin_curve;
pub use threshold::{quantiles, threshold_for_false_reject_rate};
