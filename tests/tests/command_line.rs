//! The `simplenet` program as a person uses it: every verb on small demo data, what it prints, what it writes, how it ends.
//! What `eval` and `infer` write is in `results.rs`, what `bench` measures in `bench.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::fs;

use simplenet_tests::{
    demo,
    files::{json, names, predictions},
    program::{run, run_unread},
};

#[test]
fn every_verb_explains_itself() {
    let folder = tempfile::tempdir().unwrap();
    for (verb, words) in [
        (
            "",
            &[
                "train",
                "eval",
                "infer",
                "calibrate",
                "info",
                "verify",
                "bench",
                "data",
                "--threads",
                "Exit codes",
            ][..],
        ),
        (
            "train",
            &[
                "--data",
                "--normal",
                "--out",
                "--backbone",
                "--weights",
                "--preset",
                "--epochs",
                "--seed",
                "--config",
                "--size",
                "--oracle",
                "--fresh",
                "--tensorboard",
                "--save-every",
                "--device",
                "efficientnet-lite0",
                "wide-resnet50-2",
                "paper",
            ],
        ),
        ("data", &["check"]),
        (
            "data check",
            &["--layout", "--category", "--decode", "--json", "--abnormal", "kolektor-sdd2", "Exit code 1"],
        ),
        (
            "eval",
            &[
                "--model",
                "--data",
                "--category",
                "--normal-test",
                "--json",
                "--output",
                "--precision",
                "--device",
                "--batch",
            ],
        ),
        (
            "infer",
            &[
                "--model",
                "--input",
                "--output",
                "--map-format",
                "--threshold",
                "--precision",
                "f32",
                "bf16",
                "int8",
                "f16",
                "--device",
                "cuda:N",
                "--batch",
                "results/infer",
                "newest",
            ],
        ),
        (
            "calibrate",
            &[
                "--model",
                "--normal",
                "--false-reject",
                "1%",
                "--review",
                "5%",
                "--strict",
                "--out",
                "--json",
                "--device",
            ],
        ),
        ("info", &["--model"]),
        ("verify", &["--model"]),
        (
            "bench",
            &[
                "--model",
                "--input",
                "--repeats",
                "50",
                "--json",
                "--precision",
                "--device",
                "--batch",
                "newest",
            ],
        ),
    ] {
        run(folder.path(), &format!("simplenet {verb} --help")).ok().says(words);
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "help must write nothing");
}

#[test]
fn wrong_usage_is_exit_code_2_and_says_what_is_right() {
    let folder = tempfile::tempdir().unwrap();
    for (line, words) in [
        ("", &["Usage: simplenet"][..]),
        ("fly", &["fly", "Usage"]),
        ("train", &["--data <PATH>", "--normal <DIR>"]),
        ("train --data a --normal b", &["--normal", "cannot be used with"]),
        ("train --normal a --epochs many", &["many", "--epochs"]),
        ("train --normal a --size 8", &["`8`", "between 32 and 4096"]),
        ("train --normal a --preset best", &["best", "default", "paper"]),
        ("train --normal a --backbone resnet99", &["unknown backbone `resnet99`", "efficientnet-lite0"]),
        ("eval --data a", &["--model <FILE>"]),
        ("infer --map-format gif", &["gif", "npy", "png", "none"]),
        ("infer --threshold high", &["high", "--threshold"]),
        ("infer --precision int4", &["int4", "f32", "bf16", "int8"]),
        ("train --normal a --save-every soon", &["--save-every", "soon"]),
        ("calibrate --model a", &["--normal <DIR>"]),
        ("calibrate --model a --normal b --false-reject 101%", &["101%", "0.5% or 0.005"]),
        ("bench --repeats 0", &["--repeats", "0"]),
        ("bench --repeats often", &["--repeats", "often"]),
        ("--threads 0 info", &["--threads", "0"]),
    ] {
        run(folder.path(), &format!("simplenet {line}")).fails(2, words);
    }
}

#[test]
fn what_cannot_be_done_is_exit_code_1_and_one_sentence() {
    let shared = demo::trained();
    let folder = shared.path().join("refused");
    fs::create_dir_all(folder.join("empty")).unwrap();
    fs::write(folder.join("text.safetensors"), "these are not weights").unwrap();
    fs::create_dir_all(folder.join("half")).unwrap();
    fs::copy(shared.path().join("demo/oak_plank/test/good/000.png"), folder.join("half/a.png")).unwrap();
    fs::write(folder.join("half/b.png"), "not a photograph").unwrap();
    fs::write(folder.join("wrong.toml"), "epochs = 2\nepoks = 3\n").unwrap();
    fs::write(folder.join("broken.toml"), "epochs = \n").unwrap();
    let good = "train --normal ../demo/oak_plank/train/good --out never";
    for (line, words) in [
        ("train --data nowhere --out never".to_string(), &["nowhere is not a folder", "train/good"][..]),
        ("train --normal empty --out never".into(), &["empty holds no PNG, JPEG, BMP, TIFF, WebP or PNM"]),
        (
            "train --normal half --out never".into(),
            &["half/b.png is not a PNG, JPEG, BMP, TIFF, WebP or PNM image"],
        ),
        // A folder that cannot be made shows before the work begins: here, before the second image is read.
        ("train --normal half --out text.safetensors/out".into(), &["cannot create text.safetensors/out"]),
        (format!("{good} --config absent.toml"), &["cannot read absent.toml"]),
        (format!("{good} --oracle"), &["--oracle needs a test set"]),
        (format!("{good} --held-out 2"), &["held_out_share", "= 2"]),
        (format!("{good} --epochs 0"), &["epochs", "at least 1"]),
        (format!("{good} --noise-sigma -1"), &["noise_sigma"]),
        (format!("{good} --weights absent.pth"), &["absent.pth"]),
        (format!("{good} --weights text.safetensors"), &["text.safetensors"]),
        ("info --model absent.safetensors".into(), &["absent.safetensors"]),
        ("info --model text.safetensors".into(), &["text.safetensors", "not a safetensors file"]),
        ("verify --model text.safetensors".into(), &["text.safetensors", "not a safetensors file"]),
        ("info".into(), &["no model.safetensors under results/", "train one first", "--model"]),
        ("infer".into(), &["no model.safetensors under results/"]),
        ("infer --model ../out/model.safetensors --input nowhere".into(), &["cannot read nowhere"]),
        ("infer --model ../out/model.safetensors --input empty".into(), &["empty holds no"]),
        ("eval --model ../out/model.safetensors --data empty".into(), &["empty holds no PNG, JPEG"]),
    ] {
        // clap takes `-1` for a flag unless it is joined.
        let line = line.replace("--noise-sigma -1", "--noise-sigma=-1");
        run(&folder, &format!("simplenet {line}")).refused(words);
    }
    // The parser's words about a file go over several lines: the place is drawn.
    for (file, words) in
        [("wrong.toml", &["wrong.toml", "epoks", "epochs"][..]), ("broken.toml", &["broken.toml", "line 1"])]
    {
        run(&folder, &format!("simplenet {good} --config {file}")).fails(1, words);
    }
    assert!(!folder.join("never").exists(), "a refused training must not leave a folder");
}

#[test]
fn weights_that_are_not_here_are_one_sentence_with_three_ways_out() {
    let shared = demo::trained();
    // `run` forbids the network: nothing may be tried, and no other backbone taken.
    let refused = run(
        shared.path(),
        "simplenet train --normal demo/oak_plank/train/good --backbone wide-resnet50-2 --out wide",
    )
    .refused(&[
        "wide-resnet50-2",
        "HF_HUB_OFFLINE",
        "`--backbone efficientnet-lite0`",
        "`--weights FILE`",
        "HF_ENDPOINT",
    ]);
    refused.check(!shared.path().join("wide").exists(), "nothing may be written");
}

#[test]
fn train_writes_a_model_its_settings_and_its_record() {
    let folder = demo::folder();
    let good = "demo/steel_gear/train/good";
    let flags = "--size 96 --epochs 3 --seed 5";
    run(folder.path(), &format!("simplenet train --normal {good} --out plain {flags}")).ok().says(&[
        "trained on 7 images",
        "1 held out",
        "threshold",
        "model: plain/model.safetensors",
        "simplenet infer --model plain/model.safetensors",
    ]);
    assert_eq!(names(&folder.path().join("plain")), ["config.toml", "model.safetensors", "training.json"]);
    let record = json(&folder.path().join("plain/training.json"));
    assert_eq!((&record["seed"], &record["data"]), (&5.into(), &good.into()));
    assert_eq!(record["losses"].as_array().unwrap().len(), 3);

    // The same good images as a part of a category, and the settings from the file that the first run wrote.
    let from_file = "--data demo/steel_gear --out again --config plain/config.toml";
    run(folder.path(), &format!("simplenet train {from_file}")).ok();
    let read = |file: &str| fs::read(folder.path().join(file)).unwrap();
    assert!(read("plain/model.safetensors") == read("again/model.safetensors"), "the models differ");
    assert!(read("plain/config.toml") == read("again/config.toml"), "the settings differ");

    // A flag wins over the file, the file over the preset.
    fs::write(folder.path().join("some.toml"), "epochs = 9\n[calibration]\nheld_out_share = 0.25\n").unwrap();
    run(
        folder.path(),
        "simplenet train --data demo/steel_gear --out some --config some.toml --size 96 --epochs 2",
    )
    .ok()
    .says(&["trained on 6 images", "2 held out"]);
    let config = fs::read_to_string(folder.path().join("some/config.toml")).unwrap();
    assert!(config.contains("epochs = 2\n") && config.contains("held_out_share = 0.25"), "{config}");

    // Without --out: results/<name of the folder>. With a test set, the best epoch on it can be reported.
    run(folder.path(), "simplenet train --data demo/steel_gear --oracle --size 96 --epochs 4 --held-out 0")
        .ok()
        .says(&["oracle (epoch chosen on the test set, for comparison only): image AUROC", "no threshold"]);
    let record = json(&folder.path().join("results/steel_gear/training.json"));
    let oracle = record["oracle"]["image_AUROC"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&oracle), "{oracle}");
}

#[test]
fn a_centre_crop_says_what_it_leaves_out() {
    let folder = demo::folder();
    for (flags, share) in [("", None), ("--centre-crop", Some("76.2 %")), ("--preset paper", Some("76.2 %"))]
    {
        // 96 of 96 * 329 / 288, rounded to 110: (96 / 110)², squared sides of a square photograph.
        let line = format!("simplenet train --data demo/oak_plank --out out --size 96 --epochs 1 {flags}");
        let trained = run(folder.path(), &line).ok();
        // Eight photographs, all different and of one size.
        let notes = trained.err.lines().filter(|line| !line.contains("inspects")).collect::<Vec<_>>();
        let few = notes.len() == 1 && notes[0].starts_with("only 8 photographs of good parts");
        trained.check(few, "it should say that photographs are few, and nothing else about them");
        match share {
            Some(share) => {
                let said = trained.err.contains(share) && trained.err.contains("inspects");
                trained.check(said, &format!("it should say that {share} are inspected"));
            }
            None => trained.check(!trained.err.contains("inspects"), "it inspects everything"),
        }
    }
}

#[test]
fn info_and_verify_tell_what_is_in_a_model() {
    let shared = demo::trained();
    run(shared.path(), "simplenet info --model out/model.safetensors").ok().says(&[
        "model id",
        "efficientnet-lite0",
        "format version",
        "threshold",
        "preprocessing",
        "\"width\":96",
        "pre_projection.layers.0fc.weight",
        "discriminator.tail.weight",
    ]);
    run(shared.path(), "simplenet verify --model out/model.safetensors").ok().says(&[
        "golden.0",
        "golden.1",
        "out/model.safetensors: verified",
    ]);
}

#[test]
fn a_reader_that_stops_reading_does_not_stop_the_work() {
    let shared = demo::trained();
    for verb in [
        "info",
        "verify",
        "bench --repeats 2",
        "eval --data demo/oak_plank",
        "infer --input demo/oak_plank/test --output unread",
    ] {
        run_unread(shared.path(), &format!("simplenet {verb} --model out/model.safetensors")).ok();
    }
    assert_eq!(predictions(&shared.path().join("unread")).len(), 7);
}
