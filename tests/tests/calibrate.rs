//! `simplenet calibrate` as a person uses it: thresholds that do to the photographs what they were set for, the band in every
//! later verb, and what it says and refuses when the photographs do not serve.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{
    fs,
    sync::{Arc, LazyLock, Mutex},
};

use serde_json::Value;
use simplenet_data::synthetic::{DemoOptions, write_demo};
use simplenet_tests::{
    demo,
    files::{json, keys, lines, text},
    program::run,
};
use tempfile::TempDir;

/// Good photographs to calibrate on.
const GOOD: usize = 30;

/// The folder of a trained model, with [`GOOD`] more photographs of the same kind of part in `more/`.
fn folder() -> Arc<TempDir> {
    static MORE: LazyLock<TempDir> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut options = DemoOptions::default();
        (options.image_size, options.train_good, options.test_good, options.test_per_defect) =
            (96, GOOD, 1, 1);
        options.seed += 1;
        write_demo(folder.path(), &options, &|_, _| {}).unwrap();
        folder
    });
    static COPYING: Mutex<()> = Mutex::new(());
    let _only_one = COPYING.lock().unwrap();
    let folder = demo::trained();
    if !folder.path().join("more").exists() {
        demo::copy(&MORE.path().join("oak_plank/train/good"), &folder.path().join("more"));
    }
    folder
}

#[test]
fn thresholds_do_what_they_were_set_for() {
    let shared = folder();
    let root = shared.path();
    fs::create_dir_all(root.join("set")).unwrap();
    let before = fs::read(root.join("out/model.safetensors")).unwrap();
    fs::copy(root.join("out/model.safetensors"), root.join("set/model.safetensors")).unwrap();
    // 31 places in the order of 30 and the next one: 3 of them are at most 10 %, 6 at most 20 %.
    let rates = "--false-reject 10% --review 0.1";
    run(
        root,
        &format!("simplenet calibrate --model set/model.safetensors --normal more {rates} --json set/c.json"),
    )
    .ok()
    .says(&["calibrated on 30 photographs", "2 of 30", "5 of 30", "before: threshold", "model: set/model"])
    .check_quiet();
    let report = json(&root.join("set/c.json"));
    assert_eq!(
        (&report["rejected"]["images"], &report["rejected_or_reviewed"]["images"]),
        (&2.into(), &5.into())
    );
    assert_eq!(report["rejected"]["enough"], true);
    let scores = report["scores"].as_array().unwrap();
    assert_eq!(scores.len(), GOOD);
    let score = |i: usize| scores[i]["score"].as_f64().unwrap();
    assert!((1..GOOD).all(|i| score(i) <= score(i - 1)), "highest first: {scores:?}");
    let border = |name: &str| report[name]["score"].as_f64().unwrap();
    assert!(score(1) >= border("rejected") && border("rejected") > score(2));
    assert!(score(4) >= border("rejected_or_reviewed") && border("rejected_or_reviewed") > score(5));

    run(root, "simplenet infer --model set/model.safetensors --input more --output set/o")
        .ok()
        .says(&["25 pass, 3 review, 2 reject, 0 failed", "review     score"]);
    for line in lines(&root.join("set/o/predictions.jsonl")) {
        let same = |entry: &&Value| entry["path"] == line["path"];
        assert_eq!(scores.iter().find(same).unwrap()["score"], line["score"], "{line}");
        let decision = text(&line, "decision");
        let wanted = match line["score"].as_f64().unwrap() {
            high if high >= border("rejected") => ("reject", "anomalous"),
            middle if middle >= border("rejected_or_reviewed") => ("review", "normal"),
            _ => ("pass", "normal"),
        };
        assert_eq!((decision, text(&line, "verdict")), wanted, "{line}");
        assert_eq!(line["review_threshold"], report["rejected_or_reviewed"]["score"]);
        let regions = line["regions"].as_array().unwrap();
        assert_eq!(regions.is_empty(), decision == "pass", "a person should see where to look: {line}");
    }
    run(root, "simplenet info --model set/model.safetensors").ok().says(&[
        "from 30 held-out good images",
        "target false-reject rate 10.00 %",
        "for review",
        "target 10.00 % of good parts",
        "threshold set by     simplenet",
    ]);
    run(root, "simplenet verify --model set/model.safetensors").ok();
    run(root, "simplenet eval --model set/model.safetensors --data demo/oak_plank --json set/e.json")
        .ok()
        .says(&["for review from"]);
    let review = json(&root.join("set/e.json"))["at_threshold"]["review"].clone();
    assert_eq!(keys(&review), ["threshold", "anomalous", "normal"]);

    // Only the record is another: without a band and into another file, the first one stays and predictions are as ever.
    let line = "simplenet calibrate --model out/model.safetensors --normal more --false-reject 10% --review 0 --out set/b.safetensors";
    run(root, line).ok().says(&["2 of 30", "model: set/b.safetensors"]);
    assert!(fs::read(root.join("out/model.safetensors")).unwrap() == before, "--out must leave the model");
    run(root, "simplenet infer --model set/b.safetensors --input more --output set/p")
        .ok()
        .says(&["28 normal, 2 anomalous, 0 failed"]);
    let absent = |line: &Value| line.get("decision").is_none() && line.get("review_threshold").is_none();
    assert!(lines(&root.join("set/p/predictions.jsonl")).iter().all(absent));
}

#[test]
fn what_does_not_serve_is_said_or_refused() {
    let shared = folder();
    let root = shared.path();
    // Before the photographs are inspected: there are none.
    let line =
        "simplenet calibrate --model out/model.safetensors --normal nowhere --out no/such/m.safetensors";
    run(root, line).refused(&["cannot be written to no/such", "--out FILE"]);
    for (name, count) in [("two", 2), ("five", 5), ("spoilt", 3)] {
        fs::create_dir_all(root.join(name)).unwrap();
        for i in 0..count {
            let file = format!("{i:03}.png");
            fs::copy(root.join("more").join(&file), root.join(name).join(&file)).unwrap();
        }
    }
    fs::write(root.join("spoilt/a.png"), "not a photograph").unwrap();
    fs::write(root.join("spoilt/b.jpg"), "").unwrap();
    fs::copy(root.join("out/model.safetensors"), root.join("kept.safetensors")).unwrap();
    let before = fs::read(root.join("kept.safetensors")).unwrap();
    let calibrate = |rest: &str| run(root, &format!("simplenet calibrate --model kept.safetensors {rest}"));
    for (rest, words) in [
        ("--normal spoilt", &["2 of 5 photographs", "spoilt/a.png", "spoilt/b.jpg"][..]),
        ("--normal two", &["at least 3 good image(s), 2 found"]),
        ("--normal five --strict --false-reject 0.5%", &["at least 199 good image(s), 5 found", "0.5 %"]),
        ("--normal nowhere", &["nowhere"]),
        ("--normal five --false-reject 0", &["false-reject", "above 0"]),
        ("--normal five --review 50%", &["review", "0.5 (50 %)"]),
    ] {
        calibrate(rest).refused(words);
        assert!(fs::read(root.join("kept.safetensors")).unwrap() == before, "{rest}");
    }
    calibrate("--normal five --false-reject 5").fails(2, &["write 5% for percent"]);
    // Too few for the rate: said, with how many it takes, and written.
    calibrate("--normal five --false-reject 0.5% --out few.safetensors").fails(
        0,
        &[
            "5 photographs are too few to promise rejecting at most 0.50 %",
            "takes 199",
            "up to 16.67 %",
            "not passing at most 5.50 %",
            "takes 18",
        ],
    );
    // The model's own training photographs score too low.
    calibrate("--normal five --out few.safetensors").check_says_nothing_of("trained on photographs");
    run(
        root,
        "simplenet calibrate --model out/model.safetensors --normal demo/oak_plank/train/good --out few.safetensors",
    )
    .fails(0, &["the model was trained on photographs in there"]);
}

/// Checks of this file's own on a run.
trait Checks {
    /// Nothing on standard error.
    fn check_quiet(self);
    /// These words nowhere.
    fn check_says_nothing_of(self, words: &str);
}

impl Checks for simplenet_tests::program::Finished {
    fn check_quiet(self) {
        self.check(self.err.is_empty(), "standard error should be empty");
    }

    fn check_says_nothing_of(self, words: &str) {
        self.check(
            !self.out.contains(words) && !self.err.contains(words),
            &format!("it should not say `{words}`"),
        );
    }
}

#[test]
fn a_threshold_chosen_on_known_defects_goes_into_the_model() {
    let shared = folder();
    let root = shared.path();
    fs::create_dir_all(root.join("hand")).unwrap();
    let evaluated = |model: &str, file: &str| {
        run(root, &format!("simplenet eval --model {model} --data demo/oak_plank --json {file}"))
            .ok()
            .says(&["chosen on these test images", "finds every defect", "rejects no good part", "best F1"]);
        json(&root.join(file))
    };
    let metrics = evaluated("out/model.safetensors", "hand/before.json");
    let chosen = &metrics["thresholds_chosen_on_test_data"];
    assert_eq!(chosen["finds_every_defect"]["true_positives"], metrics["test_anomalous"]);
    assert_eq!(chosen["rejects_no_good_part"]["false_positives"], 0);
    for name in ["f1_max", "finds_every_defect", "rejects_no_good_part"] {
        // The number as the file has it gives the counts that the file promises.
        let threshold = chosen[name]["threshold"].to_string();
        let call =
            "simplenet calibrate --model out/model.safetensors --out hand/m.safetensors --json hand/c.json";
        run(root, &format!("{call} --threshold {threshold}")).ok().says(&["chosen by hand"]).check_quiet();
        let report = json(&root.join("hand/c.json"));
        assert_eq!(report["threshold"]["value"].to_string(), threshold);
        assert_eq!(report["before"]["value"], metrics["at_threshold"]["threshold"]);
        let after = evaluated("hand/m.safetensors", "hand/after.json")["at_threshold"].clone();
        for count in ["true_positives", "false_positives"] {
            assert_eq!(after[count], chosen[name][count], "{name}");
        }
    }
    run(root, "simplenet info --model hand/m.safetensors").ok().says(&["chosen by hand, without a promise"]);
    // Far below, everything is rejected, and each has a region.
    run(
        root,
        "simplenet calibrate --model out/model.safetensors --out hand/low.safetensors --threshold -1000",
    )
    .ok();
    run(root, "simplenet infer --model hand/low.safetensors --input more --output hand/o --no-report")
        .ok()
        .says(&["0 normal, 30 anomalous"]);
    for line in lines(&root.join("hand/o/predictions.jsonl")) {
        assert!(!line["regions"].as_array().unwrap().is_empty(), "{line}");
    }
    for (flags, word) in [
        ("--threshold nan", "finite"),
        ("--threshold inf", "finite"),
        ("--threshold 3 --normal more", "cannot be used with"),
        ("", "--normal"),
    ] {
        run(root, &format!("simplenet calibrate --model out/model.safetensors {flags}")).fails(2, &[word]);
    }
}
