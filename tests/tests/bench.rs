//! `simplenet bench`: what it measures and writes, and what it refuses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::fs;

use image::imageops;
use serde_json::Value;
use simplenet_model::compute::Isa;
use simplenet_tests::{
    demo,
    files::{json, keys, names, text},
    program::run,
};

#[test]
fn bench_measures_every_part_and_writes_nothing_else() {
    let shared = demo::trained();
    let folder = shared.path().join("benched");
    fs::create_dir_all(&folder).unwrap();
    let model = "--model ../out/model.safetensors";
    let mut large = image::open(shared.path().join("demo/oak_plank/test/good/000.png")).unwrap().to_rgb8();
    large = imageops::resize(&large, 200, 100, imageops::FilterType::Nearest);
    large.save(folder.join("large.png")).unwrap();
    // Fewer photographs than inspections, more, and one.
    for (inputs, repeats, [found, used], sizes) in [
        ("--input ../demo/oak_plank/test", 9, [7, 7], [[96, 96], [96, 96]]),
        ("--input ../demo/oak_plank/test --input large.png", 8, [8, 8], [[96, 96], [200, 100]]),
        ("--input ../demo/oak_plank/test --input large.png", 3, [8, 3], [[96, 96], [96, 96]]),
        ("--input large.png", 1, [1, 1], [[200, 100], [200, 100]]),
    ] {
        let line =
            format!("simplenet bench {model} {inputs} --repeats {repeats} --threads 2 --json new/bench.json");
        run(&folder, &line).ok().says(&[
            "efficientnet-lite0, 96×96 pixels, default preset but for preprocess",
            "model file to first verdict",
            &format!("{repeats} inspections, one at a time, in milliseconds"),
            "postprocess",
            "images/s one at a time, ",
            " at once",
            "peak memory",
            "new/bench.json",
        ]);
        assert_eq!(names(&folder), ["large.png", "new"]);
        assert_eq!(names(&folder.join("new")), ["bench.json"]);
        let bench = json(&folder.join("new/bench.json"));
        let number =
            |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is no number in {bench}"));
        assert_eq!(text(&bench["model"], "path"), "../out/model.safetensors");
        assert_eq!(bench["model"]["network_size"], serde_json::json!([96, 96]));
        let bytes = shared.path().join("out/model.safetensors").metadata().unwrap().len();
        assert_eq!(bench["model"]["file_bytes"], bytes);
        assert_eq!(bench["machine"]["threads"], 2);
        assert_eq!(text(&bench, "precision"), "f32");
        let known = Isa::ALL.map(Isa::name);
        assert!(known.contains(&text(&bench["machine"], "instruction_set")), "{bench}");
        let photographs = &bench["photographs"];
        assert_eq!([&photographs["found"], &photographs["used"]], [found, used]);
        assert_eq!(
            [&photographs["smallest"], &photographs["largest"]],
            sizes.map(|size| serde_json::json!(size)).each_ref()
        );

        let start = &bench["start_milliseconds"];
        let parts: f64 = keys(start)[..3].iter().map(|part| number(&start[part])).sum();
        assert!((parts - number(&start["to_first_verdict"])).abs() < 0.005, "{start}");
        let single = &bench["one_at_a_time"];
        assert_eq!(single["inspections"], repeats);
        let times = &single["milliseconds"];
        assert_eq!(keys(times), ["decode", "preprocess", "network", "postprocess", "total"]);
        for part in keys(times) {
            assert_eq!(keys(&times[part]), ["p50", "p95", "p99", "max"]);
            let ms: Vec<f64> = ["p50", "p95", "p99", "max"].map(|at| number(&times[part][at])).to_vec();
            // A photograph of the network's own size is only copied: less than the microsecond that times are told in.
            assert!((ms[0] > 0.0 || part == "preprocess") && ms.is_sorted(), "{part}: {ms:?}");
            assert!(ms[3] <= number(&times["total"]["max"]), "{part} takes longer than the whole: {times}");
        }
        // The mean of the totals is not above the largest.
        let rate = number(&single["images_per_second"]);
        assert!(1e3 / rate <= number(&times["total"]["max"]) + 0.01, "{single}");
        let several = &bench["several_at_once"];
        assert_eq!([&several["at_once"], &several["inspections"]], [2, 16]);
        assert!(number(&several["images_per_second"]) > 0.0);
        if cfg!(target_os = "linux") {
            let [before, after] = [single, several].map(|part| number(&part["peak_memory_mib"]));
            assert!(before > 1.0 && before <= after, "{before} {after}");
        }
        fs::remove_dir_all(folder.join("new")).unwrap();
    }
    // One thread takes one at a time; without --input, the test images.
    let line =
        "simplenet bench --model out/model.safetensors --repeats 2 --threads 1 --json benched/one.json";
    let one =
        run(shared.path(), line).ok().says(&["the 7 test images of demo/oak_plank", "2 of 7, 96×96 pixels"]);
    one.check(!one.out.contains("at once"), "one thread cannot take several");
    assert_eq!(json(&folder.join("one.json"))["several_at_once"], Value::Null);
}

#[test]
fn what_cannot_be_measured_is_one_sentence() {
    let shared = demo::trained();
    let folder = shared.path().join("refused");
    fs::create_dir_all(folder.join("empty")).unwrap();
    fs::create_dir_all(folder.join("half")).unwrap();
    fs::copy(shared.path().join("demo/oak_plank/test/good/000.png"), folder.join("half/a.png")).unwrap();
    fs::write(folder.join("half/b.png"), "not a photograph").unwrap();
    for (flags, words) in [
        ("", &["no model.safetensors under results/", "train one first", "--model"][..]),
        ("--model absent.safetensors", &["absent.safetensors"]),
        ("--model ../out/model.safetensors --input nowhere", &["cannot read nowhere"]),
        ("--model ../out/model.safetensors --input empty", &["empty holds no"]),
        // Its `data` is relative to where the training ran: from here the test images are not found.
        ("--model ../out/model.safetensors", &["no --input", "test images", "--input IMAGE_OR_FOLDER"]),
        (
            "--model ../out/model.safetensors --input half --json never/bench.json",
            &["half/b.png is not a PNG, JPEG, BMP, TIFF, WebP or PNM image"],
        ),
    ] {
        run(&folder, &format!("simplenet bench {flags}")).refused(words);
    }
    assert!(!folder.join("never").exists(), "a refused measurement must not leave a folder");
}
