//! Which page of a TIFF file is the photograph, and how its samples are stored; what is not read is refused by name.

use std::io::{Read, Seek};
use std::path::Path;

use image::metadata::Orientation;

use super::directory::{
    self, BITS, COMPRESSION, DNG_VERSION, Directory, EXTRA_SAMPLES, Encoding, FILL_ORDER, OLD_SUBFILE_TYPE,
    ORIENTATION, PHOTOMETRIC, PLANAR, PREDICTOR, SAMPLE_FORMAT, SAMPLES, SUB_DIRECTORIES, SUBFILE_TYPE,
    TILE_WIDTH,
};
use crate::decode::format::FileFormat;
use crate::decode::sink::{Range, Stored};
use crate::decode::source::Channels;
use crate::error::DataError;

/// A pixel of more bytes is refused.
const MAX_BYTES_PER_PIXEL: u64 = 32;

const JPEG: u64 = 7;
const COLOUR_FILTER: u64 = 32_803;
const LINEAR_RAW: u64 = 34_892;

/// What the samples of a pixel mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Brightness; `inverted` where 0 is white and the TIFF decoder does not see to it.
    Gray { inverted: bool },
    /// Red, green, blue.
    Rgb,
    /// Places in a table of colours.
    Palette,
    /// Four inks.
    Cmyk,
    /// Brightness and two differences of colour, by JPEG.
    YCbCr,
}

/// The type of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Unsigned,
    Signed,
    Float,
}

/// The photograph of a file.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) encoding: Encoding,
    pub(super) directory: Directory,
    pub(super) stored: Stored,
    pub(super) meaning: Meaning,
    /// Samples that are stored for each pixel, of which the first are shown.
    pub(super) samples: u64,
    pub(super) planar: bool,
    pub(super) jpeg: bool,
    pub(super) orientation: Orientation,
}

impl Page {
    /// Whether samples do not begin at whole bytes: they are unpacked here.
    pub(super) fn packed(&self) -> bool {
        !matches!(self.stored.bits, 8 | 16 | 32 | 64)
    }

    /// Whether the decoder does not know such packed samples: then it is made to read bytes.
    pub(super) fn as_bytes(&self) -> bool {
        self.packed() && (self.samples > 1 || !matches!(self.stored.bits, 1 | 2 | 4))
    }

    /// Bytes of a row of packed samples.
    pub(super) fn row_bytes(&self) -> u64 {
        let samples = if self.planar { 1 } else { self.samples };
        (u64::from(self.stored.width) * samples * u64::from(self.stored.bits)).div_ceil(8)
    }
}

/// Chooses the first page that is no thumbnail, and reads what its tags say.
pub(super) fn read(source: &mut (impl Read + Seek), path: &Path) -> Result<Page, DataError> {
    let damaged = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            DataError::Truncated { path: path.to_path_buf(), format: FileFormat::Tiff.name() }
        }
        _ => decode_error(path, format!("its directory is not understood: {e}")),
    };
    let (encoding, pages) = directory::pages(source).map_err(damaged)?;
    refuse_raw(source, encoding, &pages, path)?;
    let directory = choose(&pages).ok_or_else(|| decode_error(path, "it has no page with pixels".into()))?;
    let count = u32::try_from(pages.len()).unwrap_or(u32::MAX);
    describe(directory.clone(), encoding, count, path)
}

/// The first page that is not marked as thumbnail or mask and is no less than half as large as the largest.
fn choose(pages: &[Directory]) -> Option<&Directory> {
    const REDUCED_OR_MASK: u64 = 0b101;
    let marked = |page: &Directory| {
        page.value(SUBFILE_TYPE).unwrap_or(0) & REDUCED_OR_MASK != 0
            || page.value(OLD_SUBFILE_TYPE) == Some(2)
    };
    let full: Vec<&Directory> = pages.iter().filter(|page| !marked(page)).collect();
    let candidates = if full.is_empty() { pages.iter().collect() } else { full };
    let largest = candidates.iter().map(|page| page.size()).max_by_key(|&(w, h)| w.saturating_mul(h))?;
    candidates.into_iter().find(|page| {
        let (width, height) = page.size();
        width.saturating_mul(2) >= largest.0 && height.saturating_mul(2) >= largest.1
    })
}

/// Raw files of many cameras (DNG, NEF, ARW, PEF …) are TIFF files whose first page is a small preview.
fn refuse_raw(
    source: &mut (impl Read + Seek),
    encoding: Encoding,
    pages: &[Directory],
    path: &Path,
) -> Result<(), DataError> {
    let raw = |page: &Directory| {
        page.value(DNG_VERSION).is_some()
            || matches!(page.value(PHOTOMETRIC), Some(COLOUR_FILTER | LINEAR_RAW))
    };
    let below = pages.iter().take(4).flat_map(|page| page.values(SUB_DIRECTORIES).iter().take(8).copied());
    let below: Vec<u64> = below.collect();
    let sub = below
        .into_iter()
        .filter_map(|at| directory::directory(source, encoding, at).ok())
        .map(|(page, _)| page);
    if pages.iter().cloned().chain(sub).any(|page| raw(&page)) {
        return Err(DataError::Unread {
            path: path.to_path_buf(),
            what: "it is a camera's raw file (such as DNG, NEF or ARW)".into(),
            advice: "develop it to TIFF or PNG with the camera's program, always in the same way",
        });
    }
    Ok(())
}

fn describe(directory: Directory, encoding: Encoding, pages: u32, path: &Path) -> Result<Page, DataError> {
    let unread = |what: String, advice| DataError::Unread { path: path.to_path_buf(), what, advice };
    const EIGHT_OR_SIXTEEN: &str = "save it as gray or RGB with 8 or 16 bits";
    let value = |tag, default| directory.value(tag).unwrap_or(default);
    let (width, height) = directory.size();
    let size = (u32::try_from(width).unwrap_or(u32::MAX), u32::try_from(height).unwrap_or(u32::MAX));
    let compression = value(COMPRESSION, 1);
    if let Some(name) = unread_compression(compression) {
        let what = format!("it is a TIFF file compressed with {name}");
        return Err(unread(what, "save it with LZW, deflate or no compression"));
    }
    let samples = value(SAMPLES, 1);
    let all_bits = directory.values(BITS);
    let bits = all_bits.first().copied().unwrap_or(1);
    if all_bits.iter().any(|&other| other != bits) {
        return Err(unread(
            format!("its channels have different depths ({all_bits:?} bits)"),
            EIGHT_OR_SIXTEEN,
        ));
    }
    let kind = match value(SAMPLE_FORMAT, 1) {
        1 | 4 => Kind::Unsigned,
        2 => Kind::Signed,
        3 => Kind::Float,
        _ => return Err(unread("its samples are complex numbers".into(), EIGHT_OR_SIXTEEN)),
    };
    let fits = match kind {
        Kind::Unsigned => matches!(bits, 1..=16 | 32 | 64),
        Kind::Signed => matches!(bits, 8 | 16 | 32 | 64),
        Kind::Float => matches!(bits, 16 | 32 | 64),
    };
    if !fits {
        return Err(unread(format!("its samples have {bits} bits"), EIGHT_OR_SIXTEEN));
    }
    let planar = value(PLANAR, 1) == 2 && samples > 1;
    let photometric = value(PHOTOMETRIC, 1);
    let packed = !matches!(bits, 8 | 16 | 32 | 64);
    let meaning = match (photometric, samples) {
        // The decoder inverts what it knows.
        (0, _) => Meaning::Gray { inverted: samples > 1 || !matches!(bits, 1 | 2 | 4 | 8 | 16 | 32 | 64) },
        (1 | 4, 1 | 2) => Meaning::Gray { inverted: false },
        (1, _) | (2, 3..) => Meaning::Rgb,
        (3, 1) if bits <= 8 && kind == Kind::Unsigned => Meaning::Palette,
        (5, 4..) if matches!(bits, 8 | 16) => Meaning::Cmyk,
        (6, 3) if compression == JPEG && bits == 8 => Meaning::YCbCr,
        (6, _) => {
            return Err(unread("its pixels are YCbCr without JPEG compression".into(), "save it as RGB"));
        }
        (8..=10, _) => return Err(unread("its pixels are CIE L*a*b*".into(), "save it as RGB")),
        (number, _) => {
            let what = format!(
                "its pixels are of an unknown kind (photometric interpretation {number}, {samples} samples)"
            );
            return Err(unread(what, EIGHT_OR_SIXTEEN));
        }
    };
    if packed && (value(PREDICTOR, 1) != 1 || planar || directory.value(TILE_WIDTH).is_some()) {
        let what = format!("its samples of {bits} bits lie in tiles or planes, or with a predictor");
        return Err(unread(what, EIGHT_OR_SIXTEEN));
    }
    if directory.value(FILL_ORDER) == Some(2) && bits < 8 {
        return Err(unread(
            "the order of its bits is reversed (FillOrder 2)".into(),
            "save it again with an image editor",
        ));
    }
    if samples.saturating_mul(bits) > 8 * MAX_BYTES_PER_PIXEL {
        let what = format!("it has {samples} channels of {bits} bits");
        return Err(unread(what, "save the three that matter as RGB"));
    }
    let alpha = matches!(directory.value(EXTRA_SAMPLES), Some(1 | 2));
    let channels = match (meaning, samples) {
        (Meaning::Gray { .. }, 2) if alpha => Channels::GrayAlpha,
        (Meaning::Gray { .. }, _) => Channels::Gray,
        (Meaning::Rgb, 4) if photometric == 2 => Channels::Rgba,
        (Meaning::Rgb, 5..) if alpha => Channels::Rgba,
        _ => Channels::Rgb,
    };
    let range = match (kind, bits) {
        (Kind::Float, _) => Range::Float,
        (Kind::Unsigned, 1..=8) => Range::Named(255.0),
        (Kind::Unsigned, 16 | 32 | 64) => Range::Container(((1u128 << bits) - 1) as f64),
        (Kind::Unsigned, _) => Range::Named(f64::from((1u32 << bits) - 1)),
        (Kind::Signed, _) => Range::Container(((1u128 << (bits - 1)) - 1) as f64),
    };
    let bits = bits as u8;
    let stored =
        Stored { format: FileFormat::Tiff, width: size.0, height: size.1, channels, bits, range, pages };
    let turned = u8::try_from(value(ORIENTATION, 1)).ok().and_then(Orientation::from_exif);
    Ok(Page {
        encoding,
        stored,
        meaning,
        samples,
        planar,
        jpeg: compression == JPEG,
        orientation: turned.unwrap_or(Orientation::NoTransforms),
        directory,
    })
}

fn unread_compression(number: u64) -> Option<String> {
    Some(
        match number {
            1 | 4 | 5 | 7 | 8 | 32_946 | 32_773 => return None,
            2 | 3 => "CCITT Group 3 fax",
            6 => "JPEG of the old kind (6)",
            9 | 10 | 34_661 => "JBIG",
            22_610 => "JPEG XR",
            32_766 => "NeXT's run lengths",
            32_809 => "ThunderScan",
            33_003 | 33_004 | 33_005 | 34_712 => "JPEG 2000",
            34_676 | 34_677 => "SGI's LogLuv",
            34_887 => "LERC",
            34_892 => "DNG's lossy JPEG",
            34_925 => "LZMA",
            34_933 => "PNG",
            50_000 => "ZSTD",
            50_001 => "WebP",
            50_002 | 52_546 => "JPEG XL",
            other => return Some(format!("a method of an unknown number ({other})")),
        }
        .to_string(),
    )
}

pub(super) fn decode_error(path: &Path, reason: String) -> DataError {
    DataError::Decode { path: path.to_path_buf(), format: FileFormat::Tiff.name(), reason }
}
