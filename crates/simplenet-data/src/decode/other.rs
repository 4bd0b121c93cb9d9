//! BMP, WebP and the Netpbm family, by the crate `image`.

use std::io::{BufRead, ErrorKind, Seek};
use std::path::Path;

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::file::METADATA_BYTES;
use super::format::FileFormat;
use super::sink::{Range, Sink, Stored};
use super::source::Channels;
use crate::error::DataError;

/// What a header says, and the orientation that it notes.
pub(super) fn header<'a, R: BufRead + Seek + 'a>(
    source: R,
    start: &[u8],
    format: FileFormat,
    path: &Path,
) -> Result<(Stored, Orientation), DataError> {
    let mut decoder = open(source, format, path)?;
    let orientation = decoder.orientation().map_err(|e| explain(e, path, format))?;
    Ok((stored(&decoder, start, format, path)?, orientation))
}

/// Puts the samples into the sink; returns the orientation.
pub(super) fn decode(
    bytes: &[u8],
    format: FileFormat,
    path: &Path,
    sink: &mut dyn Sink,
) -> Result<Orientation, DataError> {
    if format == FileFormat::WebP && riff_is_cut(bytes) {
        return Err(DataError::Truncated { path: path.to_path_buf(), format: format.name() });
    }
    let mut decoder = open(std::io::Cursor::new(bytes), format, path)?;
    let stored = stored(&decoder, bytes, format, path)?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(stored.samples() as u64 * 8 + METADATA_BYTES as u64);
    decoder.set_limits(limits).map_err(|e| explain(e, path, format))?;
    let orientation = decoder.orientation().map_err(|e| explain(e, path, format))?;
    let image = DynamicImage::from_decoder(decoder).map_err(|e| explain(e, path, format))?;
    sink.begin(stored);
    match image {
        DynamicImage::ImageLuma8(p) => sink.all_u8(p.into_raw()),
        DynamicImage::ImageLumaA8(p) => sink.all_u8(p.into_raw()),
        DynamicImage::ImageRgb8(p) => sink.all_u8(p.into_raw()),
        DynamicImage::ImageRgba8(p) => sink.all_u8(p.into_raw()),
        DynamicImage::ImageLuma16(p) => sink.u16(&p),
        DynamicImage::ImageLumaA16(p) => sink.u16(&p),
        DynamicImage::ImageRgb16(p) => sink.u16(&p),
        DynamicImage::ImageRgba16(p) => sink.u16(&p),
        _ => return Err(DataError::lost(path)),
    }
    Ok(orientation)
}

fn open<'a, R: BufRead + Seek + 'a>(
    source: R,
    format: FileFormat,
    path: &Path,
) -> Result<impl ImageDecoder + 'a, DataError> {
    let kind = match format {
        FileFormat::WebP => ImageFormat::WebP,
        FileFormat::Pnm => ImageFormat::Pnm,
        _ => ImageFormat::Bmp,
    };
    let mut reader = ImageReader::with_format(source, kind);
    // The size is checked by the caller, before pixels are asked for.
    reader.no_limits();
    reader.into_decoder().map_err(|e| explain(e, path, format))
}

fn stored(
    decoder: &impl ImageDecoder,
    start: &[u8],
    format: FileFormat,
    path: &Path,
) -> Result<Stored, DataError> {
    let (channels, bits) = match decoder.color_type() {
        ColorType::L8 => (Channels::Gray, 8),
        ColorType::La8 => (Channels::GrayAlpha, 8),
        ColorType::Rgb8 => (Channels::Rgb, 8),
        ColorType::Rgba8 => (Channels::Rgba, 8),
        ColorType::L16 => (Channels::Gray, 16),
        ColorType::La16 => (Channels::GrayAlpha, 16),
        ColorType::Rgb16 => (Channels::Rgb, 16),
        ColorType::Rgba16 => (Channels::Rgba, 16),
        _ => return Err(DataError::lost(path)),
    };
    let stored = Stored::new(format, decoder.dimensions(), channels, bits);
    Ok(match netpbm_white(start).filter(|_| format == FileFormat::Pnm && bits == 16) {
        // The decoder has stretched the samples from the largest value that the header names.
        Some(white) if white < u32::from(u16::MAX) => Stored {
            bits: (u32::BITS - white.leading_zeros()) as u8,
            range: Range::Named(65_535.0),
            ..stored
        },
        _ => stored,
    })
}

/// The largest value that the header of a PGM, PPM or PAM file names.
fn netpbm_white(start: &[u8]) -> Option<u32> {
    let text = start.get(..start.len().min(4096))?;
    let mut words = text.split(|&byte| byte == b'\n').flat_map(|line| {
        let line = line.split(|&byte| byte == b'#').next().unwrap_or_default();
        line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
    });
    let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse().ok();
    match words.next()? {
        b"P7" => words.skip_while(|word| *word != b"MAXVAL").nth(1).and_then(number),
        _ => words.nth(2).and_then(number),
    }
}

/// Whether a RIFF file is shorter than its header says.
fn riff_is_cut(bytes: &[u8]) -> bool {
    bytes.get(4..8).is_none_or(|size| {
        let announced = u64::from(u32::from_le_bytes([size[0], size[1], size[2], size[3]])) + 8;
        // A last byte that only makes the number even may be missing.
        announced > bytes.len() as u64 + 1
    })
}

fn explain(error: ImageError, path: &Path, format: FileFormat) -> DataError {
    let (path, name) = (path.to_path_buf(), format.name());
    match error {
        ImageError::IoError(e) if e.kind() == ErrorKind::UnexpectedEof => {
            DataError::Truncated { path, format: name }
        }
        ImageError::IoError(source) => DataError::Io { action: "read", path, source },
        ImageError::Unsupported(feature) => DataError::Unread {
            path,
            what: format!("it is a {name} file of a kind that is not read ({feature})"),
            advice: "save it as PNG, or as gray or RGB with 8 or 16 bits",
        },
        ImageError::Limits(_) => {
            DataError::Decode { path, format: name, reason: "it announces more than it holds".into() }
        }
        other => DataError::Decode { path, format: name, reason: other.to_string() },
    }
}
