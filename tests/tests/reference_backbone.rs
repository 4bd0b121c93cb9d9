//! Feature maps of every backbone against PyTorch's, driven by the manifest of the `backbone` case: ResNets with
//! deterministic weights, EfficientNet-Lite0 with its pretrained ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{collections::HashMap, path::Path};

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use simplenet_model::{
    Backbone, BackboneId, BackboneWeights,
    backbone::{Levels, Stage, Tap},
};
use simplenet_tests::{
    Tensors, assert_close, golden_dir, read_manifest, reference_dir,
    scheme::{self, Kind},
};

const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];
/// Largest difference that rounding the weights to f16 may make, in standard deviations of the map it is found in.
/// Measured on the project's own case: 0.017, 0.046, 0.026 and 0.024 after blocks 2, 4, 7 and 10.
const F16_TOLERANCE: f64 = 0.05;

#[test]
fn reference_resnets_with_deterministic_weights() {
    let mut loaded: HashMap<String, Backbone> = HashMap::new();
    let manifest = read_manifest("backbone");
    let tests = tests(&manifest, "arch");
    assert!(!tests.is_empty(), "no case with an `arch`");
    for test in tests {
        let arch = text(test, "arch");
        let backbone = loaded.entry(arch.to_string()).or_insert_with(|| deterministic(test));
        let input = &test["input"];
        let shape = shape(&input["shape"]);
        let kind = Kind::Input(input["scale"].as_f64().expect("scale"));
        let values = scheme::values(text(input, "name"), &shape, kind);
        let images = Tensor::from_vec(values, shape, &Device::Cpu).expect("input");
        let stages = backbone.forward_stages(&images).expect("forward");
        for expected in test["expected"].as_array().expect("expected") {
            // Keys are INPUT.STAGE.
            let stage = text(expected, "key").rsplit('.').next().expect("stage");
            compare(&stages, stage, expected, text(test, "name"));
        }
        assert_taps(backbone, &images, &stages);
    }
}

#[test]
fn reference_efficientnet_lite0_with_its_pretrained_weights() {
    let manifest = read_manifest("backbone");
    let tests = tests(&manifest, "input_image");
    assert!(!tests.is_empty(), "no case with an `input_image`");
    let id = BackboneId::EfficientNetLite0;
    let path = golden_dir().join("backbone_weights/efficientnet_lite0.f32.safetensors");
    let weights = BackboneWeights::from_file(id, &path).expect("golden weights");
    let exact = Backbone::load(id, Levels::default(), &weights, &Device::Cpu).expect("f32 backbone");
    let embedded = BackboneWeights::embedded(id).expect("embedded weights");
    let rounded = Backbone::load(id, Levels::default(), &embedded, &Device::Cpu).expect("f16 backbone");
    for test in tests {
        let source = text(&test["weights"], "sha256");
        assert_eq!(source_sha256(&path), source, "the golden weights come from another checkpoint");
        let images = image(&reference_dir("backbone").join(text(test, "input_image")));
        let stages = exact.forward_stages(&images).expect("forward");
        let rounded_stages = rounded.forward_stages(&images).expect("forward");
        for expected in test["expected"].as_array().expect("expected") {
            let block = text(expected, "block");
            compare(&stages, block, expected, text(test, "name"));
            let allowed = F16_TOLERANCE * expected["std"].as_f64().expect("std");
            let (_, exact) = find(&stages, block);
            let (_, rounded) = find(&rounded_stages, block);
            assert_close(&format!("f16 weights, {block}"), &rounded, &exact, allowed, 0.0);
        }
        assert_taps(&exact, &images, &stages);
    }
}

#[test]
fn reference_weights_rounded_to_f16_are_the_embedded_ones() {
    let id = BackboneId::EfficientNetLite0;
    let path = golden_dir().join("backbone_weights/efficientnet_lite0.f32.safetensors");
    let golden = BackboneWeights::from_file(id, &path).expect("golden weights");
    let embedded = BackboneWeights::embedded(id).expect("embedded weights");
    for (name, tensor) in &golden.tensors {
        let rounded = tensor.to_dtype(DType::F16).and_then(|t| t.to_dtype(DType::F32)).expect("rounding");
        let embedded = embedded.tensors[name].to_dtype(DType::F32).expect("f32");
        assert_eq!(flat(&embedded), flat(&rounded), "{name}");
    }
}

/// A backbone with the scheme's weights for the architecture that a case names.
fn deterministic(test: &Value) -> Backbone {
    let id = match text(test, "arch") {
        "wide_resnet50_2" => BackboneId::WideResNet50x2,
        "resnet50" => BackboneId::ResNet50,
        "resnet18" => BackboneId::ResNet18,
        other => panic!("unknown architecture `{other}`"),
    };
    let (prefix, last_norm) = (text(test, "weight_prefix"), text(test, "last_bn"));
    let gain = test["last_bn_gain"].as_f64().expect("last_bn_gain");
    let tensors = id.tensor_specs().into_iter().map(|spec| {
        let parts: Vec<&str> = spec.name.rsplit('.').collect();
        let kind = match (parts[0], spec.shape.len()) {
            ("weight", 4) => Kind::ConvWeight,
            // `last_bn` is a part of a residual block; the stem has a norm of a similar name, but no prefix.
            ("weight", 1) if parts.len() > 2 && parts[1] == last_norm => Kind::NormWeight(gain),
            ("weight", 1) => Kind::NormWeight(1.0),
            ("bias" | "running_mean", 1) => Kind::NormShift,
            ("running_var", 1) => Kind::NormVariance,
            other => panic!("{}: unknown kind of tensor {other:?}", spec.name),
        };
        let values = scheme::values(&format!("{prefix}{}", spec.name), &spec.shape, kind);
        (spec.name, Tensor::from_vec(values, spec.shape, &Device::Cpu).expect("weight"))
    });
    let weights = BackboneWeights::new(id, tensors.collect(), String::new(), Path::new("scheme"));
    Backbone::load(id, Levels::default(), &weights.expect("all tensors"), &Device::Cpu).expect("backbone")
}

/// One stage against the manifest, on the part of it that the reference kept.
fn compare(stages: &[Stage], stage: &str, expected: &Value, case: &str) {
    let (mut dims, mut got) = find(stages, stage);
    match expected.get("slice").and_then(Value::as_str) {
        None | Some("all") => {}
        Some("output[:, :, ::2, ::2]") => (dims, got) = every_second(&dims, &got),
        Some(other) => panic!("{case}: unknown slice `{other}`"),
    }
    let file = reference_dir("backbone").join(text(expected, "file"));
    let (want_dims, want) = Tensors::open(file).f32(text(expected, "key"));
    assert_eq!(dims, want_dims, "{case} {stage}: shape");
    assert_eq!(want_dims, shape(&expected["shape"]), "{case} {stage}: shape in the manifest");
    let tolerance = |name: &str| expected[name].as_f64().expect("tolerance");
    assert_close(&format!("{case} {stage}"), &got, &want, tolerance("atol"), tolerance("rtol"));
}

/// What `forward` returns is the named stages' outputs, with the channels and strides that the id promises.
fn assert_taps(backbone: &Backbone, images: &Tensor, stages: &[Stage]) {
    let id = backbone.id();
    let (batch, _, height, width) = images.dims4().expect("images");
    let taps = backbone.forward(images).expect("forward");
    assert_eq!(taps.len(), backbone.taps().len());
    for (i, tap) in taps.iter().enumerate() {
        let Tap { stage, channels, stride } = backbone.taps()[i];
        assert_eq!(
            tap.dims(),
            [batch, channels, height.div_ceil(stride), width.div_ceil(stride)],
            "{id} tap {i}"
        );
        assert_eq!(flat(tap), find(stages, stage).1, "{id} tap {i}");
    }
}

fn find(stages: &[Stage], name: &str) -> (Vec<usize>, Vec<f32>) {
    let stage = stages.iter().find(|stage| stage.name == name).unwrap_or_else(|| panic!("no stage `{name}`"));
    (stage.features.dims().to_vec(), flat(&stage.features))
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).expect("f32 tensor")
}

/// Every second row and column of a (B, C, H, W) array.
fn every_second(dims: &[usize], values: &[f32]) -> (Vec<usize>, Vec<f32>) {
    let (height, width) = (dims[2], dims[3]);
    let rows = values.chunks_exact(width).enumerate().filter(|(row, _)| row % height % 2 == 0);
    let values = rows.flat_map(|(_, row)| row.iter().copied().step_by(2)).collect();
    (vec![dims[0], dims[1], height.div_ceil(2), width.div_ceil(2)], values)
}

/// An 8-bit image as (1, 3, H, W), ImageNet-normalised.
fn image(path: &Path) -> Tensor {
    let image = image::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).to_rgb8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    let mut values = Vec::with_capacity(3 * width * height);
    for channel in 0..3 {
        let (mean, std) = (IMAGENET_MEAN[channel], IMAGENET_STD[channel]);
        values.extend(image.pixels().map(|p| (f32::from(p.0[channel]) / 255.0 - mean) / std));
    }
    Tensor::from_vec(values, (1, 3, height, width), &Device::Cpu).expect("image tensor")
}

/// The hash that a safetensors file of ours records of the checkpoint it was made from.
fn source_sha256(path: &Path) -> String {
    let bytes = std::fs::read(path).expect("golden weights");
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).expect("header");
    metadata.metadata().as_ref().and_then(|m| m.get("source_sha256")).expect("source_sha256").clone()
}

fn tests<'a>(manifest: &'a Value, with: &str) -> Vec<&'a Value> {
    manifest["tests"].as_array().expect("tests").iter().filter(|test| test.get(with).is_some()).collect()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no text `{name}` in {value}"))
}

fn shape(value: &Value) -> Vec<usize> {
    serde_json::from_value(value.clone()).expect("shape")
}
