//! Checks tensors of a file against what a layer needs. In: names and shapes, a file's tensors. Out: the first thing wrong.

use std::{collections::HashMap, path::Path};

use candle_core::{DType, Tensor};

use crate::error::ModelError;

/// Every tensor of `specs` must be there, of its shape, in f32.
pub(crate) fn require_f32(
    specs: &[(String, Vec<usize>)],
    tensors: &HashMap<String, Tensor>,
    origin: &Path,
) -> Result<(), ModelError> {
    for (name, expected) in specs {
        let (file, name, expected) = (origin.to_path_buf(), name.clone(), expected.clone());
        let Some(tensor) = tensors.get(&name) else {
            return Err(ModelError::MissingTensor { file, name, expected });
        };
        if tensor.dims() != expected {
            let actual = tensor.dims().to_vec();
            return Err(ModelError::TensorShape { file, name, expected, actual });
        }
        if tensor.dtype() != DType::F32 {
            let actual = tensor.dtype().as_str().to_string();
            return Err(ModelError::TensorType { file, name, expected: "f32".into(), actual });
        }
    }
    Ok(())
}
