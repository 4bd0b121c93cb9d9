//! What the fuzz targets share: a file for the entry points that take a path, and small photographs to lay beside it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::OnceLock,
};

/// This process's folder for files, made once. libFuzzer ends processes without cleaning up, so `run` gives each target
/// a folder for temporary files that it removes.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = env::temp_dir().join("simplenet-fuzz").join(process::id().to_string());
        fs::create_dir_all(&folder).expect("a folder for temporary files");
        folder
    })
}

/// Writes the input to a file of this name and gives its path. The same name is overwritten at every call.
pub fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = folder().join(name);
    fs::write(&path, content).expect("a temporary file");
    path
}
