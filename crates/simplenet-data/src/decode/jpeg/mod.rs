//! JPEG, and whether it is whole.
//!
//! The decoder paints what is missing gray and says nothing; half a part must not get a verdict. So a picture counts as
//! whole only if its entropy-coded data holds every block, whatever marker stands at the end. The usual file is decoded
//! once, strictly, without its end marker: then the decoder cannot take what is missing for zeros and stops. Where that
//! fails, as it may for odd but whole files, [`scan`] counts the blocks, and its word holds.

mod layout;
mod scan;

use std::path::Path;

use image::metadata::Orientation;
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::{JpegDecoder, errors::DecodeErrors};

use self::layout::Layout;
pub(super) use self::scan::{Verdict, judge};
use super::format::FileFormat;
use super::sink::{Sink, Stored};
use super::source::Channels;
use crate::error::DataError;

/// What a header says, and the orientation that it notes.
pub(super) fn header(bytes: &[u8], path: &Path) -> Result<(Stored, Orientation), DataError> {
    let layout = Layout::read(bytes).ok_or_else(|| truncated(path))?;
    layout.refuse_unread(path)?;
    let channels = if layout.components == 1 { Channels::Gray } else { Channels::Rgb };
    let size = (u32::from(layout.width), u32::from(layout.height));
    Ok((Stored::new(FileFormat::Jpeg, size, channels, 8), layout.orientation(bytes)))
}

/// Width and height, if the frame's header is there.
pub(super) fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    Layout::read(bytes).map(|layout| (layout.width.into(), layout.height.into()))
}

/// Whether the first scan begins in these bytes: nothing that a header says comes later.
pub(super) fn has_first_scan(bytes: &[u8]) -> bool {
    layout::has_first_scan(bytes)
}

/// Puts the samples into the sink; returns the orientation.
pub(super) fn decode(bytes: &[u8], path: &Path, sink: &mut dyn Sink) -> Result<Orientation, DataError> {
    let (stored, orientation) = header(bytes, path)?;
    let samples = match layout::only_scan(bytes).map(|end| pixels(&bytes[..end], true)) {
        Some(Ok(samples)) => samples,
        _ => {
            match judge(&[], bytes) {
                Verdict::Whole => {}
                Verdict::Cut => return Err(truncated(path)),
                Verdict::Damaged(reason) => return Err(damaged(path, reason.into())),
            }
            pixels(bytes, false).map_err(|e| damaged(path, e.to_string()))?
        }
    };
    if samples.len() != stored.samples() {
        return Err(damaged(path, "its parts contradict each other".into()));
    }
    sink.begin(stored);
    sink.all_u8(samples);
    Ok(orientation)
}

/// All samples, gray or RGB.
fn pixels(bytes: &[u8], strict: bool) -> Result<Vec<u8>, DecodeErrors> {
    let options = DecoderOptions::default()
        .set_strict_mode(strict)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers()?;
    let wanted = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => ColorSpace::Luma,
        _ => ColorSpace::RGB,
    };
    decoder.set_options(decoder.options().jpeg_set_out_colorspace(wanted));
    decoder.decode()
}

fn truncated(path: &Path) -> DataError {
    DataError::Truncated { path: path.to_path_buf(), format: FileFormat::Jpeg.name() }
}

fn damaged(path: &Path, reason: String) -> DataError {
    DataError::Decode { path: path.to_path_buf(), format: FileFormat::Jpeg.name(), reason }
}

#[cfg(test)]
mod tests;
