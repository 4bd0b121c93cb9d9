//! What `cuda-check` and `gpu-check` share: where the kernels are, NVIDIA's compiler, calls of cargo.

mod cargo;
mod command;
mod toolkit;

use std::{
    fs,
    path::{Path, PathBuf},
};

use simplenet_cli::CliError;

pub(crate) use cargo::{Cargo, Metadata, packages};
pub(crate) use command::{Unavailable, output};
pub(crate) use toolkit::{Toolkit, default_cache};

/// The ops, one folder each.
const OPS: &str = "crates/simplenet-model/src/kernels";
/// What every kernel may include.
pub(crate) const INCLUDE: &str = "crates/simplenet-model/src/kernels/cuda";
/// What stands in for nvcc where candle's own kernels are built.
pub(crate) const WRAPPER: &str = "xtask/cuda/nvcc-wrapper";

/// Every op with a `.cu` of its name, by name.
///
/// # Errors
/// Not at the repository's root; no kernel there.
pub(crate) fn kernels() -> Result<Vec<(String, PathBuf)>, CliError> {
    let ops = Path::new(OPS);
    if !ops.is_dir() || !Path::new(WRAPPER).is_file() {
        return Err(CliError::Usage(format!("{OPS} is not here: run this from the repository's root")));
    }
    let mut found = vec![];
    for entry in fs::read_dir(ops).map_err(CliError::io("list", ops))? {
        let folder = entry.map_err(CliError::io("list", ops))?.path();
        let Some(op) = folder.file_name().and_then(|name| name.to_str()) else { continue };
        let source = folder.join(format!("{op}.cu"));
        if source.is_file() {
            found.push((op.to_string(), source));
        }
    }
    found.sort();
    if found.is_empty() {
        Err(CliError::Usage(format!("no op in {OPS} has a .cu of its name: nothing to check")))
    } else {
        Ok(found)
    }
}

/// The absolute form of a path, whether or not it exists.
///
/// # Errors
/// There is no current folder.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(CliError::io("find", path))
}
