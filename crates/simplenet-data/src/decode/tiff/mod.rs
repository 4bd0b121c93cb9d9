//! TIFF and BigTIFF: one page, strip by strip.
//!
//! The crate `tiff` unpacks strips and tiles. What it does not know of samples is done here: packed 10 and 12 bits,
//! palettes, planes. For these the directory is shown to it with a few tags changed, so that it reads plain bytes.

mod directory;
mod page;
mod patched;
mod samples;

use std::io::{Cursor, ErrorKind, Read, Seek};
use std::path::Path;

use image::metadata::Orientation;
use tiff::TiffError;
use tiff::decoder::{ChunkType, Decoder, DecodingResult, Limits};
use tiff::tags::Tag;

use self::directory::{BITS, EXTRA_SAMPLES, PHOTOMETRIC, SAMPLE_FORMAT, SAMPLES, WIDTH};
use self::page::{Meaning, Page, decode_error};
use self::patched::Patched;
use super::file::METADATA_BYTES;
use super::format::FileFormat;
use super::jpeg::{self, Verdict};
use super::sink::{Sink, Stored};
use crate::error::DataError;

/// A number that means nothing: a tag that is not to be seen is given it.
const UNKNOWN_TAG: u16 = 65_000;

/// What a header says, and the orientation that it notes.
pub(super) fn header(
    source: &mut (impl Read + Seek),
    path: &Path,
) -> Result<(Stored, Orientation), DataError> {
    let page = page::read(source, path)?;
    Ok((page.stored, page.orientation))
}

/// Puts the samples into the sink; returns the orientation.
pub(super) fn decode(bytes: &[u8], path: &Path, sink: &mut dyn Sink) -> Result<Orientation, DataError> {
    let page = page::read(&mut Cursor::new(bytes), path)?;
    let source = Patched::new(bytes, patches(&page, path)?);
    let mut decoder = Decoder::new(source).map_err(|e| explain(e, path))?.with_limits(limits(bytes, &page));
    if page.jpeg {
        refuse_cut_jpeg(&mut decoder, bytes, path)?;
    }
    // The decoder drops what lies beyond the colours, but not from what it is made to read as bytes.
    let given = if page.as_bytes() {
        page.samples as usize
    } else {
        decoder.colortype().map_err(|e| explain(e, path))?.num_samples().into()
    };
    sink.begin(page.stored);
    let mut put = |piece: DecodingResult| {
        samples::put(piece, &page, given, sink).map_err(|reason| decode_error(path, reason))
    };
    if decoder.get_chunk_type() == ChunkType::Strip && !page.planar {
        for strip in 0..decoder.strip_count().map_err(|e| explain(e, path))? {
            put(decoder.read_chunk(strip).map_err(|e| explain(e, path))?)?;
        }
    } else {
        let mut whole = DecodingResult::U8(vec![]);
        decoder.read_image_to_buffer(&mut whole).map_err(|e| explain(e, path))?;
        put(whole)?;
    }
    Ok(page.orientation)
}

fn limits(bytes: &[u8], page: &Page) -> Limits {
    let pixels = page.stored.width as usize * page.stored.height as usize;
    let of_pixels = pixels.saturating_mul(page.samples as usize * usize::from(page.stored.bits).div_ceil(8));
    let mut limits = Limits::default();
    limits.decoding_buffer_size = of_pixels;
    limits.intermediate_buffer_size = bytes.len().max(METADATA_BYTES);
    limits.ifd_value_size = METADATA_BYTES;
    limits
}

fn patches(page: &Page, path: &Path) -> Result<Vec<(u64, Vec<u8>)>, DataError> {
    let (directory, encoding) = (&page.directory, page.encoding);
    let mut patches = vec![encoding.first_directory(directory.offset)];
    let mut replace = |number, new, value| {
        let patch = directory.replace(number, new, value, encoding);
        let found = patch.is_some();
        patches.extend(patch);
        found
    };
    const BLACK_IS_ZERO: u64 = 1;
    if matches!(page.meaning, Meaning::Palette | Meaning::Gray { inverted: true }) || page.as_bytes() {
        replace(PHOTOMETRIC, PHOTOMETRIC, BLACK_IS_ZERO);
    }
    if page.as_bytes() {
        let known = replace(BITS, BITS, 8) && replace(WIDTH, WIDTH, page.row_bytes());
        replace(SAMPLES, SAMPLES, 1);
        replace(EXTRA_SAMPLES, UNKNOWN_TAG, 0);
        replace(SAMPLE_FORMAT, SAMPLE_FORMAT, 1);
        if !known {
            return Err(decode_error(path, "it does not say how many bits its samples have".into()));
        }
    }
    Ok(patches)
}

/// The JPEG decoder paints what is missing gray; see [`jpeg`].
fn refuse_cut_jpeg<R: Read + Seek>(
    decoder: &mut Decoder<R>,
    bytes: &[u8],
    path: &Path,
) -> Result<(), DataError> {
    let failed = |e| explain(e, path);
    let (offsets, counts) = match decoder.get_chunk_type() {
        ChunkType::Strip => (Tag::StripOffsets, Tag::StripByteCounts),
        ChunkType::Tile => (Tag::TileOffsets, Tag::TileByteCounts),
    };
    let offsets = decoder.get_tag_u64_vec(offsets).map_err(failed)?;
    let counts = decoder.get_tag_u64_vec(counts).map_err(failed)?;
    let tables = match decoder.find_tag(Tag::JPEGTables).map_err(failed)? {
        Some(tables) => tables.into_u8_vec().map_err(failed)?,
        None => vec![],
    };
    let (width, height) = decoder.chunk_dimensions();
    for (offset, count) in offsets.into_iter().zip(counts) {
        let piece = usize::try_from(offset).ok().zip(usize::try_from(offset.saturating_add(count)).ok());
        let piece = piece.and_then(|(from, to)| bytes.get(from..to)).ok_or_else(|| truncated(path))?;
        let size = jpeg::size(piece).ok_or_else(|| truncated(path))?;
        // Sides are rounded up to whole blocks at most.
        if size.0 > width.saturating_add(32) || size.1 > height.saturating_add(32) {
            return Err(decode_error(path, "a JPEG part of it is larger than its place".into()));
        }
        match jpeg::judge(&tables, piece) {
            Verdict::Whole => {}
            Verdict::Cut => return Err(truncated(path)),
            Verdict::Damaged(reason) => return Err(decode_error(path, reason.into())),
        }
    }
    Ok(())
}

fn truncated(path: &Path) -> DataError {
    DataError::Truncated { path: path.to_path_buf(), format: FileFormat::Tiff.name() }
}

fn explain(error: TiffError, path: &Path) -> DataError {
    match error {
        TiffError::IoError(e) if e.kind() == ErrorKind::UnexpectedEof => truncated(path),
        TiffError::IoError(e) => decode_error(path, e.to_string()),
        TiffError::LimitsExceeded => decode_error(path, "it announces more than it holds".into()),
        TiffError::UnsupportedError(what) => DataError::Unread {
            path: path.to_path_buf(),
            what: format!("it is a TIFF file of a kind that is not read ({what})"),
            advice: "save it as gray or RGB with 8 or 16 bits, without compression",
        },
        TiffError::FormatError(what) => decode_error(path, what.to_string()),
        other => decode_error(path, other.to_string()),
    }
}

#[cfg(test)]
mod tests;
