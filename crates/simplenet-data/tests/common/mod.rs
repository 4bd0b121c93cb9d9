//! The fixtures of data sets, and copies of them that a test may break.

#![allow(dead_code, unreachable_pub)] // each test program uses its part

use std::path::{Path, PathBuf};

/// A fixture's path.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// A path with forward slashes.
pub fn slashed(path: &Path) -> String {
    path.display().to_string().replace('\\', "/")
}
