//! Where decoders put samples: the one interface between the formats and what is made of their pixels.

use super::format::FileFormat;
use super::source::Channels;

/// What a file says of its pixels before the first one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stored {
    pub(super) format: FileFormat,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) channels: Channels,
    /// Bits that are stored for each sample.
    pub(super) bits: u8,
    pub(super) range: Range,
    pub(super) pages: u32,
}

impl Stored {
    /// Of 8 bits or fewer, spread to 8, or of 16.
    pub(super) fn new(format: FileFormat, size: (u32, u32), channels: Channels, bits: u8) -> Self {
        let range = match bits {
            0..=8 => Range::Named(255.0),
            _ => Range::Container(65_535.0),
        };
        Self { format, width: size.0, height: size.1, channels, bits, range, pages: 1 }
    }

    pub(super) fn samples(&self) -> usize {
        self.width as usize * self.height as usize * self.channels.count()
    }
}

/// Which sample is white.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Range {
    /// The file says so: this value.
    Named(f64),
    /// At most this value; the camera may fill less of it.
    Container(f64),
    /// Floating point: whatever the program that wrote it meant.
    Float,
}

/// Takes an image: what it is, then its samples, interleaved, row after row, in pieces of whole pixels, all of one type.
/// Of 8 bits and fewer, white is 255.
pub(super) trait Sink {
    fn begin(&mut self, stored: Stored);
    fn u8(&mut self, samples: &[u8]);
    fn u16(&mut self, samples: &[u16]);
    fn f32(&mut self, samples: &[f32]);

    /// All samples at once, by value where that saves a copy.
    fn all_u8(&mut self, samples: Vec<u8>) {
        self.u8(&samples);
    }
}
