//! Small data sets for the tests that run whole programs.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, Weak},
};

use simplenet_data::synthetic::{DemoOptions, write_demo};
use tempfile::TempDir;

use crate::program::run;

/// Draws the five demo categories below `root`, as small as they come: 96 pixels, 8 good images to train on, 2 to test
/// on, one of each of five defects.
///
/// # Panics
/// When they cannot be written.
pub fn write(root: &Path) {
    let mut options = DemoOptions::default();
    options.image_size = 96;
    options.train_good = 8;
    options.test_good = 2;
    options.test_per_defect = 1;
    write_demo(root, &options, &|_, _| {}).expect("demo data");
}

/// A new folder with the demo set in `demo/`.
///
/// # Panics
/// As [`write()`].
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("folder");
    write(&folder.path().join("demo"));
    folder
}

/// A folder with the demo set in `demo/` and a model of `demo/oak_plank` in `out/`. The tests of one program share it
/// and write only what no other test reads; it goes when the last one is done with it.
///
/// # Panics
/// When the training fails.
pub fn trained() -> Arc<TempDir> {
    static SHARED: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
    // A test that failed in here has reported; the next one tries for itself.
    let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(folder) = shared.upgrade() {
        return folder;
    }
    let folder = Arc::new(folder());
    run(folder.path(), "simplenet train --data demo/oak_plank --out out --size 96 --epochs 20").ok();
    *shared = Arc::downgrade(&folder);
    folder
}

/// Copies a folder with all that is in it.
///
/// # Panics
/// When something cannot be read or written.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
    for entry in fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
        let path = entry.expect("entry").path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }
}
