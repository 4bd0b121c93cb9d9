//! Files from elsewhere. In: a path. Out: its bytes, if there are not more than any weights have; and what a file is that was
//! fetched by the wrong way.

use std::{fs::File, io::Read, path::Path};

use crate::error::ModelError;

/// Most bytes of a file of weights; the largest of a registered backbone has half a gigabyte.
const MAX_BYTES: u64 = 4 << 30;

/// All bytes of a file of weights.
///
/// # Errors
/// A file that cannot be read, is larger than weights are, or does not fit in memory.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    let io = || ModelError::io(path);
    let invalid = |reason: String| ModelError::InvalidFile { file: path.to_path_buf(), reason };
    let file = File::open(path).map_err(io())?;
    let length = file.metadata().map_err(io())?.len();
    if length > MAX_BYTES {
        return Err(invalid(format!("{length} bytes; a file of weights has {MAX_BYTES} at most")));
    }
    let mut bytes = Vec::new();
    // A length fits: it is below 4 GiB, and a smaller machine has no more to reserve.
    let reserved = bytes.try_reserve_exact(usize::try_from(length).unwrap_or(usize::MAX));
    reserved.map_err(|_| invalid(format!("its {length} bytes do not fit in memory")))?;
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(io())?;
    Ok(bytes)
}

/// What a file is, by its first bytes, that people take for another one.
pub(crate) fn foreign(start: &[u8]) -> Option<&'static str> {
    let text = start.trim_ascii_start();
    if start.starts_with(b"version ") {
        Some("a Git LFS pointer, which stands for the file in the repository: run `git lfs pull` there")
    } else if text.starts_with(b"<") {
        Some("a web page, not the file that it is about: download the file itself")
    } else {
        None
    }
}
