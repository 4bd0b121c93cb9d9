//! The bytes of a model file. In: a record and tensors. Out: a safetensors file with the record in its metadata; and
//! the way back, with every way in which a file can be wrong told apart.
//!
//! The hash covers the record's text, with the hash's own digits as zeros, and each tensor's name, type, shape and
//! bytes. It is taken over the text as it stands in the file, so reading and writing numbers cannot disturb it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};
use safetensors::{SafeTensorError, SafeTensors, View, tensor::TensorView};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{error::ModelError, feature_norm::FeatureNorm};

use super::{ModelRecord, TensorEntry};

/// The newest format that this version reads and the one that it writes. It goes up with every change of the record.
pub const FORMAT_VERSION: u32 = 2;
/// Where the record is in the safetensors metadata. The only key: the library does not keep several in order.
pub const METADATA_KEY: &str = "simplenet";

/// The hash's digits while the hash is being taken.
const BLANK_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// safetensors' own limit on its header.
const MAX_HEADER: u64 = 100_000_000;

/// A model file's content whose hash is right.
pub(super) struct Container<'a> {
    path: PathBuf,
    tensors: SafeTensors<'a>,
    record: String,
}

/// The part of the record that is the same in every version.
#[derive(Deserialize)]
struct Envelope {
    format_version: u32,
    #[serde(default)]
    content_sha256: String,
    #[serde(default)]
    created_by: String,
}

/// The file's bytes, and the record with its hash.
pub(super) fn write(
    record: &ModelRecord,
    tensors: &[(String, Tensor)],
    path: &Path,
) -> Result<(Vec<u8>, ModelRecord), ModelError> {
    let invalid = |reason: String| ModelError::InvalidFile { file: path.to_path_buf(), reason };
    let mut record =
        ModelRecord { format_version: FORMAT_VERSION, content_sha256: BLANK_HASH.into(), ..record.clone() };
    let blank = serde_json::to_string(&record).map_err(|e| invalid(format!("not written: {e}")))?;

    let mut parts = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
        parts.push((
            name.as_str(),
            View::dtype(&tensor),
            tensor.dims().to_vec(),
            View::data(&tensor).into_owned(),
        ));
    }
    let views = parts
        .iter()
        .map(|(name, dtype, shape, data)| Ok((*name, TensorView::new(*dtype, shape.clone(), data)?)))
        .collect::<Result<Vec<_>, SafeTensorError>>()
        .map_err(|e| invalid(format!("not written: {e}")))?;
    record.content_sha256 = content_hash(&blank, &views);
    let text = blank.replacen(BLANK_HASH, &record.content_sha256, 1);
    let metadata = HashMap::from([(METADATA_KEY.to_string(), text)]);
    let bytes =
        safetensors::serialize(views, Some(metadata)).map_err(|e| invalid(format!("not written: {e}")))?;
    Ok((bytes, record))
}

/// Checks a file's bytes: form, length, origin, version, hash; in this order, so that the reason given is the cause.
pub(super) fn read<'a>(bytes: &'a [u8], path: &Path) -> Result<Container<'a>, ModelError> {
    let invalid = |reason: String| ModelError::InvalidFile { file: path.to_path_buf(), reason };
    check_length(bytes, path)?;
    let tensors = SafeTensors::deserialize(bytes)
        .map_err(|e| invalid(format!("not a readable safetensors file: {e}")))?;
    let (_, metadata) = SafeTensors::read_metadata(bytes)
        .map_err(|e| invalid(format!("not a readable safetensors file: {e}")))?;
    let Some(record) = metadata.metadata().as_ref().and_then(|m| m.get(METADATA_KEY)).cloned() else {
        return Err(invalid(foreign_file(&tensors)));
    };
    let envelope: Envelope = serde_json::from_str(&record)
        .map_err(|e| invalid(format!("its `{METADATA_KEY}` record cannot be read: {e}")))?;
    if envelope.format_version > FORMAT_VERSION {
        return Err(ModelError::NewerVersion {
            file: path.to_path_buf(),
            found: envelope.format_version,
            supported: FORMAT_VERSION,
            created_by: envelope.created_by,
        });
    }
    let expected = envelope.content_sha256;
    let blank = match expected.len() == BLANK_HASH.len() && expected.bytes().all(|b| b.is_ascii_hexdigit()) {
        true => record.replacen(&expected, BLANK_HASH, 1),
        false => record.clone(),
    };
    let actual = content_hash(&blank, &tensors.tensors());
    if actual != expected {
        return Err(ModelError::Edited { file: path.to_path_buf(), expected, actual });
    }
    Ok(Container { path: path.to_path_buf(), tensors, record })
}

impl Container<'_> {
    /// The record; its golden inputs are without pixels yet.
    pub(super) fn record(&self) -> Result<ModelRecord, ModelError> {
        serde_json::from_str(&self.record).map_err(|e| ModelError::InvalidFile {
            file: self.path.clone(),
            reason: format!("its `{METADATA_KEY}` record cannot be read: {e}"),
        })
    }

    /// A tensor by name, on the CPU, if there is one.
    pub(super) fn tensor(&self, name: &str) -> Result<Option<Tensor>, ModelError> {
        let Ok(view) = self.tensors.tensor(name) else { return Ok(None) };
        let dtype = DType::try_from(view.dtype()).map_err(|_| ModelError::TensorType {
            file: self.path.clone(),
            name: name.to_string(),
            expected: "a type that candle knows".into(),
            actual: view.dtype().to_string().to_lowercase(),
        })?;
        Ok(Some(Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?))
    }

    /// The tensors of norm and head that are in the file.
    pub(super) fn head_tensors(&self, record: &ModelRecord) -> Result<Vec<(String, Tensor)>, ModelError> {
        let mut found = Vec::new();
        let norm = FeatureNorm::tensor_specs(record.adaptor.dim).into_iter().map(|(name, _)| name);
        for name in record.network().head.tensor_names().into_iter().chain(norm) {
            if let Some(tensor) = self.tensor(&name)? {
                found.push((name, tensor));
            }
        }
        Ok(found)
    }

    /// Every tensor, by name.
    pub(super) fn entries(&self) -> Vec<TensorEntry> {
        let mut entries: Vec<TensorEntry> = self
            .tensors
            .iter()
            .map(|(name, view)| TensorEntry {
                name: name.to_string(),
                dtype: view.dtype().to_string().to_lowercase(),
                shape: view.shape().to_vec(),
            })
            .collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }
}

/// SHA-256 over the record and the tensors in order of their names; lengths stand before whatever has one.
fn content_hash<S: AsRef<str>>(blank_record: &str, tensors: &[(S, TensorView<'_>)]) -> String {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    field(blank_record.as_bytes());
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by(|&a, &b| tensors[a].0.as_ref().cmp(tensors[b].0.as_ref()));
    for (name, view) in order.into_iter().map(|i| &tensors[i]) {
        field(name.as_ref().as_bytes());
        field(view.dtype().to_string().as_bytes());
        let shape: Vec<u8> = view.shape().iter().flat_map(|&d| (d as u64).to_le_bytes()).collect();
        field(&shape);
        field(view.data());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Tells a file that is cut short from one that never was a safetensors file.
fn check_length(bytes: &[u8], path: &Path) -> Result<(), ModelError> {
    let file = || path.to_path_buf();
    let actual = bytes.len() as u64;
    let invalid = |reason: &str| ModelError::InvalidFile { file: file(), reason: reason.into() };
    if bytes.is_empty() {
        return Err(invalid("the file is empty"));
    }
    let not_safetensors = "not a safetensors file, so not a model file either";
    let Some(header) = bytes.first_chunk::<8>().map(|b| u64::from_le_bytes(*b)) else {
        return Err(invalid(not_safetensors));
    };
    if header > MAX_HEADER || bytes.get(8).is_some_and(|&b| b != b'{') {
        return Err(invalid(not_safetensors));
    }
    let data = 8 + header;
    let Some(text) = bytes.get(8..data as usize) else {
        return Err(ModelError::Truncated { file: file(), expected: data, actual });
    };
    let header: serde_json::Value = serde_json::from_slice(text).map_err(|_| invalid(not_safetensors))?;
    let end = |tensor: &serde_json::Value| tensor.get("data_offsets")?.get(1)?.as_u64();
    let longest = header.as_object().into_iter().flatten().filter_map(|(_, tensor)| end(tensor)).max();
    let expected = data.saturating_add(longest.unwrap_or(0));
    if actual < expected {
        return Err(ModelError::Truncated { file: file(), expected, actual });
    }
    Ok(())
}

/// What to say about somebody else's safetensors file.
fn foreign_file(tensors: &SafeTensors<'_>) -> String {
    let mut names = tensors.names();
    names.sort_unstable();
    let some: Vec<String> = names.iter().take(3).map(|n| format!("`{n}`")).collect();
    let more = if names.len() > some.len() { ", …" } else { "" };
    format!(
        "a safetensors file, but not a model file: its metadata has no `{METADATA_KEY}` record (what it has is {} \
         tensors: {}{more}). Model files are written by training; if this is a backbone's weights, give it with \
         `--weights`",
        names.len(),
        some.join(", ")
    )
}
