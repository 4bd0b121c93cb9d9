//! Checks tensors of a file against what a layer needs: names, shapes, types, values. In: names and shapes, a file's tensors.
//! Out: the first thing wrong.
//!
//! Activations clamp what is not a number away, so that a network with such weights would judge, and find nothing.

use std::{collections::HashMap, path::Path};

use candle_core::{CpuStorage, DType, Storage, Tensor};

use crate::error::ModelError;

/// How the names of variances end, of which square roots are taken.
const VARIANCE: &str = "running_var";
/// Values that are looked at together: the loop over them has no branch.
const BLOCK: usize = 4096;

/// Every tensor of `specs` must be there, of its shape, in f32, of finite values.
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
        require_finite(&name, tensor, origin)?;
    }
    Ok(())
}

/// Every value of a tensor of floating-point numbers must be finite, and those of a variance not below 0. Tensors of whole
/// numbers pass. (any shape) on the CPU.
pub(crate) fn require_finite(name: &str, tensor: &Tensor, origin: &Path) -> Result<(), ModelError> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else { return Ok(()) };
    let is_variance = name.ends_with(VARIANCE);
    let bad = match &*storage {
        Storage::Cpu(CpuStorage::F32(values)) => {
            first_bad(&values[start..end], is_variance, |v| v.to_bits() << 1 >= 0xff << 24, |v| f64::from(*v))
        }
        Storage::Cpu(CpuStorage::F64(values)) => {
            first_bad(&values[start..end], is_variance, |v| v.to_bits() << 1 >= 0x7ff << 53, |v| *v)
        }
        Storage::Cpu(CpuStorage::F16(values)) => {
            first_bad(&values[start..end], is_variance, |v| v.to_bits() << 1 >= 0x1f << 11, |v| v.to_f64())
        }
        Storage::Cpu(CpuStorage::BF16(values)) => {
            first_bad(&values[start..end], is_variance, |v| v.to_bits() << 1 >= 0xff << 8, |v| v.to_f64())
        }
        _ => None,
    };
    let Some((index, value)) = bad else { return Ok(()) };
    Err(ModelError::TensorValue { file: origin.to_path_buf(), name: name.to_string(), index, value })
}

/// The first value whose exponent is all ones (infinite, or no number), or that is below 0 in a variance. `is_full` works on
/// bits, so that a compiler makes vectors of it: a model file is read at the speed of memory.
fn first_bad<T>(
    values: &[T],
    is_variance: bool,
    is_full: impl Fn(&T) -> bool,
    of: impl Fn(&T) -> f64,
) -> Option<(usize, f64)> {
    let is_bad = |value: &T| is_full(value) || (is_variance && of(value) < 0.0);
    let suspect = |block: &[T]| is_variance || block.iter().fold(false, |bad, value| bad | is_full(value));
    let index = values
        .chunks(BLOCK)
        .enumerate()
        .filter(|(_, block)| suspect(block))
        .find_map(|(n, block)| block.iter().position(&is_bad).map(|at| n * BLOCK + at))?;
    Some((index, of(&values[index])))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn what_is_no_number_is_named_wherever_it_is_and_in_every_type() {
        let origin = Path::new("net.safetensors");
        for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
            for index in [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 7] {
                for (name, value, is_bad) in [
                    ("conv.weight", f32::NAN, true),
                    ("conv.weight", f32::INFINITY, true),
                    ("conv.weight", f32::NEG_INFINITY, true),
                    ("conv.weight", -1.0, false),
                    ("bn.running_mean", -1.0, false),
                    ("bn.running_var", -1.0, true),
                    ("bn.running_var", f32::NAN, true),
                    ("bn.running_var", 0.0, false),
                ] {
                    let mut values = vec![0.5f32; 2 * BLOCK + 8];
                    values[index] = value;
                    let tensor = Tensor::from_vec(values, (2, BLOCK + 4), &Device::Cpu).unwrap();
                    let found = require_finite(name, &tensor.to_dtype(dtype).unwrap(), origin);
                    let what = format!("{name} {dtype:?} {index} {value}");
                    assert_eq!(found.is_err(), is_bad, "{what}");
                    if let Err(error) = found {
                        let text = error.to_string();
                        for part in ["net.safetensors", name, &index.to_string()] {
                            assert!(text.contains(part), "{what}: {text}");
                        }
                    }
                }
            }
        }
        let whole = Tensor::new(&[1u8, 2], &Device::Cpu).unwrap();
        require_finite("bn.running_var", &whole, origin).unwrap();
    }
}
