//! What `eval` and `infer` say and write: metrics, figures, predictions, heat maps, raw maps, on small demo data.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{fs, path::Path};

use image::{Rgb, RgbImage, imageops};
use serde_json::Value;
use simplenet_cli::output::anomaly_map_file::parse_npy;
use simplenet_tests::{
    demo,
    files::{json, keys, names, predictions, text},
    program::run,
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
            "report.html",
            "run.json"
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
            if defined.contains(&name) {
                assert!(metrics[name].is_f64() && why.is_none(), "{left_out}: {name} in {metrics}")
            } else {
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
    run(&folder, line).fails(1, &[]).says(&["anomalous, 4 failed; 1 passed over;", " ms  in/a.jpg"]);
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
        Some("is not a PNG, JPEG, BMP, TIFF, WebP or PNM image"),
        Some("is not a PNG, JPEG, BMP, TIFF, WebP or PNM image"),
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
    // Of photographs that differ from those trained on, which other tests look at, the line says in what.
    let always: Vec<&str> = keys(line).into_iter().filter(|key| *key != "differences").collect();
    assert_eq!(always, expected);
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
