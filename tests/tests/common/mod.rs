//! What the golden tests of the model share: reading a manifest's inputs, checking its expected arrays.

#![allow(dead_code, clippy::expect_used, clippy::panic)] // each test file uses its part; a broken manifest fails loudly

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use simplenet_tests::{
    Tensors, assert_close, reference_dir,
    scheme::{self, Kind},
};

/// A list that must not be empty.
pub(crate) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    match value[name].as_array() {
        Some(items) if !items.is_empty() => items,
        _ => panic!("no list `{name}`, or an empty one, in {value}"),
    }
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no text `{name}` in {value}"))
}

pub(crate) fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("no number `{name}` in {value}"))
}

pub(crate) fn count(value: &Value, name: &str) -> usize {
    value[name].as_u64().unwrap_or_else(|| panic!("no count `{name}` in {value}")) as usize
}

pub(crate) fn shape(value: &Value) -> Vec<usize> {
    serde_json::from_value(value["shape"].clone()).unwrap_or_else(|e| panic!("shape in {value}: {e}"))
}

/// An input of the deterministic scheme.
pub(crate) fn input(value: &Value) -> Tensor {
    let shape = shape(value);
    let values = scheme::values(text(value, "name"), &shape, Kind::Input(number(value, "scale")));
    Tensor::from_vec(values, shape, &Device::Cpu).expect("input")
}

pub(crate) fn flat(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.to_dtype(DType::F32).expect("number");
    tensor.flatten_all().and_then(|t| t.to_vec1()).expect("values")
}

/// Checks an array against the one that `expected` describes, shape and values.
pub(crate) fn check(case: &str, test: &str, expected: &Value, dims: &[usize], got: &[f32]) {
    let key = text(expected, "key");
    let (want_dims, want) = Tensors::open(reference_dir(case).join(text(expected, "file"))).f32(key);
    assert_eq!(want_dims, shape(expected), "{test}: {key}: shape in the manifest");
    assert_eq!(dims, want_dims, "{test}: {key}: shape");
    let (atol, rtol) = (number(expected, "atol"), number(expected, "rtol"));
    assert_close(&format!("{test}: {key}"), got, &want, atol, rtol);
}

pub(crate) fn check_tensor(case: &str, test: &str, expected: &Value, got: &Tensor) {
    check(case, test, expected, got.dims(), &flat(got));
}
