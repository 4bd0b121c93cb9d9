//! Patch scores to anomaly maps: bilinear resize and Gaussian as one linear map per axis.
//!
//! map = R · scores · Cᵀ, with R (H, h) for the rows and C (W, w) for the columns. Each is the Gaussian with its reflection
//! times the resize; a row of it has few numbers that are not zero, side by side: 6 for 36 → 288 and a deviation of 4
//! pixels, where the two steps one after the other read 4 and 66 for each pixel. In: scores (h, w). Out: the map (H, W). NaN goes as far as the resize and the Gaussian carry it, and no further.

mod config;
mod cpu;
#[cfg(any(test, feature = "cuda"))]
mod cuda;
pub(crate) mod plan;
#[cfg(test)]
pub(crate) mod reference;
mod tensor;

pub use config::AnomalyMapConfig;
pub(crate) use cpu::anomaly_map;
pub(crate) use plan::AnomalyMapPlan;
pub(crate) use tensor::AnomalyMapTensor;

#[cfg(test)]
mod tests;
