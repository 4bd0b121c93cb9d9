//! A batch of images as the first map of a network on channels-last tensors.
//! In: (B, H, W, 3) bytes, RGB, or (B, 3, H, W) f32, normalised. Out: (B, H', W', 4) f32 or f16.
//!
//! ```text
//! y[b, oy, ox, c] = ((v / 255) − mean[c]) / std[c]     of v = x[b, oy − above, ox − left, c], c < 3
//!                 = 0                                  outside of the image, and for c = 3
//! ```
//!
//! The padding is the first convolution's: it reads whole rows of its kernel. The fourth channel makes a pixel 16 or 8
//! bytes. Every step is in single precision, in this order: the numbers are those of [`crate::Predictor`], bit for bit.

#[cfg(any(test, feature = "cuda"))]
mod cuda;
pub(crate) mod reference;
mod tensor;

use candle_core::DType;

/// Colours of a photograph.
const COLOURS: usize = 3;
/// Channels of the map.
pub(crate) const CHANNELS: usize = 4;

/// How the bytes of a photograph become the network's input: ((v / 255) − mean) / std, RGB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalisation {
    /// On a scale of 0 to 1.
    pub mean: [f32; COLOURS],
    /// On a scale of 0 to 1, above 0.
    pub std: [f32; COLOURS],
}

impl Normalisation {
    /// What each byte of each colour becomes; every step in single precision, as the data crate does it.
    pub(crate) fn table(&self) -> [[f32; 256]; COLOURS] {
        let Self { mean, std } = *self;
        std::array::from_fn(|c| std::array::from_fn(|v| (v as f32 / 255.0 - mean[c]) / std[c]))
    }
}

/// How images become a network's first map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PackImage {
    /// Zero rows above and zero columns to the left.
    pub before: [usize; 2],
    /// Height and width with all zeros.
    pub padded: [usize; 2],
    /// Of the map: f32 or f16.
    pub dtype: DType,
}

#[cfg(test)]
mod tests;
