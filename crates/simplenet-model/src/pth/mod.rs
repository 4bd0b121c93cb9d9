//! Reads the tensors of a PyTorch checkpoint (`.pth`), and writes them ([`to_bytes`]). In: a file, in the zip form of PyTorch 1.6 and later or in the
//! older plain form (which many of torchvision's files still have). Out: tensors by name, nested dictionaries joined
//! with dots.
//!
//! Safe on files from anywhere: the pickle is parsed by candle's reader, which builds a description and never runs
//! code; on top of it, nesting, size and every offset are checked here before they are used.

mod container;
mod pickle;
mod write;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor, pickle::Object};

use crate::error::{ModelError, sentence};
use container::Container;

pub use write::{StateDictionary, to_bytes};

/// Every tensor of a checkpoint whose full name `wanted` accepts; `name` is the file's, for errors.
///
/// # Errors
/// Bytes that are no PyTorch checkpoint, are cut short, or hold a wanted tensor of an unsupported kind.
pub fn read_tensors(
    bytes: &[u8],
    name: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Tensor>, ModelError> {
    let invalid = |reason: String| ModelError::InvalidFile {
        file: PathBuf::from(name),
        reason: format!("not a readable PyTorch checkpoint: {reason}"),
    };
    let (container, object) = container::open(bytes).map_err(invalid)?;
    let mut found = Vec::new();
    collect(&object, "", &mut found);
    let mut tensors = BTreeMap::new();
    for (key, value) in found {
        if wanted(&key) {
            let tensor = read_tensor(&container, value)
                .map_err(|reason| invalid(format!("tensor `{key}`: {reason}")))?;
            tensors.insert(key, tensor);
        }
    }
    Ok(tensors)
}

/// Whether these are the first bytes of a PyTorch checkpoint, in either form.
pub fn is_checkpoint(bytes: &[u8]) -> bool {
    container::is_checkpoint(bytes)
}

/// Finds tensors in nested dictionaries. Values of any other kind (epoch numbers, options) are passed over.
fn collect<'a>(object: &'a Object, prefix: &str, found: &mut Vec<(String, &'a [Object])>) {
    match object {
        Object::Dict(entries) => {
            for (key, value) in entries {
                if let Object::Unicode(key) = key {
                    let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    collect(value, &name, found);
                }
            }
        }
        // A dictionary with attributes, such as a state dictionary's version table.
        Object::Build { callable, .. } => collect(callable, prefix, found),
        _ => {
            if let Some(args) = rebuild_arguments(object) {
                found.push((prefix.to_string(), args));
            }
        }
    }
}

/// The arguments of `torch._utils._rebuild_tensor_v2`, looking through the wrapper of a parameter.
fn rebuild_arguments(object: &Object) -> Option<&[Object]> {
    let Object::Reduce { callable, args } = object else { return None };
    let (Object::Class { module_name, class_name }, Object::Tuple(args)) = (callable.as_ref(), args.as_ref())
    else {
        return None;
    };
    match (module_name.as_str(), class_name.as_str()) {
        ("torch._utils", "_rebuild_tensor_v2") => Some(args),
        ("torch._utils", "_rebuild_parameter") => rebuild_arguments(args.first()?),
        ("torch._tensor", "_rebuild_from_type_v2") => match (args.first()?, args.get(2)?) {
            (Object::Class { class_name, .. }, Object::Tuple(args)) if class_name == "_rebuild_tensor_v2" => {
                Some(args)
            }
            _ => None,
        },
        _ => None,
    }
}

/// Arguments: storage, offset and strides in elements; (storage, offset, size, stride, …).
fn read_tensor(container: &Container<'_>, args: &[Object]) -> Result<Tensor, String> {
    let [storage, offset, size, stride, ..] = args else { return Err("too few arguments".into()) };
    let (key, dtype) = pickle::storage_reference(storage).ok_or("its storage is of a kind not supported")?;
    let dtype = dtype?;
    let (offset, size, stride) =
        (integer(offset).ok_or("bad offset")?, integers(size).ok_or("bad size")?, integers(stride));
    let stride = stride.filter(|s| s.len() == size.len()).ok_or("bad strides")?;
    let data = container.storage(key, dtype)?;
    let width = dtype.size_in_bytes();

    let count = size.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).ok_or("its size overflows")?;
    let reach = size.iter().zip(&stride).try_fold(offset, |end, (d, s)| {
        d.saturating_sub(1).checked_mul(*s).and_then(|step| end.checked_add(step))
    });
    let available = data.len() / width;
    if count > available || (count > 0 && reach.is_none_or(|last| last >= available)) {
        return Err(format!("size {size:?} does not fit in its storage of {available} elements"));
    }
    let mut dense = vec![0u8; count * width];
    let mut index = vec![0usize; size.len()];
    for element in dense.chunks_exact_mut(width) {
        let at = offset + index.iter().zip(&stride).map(|(i, s)| i * s).sum::<usize>();
        element.copy_from_slice(&data[at * width..(at + 1) * width]);
        for axis in (0..size.len()).rev() {
            index[axis] += 1;
            if index[axis] < size[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    Tensor::from_raw_buffer(&dense, dtype, &size, &Device::Cpu).map_err(|e| sentence(&e))
}

fn integer(object: &Object) -> Option<usize> {
    match object {
        Object::Int(v) => usize::try_from(*v).ok(),
        Object::Long(v) => usize::try_from(*v).ok(),
        _ => None,
    }
}

fn integers(object: &Object) -> Option<Vec<usize>> {
    match object {
        Object::Tuple(items) | Object::List(items) => items.iter().map(integer).collect(),
        _ => None,
    }
}

/// candle's type for one of PyTorch's storage classes.
fn storage_type(class: &str) -> Result<DType, String> {
    Ok(match class {
        "FloatStorage" => DType::F32,
        "DoubleStorage" => DType::F64,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::BF16,
        "LongStorage" => DType::I64,
        "ByteStorage" => DType::U8,
        other => return Err(format!("storage type {other} is not supported")),
    })
}

#[cfg(test)]
mod tests;
