//! Reading the official code's `ckpt.pth`, driven by the manifest of the `official_checkpoint` case: every tensor bit
//! for bit, and the scores it gives.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

mod common;

use candle_core::{DType, Device, Tensor};
use simplenet_model::{
    anomaly_map::{ImageScore, image_score},
    official::OfficialCheckpoint,
};
use simplenet_tests::{read_manifest, reference_dir};

use common::{check_tensor, count, flat, input, list, number, text};

const CASE: &str = "official_checkpoint";

#[test]
fn reference_official_checkpoint() {
    let manifest = read_manifest(CASE);
    for test in list(&manifest, "tests") {
        let name = text(test, "name");
        let dir = reference_dir(CASE);
        let checkpoint = OfficialCheckpoint::read(&dir.join(text(test, "checkpoint"))).unwrap();
        assert_eq!(checkpoint.config.discriminator.dim, count(test, "dim"), "{name}: dim");
        assert_eq!(checkpoint.config.discriminator.hidden, count(test, "hidden"), "{name}: hidden");

        let mut keys: Vec<&str> = list(test, "tensor_keys").iter().map(|k| k.as_str().unwrap()).collect();
        let mut found: Vec<&str> = checkpoint.tensors.keys().map(String::as_str).collect();
        keys.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, keys, "{name}: tensors");
        let head = checkpoint.head(&Device::Cpu).unwrap();
        let of_head = head.named_tensors();
        let scores = head.score(&input(&test["rows"])).unwrap();
        for expected in list(test, "expected") {
            assert_eq!(text(expected, "key"), "scores", "{name}: unknown expectation");
            check_tensor(CASE, name, expected, &scores);
            let repeated =
                candle_core::safetensors::load(dir.join(text(expected, "file")), &Device::Cpu).unwrap();
            for &key in &keys {
                let want = bits(&repeated[key]);
                assert_eq!(bits(&checkpoint.tensors[key]), want, "{name}: {key}");
                let (_, tensor) = of_head.iter().find(|(k, _)| k == key).unwrap();
                assert_eq!(bits(tensor), want, "{name}: {key} in the head");
            }
        }
        let (got, want) =
            (f64::from(image_score(&flat(&scores), 1, ImageScore::Largest)), number(test, "image_score"));
        let expected = &list(test, "expected")[0];
        let allowed = number(expected, "atol") + number(expected, "rtol") * want.abs();
        assert!((got - want).abs() <= allowed, "{name}: image score {got} for {want}");
    }
}

/// Type, shape and every bit of a tensor.
fn bits(tensor: &Tensor) -> (DType, Vec<usize>, Vec<i64>) {
    let flat = tensor.flatten_all().unwrap();
    let values = match tensor.dtype() {
        DType::F32 => flat.to_vec1::<f32>().unwrap().into_iter().map(|v| v.to_bits().into()).collect(),
        DType::I64 => flat.to_vec1::<i64>().unwrap(),
        other => panic!("a tensor of type {other:?}"),
    };
    (tensor.dtype(), tensor.dims().to_vec(), values)
}
