//! From a file or bytes to 8-bit pixels.
//!
//! In: PNG, JPEG, BMP or TIFF, recognised by content, not by extension. Out: RGB for images, with what the file was
//! ([`ImageSource`]); gray for masks. Gray is replicated to three channels, palettes are expanded, alpha is dropped
//! (not composited), 16 bits a channel become 8. Sizes are checked against [`DecodeOptions::max_pixels`] before any
//! pixel is allocated.

mod file;
mod format;
mod jpeg;
mod mask;
mod open;
mod options;
mod raster;
mod rgb;
mod source;

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, RgbImage};

pub use self::file::read_file;
pub use self::format::{FileFormat, SNIFF_BYTES, sniff};
pub(crate) use self::mask::decode_labels;
pub use self::mask::{decode_mask, decode_mask_with};
pub use self::open::{ImageHeader, image_header, image_size, image_size_of};
pub use self::options::{DEFAULT_MAX_PIXELS, DecodeOptions, Exif, SixteenBit};
use self::raster::{Raster, Samples};
pub use self::source::{Channels, Decoded, ImageSource};
use crate::error::DataError;

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
    let (raster, format) = decode_raster(bytes, name, options)?;
    let channels = raster.channels;
    let bits = match raster.samples {
        Samples::U8(_) => 8,
        Samples::U16(_) => 16,
    };
    let converted = rgb::to_rgb(raster, name, options.sixteen_bit)?;
    let source = ImageSource {
        format,
        channels,
        bits,
        float: false,
        largest: converted.largest,
        outside_range: 0,
        transparent: converted.transparent,
        pages: 1,
    };
    Ok(Decoded { pixels: converted.pixels, source })
}

/// The pixels as the file stores them, upright if the options say so.
fn decode_raster(
    bytes: &[u8],
    path: &Path,
    options: &DecodeOptions,
) -> Result<(Raster, FileFormat), DataError> {
    let (mut decoder, format) = open::open_decoder(Cursor::new(bytes), path, options.max_pixels)?;
    // The JPEG decoder paints what is missing gray and says nothing; half a part must not get a verdict.
    if format == FileFormat::Jpeg && !jpeg::jpeg_is_complete(bytes) {
        return Err(DataError::Truncated { path: path.to_path_buf(), format: format.name() });
    }
    let upright = match options.exif {
        Exif::Ignore => Orientation::NoTransforms,
        Exif::Apply => decoder.orientation().map_err(|e| open::explain(e, path, format))?,
    };
    // No known file makes a decoder panic; should one turn up, it must not stop the other images.
    let decoded = catch_unwind(AssertUnwindSafe(|| DynamicImage::from_decoder(decoder)));
    let mut image = match decoded {
        Ok(image) => image.map_err(|e| open::explain(e, path, format))?,
        Err(_) => {
            let reason = "the decoder stopped at an internal fault".to_string();
            return Err(DataError::Decode { path: path.to_path_buf(), format: format.name(), reason });
        }
    };
    image.apply_orientation(upright);
    let pixels = format!("{:?}", image.color());
    let raster = Raster::new(image)
        .ok_or_else(|| DataError::UnsupportedPixels { path: path.to_path_buf(), pixels })?;
    Ok((raster, format))
}

#[cfg(test)]
pub(crate) mod tests;
