//! What a decoded file was: its format and kind of pixels, beside the 8-bit picture that was made of it.

use std::fmt;

use image::RgbImage;

use super::format::FileFormat;

/// A picture, and what the file was that it came from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Decoded {
    /// 8-bit RGB, upright if the options say so.
    pub pixels: RgbImage,
    /// What the file was.
    pub source: ImageSource,
}

/// The channels that a file stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channels {
    /// Brightness.
    Gray,
    /// Brightness and opacity.
    GrayAlpha,
    /// Three colours; of a palette or of CMYK, what they expand to.
    Rgb,
    /// Three colours and opacity.
    Rgba,
}

impl Channels {
    /// How many samples a pixel has.
    pub fn count(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::GrayAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }

    /// Whether there is opacity.
    pub fn has_alpha(self) -> bool {
        matches!(self, Self::GrayAlpha | Self::Rgba)
    }
}

impl fmt::Display for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gray => "gray",
            Self::GrayAlpha => "gray with alpha",
            Self::Rgb => "RGB",
            Self::Rgba => "RGB with alpha",
        })
    }
}

/// What a file was.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ImageSource {
    /// Its format.
    pub format: FileFormat,
    /// The channels it stores.
    pub channels: Channels,
    /// Bits that the file stores for each sample: 1 to 16, 32 or 64.
    pub bits: u8,
    /// Whether the samples are floating-point numbers.
    pub float: bool,
    /// The largest sample, opacity aside, of a file of more than 8 bits for each sample.
    pub largest: Option<f64>,
    /// Whether the file itself names the range of its samples: 8 bits and fewer, packed 10 or 12 bits, a PGM's largest
    /// value. [`DecodeOptions::bit_depth`](super::DecodeOptions::bit_depth) does not apply to it.
    pub named_range: bool,
    /// How many of the lowest bits are 0 in every sample: 4 in 12 bits that are aligned to the left of 16.
    pub unused_low_bits: u8,
    /// How many samples, opacity aside, lie outside the range that the options name: above white, or below 0.
    pub outside_range: u64,
    /// How many pixels are not fully opaque. What lies hidden behind them is inspected like the rest.
    pub transparent: u64,
    /// Pages of the file, the one that was read among them: more than 1 only in TIFF.
    pub pages: u32,
}
