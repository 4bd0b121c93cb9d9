//! Which photographs a verb works on: those that were named or, where none were, the model's own test images.

use std::path::{Path, PathBuf};

use simplenet_data::dataset::{Place, Source, folder};
use simplenet_train::Detector;

use crate::{commands::train::TRAINING_FILE, error::CliError};

/// A photograph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Where it lies.
    pub path: PathBuf,
    /// Its path below the folder that was named: what its results are called below an output folder.
    pub name: PathBuf,
}

/// The photographs at and below `asked`, in order; without any, the test images of the category that the model file
/// `model` was trained on, which is then said.
///
/// # Errors
/// A path that does not exist, a folder without images; nothing asked for and no test images either.
pub fn inputs(asked: &[PathBuf], model: &Path, detector: &Detector) -> Result<Vec<Input>, CliError> {
    let mut inputs = vec![];
    if asked.is_empty() {
        let (root, images) = test_images(model, detector)?;
        println!("no --input: inspecting the {} test images of {}", images.len(), root.display());
        inputs.extend(images.into_iter().map(|path| named(path, &root)));
    }
    for root in asked {
        let folder = if root.is_dir() { root.as_path() } else { root.parent().unwrap_or(Path::new("")) };
        let images = folder::list_images(root)?;
        inputs.extend(images.into_iter().map(|path| named(path, folder)));
    }
    Ok(inputs)
}

fn named(path: PathBuf, root: &Path) -> Input {
    let name = path
        .strip_prefix(root)
        .map(Path::to_path_buf)
        .unwrap_or_else(|_| path.file_name().map(PathBuf::from).unwrap_or_default());
    Input { path, name }
}

/// The test images of the category that a model was trained on, from the record beside it.
fn test_images(model: &Path, detector: &Detector) -> Result<(PathBuf, Vec<PathBuf>), CliError> {
    #[derive(serde::Deserialize)]
    struct OnlyData {
        data: PathBuf,
        place: Option<Place>,
    }
    let record = model.with_file_name(TRAINING_FILE);
    let no_input = |why: String| {
        CliError::Usage(format!("what should be inspected? {why}: give --input IMAGE_OR_FOLDER"))
    };
    let text = std::fs::read_to_string(&record).map_err(|e| {
        no_input(format!("there is no --input, and {} cannot be read ({e})", record.display()))
    })?;
    let OnlyData { data, place } = serde_json::from_str(&text).map_err(|e| {
        no_input(format!("there is no --input, and {} does not name the data ({e})", record.display()))
    })?;
    let place = place.map_or_else(|| Source::path(&data).place(), Ok);
    let category = place.and_then(|place| place.load(&detector.preprocess().decode)).map_err(|e| {
        no_input(format!("there is no --input, and the model's own data set has no test images ({e})"))
    })?;
    let images: Vec<PathBuf> = category.test.into_iter().map(|sample| sample.path).collect();
    if images.is_empty() {
        return Err(no_input(format!("there is no --input, and {} has no test images", data.display())));
    }
    // Of a list the folder, in whose place the photographs are named.
    let root = if data.is_file() { data.parent().unwrap_or(Path::new("")).to_path_buf() } else { data };
    Ok((root, images))
}
