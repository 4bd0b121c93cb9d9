//! A folder of what was computed from photographs, kept from run to run: a file for each key.
//!
//! In: a key, which is a hash of everything that the result depends on; named arrays of numbers. Out: the same arrays, or
//! nothing. Runs may share the folder, and any of them may be killed at any time: a file is written under a temporary name
//! and renamed, and carries a checksum of what it holds. A file that is not whole is never used. Nothing is synced to the
//! disk for the same reason: what a power cut tears is computed again.
//!
//! A file is a safetensors file; its metadata hold the key and the checksum.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use safetensors::{Dtype, SafeTensors, View};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use simplenet_files::Durability;

/// How the names of files end.
const SUFFIX: &str = ".features";
/// Keys of the metadata.
const KEY: &str = "key";
const CHECKSUM: &str = "crc32";

/// What a file is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// SHA-256 over the parts, each behind its length.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    pub(crate) fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// One array of numbers, little-endian.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

impl Array {
    /// A vector of f32.
    pub(crate) fn of_f32(values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { dtype: Dtype::F32, shape: vec![values.len()], bytes }
    }

    /// Anything as the bytes of its JSON; empty where it has none.
    pub(crate) fn of_json(value: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(value).unwrap_or_default();
        Self { dtype: Dtype::U8, shape: vec![bytes.len()], bytes }
    }

    /// The numbers, if they are f32.
    pub(crate) fn f32(&self) -> Option<Vec<f32>> {
        let values = || self.bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        (self.dtype == Dtype::F32).then(values)
    }

    /// What the bytes are the JSON of, if they are.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Option<T> {
        (self.dtype == Dtype::U8).then(|| serde_json::from_slice(&self.bytes).ok())?
    }
}

/// The arrays of a file, by name.
pub(crate) type Arrays = BTreeMap<String, Array>;

/// What lies under a key.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// What was put there, and the file's bytes.
    Whole(Arrays, u64),
    /// A file that is not what was put there.
    Damaged(PathBuf),
    /// Nothing, or nothing that can be read.
    Nothing,
}

/// The folder.
#[derive(Debug)]
pub(crate) struct FeatureStore {
    folder: PathBuf,
    /// Most bytes of files that `trim` leaves.
    limit: u64,
}

impl FeatureStore {
    /// Makes the folder, and removes what killed runs have left in it.
    pub(crate) fn open(folder: &Path, limit: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        simplenet_files::clear(folder);
        Ok(Self { folder: folder.to_path_buf(), limit })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// What was put under `key`. The file counts as used now.
    pub(crate) fn get(&self, key: &Key) -> Found {
        let path = self.path(key);
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(&path)?;
            // Somebody else's cache may be read without being touched.
            let _refused = file.set_modified(SystemTime::now());
            let mut bytes = Vec::with_capacity(file.metadata()?.len() as usize);
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        match read() {
            Err(_) => Found::Nothing,
            Ok(bytes) => match decode(key, &bytes) {
                Some(arrays) => Found::Whole(arrays, bytes.len() as u64),
                None => Found::Damaged(path),
            },
        }
    }

    /// Puts arrays under a key; gives the file's bytes. Another run that does the same at the same time puts the same.
    pub(crate) fn put(&self, key: &Key, arrays: &Arrays) -> io::Result<u64> {
        let bytes = encode(key, arrays)?;
        simplenet_files::write(&self.path(key), &bytes, Durability::Process)?;
        Ok(bytes.len() as u64)
    }

    /// Removes what lies under a key, if anything does.
    pub(crate) fn remove(&self, key: &Key) -> io::Result<()> {
        remove(&self.path(key))
    }

    /// Removes files, those that were not used for longest first, until the rest is within the limit.
    pub(crate) fn trim(&self) -> io::Result<()> {
        let mut files = self.files()?;
        files.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
        let mut total: u64 = files.iter().map(|file| file.bytes).sum();
        for file in files {
            if total <= self.limit {
                break;
            }
            remove(&file.path)?;
            total -= file.bytes;
        }
        Ok(())
    }

    /// The file of a key.
    pub(crate) fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(key.hex() + SUFFIX)
    }

    /// The folder's own files: any other file is left alone, whoever put it there.
    fn files(&self) -> io::Result<Vec<Listed>> {
        let mut files = vec![];
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if !name.to_str().is_some_and(is_own) {
                continue;
            }
            // Gone since it was listed: another run has removed it.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_file() {
                files.push(Listed { path: entry.path(), bytes: metadata.len(), used: metadata.modified()? });
            }
        }
        Ok(files)
    }
}

/// A file in the folder.
struct Listed {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

fn is_own(name: &str) -> bool {
    let stem = name.strip_suffix(SUFFIX).unwrap_or_default();
    stem.len() == 64 && stem.bytes().all(|c| c.is_ascii_hexdigit())
}

/// Removes a file; one that is gone already is as good.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl View for &Array {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        self.bytes.as_slice().into()
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

fn encode(key: &Key, arrays: &Arrays) -> io::Result<Vec<u8>> {
    let metadata = HashMap::from([
        (KEY.to_string(), key.hex()),
        (
            CHECKSUM.to_string(),
            checksum(arrays.iter().map(|(name, a)| (name.as_str(), a.dtype, &*a.shape, &*a.bytes))),
        ),
    ]);
    safetensors::serialize(arrays, Some(metadata)).map_err(io::Error::other)
}

/// The arrays, if the bytes are those of a whole file of this key.
fn decode(key: &Key, bytes: &[u8]) -> Option<Arrays> {
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let metadata = header.metadata().as_ref()?;
    let tensors = SafeTensors::deserialize(bytes).ok()?;
    let mut views = tensors.tensors();
    views.sort_by(|a, b| a.0.cmp(&b.0));
    let found = checksum(views.iter().map(|(name, v)| (name.as_str(), v.dtype(), v.shape(), v.data())));
    if metadata.get(KEY)? != &key.hex() || metadata.get(CHECKSUM)? != &found {
        return None;
    }
    let array = |v: &safetensors::tensor::TensorView<'_>| Array {
        dtype: v.dtype(),
        shape: v.shape().to_vec(),
        bytes: v.data().to_vec(),
    };
    Some(views.iter().map(|(name, view)| (name.clone(), array(view))).collect())
}

/// CRC-32 over names, types, shapes and numbers, in the order of the names.
fn checksum<'a>(arrays: impl Iterator<Item = (&'a str, Dtype, &'a [usize], &'a [u8])>) -> String {
    let mut hash = crc32fast::Hasher::new();
    for (name, dtype, shape, bytes) in arrays {
        hash.update(format!("{name} {dtype:?} {shape:?}").as_bytes());
        hash.update(bytes);
    }
    format!("{:08x}", hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(folder: &Path) -> FeatureStore {
        FeatureStore::open(folder, u64::MAX).unwrap()
    }

    fn arrays(number: usize) -> Arrays {
        let values: Vec<f32> = (0..100 + number).map(|i| (i * number) as f32).collect();
        BTreeMap::from([
            ("values".to_string(), Array::of_f32(&values)),
            ("size".into(), Array::of_json(&[number as u32, 7])),
            ("none".into(), Array::of_f32(&[])),
        ])
    }

    fn key(number: usize) -> Key {
        Key::of(&[&number.to_le_bytes()])
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn whole(found: Found) -> Option<Arrays> {
        match found {
            Found::Whole(arrays, _) => Some(arrays),
            _ => None,
        }
    }

    #[test]
    fn what_was_put_comes_back_under_its_key_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir.path().join("made/anew"));
        for number in 0..3 {
            assert_eq!(store.get(&key(number)), Found::Nothing);
            let bytes = store.put(&key(number), &arrays(number)).unwrap();
            assert_eq!(store.get(&key(number)), Found::Whole(arrays(number), bytes));
        }
        assert_eq!(whole(store.get(&key(0))), Some(arrays(0)));
        store.remove(&key(0)).unwrap();
        store.remove(&key(0)).unwrap();
        assert_eq!(store.get(&key(0)), Found::Nothing);
        assert_eq!(names(store.folder()).len(), 2);
    }

    #[test]
    fn parts_of_a_key_do_not_run_into_each_other() {
        let keys = [
            Key::of(&[b"ab", b"c"]),
            Key::of(&[b"a", b"bc"]),
            Key::of(&[b"abc"]),
            Key::of(&[b"abc", b""]),
            Key::of(&[b"", b"abc"]),
        ];
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(key), "key {i}");
        }
    }

    #[test]
    fn every_kind_of_damage_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        store.put(&key(1), &arrays(1)).unwrap();
        let path = store.path(&key(1));
        let good = fs::read(&path).unwrap();
        let check = |what: &str, bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            assert_eq!(store.get(&key(1)), Found::Damaged(path.clone()), "{what}");
        };
        for length in [0, 1, 7, 8, 50, good.len() / 2, good.len() - 1] {
            check(&format!("{length} of {} bytes", good.len()), &good[..length]);
        }
        check("a byte more", &[good.as_slice(), b"x"].concat());
        // One bit of any byte: in the length, the header or the numbers.
        for place in 0..good.len() {
            let mut bytes = good.clone();
            bytes[place] ^= 1 << (place % 8);
            // A space of the header's padding may become another blank; what the file says is the same then.
            if decode(&key(1), &bytes).is_none_or(|found| found != arrays(1)) {
                check(&format!("a bit of byte {place}"), &bytes);
            }
        }
        check("the file of another key", &encode(&key(2), &arrays(1)).unwrap());
        store.put(&key(1), &arrays(1)).unwrap();
        assert_eq!(whole(store.get(&key(1))), Some(arrays(1)));
    }

    #[test]
    fn what_killed_runs_left_goes_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".left.aB3xYz.part", "mine.part", ".hidden", "notes.features"] {
            File::create(dir.path().join(name)).unwrap();
        }
        let now = simplenet_files::WholeFile::create(&dir.path().join("now")).unwrap();
        let store = FeatureStore::open(dir.path(), 0).unwrap();
        store.trim().unwrap();
        let is_there = |front: &str| names(dir.path()).iter().any(|name| name.starts_with(front));
        assert!(is_there(".now.") && !is_there(".left."), "what another run writes stays");
        drop(now);
        assert_eq!(names(dir.path()), [".hidden", "mine.part", "notes.features"]);
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let size = store(dir.path()).put(&key(9), &arrays(1)).unwrap();
        let store = FeatureStore::open(dir.path(), 3 * size).unwrap();
        for number in 0..5 {
            store.put(&key(number), &arrays(1)).unwrap();
            let age = std::time::Duration::from_secs(100 * (5 - number as u64));
            File::options()
                .append(true)
                .open(store.path(&key(number)))
                .unwrap()
                .set_modified(SystemTime::now() - age)
                .unwrap();
        }
        // The oldest one is used again.
        let mut held = File::open(store.path(&key(1))).unwrap();
        assert!(whole(store.get(&key(0))).is_some());
        store.trim().unwrap();
        let left: Vec<usize> =
            [0, 1, 2, 3, 4, 9].into_iter().filter(|&n| store.get(&key(n)) != Found::Nothing).collect();
        assert_eq!(left, [0, 4, 9]);
        // Whoever has a file open may go on reading it.
        let mut bytes = vec![];
        held.read_to_end(&mut bytes).unwrap();
        assert_eq!(decode(&key(1), &bytes), Some(arrays(1)));
    }

    #[test]
    fn many_may_fill_read_and_trim_one_folder_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let size = store(dir.path()).put(&key(1), &arrays(1)).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..6 {
                let folder = dir.path();
                scope.spawn(move || {
                    let store = FeatureStore::open(folder, 8 * size).unwrap();
                    for round in 0..200 {
                        let number = (round * 7 + thread) % 16;
                        match store.get(&key(number)) {
                            Found::Whole(found, _) => assert_eq!(found, arrays(number)),
                            Found::Nothing => drop(store.put(&key(number), &arrays(number)).unwrap()),
                            Found::Damaged(path) => panic!("half a file was seen: {}", path.display()),
                        }
                        if round % 20 == thread {
                            store.trim().unwrap();
                        }
                    }
                });
            }
        });
        assert!(names(dir.path()).iter().all(|name| name.ends_with(SUFFIX)), "{:?}", names(dir.path()));
    }
}
