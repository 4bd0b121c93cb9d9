//! How files are turned into pixels: the settings, part of a model's preprocessing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
    /// The range of the camera to the whole range: `round(v · 255 / (2^b − 1))`, b from [`DecodeOptions::bit_depth`].
    #[default]
    Scale,
    /// As Pillow's `convert("RGB")`, which the official code calls: a gray value above 255 becomes 255 (so
    /// nearly everything is white); of colour and of gray with alpha, the upper byte.
    Clip,
}

/// How many bits of a 16-bit file the camera fills, from the lowest on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum BitDepth {
    /// Found from the training set. Where there is none, or none was looked at, all 16.
    #[default]
    Auto,
    /// This many: one of [`BitDepth::CHOICES`].
    Bits(u8),
}

impl BitDepth {
    /// The depths that cameras have.
    pub const CHOICES: [u8; 5] = [8, 10, 12, 14, 16];

    /// The largest value of a sample, of a file of more than 8 bits.
    pub fn white(self) -> f64 {
        match self {
            Self::Auto => f64::from(u16::MAX),
            Self::Bits(bits) => f64::from((1u32 << bits.clamp(1, 16)) - 1),
        }
    }

    /// The smallest depth that holds a value; 16 where none does.
    pub fn holding(largest: f64) -> Self {
        let fits = |&bits: &u8| largest <= Self::Bits(bits).white();
        Self::Bits(Self::CHOICES.into_iter().find(fits).unwrap_or(16))
    }
}

impl fmt::Display for BitDepth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Bits(bits) => write!(f, "{bits}"),
        }
    }
}

impl FromStr for BitDepth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = |bits: &u8| Self::CHOICES.contains(bits);
        match text.parse().ok().filter(known) {
            Some(bits) => Ok(Self::Bits(bits)),
            None if text == "auto" => Ok(Self::Auto),
            None => Err(format!("`{text}` is no bit depth; expected auto, 8, 10, 12, 14 or 16")),
        }
    }
}

impl Serialize for BitDepth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Bits(bits) => serializer.serialize_u8(*bits),
        }
    }
}

impl<'de> Deserialize<'de> for BitDepth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = BitDepth;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\", 8, 10, 12, 14 or 16")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<BitDepth, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, bits: u64) -> Result<BitDepth, E> {
                self.visit_str(&bits.to_string())
            }

            fn visit_i64<E: serde::de::Error>(self, bits: i64) -> Result<BitDepth, E> {
                self.visit_str(&bits.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Which value of a floating-point sample is white.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FloatRange {
    /// Found from the training set; 1 where none was looked at.
    #[default]
    Auto,
    /// 1: samples go from 0 to 1.
    Unit,
    /// That of [`DecodeOptions::bit_depth`], such as 255, 4095 or 65535.
    Bits,
}

/// How files are turned into pixels; part of a model's preprocessing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeOptions {
    /// The camera's orientation.
    pub exif: Exif,
    /// 16 bits a channel.
    pub sixteen_bit: SixteenBit,
    /// How many of the 16 bits the camera fills; a file that names its range itself keeps that.
    pub bit_depth: BitDepth,
    /// White of floating-point samples.
    pub float_range: FloatRange,
    /// The most pixels (width times height) that a file may announce.
    pub max_pixels: u64,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self {
            exif: Exif::Apply,
            sixteen_bit: SixteenBit::Scale,
            bit_depth: BitDepth::Auto,
            float_range: FloatRange::Auto,
            max_pixels: DEFAULT_MAX_PIXELS,
        }
    }
}

impl DecodeOptions {
    /// How many bits are looked at, for messages.
    pub(super) fn bit_depth_or_all(&self) -> u8 {
        match self.bit_depth {
            BitDepth::Auto => 16,
            BitDepth::Bits(bits) => bits,
        }
    }

    /// White of floating-point samples.
    pub fn float_white(&self) -> f64 {
        match self.float_range {
            FloatRange::Auto | FloatRange::Unit => 1.0,
            FloatRange::Bits => self.bit_depth.white(),
        }
    }
}
