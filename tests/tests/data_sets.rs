//! Trainings and evaluations on data sets of other layouts than MVTec's, as a person runs them: made of the demo set's
//! pictures, laid out as VisA, MVTec LOCO AD, a CSV file and plain folders. And `simplenet data check`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{
    fs,
    path::{Path, PathBuf},
};

use image::{GrayImage, Luma};
use serde_json::Value;
use simplenet_tests::{
    demo,
    files::{json, text},
    program::run,
};

const QUICK: &str = "--size 96 --epochs 4";

/// Copies a file, folders on the way included.
fn put(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
}

/// The demo's oak plank: images to train on, good ones to test on, and defect, image and mask of the others.
struct Plank {
    train: Vec<PathBuf>,
    good: Vec<PathBuf>,
    defective: Vec<(String, PathBuf, PathBuf)>,
}

fn plank(folder: &Path) -> Plank {
    let root = folder.join("demo/oak_plank");
    let category = simplenet_data::dataset::mvtec::load_category(&root).unwrap();
    let (good, bad): (Vec<_>, Vec<_>) = category.test.into_iter().partition(|sample| sample.mask.is_none());
    Plank {
        train: category.train.into_iter().map(|sample| sample.path).collect(),
        good: good.into_iter().map(|sample| sample.path).collect(),
        defective: bad.into_iter().map(|s| (s.defect, s.path, s.mask.unwrap().files()[0].clone())).collect(),
    }
}

/// The mask with another value for what it marks.
fn revalue(from: &Path, to: &Path, value: u8) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let mut mask: GrayImage = image::open(from).unwrap().into_luma8();
    mask.pixels_mut().for_each(|p| *p = Luma([if p.0[0] > 0 { value } else { 0 }]));
    mask.save(to).unwrap();
}

fn metrics_of(path: &Path) -> Value {
    let metrics = json(path);
    for name in ["image_AUROC", "pixel_AUROC", "pixel_AUPRO", "pixel_AUPRO_005"] {
        let value = metrics[name].as_f64().unwrap_or_else(|| panic!("{name} in {metrics}"));
        assert!((0.0..=1.0).contains(&value), "{name}: {value}");
    }
    metrics
}

#[test]
fn visa_by_its_split() {
    let folder = demo::folder();
    let Plank { train, good, defective } = plank(folder.path());
    let root = folder.path().join("visa");
    let mut split = "object,split,label,image,mask\n".to_string();
    for (i, (path, part)) in
        train.iter().map(|p| (p, "train")).chain(good.iter().map(|p| (p, "test"))).enumerate()
    {
        let name = format!("plank/Data/Images/Normal/{i:04}.PNG");
        put(path, &root.join(&name));
        split += &format!("plank,{part},normal,{name},\n");
    }
    for (i, (_, path, mask)) in defective.iter().enumerate() {
        let (name, marks) =
            (format!("plank/Data/Images/Anomaly/{i:03}.PNG"), format!("plank/Data/Masks/Anomaly/{i:03}.png"));
        put(path, &root.join(&name));
        revalue(mask, &root.join(&marks), 1 + i as u8);
        split += &format!("plank,test,anomaly,{name},{marks}\n");
    }
    fs::create_dir_all(root.join("split_csv")).unwrap();
    fs::write(root.join("split_csv/1cls.csv"), split).unwrap();

    run(folder.path(), "simplenet data check visa").ok().says(&["visa: visa", "plank", "0 problems"]);
    run(folder.path(), &format!("simplenet train --data visa --out out {QUICK}"))
        .ok()
        .says(&["trained on 7 images", "1 held out"]);
    let line = "simplenet eval --model out/model.safetensors --data visa/plank --output eval --json m.json";
    run(folder.path(), line).ok().says(&["plank: 2 good and 5 anomalous images"]);
    let visa = metrics_of(&folder.path().join("m.json"));
    assert!(visa.get("pixel_AUsPRO").is_none() && visa.get("image_AUROC_by_type").is_none(), "{visa}");
    assert!(folder.path().join("eval/heatmaps/Data/Images/Anomaly/000.png").is_file());
    // Class numbers mark what the demo's own masks do: the same model measures the same.
    let line = "simplenet eval --model out/model.safetensors --data demo --category oak_plank --json d.json";
    run(folder.path(), line).ok();
    let demo = metrics_of(&folder.path().join("d.json"));
    for name in ["image_AUROC", "pixel_AUROC", "pixel_AUPRO"] {
        assert_eq!(visa[name], demo[name], "{name}");
    }
    // The record is enough to find the test images again.
    run(folder.path(), "simplenet infer --model out/model.safetensors --output again")
        .ok()
        .says(&["the 7 test images of visa/plank"]);
}

#[test]
fn loco_with_its_validation_set_and_saturation_areas() {
    let folder = demo::folder();
    let Plank { train, good, defective } = plank(folder.path());
    let root = folder.path().join("loco/plank");
    for (i, path) in train.iter().enumerate() {
        let part = if i < 5 { "train" } else { "validation" };
        put(path, &root.join(format!("{part}/good/{i:03}.png")));
    }
    good.iter().enumerate().for_each(|(i, path)| put(path, &root.join(format!("test/good/{i:03}.png"))));
    for (i, (_, path, mask)) in defective.iter().enumerate() {
        let (kind, value) = if i < 2 { ("logical_anomalies", 255) } else { ("structural_anomalies", 254) };
        put(path, &root.join(format!("test/{kind}/{i:03}.png")));
        revalue(mask, &root.join(format!("ground_truth/{kind}/{i:03}/000.png")), value);
    }
    let kinds = |pixels: u32, share: f64| {
        format!(
            r#"[{{"defect_name":"a","pixel_value":255,"saturation_threshold":{pixels},"relative_saturation":false}},
                {{"defect_name":"b","pixel_value":254,"saturation_threshold":{share},"relative_saturation":true}}]"#
        )
    };
    fs::write(root.join("defects_config.json"), kinds(1_000_000, 1.0)).unwrap();
    run(folder.path(), "simplenet data check loco").ok().says(&[
        "mvtec-loco",
        "logical_anomalies",
        "0 problems",
    ]);
    run(folder.path(), &format!("simplenet train --data loco/plank --out out {QUICK}")).ok().says(&[
        "trained on 5 images",
        "3 of the validation set give the threshold",
        "threshold",
    ]);
    let record = json(&folder.path().join("out/training.json"));
    assert_eq!((&record["held_out_images"], &record["validation_images"]), (&0.into(), &3.into()));

    let eval = |json: &str| {
        let line = format!(
            "simplenet eval --model out/model.safetensors --data loco --category plank --json {json}"
        );
        run(folder.path(), &line).ok().says(&[
            "pixel_AUsPRO ",
            "pixel_AUsPRO_005",
            "of logical_anomalies",
            "of structural_anomalies",
        ]);
        metrics_of(&folder.path().join(json))
    };
    let number =
        |metrics: &Value, name: &str| metrics[name].as_f64().unwrap_or_else(|| panic!("{name}: {metrics}"));
    // Saturated at their whole area each defect must be found in full; a tenth of it is found earlier.
    let whole = eval("whole.json");
    fs::write(root.join("defects_config.json"), kinds(10, 0.1)).unwrap();
    let part = eval("part.json");
    for name in ["pixel_AUsPRO", "pixel_AUsPRO_005"] {
        assert!(number(&part, name) > number(&whole, name), "{name}: {part} {whole}");
        assert!((0.0..=1.0).contains(&number(&whole, name)));
    }
    assert_eq!(whole["pixel_AUPRO"], part["pixel_AUPRO"]);
    assert_eq!(whole["image_AUROC_by_type"].as_object().unwrap().len(), 2);
    // The same through train-all, with the baselines beside it.
    run(folder.path(), &format!("xtask train-all --data loco --out run --baselines {QUICK}"))
        .ok()
        .says(&["plank"]);
    let metrics = metrics_of(&folder.path().join("run/plank/metrics.json"));
    assert!(metrics["baselines"]["padim"]["pixel_AUsPRO"].is_f64(), "{metrics}");
}

#[test]
fn a_csv_file_of_two_categories() {
    let folder = demo::folder();
    let Plank { train, good, defective } = plank(folder.path());
    let below =
        |path: &Path| path.strip_prefix(folder.path()).unwrap().display().to_string().replace('\\', "/");
    let mut list = "path;label;mask;split;category\n".to_string();
    for category in ["left", "right"] {
        for path in &train {
            list += &format!("{};good;;train;{category}\n", below(path));
        }
        for path in &good {
            list += &format!("{};good;;test;{category}\n", below(path));
        }
        for (defect, path, mask) in &defective {
            list += &format!("{};{defect};{};test;{category}\n", below(path), below(mask));
        }
    }
    fs::write(folder.path().join("parts.csv"), list).unwrap();
    run(folder.path(), &format!("simplenet train --data parts.csv --out out {QUICK}"))
        .refused(&["parts.csv holds 2 categories (csv)", "left, right"]);
    run(folder.path(), &format!("simplenet train --data parts.csv --category right --out out {QUICK}")).ok();
    let line = "simplenet eval --model out/model.safetensors --data parts.csv --category right --output eval";
    run(folder.path(), line).ok().says(&["right: 2 good and 5 anomalous images"]);
    metrics_of(&folder.path().join("eval/metrics.json"));
    run(folder.path(), "simplenet infer --model out/model.safetensors --output o")
        .ok()
        .says(&["7 test images"]);
    run(folder.path(), &format!("xtask train-all --data parts.csv --categories left --out run {QUICK}")).ok();
    assert_eq!(text(&json(&folder.path().join("run/left/metrics.json")), "category"), "left");
    // Complete: a second run keeps it.
    run(folder.path(), &format!("xtask train-all --data parts.csv --categories left --out run {QUICK}"))
        .ok()
        .says(&["run/left: complete, kept"]);
}

#[test]
fn plain_folders_named_one_by_one() {
    let folder = demo::folder();
    let flags = "--abnormal demo/oak_plank/test/dent --masks demo/oak_plank/ground_truth/dent";
    let good = "--normal demo/oak_plank/train/good";
    run(folder.path(), &format!("simplenet train {good} --out out {QUICK}")).ok();
    let eval = "simplenet eval --model out/model.safetensors --json m.json";
    run(folder.path(), &format!("{eval} {flags} --normal-test demo/oak_plank/test/good"))
        .ok()
        .says(&["2 good and 1 anomalous images"]);
    metrics_of(&folder.path().join("m.json"));
    run(folder.path(), &format!("{eval} {good} {flags}")).refused(&["--normal-test", "not trained on"]);
    run(folder.path(), &format!("{eval} {good}")).fails(2, &["--data"]);
    run(folder.path(), &format!("simplenet train {good} --masks x --out never")).fails(2, &["--abnormal"]);
    let line = format!("simplenet data check {good} {flags} --normal-test demo/oak_plank/test/good");
    run(folder.path(), &line).ok().says(&["folders", "dent", "0 problems"]);
}

#[test]
fn a_folder_too_high_is_refused_by_all_verbs_in_the_same_words() {
    let folder = demo::folder();
    let good = "demo/oak_plank/train/good";
    run(folder.path(), &format!("simplenet train --normal {good} --out out {QUICK}")).ok();
    let words = ["is to hold good parts only", "test (7 images)", "give --data demo/oak_plank", good];
    for line in [
        format!("simplenet train --normal demo/oak_plank --out never {QUICK}"),
        "simplenet data check --normal demo/oak_plank".into(),
        "simplenet calibrate --model out/model.safetensors --normal demo/oak_plank".into(),
        "simplenet eval --model out/model.safetensors --normal-test demo/oak_plank".into(),
    ] {
        run(folder.path(), &line).refused(&words);
    }
    // OK beside NG, however it is named.
    let (root, put) = (folder.path(), |from: &str, to: &str| {
        for entry in fs::read_dir(folder.path().join(from)).unwrap() {
            let path = entry.unwrap().path();
            put(&path, &folder.path().join(to).join(path.file_name().unwrap()));
        }
    });
    put(good, "parts/OK");
    put("demo/oak_plank/test/dent", "parts/NG");
    for line in [
        format!("simplenet train --data parts --out never {QUICK}"),
        format!("simplenet train --normal parts --out never {QUICK}"),
        "simplenet data check parts".into(),
        "simplenet eval --model out/model.safetensors --data parts".into(),
    ] {
        run(root, &line).refused(&["NG (1 image)", "--normal parts/OK --abnormal parts/NG"]);
    }
    // Several folders of good parts, and a plain one as a data set: both verbs take it.
    run(root, &format!("simplenet train --normal {good} demo/oak_plank/test/good --out two {QUICK}"))
        .ok()
        .says(&["trained on 8 images"]);
    run(root, "simplenet data check parts/OK").ok().says(&["OK", "0 problems"]);
    run(root, &format!("simplenet train --data parts/OK --out three {QUICK}"))
        .ok()
        .says(&["trained on 7 images"]);
}

#[test]
fn all_damaged_photographs_are_named() {
    let folder = demo::folder();
    let good = folder.path().join("demo/oak_plank/train/good");
    for name in ["001.png", "003.png", "005.png"] {
        let bytes = fs::read(good.join(name)).unwrap();
        fs::write(good.join(name), &bytes[..bytes.len() / 2]).unwrap();
    }
    run(folder.path(), &format!("simplenet train --data demo/oak_plank --out out {QUICK}")).refused(&[
        "3 of 8 images cannot be read",
        "001.png is truncated",
        "003.png is truncated",
        "005.png is truncated",
    ]);
}

#[test]
fn data_check_lists_all_and_ends_with_1() {
    let folder = demo::folder();
    let root = folder.path();
    run(root, "simplenet data check demo --json ok.json").ok().says(&[
        "recognised by train/good",
        "all",
        "0 problems",
    ]);
    let category = root.join("demo/oak_plank");
    for i in 0..4 {
        GrayImage::new(96, 96).save(category.join(format!("ground_truth/dent/9{i}_mask.png"))).unwrap();
    }
    fs::write(category.join("test/good/001.png"), "no image").unwrap();
    fs::copy(category.join("train/good/000.png"), category.join("test/good/000.png")).unwrap();
    let finished = run(root, "simplenet data check demo --most 2 --json all.json").fails(1, &[]);
    finished.says(
        &[
            "problem: mask without image (4)",
            "and 2 more",
            "problem: leak (1)",
            "  oak_plank/train/good/000.png = oak_plank/test/good/000.png",
            "problem: unreadable file (1)",
        ]
        .map(|words| words.trim_start()),
    );
    let report = json(&root.join("all.json"));
    assert_eq!(report["problems"].as_array().unwrap().len(), 6);
    assert_eq!((text(&report, "layout"), report["categories"].as_array().unwrap().len()), ("mvtec", 5));
    // One category, and what has no layout.
    run(root, "simplenet data check demo --category steel_gear").ok().says(&["steel_gear", "0 problems"]);
    run(root, "simplenet data check nowhere").refused(&["nowhere is not a folder"]);
    run(root, "simplenet data check demo --layout visa").refused(&["No known layout fits demo", "visa"]);
    run(root, "simplenet data check").fails(2, &["PATH"]);
    run(root, "simplenet data check demo --layout coco")
        .fails(2, &["invalid value 'coco' for '--layout", "mvtec-loco"]);
}
