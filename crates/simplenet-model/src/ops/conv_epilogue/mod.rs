//! What follows a convolution of planar maps, in one pass and in place. In: (B, C, H, W) f32 or f16, a bias (C) f32 and
//! perhaps a residual of the map's shape and type. Out: the same map.
//!
//! ```text
//! y[b, c] = clamp(x[b, c] + bias[c] + residual[b, c], low, high)
//! ```
//!
//! Sums are in f32, from left to right. NaN stays NaN. candle's layers take a pass, and new memory, for each of the sums and
//! one for the activation.

mod cpu;
#[cfg(any(test, feature = "cuda"))]
mod cuda;
mod reference;
mod tensor;

pub(crate) use tensor::conv_epilogue;

#[cfg(test)]
mod tests;
