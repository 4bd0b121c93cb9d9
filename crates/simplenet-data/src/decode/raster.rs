//! A mask's pixels before a rule decides on them: one value for each, the largest of its colours.

use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageBuffer, Luma};

use super::sink::{Range, Sink, Stored};
use super::source::Channels;
use crate::error::DataError;

/// One value for each pixel, upright: the largest of its colours, opacity aside.
#[derive(Debug, Clone)]
pub(super) struct Raster {
    pub(super) width: u32,
    pub(super) height: u32,
    samples: Samples,
}

/// The values of a [`Raster`], row by row.
#[derive(Debug, Clone)]
pub(super) enum Samples {
    /// White is 255.
    U8(Vec<u8>),
    /// Of a file with more than 8 bits for each sample.
    U16(Vec<u16>),
}

impl Raster {
    /// The values.
    pub(super) fn brightest(self) -> Samples {
        self.samples
    }
}

/// Keeps the largest colour of each pixel.
#[derive(Debug, Default)]
pub(super) struct RasterSink {
    stored: Option<Stored>,
    narrow: Vec<u8>,
    wide: Vec<u16>,
    float: Vec<f32>,
}

impl RasterSink {
    pub(super) fn finish(self, path: &Path, upright: Orientation) -> Result<Raster, DataError> {
        let lost = || DataError::lost(path);
        let stored = self.stored.ok_or_else(lost)?;
        let (width, height) = (stored.width, stored.height);
        let (narrow, wide) = match self.float {
            float if float.is_empty() => (self.narrow, self.wide),
            // From 0 to 1 as brightness; what is larger is a number of its own.
            float if stored.range == Range::Float && float.iter().all(|&v| v <= 1.0) => {
                (float.iter().map(|v| (v * 255.0).round() as u8).collect(), vec![])
            }
            float => (vec![], float.iter().map(|v| v.round() as u16).collect()),
        };
        let mut image: DynamicImage = if wide.is_empty() {
            GrayImage::from_raw(width, height, narrow).ok_or_else(lost)?.into()
        } else {
            ImageBuffer::<Luma<u16>, _>::from_raw(width, height, wide).ok_or_else(lost)?.into()
        };
        image.apply_orientation(upright);
        let (width, height) = (image.width(), image.height());
        let samples = match image {
            DynamicImage::ImageLuma16(wide) => Samples::U16(wide.into_raw()),
            other => Samples::U8(other.into_luma8().into_raw()),
        };
        Ok(Raster { width, height, samples })
    }

    fn channels(&self) -> Channels {
        self.stored.map_or(Channels::Gray, |stored| stored.channels)
    }
}

impl Sink for RasterSink {
    fn begin(&mut self, stored: Stored) {
        self.stored = Some(stored);
    }

    fn u8(&mut self, samples: &[u8]) {
        brightest(samples, self.channels(), &mut self.narrow);
    }

    fn u16(&mut self, samples: &[u16]) {
        brightest(samples, self.channels(), &mut self.wide);
    }

    fn f32(&mut self, samples: &[f32]) {
        brightest(samples, self.channels(), &mut self.float);
    }
}

fn brightest<T: Copy + PartialOrd>(samples: &[T], channels: Channels, out: &mut Vec<T>) {
    let max = |a: T, b: T| if b > a { b } else { a };
    match channels {
        Channels::Gray => out.extend_from_slice(samples),
        Channels::GrayAlpha => out.extend(samples.as_chunks::<2>().0.iter().map(|v| v[0])),
        Channels::Rgb => out.extend(samples.as_chunks::<3>().0.iter().map(|v| max(max(v[0], v[1]), v[2]))),
        Channels::Rgba => out.extend(samples.as_chunks::<4>().0.iter().map(|v| max(max(v[0], v[1]), v[2]))),
    }
}
