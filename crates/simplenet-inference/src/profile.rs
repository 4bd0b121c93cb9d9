//! What the images are like that a model was trained on, as its file says it.

use simplenet_data::ImageProfile;
use simplenet_model::checkpoint::ModelRecord;

use crate::error::InferenceError;

/// The profile in a model file; none in those of older versions.
///
/// # Errors
/// [`InferenceError::Record`] for one that this program does not know.
pub fn profile_of(record: &ModelRecord) -> Result<Option<ImageProfile>, InferenceError> {
    let profile = record.image_profile.clone().map(serde_json::from_value).transpose();
    profile.map_err(|e| InferenceError::record("the image profile in the model file", e))
}
