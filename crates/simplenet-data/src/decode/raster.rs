//! Pixels as a file stores them, before they become 8-bit RGB or a mask.

use image::DynamicImage;

use super::source::Channels;

/// Pixels of any kind that is read, upright, interleaved.
#[derive(Debug, Clone)]
pub(super) struct Raster {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) channels: Channels,
    pub(super) samples: Samples,
}

/// The samples of a [`Raster`], row by row.
#[derive(Debug, Clone)]
pub(super) enum Samples {
    /// White is 255.
    U8(Vec<u8>),
    /// More than 8 bits.
    U16(Vec<u16>),
}

impl Raster {
    /// `None` for floating-point pixels.
    pub(super) fn new(image: DynamicImage) -> Option<Self> {
        let (width, height) = (image.width(), image.height());
        let (channels, samples) = match image {
            DynamicImage::ImageLuma8(p) => (Channels::Gray, Samples::U8(p.into_raw())),
            DynamicImage::ImageLumaA8(p) => (Channels::GrayAlpha, Samples::U8(p.into_raw())),
            DynamicImage::ImageRgb8(p) => (Channels::Rgb, Samples::U8(p.into_raw())),
            DynamicImage::ImageRgba8(p) => (Channels::Rgba, Samples::U8(p.into_raw())),
            DynamicImage::ImageLuma16(p) => (Channels::Gray, Samples::U16(p.into_raw())),
            DynamicImage::ImageLumaA16(p) => (Channels::GrayAlpha, Samples::U16(p.into_raw())),
            DynamicImage::ImageRgb16(p) => (Channels::Rgb, Samples::U16(p.into_raw())),
            DynamicImage::ImageRgba16(p) => (Channels::Rgba, Samples::U16(p.into_raw())),
            _ => return None,
        };
        Some(Self { width, height, channels, samples })
    }

    /// The largest colour channel of each pixel, opacity aside: what masks are read by. 8 bits stay as they are.
    pub(super) fn brightest(self) -> Samples {
        let channels = self.channels;
        match self.samples {
            Samples::U8(v) => Samples::U8(brightest(v, channels)),
            Samples::U16(v) => Samples::U16(brightest(v, channels)),
        }
    }
}

fn brightest<T: Copy + Ord>(samples: Vec<T>, channels: Channels) -> Vec<T> {
    match channels {
        Channels::Gray => samples,
        Channels::GrayAlpha => samples.as_chunks::<2>().0.iter().map(|v| v[0]).collect(),
        Channels::Rgb => samples.as_chunks::<3>().0.iter().map(|v| v[0].max(v[1]).max(v[2])).collect(),
        Channels::Rgba => samples.as_chunks::<4>().0.iter().map(|v| v[0].max(v[1]).max(v[2])).collect(),
    }
}
