//! From a file's samples to 8-bit RGB.

use std::path::Path;

use image::RgbImage;

use super::options::SixteenBit;
use super::raster::{Raster, Samples};
use super::source::Channels;
use crate::error::DataError;

/// A picture, and what was noted of its samples on the way.
pub(super) struct Converted {
    pub(super) pixels: RgbImage,
    pub(super) largest: Option<f64>,
    pub(super) transparent: u64,
}

/// Gray is replicated, opacity dropped, 16 bits become 8 by `rule`.
pub(super) fn to_rgb(raster: Raster, path: &Path, rule: SixteenBit) -> Result<Converted, DataError> {
    let Raster { width, height, channels, samples } = raster;
    let largest = match &samples {
        Samples::U8(_) => None,
        Samples::U16(v) => Some(f64::from(largest(v, channels))),
    };
    let transparent = match &samples {
        Samples::U8(v) => transparent(v, channels, u8::MAX),
        Samples::U16(v) => transparent(v, channels, u16::MAX),
    };
    let rgb = match (samples, channels) {
        (Samples::U8(v), Channels::Rgb) => v,
        (Samples::U8(v), _) => spread(&v, channels, |v| v),
        (Samples::U16(v), _) => match (rule, channels) {
            (SixteenBit::Scale, _) => spread(&v, channels, scale16),
            (SixteenBit::Clip, Channels::Gray) => spread(&v, channels, |v| v.min(255) as u8),
            (SixteenBit::Clip, _) => spread(&v, channels, |v| (v >> 8) as u8),
        },
    };
    let pixels = RgbImage::from_raw(width, height, rgb).ok_or_else(|| DataError::lost(path))?;
    Ok(Converted { pixels, largest, transparent })
}

/// `round(v · 255 / 65535)`.
pub(super) fn scale16(v: u16) -> u8 {
    ((u32::from(v) + 128) / 257) as u8
}

fn spread<T: Copy>(samples: &[T], channels: Channels, to8: impl Fn(T) -> u8) -> Vec<u8> {
    match channels {
        Channels::Gray => samples.iter().flat_map(|&v| [to8(v); 3]).collect(),
        Channels::GrayAlpha => samples.as_chunks::<2>().0.iter().flat_map(|v| [to8(v[0]); 3]).collect(),
        Channels::Rgb => samples.iter().map(|&v| to8(v)).collect(),
        Channels::Rgba => {
            samples.as_chunks::<4>().0.iter().flat_map(|v| [to8(v[0]), to8(v[1]), to8(v[2])]).collect()
        }
    }
}

fn largest<T: Copy + Ord + Default>(samples: &[T], channels: Channels) -> T {
    let of = |values: &[T]| values.iter().copied().max().unwrap_or_default();
    match channels.has_alpha() {
        false => of(samples),
        true => {
            samples.chunks_exact(channels.count()).map(|v| of(&v[..v.len() - 1])).max().unwrap_or_default()
        }
    }
}

fn transparent<T: Copy + PartialEq>(samples: &[T], channels: Channels, opaque: T) -> u64 {
    if !channels.has_alpha() {
        return 0;
    }
    samples.chunks_exact(channels.count()).filter(|v| v.last() != Some(&opaque)).count() as u64
}
