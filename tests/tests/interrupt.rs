//! Trainings that a person stops or the system kills, as programs: how they end, what they leave, and that the next run ends
//! with the same model as one that was never interrupted.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use simplenet_tests::{
    demo,
    files::{json, names},
    program::{Running, run, start},
};
use tempfile::TempDir;

/// 400 small steps, each of them kept: so many that a signal comes in the middle.
const QUICK: &str = "hidden = 16\ndiscriminators = 2\nbatch = { patches = { size = 256, steps = 20 } }\n";
const TRAIN: &str =
    "simplenet train --data demo/oak_plank --config quick.toml --size 96 --epochs 20 --save-every 0";

/// The demo set and the settings.
fn folder() -> TempDir {
    let folder = demo::folder();
    fs::write(folder.path().join("quick.toml"), QUICK).unwrap();
    folder
}

/// Waits until `path` exists.
fn wait_for(path: &Path, running: &mut Running) {
    let begin = Instant::now();
    while !path.exists() {
        assert!(running.is_running(), "it ended before {} was there", path.display());
        assert!(begin.elapsed() < Duration::from_secs(300), "{} does not appear", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_training_goes_on_after_ctrl_c_and_after_a_kill() {
    let folder = folder();
    let root = folder.path();
    let state = |out: &str| root.join(out).join("checkpoint.state");
    run(root, &format!("{TRAIN} --out whole --tensorboard")).ok();
    let files = ["config.toml", "model.safetensors", "tensorboard", "training.json"];
    assert_eq!(names(&root.join("whole")), files, "no state is left");
    let model = |out: &str| fs::read(root.join(out).join("model.safetensors")).unwrap();
    let losses = |out: &str| json(&root.join(out).join("training.json"))["losses"].clone();

    for (signal, code) in [("INT", Some(130)), ("TERM", Some(130)), ("KILL", None)] {
        let out = format!("out-{signal}");
        let line = format!("{TRAIN} --out {out}");
        let mut running = start(root, &line);
        wait_for(&state(&out), &mut running);
        running.signal(signal);
        let finished = running.finish();
        assert_eq!(finished.code, code, "{signal}: {finished:?}");
        assert!(!root.join(&out).join("model.safetensors").exists(), "{signal}: it was not in the middle");
        if code.is_some() {
            let words =
                ["stopped after step ", " of 400, which ", "checkpoint.state keeps: the same command"];
            finished
                .check(words.iter().all(|word| finished.err.contains(word)), "it should say how to go on");
            finished.check(!finished.err.contains("error"), "what was asked for is no error");
        }
        let again = run(root, &line).ok();
        again.check(again.err.contains("going on after step "), "it should say that it goes on");
        assert!(model(&out) == model("whole"), "{signal}: the models differ");
        assert_eq!(losses(&out), losses("whole"), "{signal}");
        assert_eq!(
            names(&root.join(&out)),
            ["config.toml", "model.safetensors", "training.json"],
            "{signal}"
        );
    }

    // Other settings begin anew and say so; --fresh begins anew without a word.
    for (flags, said) in [("--seed 3", Some("its settings were others; beginning anew")), ("--fresh", None)] {
        let mut running = start(root, &format!("{TRAIN} --out anew"));
        wait_for(&state("anew"), &mut running);
        running.signal("KILL");
        running.finish();
        let again =
            run(root, &format!("{TRAIN} --out anew {flags} --epochs 2").replacen("--epochs 20", "", 1)).ok();
        match said {
            Some(words) => again.check(again.err.contains(words), &format!("it should say `{words}`")),
            None => again.check(!again.err.contains("checkpoint.state"), "nothing to say"),
        }
        assert!(!state("anew").exists());
    }
}

#[test]
fn train_all_stops_at_once_and_keeps_what_is_complete() {
    let folder = folder();
    let root = folder.path();
    let line = "xtask train-all --data demo --categories coated_tablet,oak_plank --config quick.toml --size 96 --epochs 20 --save-every 0 --out";
    run(root, &format!("{line} whole")).ok();
    let mut running = start(root, &format!("{line} run"));
    wait_for(&root.join("run/oak_plank/checkpoint.state"), &mut running);
    running.signal("INT");
    let finished = running.finish();
    assert_eq!(finished.code, Some(130), "{finished:?}");
    finished.check(finished.err.contains("stopped"), "it should say so");
    finished.check(!finished.err.contains("error"), "what was asked for is no error");
    let again = run(root, &format!("{line} run")).ok().says(&["coated_tablet: complete, kept"]);
    again.check(again.err.contains("going on after step "), "it should say that it goes on");
    for category in ["coated_tablet", "oak_plank"] {
        let model = |run: &str| fs::read(root.join(run).join(category).join("model.safetensors")).unwrap();
        assert!(model("run") == model("whole"), "{category}: the models differ");
        assert!(!root.join("run").join(category).join("checkpoint.state").exists());
    }
}
