//! Backbone weights from files: good ones of each form, and everything that can be wrong with one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{collections::HashMap, fs, path::PathBuf};

use candle_core::{DType, Device, Tensor};
use simplenet_model::{
    Backbone, BackboneId, BackboneWeights, Levels, WeightsSource,
    weights::{HubConfig, Silent, resolve_with},
};

const ID: BackboneId = BackboneId::EfficientNetLite0;

type Tensors = HashMap<String, Tensor>;

fn embedded() -> BackboneWeights {
    BackboneWeights::embedded(ID).unwrap()
}

/// Writes the embedded tensors after `change` and reads them back as `--weights FILE` would.
fn through_a_file(change: impl FnOnce(&mut Tensors)) -> Result<BackboneWeights, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let mut tensors = embedded().tensors;
    change(&mut tensors);
    candle_core::safetensors::save(&tensors, &path).unwrap();
    from_file(path)
}

fn from_file(path: PathBuf) -> Result<BackboneWeights, String> {
    let nowhere = HubConfig::from_variables(|_| None, None);
    resolve_with(ID, &WeightsSource::File(path), &nowhere, &Silent).map_err(|error| error.to_string())
}

#[test]
fn a_file_with_more_than_is_needed_gives_the_same_tensors() {
    let read = through_a_file(|tensors| {
        let extra = Tensor::zeros(7, DType::I64, &Device::Cpu).unwrap();
        tensors.insert("_fc.weight".into(), extra);
    });
    let (read, embedded) = (read.unwrap(), embedded());
    assert_eq!(read.tensors.len(), embedded.tensors.len());
    assert_eq!(read.sha256.len(), 64);
    assert_ne!(read.sha256, embedded.sha256);
    for (name, tensor) in &embedded.tensors {
        let flat =
            |t: &Tensor| t.flatten_all().unwrap().to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(flat(&read.tensors[name]), flat(tensor), "{name}");
        assert_eq!(read.tensors[name].dtype(), DType::F16);
    }
}

#[test]
fn missing_misshapen_and_wrongly_typed_tensors_and_values_that_are_not_finite_are_named() {
    const NAME: &str = "_blocks.3._project_conv.weight";
    let replace = |tensor: Tensor| move |tensors: &mut Tensors| drop(tensors.insert(NAME.into(), tensor));
    let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
    let missing = through_a_file(|tensors| drop(tensors.remove(NAME)));
    let misshapen = through_a_file(replace(zeros(&[40, 143, 1, 1], DType::F32)));
    let integers = through_a_file(replace(zeros(&[40, 144, 1, 1], DType::I64)));
    let nan = Tensor::full(f32::NAN, &[40, 144, 1, 1], &Device::Cpu).unwrap();
    let infinite = Tensor::full(f32::INFINITY, &[40, 144, 1, 1], &Device::Cpu).unwrap();
    let (nan, infinite) = (through_a_file(replace(nan)), through_a_file(replace(infinite)));
    for (result, parts) in [
        (missing, &["missing", "[40, 144, 1, 1]"][..]),
        (misshapen, &["[40, 143, 1, 1]", "expected [40, 144, 1, 1]"]),
        (integers, &["i64", "expected f16, bf16, f32 or f64"]),
        (nan, &["holds NaN (value 0)"]),
        (infinite, &["holds inf (value 0)"]),
    ] {
        let message = result.unwrap_err();
        for part in [NAME, "net.safetensors"].iter().chain(parts) {
            assert!(message.contains(part), "`{part}` is missing in: {message}");
        }
    }
}

#[test]
fn files_that_are_no_weights_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let whole = {
        let path = folder.path().join("whole.safetensors");
        candle_core::safetensors::save(&embedded().tensors, &path).unwrap();
        fs::read(path).unwrap()
    };
    let cases: [(&str, &[u8]); 8] = [
        ("empty.pth", b""),
        ("text.pth", b"these are not weights"),
        ("text.safetensors", b"these are not weights"),
        ("cut_in_the_data.safetensors", &whole[..whole.len() / 2]),
        ("cut_in_the_header.safetensors", &whole[..100]),
        ("absurd_header.safetensors", b"\xff\xff\xff\xff\xff\xff\xff\x7f{}"),
        ("zip_without_content.pth", b"PK\x03\x04 and nothing else"),
        ("plain_without_content.pth", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."),
    ];
    for (name, bytes) in cases {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let message = from_file(path).unwrap_err();
        assert!(message.contains(name), "{message}");
    }
    assert!(from_file(folder.path().join("absent.pth")).unwrap_err().contains("absent.pth"));
    assert!(from_file(folder.path().into()).is_err(), "a folder");
}

#[test]
fn weights_of_one_backbone_do_not_build_another() {
    let error = Backbone::load(BackboneId::ResNet18, Levels::default(), &embedded(), &Device::Cpu)
        .unwrap_err()
        .to_string();
    assert!(error.contains("weights of resnet18, not of efficientnet-lite0"), "{error}");
    assert!(BackboneWeights::embedded(BackboneId::ResNet18).unwrap_err().to_string().contains("missing"));
}
