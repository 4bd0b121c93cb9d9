//! Inspects photographs by a model file: `cargo run --release --example inspect -- MODEL PHOTOGRAPH…`.

use std::path::{Path, PathBuf};

use simplenet_inference::{Detector, DetectorOptions, InferenceError, inspect_stream};

pub(crate) fn inspect(model: &Path, photographs: &[PathBuf]) -> Result<(), InferenceError> {
    let detector = Detector::open(model, &DetectorOptions::default())?;
    inspect_stream(
        &detector,
        photographs,
        |_, inspected| inspected.map(|it| it.inspection),
        |path, result| {
            let found = result.map(|it| format!("{:.4} {:?} {:?}", it.score, it.decision, it.regions));
            println!("{}: {}", path.display(), found.unwrap_or_else(|error| error.to_string()));
            Ok(())
        },
    )
}

fn main() -> Result<(), InferenceError> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if let Some((model, photographs)) = arguments.split_first() {
        return inspect(model, photographs);
    }
    eprintln!("usage: inspect MODEL PHOTOGRAPH…");
    Ok(())
}
