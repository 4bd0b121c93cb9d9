//! From a file or bytes to 8-bit pixels.
//!
//! In: PNG, JPEG, BMP, TIFF, WebP or PNM, recognised by content, not by extension. Out: RGB for images, with what the file
//! was ([`ImageSource`]); gray for masks. Gray is replicated to three channels, palettes are expanded, alpha is dropped
//! (not composited), more than 8 bits a channel become 8. Sizes are checked against [`DecodeOptions::max_pixels`] before
//! any pixel is allocated.
//!
//! A file kind has a module each (`png`, `jpeg`, `tiff`, `other`), which puts samples into a `Sink`: the RGB picture, or the
//! values of a mask.

mod depth;
mod file;
mod format;
mod header;
mod jpeg;
mod mask;
mod options;
mod other;
mod png;
mod raster;
mod rgb;
mod sink;
mod source;
mod tiff;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

pub use self::depth::{SampleRange, contrast_note, grey_levels, low_contrast};
pub use self::file::read_file;
pub(crate) use self::file::{require_file, special};
pub use self::format::{FileFormat, Foreign, SNIFF_BYTES, foreign, sniff};
pub(crate) use self::header::upright_header;
pub use self::header::{ImageHeader, image_header, image_size, image_size_of};
pub(crate) use self::mask::decode_labels;
pub use self::mask::{Mask, decode_mask, decode_mask_with, read_mask};
pub use self::options::{BitDepth, DEFAULT_MAX_PIXELS, DecodeOptions, Exif, FloatRange, SixteenBit};
use self::raster::{Raster, RasterSink};
use self::rgb::RgbSink;
use self::sink::Sink;
pub use self::source::{Channels, Decoded, ImageSource};
use crate::error::DataError;

/// Images of more pixels are decoded one at a time, whatever the number of threads: what decoding needs beside the
/// picture itself may be several times as much.
const LARGE_PIXELS: u64 = 50_000_000;

/// Held while a large image is decoded.
static LARGE: Mutex<()> = Mutex::new(());

/// Decodes an image file to 8-bit RGB, (height, width, 3) interleaved.
///
/// # Errors
/// The file cannot be read, is empty, truncated, damaged, of another format or larger than allowed; each has
/// its own variant of [`DataError`].
pub fn decode_file(path: &Path, options: &DecodeOptions) -> Result<RgbImage, DataError> {
    decode_bytes(&read_file(path, options.max_pixels)?, path, options)
}

/// Decodes an image in memory to 8-bit RGB; `name` stands for the path in errors.
///
/// # Errors
/// As [`decode_file`].
pub fn decode_bytes(bytes: &[u8], name: &Path, options: &DecodeOptions) -> Result<RgbImage, DataError> {
    decode_image(bytes, name, options).map(|decoded| decoded.pixels)
}

/// Decodes an image in memory to 8-bit RGB and says what the file was; `name` stands for the path in errors.
///
/// # Errors
/// As [`decode_file`].
pub fn decode_image(bytes: &[u8], name: &Path, options: &DecodeOptions) -> Result<Decoded, DataError> {
    let mut sink = RgbSink::new(options);
    let orientation = decode_into(bytes, name, options, &mut sink)?;
    let Decoded { mut pixels, source } = sink.finish(name)?;
    if orientation != Orientation::NoTransforms {
        let mut image = DynamicImage::ImageRgb8(pixels);
        image.apply_orientation(orientation);
        pixels = image.into_rgb8();
    }
    Ok(Decoded { pixels, source })
}

/// The values of a mask, upright if the options say so.
fn decode_raster(
    bytes: &[u8],
    path: &Path,
    options: &DecodeOptions,
) -> Result<(Raster, FileFormat), DataError> {
    let format = header::format_of(bytes, path)?;
    let mut sink = RasterSink::default();
    let orientation = decode_into(bytes, path, options, &mut sink)?;
    Ok((sink.finish(path, orientation)?, format))
}

/// Puts the samples into the sink; returns how they are to be turned.
fn decode_into(
    bytes: &[u8],
    path: &Path,
    options: &DecodeOptions,
    sink: &mut dyn Sink,
) -> Result<Orientation, DataError> {
    let header = header::checked(bytes, path, options)?;
    let large = u64::from(header.size.0) * u64::from(header.size.1) > LARGE_PIXELS;
    let _one_at_a_time = large.then(|| LARGE.lock().unwrap_or_else(PoisonError::into_inner));
    let decode = || match header.format {
        FileFormat::Png => png::decode(bytes, path, sink),
        FileFormat::Jpeg => jpeg::decode(bytes, path, sink),
        FileFormat::Tiff => tiff::decode(bytes, path, sink),
        format => other::decode(bytes, format, path, sink),
    };
    // No known file makes a decoder panic; should one turn up, it must not stop the other images.
    let orientation = match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(orientation) => orientation?,
        Err(_) => {
            let reason = "the decoder stopped at an internal fault".to_string();
            return Err(DataError::Decode { path: path.to_path_buf(), format: header.format.name(), reason });
        }
    };
    Ok(if options.exif == Exif::Apply { orientation } else { Orientation::NoTransforms })
}

#[cfg(test)]
pub(crate) mod tests;
