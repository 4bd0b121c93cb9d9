//! `--log-format json`: every verb's standard error is JSON, a line an event, and standard output is empty. And colours: none
//! with NO_COLOR, on a pseudo-terminal too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use simplenet_tests::{
    demo,
    program::{Finished, run},
};

/// The events of a run; nothing else may be in what it printed.
fn events(finished: &Finished) -> Vec<Value> {
    finished.check(finished.out.is_empty(), "standard output should be empty");
    let mut events = vec![];
    for line in finished.err.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let text = |name: &str| event[name].as_str().unwrap_or_else(|| panic!("no {name} in {line}"));
        let time = text("time");
        assert!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
        assert!(["info", "warn", "error"].contains(&text("level")), "{line}");
        assert!(!text("event").is_empty() && !text("message").contains('\u{1b}'), "{line}");
        // A field that had to make way would have this name.
        for name in ["time_", "level_", "event_", "message_"] {
            assert!(event.get(name).is_none(), "{name} in {line}");
        }
        events.push(event);
    }
    assert!(!events.is_empty(), "{}: no events", finished.line);
    events
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

#[test]
fn every_verb_tells_json() {
    let shared = demo::trained();
    let json = |line: &str, code: i32| {
        let finished = run(shared.path(), &format!("simplenet {line} --log-format json"));
        finished.check(finished.code == Some(code), &format!("exit code {code}"));
        events(&finished)
    };
    let model = "--model out/model.safetensors";

    let train = json("train --data demo/oak_plank --out log/model --size 96 --epochs 2", 0);
    let progress = named(&train, "progress");
    assert!(progress.iter().all(|event| event["done"].is_u64() && event.get("seconds_left").is_some()));
    let last =
        progress.iter().rev().find(|event| event["message"] == "training").expect("progress of the training");
    assert_eq!(last["done"], last["total"], "{last}");
    assert_eq!(named(&train, "model")[0]["path"], "log/model/model.safetensors");
    assert_eq!(named(&train, "training")[0]["losses"].as_array().unwrap().len(), 2);
    assert!(train.iter().any(|event| event["level"] == "warn"), "eight photographs are few: {train:?}");

    fs::create_dir_all(shared.path().join("log/in")).unwrap();
    fs::copy(shared.path().join("demo/oak_plank/test/good/000.png"), shared.path().join("log/in/a.png"))
        .unwrap();
    fs::write(shared.path().join("log/in/b.png"), "no photograph").unwrap();
    let infer = json(&format!("infer {model} --input log/in --output log/seen"), 1);
    let [good, bad] = named(&infer, "photograph")[..] else { panic!("two photographs: {infer:?}") };
    assert!(
        good["score"].is_f64() && good["verdict"].is_string() && good["path"] == "log/in/a.png",
        "{good}"
    );
    assert!(bad["level"] == "error" && bad["path"] == "log/in/b.png" && bad["error"].is_string(), "{bad}");
    assert_eq!(named(&infer, "summary")[0]["failed"], 1);
    assert_eq!(named(&infer, "failed")[0]["exit_code"], 1);

    let eval = json(&format!("eval {model} --data demo/oak_plank"), 0);
    assert!(named(&eval, "metrics")[0]["image_AUROC"].is_f64());
    let calibrate = json(
        &format!("calibrate {model} --normal demo/oak_plank/train/good --out log/calibrated.safetensors"),
        0,
    );
    assert!(named(&calibrate, "calibration")[0]["threshold"]["value"].is_f64());
    let bench = json(&format!("bench {model} --input demo/oak_plank/test/good --repeats 2"), 0);
    assert!(named(&bench, "bench")[0]["one_at_a_time"]["images_per_second"].is_f64());
    assert_eq!(named(&json(&format!("info {model}"), 0), "info")[0]["backbone"], "efficientnet-lite0");
    assert!(
        json(&format!("verify {model}"), 0)
            .iter()
            .any(|event| event["message"] == "out/model.safetensors: verified")
    );
    json(&format!("export {model} --format onnx --out log/model.onnx"), 0);
    let checked = json("data check demo/oak_plank", 0);
    assert_eq!(named(&checked, "data_set")[0]["layout"], "mvtec");
    json("man --out log/man", 0);
}

#[test]
fn errors_are_events_with_their_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("wrong.toml"), "log_format = \"json\"\n[info]\nmodle = \"a\"\n").unwrap();
    fs::write(folder.path().join("right.toml"), "log_format = \"json\"\n").unwrap();
    for (line, code, word) in [
        ("info --model absent --log-format json", 1, "absent"),
        ("--log-format=json info --modle a", 2, "'--modle'"),
        ("infer --map-format gif --log-format json", 2, "gif"),
        ("info --config wrong.toml --log-format json", 1, "`modle`"),
        ("info --config right.toml", 1, "no model.safetensors"),
        ("train --config right.toml", 2, "--normal"),
    ] {
        let finished = run(folder.path(), &format!("simplenet {line}")).fails(code, &[]);
        let events = events(&finished);
        let [error] = &events[..] else { panic!("{line}: {events:?}") };
        assert!(error["level"] == "error" && error["event"] == "error", "{error}");
        assert_eq!(error["exit_code"], code, "{error}");
        assert!(error["message"].as_str().unwrap().contains(word), "{error}");
    }
    // Data is data in either form.
    for line in ["infer --print-config", "completions bash", "man", "--help"] {
        let json = run(folder.path(), &format!("simplenet --log-format json {line}")).ok();
        json.check(json.err.is_empty() && json.out.len() > 500, "all of it on standard output");
    }
}

#[test]
fn tasks_tell_json_too() {
    let folder = demo::folder();
    let finished = run(
        folder.path(),
        "xtask train-all --data demo --categories oak_plank --size 96 --epochs 2 --out run --log-format json",
    );
    finished.check(finished.code == Some(0), "it should succeed");
    let events = events(&finished);
    assert!(named(&events, "metrics")[0]["image_AUROC"].is_f64(), "{events:?}");
    assert!(
        named(&events, "progress").iter().any(|event| event["context"] == "[1/1] oak_plank"),
        "{events:?}"
    );
}

/// What the program writes to a terminal, by `script` of util-linux; `None` where there is none, which is said.
fn on_a_terminal(folder: &Path, line: &str, no_color: Option<&str>) -> Option<String> {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: no `script` (util-linux), which makes a pseudo-terminal");
        return None;
    }
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(Path::parent).unwrap().join("simplenet");
    let mut command = Command::new("script");
    command.args(["-qec", &format!("{} {line}", program.display()), "/dev/null"]).current_dir(folder);
    command.env("TERM", "xterm-256color").env("XDG_CACHE_HOME", folder.join("cache"));
    for name in ["NO_COLOR", "CLICOLOR_FORCE", "CLICOLOR"] {
        command.env_remove(name);
    }
    if let Some(value) = no_color {
        command.env("NO_COLOR", value);
    }
    Some(String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned())
}

/// Whether text sets a colour: an escape sequence `ESC [ … m` that is more than a reset.
fn has_colour(text: &str) -> bool {
    text.split("\u{1b}[").skip(1).any(|rest| {
        let parameters: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == ';').collect();
        rest[parameters.len()..].starts_with('m') && !["", "0"].contains(&parameters.as_str())
    })
}

#[test]
fn no_color_is_honoured_on_a_terminal() {
    assert!(has_colour("a\u{1b}[36mb\u{1b}[0m") && !has_colour("a\u{1b}[2Kb\u{1b}[0m\u{1b}[1A"));
    let shared = demo::trained();
    let model = "--model out/model.safetensors";
    let mut coloured = 0;
    for line in [
        "--help".to_string(),
        "infer --no-such-flag".into(),
        format!("infer {model} --input demo/oak_plank/test --output terminal"),
        format!("eval {model} --data demo/oak_plank"),
        format!("bench {model} --input demo/oak_plank/test/good --repeats 40"),
        format!("info {model}"),
        "train --data demo/oak_plank --out terminal-model --size 96 --epochs 2 --no-feature-cache".into(),
    ] {
        let Some(with) = on_a_terminal(shared.path(), &line, None) else { return };
        coloured += usize::from(has_colour(&with));
        let without = on_a_terminal(shared.path(), &line, Some("1")).unwrap();
        assert!(!without.is_empty() && !has_colour(&without), "{line}: {without:?}");
        let json = on_a_terminal(shared.path(), &format!("{line} --log-format json"), None).unwrap();
        if !line.starts_with("--help") {
            assert!(!json.contains('\u{1b}'), "{line}: {json:?}");
        }
    }
    let empty = on_a_terminal(shared.path(), "--help", Some("")).unwrap();
    assert!(has_colour(&empty), "an empty NO_COLOR is none: {empty:?}");
    assert!(coloured >= 3, "help, errors and bars have colours without NO_COLOR, or this test sees nothing");
}
