//! From a mask file to gray: brightness, or class numbers.

use std::path::Path;

use image::{GrayImage, ImageBuffer, Luma};

use super::file::read_file;
use super::options::DecodeOptions;
use super::raster::{Raster, Samples};
use super::rgb::scale16;
use crate::error::DataError;

/// Decodes a ground-truth mask of any format to 8-bit gray with the default options; see [`decode_mask_with`].
///
/// # Errors
/// As [`decode_file`](super::decode_file).
pub fn decode_mask(path: &Path) -> Result<GrayImage, DataError> {
    decode_mask_with(path, &DecodeOptions::default())
}

/// Decodes a ground-truth mask of any format to 8-bit gray: the largest of the colour channels, soft edges kept.
///
/// A mask that never reaches half of its range holds class numbers (1, 2, …), not brightness: there every
/// pixel other than 0 becomes 255. [`DecodeOptions::sixteen_bit`] does not apply, masks are always scaled.
///
/// # Errors
/// As [`decode_file`](super::decode_file).
pub fn decode_mask_with(path: &Path, options: &DecodeOptions) -> Result<GrayImage, DataError> {
    let raster = super::decode_raster(&read_file(path, options.max_pixels)?, path, options)?.0;
    to_mask(raster, path)
}

/// Decodes a mask of class numbers: its values as they are, of colour the largest channel.
///
/// # Errors
/// As [`decode_file`](super::decode_file).
pub(crate) fn decode_labels(
    path: &Path,
    options: &DecodeOptions,
) -> Result<ImageBuffer<Luma<u16>, Vec<u16>>, DataError> {
    let raster = super::decode_raster(&read_file(path, options.max_pixels)?, path, options)?.0;
    let (width, height) = (raster.width, raster.height);
    let labels = match raster.brightest() {
        Samples::U8(values) => values.into_iter().map(u16::from).collect(),
        Samples::U16(values) => values,
    };
    ImageBuffer::from_raw(width, height, labels).ok_or_else(|| DataError::lost(path))
}

fn to_mask(raster: Raster, path: &Path) -> Result<GrayImage, DataError> {
    let (width, height) = (raster.width, raster.height);
    let mut values = match raster.brightest() {
        Samples::U8(values) => values,
        Samples::U16(mut values) => {
            if values.iter().all(|&v| v < 1 << 15) {
                values.iter_mut().for_each(|v| *v = if *v == 0 { 0 } else { u16::MAX });
            }
            values.into_iter().map(scale16).collect()
        }
    };
    if values.iter().all(|&v| v < 128) {
        values.iter_mut().for_each(|v| *v = if *v == 0 { 0 } else { 255 });
    }
    GrayImage::from_raw(width, height, values).ok_or_else(|| DataError::lost(path))
}
