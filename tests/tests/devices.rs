//! `--device` and `--batch` as a person uses them, and batches through the detector and the verbs: on the CPU, by the plain form
//! of the network that GPUs run, against the network that the CPU runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{
    fs,
    path::{Path, PathBuf},
};

use candle_core::Device;
use clap::Parser;
use image::{RgbImage, imageops};
use simplenet_cli::{
    CliError,
    args::{Cli, Verb},
    commands::{bench_batches, eval, infer},
    inputs::Input,
    progress::TerminalProgress,
};
use simplenet_inference::{
    Detector, DetectorOptions, InferenceError, InferencePrecision, Inspected, Inspection, inspect_stream,
};
use simplenet_model::{
    DeviceChoice,
    checkpoint::{self, Threshold},
};
use simplenet_tests::{
    demo,
    detector::{self, open},
    files::{json, predictions, text},
    program::run,
};
use simplenet_train::{
    Silent,
    calibration::{Rates, TooFew, recalibrate},
};

/// How far the batches' numbers may lie from the CPU's, as a share of the largest: both sum thousands of f32 products, in
/// different orders.
const TOLERANCE: f32 = 1e-4;

/// The model of [`demo::trained`] in batches.
fn in_batches(root: &Path, change: impl FnOnce(&mut DetectorOptions)) -> Detector {
    detector::open_with(&root.join("out/model.safetensors"), |options| {
        options.batches_on_cpu = true;
        change(options);
    })
}

/// The demo's test photographs, three of them resized: 7 of several sizes.
fn photographs(root: &Path) -> Vec<RgbImage> {
    let mut images = vec![];
    for (i, path) in test_images(root).iter().enumerate() {
        let image = image::open(path).unwrap().to_rgb8();
        images.push(match i % 3 {
            1 => imageops::resize(&image, 130 + i as u32, 80, imageops::FilterType::Triangle),
            _ => image,
        });
    }
    assert_eq!(images.len(), 7);
    images
}

fn test_images(root: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = walk(&root.join("demo/oak_plank/test"));
    paths.sort();
    paths
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// Largest difference, as a share of the largest number; NaN in the same places.
fn distance(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().filter(|v| !v.is_nan()).fold(0f32, |most, v| most.max(v.abs()));
    let apart = |(a, b): (&f32, &f32)| if a.is_nan() && b.is_nan() { 0.0 } else { (a - b).abs() };
    let most = got.iter().zip(want).map(apart).fold(0f32, |most, v| if v.is_nan() { v } else { most.max(v) });
    most / largest
}

fn bits(inspections: &[Inspection]) -> Vec<Vec<u32>> {
    let of = |i: &Inspection| {
        i.map.iter().chain([&i.score]).chain(&i.photograph_map).map(|v| v.to_bits()).collect()
    };
    inspections.iter().map(of).collect()
}

#[test]
fn batches_give_the_verdicts_and_scores_of_the_cpu_whatever_their_size() {
    let shared = demo::trained();
    let photographs = photographs(shared.path());
    let model = shared.path().join("out/model.safetensors");
    let single = open(&model);
    assert_eq!((single.device(), single.batch(), single.takes_batches()), ("CPU", 1, false));
    // A threshold between the photographs' scores, so that both verdicts come up.
    let mut scores: Vec<f32> = single.inspect_batch(&photographs).unwrap().iter().map(|i| i.score).collect();
    scores.sort_unstable_by(f32::total_cmp);
    let threshold = 0.5 * (scores[2] + scores[3]);
    let single = detector::open_with(&model, |options| options.threshold = Some(threshold));
    let want = single.inspect_batch(&photographs).unwrap();
    assert_eq!(want.iter().filter(|i| i.regions.is_empty()).count(), 3);
    let one_by_one: Vec<Inspection> = photographs.iter().map(|p| single.inspect(p).unwrap()).collect();
    assert_eq!(bits(&want), bits(&one_by_one), "on the CPU there are no batches");

    let batches = in_batches(shared.path(), |options| options.threshold = Some(threshold));
    assert_eq!(batches.batch(), simplenet_inference::BATCH);
    let got = batches.inspect_batch(&photographs).unwrap();
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        let far = (got.score - want.score).abs() / want.score.abs().max(1.0);
        assert!(far <= TOLERANCE, "photograph {i}: score {} for {}", got.score, want.score);
        let far = distance(&got.map, &want.map).max(distance(&got.photograph_map, &want.photograph_map));
        assert!(far <= TOLERANCE, "photograph {i}: maps are {far} apart");
        assert_eq!(got.score >= threshold, want.score >= threshold, "photograph {i}");
        assert_eq!(got.regions.is_empty(), want.regions.is_empty(), "photograph {i}");
        assert_eq!(got.placement, want.placement);
        assert!(got.times.network > std::time::Duration::ZERO);
        assert_eq!((&got.note, got.decision), (&None, want.decision));
    }
    let exact = bits(&got);
    for batch in [1, 3, 4] {
        let detector = in_batches(shared.path(), |options| options.batch = Some(batch));
        assert_eq!(detector.batch(), batch);
        assert_eq!(bits(&detector.inspect_batch(&photographs).unwrap()), exact, "batches of {batch}");
    }
    let alone = bits(&[batches.inspect(&photographs[4]).unwrap()]);
    assert_eq!(alone[..], exact[4..5], "one photograph alone");
    assert!(batches.inspect_batch(&[]).unwrap().is_empty());
}

#[test]
fn files_come_in_order_and_one_that_cannot_be_read_spoils_only_itself() {
    let shared = demo::trained();
    let folder = shared.path().join("in-order");
    fs::create_dir_all(&folder).unwrap();
    let broken = folder.join("broken.png");
    fs::write(&broken, "not a photograph").unwrap();
    let mut paths = test_images(shared.path());
    paths.insert(2, broken.clone());
    paths.push(folder.join("absent.png"));
    let inspect = |detector: &Detector, threads: usize| {
        let mut got = vec![];
        let finish = |&(i, _): &(usize, &PathBuf), inspected: Result<Inspected, InferenceError>| {
            (i, inspected.map(|it| it.inspection.score.to_bits()).map_err(|error| error.to_string()))
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            inspect_stream(detector, paths.iter().enumerate(), finish, |(i, _), (same, result)| {
                assert_eq!((i, i), (same, got.len()));
                got.push(result);
                Ok::<_, InferenceError>(())
            })
        })
        .unwrap();
        got
    };
    let want = inspect(&in_batches(shared.path(), |_| {}), 2);
    assert_eq!(want.len(), paths.len());
    for (path, result) in paths.iter().zip(&want) {
        if path.starts_with(&folder) {
            let message = result.as_ref().unwrap_err();
            assert!(message.contains(&path.display().to_string()), "{message}");
        } else {
            assert!(result.is_ok(), "{}: {result:?}", path.display())
        }
    }
    for (batch, threads) in [(1, 1), (2, 3), (3, 1)] {
        let detector = in_batches(shared.path(), |options| options.batch = Some(batch));
        assert_eq!(inspect(&detector, threads), want, "batches of {batch} on {threads} threads");
    }
    // What the caller cannot go on with ends it.
    for detector in [in_batches(shared.path(), |_| {}), open(&shared.path().join("out/model.safetensors"))] {
        let mut seen = 0;
        let stopped = inspect_stream(
            &detector,
            &paths,
            |_, _| (),
            |_, ()| {
                seen += 1;
                if seen < 2 { Ok(()) } else { Err(InferenceError::NoActivationRanges) }
            },
        );
        assert!(matches!(stopped, Err(InferenceError::NoActivationRanges)) && seen == 2, "{seen}");
    }
}

#[test]
fn the_verbs_write_the_same_in_batches() {
    let shared = demo::trained();
    let folder = shared.path().join("verbs-in-batches");
    fs::create_dir_all(folder.join("photographs")).unwrap();
    for (i, path) in test_images(shared.path()).iter().enumerate() {
        fs::copy(path, folder.join(format!("photographs/{i}.png"))).unwrap();
    }
    fs::write(folder.join("photographs/2b.png"), "not a photograph").unwrap();
    let model = shared.path().join("out/model.safetensors");
    let (input, data) = (folder.join("photographs"), shared.path().join("demo/oak_plank"));
    let progress = TerminalProgress::plain();
    let line = |words: &[&str]| Cli::parse_from([&["simplenet"], words].concat()).verb;
    let path = |path: &Path| path.display().to_string();

    let (cpu, batched) = (folder.join("cpu"), folder.join("batched"));
    let infer_into = |out: &Path| {
        let (model, input, out) = (path(&model), path(&input), path(out));
        match line(&["infer", "--model", &model, "--input", &input, "--output", &out, "--device", "cpu"]) {
            Verb::Infer(args) => args,
            other => panic!("{other:?}"),
        }
    };
    let want = infer::run(&infer_into(&cpu), &progress).unwrap();
    let detector = in_batches(shared.path(), |options| options.batch = Some(3));
    let got = infer::with_detector(&infer_into(&batched), &model, &detector, &progress).unwrap();
    assert_eq!((got, got.failed), (want, 1));
    let (want, got) = (predictions(&cpu), predictions(&batched));
    assert_eq!(got.len(), 8);
    for (got, want) in got.iter().zip(&want) {
        assert_eq!(got["path"], want["path"]);
        assert_eq!(got.get("error"), want.get("error"));
        if got.get("error").is_some() {
            continue;
        }
        for same in ["verdict", "heatmap", "anomaly_map", "image_size", "device", "precision"] {
            assert_eq!(got[same], want[same], "{same}");
        }
        assert_eq!(text(got, "device"), "CPU");
        let [got_score, want_score] = [got, want].map(|line| line["score"].as_f64().unwrap());
        assert!((got_score - want_score).abs() <= 1e-4 * want_score.abs().max(1.0), "{got}");
        for file in ["heatmap", "anomaly_map"] {
            assert!(batched.join(text(got, file)).is_file(), "{file} of {got}");
        }
    }

    let eval_args = |out: &str| {
        let (model, data, out) = (path(&model), path(&data), path(&folder.join(out)));
        match line(&["eval", "--model", &model, "--data", &data, "--output", &out, "--device", "cpu"]) {
            Verb::Eval(args) => args,
            other => panic!("{other:?}"),
        }
    };
    let want = eval::run(&eval_args("eval-cpu"), &progress).unwrap();
    let got = eval::with_detector(&eval_args("eval-batched"), &detector, &progress).unwrap();
    assert_eq!((want.device.as_str(), want.batch, got.batch), ("CPU", 1, 3));
    assert_eq!(json(&folder.join("eval-batched/metrics.json"))["batch"], 3);
    assert_eq!(got.metrics.image_AUROC, want.metrics.image_AUROC);
    let (a, b) = (got.metrics.pixel_AUPRO.unwrap(), want.metrics.pixel_AUPRO.unwrap());
    assert!((a - b).abs() < 1e-3, "AUPRO {a} for {b}");
    let order =
        |folder: PathBuf| predictions(&folder).iter().map(|line| line["path"].clone()).collect::<Vec<_>>();
    assert_eq!(order(folder.join("eval-batched")), order(folder.join("eval-cpu")));
}

#[test]
fn thresholds_set_in_batches_are_those_of_the_cpu() {
    let shared = demo::trained();
    let good = walk(&shared.path().join("demo/oak_plank/test/good"));
    let good = [good, walk(&shared.path().join("demo/oak_plank/train/good"))].concat();
    let rates = Rates { false_reject: 0.1, review: 0.1 };
    let mut single = open(&shared.path().join("out/model.safetensors"));
    let mut batches = in_batches(shared.path(), |options| options.batch = Some(4));
    let [want, got] = [&mut single, &mut batches].map(|detector| {
        let scores = recalibrate(detector, rates, &good, TooFew::Estimate, &Silent).unwrap();
        let scores: Vec<f32> = scores.iter().map(|image| image.score).collect();
        let Threshold { value, map_value, review, .. } = detector.record().threshold.unwrap();
        let review = review.unwrap();
        [scores, vec![value, map_value, review.value, review.map_value]].concat()
    });
    assert_eq!(want.len(), good.len() + 4);
    assert!(distance(&got, &want) <= TOLERANCE, "{got:?} for {want:?}");
}

#[test]
fn bench_measures_each_batch_that_it_is_asked_for() {
    let shared = demo::trained();
    let inputs: Vec<Input> = test_images(shared.path())
        .into_iter()
        .map(|path| Input { path, name: "".into(), problem: None })
        .collect();
    let turns: Vec<&Input> = inputs.iter().take(2).collect();
    let progress = TerminalProgress::plain();
    let with_batch = |batch| Ok(in_batches(shared.path(), |options| options.batch = Some(batch)));
    let batches = bench_batches::measure(with_batch, &turns, &[1, 2], &progress).unwrap();
    let sizes: Vec<_> = batches.iter().map(|b| (b.batch, b.network.runs, b.inspection.inspections)).collect();
    assert_eq!(sizes, [(1, 2, 8), (2, 2, 16)]);
    for batch in &batches {
        let times = batch.network.milliseconds;
        assert!(0.0 < times.p50 && times.p50 <= times.p95 && times.p95 <= times.max, "{times:?}");
        let slowest = 1e3 * batch.batch as f64 / times.max;
        assert!(batch.network.images_per_second >= 0.99 * slowest, "{batch:?}");
        assert!(batch.inspection.images_per_second > 0.0);
    }
    let bench =
        "simplenet bench --model out/model.safetensors --repeats 1 --device cpu --json no-batches.json";
    run(shared.path(), bench).ok();
    let bench = json(&shared.path().join("no-batches.json"));
    assert_eq!(bench.get("batches"), None, "there are no batches on the CPU");
    let mut absent = inputs[0].clone();
    absent.path.set_extension("absent");
    let failed = bench_batches::measure(with_batch, &[&absent], &[1], &progress);
    assert!(matches!(failed, Err(CliError::Data(_))), "{:?}", failed.err());
}

#[test]
fn each_device_refuses_what_it_cannot_do() {
    let shared = demo::trained();
    let (net, record) = checkpoint::load(&shared.path().join("out/model.safetensors"), &Device::Cpu).unwrap();
    use InferencePrecision::{Bf16, F16, F32, Int8};
    for precision in [Bf16, Int8] {
        let batched = detector::options(|options| {
            (options.batches_on_cpu, options.precision) = (true, precision);
        });
        let error = Detector::from_network(&net, record.clone(), &batched).err().unwrap();
        let message = error.to_string();
        assert!(message.contains(precision.name()) && message.contains("take f16"), "{message}");
    }
    let f16 = detector::options(|options| options.precision = F16);
    let error = Detector::from_network(&net, record.clone(), &f16).err().unwrap().to_string();
    assert!(error.contains("f16 is for GPUs") && error.contains("take bf16"), "{error}");
    for precision in [F32, F16] {
        let detector = in_batches(shared.path(), |options| options.precision = precision);
        assert_eq!(detector.precision(), precision);
    }

    let flags = "--model out/model.safetensors";
    for verb in ["infer --input demo", "eval --data demo/oak_plank", "bench --input demo"] {
        let f16 = format!("simplenet {verb} {flags} --device cpu --precision f16");
        run(shared.path(), &f16).refused(&["f16 is for GPUs", "bf16"]);
        let batch = format!("simplenet {verb} {flags} --device cpu --batch 4");
        run(shared.path(), &batch).refused(&["--batch 4 is for GPUs", "--device cuda"]);
        run(shared.path(), &format!("simplenet {verb} {flags} --batch 0")).fails(2, &["--batch"]);
    }
    run(shared.path(), &format!("simplenet bench --input demo {flags} --device cpu --batch 1,16"))
        .refused(&["--batch 16"]);
    for verb in [
        format!("infer --input demo {flags}"),
        format!("eval --data demo/oak_plank {flags}"),
        format!("bench --input demo {flags}"),
        format!("calibrate --normal demo/oak_plank/test/good {flags}"),
        "train --data demo/oak_plank --out never".into(),
    ] {
        // No machine has so many GPUs.
        let refused = run(shared.path(), &format!("simplenet {verb} --device cuda:4096"));
        let refused = refused.refused(&["cuda:4096: ", "--device cpu"]);
        if DeviceChoice::default() == DeviceChoice::Cpu {
            refused.check(refused.err.contains("built without CUDA"), "it should say why");
        }
        for (device, word) in [("gpu", "`gpu` is not a device"), ("cuda:x", "`x` is not the number")] {
            run(shared.path(), &format!("simplenet {verb} --device {device}")).fails(2, &["--device", word]);
        }
    }
    assert!(!shared.path().join("never").exists());
}

#[test]
fn auto_falls_back_to_the_cpu_and_says_so() {
    if DeviceChoice::default() != DeviceChoice::Cpu {
        return eprintln!("skipped: this build may find a GPU");
    }
    let shared = demo::trained();
    let flags = "--model out/model.safetensors --input demo/oak_plank/test/good --output auto";
    let quiet = run(shared.path(), &format!("simplenet infer {flags} --device cpu")).ok();
    quiet.check(quiet.err.is_empty(), "the CPU needs no words");
    let exact = predictions(&shared.path().join("auto"));
    let auto = run(shared.path(), &format!("simplenet infer {flags} --device auto --batch 16")).ok();
    for words in ["auto: computing on the CPU", "built without CUDA", "--batch 16 is left aside"] {
        auto.check(auto.err.matches(words).count() == 1, &format!("it should say `{words}` once"));
    }
    for (got, want) in predictions(&shared.path().join("auto")).iter().zip(&exact) {
        assert_eq!((&got["score"], &got["device"]), (&want["score"], &"CPU".into()));
    }
    let bench =
        "simplenet bench --model out/model.safetensors --repeats 1 --device auto --json auto/bench.json";
    run(shared.path(), bench).ok();
    let bench = json(&shared.path().join("auto/bench.json"));
    assert_eq!((text(&bench, "device"), bench.get("batches")), ("CPU", None));
}
