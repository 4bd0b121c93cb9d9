//! Which photographs a verb works on: those that were named or, where none were, the model's own test images; and what was
//! passed over between them.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
};

use serde::Serialize;
use simplenet_data::{
    DataError,
    dataset::{
        Place, Source, apart, is_drawn,
        listing::{ListOptions, Listing, PassedOver, Reason, list},
    },
};
use simplenet_inference::Detector;

use crate::{
    error::CliError,
    output::{TRAINING_FILE, prediction::JsonPath},
};

/// A photograph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Where it lies.
    pub path: PathBuf,
    /// Its path below the folder that was named: what its results are called below an output folder.
    pub name: PathBuf,
    /// Why it is none: a folder that cannot be listed, a link to nowhere or back, a named pipe.
    pub problem: Option<String>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Inputs {
    /// The photographs, and what could not be looked at, in order.
    pub photographs: Vec<Input>,
    /// Files and folders that were passed over.
    pub passed_over: Vec<PassedOver>,
    /// Photographs that were named more than once.
    pub repeated: usize,
}

/// The photographs at and below `asked`, in order; without any, the test images of the category that the model file
/// `model` was trained on, which is then said. Results in the folders `outputs` are passed over.
///
/// # Errors
/// A path that does not exist, a folder without images; nothing asked for and no test images either.
pub fn inputs(
    asked: &[PathBuf],
    outputs: &[PathBuf],
    model: &Path,
    detector: &Detector,
) -> Result<Inputs, CliError> {
    let mut inputs = Inputs::default();
    if asked.is_empty() {
        let (root, images) = test_images(model, detector)?;
        println!("no --input: inspecting the {} test images of {}", images.len(), root.display());
        inputs.photographs.extend(images.into_iter().map(|path| named(path, &root, None)));
    }
    let mut options = ListOptions::default();
    options.outputs = outputs.to_vec();
    let mut seen = HashSet::new();
    for root in asked {
        let folder = if root.is_dir() { root.as_path() } else { root.parent().unwrap_or(Path::new("")) };
        let mut listing = list(root, &options)?;
        pass_over_masks(&mut listing, root);
        require_some(root, &listing)?;
        let images = listing.images.into_iter().map(|path| named(path, folder, None));
        let failed = listing.failed.into_iter();
        let failed = failed.map(|entry| named(entry.path, folder, Some(entry.error.to_string())));
        let mut found: Vec<Input> = images.chain(failed).collect();
        found.sort_by(|a, b| a.path.cmp(&b.path));
        let all = found.len();
        found.retain(|input| seen.insert(input.path.clone()));
        inputs.repeated += all - found.len();
        inputs.photographs.extend(found);
        inputs.passed_over.extend(listing.passed_over);
    }
    Ok(inputs)
}

/// Passes masks over that lie beside their photographs: of those that are named as masks, what is drawn like one. A photograph
/// that only has such a name (`bottle_label.png`) is a part that nobody else would look at.
fn pass_over_masks(listing: &mut Listing, root: &Path) {
    let masks = apart(listing.images.clone(), root).masks.into_iter().filter(|file| is_drawn(file));
    let masks: HashSet<PathBuf> = masks.collect();
    listing.images.retain(|file| !masks.contains(file));
    listing.passed_over.extend(masks.into_iter().map(|path| PassedOver { path, reason: Reason::Mask }));
    listing.passed_over.sort_unstable_by(|a, b| a.path.cmp(&b.path));
}

/// # Errors
/// Neither an image nor anything that could not be looked at.
fn require_some(root: &Path, listing: &Listing) -> Result<(), CliError> {
    if !listing.images.is_empty() || !listing.failed.is_empty() {
        return Ok(());
    }
    let mut expected = String::from("at least one image, in it or in its sub-folders");
    if !listing.passed_over.is_empty() {
        expected = format!("{expected}; {}", passed_over_words(&listing.passed_over));
    }
    Err(DataError::NoImages { path: root.to_path_buf(), expected }.into())
}

/// What was passed over, as fields of an event.
#[derive(Debug, Serialize)]
pub struct PassedOverFields {
    /// How many files and folders.
    count: usize,
    /// How many of each reason.
    reasons: BTreeMap<&'static str, usize>,
    /// The first ones.
    first: Vec<JsonPath>,
}

/// As many paths as an event names.
const MOST_NAMED: usize = 20;

impl PassedOverFields {
    /// Of files and folders that were passed over.
    pub fn of(passed_over: &[PassedOver]) -> Self {
        let mut reasons = BTreeMap::new();
        for entry in passed_over {
            *reasons.entry(entry.reason.name()).or_insert(0) += 1;
        }
        let first = passed_over.iter().take(MOST_NAMED).map(|entry| JsonPath::new(&entry.path)).collect();
        Self { count: passed_over.len(), reasons, first }
    }
}

/// What was passed over, as a sentence: how many of each reason, and the first of them by name.
pub fn passed_over_words(passed_over: &[PassedOver]) -> String {
    /// As many names as a reason shows.
    const SHOWN: usize = 3;
    let mut by_reason: BTreeMap<Reason, Vec<&Path>> = BTreeMap::new();
    for entry in passed_over {
        by_reason.entry(entry.reason).or_default().push(&entry.path);
    }
    let of_reason = |(reason, paths): (Reason, Vec<&Path>)| {
        let name = |path: &&Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let mut names: Vec<String> = paths.iter().take(SHOWN).map(name).collect();
        if paths.len() > SHOWN {
            names.push("…".into());
        }
        format!("{} {} ({})", paths.len(), reason.words(), names.join(", "))
    };
    let all: Vec<String> = by_reason.into_iter().map(of_reason).collect();
    let noun = if passed_over.len() == 1 { "file or folder was" } else { "files and folders were" };
    format!("{} {noun} passed over: {}", passed_over.len(), all.join(", "))
}

fn named(path: PathBuf, root: &Path, problem: Option<String>) -> Input {
    let name = path
        .strip_prefix(root)
        .map(Path::to_path_buf)
        .unwrap_or_else(|_| path.file_name().map(PathBuf::from).unwrap_or_default());
    Input { path, name, problem }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_passed_over_is_counted_and_named() {
        let entry = |name: &str, reason| PassedOver { path: Path::new("in").join(name), reason };
        let some: Vec<PassedOver> = (0..5).map(|i| entry(&format!("{i}.heic"), Reason::NoImage)).collect();
        let mut all = vec![entry("@eaDir", Reason::System)];
        assert_eq!(
            passed_over_words(&all),
            "1 file or folder was passed over: 1 of a NAS or the operating system (@eaDir)"
        );
        all.extend(some);
        assert_eq!(
            passed_over_words(&all),
            "6 files and folders were passed over: 1 of a NAS or the operating system (@eaDir), 5 no images that are read \
             (0.heic, 1.heic, 2.heic, …)"
        );
        let fields = serde_json::to_value(PassedOverFields::of(&all)).unwrap();
        assert_eq!(fields["reasons"], serde_json::json!({ "no_image": 5, "system": 1 }));
    }
}
