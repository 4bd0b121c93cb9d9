//! A file's header: which decoder it needs, its size and kind of pixels.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read, Seek};
use std::path::Path;

use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::file::max_bytes;
use super::format::{FileFormat, SNIFF_BYTES, sniff};
use super::options::{DecodeOptions, Exif};
use crate::error::DataError;

/// What an image file's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageHeader {
    /// Width and height that [`decode_file`](super::decode_file) will return.
    pub size: (u32, u32),
    /// The kind of its pixels, such as `RGB, 8 bit`.
    pub pixels: &'static str,
}

/// Width and height that [`decode_file`](super::decode_file) will return, from the header alone.
///
/// # Errors
/// The header cannot be read, or announces more pixels than allowed.
pub fn image_size(path: &Path, options: &DecodeOptions) -> Result<(u32, u32), DataError> {
    image_header(path, options).map(|header| header.size)
}

/// Reads a header.
///
/// # Errors
/// The header cannot be read, or announces more pixels than allowed.
pub fn image_header(path: &Path, options: &DecodeOptions) -> Result<ImageHeader, DataError> {
    let file = File::open(path).map_err(DataError::io("read", path))?;
    header_in(BufReader::new(file), path, options)
}

/// The same of an image in memory; `name` stands for the path in errors.
///
/// # Errors
/// As [`image_size`].
pub fn image_size_of(bytes: &[u8], name: &Path, options: &DecodeOptions) -> Result<(u32, u32), DataError> {
    header_in(Cursor::new(bytes), name, options).map(|header| header.size)
}

fn header_in<'a, R: BufRead + Seek + 'a>(
    source: R,
    path: &Path,
    options: &DecodeOptions,
) -> Result<ImageHeader, DataError> {
    let (mut decoder, format) = open_decoder(source, path, options.max_pixels)?;
    let (width, height) = decoder.dimensions();
    let upright = match options.exif {
        Exif::Ignore => Orientation::NoTransforms,
        Exif::Apply => decoder.orientation().map_err(|e| explain(e, path, format))?,
    };
    let size = match upright {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => (height, width),
        _ => (width, height),
    };
    Ok(ImageHeader { size, pixels: kind_of_pixels(decoder.color_type()) })
}

fn kind_of_pixels(color: ColorType) -> &'static str {
    match color {
        ColorType::L8 => "gray, 8 bit",
        ColorType::La8 => "gray with alpha, 8 bit",
        ColorType::Rgb8 => "RGB, 8 bit",
        ColorType::Rgba8 => "RGB with alpha, 8 bit",
        ColorType::L16 => "gray, 16 bit",
        ColorType::La16 => "gray with alpha, 16 bit",
        ColorType::Rgb16 => "RGB, 16 bit",
        ColorType::Rgba16 => "RGB with alpha, 16 bit",
        _ => "floating point",
    }
}

/// A decoder that has read the header, and whose size is within the limit.
pub(super) fn open_decoder<'a, R: BufRead + Seek + 'a>(
    mut source: R,
    path: &Path,
    max_pixels: u64,
) -> Result<(impl ImageDecoder + 'a, FileFormat), DataError> {
    let start = peek(&mut source).map_err(DataError::io("read", path))?;
    if start.is_empty() {
        return Err(DataError::EmptyFile { path: path.to_path_buf() });
    }
    let Some(format) = sniff(&start) else {
        let found = format!("\"{}\"", start[..start.len().min(8)].escape_ascii());
        return Err(DataError::UnknownFormat { path: path.to_path_buf(), found });
    };
    let kind = match format {
        FileFormat::Png => ImageFormat::Png,
        FileFormat::Jpeg => ImageFormat::Jpeg,
        FileFormat::Bmp => ImageFormat::Bmp,
        FileFormat::Tiff => ImageFormat::Tiff,
    };
    // A PNG's size stands at a fixed place: checked first, since a huge row would make the decoder fail on
    // its memory limit, with a message that does not name the size.
    if let (FileFormat::Png, Some(&[a, b, c, d, e, f, g, h])) = (format, start.get(16..24)) {
        check_size((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])), path, max_pixels)?;
    }
    let mut reader = ImageReader::with_format(source, kind);
    let mut limits = Limits::default();
    limits.max_alloc = Some(max_bytes(max_pixels));
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|e| explain(e, path, format))?;
    check_size(decoder.dimensions(), path, max_pixels)?;
    Ok((decoder, format))
}

fn peek(source: &mut (impl BufRead + Seek)) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    source.by_ref().take(SNIFF_BYTES as u64).read_to_end(&mut start)?;
    source.rewind()?;
    Ok(start)
}

fn check_size((width, height): (u32, u32), path: &Path, limit: u64) -> Result<(), DataError> {
    let path = path.to_path_buf();
    if width == 0 || height == 0 {
        Err(DataError::NoPixels { path, width, height })
    } else if u64::from(width) * u64::from(height) > limit {
        Err(DataError::TooManyPixels { path, width, height, limit })
    } else {
        Ok(())
    }
}

pub(super) fn explain(error: ImageError, path: &Path, format: FileFormat) -> DataError {
    let (path, format) = (path.to_path_buf(), format.name());
    match error {
        ImageError::IoError(e) if e.kind() == ErrorKind::UnexpectedEof => {
            DataError::Truncated { path, format }
        }
        ImageError::IoError(source) => DataError::Io { action: "read", path, source },
        ImageError::Unsupported(feature) => {
            DataError::UnsupportedPixels { path, pixels: feature.to_string() }
        }
        other => DataError::Decode { path, format, reason: other.to_string() },
    }
}
