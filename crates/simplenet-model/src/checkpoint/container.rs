//! The bytes of a model file. In: a record and tensors. Out: a safetensors file with the record in its metadata; and
//! the way back, with every way in which a file can be wrong told apart.
//!
//! The hash covers the record's text, with the hash's own digits as zeros, and each tensor's name, type, shape and
//! bytes. It is taken over the text as it stands in the file, so reading and writing numbers cannot disturb it.
//!
//! A file is read tensor by tensor: its bytes are never in memory twice. Only tensors that the record describes, of the shape
//! that it gives them, are kept; of others only the hash is taken, whatever size they claim.

use std::{
    cmp::Ordering,
    collections::HashMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};
use safetensors::{
    Dtype, SafeTensorError, View,
    tensor::{Metadata, TensorView},
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{error::ModelError, feature_norm::FeatureNorm, file, tensor_check::require_finite};

use super::{ModelRecord, TensorEntry};

/// The newest format that this version reads and the one that it writes. It goes up with every change of the record.
pub const FORMAT_VERSION: u32 = 4;
/// Where the record is in the safetensors metadata. The only key: the library does not keep several in order.
pub const METADATA_KEY: &str = "simplenet";

/// The hash's digits while the hash is being taken.
const BLANK_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// safetensors' own limit on its header.
const MAX_HEADER: u64 = 100_000_000;

/// Most bytes of all tensors; the largest network with statistics of many tiles has a tenth of it.
const MAX_DATA: usize = 4 << 30;
/// Bytes of a tensor that are read at once.
const CHUNK: usize = 1 << 20;

/// The length of the header, and its first character.
const START: u64 = 9;

/// A model file's content whose hash is right.
pub(super) struct Container {
    path: PathBuf,
    /// Size of the file.
    pub(super) bytes: u64,
    record: String,
    /// Every tensor, by name.
    pub(super) entries: Vec<TensorEntry>,
    /// Those that the record describes, of the shape that it gives them and of a type that candle knows.
    tensors: HashMap<String, Tensor>,
    /// The shapes that the record gives.
    shapes: HashMap<String, Vec<usize>>,
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
    let mut order: Vec<_> = views.iter().collect();
    order.sort_by_key(|(name, _)| *name);
    let mut hash = ContentHash::new(&blank);
    for (name, view) in order {
        hash.tensor(name, view.dtype(), view.shape(), view.data().len());
        hash.bytes(view.data());
    }
    record.content_sha256 = hash.finish();
    let text = blank.replacen(BLANK_HASH, &record.content_sha256, 1);
    let metadata = HashMap::from([(METADATA_KEY.to_string(), text)]);
    let bytes =
        safetensors::serialize(views, Some(metadata)).map_err(|e| invalid(format!("not written: {e}")))?;
    Ok((bytes, record))
}

/// Reads a file and checks it: form, length, origin, version, hash; in this order, so that the reason given is the cause.
pub(super) fn read(path: &Path) -> Result<Container, ModelError> {
    let io = || ModelError::io(path);
    let invalid = |reason: String| ModelError::InvalidFile { file: path.to_path_buf(), reason };
    let mut file = File::open(path).map_err(io())?;
    let bytes = file.metadata().map_err(io())?.len();
    let (data, header) = read_header(&mut file, bytes, path)?;
    let Some(record) = header.metadata().as_ref().and_then(|m| m.get(METADATA_KEY)).cloned() else {
        return Err(invalid(foreign_file(header.offset_keys())));
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
    let blank = if expected.len() == BLANK_HASH.len() && expected.bytes().all(|b| b.is_ascii_hexdigit()) {
        record.replacen(&expected, BLANK_HASH, 1)
    } else {
        record.clone()
    };

    // What is wrong with the record is said once the hash has shown that it is as it was saved.
    let parsed = serde_json::from_str::<ModelRecord>(&record).ok();
    let shapes = parsed.and_then(|record| record.tensor_shapes(path).ok()).unwrap_or_default();
    let mut hash = ContentHash::new(&blank);
    let (mut entries, mut tensors) = (Vec::new(), HashMap::new());
    let mut content = Vec::new();
    let mut infos: Vec<_> = header.tensors().into_iter().collect();
    infos.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, info) in infos {
        let (start, end) = info.data_offsets;
        hash.tensor(&name, info.dtype, &info.shape, end - start);
        file.seek(SeekFrom::Start(data + start as u64)).map_err(io())?;
        let is_kept = shapes.get(&name) == Some(&info.shape);
        content.clear();
        let mut left = end - start;
        if is_kept && content.try_reserve_exact(left).is_err() {
            return Err(invalid(format!("tensor `{name}` of {left} bytes does not fit in memory")));
        }
        while left > 0 {
            if !is_kept {
                content.clear();
            }
            let (from, n) = (content.len(), left.min(CHUNK));
            content.resize(from + n, 0);
            file.read_exact(&mut content[from..]).map_err(io())?;
            hash.bytes(&content[from..]);
            left -= n;
        }
        if let Ok(dtype) = DType::try_from(info.dtype)
            && is_kept
        {
            let tensor = Tensor::from_raw_buffer(&content, dtype, &info.shape, &Device::Cpu)?;
            tensors.insert(name.clone(), tensor);
        }
        let dtype = info.dtype.to_string().to_lowercase();
        entries.push(TensorEntry { name, dtype, shape: info.shape.clone() });
    }
    let actual = hash.finish();
    if actual != expected {
        return Err(ModelError::Edited { file: path.to_path_buf(), expected, actual });
    }
    for TensorEntry { name, .. } in &entries {
        tensors.get(name).map_or(Ok(()), |tensor| require_finite(name, tensor, path))?;
    }
    Ok(Container { path: path.to_path_buf(), bytes, record, entries, tensors, shapes })
}

impl Container {
    /// The record; its golden inputs are without pixels yet.
    pub(super) fn record(&self) -> Result<ModelRecord, ModelError> {
        serde_json::from_str(&self.record).map_err(|e| ModelError::InvalidFile {
            file: self.path.clone(),
            reason: format!("its `{METADATA_KEY}` record cannot be read: {e}"),
        })
    }

    /// A tensor by name, on the CPU, if there is one.
    pub(super) fn tensor(&self, name: &str) -> Result<Option<Tensor>, ModelError> {
        if let Some(tensor) = self.tensors.get(name) {
            return Ok(Some(tensor.clone()));
        }
        let (file, name) = (self.path.clone(), name.to_string());
        match self.entries.iter().find(|entry| entry.name == name) {
            None => Ok(None),
            Some(entry) if self.shapes.get(&name).is_some_and(|shape| *shape != entry.shape) => {
                let expected = self.shapes.get(&name).cloned().unwrap_or_default();
                Err(ModelError::TensorShape { file, name, expected, actual: entry.shape.clone() })
            }
            Some(entry) => Err(ModelError::TensorType {
                file,
                name,
                expected: "a type that candle knows".into(),
                actual: entry.dtype.clone(),
            }),
        }
    }

    /// The tensors of norm and head that are in the file.
    pub(super) fn head_tensors(&self, record: &ModelRecord) -> Result<Vec<(String, Tensor)>, ModelError> {
        let mut found = Vec::new();
        let norm = FeatureNorm::tensor_specs(record.adaptor.dim).into_iter().map(|(name, _)| name);
        let features = record.adaptor.dim;
        let position = record.position.iter().flat_map(|position| position.tensor_specs(features));
        let others = norm.chain(position.map(|(name, _)| name));
        for name in record.network().head.tensor_names().into_iter().chain(others) {
            if let Some(tensor) = self.tensor(&name)? {
                found.push((name, tensor));
            }
        }
        Ok(found)
    }
}

/// SHA-256 over the record and the tensors in order of their names; lengths stand before whatever has one.
struct ContentHash(Sha256);

impl ContentHash {
    fn new(blank_record: &str) -> Self {
        let mut hash = Self(Sha256::new());
        hash.field(blank_record.as_bytes());
        hash
    }

    /// The next tensor, by name; its bytes, of which there are `length`, follow.
    fn tensor(&mut self, name: &str, dtype: Dtype, shape: &[usize], length: usize) {
        self.field(name.as_bytes());
        self.field(dtype.to_string().as_bytes());
        let shape: Vec<u8> = shape.iter().flat_map(|&d| (d as u64).to_le_bytes()).collect();
        self.field(&shape);
        self.0.update((length as u64).to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn field(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Reads the header of a file of `length` bytes; also gives where the tensors' bytes begin. Tells a file that is cut short
/// from one that never was a safetensors file.
fn read_header(file: &mut File, length: u64, path: &Path) -> Result<(u64, Metadata), ModelError> {
    let invalid = |reason: &str| ModelError::InvalidFile { file: path.to_path_buf(), reason: reason.into() };
    let truncated = |expected| ModelError::Truncated { file: path.to_path_buf(), expected, actual: length };
    if length == 0 {
        return Err(invalid("the file is empty"));
    }
    let mut start = Vec::new();
    file.take(START).read_to_end(&mut start).map_err(ModelError::io(path))?;
    let not_safetensors = match file::foreign(&start) {
        Some(what) => format!("{what}; so not a model file"),
        None => "not a safetensors file, so not a model file either".into(),
    };
    let not_safetensors = not_safetensors.as_str();
    let Some(header) = start.first_chunk::<8>().map(|b| u64::from_le_bytes(*b)) else {
        return Err(invalid(not_safetensors));
    };
    if header > MAX_HEADER || start.get(8).is_some_and(|&b| b != b'{') {
        return Err(invalid(not_safetensors));
    }
    let data = 8 + header;
    if length < data {
        return Err(truncated(data));
    }
    if length - data > MAX_DATA as u64 {
        let bytes = length - data;
        return Err(invalid(&format!(
            "its tensors are {bytes} bytes; those of a model file are {MAX_DATA} at most"
        )));
    }
    let mut text = vec![0; header as usize];
    file.seek(SeekFrom::Start(8)).map_err(ModelError::io(path))?;
    file.read_exact(&mut text).map_err(ModelError::io(path))?;
    let header: Metadata = serde_json::from_slice(&text).map_err(|e| {
        if e.is_data() {
            invalid(&format!("not a readable safetensors file: {e}"))
        } else {
            invalid(not_safetensors)
        }
    })?;
    let expected = data.saturating_add(header.data_len() as u64);
    match length.cmp(&expected) {
        Ordering::Less => Err(truncated(expected)),
        Ordering::Equal => Ok((data, header)),
        Ordering::Greater => {
            let more = length - expected;
            Err(invalid(&format!("not a readable safetensors file: {more} bytes belong to no tensor")))
        }
    }
}

/// What to say about somebody else's safetensors file, which has tensors of these names.
fn foreign_file(mut names: Vec<String>) -> String {
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
