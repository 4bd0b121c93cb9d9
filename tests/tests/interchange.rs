//! `simplenet import` and `simplenet export` as a person uses them: the official code's checkpoint in and out bit for bit, the
//! ONNX file and what is said of it, and everything that is refused. What other programs compute with the files is checked by
//! `peers/onnx_peers.py` and `peers/official_peers.py`; the last test runs a part of the first where Python has its packages.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

mod common;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use candle_core::{DType, Device, Tensor};
use simplenet_model::{checkpoint, official::OfficialCheckpoint, pth, weights::sha256_hex};
use simplenet_tests::{
    demo,
    files::predictions,
    program::{built, run},
    read_manifest, reference_dir, workspace_root,
};

use common::{check_tensor, input, list};

const CASE: &str = "official_checkpoint";

/// Settings for the golden checkpoint, whose head takes features of width 64, on small photographs.
const SETTINGS: &str = "[aggregator]\nreduction = { adaptive-pool = { pretrain_dim = 64, target_dim = 64 } }\n\
                        [preprocess]\nresize = { shorter_side = 100 }\ncrop = { width = 80, height = 72 }\n";

/// The scores of a folder's predictions.
fn scores(folder: &Path) -> Vec<f64> {
    predictions(folder).iter().map(|line| line["score"].as_f64().unwrap()).collect()
}

/// A folder with the golden checkpoint and settings for it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(reference_dir(CASE).join("ckpt.pth"), folder.path().join("ckpt.pth")).unwrap();
    fs::write(folder.path().join("settings.toml"), SETTINGS).unwrap();
    folder
}

/// Every bit of the tensors, by name.
fn bits(tensors: &HashMap<String, Tensor>) -> HashMap<String, (Vec<usize>, Vec<i64>)> {
    let of = |tensor: &Tensor| {
        let flat = tensor.flatten_all().unwrap();
        match tensor.dtype() {
            DType::I64 => flat.to_vec1::<i64>().unwrap(),
            _ => flat.to_vec1::<f32>().unwrap().iter().map(|v| v.to_bits().into()).collect(),
        }
    };
    tensors.iter().map(|(name, tensor)| (name.clone(), (tensor.dims().to_vec(), of(tensor)))).collect()
}

const IMPORT: &str =
    "simplenet import --checkpoint ckpt.pth --backbone efficientnet-lite0 --config settings.toml";

#[test]
fn an_official_checkpoint_goes_in_and_comes_out_bit_for_bit() {
    let folder = folder();
    let root = folder.path();
    let sha256 = sha256_hex(&fs::read(root.join("ckpt.pth")).unwrap());
    run(root, &format!("{IMPORT} --out models/m.safetensors")).ok().says(&[
        "an adaptor of 1 layer, features of width 64, 32 hidden numbers, behind efficientnet-lite0",
        "no threshold",
        "simplenet calibrate --model models/m.safetensors",
    ]);
    run(root, "simplenet info --model models/m.safetensors").ok().says(&[
        &format!("head imported from ckpt.pth (SHA-256 {sha256})"),
        "imported without photographs",
        "\"shorter_side\":100",
        "Gaussian sigma 4 pixels",
    ]);
    run(root, "simplenet verify --model models/m.safetensors").ok().says(&["verified"]);

    // The head in the model file gives the official scores.
    let (net, record) = checkpoint::load(&root.join("models/m.safetensors"), &Device::Cpu).unwrap();
    assert_eq!(
        (record.training["epochs"].as_u64(), record.training["hidden"].as_u64()),
        (Some(160), Some(32))
    );
    for test in list(&read_manifest(CASE), "tests") {
        let scores = net.head().score(&input(&test["rows"])).unwrap();
        check_tensor(CASE, "imported", &list(test, "expected")[0], &scores);
    }

    run(root, "simplenet export --model models/m.safetensors --format pth")
        .ok()
        .says(&["--dsc_hidden 32 --pre_proj 1", "written: models/ckpt.pth"]);
    let [before, after] = ["ckpt.pth", "models/ckpt.pth"].map(|name| {
        let checkpoint = OfficialCheckpoint::read(&root.join(name)).unwrap();
        bits(&checkpoint.tensors)
    });
    assert_eq!(before.len(), 10);
    assert_eq!(before, after);
}

#[test]
fn good_photographs_give_a_threshold_and_make_int8_possible() {
    let folder = folder();
    let root = folder.path();
    demo::write(&root.join("demo"));
    let good = "demo/oak_plank/train/good";
    run(root, &format!("{IMPORT} --out plain.safetensors")).ok();
    run(root, &format!("{IMPORT} --out m.safetensors --normal {good} --false-reject 10% --review 0"))
        .ok()
        .says(&["threshold", "model: m.safetensors"]);
    run(root, "simplenet info --model m.safetensors").ok().says(&[
        "from 8 held-out good images",
        "target false-reject rate 10.00 %",
        "int8                 possible",
    ]);
    let scored = |model: &str, precision: &str| -> Vec<f64> {
        let line =
            format!("simplenet infer --model {model} --input {good} --output o --precision {precision}");
        run(root, &line).ok();
        scores(&root.join("o"))
    };
    // What calibrates changes no score.
    assert_eq!(scored("m.safetensors", "f32"), scored("plain.safetensors", "f32"));
    assert_eq!(scored("m.safetensors", "int8").len(), 8);
    run(root, &format!("simplenet infer --model plain.safetensors --input {good} --precision int8"))
        .refused(&["int8 needs the ranges", "imported without photographs"]);
}

#[test]
fn what_cannot_be_imported_is_said() {
    let folder = folder();
    let root = folder.path();
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let block = |number: usize, outputs: usize, inputs: usize| -> pth::StateDictionary {
        let name = format!("body.block{number}");
        let mut tensors = vec![
            (format!("{name}.0.weight"), zeros(&[outputs, inputs])),
            (format!("{name}.0.bias"), zeros(&[outputs])),
        ];
        for end in ["weight", "bias", "running_mean", "running_var"] {
            tensors.push((format!("{name}.1.{end}"), zeros(&[outputs])));
        }
        tensors
    };
    let tail = |width: usize| vec![("tail.weight".to_string(), zeros(&[1, width]))];
    let write = |name: &str, discriminator: pth::StateDictionary| {
        let bytes = pth::to_bytes(&[("discriminator", discriminator)]).unwrap();
        fs::write(root.join(name), bytes).unwrap();
    };
    write("two.pth", [block(1, 8, 64), block(2, 8, 8), tail(8)].concat());
    write("none.pth", tail(64));
    write("means.pth", [block(1, 8, 384), tail(8)].concat());
    write("other.pth", vec![]);
    fs::write(root.join("text.pth"), "not a checkpoint").unwrap();
    let whole = fs::read(root.join("ckpt.pth")).unwrap();
    fs::write(root.join("half.pth"), &whole[..whole.len() / 2]).unwrap();
    fs::write(root.join("position.toml"), format!("position = {{ cells = {{ cell = 3, shrinkage = 30.0, ridge = 0.01, dimensions = 16, head_weight = 0.5 }} }}\n{SETTINGS}")).unwrap();
    fs::write(root.join("scale.toml"), format!("feature_scale = \"per-dimension\"\n{SETTINGS}")).unwrap();

    let line = "simplenet import --backbone efficientnet-lite0 --out m.safetensors";
    for (flags, words) in [
        ("--checkpoint text.pth", &["text.pth", "not a readable PyTorch checkpoint"][..]),
        ("--checkpoint half.pth", &["half.pth", "not a readable PyTorch checkpoint"]),
        ("--checkpoint nowhere.pth", &["nowhere.pth"]),
        ("--checkpoint other.pth", &["other.pth", "no `discriminator`"]),
        ("--checkpoint two.pth", &["two.pth", "2 hidden layers", "--dsc_layers 3"]),
        ("--checkpoint none.pth", &["none.pth", "0 hidden layers", "--dsc_layers 1"]),
        (
            "--checkpoint ckpt.pth",
            &[
                "ckpt.pth",
                "features of width 64",
                "give 1536",
                "--target_embed_dimension",
                "pretrain_dim = N, target_dim = 64",
            ],
        ),
        ("--checkpoint means.pth", &["features of width 384", "channel-mean", "for resnet18"]),
        ("--checkpoint ckpt.pth --config position.toml", &["position", "unaware"]),
        ("--checkpoint ckpt.pth --config scale.toml", &["feature_scale", "only \"none\" fits"]),
        ("--checkpoint ckpt.pth --config nowhere.toml", &["nowhere.toml"]),
        ("--checkpoint ckpt.pth --config settings.toml --normal nowhere", &["nowhere"]),
        (
            "--checkpoint ckpt.pth --config settings.toml --weights ckpt.pth",
            &["ckpt.pth", "_conv_stem.weight"],
        ),
    ] {
        run(root, &format!("{line} {flags}")).refused(words);
        assert!(!root.join("m.safetensors").exists(), "{flags}");
    }
    run(root, &format!("{IMPORT} --out ./ckpt.pth")).refused(&["--out", "the file that is read"]);
    assert!(fs::read(root.join("ckpt.pth")).unwrap() == whole);
    run(root, &format!("{line} --checkpoint ckpt.pth --review 1%")).fails(2, &["--normal"]);
    // Without its weights at hand a backbone is not exchanged for another one.
    run(root, "simplenet import --checkpoint ckpt.pth --config settings.toml").refused(&["wide-resnet50-2"]);
}

#[test]
fn a_graph_is_written_whole_and_described() {
    let shared = demo::trained();
    let root = shared.path();
    fs::create_dir_all(root.join("onnx")).unwrap();
    let export = "simplenet export --model out/model.safetensors --format onnx";
    run(root, &format!("{export} --out onnx/a.onnx --normalise-inside --dynamic-batch")).ok().says(&[
        "input:   input (N, 3, 96, 96) f32, RGB from 0 to 1",
        "outputs: anomaly_map (N, 1, 96, 96), pred_score (N), pred_label (N), pred_mask (N, 1, 96, 96)",
        "written: onnx/a.onnx",
    ]);
    run(root, &format!("{export} --out onnx/b.onnx"))
        .ok()
        .says(&["(1, 3, 96, 96) f32, RGB, (v - mean) / std", "mean [0.485, 0.456, 0.406]"]);
    let [a, b] = ["onnx/a.onnx", "onnx/b.onnx"].map(|name| fs::read(root.join(name)).unwrap());
    let holds = |bytes: &[u8], word: &str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
    for word in ["pred_score", "map_threshold", "inside: the input is from 0 to 1", "batch"] {
        assert!(holds(&a, word), "{word}");
    }
    assert!(holds(&b, "outside: the input is (v - mean) / std") && !holds(&b, "inside: "));
    // The same again gives the same bytes, beside the model where no name is given.
    run(root, &format!("{export} --out onnx/c.onnx")).ok();
    assert!(fs::read(root.join("onnx/c.onnx")).unwrap() == b);
    assert_eq!(fs::read_dir(root.join("onnx")).unwrap().count(), 3, "no temporary file stays");
}

#[test]
fn what_cannot_be_exported_is_said() {
    let shared = demo::trained();
    let root = shared.path();
    let model = fs::read(root.join("out/model.safetensors")).unwrap();
    let export = "simplenet export --model out/model.safetensors";
    for (flags, words) in [
        (
            "--format pth --out no.pth",
            &["each place of the picture", "--preset paper", "position = \"unaware\""][..],
        ),
        ("--format pth --out no.pth --normalise-inside", &["--normalise-inside", "--format onnx"]),
        ("--format pth --out no.pth --dynamic-batch", &["--dynamic-batch", "--format onnx"]),
        ("--format onnx --out out/model.safetensors", &["--out", "the file that is read"]),
        ("--format onnx --out out/model.safetensors/no.pth", &["cannot create the folder"]),
    ] {
        run(root, &format!("{export} {flags}")).refused(words);
        assert!(!root.join("no.pth").exists(), "{flags}");
    }
    assert!(fs::read(root.join("out/model.safetensors")).unwrap() == model);
    run(root, "simplenet export --model nowhere.safetensors --format onnx").refused(&["nowhere.safetensors"]);
    run(root, export).fails(2, &["--format"]);
    run(root, &format!("{export} --format tflite")).fails(2, &["onnx", "pth"]);
}

#[test]
fn a_norm_is_folded_and_means_of_channels_are_told() {
    let folder = folder();
    let root = folder.path();
    demo::write(&root.join("demo"));
    let settings = "position = \"unaware\"\nimage_score = \"largest\"\nepochs = 2\n[calibration]\nheld_out_share = 0.0\n";
    let import_settings = "[aggregator]\nreduction = \"channel-mean\"\n[preprocess]\nresize = { shorter_side = 96 }\ncrop = { width = 96, height = 96 }\n";
    fs::write(root.join("own.toml"), settings).unwrap();
    fs::write(root.join("back.toml"), import_settings).unwrap();
    for layers in [0, 1, 2] {
        fs::write(root.join("own.toml"), format!("adaptor_layers = {layers}\n{settings}")).unwrap();
        run(root, "simplenet train --data demo/oak_plank --out own --size 96 --config own.toml --fresh").ok();
        run(root, "simplenet export --model own/model.safetensors --format pth --out own.pth")
            .ok()
            .says(&["--dsc_hidden 512", &format!("--pre_proj {layers}")])
            .check_notes("152 in all, which the official code does not make");
        run(root, "simplenet import --checkpoint own.pth --backbone efficientnet-lite0 --config back.toml --out back.safetensors")
            .ok();
        let [own, back] = ["own/model.safetensors", "back.safetensors"].map(|model| {
            run(root, &format!("simplenet infer --model {model} --input demo/oak_plank/test --output o"))
                .ok();
            scores(&root.join("o"))
        });
        assert!(own.len() >= 7);
        let largest = own.iter().fold(0.0f64, |largest, v| largest.max(v.abs()));
        for (a, b) in own.iter().zip(&back) {
            assert!((a - b).abs() <= 2e-5 * largest, "{layers} layers: {b} for {a}");
        }
    }
}

/// Checks of this file's own on a run.
trait Notes {
    /// These words on standard error.
    fn check_notes(self, words: &str);
}

impl Notes for simplenet_tests::program::Finished {
    fn check_notes(self, words: &str) {
        self.check(self.err.contains(words), &format!("standard error should say `{words}`"));
    }
}

/// Where Python is named whose packages the peers need.
const PYTHON: &str = "SIMPLENET_PEERS_PYTHON";

#[test]
fn onnx_runtime_and_openvino_give_the_same_scores_where_they_are_installed() {
    let python = std::env::var_os(PYTHON).map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let has = |packages: &str| {
        let done = Command::new(&python).args(["-c", &format!("import {packages}")]).output();
        done.is_ok_and(|done| done.status.success())
    };
    if !has("numpy, onnx, onnxruntime, openvino, PIL, safetensors") {
        assert!(
            std::env::var_os(PYTHON).is_none(),
            "{PYTHON} names a Python without the packages of tests/peers/requirements-onnx.txt"
        );
        eprintln!("skipped: no Python with onnx, onnxruntime and openvino; {PYTHON}=FILE names one");
        return;
    }
    let program = built("simplenet");
    let done = Command::new(&python)
        .arg(workspace_root().join("tests/peers/onnx_peers.py"))
        .arg("--simplenet")
        .arg(program)
        .args(["--cases", "default,paper-threshold"])
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}
