//! The feature cache as a person meets it: a second `simplenet train` starts from the features of the first, and whatever
//! happens to the folder, the model file has the same bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{
    fs,
    path::{Path, PathBuf},
};

use simplenet_tests::{
    demo,
    files::json,
    program::{Finished, kill_when, run},
};

/// Eight photographs, none held out.
const TRAIN: &str = "simplenet train --data demo/oak_plank --size 96 --epochs 2 --held-out 0";

/// Trains with more flags; gives the run, the model file's bytes and what `training.json` says about features.
fn train(folder: &Path, flags: &str) -> (Finished, Vec<u8>, serde_json::Value) {
    let finished = run(folder, &format!("{TRAIN} --out out {flags}")).ok();
    let out = folder.join("out");
    let features = json(&out.join("training.json"))["features"].clone();
    (finished, fs::read(out.join("model.safetensors")).unwrap(), features)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => vec![],
    }
}

#[test]
fn a_second_training_starts_from_the_features_of_the_first() {
    let folder = demo::folder();
    let folder = folder.path();
    fs::write(
        folder.join("augmented.toml"),
        "[augmentation]\ncopies = 1\n[augmentation.options]\nrotate_degrees = 10.0\n",
    )
    .unwrap();
    for (settings, images) in
        [("--preset default", 8), ("--preset paper", 8), ("--config augmented.toml", 16)]
    {
        let (finished, model, features) = train(folder, &format!("{settings} --no-feature-cache"));
        finished.says(&[&format!("features of {images} images computed")]);
        assert_eq!((&features["images"], &features["from_cache"]), (&images.into(), &0.into()));
        let bytes = features["bytes_in_memory"].as_u64().unwrap();
        let cached = "from the feature cache";
        for (flags, said) in [
            ("", "computed"),
            ("", cached),
            ("--memory-limit 1TB", cached),
            ("--memory-limit 0", "in memory, "),
            (&format!("--memory-limit {}", bytes / 2), "on disk"),
            ("--memory-limit 1kB --no-feature-cache", "computed"),
        ] {
            // The augmented run finds the unchanged photographs of the default one: half of its images.
            let computed =
                if images == 16 && said == "computed" && flags.is_empty() { "of 8 computed" } else { said };
            let what = format!("{settings} {flags}");
            let (finished, again, features) = train(folder, &what);
            let finished = finished.says(&[computed]);
            assert!(again == model, "{what}: another model file");
            let (memory, disk) = (&features["bytes_in_memory"], &features["bytes_on_disk"]);
            assert_eq!(memory.as_u64().unwrap() + disk.as_u64().unwrap(), bytes, "{what}");
            let over = finished.err.contains("over the memory limit");
            finished.check(over == (disk != 0), "what is over the limit is said");
        }
    }
}

#[test]
fn another_seed_and_another_folder_name_find_the_same_features() {
    let folder = demo::folder();
    let folder = folder.path();
    train(folder, "");
    train(folder, "--seed 5").0.says(&["features of 8 images from the feature cache"]);
    demo::copy(&folder.join("demo/oak_plank/train/good"), &folder.join("photographs"));
    fs::remove_file(folder.join("photographs/003.png")).unwrap();
    fs::copy(folder.join("demo/oak_plank/test/good/000.png"), folder.join("photographs/new.png")).unwrap();
    let line = "simplenet train --normal photographs --out other --size 96 --epochs 2 --held-out 0";
    run(folder, line).ok().says(&["features of 7 images from the feature cache, of 1 computed"]);
}

#[test]
fn damage_is_repaired_and_a_folder_that_cannot_be_used_is_done_without() {
    let folder = demo::folder();
    let folder = folder.path();
    let (_, model, _) = train(folder, "--feature-cache kept");
    for path in files(&folder.join("kept")) {
        fs::write(path, "nonsense").unwrap();
    }
    let (finished, repaired, _) = train(folder, "--feature-cache kept");
    assert!(repaired == model, "after damage: another model file");
    finished.check(finished.err.contains("damaged and have been computed again"), "damage is said");
    train(folder, "--feature-cache kept").0.says(&["8 images from the feature cache"]);

    fs::write(folder.join("a-file"), "").unwrap();
    let (finished, without, _) = train(folder, "--feature-cache a-file/below");
    assert!(without == model, "without a folder: another model file");
    finished.check(finished.err.contains("no feature cache: a-file/below"), "a folder that fails is said");

    let (finished, limited, _) = train(folder, "--feature-cache small --feature-cache-limit 1kB");
    assert!(limited == model, "under a limit: another model file");
    finished.check(finished.err.contains("limited to"), "what is not kept is said");
    let line = format!("{TRAIN} --out x --no-feature-cache --feature-cache kept");
    run(folder, &line).fails(2, &["cannot be used with"]);
    run(folder, &format!("{TRAIN} --out x --memory-limit much")).fails(2, &["--memory-limit"]);
}

#[test]
fn a_killed_run_leaves_nothing_that_a_later_one_trips_over() {
    let folder = demo::folder();
    let folder = folder.path();
    let (_, model, _) = train(folder, "--no-feature-cache");
    for count in [1, 2, 5, 8] {
        let kept = folder.join(format!("kept-{count}"));
        let line = format!("{TRAIN} --out killed --epochs 500 --feature-cache kept-{count}");
        // `--epochs` twice is refused by the command line: the later one stands alone.
        let line = line.replace("--epochs 2 ", "");
        assert!(kill_when(folder, &line, || files(&kept).len() >= count), "it ended before it was killed");
        assert!(!folder.join("killed/model.safetensors").exists());
        let (finished, again, _) = train(folder, &format!("--feature-cache kept-{count}"));
        assert!(again == model, "after a run that was killed with {count} files: another model file");
        finished.check(!finished.err.contains("damaged"), "no half file is left");
    }
}

#[test]
fn two_runs_at_once_share_the_folder() {
    let folder = demo::folder();
    let folder = folder.path();
    let (_, model, _) = train(folder, "--no-feature-cache");
    std::thread::scope(|scope| {
        for number in 0..3 {
            scope.spawn(move || {
                let finished = run(folder, &format!("{TRAIN} --out at-once-{number}")).ok();
                finished.check(!finished.err.contains("cache"), "nothing is to be said about the cache");
            });
        }
    });
    for number in 0..3 {
        let other = fs::read(folder.join(format!("at-once-{number}/model.safetensors"))).unwrap();
        assert!(other == model, "run {number} beside others: another model file");
    }
    train(folder, "").0.says(&["8 images from the feature cache"]);
}
