//! What the images are like that a model is trained on: from files to a profile.

use std::path::Path;

use rayon::prelude::*;
use simplenet_data::{
    DataError, DecodeOptions, FileTraits, ImageProfile, ImageTraits,
    decode::{decode_image, read_file},
};

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
