//! The `simplenet` program as a person uses it: every verb on small demo data, what it prints, what it writes, how it ends.
//! What `bench` measures is in `bench.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{fs, path::Path};

use image::{Rgb, RgbImage, imageops};
use serde_json::Value;
use simplenet_cli::output::anomaly_map_file::parse_npy;
use simplenet_tests::{
    demo,
    files::{json, keys, names, text},
    program::{run, run_unread},
};

/// The metrics that `metrics.json` always names, in this order.
const METRICS: [&str; 8] = [
    "image_AUROC",
    "image_AP",
    "image_F1Max",
    "pixel_AUROC",
    "pixel_AP",
    "pixel_F1Max",
    "pixel_AUPRO",
    "pixel_AUPRO_005",
];

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
        ("train --normal empty --out never".into(), &["empty holds no PNG, JPEG, BMP or TIFF"]),
        ("train --normal half --out never".into(), &["half/b.png is not a PNG, JPEG, BMP or TIFF image"]),
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
        ("eval --model ../out/model.safetensors --data empty".into(), &["empty/train/good is not a folder"]),
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
fn eval_names_every_metric() {
    let shared = demo::trained();
    let folder = shared.path();
    let line = "simplenet eval --model out/model.safetensors --data demo/oak_plank --json eval/all.json --output eval";
    fs::create_dir_all(folder.join("eval")).unwrap();
    run(folder, line).ok().says(&METRICS).says(&[
        "2 good and 5 anomalous images",
        "at threshold",
        "inference",
    ]);
    let metrics = json(&folder.join("eval/all.json"));
    for name in METRICS {
        let value = metrics[name].as_f64().unwrap_or_else(|| panic!("{name} in {metrics}"));
        assert!((0.0..=1.0).contains(&value), "{name}: {value}");
    }
    assert!(metrics.get("reasons").is_none(), "{metrics}");
    let counts = |names: &[&str]| names.iter().map(|n| metrics[n].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(counts(&["test_normal", "test_anomalous"]), [2, 5]);
    assert_eq!(
        names(&folder.join("eval")),
        [
            "all.json",
            "curves.json",
            "heatmaps",
            "metrics.json",
            "pictures.jsonl",
            "plots",
            "predictions.jsonl",
            "report.html"
        ]
    );
    let lines = predictions(&folder.join("eval"));
    assert_eq!(lines.len(), 7);
    for line in &lines {
        let label = if text(line, "defect") == "good" { "normal" } else { "anomalous" };
        assert_eq!(text(line, "label"), label);
    }
    assert!(fs::read_to_string(folder.join("eval/report.html")).unwrap().contains("oak_plank"));
}

#[test]
fn metrics_without_ground_truth_are_null_with_a_reason() {
    let shared = demo::trained();
    let folder = shared.path().join("unmasked");
    for (left_out, defined, reason) in [
        // No masks at all, and one missing of five: the pixel metrics are undefined, the image metrics are not.
        ("ground_truth", &METRICS[..3], "5 of 5 anomalous images have no ground-truth mask"),
        ("ground_truth/dent", &METRICS[..3], "1 of 5 anomalous images have no ground-truth mask"),
        // Without good images there is no image AUROC; the good pixels of anomalous images are enough for the others.
        ("test/good", &METRICS[1..], "normal"),
    ] {
        let _absent = fs::remove_dir_all(&folder);
        demo::copy(&shared.path().join("demo/oak_plank"), &folder.join("oak_plank"));
        fs::remove_dir_all(folder.join("oak_plank").join(left_out)).unwrap();
        let line = "simplenet eval --model ../out/model.safetensors --data oak_plank --json metrics.json";
        run(&folder, line).ok().says(&["n/a: ", reason]);
        let metrics = json(&folder.join("metrics.json"));
        for name in METRICS {
            let why = metrics["reasons"].get(name);
            match defined.contains(&name) {
                true => assert!(metrics[name].is_f64() && why.is_none(), "{left_out}: {name} in {metrics}"),
                false => {
                    assert_eq!(
                        metrics.get(name),
                        Some(&Value::Null),
                        "{left_out}: {name} must be there, and null"
                    );
                    let why = why.and_then(Value::as_str).unwrap_or_default();
                    assert!(why.contains(reason), "{left_out}: {name}: {why}");
                }
            }
        }
    }
}

#[test]
fn plots_are_of_what_is_defined() {
    let shared = demo::trained();
    let folder = shared.path().join("plotted");
    demo::copy(&shared.path().join("demo/oak_plank"), &folder.join("oak_plank"));
    let plots = folder.join("seen/plots");
    let files = |shown: &[&str]| {
        let mut files: Vec<String> =
            shown.iter().flat_map(|name| [format!("{name}.png"), format!("{name}.svg")]).collect();
        files.sort();
        files
    };
    let eval = "simplenet eval --model ../out/model.safetensors --data oak_plank --output seen";
    run(&folder, eval).ok().says(&["seen/plots (roc, pro, histogram)", "seen/report.html"]);
    assert_eq!(names(&plots), files(&["roc", "pro", "histogram"]));
    let metrics = json(&folder.join("seen/metrics.json"));
    for (file, area) in [("roc.svg", "image_AUROC"), ("pro.svg", "pixel_AUPRO")] {
        let svg = fs::read_to_string(plots.join(file)).unwrap();
        let area = format!("{:.4}", metrics[area].as_f64().unwrap());
        assert!(svg.contains("oak_plank") && svg.contains(&area), "no {area} in {svg}");
    }
    let svg = fs::read_to_string(plots.join("histogram.svg")).unwrap();
    assert!(svg.contains("good (2)") && svg.contains("anomalous (5)") && svg.contains("threshold"), "{svg}");
    let png = image::open(plots.join("roc.png")).unwrap().to_rgb8();
    assert!(png.width() == 964 && png.pixels().any(|p| p.0 != [255; 3]), "{} pixels wide", png.width());

    // What is no longer defined does not stay behind, and the reason is said.
    fs::remove_dir_all(folder.join("oak_plank/ground_truth")).unwrap();
    let unmasked = run(&folder, eval).ok();
    unmasked.says(&["(roc, histogram; no pro: 5 of 5 anomalous images have no ground-truth mask"]);
    assert_eq!(names(&plots), files(&["roc", "histogram"]));

    // Without labels a histogram of enough photographs, and nothing of fewer.
    let infer = "simplenet infer --model ../out/model.safetensors --output seen";
    let all = format!("{infer} --input oak_plank/train --input oak_plank/test");
    run(&folder, &all).ok().says(&["heat maps, report.html, plots and predictions.jsonl are in seen"]);
    assert_eq!(names(&plots), files(&["histogram"]));
    let svg = fs::read_to_string(plots.join("histogram.svg")).unwrap();
    assert!(svg.contains("all images (15)") && !svg.contains("anomalous"), "{svg}");
    run(&folder, &format!("{infer} --input oak_plank/test/good"))
        .ok()
        .says(&["heat maps, report.html and predictions.jsonl are in seen"]);
    assert!(!plots.exists(), "two scores have no histogram");
    run(&folder, &format!("{all} --no-report")).ok();
    assert!(!plots.exists(), "no report, no plots");
}

#[test]
fn infer_goes_through_folders_and_reports_bad_files() {
    let shared = demo::trained();
    let folder = shared.path().join("mixed");
    let photograph = shared.path().join("demo/oak_plank/test/good/000.png");
    fs::create_dir_all(folder.join("in/deep/er")).unwrap();
    for name in ["in/a.png", "in/deep/er/b.PNG", "in/.hidden.png"] {
        fs::copy(&photograph, folder.join(name)).unwrap();
    }
    image::open(&photograph).unwrap().to_rgb8().save(folder.join("in/a.jpg")).unwrap();
    let bytes = fs::read(&photograph).unwrap();
    fs::write(folder.join("in/deep/cut.png"), &bytes[..bytes.len() / 2]).unwrap();
    fs::write(folder.join("in/empty.bmp"), "").unwrap();
    fs::write(folder.join("in/text.png"), "not a photograph\n").unwrap();
    fs::write(folder.join("in/notes.txt"), "not even named like one\n").unwrap();

    let line =
        "simplenet infer --model ../out/model.safetensors --input in --input in/notes.txt --output seen";
    run(&folder, line).fails(1, &[]).says(&["anomalous, 4 failed;", " ms  in/a.jpg"]);
    let lines = predictions(&folder.join("seen"));
    let paths: Vec<&str> = lines.iter().map(|line| text(line, "path")).collect();
    let expected = [
        "in/a.jpg",
        "in/a.png",
        "in/deep/cut.png",
        "in/deep/er/b.PNG",
        "in/empty.bmp",
        "in/text.png",
        "in/notes.txt",
    ];
    assert_eq!(paths, expected);
    for (line, why) in lines.iter().zip([
        None,
        None,
        Some("truncated"),
        None,
        Some("0 bytes"),
        Some("is not a PNG, JPEG, BMP or TIFF image"),
        Some("is not a PNG, JPEG, BMP or TIFF image"),
    ]) {
        match why {
            Some(why) => {
                assert!(text(line, "error").contains(why), "{line}");
                assert_eq!(keys(line), ["path", "error"]);
            }
            None => complete(line, [96, 96], &folder.join("seen")),
        }
    }
    // a.jpg and a.png must not share a heat map.
    assert_ne!(lines[0]["heatmap"], lines[1]["heatmap"]);
    assert_eq!(lines[3]["heatmap"], "heatmaps/deep/er/b.png");
}

#[test]
fn raw_maps_come_in_the_asked_format() {
    let shared = demo::trained();
    let folder = shared.path();
    let mut scores = vec![];
    for format in ["npy", "png", "none"] {
        let line = format!(
            "simplenet infer --model out/model.safetensors --input demo/oak_plank/test/dent --output maps/{format} \
             --map-format {format}"
        );
        run(folder, &line).ok();
        let out = folder.join("maps").join(format);
        let lines = predictions(&out);
        scores.push(lines[0]["score"].clone());
        match format {
            "none" => {
                assert_eq!(lines[0]["anomaly_map"], Value::Null);
                assert!(!out.join("anomaly_maps").exists());
            }
            "png" => {
                let map = image::open(out.join(text(&lines[0], "anomaly_map"))).unwrap();
                assert_eq!((map.color(), map.width(), map.height()), (image::ColorType::L16, 96, 96));
            }
            _ => {
                let map = parse_npy(&fs::read(out.join(text(&lines[0], "anomaly_map"))).unwrap()).unwrap();
                assert_eq!((map.width, map.height), (96, 96));
                assert!(map.scores.iter().all(|score| score.is_finite()));
            }
        }
    }
    assert!(scores.iter().all(|score| *score == scores[0]), "the format changes the score: {scores:?}");
}

#[test]
fn regions_and_maps_are_in_the_original_photographs_pixels() {
    let shared = demo::trained();
    let folder = shared.path().join("large");
    fs::create_dir_all(&folder).unwrap();
    // A good plank, stretched by whole numbers, with a magenta rectangle in the lower left: nothing like it was ever seen.
    let (width, height) = (96 * 12, 96 * 6);
    let (left, top, columns, rows) = (120, 380, 240, 120);
    let plank = image::open(shared.path().join("demo/oak_plank/test/good/000.png")).unwrap().to_rgb8();
    let mut large = imageops::resize(&plank, width, height, imageops::FilterType::Nearest);
    let patch = RgbImage::from_pixel(columns, rows, Rgb([255, 0, 255]));
    imageops::replace(&mut large, &patch, left.into(), top.into());
    large.save(folder.join("large.png")).unwrap();

    let line = "simplenet infer --model ../out/model.safetensors --input large.png --output seen";
    run(&folder, line).ok().says(&["0 normal, 1 anomalous, 0 failed"]);
    let lines = predictions(&folder.join("seen"));
    complete(&lines[0], [width, height], &folder.join("seen"));

    let map = fs::read(folder.join("seen").join(text(&lines[0], "anomaly_map"))).unwrap();
    let map = parse_npy(&map).unwrap();
    assert_eq!((map.width, map.height), (width, height));
    let (at, peak) = map.scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    let (x, y) = (at as u32 % width, at as u32 / width);
    // Its edges stand out most, from two patches away: patches are 8 of the network's pixels apart, 96 by 48 of these.
    let near =
        |v: u32, from: u32, length: u32, patch: u32| v + 2 * patch >= from && v < from + length + 2 * patch;
    let found = near(x, left, columns, 96) && near(y, top, rows, 48);
    assert!(found, "the map's peak is at {x}, {y}, far from the magenta rectangle");
    let region = &lines[0]["regions"][0];
    let [x0, y0, x1, y1] = serde_json::from_value::<[u32; 4]>(region["box"].clone()).unwrap();
    assert!((x0..x1).contains(&x) && (y0..y1).contains(&y), "{x}, {y} is not in the first region: {region}");
    assert_eq!(region["peak_score"].as_f64().unwrap() as f32, *peak);
}

#[test]
fn a_threshold_decides_the_verdict() {
    let shared = demo::trained();
    for (threshold, verdict, words) in
        [("-1000", "anomalous", "0 normal, 1 anomalous"), ("1000", "normal", "1 normal, 0 anomalous")]
    {
        let line = format!(
            "simplenet infer --model out/model.safetensors --input demo/oak_plank/test/good/000.png \
             --output thresholds --threshold {threshold}"
        );
        run(shared.path(), &line).ok().says(&[words]);
        let lines = predictions(&shared.path().join("thresholds"));
        assert_eq!(text(&lines[0], "verdict"), verdict);
        assert_eq!(lines[0]["regions"].as_array().unwrap().is_empty(), verdict == "normal");
    }
}

#[test]
fn infer_without_input_takes_the_newest_model_and_its_test_images() {
    let folder = demo::folder();
    let train = |category: &str, what: &str| {
        run(folder.path(), &format!("simplenet train {what} demo/{category} --size 96 --epochs 1")).ok()
    };
    train("oak_plank", "--data");
    train("coated_tablet", "--data");
    run(folder.path(), "simplenet infer").ok().says(&[
        "model: results/coated_tablet/model.safetensors",
        "no --input: inspecting the 7 test images of demo/coated_tablet",
        "results/infer",
    ]);
    let lines = predictions(&folder.path().join("results/infer"));
    assert_eq!(lines.len(), 7);
    assert!(lines.iter().all(|line| text(line, "path").starts_with("demo/coated_tablet/test/")), "{lines:?}");
    for verb in ["info", "verify"] {
        run(folder.path(), &format!("simplenet {verb}"))
            .ok()
            .says(&["results/coated_tablet/model.safetensors"]);
    }
    // A model without test images has nothing to show: say so.
    run(folder.path(), "simplenet train --normal demo/oak_plank/train/good --size 96 --epochs 1").ok();
    run(folder.path(), "simplenet infer").refused(&["no --input", "test images", "--input IMAGE_OR_FOLDER"]);
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

/// A prediction with every field, of a photograph of this size; boxes inside it, files there.
fn complete(line: &Value, [width, height]: [u32; 2], out: &Path) {
    let expected = [
        "path",
        "score",
        "threshold",
        "verdict",
        "regions",
        "milliseconds",
        "image_size",
        "inspected_share",
        "model_id",
        "precision",
        "device",
        "heatmap",
        "anomaly_map",
    ];
    assert_eq!(keys(line), expected);
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is no number in {line}"));
    let anomalous = number(&line["score"]) >= number(&line["threshold"]);
    assert_eq!(text(line, "verdict"), if anomalous { "anomalous" } else { "normal" });
    assert_eq!(line["image_size"], serde_json::json!([width, height]));
    assert_eq!(line["inspected_share"], 1.0);
    assert_eq!(text(line, "model_id").len(), 12);
    assert_eq!(line["regions"].as_array().unwrap().is_empty(), !anomalous, "{line}");
    for region in line["regions"].as_array().unwrap() {
        let [x0, y0, x1, y1] = serde_json::from_value::<[u32; 4]>(region["box"].clone()).unwrap();
        assert!(x0 < x1 && x1 <= width && y0 < y1 && y1 <= height, "outside {width} x {height}: {region}");
        let area = region["area"].as_u64().unwrap();
        assert!(area >= 1 && area <= u64::from(x1 - x0) * u64::from(y1 - y0), "{region}");
    }
    let times = &line["milliseconds"];
    assert_eq!(keys(times), ["decode", "preprocess", "network", "postprocess", "total"]);
    let parts: f64 = keys(times)[..4].iter().map(|part| number(&times[part])).sum();
    // Five times rounded to a microsecond.
    assert!((parts - number(&times["total"])).abs() < 0.005 && parts > 0.0, "{times}");
    let heatmap = image::open(out.join(text(line, "heatmap"))).unwrap();
    assert_eq!(
        (heatmap.width(), heatmap.height()),
        (width, height),
        "the heat map has the photograph's size"
    );
    assert!(out.join(text(line, "anomaly_map")).is_file());
}

fn predictions(folder: &Path) -> Vec<Value> {
    let path = folder.join("predictions.jsonl");
    let lines = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}
