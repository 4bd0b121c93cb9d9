//! Which format a file is of, by its first bytes; the extension decides nothing.

use std::fmt;

/// How many first bytes [`sniff`] needs to know every format.
pub const SNIFF_BYTES: usize = 64;

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
    /// TIFF.
    Tiff,
}

impl FileFormat {
    /// The name that people use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
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
        [b'B', b'M', ..] => Some(FileFormat::Bmp),
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Some(FileFormat::Tiff),
        _ => None,
    }
}
