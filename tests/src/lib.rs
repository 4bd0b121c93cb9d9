//! Helpers of the tests that cross crates: where the reference vectors are and how to read them, small data sets, the
//! built programs and the files that they write.
//!
//! The golden tests are driven by the manifests of a folder of reference vectors, one sub-folder a case.
//! `SIMPLENET_REFERENCE=DIR` names another such folder; without it `tests/golden/` is read.

#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)] // helpers of tests: a broken folder must fail loudly

use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

pub mod browser;
pub mod config_calls;
pub mod demo;
pub mod detector;
pub mod files;
pub mod program;
pub mod scheme;

/// The folder of one reference case, for example `metrics`.
///
/// # Panics
/// When the folder does not exist: a missing reference fails, it does not skip.
pub fn reference_dir(case: &str) -> PathBuf {
    let root = match std::env::var_os("SIMPLENET_REFERENCE") {
        // cargo runs a test in its package's folder, the variable was typed in the workspace's.
        Some(dir) if Path::new(&dir).is_relative() => workspace_root().join(dir),
        Some(dir) => PathBuf::from(dir),
        None => golden_dir(),
    };
    let dir = root.join(case);
    assert!(
        dir.join("manifest.json").is_file(),
        "no manifest.json in {}: set SIMPLENET_REFERENCE to a folder of reference vectors or unset it",
        dir.display()
    );
    dir
}

/// The project's own copy of the reference vectors.
pub fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// The root of the workspace.
pub fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_path_buf()
}

/// The manifest of one reference case.
///
/// # Panics
/// When it cannot be read or is not JSON.
pub fn read_manifest(case: &str) -> serde_json::Value {
    let path = reference_dir(case).join("manifest.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The tensors of one safetensors file, by name.
pub struct Tensors {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Tensors {
    /// Reads a whole file.
    ///
    /// # Panics
    /// When it cannot be read or is not a safetensors file.
    pub fn open(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_path_buf();
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let tensors = Self { path, bytes };
        tensors.parse();
        tensors
    }

    /// Shape and values of a tensor of any number type, row-major, as f32.
    ///
    /// # Panics
    /// When there is no such tensor, or its type is not a number that f32 holds.
    pub fn f32(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let (shape, values) = self.f64(name);
        (shape, values.into_iter().map(|v| v as f32).collect())
    }

    /// Shape and values of a tensor of any number type, row-major, as f64.
    ///
    /// # Panics
    /// As [`Tensors::f32`].
    pub fn f64(&self, name: &str) -> (Vec<usize>, Vec<f64>) {
        let all = self.parse();
        let view = all.tensor(name).unwrap_or_else(|e| panic!("{}: {name}: {e}", self.path.display()));
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F64 => read(data, f64::from_le_bytes),
            Dtype::F32 => read(data, |b| f32::from_le_bytes(b).into()),
            Dtype::I64 => read(data, |b| i64::from_le_bytes(b) as f64),
            Dtype::I32 => read(data, |b| i32::from_le_bytes(b).into()),
            Dtype::U8 | Dtype::BOOL => read(data, |b: [u8; 1]| b[0].into()),
            other => panic!("{}: {name}: type {other:?} is not read here", self.path.display()),
        };
        (view.shape().to_vec(), values)
    }

    /// The names in the file.
    pub fn names(&self) -> Vec<String> {
        self.parse().names().into_iter().map(|n| n.to_string()).collect()
    }

    fn parse(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap_or_else(|e| panic!("{}: {e}", self.path.display()))
    }
}

fn read<const N: usize>(data: &[u8], value: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    data.chunks_exact(N).map(|b| value(b.try_into().expect("chunks_exact gives N bytes"))).collect()
}

/// Checks `|got - want| <= atol + rtol * |want|` for every element.
///
/// # Panics
/// At the first element that differs more, or when the lengths differ.
pub fn assert_close(what: &str, got: &[f32], want: &[f32], atol: f64, rtol: f64) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        let (g, w) = (f64::from(g), f64::from(w));
        let bound = atol + rtol * w.abs();
        assert!(
            (g - w).abs() <= bound,
            "{what}: element {i} is {g}, expected {w}, differs by {:e}, allowed {bound:e}",
            (g - w).abs()
        );
    }
}
