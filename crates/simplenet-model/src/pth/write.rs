//! Writes tensors as a PyTorch checkpoint. In: named dictionaries of named tensors. Out: the bytes that
//! `torch.load(…, weights_only=True)` reads as a dictionary of ordered dictionaries.
//!
//! The zip form of PyTorch 1.6 and later: `NAME/data.pkl`, a pickle of protocol 2, and a file of raw little-endian numbers
//! for each tensor, stored without compression and aligned as PyTorch does it, so that it can map them.

use std::io::{Cursor, Write};

use candle_core::{DType, Device, Tensor, WithDType};
use zip::{CompressionMethod, ZipWriter, result::ZipError, write::SimpleFileOptions};

/// The folder in the archive. PyTorch takes the file's name; readers take what is there.
const FOLDER: &str = "archive";
/// What `torch.save` aligns the numbers to.
const ALIGNMENT: u16 = 64;
/// Version of the zip form.
const VERSION: &[u8] = b"3\n";

// The pickle machine's instructions that are written here.
const PROTOCOL_2: &[u8] = &[0x80, 2];
const EMPTY_DICTIONARY: u8 = b'}';
const EMPTY_TUPLE: u8 = b')';
const MARK: u8 = b'(';
const TUPLE: u8 = b't';
const REDUCE: u8 = b'R';
const SET_ITEMS: u8 = b'u';
const GLOBAL: u8 = b'c';
const UNICODE: u8 = b'X';
const INTEGER: u8 = b'J';
const LONG: u8 = 0x8a;
const FALSE: u8 = 0x89;
const PERSISTENT: u8 = b'Q';
const STOP: u8 = b'.';

/// A state dictionary: names and tensors, in the order in which they are written.
pub type StateDictionary = Vec<(String, Tensor)>;

/// The bytes of a checkpoint that holds `dictionaries` under their names. The same tensors give the same bytes.
///
/// # Errors
/// A sentence: a tensor of a type that is not written (f32 and i64 are), or of more numbers than 32 bits count.
pub fn to_bytes(dictionaries: &[(&str, StateDictionary)]) -> Result<Vec<u8>, String> {
    let mut pickle = Pickle(PROTOCOL_2.to_vec());
    let mut storages = Vec::new();
    pickle.dictionary(dictionaries, |pickle, (name, tensors)| {
        pickle.text(name);
        pickle.ordered_dictionary();
        pickle.items(tensors, |pickle, (name, tensor)| {
            pickle.text(name);
            pickle.tensor(tensor, storages.len())?;
            storages.push(raw(tensor)?);
            Ok(())
        })
    })?;
    pickle.0.push(STOP);
    archive(&pickle.0, &storages).map_err(|e| e.to_string())
}

fn archive(pickle: &[u8], storages: &[Vec<u8>]) -> Result<Vec<u8>, ZipError> {
    let stored =
        SimpleFileOptions::default().compression_method(CompressionMethod::Stored).with_alignment(ALIGNMENT);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut add = |name: String, bytes: &[u8]| -> Result<(), ZipError> {
        zip.start_file(format!("{FOLDER}/{name}"), stored)?;
        Ok(zip.write_all(bytes)?)
    };
    add("data.pkl".into(), pickle)?;
    add("byteorder".into(), b"little")?;
    for (key, storage) in storages.iter().enumerate() {
        add(format!("data/{key}"), storage)?;
    }
    add("version".into(), VERSION)?;
    Ok(zip.finish()?.into_inner())
}

/// The numbers, row-major, little-endian.
fn raw(tensor: &Tensor) -> Result<Vec<u8>, String> {
    fn bytes<T: WithDType, const N: usize>(
        tensor: &Tensor,
        bytes: impl Fn(T) -> [u8; N],
    ) -> candle_core::Result<Vec<u8>> {
        let values = tensor.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<T>()?;
        Ok(values.into_iter().flat_map(bytes).collect())
    }
    let bytes = match tensor.dtype() {
        DType::F32 => bytes(tensor, f32::to_le_bytes),
        DType::I64 => bytes(tensor, i64::to_le_bytes),
        other => return Err(format!("tensors of type {} are not written", other.as_str())),
    };
    bytes.map_err(|e| e.to_string())
}

/// The instructions so far.
struct Pickle(Vec<u8>);

impl Pickle {
    fn dictionary<T>(
        &mut self,
        entries: &[T],
        each: impl FnMut(&mut Self, &T) -> Result<(), String>,
    ) -> Result<(), String> {
        self.0.push(EMPTY_DICTIONARY);
        self.items(entries, each)
    }

    /// Puts entries into the dictionary that was made last.
    fn items<T>(
        &mut self,
        entries: &[T],
        mut each: impl FnMut(&mut Self, &T) -> Result<(), String>,
    ) -> Result<(), String> {
        self.0.push(MARK);
        for entry in entries {
            each(self, entry)?;
        }
        self.0.push(SET_ITEMS);
        Ok(())
    }

    fn ordered_dictionary(&mut self) {
        self.global("collections", "OrderedDict");
        self.0.extend([EMPTY_TUPLE, REDUCE]);
    }

    /// `_rebuild_tensor_v2(storage, offset, size, strides, requires_grad, hooks)`.
    fn tensor(&mut self, tensor: &Tensor, key: usize) -> Result<(), String> {
        let class = match tensor.dtype() {
            DType::I64 => "LongStorage",
            _ => "FloatStorage",
        };
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.0.push(MARK);
        // The storage: ("storage", its class, key, device, numbers).
        self.0.push(MARK);
        self.text("storage");
        self.global("torch", class);
        self.text(&key.to_string());
        self.text("cpu");
        self.integer(tensor.elem_count())?;
        self.0.extend([TUPLE, PERSISTENT]);
        self.integer(0)?;
        let mut strides = vec![1; tensor.rank()];
        for axis in (1..tensor.rank()).rev() {
            strides[axis - 1] = strides[axis] * tensor.dims()[axis];
        }
        for numbers in [tensor.dims(), &strides] {
            self.0.push(MARK);
            numbers.iter().try_for_each(|&number| self.integer(number))?;
            self.0.push(TUPLE);
        }
        self.0.push(FALSE);
        self.ordered_dictionary();
        self.0.extend([TUPLE, REDUCE]);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) {
        self.0.push(GLOBAL);
        self.0.extend(format!("{module}\n{name}\n").bytes());
    }

    fn text(&mut self, text: &str) {
        self.0.push(UNICODE);
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.bytes());
    }

    fn integer(&mut self, value: usize) -> Result<(), String> {
        match i32::try_from(value) {
            Ok(value) => {
                self.0.push(INTEGER);
                self.0.extend(value.to_le_bytes());
            }
            Err(_) => {
                let value = i64::try_from(value).map_err(|e| e.to_string())?;
                self.0.extend([LONG, 8]);
                self.0.extend(value.to_le_bytes());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::pth::read_tensors;

    #[test]
    fn what_is_written_is_read_again() {
        let cpu = Device::Cpu;
        let numbers: Vec<f32> = (0..60).map(|i| (i as f32 - 7.5) / 3.0).collect();
        let matrix = Tensor::from_vec(numbers, (3, 4, 5), &cpu).unwrap();
        let row = Tensor::new(&[f32::MIN_POSITIVE, -0.0, 1e30], &cpu).unwrap();
        let count = Tensor::new(i64::MAX - 3, &cpu).unwrap();
        let (a, b) = (
            // A view that is not contiguous is written as what it shows.
            vec![("x.weight".to_string(), matrix.t().unwrap()), ("x.bias".to_string(), row.clone())],
            vec![("count".to_string(), count.clone())],
        );
        let bytes = to_bytes(&[("first", a), ("second", b)]).unwrap();
        assert!(crate::pth::is_checkpoint(&bytes));
        let read = read_tensors(&bytes, Path::new("x.pth"), |_| true).unwrap();
        let names: Vec<&str> = read.keys().map(String::as_str).collect();
        assert_eq!(names, ["first.x.bias", "first.x.weight", "second.count"]);
        let bits = |t: &Tensor| -> Vec<u32> {
            t.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|v| v.to_bits()).collect()
        };
        assert_eq!(read["first.x.weight"].dims(), [3, 5, 4]);
        assert_eq!(bits(&read["first.x.weight"]), bits(&matrix.t().unwrap()));
        assert_eq!(bits(&read["first.x.bias"]), bits(&row));
        assert_eq!(read["second.count"].to_scalar::<i64>().unwrap(), i64::MAX - 3);
    }

    #[test]
    fn other_types_are_refused() {
        let bytes = Tensor::new(&[1u8], &Device::Cpu).unwrap();
        let message = to_bytes(&[("a", vec![("b".into(), bytes)])]).unwrap_err();
        assert!(message.contains("u8"), "{message}");
    }
}
