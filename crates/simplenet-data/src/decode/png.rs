//! PNG, row by row, without a look at colour profiles and texts.

use std::io::{BufRead, Cursor, ErrorKind, Seek};
use std::path::Path;

use image::metadata::Orientation;
use png::{BitDepth, ColorType, Decoder, DecodingError, Limits, Reader, Transformations};

use super::file::METADATA_BYTES;
use super::format::FileFormat;
use super::sink::{Sink, Stored};
use super::source::Channels;
use crate::error::DataError;

/// What a header says, and the orientation that it notes.
pub(super) fn header<R: BufRead + Seek>(source: R, path: &Path) -> Result<(Stored, Orientation), DataError> {
    let reader = open(source).map_err(|e| explain(e, path))?;
    Ok((stored(&reader, path)?, orientation(&reader)))
}

/// Puts the samples into the sink; returns the orientation.
pub(super) fn decode(bytes: &[u8], path: &Path, sink: &mut dyn Sink) -> Result<Orientation, DataError> {
    let mut reader = open(Cursor::new(bytes)).map_err(|e| explain(e, path))?;
    let stored = stored(&reader, path)?;
    sink.begin(stored);
    let mut wide = vec![];
    let mut put = |row: &[u8]| match stored.bits {
        16 => {
            wide.clear();
            wide.extend(row.as_chunks::<2>().0.iter().map(|&sample| u16::from_be_bytes(sample)));
            sink.u16(&wide);
        }
        _ => sink.u8(row),
    };
    if reader.info().interlaced {
        let size = reader.output_buffer_size().ok_or_else(|| explain(DecodingError::LimitsExceeded, path))?;
        let mut whole = vec![0; size];
        let info = reader.next_frame(&mut whole).map_err(|e| explain(e, path))?;
        whole.chunks_exact(info.line_size.max(1)).for_each(&mut put);
    } else {
        // The rows of this image; an animation's further pictures are not looked at.
        while let Some(row) = reader.next_row().map_err(|e| explain(e, path))? {
            put(row.data());
        }
    }
    Ok(orientation(&reader))
}

fn open<R: BufRead + Seek>(source: R) -> Result<Reader<R>, DecodingError> {
    let mut decoder = Decoder::new_with_limits(source, Limits { bytes: METADATA_BYTES });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(Transformations::EXPAND);
    // A row is as wide as the image: it is memory of the pixels, not of metadata.
    let width = decoder.read_header_info()?.width as usize;
    decoder.set_limits(Limits { bytes: METADATA_BYTES.saturating_add(width.saturating_mul(8)) });
    decoder.read_info()
}

fn stored<R: BufRead + Seek>(reader: &Reader<R>, path: &Path) -> Result<Stored, DataError> {
    let (color, _) = reader.output_color_type();
    let channels = match color {
        ColorType::Grayscale => Channels::Gray,
        ColorType::GrayscaleAlpha => Channels::GrayAlpha,
        ColorType::Rgb => Channels::Rgb,
        ColorType::Rgba => Channels::Rgba,
        ColorType::Indexed => return Err(DataError::lost(path)),
    };
    let info = reader.info();
    let bits = match (info.color_type, info.bit_depth) {
        (ColorType::Indexed, _) => 8,
        (_, BitDepth::One) => 1,
        (_, BitDepth::Two) => 2,
        (_, BitDepth::Four) => 4,
        (_, BitDepth::Eight) => 8,
        (_, BitDepth::Sixteen) => 16,
    };
    Ok(Stored::new(FileFormat::Png, info.size(), channels, bits))
}

fn orientation<R: BufRead + Seek>(reader: &Reader<R>) -> Orientation {
    let exif = reader.info().exif_metadata.as_deref();
    exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
}

fn explain(error: DecodingError, path: &Path) -> DataError {
    let (path, format) = (path.to_path_buf(), FileFormat::Png.name());
    let reason = match error {
        DecodingError::IoError(e) if e.kind() == ErrorKind::UnexpectedEof => {
            return DataError::Truncated { path, format };
        }
        DecodingError::IoError(source) => return DataError::Io { action: "read", path, source },
        DecodingError::LimitsExceeded => {
            format!("what it holds beside the pixels needs more than {} MiB", METADATA_BYTES >> 20)
        }
        other => other.to_string(),
    };
    DataError::Decode { path, format, reason }
}
