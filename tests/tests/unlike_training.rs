//! Photographs unlike those that a model was trained on, as a person meets them: each is judged as ever, what differs is noted at
//! it and summed up, and a photograph like the others is not noted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{collections::BTreeMap, fs, path::Path};

use candle_core::Device;
use image::{DynamicImage, RgbImage, imageops};
use serde_json::{Value, json};
use simplenet_model::checkpoint;
use simplenet_tests::{demo, detector, files::predictions, program::run};

/// One part of the test set, as other cameras and files would have it.
fn draw(folder: &Path, part: &RgbImage) {
    fs::create_dir_all(folder).unwrap();
    let save = |name: &str, image: DynamicImage| image.save(folder.join(name)).unwrap();
    let light = |change: &dyn Fn(f32) -> f32| {
        let mut image = part.clone();
        image.iter_mut().for_each(|v| *v = change(f32::from(*v)).clamp(0.0, 255.0) as u8);
        DynamicImage::from(image)
    };
    save("as_trained.png", part.clone().into());
    save("lossless.bmp", part.clone().into());
    save("jpeg.jpg", part.clone().into());
    save("larger.png", imageops::resize(part, 192, 192, imageops::Triangle).into());
    save("wide.png", imageops::resize(part, 128, 96, imageops::Triangle).into());
    save("gray.png", DynamicImage::from(part.clone()).grayscale());
    save("deep.png", DynamicImage::from(part.clone()).to_rgb16().into());
    save("blurred.png", imageops::blur(part, 1.5).into());
    save("dark.png", light(&|v| 0.5 * v));
    save("flat.png", light(&|v| 120.0 + 0.3 * (v - 120.0)));
}

/// The kinds of differences of each photograph.
fn kinds(predictions: &[Value]) -> BTreeMap<String, Vec<String>> {
    let word = |value: &Value| value.as_str().unwrap().to_string();
    let name = |line: &Value| word(&line["path"]).rsplit('/').next().unwrap().to_string();
    let of = |line: &Value| match line["differences"].as_array() {
        Some(all) => all.iter().map(|one| word(&one["kind"])).collect(),
        None => vec![],
    };
    predictions.iter().map(|line| (name(line), of(line))).collect()
}

#[test]
fn what_differs_is_noted_and_changes_no_verdict() {
    let shared = demo::trained();
    let folder = shared.path();
    let part = image::open(folder.join("demo/oak_plank/test/good/000.png")).unwrap().to_rgb8();
    draw(&folder.join("unlike"), &part);
    let infer = |flags: &str, out: &str| {
        let line =
            format!("simplenet {flags} infer --model out/model.safetensors --input unlike --output {out}");
        run(folder, &line).ok()
    };
    let text = infer("", "unlike-text");
    let lines = predictions(&folder.join("unlike-text"));
    let found = kinds(&lines);
    for (name, want) in [
        ("as_trained.png", &[][..]),
        ("lossless.bmp", &[]),
        ("jpeg.jpg", &["format"]),
        ("larger.png", &["size"]),
        ("wide.png", &["size", "aspect"]),
        ("gray.png", &["colour"]),
        ("deep.png", &["bit_depth"]),
        ("blurred.png", &["sharpness"]),
        ("dark.png", &["brightness"]),
        ("flat.png", &["contrast"]),
    ] {
        let found = &found[name];
        assert!(
            want.iter().all(|kind| found.iter().any(|f| f == kind)),
            "{name}: {found:?}, expected {want:?}"
        );
        assert!(!want.is_empty() || found.is_empty(), "{name}: {found:?}");
    }
    text.says(&["unlike the training's in format"]).fails(
        0,
        &["8 of 10 photographs differ from those that the model was trained on", "JPEG, trained on PNG"],
    );
    let larger = lines.iter().find(|line| line["path"].as_str().unwrap().contains("larger")).unwrap();
    let difference = json!({"kind": "size", "found": "192 x 192 pixels", "trained_on": "96 x 96"});
    assert_eq!(larger["differences"][0], difference);
    let page = fs::read_to_string(folder.join("unlike-text/report.html")).unwrap();
    assert!(page.contains("192 x 192 pixels, trained on 96 x 96"));

    let events = infer("--log-format json", "unlike-json");
    let event = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let sum = events.err.lines().map(event).find(|event| event["event"] == "differences").unwrap();
    assert_eq!((&sum["images"], &sum["differing"], &sum["level"]), (&json!(10), &json!(8), &json!("warn")));

    // The same detector without the profile, as of an older version: the same scores, and not a word.
    let (net, mut record) = checkpoint::load(&folder.join("out/model.safetensors"), &Device::Cpu).unwrap();
    record.image_profile = None;
    checkpoint::save(&folder.join("old.safetensors"), &net, &record).unwrap();
    let old = run(folder, "simplenet infer --model old.safetensors --input unlike --output unlike-old").ok();
    assert!(!old.err.contains("differ") && !old.out.contains("unlike the"), "{} {}", old.out, old.err);
    let judged = |lines: &[Value]| -> Vec<Value> {
        lines
            .iter()
            .map(|line| json!([line["path"], line["score"], line["verdict"], line["regions"]]))
            .collect()
    };
    assert_eq!(judged(&predictions(&folder.join("unlike-old"))), judged(&lines));

    // From pixels alone, what a file would say is not known.
    let detector = detector::open(&folder.join("out/model.safetensors"));
    assert_eq!(detector.inspect(&part).unwrap().differences, []);
    let larger = detector.inspect(&imageops::resize(&part, 192, 192, imageops::Triangle)).unwrap();
    assert_eq!(larger.differences[0].to_string(), "192 x 192 pixels, trained on 96 x 96");
}

#[test]
fn the_model_file_says_what_it_was_trained_on_and_calibrate_and_eval_note_what_differs() {
    let shared = demo::trained();
    let folder = shared.path();
    run(folder, "simplenet info --model out/model.safetensors").ok().says(&[
        "8 images",
        "96 x 96",
        "PNG",
        "8 bits",
        "colour",
        "brightness",
        "contrast",
        "sharpness",
    ]);
    let jpegs = folder.join("jpegs");
    fs::create_dir_all(&jpegs).unwrap();
    for part in fs::read_dir(folder.join("demo/oak_plank/train/good")).unwrap() {
        let part = part.unwrap().path();
        let name = part.file_stem().unwrap().to_str().unwrap();
        image::open(&part).unwrap().save(jpegs.join(format!("{name}.jpg"))).unwrap();
    }
    let calibrate = "simplenet calibrate --normal jpegs --false-reject 0.2 --model";
    run(folder, &format!("{calibrate} out/model.safetensors --out noted.safetensors"))
        .fails(0, &["8 of 8 photographs differ", "JPEG, trained on PNG (8)"]);
    let eval = |model: &str| {
        let abnormal = "demo/oak_plank/test/stain";
        run(folder, &format!("simplenet eval --model {model} --normal-test jpegs --abnormal {abnormal}"))
    };
    eval("out/model.safetensors").fails(0, &["8 of 9 photographs differ", "JPEG, trained on PNG (8)"]);

    // A model that does not know it takes it from the calibration.
    let (net, mut record) = checkpoint::load(&folder.join("out/model.safetensors"), &Device::Cpu).unwrap();
    record.image_profile = None;
    checkpoint::save(&folder.join("unknown.safetensors"), &net, &record).unwrap();
    run(folder, "simplenet info --model unknown.safetensors").ok().says(&["not measured"]);
    run(folder, &format!("{calibrate} unknown.safetensors --out known.safetensors"))
        .fails(0, &["the model did not know what the photographs were like"]);
    eval("known.safetensors").fails(0, &["1 of 9 photographs differ", "PNG, trained on JPEG (1)"]);
}
