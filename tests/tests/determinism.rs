//! The same seed gives the same bytes, whatever the number of threads; scores do not depend on the order of files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use simplenet_data::{
    dataset::{Sample, mvtec},
    preprocess::MaskRule,
};
use simplenet_inference::Detector;
use simplenet_tests::{
    demo, detector,
    files::{json, predictions},
    program::run,
};
use simplenet_train::{
    Silent, TrainError,
    evaluation::{Evaluated, Metrics, evaluate},
};

#[test]
fn a_seed_gives_one_model_file_for_any_number_of_threads() {
    let folder = demo::folder();
    // Both ways of forming batches and of keeping features; augmentation draws numbers too.
    fs::write(
        folder.path().join("augmented.toml"),
        "[augmentation]\ncopies = 1\n[augmentation.options]\nrotate_degrees = 10.0\nbrightness = 0.2\n",
    )
    .unwrap();
    for settings in ["--preset default", "--preset paper", "--config augmented.toml"] {
        let train = |out: &str, flags: &str| {
            // Features computed each time: those of an earlier run would show nothing.
            let settings = format!("{settings} --size 96 --epochs 2 --no-feature-cache");
            run(
                folder.path(),
                &format!("simplenet train --data demo/oak_plank --out {out} {settings} {flags}"),
            )
            .ok();
            fs::read(folder.path().join(out).join("model.safetensors")).unwrap()
        };
        let first = train("first", "--seed 7");
        for flags in ["--seed 7", "--seed 7 --threads 1", "--seed 7 --threads 2", "--seed 7 --threads 3"] {
            assert!(
                train("again", flags) == first,
                "{settings} {flags}: another model file than with --seed 7"
            );
        }
        assert!(train("other", "--seed 8") != first, "{settings}: seeds 7 and 8 give the same model file");
    }
}

#[test]
fn scores_and_metrics_do_not_depend_on_the_number_of_threads() {
    let shared = demo::trained();
    let evaluate = |threads: usize| {
        let out = format!("threads-{threads}");
        let line = format!(
            "simplenet --threads {threads} eval --model out/model.safetensors --data demo/oak_plank --output {out}"
        );
        run(shared.path(), &line).ok();
        let mut metrics = json(&shared.path().join(&out).join("metrics.json"));
        metrics.as_object_mut().unwrap().remove("inference_ms").expect("a time");
        (metrics, scores(&shared.path().join(&out)))
    };
    let one = evaluate(1);
    for threads in [2, 3] {
        assert_eq!(evaluate(threads), one, "{threads} threads");
    }
}

#[test]
fn scores_do_not_depend_on_the_order_of_files() {
    let shared = demo::trained();
    let names = ["test/stain/000.png", "test/good/001.png", "test/dent/000.png"];
    let infer = |order: &[usize], out: &str| {
        let inputs: Vec<String> =
            order.iter().map(|&i| format!("--input demo/oak_plank/{}", names[i])).collect();
        let line =
            format!("simplenet infer --model out/model.safetensors --output {out} {}", inputs.join(" "));
        run(shared.path(), &line).ok();
        scores(&shared.path().join(out))
    };
    let all = infer(&[0, 1, 2], "forwards");
    assert_eq!(all.len(), 3);
    assert_eq!(infer(&[2, 1, 0], "backwards"), all);
    let alone: BTreeMap<String, Value> = (0..3).flat_map(|i| infer(&[i], "alone")).collect();
    assert_eq!(alone, all, "a photograph alone has another score than among others");

    // The metrics of a whole test set, in any order.
    let detector = detector::open(&shared.path().join("out/model.safetensors"));
    let test = mvtec::load_category(&shared.path().join("demo/oak_plank")).unwrap().test;
    let forwards = metrics(&detector, &test);
    assert!(forwards.pixel_AUPRO.is_some() && forwards.image_AUROC.is_some(), "{forwards:?}");
    for turns in 1..test.len() {
        let mut order = test.clone();
        order.rotate_left(turns);
        order.reverse();
        assert_eq!(metrics(&detector, &order), forwards, "rotated by {turns} and reversed");
    }
}

/// A photograph as its file, as a decoded image and as bytes: one verdict.
#[test]
fn pixels_in_memory_are_inspected_as_their_file_is() {
    let shared = demo::trained();
    let detector = detector::open(&shared.path().join("out/model.safetensors"));
    let photograph = image::open(shared.path().join("demo/oak_plank/test/stain/000.png")).unwrap().to_rgb8();
    let (width, height) = photograph.dimensions();
    let decoded = detector.inspect(&photograph).unwrap();
    let bytes = detector.inspect_rgb(width, height, photograph.as_raw()).unwrap();
    assert_eq!((bytes.score, &bytes.map, &bytes.regions), (decoded.score, &decoded.map, &decoded.regions));
    run(shared.path(), "simplenet infer --model out/model.safetensors --input demo/oak_plank/test/stain/000.png --output one").ok();
    let of_file = scores(&shared.path().join("one"));
    let of_file = of_file.values().next().unwrap()[0].as_f64().unwrap();
    assert_eq!(of_file as f32, decoded.score);
    let refused = detector.inspect_rgb(width, height + 1, photograph.as_raw()).unwrap_err().to_string();
    assert!(refused.contains("the photograph's pixels") && refused.contains("bytes"), "{refused}");
}

fn metrics(detector: &Detector, samples: &[Sample]) -> Metrics {
    let take = |_: &Evaluated, (): ()| Ok::<_, TrainError>(());
    evaluate(detector, samples, MaskRule::Half, &Silent, |_, _, _| (), take).unwrap().metrics
}

/// What a run found in each photograph: score, verdict and regions, bit for bit as the file has them.
fn scores(folder: &Path) -> BTreeMap<String, Value> {
    predictions(folder)
        .iter()
        .map(|line| {
            let found = serde_json::json!([line["score"], line["verdict"], line["regions"]]);
            (line["path"].as_str().unwrap().to_string(), found)
        })
        .collect()
}
