//! A file's header: its size and kind of pixels, without a look at the pixels.

use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::path::Path;

use image::metadata::Orientation;

use super::file::open_file;
use super::format::{FileFormat, SNIFF_BYTES, foreign, sniff};
use super::options::{DecodeOptions, Exif};
use super::sink::{Range, Stored};
use super::source::Channels;
use super::{jpeg, other, png, tiff};
use crate::error::DataError;

/// What an image file's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageHeader {
    /// The format, by content.
    pub format: FileFormat,
    /// Width and height that [`decode_file`](super::decode_file) will return.
    pub size: (u32, u32),
    /// The channels that are stored.
    pub channels: Channels,
    /// Bits that are stored for each sample.
    pub bits: u8,
    /// Whether the header leaves open which sample is white: only the pixels tell how many bits the camera fills.
    pub open_range: bool,
    /// The kind of its pixels, such as `RGB, 8 bit`.
    pub pixels: String,
    /// Pages of the file: more than 1 only in TIFF. One is read.
    pub pages: u32,
    /// How the options turn the picture.
    pub(super) orientation: Orientation,
}

/// Width and height that [`decode_file`](super::decode_file) will return, from the header alone.
///
/// # Errors
/// The header cannot be read, or announces more pixels than allowed.
pub fn image_size(path: &Path, options: &DecodeOptions) -> Result<(u32, u32), DataError> {
    image_header(path, options).map(|header| header.size)
}

/// Width and height that [`decode_file`](super::decode_file) will return, and how the options turn the picture for it.
///
/// # Errors
/// As [`image_size`].
pub(crate) fn upright_header(
    path: &Path,
    options: &DecodeOptions,
) -> Result<((u32, u32), Orientation), DataError> {
    image_header(path, options).map(|header| (header.size, header.orientation))
}

/// Reads a header.
///
/// # Errors
/// The header cannot be read, or announces more pixels than allowed.
pub fn image_header(path: &Path, options: &DecodeOptions) -> Result<ImageHeader, DataError> {
    let file = open_file(path)?;
    header_in(BufReader::new(file), path, options)
}

/// The same of an image in memory; `name` stands for the path in errors.
///
/// # Errors
/// As [`image_size`].
pub fn image_size_of(bytes: &[u8], name: &Path, options: &DecodeOptions) -> Result<(u32, u32), DataError> {
    header_in(Cursor::new(bytes), name, options).map(|header| header.size)
}

fn header_in(
    mut source: impl BufRead + Seek,
    path: &Path,
    options: &DecodeOptions,
) -> Result<ImageHeader, DataError> {
    let start = peek(&mut source).map_err(DataError::io("read", path))?;
    let format = format_of(&start, path)?;
    let (stored, orientation) = match format {
        FileFormat::Png => {
            check_png_size(&start, path, options.max_pixels)?;
            png::header(source, path)?
        }
        FileFormat::Jpeg => jpeg::header(&jpeg_start(&mut source, path)?, path)?,
        FileFormat::Tiff => tiff::header(&mut source, path)?,
        FileFormat::Bmp | FileFormat::WebP | FileFormat::Pnm => other::header(source, &start, format, path)?,
    };
    let size = (stored.width, stored.height);
    check_size(size, path, options.max_pixels)?;
    let turned = matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );
    Ok(ImageHeader {
        format,
        size: if turned && options.exif == Exif::Apply { (size.1, size.0) } else { size },
        channels: stored.channels,
        bits: stored.bits,
        open_range: !matches!(stored.range, Range::Named(_)),
        pixels: kind_of_pixels(&stored),
        pages: stored.pages,
        orientation: if options.exif == Exif::Apply { orientation } else { Orientation::NoTransforms },
    })
}

fn kind_of_pixels(stored: &Stored) -> String {
    match stored.range {
        Range::Float => format!("{}, floating point", stored.channels),
        // What is spread to 8 bits is that for whoever looks at it.
        _ if stored.bits <= 8 => format!("{}, 8 bit", stored.channels),
        _ => format!("{}, {} bit", stored.channels, stored.bits),
    }
}

/// A JPEG's header ends where its first scan begins, which may be behind a large thumbnail or colour profile.
fn jpeg_start(source: &mut impl Read, path: &Path) -> Result<Vec<u8>, DataError> {
    const STEP: u64 = 256 << 10;
    let mut bytes = vec![];
    loop {
        let read = source.by_ref().take(STEP).read_to_end(&mut bytes).map_err(DataError::io("read", path))?;
        if read == 0 || jpeg::has_first_scan(&bytes) {
            return Ok(bytes);
        }
    }
}

/// The format, or an error that names what the file is instead.
pub(super) fn format_of(start: &[u8], path: &Path) -> Result<FileFormat, DataError> {
    let path = || path.to_path_buf();
    if start.is_empty() {
        return Err(DataError::EmptyFile { path: path() });
    }
    let start = &start[..start.len().min(SNIFF_BYTES)];
    if let Some(format) = sniff(start) {
        return Ok(format);
    }
    Err(match foreign(start) {
        Some(kind) => DataError::ForeignFile { path: path(), name: kind.name, advice: kind.advice },
        None => {
            let found = format!("\"{}\"", start[..start.len().min(8)].escape_ascii());
            DataError::UnknownFormat { path: path(), found }
        }
    })
}

fn peek(source: &mut (impl BufRead + Seek)) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    source.by_ref().take(SNIFF_BYTES as u64).read_to_end(&mut start)?;
    source.rewind()?;
    Ok(start)
}

/// A PNG's size stands at a fixed place: checked first, since a huge row would make the decoder fail on its memory limit,
/// with a message that does not name the size.
fn check_png_size(start: &[u8], path: &Path, max_pixels: u64) -> Result<(), DataError> {
    match start.get(16..24) {
        Some(&[a, b, c, d, e, f, g, h]) => {
            check_size((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])), path, max_pixels)
        }
        _ => Ok(()),
    }
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

/// Checks a header in memory, and says whether the image is large.
pub(super) fn checked(bytes: &[u8], path: &Path, options: &DecodeOptions) -> Result<ImageHeader, DataError> {
    header_in(Cursor::new(bytes), path, options)
}
