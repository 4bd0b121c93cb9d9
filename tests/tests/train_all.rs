//! `cargo xtask train-all` on small data: what it writes, that its tables agree with its files, and that it goes on
//! after interruptions, damaged categories and wrong names.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde_json::Value;
use simplenet_data::synthetic::DEMO_CATEGORIES;
use simplenet_tests::{
    demo,
    files::{json, names, predictions},
    program::{run, run_unread},
};

const QUICK: &str = "--size 96 --epochs 2";
/// Columns of table.csv and the keys of metrics.json that they show.
const COLUMNS: [(&str, &str); 8] = [
    ("image_AUROC", "image_AUROC"),
    ("pixel_AUROC", "pixel_AUROC"),
    ("pixel_AUPRO", "pixel_AUPRO"),
    ("pixel_AUPRO_005", "pixel_AUPRO_005"),
    ("image_F1Max", "image_F1Max"),
    ("fit_seconds", "fit_seconds"),
    ("inference_ms_per_image", "inference_ms"),
    ("peak_memory_mib", "peak_memory_mib"),
];

#[test]
fn every_file_is_there_tables_agree_and_a_second_run_keeps_what_is_complete() {
    // The demo set where train-all looks for it: it is taken as it is, and nothing larger is drawn.
    let folder = tempfile::tempdir().unwrap();
    demo::write(&folder.path().join("data/demo"));
    let all = format!("xtask train-all {QUICK}");
    let first = run(folder.path(), &all).ok().says(&["image", "AUROC", "mean", "report.html"]);
    first.check(!first.out.contains("making"), "the demo set is complete");
    let steps: Vec<String> =
        (1..).zip(DEMO_CATEGORIES).map(|(number, name)| format!("[{number}/5] {name}")).collect();
    // A category has eight good photographs: each time that is said, and nothing else.
    let mut lines = first.err.lines();
    let few =
        |line: Option<&str>| line.is_some_and(|line| line.starts_with("only 8 photographs of good parts"));
    let as_expected = steps.iter().all(|step| lines.next() == Some(step) && few(lines.next()));
    first.check(
        as_expected && lines.next().is_none(),
        "standard error names one category after another and says that photographs are few, nothing else",
    );
    let results = folder.path().join("results/demo-efficientnet-lite0-default");

    let expected = [
        "config.toml",
        "curves.json",
        "heatmaps",
        "metrics.json",
        "model.safetensors",
        "pictures.jsonl",
        "plots",
        "predictions.jsonl",
        "run.json",
        "training.json",
    ];
    for category in DEMO_CATEGORIES {
        first.check(first.out.contains(category), &format!("the table has a row `{category}`"));
        assert_eq!(names(&results.join(category)), expected, "{category}");
        let predictions = fs::read_to_string(results.join(category).join("predictions.jsonl")).unwrap();
        assert_eq!(predictions.lines().count(), 7, "{category}: one line a test image");
        assert_eq!(
            names(&results.join(category).join("heatmaps")).len(),
            6,
            "{category}: a folder a defect, and good"
        );
    }
    let mut files: Vec<String> = DEMO_CATEGORIES.iter().map(|name| name.to_string()).collect();
    files.extend(["plots", "report.html", "table.csv", "table.md"].map(String::from));
    files.sort();
    assert_eq!(names(&results), files);
    tables_agree(&results, DEMO_CATEGORIES);
    let page = fs::read_to_string(results.join("report.html")).unwrap();
    assert!(DEMO_CATEGORIES.iter().all(|name| page.contains(name)), "report.html names every category");

    // The paper's figure: this run's point with its machine, and no doubt that the demo set is not MVTec AD.
    first.says(&["demo-efficientnet-lite0-default/plots", "oak_plank/plots (roc, pro, histogram)"]);
    assert_eq!(names(&results.join("plots")), ["speed_auroc.png", "speed_auroc.svg"]);
    let figure = said(&results.join("plots/speed_auroc.svg"));
    for text in [
        "This run: demo, not MVTec AD, so its AUROC does not compare.",
        "this run: not MVTec AD",
        "this run: efficientnet-lite0, f32, on demo (not MVTec AD)",
        " threads",
        "SimpleNet, RTX 3080 Ti",
        "EfficientAD-S, RTX A6000",
        "SuperSimpleNet, Tesla V100S",
    ] {
        assert!(figure.contains(text), "no `{text}` in: {figure}");
    }

    // Everything is complete: nothing is trained, the tables are the same.
    let before = state(&results);
    let second = run(folder.path(), &all).ok();
    second.check(second.out.matches("complete, kept").count() == DEMO_CATEGORIES.len(), "all five are kept");
    let models = |state: &BTreeMap<PathBuf, (SystemTime, Vec<u8>)>| -> Vec<(PathBuf, SystemTime)> {
        let written = state.iter().filter(|(path, _)| !path.starts_with("report.html") && !is_drawn(path));
        written.map(|(path, (time, _))| (path.clone(), *time)).collect()
    };
    let after = state(&results);
    assert_eq!(models(&after), models(&before), "a complete category was written again");
    assert!(
        before["table.csv".as_ref() as &Path].1 == after["table.csv".as_ref() as &Path].1,
        "another table"
    );
    for (path, (_, bytes)) in before.iter().filter(|(path, _)| is_plot(path)) {
        assert!(*bytes == after[path].1, "{} must come out the same", path.display());
    }

    // Interrupted while the third category was evaluated: metrics.json comes last, so it is missing.
    let redone = DEMO_CATEGORIES[2];
    fs::remove_file(results.join(redone).join("metrics.json")).unwrap();
    let third = run(folder.path(), &all).ok();
    third.check(third.out.matches("complete, kept").count() == DEMO_CATEGORIES.len() - 1, "four are kept");
    let last = state(&results);
    for (path, (time, bytes)) in &last {
        if path.starts_with(redone) && path.ends_with("model.safetensors") {
            assert!(before[path].0 < *time, "{} must be made again", path.display());
            assert!(before[path].1 == *bytes, "{} must come out the same", path.display());
        } else if !path.starts_with(redone) && !is_drawn(path) && !path.starts_with("report.html") {
            assert_eq!(before[path].0, *time, "{} must be kept", path.display());
        }
    }
    tables_agree(&results, DEMO_CATEGORIES);

    // Other settings are another result, also in the same folder.
    let fourth = run(folder.path(), "xtask train-all --size 96 --epochs 3 --categories oak_plank").ok();
    fourth.check(!fourth.out.contains("kept"), "3 epochs are not 2");
}

#[test]
fn a_category_that_fails_is_reported_and_the_others_still_run() {
    let folder = demo::folder();
    let root = folder.path().join("set");
    // An MVTec AD name gets the published numbers beside it.
    demo::copy(&folder.path().join("demo/oak_plank"), &root.join("bottle"));
    demo::copy(&folder.path().join("demo/oak_plank"), &root.join("cut"));
    demo::copy(&folder.path().join("demo/steel_gear"), &root.join("gear"));
    let image = root.join("cut/train/good/003.png");
    let bytes = fs::read(&image).unwrap();
    fs::write(&image, &bytes[..bytes.len() / 2]).unwrap();

    let line = format!("xtask train-all --data set --out run {QUICK}");
    let finished =
        run(folder.path(), &line).fails(1, &["error: cut: ", "cut/train/good/003.png is truncated"]);
    let results = folder.path().join("run");
    tables_agree(&results, &["bottle", "gear"]);
    let csv = csv(&results.join("table.csv"));
    let failed = row(&csv, "cut");
    assert!(failed["note"].contains("truncated") && failed["image_AUROC"] == "n/a", "{failed:?}");
    let mean = row(&csv, "mean");
    assert!(mean["note"].contains("image_AUROC over 2 of 3"), "{mean:?}");
    finished.says(&["cut", "n/a", "bottle", "gear"]);
    assert!(!results.join("cut/metrics.json").exists());
    let page = fs::read_to_string(results.join("report.html")).unwrap();
    assert!(page.contains("failed: ") && page.contains("truncated"), "report.html tells of the failure");

    // A `bottle` of one's own is not MVTec AD's, and the mean is of what succeeded.
    let figure = said(&results.join("plots/speed_auroc.svg"));
    assert!(figure.contains("This run: set, not MVTec AD") && figure.contains("mean of 2 of 3"), "{figure}");

    let markdown = fs::read_to_string(results.join("table.md")).unwrap();
    let published = markdown.split_once("## Beside published results").map(|(_, rest)| rest.to_string());
    let published = published.unwrap_or_else(|| panic!("no published results in:\n{markdown}"));
    let bottle = published.lines().find(|line| line.starts_with("| bottle")).expect("a row for bottle");
    // SimpleNet's own numbers on bottle in the paper.
    assert!(bottle.contains("100.0/98.0"), "{bottle}");
    assert!(!published.lines().any(|line| line.starts_with("| gear")), "only MVTec AD's names are compared");

    // Nobody reads the output: the tables are written all the same.
    fs::remove_file(results.join("table.csv")).unwrap();
    run_unread(folder.path(), &line).fails(1, &["error: cut: "]);
    tables_agree(&results, &["bottle", "gear"]);

    // Repaired: the next run trains what failed and keeps the rest.
    fs::write(&image, &bytes).unwrap();
    let again = run(folder.path(), &line).ok();
    again.check(again.out.matches("complete, kept").count() == 2, "bottle and gear are kept");
    tables_agree(&results, &["bottle", "cut", "gear"]);
}

#[test]
fn several_seeds_give_mean_and_deviation() {
    let folder = demo::folder();
    let line = format!(
        "xtask train-all --data demo --categories oak_plank,steel_gear --seeds 0,1,2 --out run {QUICK}"
    );
    run(folder.path(), &line).ok().says(&["±", "oak_plank", "steel_gear"]);
    let results = folder.path().join("run");
    let csv = csv(&results.join("table.csv"));
    for category in ["oak_plank", "steel_gear"] {
        assert_eq!(names(&results.join(category)), ["seed-0", "seed-1", "seed-2"]);
        // The report shows the first seed, and so do the plots.
        assert!(results.join(category).join("seed-0/plots/roc.svg").is_file(), "{category}");
        let row = row(&csv, category);
        assert_eq!(row["seeds"], "3");
        for (column, key) in COLUMNS {
            let values: Vec<f64> = (0..3)
                .map(|seed| {
                    let metrics = json(&results.join(format!("{category}/seed-{seed}/metrics.json")));
                    assert_eq!(metrics["seed"], seed);
                    metrics[key].as_f64().unwrap()
                })
                .collect();
            let mean = values.iter().sum::<f64>() / 3.0;
            let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
            close(&row[column], mean, &format!("{category}: {column}"));
            close(&row[&format!("{column}_std")], deviation, &format!("{category}: {column}_std"));
        }
    }
    let markdown = fs::read_to_string(results.join("table.md")).unwrap();
    let oak = markdown.lines().find(|line| line.starts_with("| oak\\_plank")).expect("a row for oak_plank");
    assert!(oak.contains('±'), "{oak}");
}

#[test]
fn baselines_stand_beside_simplenet_when_asked_for() {
    let folder = demo::folder();
    let plain = format!("xtask train-all --data demo --categories oak_plank --out run {QUICK}");
    run(folder.path(), &plain).ok();
    let (results, metrics) = (folder.path().join("run"), "oak_plank/metrics.json");
    let alone = json(&results.join(metrics));
    assert!(alone.get("baselines").is_none(), "{alone}");
    assert!(!fs::read_to_string(results.join("table.csv")).unwrap().contains("padim"));

    let line = format!("{plain} --baselines");
    run(folder.path(), &line).ok().says(&["PaDiM", "PatchCore"]);
    let beside = json(&results.join(metrics));
    for key in ["image_AUROC", "pixel_AUPRO", "model_id"] {
        assert_eq!(alone[key], beside[key], "the baselines must not change SimpleNet's {key}");
    }
    let table = csv(&results.join("table.csv"));
    let markdown = fs::read_to_string(results.join("table.md")).unwrap();
    for baseline in ["padim", "patch_core"] {
        for key in ["image_AUROC", "pixel_AUPRO"] {
            let value = beside["baselines"][baseline][key].as_f64().unwrap();
            close(
                &row(&table, "oak_plank")[&format!("{baseline}_{key}")],
                value,
                &format!("{baseline} {key}"),
            );
            assert!(markdown.contains(&format!("{value:.4}")), "{baseline}: no {value:.4} in:\n{markdown}");
        }
    }

    // Kept when the same is asked for, and by a run without them; measured anew with other settings.
    for again in [&line, &plain] {
        let again = run(folder.path(), again).ok();
        again.check(again.out.contains("complete, kept"), "the folder has all that is asked for");
    }
    let larger = run(folder.path(), &format!("{line} --coreset-share 0.1")).ok();
    larger.check(!larger.out.contains("kept"), "another memory bank");
    let larger = json(&results.join(metrics));
    assert_eq!(larger["baselines"]["padim"]["image_AUROC"], beside["baselines"]["padim"]["image_AUROC"]);
    assert_eq!(larger["baselines"]["config"]["patch_core"]["coreset_share"], 0.1);
    run(folder.path(), &format!("{line} --coreset-share 0")).refused(&["coreset_share", "above 0"]);
}

#[test]
fn wrong_names_are_one_sentence() {
    let folder = demo::folder();
    fs::create_dir(folder.path().join("empty")).unwrap();
    for (arguments, words) in [
        (
            "--data demo --categories oak_plank,oak",
            &["no category `oak` in demo", "circuit_board, coated_tablet"][..],
        ),
        ("--data nowhere", &["nowhere is not a folder"]),
        ("--data empty", &["empty holds no category", "train/good"]),
        ("--data demo/oak_plank", &["is itself a category", "the folder above it"]),
        ("--data demo --epochs 0", &["epochs", "at least 1"]),
        (
            "--data demo --backbone wide-resnet50-2",
            &["HF_HUB_OFFLINE", "--weights FILE", "efficientnet-lite0"],
        ),
    ] {
        run(folder.path(), &format!("xtask train-all --out run {arguments}")).refused(words);
    }
    assert!(!folder.path().join("run").exists(), "a refused run must not leave a folder");
    for (line, words) in [
        ("train-all --seeds 0,x", &["x", "--seeds"][..]),
        ("train", &["train"]),
        ("weights resnet99", &["resnet99"]),
    ] {
        run(folder.path(), &format!("xtask {line}")).fails(2, words);
    }
}

/// table.csv has the numbers of every category's metrics.json and their mean; table.md has the same, rounded.
fn tables_agree(results: &Path, categories: &[&str]) {
    let csv = csv(&results.join("table.csv"));
    let markdown = fs::read_to_string(results.join("table.md")).unwrap();
    let mut sums = [0.0; COLUMNS.len()];
    for category in categories {
        let metrics = json(&results.join(category).join("metrics.json"));
        let row = row(&csv, category);
        assert_eq!(metrics["category"], *category);
        assert_eq!(
            metrics["model_id"],
            model_id(&results.join(category)),
            "{category}: not the model's metrics"
        );
        for ((column, key), sum) in COLUMNS.into_iter().zip(&mut sums) {
            let value =
                metrics[key].as_f64().unwrap_or_else(|| panic!("{category}: no `{key}` in {metrics}"));
            close(&row[column], value, &format!("{category}: {column}"));
            *sum += value;
        }
        let start =
            format!("| {} | {:.4} |", category.replace('_', "\\_"), metrics["image_AUROC"].as_f64().unwrap());
        assert!(markdown.lines().any(|line| line.starts_with(&start)), "no line `{start}…` in:\n{markdown}");
    }
    let mean = row(&csv, "mean");
    for ((column, _), sum) in COLUMNS.into_iter().zip(sums) {
        close(&mean[column], sum / categories.len() as f64, &format!("mean: {column}"));
    }
}

/// The identity of the model that the predictions beside it name.
fn model_id(folder: &Path) -> Value {
    predictions(folder)[0]["model_id"].clone()
}

/// A cell with six decimals.
fn close(cell: &str, value: f64, what: &str) {
    let got: f64 = cell.parse().unwrap_or_else(|e| panic!("{what}: `{cell}`: {e}"));
    assert!((got - value).abs() <= 1e-6, "{what}: the table says {got}, metrics.json {value}");
}

type Row = BTreeMap<String, String>;

/// The rows of a CSV file by column; a cell may be quoted and hold commas, no line break.
fn csv(path: &Path) -> Vec<Row> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines().map(cells);
    let header = lines.next().expect("a header");
    lines
        .map(|cells| {
            assert_eq!(cells.len(), header.len(), "{cells:?}");
            header.iter().cloned().zip(cells).collect()
        })
        .collect()
}

fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cells.last_mut().expect("at least one").push(c),
        }
    }
    cells
}

fn row<'a>(rows: &'a [Row], category: &str) -> &'a Row {
    rows.iter()
        .find(|row| row["category"] == category)
        .unwrap_or_else(|| panic!("no row `{category}` in {rows:?}"))
}

/// Every file below a folder: when it was written and what is in it.
fn state(folder: &Path) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_path_buf();
                files.insert(name, (path.metadata().unwrap().modified().unwrap(), fs::read(&path).unwrap()));
            }
        }
    }
    files
}

fn is_plot(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("plots"))
}

/// What every run writes anew.
fn is_drawn(path: &Path) -> bool {
    path.starts_with("table.csv") || path.starts_with("table.md") || is_plot(path)
}

/// The texts of an SVG, its lines joined.
fn said(path: &Path) -> String {
    let svg = fs::read_to_string(path).unwrap();
    svg.lines().filter(|line| !line.starts_with('<')).collect::<Vec<_>>().join(" ").replace('\u{a0}', " ")
}
