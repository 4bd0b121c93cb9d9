//! Which format a file is of, by its first bytes; the extension decides nothing.
//!
//! In: the first [`SNIFF_BYTES`]. Out: a format that is read, or the real name of one that is not, with the way out.

use std::fmt;

/// How many first bytes [`sniff`] and [`foreign`] need to know every format.
pub const SNIFF_BYTES: usize = 136;

/// A format whose pixels are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FileFormat {
    /// Portable Network Graphics.
    Png,
    /// JPEG, whatever its extension.
    Jpeg,
    /// Windows bitmap.
    Bmp,
    /// TIFF and BigTIFF.
    Tiff,
    /// WebP, lossy or lossless.
    WebP,
    /// The Netpbm family: PBM, PGM, PPM, PAM.
    Pnm,
}

impl FileFormat {
    /// The name that people use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
            Self::WebP => "WebP",
            Self::Pnm => "PNM",
        }
    }
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The format that a file's first bytes announce ([`SNIFF_BYTES`] of them, or all there are), if it is one that is read.
pub fn sniff(start: &[u8]) -> Option<FileFormat> {
    match start {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(FileFormat::Png),
        [0xFF, 0xD8, 0xFF, ..] => Some(FileFormat::Jpeg),
        [b'B', b'M', ..] if bitmap_header(start) => Some(FileFormat::Bmp),
        // A CR2 file is a TIFF file with a note of its own behind the header.
        [b'I', b'I', 42, 0, _, _, _, _, b'C', b'R', ..] => None,
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some(FileFormat::Tiff),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(FileFormat::WebP),
        [b'P', b'1'..=b'7', b' ' | b'\t' | b'\r' | b'\n' | b'#', ..] => Some(FileFormat::Pnm),
        _ => None,
    }
}

/// A text may begin with "BM": the length of the second header tells.
fn bitmap_header(start: &[u8]) -> bool {
    start.get(14..18).is_some_and(|size| {
        matches!(
            u32::from_le_bytes([size[0], size[1], size[2], size[3]]),
            12 | 16 | 40 | 52 | 56 | 64 | 108 | 124
        )
    })
}

/// A kind of file that is known by its first bytes and not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    /// What it is, with an article.
    pub name: &'static str,
    /// What to do about it.
    pub advice: &'static str,
}

const CONVERT: &str = "convert it to PNG, TIFF or JPEG";
const DEVELOP: &str = "develop it to TIFF or PNG with the camera's program, always in the same way";
const NO_IMAGE: &str = "remove it from the folder, or name the image itself";

/// What a file is that is not read, where its first bytes tell.
pub fn foreign(start: &[u8]) -> Option<Foreign> {
    let (name, advice) = by_magic(start).or_else(|| by_text(start))?;
    Some(Foreign { name, advice })
}

fn by_magic(start: &[u8]) -> Option<(&'static str, &'static str)> {
    Some(match start {
        [b'G', b'I', b'F', b'8', ..] => ("a GIF picture", CONVERT),
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => match brand.get(..4) {
            Some(b"avif" | b"avis") => ("an AVIF picture", CONVERT),
            Some(b"crx ") => ("a camera's raw file (CR3)", DEVELOP),
            Some(b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1") => {
                ("a HEIC picture", "convert it, or set the camera to \"most compatible\" (JPEG)")
            }
            Some(b"jp2 " | b"jpx ") => ("a JPEG 2000 picture", CONVERT),
            _ => ("a video", "save its pictures as PNG"),
        },
        [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] | [0xFF, 0x4F, 0xFF, 0x51, ..] => {
            ("a JPEG 2000 picture", CONVERT)
        }
        [0xFF, 0x0A, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => ("a JPEG XL picture", CONVERT),
        [0xFF, 0xD8, ..] => ("a JPEG picture without its headers", "copy the file again"),
        [b'I', b'I', b'*', 0, _, _, _, _, b'C', b'R', ..] => ("a camera's raw file (CR2)", DEVELOP),
        [b'F', b'U', b'J', b'I', b'F', b'I', b'L', b'M', ..] => ("a camera's raw file (RAF)", DEVELOP),
        [b'I', b'I', b'R', b'O' | b'S', ..] | [b'M', b'M', b'O', b'R', ..] => {
            ("a camera's raw file (ORF)", DEVELOP)
        }
        [b'I', b'I', b'U', 0, ..] => ("a camera's raw file (RW2)", DEVELOP),
        [b'F', b'O', b'V', b'b', ..] => ("a camera's raw file (X3F)", DEVELOP),
        [0, b'M', b'R', b'M', ..] => ("a camera's raw file (MRW)", DEVELOP),
        [b'I', b'I', 0x1A, 0, _, _, b'H', b'E', b'A', b'P', ..] => ("a camera's raw file (CRW)", DEVELOP),
        [b'I', b'I', 0xBC, ..] => ("a JPEG XR picture", CONVERT),
        [b'8', b'B', b'P', b'S', ..] => ("a Photoshop document", CONVERT),
        [b'P', b'F' | b'f', b'\n' | b'\r' | b' ', ..] => {
            ("a PFM picture (floating point)", "save it as TIFF")
        }
        [0x76, 0x2F, 0x31, 0x01, ..] => ("an OpenEXR picture", "save it as TIFF"),
        [b'#', b'?', b'R', b'A', b'D', ..] => ("a Radiance HDR picture", "save it as TIFF"),
        [0, 0, 1 | 2, 0, count, 0, ..] if *count > 0 => ("an icon (ICO)", CONVERT),
        // TGA has no mark: no colour map, an image of true colours or gray, a usual number of bits.
        [_, 0, 2 | 3 | 10 | 11, 0, 0, 0, 0, 0, _, _, _, _, _, _, _, _, 8 | 16 | 24 | 32, _, ..] => {
            ("a TGA picture", CONVERT)
        }
        [b'q', b'o', b'i', b'f', ..] => ("a QOI picture", CONVERT),
        [b'D', b'D', b'S', b' ', ..] => ("a DDS texture", CONVERT),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => {
            ("a NumPy array", "save it as a picture: 8 bit PNG, or 16 bit TIFF")
        }
        [0x89, b'H', b'D', b'F', ..] => ("an HDF5 file", "save its pictures as PNG or TIFF"),
        [b'S', b'I', b'M', b'P', b'L', b'E', b' ', b' ', ..] => ("a FITS file", "save it as TIFF"),
        [b'%', b'P', b'D', b'F', ..] => ("a PDF document", NO_IMAGE),
        [b'%', b'!', b'P', b'S', ..] => ("a PostScript document", NO_IMAGE),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => ("a ZIP archive", "unpack it, and name the folder"),
        [0x1F, 0x8B, ..] => ("a gzip archive", "unpack it, and name the folder"),
        [b'7', b'z', 0xBC, 0xAF, ..] => ("a 7-Zip archive", "unpack it, and name the folder"),
        [b'R', b'a', b'r', b'!', ..] => ("a RAR archive", "unpack it, and name the folder"),
        [b'R', b'I', b'F', b'F', ..] => ("a video or sound", "save its pictures as PNG"),
        [0x1A, 0x45, 0xDF, 0xA3, ..] => ("a video", "save its pictures as PNG"),
        [0x7F, b'E', b'L', b'F', ..] | [b'M', b'Z', ..] => ("a program", NO_IMAGE),
        _ if start.get(128..132) == Some(b"DICM") => {
            ("a DICOM file", "save its picture as 16 bit TIFF or PNG")
        }
        _ if start.len() >= 16 && start.iter().all(|&byte| byte == 0) => {
            ("zeros where a header should be (its copy was probably cut off)", "copy the file again")
        }
        _ => return None,
    })
}

fn by_text(start: &[u8]) -> Option<(&'static str, &'static str)> {
    let text = start.strip_prefix(&[0xEF, 0xBB, 0xBF]).unwrap_or(start).trim_ascii_start();
    let begins = |word: &[u8]| text.get(..word.len()).is_some_and(|it| it.eq_ignore_ascii_case(word));
    Some(if begins(b"version https://git-lfs") {
        ("a Git LFS pointer, not the file itself", "run `git lfs pull`")
    } else if begins(b"<!doctype html") || begins(b"<html") {
        ("an HTML page: a download that went wrong", "download the image itself")
    } else if begins(b"<svg") {
        ("an SVG drawing", CONVERT)
    } else if begins(b"<?xml") || begins(b"<") {
        ("an XML or HTML text", NO_IMAGE)
    } else if begins(b"{") || begins(b"[") {
        ("a JSON text", NO_IMAGE)
    } else if text.len() >= 4
        && text.iter().all(|&b| matches!(b, b'\t' | b'\n' | b'\r' | 0x20..=0x7E | 0x80..))
    {
        ("a text", NO_IMAGE)
    } else {
        return None;
    })
}
