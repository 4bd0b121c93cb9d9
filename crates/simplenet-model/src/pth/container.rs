//! The two file forms of a PyTorch checkpoint. In: the file's bytes. Out: the pickled object and access to the raw
//! storages by key.
//!
//! Zip form: entries `NAME/data.pkl` and `NAME/data/KEY`, stored uncompressed. Plain form: four pickles (magic number,
//! version, facts about the machine, the object), a fifth with the list of storage keys, then for each key its number
//! of elements (u64) and its elements.

use std::{
    borrow::Cow,
    collections::HashMap,
    io::{Cursor, Read},
};

use candle_core::{DType, pickle::Object};
use zip::ZipArchive;

use super::pickle;
use crate::file;

/// The pickled magic number that opens the plain form.
const PLAIN_MAGIC: &[u8] =
    &[0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e];
const ZIP_MAGIC: &[u8] = b"PK\x03\x04";
/// Largest `data.pkl` that is read; real ones are below a megabyte.
const MAX_PICKLE_BYTES: u64 = 64 << 20;

/// Where the storages are.
pub(super) enum Container<'a> {
    Zip { bytes: &'a [u8], folder: String },
    Plain { storages: HashMap<String, &'a [u8]> },
}

/// Whether these are the first bytes of either form.
pub(super) fn is_checkpoint(bytes: &[u8]) -> bool {
    bytes.starts_with(ZIP_MAGIC) || bytes.starts_with(PLAIN_MAGIC)
}

/// Recognises the form and reads the object.
pub(super) fn open(bytes: &[u8]) -> Result<(Container<'_>, Object), String> {
    if bytes.starts_with(ZIP_MAGIC) {
        open_zip(bytes)
    } else if let Some(rest) = bytes.strip_prefix(PLAIN_MAGIC) {
        open_plain(rest)
    } else if bytes.is_empty() {
        Err("the file is empty".into())
    } else {
        Err(file::foreign(bytes).unwrap_or("neither PyTorch's zip form nor its older plain form").into())
    }
}

impl Container<'_> {
    /// The raw bytes of one storage, little-endian.
    pub(super) fn storage(&self, key: &str, dtype: DType) -> Result<Cow<'_, [u8]>, String> {
        match self {
            Self::Plain { storages } => storages
                .get(key)
                .map(|s| Cow::Borrowed(*s))
                .ok_or_else(|| format!("storage {key} is missing")),
            Self::Zip { bytes, folder } => {
                let mut archive = ZipArchive::new(Cursor::new(*bytes)).map_err(|e| e.to_string())?;
                let data = read_entry(&mut archive, &format!("{folder}/data/{key}"), bytes.len() as u64)?;
                if data.len() % dtype.size_in_bytes() != 0 {
                    return Err(format!("storage {key} is cut short"));
                }
                Ok(Cow::Owned(data))
            }
        }
    }
}

fn open_zip(bytes: &[u8]) -> Result<(Container<'_>, Object), String> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
    let mut folder = None;
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|e| e.to_string())?;
        let name = entry.name().map_err(|e| e.to_string())?;
        if let Some(found) = name.strip_suffix("/data.pkl") {
            folder = Some(found.to_string());
            break;
        }
    }
    let folder = folder.ok_or("it has no data.pkl")?;
    let pickle = read_entry(&mut archive, &format!("{folder}/data.pkl"), MAX_PICKLE_BYTES)?;
    let object = pickle::read(&mut pickle.as_slice())?;
    Ok((Container::Zip { bytes, folder }, object))
}

fn read_entry(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str, limit: u64) -> Result<Vec<u8>, String> {
    let entry = archive.by_name(name).map_err(|e| format!("{name}: {e}"))?;
    let mut data = Vec::new();
    entry.take(limit + 1).read_to_end(&mut data).map_err(|e| format!("{name}: {e}"))?;
    if data.len() as u64 > limit {
        return Err(format!("{name} is larger than {limit} bytes"));
    }
    Ok(data)
}

fn open_plain(mut rest: &[u8]) -> Result<(Container<'_>, Object), String> {
    let _version = pickle::read(&mut rest)?;
    let machine = pickle::read(&mut rest)?;
    let little_endian = (Object::Unicode("little_endian".into()), Object::Bool(true));
    if !matches!(&machine, Object::Dict(facts) if facts.contains(&little_endian)) {
        return Err("it was not written on a little-endian machine".into());
    }
    let object = pickle::read(&mut rest)?;
    let Object::List(keys) = pickle::read(&mut rest)? else {
        return Err("its list of storages is missing".into());
    };
    let types: HashMap<&str, Result<DType, String>> =
        pickle::storage_references(&object).into_iter().collect();
    let mut storages = HashMap::new();
    for key in keys {
        let Object::Unicode(key) = key else { return Err("a storage's key is not text".into()) };
        let dtype = types.get(key.as_str()).ok_or_else(|| format!("storage {key} is of unknown type"))?;
        let width = dtype.clone()?.size_in_bytes();
        let cut = || format!("it ends in the middle of storage {key}");
        let (count, tail) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
        let length = usize::try_from(u64::from_le_bytes(*count)).ok().and_then(|n| n.checked_mul(width));
        let (data, tail) = length.and_then(|n| tail.split_at_checked(n)).ok_or_else(cut)?;
        rest = tail;
        storages.insert(key, data);
    }
    Ok((Container::Plain { storages }, object))
}
