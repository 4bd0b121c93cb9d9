//! Which CUDA sources there are. In: the folder of the ops. Out: op and path of each. Shared by this crate's build script and
//! that of the emulator.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

/// Every op with a `.cu` of its name, in order.
pub(crate) fn kernels(ops: &Path) -> Result<Vec<(String, PathBuf)>, Box<dyn Error>> {
    let mut found = vec![];
    for entry in fs::read_dir(ops)? {
        let folder = entry?.path();
        let Some(op) = folder.file_name().and_then(|name| name.to_str()) else { continue };
        let source = folder.join(format!("{op}.cu"));
        if source.exists() {
            found.push((op.to_string(), source));
        }
    }
    found.sort();
    Ok(found)
}
