//! From a file's samples to 8-bit RGB, and what was noted of them on the way.

use std::path::Path;

use image::RgbImage;

use super::options::{BitDepth, DecodeOptions, SixteenBit};
use super::sink::{Range, Sink, Stored};
use super::source::{Channels, Decoded, ImageSource};
use crate::error::DataError;

/// Gray is replicated, opacity dropped, more than 8 bits become 8 as the options say.
pub(super) struct RgbSink<'a> {
    options: &'a DecodeOptions,
    stored: Option<Stored>,
    rgb: Vec<u8>,
    /// What each 16-bit sample becomes.
    table: Vec<u8>,
    white: f64,
    largest: f64,
    used_bits: u16,
    outside: u64,
    transparent: u64,
    not_numbers: u64,
}

impl<'a> RgbSink<'a> {
    pub(super) fn new(options: &'a DecodeOptions) -> Self {
        Self {
            options,
            stored: None,
            rgb: vec![],
            table: vec![],
            white: 255.0,
            largest: 0.0,
            used_bits: 0,
            outside: 0,
            transparent: 0,
            not_numbers: 0,
        }
    }

    pub(super) fn finish(self, path: &Path) -> Result<Decoded, DataError> {
        let stored = self.stored.ok_or_else(|| DataError::lost(path))?;
        if self.not_numbers > 0 {
            return Err(DataError::Unread {
                path: path.to_path_buf(),
                what: format!("{} of its samples are not numbers (NaN or infinite)", self.not_numbers),
                advice: "replace them, or save it with 16 bits",
            });
        }
        let pixels =
            RgbImage::from_raw(stored.width, stored.height, self.rgb).ok_or_else(|| DataError::lost(path))?;
        let deep = stored.bits > 8;
        let source = ImageSource {
            format: stored.format,
            channels: stored.channels,
            bits: stored.bits,
            float: stored.range == Range::Float,
            largest: deep.then_some(self.largest),
            named_range: matches!(stored.range, Range::Named(_)),
            unused_low_bits: if deep { self.used_bits.trailing_zeros() as u8 } else { 0 },
            outside_range: self.outside,
            transparent: self.transparent,
            pages: stored.pages,
        };
        Ok(Decoded { pixels, source })
    }

    /// The channels of the samples that come next, and room for the picture: once, and not before it is needed.
    fn channels(&mut self) -> Channels {
        let Some(stored) = self.stored else { return Channels::Gray };
        if self.rgb.capacity() == 0 {
            self.rgb.reserve_exact(stored.width as usize * stored.height as usize * 3);
        }
        stored.channels
    }

    fn clips(&self) -> bool {
        let container = matches!(self.stored, Some(Stored { range: Range::Container(_), .. }));
        container && self.options.sixteen_bit == SixteenBit::Clip
    }
}

impl Sink for RgbSink<'_> {
    fn begin(&mut self, stored: Stored) {
        self.white = match stored.range {
            Range::Named(white) => white,
            // What was neither found nor given narrows nothing, not even 32 bits.
            Range::Container(white) => match self.options.bit_depth {
                BitDepth::Auto => white,
                depth => white.min(depth.white()),
            },
            Range::Float => self.options.float_white(),
        };
        self.stored = Some(stored);
        if (9..=16).contains(&stored.bits) {
            let white = self.white as u32;
            self.table = match (self.clips(), stored.channels) {
                (false, _) => {
                    (0..=65_535u32).map(|v| ((v * 510 + white) / (2 * white)).min(255) as u8).collect()
                }
                (true, Channels::Gray) => (0..=65_535u32).map(|v| v.min(255) as u8).collect(),
                (true, _) => (0..=65_535u32).map(|v| (v >> 8) as u8).collect(),
            };
        }
    }

    fn u8(&mut self, samples: &[u8]) {
        let channels = self.channels();
        self.transparent += transparent(samples, channels, u8::MAX);
        match channels {
            Channels::Rgb => self.rgb.extend_from_slice(samples),
            _ => spread(samples, channels, &mut self.rgb, |v| v),
        }
    }

    fn all_u8(&mut self, samples: Vec<u8>) {
        let colours = self.stored.is_some_and(|stored| stored.channels == Channels::Rgb);
        if colours && self.rgb.is_empty() { self.rgb = samples } else { self.u8(&samples) }
    }

    fn u16(&mut self, samples: &[u16]) {
        let channels = self.channels();
        self.transparent += transparent(samples, channels, u16::MAX);
        let (white, clips) = (self.white as u32, self.clips());
        let (mut largest, mut used, mut outside) = (0u16, 0u16, 0u64);
        let mut note = |v: u16| {
            largest = largest.max(v);
            used |= v;
            outside += u64::from(!clips && u32::from(v) > white);
        };
        if channels.has_alpha() {
            let colours = channels.count() - 1;
            samples.chunks_exact(channels.count()).flat_map(|v| &v[..colours]).for_each(|&v| note(v));
        } else {
            samples.iter().for_each(|&v| note(v))
        }
        self.largest = self.largest.max(f64::from(largest));
        self.used_bits |= used;
        self.outside += outside;
        let table = std::mem::take(&mut self.table);
        spread(samples, channels, &mut self.rgb, |v| table.get(usize::from(v)).copied().unwrap_or(u8::MAX));
        self.table = table;
    }

    fn f32(&mut self, samples: &[f32]) {
        let channels = self.channels();
        // Opacity goes to 1, or to white.
        let opaque = self.white.min(1.0) as f32;
        if channels.has_alpha() {
            let count = channels.count();
            self.transparent += samples.chunks_exact(count).filter(|v| v[count - 1] < opaque).count() as u64;
        }
        let (white, mut largest) = (self.white as f32, self.largest);
        let (mut outside, mut not_numbers) = (0, 0);
        spread(samples, channels, &mut self.rgb, |v: f32| {
            if !v.is_finite() {
                not_numbers += 1;
                return 0;
            }
            largest = largest.max(f64::from(v));
            outside += u64::from(!(0.0..=white).contains(&v));
            (v / white * 255.0).round().clamp(0.0, 255.0) as u8
        });
        self.largest = largest;
        self.outside += outside;
        self.not_numbers += not_numbers;
    }
}

/// Appends three values for each pixel.
fn spread<T: Copy>(samples: &[T], channels: Channels, out: &mut Vec<u8>, mut to8: impl FnMut(T) -> u8) {
    let start = out.len();
    out.resize(start + samples.len() / channels.count() * 3, 0);
    let pixels = out[start..].as_chunks_mut::<3>().0.iter_mut();
    match channels {
        Channels::Gray => pixels.zip(samples).for_each(|(to, &v)| *to = [to8(v); 3]),
        Channels::GrayAlpha => {
            pixels.zip(samples.as_chunks::<2>().0).for_each(|(to, v)| *to = [to8(v[0]); 3]);
        }
        Channels::Rgb => pixels.zip(samples.as_chunks::<3>().0).for_each(|(to, v)| *to = v.map(&mut to8)),
        Channels::Rgba => {
            let of = |v: &[T; 4]| [v[0], v[1], v[2]];
            pixels.zip(samples.as_chunks::<4>().0).for_each(|(to, v)| *to = of(v).map(&mut to8));
        }
    }
}

fn transparent<T: Copy + PartialEq>(samples: &[T], channels: Channels, opaque: T) -> u64 {
    if !channels.has_alpha() {
        return 0;
    }
    samples.chunks_exact(channels.count()).filter(|v| v.last() != Some(&opaque)).count() as u64
}
