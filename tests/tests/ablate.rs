//! `cargo xtask ablate` on small data: its rows agree with the files of its trainings, and what is complete is kept.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{collections::BTreeMap, fs, path::Path, time::SystemTime};

use simplenet_tests::{
    demo,
    files::{json, names},
    program::run,
};

const CATEGORIES: [&str; 2] = ["oak_plank", "steel_gear"];
/// Table, variant, its folder, the paper's image and pixel AUROC.
const ROWS: [(&str, &str, &str, [&str; 2]); 5] = [
    ("adaptor", "none", "adaptor-none", ["99.2", "97.9"]),
    ("adaptor", "linear", "base", ["99.6", "98.1"]),
    ("adaptor", "deeper: 2 layers", "adaptor-deeper-2-layers", ["98.3", "97.2"]),
    ("loss", "truncated L1", "base", ["99.6", "98.1"]),
    ("loss", "cross entropy", "loss-cross-entropy", ["99.4", "97.8"]),
];

#[test]
fn every_variant_has_its_row_and_a_second_run_keeps_what_is_complete() {
    let folder = demo::folder();
    let line = "xtask ablate --data demo --categories oak_plank,steel_gear --seeds 0,1 \
                --only adaptor,loss --size 96 --epochs 1 --out run";
    let first = run(folder.path(), line).ok().says(&["cross entropy", "PatchCore", "99.6/98.1", "±"]);
    first.check(first.err.contains("[1/16] oak_plank, seed 0: base"), "progress names what is trained");
    let results = folder.path().join("run");
    let mut folders: Vec<&str> = ROWS.iter().map(|row| row.2).collect();
    folders.extend(["ablation.csv", "ablation.md"]);
    folders.sort_unstable();
    folders.dedup();
    assert_eq!(names(&results), folders);
    for (_, _, subject, _) in ROWS {
        for category in CATEGORIES {
            let of_seed = results.join(subject).join(category).join("seed-1");
            assert_eq!(names(&of_seed), ["config.toml", "metrics.json", "training.json"], "{subject}");
        }
    }
    rows_agree(&results);
    let markdown = fs::read_to_string(results.join("ablation.md")).unwrap();
    for (_, variant, ..) in ROWS {
        let start = format!("| {variant} |");
        assert!(markdown.lines().any(|line| line.starts_with(&start)), "no row `{variant}` in:\n{markdown}");
    }

    // Everything is complete: nothing is trained.
    let (before, table) = (times(&results), fs::read(results.join("ablation.csv")).unwrap());
    let second = run(folder.path(), line).ok();
    second.check(second.out.matches("complete, kept").count() == 16, "4 variants, 2 categories, 2 seeds");
    assert_eq!(times(&results), before, "something complete was written again");
    assert!(table == fs::read(results.join("ablation.csv")).unwrap(), "another table");

    // One training is missing, and another base is another result, also in the same folder.
    fs::remove_file(results.join("adaptor-none/oak_plank/seed-1/metrics.json")).unwrap();
    let third = run(folder.path(), line).ok();
    third.check(third.out.matches("complete, kept").count() == 15, "all but one are kept");
    let one = "xtask ablate --data demo --categories oak_plank --seeds 0 --only loss --size 96 --epochs 2 --out run";
    let fourth = run(folder.path(), one).ok();
    fourth.check(!fourth.out.contains("kept"), "2 epochs are not 1");
}

#[test]
fn what_changes_the_features_is_trained_too() {
    let folder = demo::folder();
    let line = "xtask ablate --data demo --categories oak_plank --seeds 0 --only levels,patch-size,sigma,position,discriminators,image-score \
                --size 96 --epochs 1 --out run";
    run(folder.path(), line).ok().says(&[
        "1 + 2 + 3",
        "7 x 7",
        "times 1/4",
        "energy alone",
        "8 of width",
        "largest mean",
    ]);
    let rows = csv(&folder.path().join("run/ablation.csv"));
    assert_eq!(rows.len(), 3 + 4 + 5 + 3 + 2 + 2);
    for row in &rows {
        let auroc: f64 = row["image_AUROC"].parse().unwrap();
        assert!((0.0..=1.0).contains(&auroc) && row["image_AUROC_std"] == "n/a", "{row:?}");
    }
}

#[test]
fn a_category_that_fails_is_told_and_the_others_still_run() {
    let folder = demo::folder();
    let image = folder.path().join("demo/oak_plank/train/good/003.png");
    let bytes = fs::read(&image).unwrap();
    fs::write(&image, &bytes[..bytes.len() / 2]).unwrap();
    let line = "xtask ablate --data demo --categories oak_plank,steel_gear --seeds 0 --only loss --size 96 --epochs 1 --out run";
    run(folder.path(), line).fails(1, &["error: oak_plank, seed 0: base", "truncated"]);
    for row in csv(&folder.path().join("run/ablation.csv")) {
        assert_eq!(row["categories"], "1");
        assert!(row["note"].contains("oak_plank failed") && row["image_AUROC"] != "n/a", "{row:?}");
    }
    run(folder.path(), "xtask ablate --data demo --only loss,colour --out other")
        .refused(&["no table `colour`", "adaptor, loss"]);
    assert!(!folder.path().join("other").exists(), "a refused run must not leave a folder");
}

/// Every row of the table is the mean of its trainings' metrics; the baselines are the base's.
fn rows_agree(results: &Path) {
    let rows = csv(&results.join("ablation.csv"));
    assert_eq!(rows.len(), ROWS.len());
    for ((table, variant, subject, paper), row) in ROWS.into_iter().zip(&rows) {
        let what = format!("{table}, {variant}");
        assert_eq!((row["ablation"].as_str(), row["variant"].as_str()), (table, variant));
        assert_eq!((row["categories"].as_str(), row["seeds"].as_str(), row["note"].as_str()), ("2", "2", ""));
        assert_eq!([&row["paper_image_AUROC_percent"], &row["paper_pixel_AUROC_percent"]], paper);
        for (column, subject, keys) in [
            ("image_AUROC", subject, &["image_AUROC"][..]),
            ("pixel_AUROC", subject, &["pixel_AUROC"]),
            ("pixel_AUPRO", subject, &["pixel_AUPRO"]),
            ("fit_seconds", subject, &["fit_seconds"]),
            ("padim_image_AUROC", "base", &["baselines", "padim", "image_AUROC"]),
            ("patch_core_pixel_AUPRO", "base", &["baselines", "patch_core", "pixel_AUPRO"]),
        ] {
            // Seed by seed over the categories.
            let of_seed = [0, 1].map(|seed| {
                let values = CATEGORIES.map(|category| {
                    let path = results.join(format!("{subject}/{category}/seed-{seed}/metrics.json"));
                    let metrics = json(&path);
                    let value = keys.iter().fold(&metrics, |value, key| &value[*key]).as_f64();
                    value.unwrap_or_else(|| panic!("no {keys:?} in {}", path.display()))
                });
                values.iter().sum::<f64>() / 2.0
            });
            let mean = (of_seed[0] + of_seed[1]) / 2.0;
            let deviation = (of_seed[0] - of_seed[1]).abs() / 2f64.sqrt();
            for (key, want) in [(column.to_string(), mean), (format!("{column}_std"), deviation)] {
                let got: f64 = row[&key].parse().unwrap_or_else(|e| panic!("{what}: {key}: {e}"));
                assert!((got - want).abs() <= 1e-6, "{what}: {key} is {got}, metrics.json say {want}");
            }
        }
    }
}

/// The rows of a CSV file by column; no cell of these holds a comma or a quote.
fn csv(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').map(String::from).collect::<Vec<_>>());
    let header = lines.next().expect("a header");
    lines
        .map(|cells| {
            assert!(cells.len() >= header.len(), "{cells:?}");
            header.iter().cloned().zip(cells).collect()
        })
        .collect()
}

/// When every metrics.json below a folder was written.
fn times(results: &Path) -> Vec<SystemTime> {
    let mut times = vec![];
    for (_, _, subject, _) in ROWS {
        for category in CATEGORIES {
            for seed in [0, 1] {
                let path = results.join(format!("{subject}/{category}/seed-{seed}/metrics.json"));
                times.push(path.metadata().unwrap().modified().unwrap());
            }
        }
    }
    times
}
