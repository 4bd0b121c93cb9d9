//! How `infer` and `eval` deal with what folders, people and systems do to a run: files that are no photographs, names of
//! every kind, signals, kills, a full disk. Nothing is lost, nothing is passed over in silence.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;
use simplenet_tests::{
    demo,
    files::{json, names, predictions, text},
    program::{run, shell, start},
};

const MODEL: &str = "--model out/model.safetensors";

/// A folder below the shared one with copies of two photographs: `000.png`, `001.png`, …
fn photographs(root: &Path, name: &str, count: usize) -> PathBuf {
    let folder = root.join(name);
    fs::create_dir_all(&folder).unwrap();
    for i in 0..count {
        fs::copy(photograph(root, i), folder.join(format!("{i:03}.png"))).unwrap();
    }
    folder
}

fn photograph(root: &Path, number: usize) -> PathBuf {
    root.join("demo/oak_plank/test").join(["good/000.png", "stain/000.png"][number % 2])
}

/// The lines without their times.
fn timeless(folder: &Path) -> Vec<Value> {
    let mut lines = predictions(folder);
    for line in &mut lines {
        line.as_object_mut().unwrap().remove("milliseconds");
    }
    lines
}

fn paths(folder: &Path) -> Vec<String> {
    predictions(folder).iter().map(|line| text(line, "path").to_string()).collect()
}

/// Files below a folder whose names end so.
fn files_with(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Waits until a run has written so many lines.
fn wait_for_lines(folder: &Path, lines: usize) {
    let begin = Instant::now();
    let count =
        || fs::read_to_string(folder.join("predictions.jsonl")).map_or(0, |text| text.lines().count());
    while count() < lines {
        assert!(begin.elapsed() < Duration::from_secs(300), "no {lines} lines in {}", folder.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_inspection_goes_on_after_signals_and_kills() {
    const COUNT: usize = 120;
    let shared = demo::trained();
    let root = shared.path();
    photographs(root, "stopped", COUNT);
    let line = |out: &str| format!("simplenet infer {MODEL} --threads 1 --input stopped --output {out}");
    run(root, &line("stopped-whole")).ok();
    let (whole, out) = (root.join("stopped-whole"), root.join("stopped-out"));
    let mut before = 0;
    for (signal, code) in [("INT", Some(130)), ("KILL", None), ("TERM", Some(130)), ("KILL", None)] {
        let running = start(root, &format!("{} --resume --log-format json", line("stopped-out")));
        wait_for_lines(&out, before + 5);
        running.signal(signal);
        let finished = running.finish();
        finished.check(finished.code == code, "exit code");
        let lines = timeless(&out);
        before = lines.len();
        assert!(before < COUNT, "{signal}: it was not in the middle");
        assert_eq!(lines, timeless(&whole)[..before], "{signal}: what is there is valid and right");
        assert_eq!(json(&out.join("run.json"))["complete"], false, "{signal}");
        assert!(!out.join("report.html").exists(), "{signal}: a report of a part");
        if code.is_some() {
            let events: Vec<Value> =
                finished.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let last = events.last().unwrap();
            assert_eq!((&last["event"], &last["exit_code"]), (&"interrupted".into(), &130.into()), "{last}");
            assert_eq!(last["done"], before, "{last}");
            finished.check(text(last, "message").contains("--resume"), "it should say how to go on");
            assert!(files_with(&out, ".part").is_empty(), "{signal}");
        }
    }
    // A line that a power cut has torn, and what a kill leaves in the middle of a heat map.
    let torn = fs::read_to_string(out.join("predictions.jsonl")).unwrap();
    fs::write(out.join("predictions.jsonl"), &torn[..torn.len() - 9]).unwrap();
    fs::write(out.join("heatmaps/.077.png.AbCdEf.part"), "half").unwrap();
    let last = run(root, &format!("{} --resume", line("stopped-out"))).ok();
    last.check(last.err.contains(&format!("going on after {} photographs", before - 1)), "it goes on");
    assert_eq!(timeless(&out), timeless(&whole));
    assert_eq!(json(&out.join("run.json"))["complete"], true);
    assert_eq!(names(&out), names(&whole));
    assert!(files_with(&out, ".part").is_empty());
    for ending in [".png", ".npy"] {
        let (ours, theirs) = (files_with(&out, ending), files_with(&whole, ending));
        assert_eq!(ours.len(), theirs.len(), "{ending}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!(fs::read(ours).unwrap() == fs::read(theirs).unwrap(), "{}", ours.display());
        }
    }
    let pictures = |folder: &Path| fs::read_to_string(folder.join("pictures.jsonl")).unwrap();
    assert!(pictures(&out) == pictures(&whole), "the report shows all photographs");

    // Other settings would mix; without --resume it begins anew.
    for (flags, words) in [
        ("--threshold 0.25", "threshold was "),
        ("--precision bf16", "precision was \"f32\", and is \"bf16\""),
        ("--map-format none", "map_format was \"npy\", and is \"none\""),
        ("--min-region-area 9", "min_region_area was 0, and is 9"),
    ] {
        run(root, &format!("{} --resume {flags}", line("stopped-out")))
            .fails(1, &["--resume cannot go on", words]);
    }
    // Photographs that came later are added, those that went away keep their line.
    fs::remove_file(root.join("stopped/000.png")).unwrap();
    fs::copy(photograph(root, 0), root.join("stopped/999.png")).unwrap();
    let more = run(root, &format!("{} --resume", line("stopped-out"))).ok();
    more.check(
        more.err.contains("1 are left") && more.err.contains("1 of these are not among the inputs"),
        "said",
    );
    let paths = paths(&out);
    assert_eq!((paths.len(), &*paths[COUNT]), (COUNT + 1, "stopped/999.png"));
    assert_eq!(names(&out.join("heatmaps")).len(), COUNT + 1);
}

#[test]
fn an_evaluation_that_is_stopped_keeps_its_predictions() {
    let shared = demo::trained();
    let root = shared.path();
    photographs(root, "measured", 120);
    let line = format!(
        "simplenet eval {MODEL} --threads 1 --normal-test measured --abnormal demo/oak_plank/test/stain --output measured-out"
    );
    let out = root.join("measured-out");
    for (signal, code) in [("TERM", Some(130)), ("INT", Some(130)), ("KILL", None)] {
        let _anew = fs::remove_file(out.join("predictions.jsonl"));
        let running = start(root, &format!("{line} --log-format json"));
        wait_for_lines(&out, 3);
        running.signal(signal);
        let finished = running.finish();
        finished.check(finished.code == code, "exit code");
        assert!((3..121).contains(&predictions(&out).len()), "{signal}: every line is JSON");
        assert_eq!(json(&out.join("run.json"))["complete"], false);
        if code.is_some() {
            let last: Value = serde_json::from_str(finished.err.lines().last().unwrap()).unwrap();
            assert_eq!(last["event"], "interrupted", "{last}");
        }
    }
    run(root, &line).ok();
    assert_eq!(predictions(&out).len(), 121);
    assert_eq!(json(&out.join("run.json"))["complete"], true);
}

#[test]
fn a_full_disk_ends_heat_maps_and_not_verdicts() {
    let shared = demo::trained();
    let root = shared.path();
    // A namespace of its own: the small disk goes with the program, whoever runs the tests.
    if shell(root, "unshare -rm true 2>/dev/null || exit 9").code != Some(0) {
        return eprintln!("skipped: no `unshare -rm` to mount a small disk with");
    }
    photographs(root, "many", 60);
    fs::create_dir_all(root.join("disk")).unwrap();
    let on_small_disk = |call: &str| {
        let script = format!(
            "mount -t tmpfs -o size=600k tmpfs disk && {{ simplenet {call} {MODEL} --output disk/o; code=$?; rm -rf full; \
             cp -r disk/o full; exit $code; }}"
        );
        shell(root, &format!("unshare -rm sh -c '{script}'"))
    };
    let finished = on_small_disk("infer --input many");
    if finished.err.contains("mount: ") {
        return eprintln!("skipped: a small disk cannot be mounted");
    }
    let finished =
        finished.fails(1, &["No space left", "verdicts are kept", "no report.html: the disk is full"]);
    assert_eq!(finished.err.matches("No space left").count(), 1, "said once: {}", finished.err);
    finished.check(finished.out.contains("without heat map or raw map"), "the summary counts them");
    let out = root.join("full");
    let lines = predictions(&out);
    assert_eq!(lines.len(), 60);
    assert!(lines.iter().all(|line| line["score"].is_f64()), "every photograph has its verdict");
    let with_map = lines.iter().filter(|line| line["heatmap"].is_string()).count();
    assert!((1..60).contains(&with_map), "{with_map} heat maps");
    assert_eq!(json(&out.join("run.json"))["complete"], true);
    assert!(files_with(&out, ".part").is_empty());

    // An evaluation keeps its verdicts too, and says its metrics.
    let finished = on_small_disk("eval --normal-test many --abnormal demo/oak_plank/test/stain");
    finished.fails(1, &["verdicts are kept"]).says(&["image_AUROC", "at threshold"]);
    let lines = predictions(&out);
    assert_eq!(lines.len(), 61);
    assert!(lines.iter().all(|line| line["score"].is_f64() && line["label"].is_string()));
}

#[test]
fn what_is_no_photograph_is_named_and_the_others_are_inspected() {
    let shared = demo::trained();
    let root = shared.path();
    let folder = photographs(root, "untidy", 2);
    let copy = |name: &str| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(photograph(root, 0), path).unwrap();
    };
    [
        "without-ending",
        "0001.cam3",
        "@eaDir/000.png/THUMB.png",
        "#recycle/old.png",
        ".hidden.png",
        "new.png.part",
    ]
    .iter()
    .for_each(|name| copy(name));
    // A mask beside its photograph is none; a photograph that only has a mask's name is one.
    let mask = image::GrayImage::from_fn(96, 96, |x, y| image::Luma([if x + y < 40 { 255 } else { 0 }]));
    mask.save(folder.join("000_mask.png")).unwrap();
    copy("001_label.png");
    fs::write(folder.join("notes.txt"), "a document").unwrap();
    fs::write(folder.join("data.bin"), "no image").unwrap();
    fs::write(folder.join("text.png"), "no image").unwrap();
    symlink(".", folder.join("again")).unwrap();
    symlink("nowhere", folder.join("gone.png")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(folder.join("pipe.png")).status().unwrap();
    assert!(made.success());

    let line = format!("simplenet infer {MODEL} --input untidy --output untidy-out --log-format json");
    let finished = run(root, &line).fails(1, &[]);
    let out = root.join("untidy-out");
    let lines = predictions(&out);
    let with = |key: &str| -> Vec<&str> {
        lines
            .iter()
            .filter(|line| line[key].is_null() != (key == "error"))
            .map(|line| text(line, "path"))
            .collect()
    };
    assert_eq!(with("error"), ["untidy/again", "untidy/gone.png", "untidy/pipe.png", "untidy/text.png"]);
    let judged: Vec<&str> =
        lines.iter().filter(|line| line["score"].is_f64()).map(|line| text(line, "path")).collect();
    assert_eq!(
        judged,
        [
            "untidy/000.png",
            "untidy/0001.cam3",
            "untidy/001.png",
            "untidy/001_label.png",
            "untidy/without-ending"
        ]
    );
    let sorted = {
        let mut all = paths(&out);
        all.sort();
        all
    };
    assert_eq!(paths(&out), sorted, "in the order of their names");
    let reasons = serde_json::json!({ "hidden": 1, "mask": 1, "no_image": 1, "system": 2, "unfinished": 1 });
    let events: Vec<Value> = finished.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let passed_over = events.iter().find(|event| event["event"] == "passed_over").expect("passed over");
    assert_eq!((&passed_over["count"], &passed_over["reasons"]), (&6.into(), &reasons), "{passed_over}");
    let summary = events.iter().find(|event| event["event"] == "summary").expect("summary");
    assert_eq!((&summary["failed"], &summary["passed_over"]), (&4.into(), &6.into()), "{summary}");
    assert_eq!(json(&out.join("run.json"))["passed_over"].as_array().unwrap().len(), 6);
}

#[test]
fn damaged_results_are_not_gone_on_with_and_are_replaced() {
    let shared = demo::trained();
    let root = shared.path();
    photographs(root, "damaged", 2);
    let line = format!("simplenet infer {MODEL} --input damaged --output damaged-out --no-report");
    run(root, &line).ok();
    for file in ["predictions.jsonl", "run.json"] {
        let path = root.join("damaged-out").join(file);
        fs::write(&path, format!("{{\n{}", fs::read_to_string(&path).unwrap())).unwrap();
        run(root, &format!("{line} --resume")).refused(&[file, "without --resume begins anew"]);
        run(root, &line).ok();
        assert_eq!(predictions(&root.join("damaged-out")).len(), 2);
    }
}

#[test]
fn own_results_below_the_input_are_not_inspected() {
    let shared = demo::trained();
    let root = shared.path();
    photographs(root, "inside", 2);
    for out in ["inside/results", "inside/results", "inside/other", "inside", "elsewhere"] {
        run(root, &format!("simplenet infer {MODEL} --input inside --output {out} --map-format png")).ok();
        assert_eq!(paths(&root.join(out)), ["inside/000.png", "inside/001.png"], "{out}");
    }
    // What is of another run in the same folder does not stay beside new results.
    let seen = root.join("elsewhere");
    assert!(seen.join("report.html").exists());
    run(root, &format!("simplenet infer {MODEL} --input inside/000.png --output elsewhere --no-report")).ok();
    assert_eq!(names(&seen), ["anomaly_maps", "heatmaps", "predictions.jsonl", "run.json"]);
}

#[test]
fn names_of_every_length_and_with_control_characters() {
    let shared = demo::trained();
    let root = shared.path();
    let folder = root.join("names");
    fs::create_dir_all(&folder).unwrap();
    let long = ["n".repeat(251), "n".repeat(250) + "m", "检".repeat(83)];
    let odd = ["clear\u{1b}[2J", "line\nbreak", "rtl\u{202e}gpj", "c1\u{9b}31m"];
    for name in long.iter().map(String::as_str).chain(odd) {
        fs::copy(photograph(root, 0), folder.join(format!("{name}.png"))).unwrap();
    }
    fs::write(folder.join("bad\u{1b}]0;title\u{7}.png"), "no image").unwrap();
    let finished = run(root, &format!("simplenet infer {MODEL} --input names --output names-out"));
    let finished =
        finished.fails(1, &[]).says(&[r"clear\u{1b}[2J", r"line\nbreak", r"rtl\u{202e}gpj", r"bad\u{1b}]0;"]);
    let shown = finished.out.chars().chain(finished.err.chars());
    let acted_on = shown.filter(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}').collect::<String>();
    assert_eq!(acted_on, "", "as a terminal would get it");
    let lines = predictions(&root.join("names-out"));
    let maps: Vec<&str> = lines.iter().filter_map(|line| line["heatmap"].as_str()).collect();
    assert_eq!(maps.len(), 7);
    assert!(maps.iter().all(|map| root.join("names-out").join(map).is_file()), "{maps:?}");
    // A command line with such a name is refused without its acting on the terminal, which `run` looks at.
    run(root, "simplenet infer --no-such\u{1b}[2J").fails(2, &["--no-such"]);
}

#[test]
fn several_inputs_thresholds_and_sizes() {
    let shared = demo::trained();
    let root = shared.path();
    photographs(root, "several", 3);
    let line = format!("simplenet infer {MODEL} --output several-out");
    run(root, &format!("{line} --input several/000.png several/001.png --input several several/001.png"))
        .ok();
    assert_eq!(paths(&root.join("several-out")).len(), 3, "each once");
    for wrong in ["nan", "inf", "-inf", "1e99"] {
        run(root, &format!("{line} --input several --threshold={wrong}")).fails(2, &[wrong, "--threshold"]);
    }
    // The limit of pixels: said where it is set, and raised there.
    let small = run(root, &format!("{line} --input several --max-pixels 9000")).fails(1, &[]);
    small.says(&["96 x 96 = 9216 pixels, over the limit of 9000", "--max-pixels"]);
    run(root, &format!("{line} --input several --max-pixels 1MP")).ok();
    run(root, &format!("{line} --input several --max-pixels none")).fails(2, &["400MP"]);
}

#[test]
fn every_unreadable_test_image_is_named() {
    let shared = demo::trained();
    let root = shared.path();
    let folder = photographs(root, "torn", 6);
    for name in ["001.png", "004.png"] {
        let bytes = fs::read(folder.join(name)).unwrap();
        fs::write(folder.join(name), &bytes[..bytes.len() / 2]).unwrap();
    }
    let line = format!(
        "simplenet eval {MODEL} --normal-test torn --abnormal demo/oak_plank/test/stain --output torn-out"
    );
    run(root, &line).refused(&["2 of 7 images cannot be read", "torn/001.png", "torn/004.png"]);
    assert!(!root.join("torn-out/predictions.jsonl").exists(), "of an evaluation that failed");
}
