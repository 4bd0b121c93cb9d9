//! A file's bytes, within what an image of the allowed size can have.

use std::fs::{File, FileType, Metadata};
use std::io::Read;
use std::path::Path;

use crate::error::DataError;

/// The widest pixel of a usual file: four channels of 32 bits.
const MAX_BYTES_PER_PIXEL: u64 = 16;

/// What a file may hold beyond the pixels: tables, metadata, colour profiles, further pages.
const HEADROOM_BYTES: u64 = 64 << 20;

/// The most memory that metadata may take while a file is decoded. Colour profiles and texts are not unpacked.
pub(super) const METADATA_BYTES: usize = 8 << 20;

/// The bytes of an image file, as [`decode_bytes`](super::decode_bytes) takes them.
///
/// # Errors
/// The file cannot be read, or is larger than any image of `max_pixels`.
pub fn read_file(path: &Path, max_pixels: u64) -> Result<Vec<u8>, DataError> {
    let file = open_file(path)?;
    let bytes = file.metadata().map_err(DataError::io("read", path))?.len();
    let most = max_bytes(max_pixels);
    let too_large = |bytes| DataError::FileTooLarge { path: path.to_path_buf(), bytes, limit: max_pixels };
    if bytes > most {
        return Err(too_large(bytes));
    }
    let mut content = Vec::with_capacity(bytes as usize + 1);
    // A device file announces 0 bytes and never ends: the limit holds for what is read, too.
    let read = file.take(most + 1).read_to_end(&mut content).map_err(DataError::io("read", path))?;
    if read as u64 > most { Err(too_large(read as u64)) } else { Ok(content) }
}

/// Opens a file, and no named pipe, which would be waited for without end.
pub(super) fn open_file(path: &Path) -> Result<File, DataError> {
    let metadata = std::fs::metadata(path).map_err(DataError::io("read", path))?;
    require_file(path, &metadata)?;
    File::open(path).map_err(DataError::io("read", path))
}

/// Refuses what is no file, such as a named pipe, which would be waited for without end.
///
/// # Errors
/// [`DataError::NotAFile`].
pub(crate) fn require_file(path: &Path, metadata: &Metadata) -> Result<(), DataError> {
    match special(metadata.file_type()) {
        Some(what) => Err(DataError::NotAFile { path: path.to_path_buf(), what }),
        None => Ok(()),
    }
}

/// What an entry is that is neither file nor folder.
pub(crate) fn special(kind: FileType) -> Option<&'static str> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return Some("a named pipe");
        }
        if kind.is_socket() {
            return Some("a socket");
        }
        if kind.is_block_device() || kind.is_char_device() {
            return Some("a device");
        }
    }
    (!kind.is_file() && !kind.is_dir()).then_some("neither file nor folder")
}

fn max_bytes(max_pixels: u64) -> u64 {
    max_pixels.saturating_mul(MAX_BYTES_PER_PIXEL).saturating_add(HEADROOM_BYTES)
}
