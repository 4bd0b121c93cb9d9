//! Detectors of model files, on the CPU in every build.

use std::path::Path;

use simplenet_inference::{Detector, DetectorOptions, DeviceChoice};

/// The default options on the CPU, changed.
pub fn options(change: impl FnOnce(&mut DetectorOptions)) -> DetectorOptions {
    let mut options = DetectorOptions::default();
    options.device = DeviceChoice::Cpu;
    change(&mut options);
    options
}

/// The detector of a model file.
///
/// # Panics
/// When it cannot be opened.
pub fn open(model: &Path) -> Detector {
    open_with(model, |_| {})
}

/// The same with changed options.
///
/// # Panics
/// As [`open`].
pub fn open_with(model: &Path, change: impl FnOnce(&mut DetectorOptions)) -> Detector {
    Detector::open(model, &options(change)).unwrap_or_else(|e| panic!("{}: {e}", model.display()))
}
