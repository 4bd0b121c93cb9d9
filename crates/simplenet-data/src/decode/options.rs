//! How files are turned into pixels: the settings, part of a model's preprocessing.

use serde::{Deserialize, Serialize};

/// Default of [`DecodeOptions::max_pixels`]: twice the largest sensors of today's industrial cameras.
pub const DEFAULT_MAX_PIXELS: u64 = 200_000_000;

/// What to do with the orientation that a camera noted in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exif {
    /// Turn the pixels so that the picture stands upright, as every viewer does.
    #[default]
    Apply,
    /// Leave the pixels as the sensor stored them, as the official code does.
    Ignore,
}

/// How 16 bits a channel become 8.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SixteenBit {
    /// The whole range to the whole range: `(v + 128) / 257`, which is `round(v · 255 / 65535)`.
    #[default]
    Scale,
    /// As Pillow's `convert("RGB")`, which the official code calls: a gray value above 255 becomes 255 (so
    /// nearly everything is white); of colour and of gray with alpha, the upper byte.
    Clip,
}

/// How files are turned into pixels; part of a model's preprocessing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeOptions {
    /// The camera's orientation.
    pub exif: Exif,
    /// 16 bits a channel.
    pub sixteen_bit: SixteenBit,
    /// The most pixels (width times height) that a file may announce.
    pub max_pixels: u64,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self { exif: Exif::Apply, sixteen_bit: SixteenBit::Scale, max_pixels: DEFAULT_MAX_PIXELS }
    }
}
