//! The model file: one safetensors file that is all a line PC needs. In: a trained network and its record. Out: a file
//! `save`d whole or not at all, `load`ed only when every byte is as it was saved.
//!
//! The record is JSON in the header's metadata, under `simplenet`. The tensors are the head's under their official
//! names, the backbone's under `backbone.` in the type of their source, and the golden inputs. docs/reference.md
//! describes the format.

mod container;
mod record;
mod threshold;
mod verify;

use std::{collections::HashMap, path::Path};

use candle_core::{DType, Device, Tensor};
use serde::Serialize;
use simplenet_files::Durability;

use crate::{error::ModelError, simplenet::SimpleNet, weights::BackboneWeights};
use container::Container;

pub use container::{FORMAT_VERSION, METADATA_KEY};
pub use record::{Golden, GoldenInput, ModelRecord, RecordInput};
pub use threshold::{Decision, ReviewBand, Threshold};
pub use verify::{GoldenCheck, VERIFY_ABSOLUTE, VERIFY_RELATIVE, VerifyReport, verify};

/// What stands before the names of the backbone's tensors.
const BACKBONE_PREFIX: &str = "backbone.";

/// A tensor in a model file, as [`inspect`] lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorEntry {
    /// Name in the file.
    pub name: String,
    /// Element type, as candle and PyTorch spell it: `f32`, `f16`, `u8`, `i64`.
    pub dtype: String,
    /// Shape.
    pub shape: Vec<usize>,
}

/// What is in a model file, without building the network.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFile {
    /// The record.
    pub record: ModelRecord,
    /// The tensors, by name.
    pub tensors: Vec<TensorEntry>,
    /// Size of the file in bytes.
    pub bytes: u64,
}

/// Writes a model file: to a temporary name beside `path`, flushed to the disk, then renamed. Returns the record as it
/// is in the file, with this version's format and the content's hash. The same network and record give the same bytes.
///
/// # Errors
/// A record that does not belong to `net` or holds a number that is not finite; a file that cannot be written.
pub fn save(path: &Path, net: &SimpleNet, record: &ModelRecord) -> Result<ModelRecord, ModelError> {
    record.validate(path)?;
    if record.network() != net.config() || record.backbone_sha256 != net.extractor().weights().sha256 {
        return Err(ModelError::InvalidFile {
            file: path.to_path_buf(),
            reason: "not written: the record describes another network than the one to be saved".into(),
        });
    }
    let mut tensors: Vec<(String, Tensor)> = net.head().named_tensors();
    tensors.extend(net.norm().named_tensors());
    if let Some(position) = net.position() {
        tensors.extend(position.named_tensors()?);
    }
    for (name, tensor) in &net.extractor().weights().tensors {
        tensors.push((format!("{BACKBONE_PREFIX}{name}"), tensor.clone()));
    }
    for golden in &record.goldens {
        tensors.push((golden.tensor.clone(), golden.to_tensor()?));
    }
    let (bytes, record) = container::write(record, &tensors, path)?;
    // Before the new one is written: its room may be needed.
    simplenet_files::clear(simplenet_files::parent_folder(path));
    simplenet_files::write(path, &bytes, Durability::Disk).map_err(ModelError::io(path))?;
    Ok(record)
}

/// Reads a model file and builds its network on `device`.
///
/// # Errors
/// A file that cannot be read, is not a safetensors file, is cut short, was edited, comes from a newer version or
/// from another program, or whose tensors are missing or misshapen: each says which, and what to do.
pub fn load(path: &Path, device: &Device) -> Result<(SimpleNet, ModelRecord), ModelError> {
    let container = container::read(path)?;
    let record = read_record(&container, path)?;

    let specs = record.backbone.tensor_specs_for(record.levels);
    let mut backbone = HashMap::with_capacity(specs.len());
    for spec in specs {
        if let Some(tensor) = container.tensor(&format!("{BACKBONE_PREFIX}{}", spec.name))? {
            backbone.insert(spec.name, tensor);
        }
    }
    let sha256 = record.backbone_sha256.clone();
    let weights = BackboneWeights::checked(record.backbone, record.levels, backbone, sha256, path)
        .map_err(name_as_in_file)?;

    let mut head = HashMap::new();
    for (name, tensor) in container.head_tensors(&record)? {
        head.insert(name, tensor);
    }
    let net = SimpleNet::from_tensors(&record.network(), &weights, &head, device, path)?;
    Ok((net, record))
}

/// Reads a model file's record and lists its tensors; checks everything that [`load`] checks but the tensors' shapes.
///
/// # Errors
/// As [`load`].
pub fn inspect(path: &Path) -> Result<ModelFile, ModelError> {
    let container = container::read(path)?;
    let record = read_record(&container, path)?;
    Ok(ModelFile { record, tensors: container.entries, bytes: container.bytes })
}

/// A short name for a model, from its content: the first 12 digits of the hash. Empty before it was saved.
pub fn model_id(record: &ModelRecord) -> String {
    record.content_sha256.chars().take(12).collect()
}

/// The record with the golden inputs' pixels put back.
fn read_record(container: &Container, path: &Path) -> Result<ModelRecord, ModelError> {
    let mut record = container.record()?;
    record.validate_settings(path)?;
    for golden in &mut record.goldens {
        let expected = golden.shape();
        let (file, name) = (path.to_path_buf(), golden.tensor.clone());
        let Some(tensor) = container.tensor(&name)? else {
            return Err(ModelError::MissingTensor { file, name, expected });
        };
        if tensor.dims() != expected {
            return Err(ModelError::TensorShape { file, name, expected, actual: tensor.dims().to_vec() });
        }
        if tensor.dtype() != DType::U8 {
            let actual = tensor.dtype().as_str().to_string();
            return Err(ModelError::TensorType { file, name, expected: "u8".into(), actual });
        }
        golden.input.rgb = tensor.flatten_all()?.to_vec1::<u8>()?;
    }
    record.validate(path)?;
    Ok(record)
}

/// Errors about the backbone's tensors name them as the file does.
fn name_as_in_file(error: ModelError) -> ModelError {
    let longer = |name: String| format!("{BACKBONE_PREFIX}{name}");
    match error {
        ModelError::MissingTensor { file, name, expected } => {
            ModelError::MissingTensor { file, name: longer(name), expected }
        }
        ModelError::TensorShape { file, name, expected, actual } => {
            ModelError::TensorShape { file, name: longer(name), expected, actual }
        }
        ModelError::TensorType { file, name, expected, actual } => {
            ModelError::TensorType { file, name: longer(name), expected, actual }
        }
        ModelError::TensorValue { file, name, index, value } => {
            ModelError::TensorValue { file, name: longer(name), index, value }
        }
        other => other,
    }
}
