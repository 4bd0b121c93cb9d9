//! What the images are like that a model was trained on: from files to a profile, and the profile of a model file.

use std::path::Path;

use rayon::prelude::*;
use simplenet_data::{
    DataError, DecodeOptions, FileTraits, ImageProfile, ImageTraits,
    decode::{decode_image, read_file},
};
use simplenet_model::checkpoint::ModelRecord;

use crate::error::TrainError;

/// The profile of these files; none of none.
///
/// # Errors
/// A file that cannot be read or decoded.
pub(crate) fn profile_of_files(
    paths: &[&Path],
    options: &DecodeOptions,
) -> Result<Option<ImageProfile>, DataError> {
    let traits = |path: &&Path| {
        let decoded = decode_image(&read_file(path, options.max_pixels)?, path, options)?;
        Ok(ImageTraits::of_file(&decoded.pixels, FileTraits::from(&decoded.source)))
    };
    let all = paths.par_iter().map(traits).collect::<Result<Vec<_>, DataError>>()?;
    Ok(ImageProfile::of(&all))
}

/// The profile in a model file; none in those of older versions.
///
/// # Errors
/// `TrainError::Config` for one that this program does not know.
pub fn profile_of(record: &ModelRecord) -> Result<Option<ImageProfile>, TrainError> {
    let profile = record.image_profile.clone().map(serde_json::from_value).transpose();
    profile.map_err(|e| TrainError::config(Path::new("the image profile in the model file"), e))
}
