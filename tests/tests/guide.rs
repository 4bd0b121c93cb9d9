//! The guide in docs/guide: every command in it is run, in the order in which a reader meets it, and every link leads somewhere.
//!
//! A page's `sh` blocks run in a folder of its own that holds what docs/guide/README.md names, and a trained model where the
//! first page puts it. A `toml` block whose first line is a comment with a file's name becomes that file. The line that installs the program is
//! for the ignored test at the end: it compiles for minutes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use image::{Luma, imageops};
use serde_json::Value;
use simplenet_data::synthetic::{DemoOptions, write_demo};
use simplenet_tests::{
    demo,
    files::keys,
    program::{run, shell},
    workspace_root,
};
use tempfile::TempDir;

const INSTALL: &str = "cargo install --path crates/simplenet-cli";

/// A page's fenced blocks: language and text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut found = vec![];
    let mut open: Option<(String, String)> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((language.to_string(), String::new())),
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some((_, text))) => *text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    found
}

/// What the pages count on: photographs as docs/guide/README.md says, a region of interest, and the first page's model.
fn prepared() -> &'static TempDir {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let drawn = tempfile::tempdir().unwrap();
        let mut options = DemoOptions::default();
        options.image_size = 192;
        options.train_good = 32;
        options.test_good = 4;
        options.test_per_defect = 1;
        write_demo(drawn.path(), &options, &|_, _| {}).unwrap();
        let gear = drawn.path().join("steel_gear");
        let photographs = folder.path().join("photographs");
        let put = |from: &Path, to: &str, name: &str| {
            fs::create_dir_all(photographs.join(to)).unwrap();
            fs::copy(from, photographs.join(to).join(name)).unwrap();
        };
        for (i, path) in images(&gear.join("train/good")).iter().enumerate() {
            put(path, if i < 20 { "good" } else { "good-later" }, &format!("{i:04}.png"));
        }
        for (i, path) in images(&gear.join("test/good")).iter().enumerate() {
            put(path, "new", &format!("{i:04}.png"));
        }
        for defect in fs::read_dir(gear.join("test")).unwrap().map(|entry| entry.unwrap().path()) {
            let name = defect.file_name().unwrap().to_str().unwrap().to_string();
            for path in images(&defect).iter().filter(|_| name != "good") {
                put(path, "new", &format!("{name}.png"));
                put(path, "defective", &format!("{name}.png"));
            }
        }
        let mut roi = image::GrayImage::from_pixel(192, 192, Luma([255]));
        imageops::replace(&mut roi, &image::GrayImage::from_pixel(40, 30, Luma([0])), 0, 0);
        roi.save(folder.path().join("roi.png")).unwrap();
        run(folder.path(), "simplenet train --normal photographs/good --out results/part --size 192").ok();
        folder
    })
}

fn images(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn page(name: &str) -> String {
    fs::read_to_string(workspace_root().join("docs/guide").join(name)).unwrap()
}

/// Runs a page's commands; gives the folder that they were run in.
fn walk(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    demo::copy(prepared().path(), folder.path());
    let mut commands = 0;
    for (language, text) in blocks(&page(name)) {
        if language == "toml" {
            let file = text.lines().next().and_then(|line| line.strip_prefix("# ")).expect("a file's name");
            fs::write(folder.path().join(file), &text).unwrap();
        }
        for line in text.lines().filter(|line| language == "sh" && *line != INSTALL) {
            shell(folder.path(), line).ok();
            commands += 1;
        }
    }
    assert!(commands > 0, "{name} has no command");
    folder
}

#[test]
fn first_inspection() {
    let folder = walk("first-inspection.md");
    for file in [
        "new/report.html",
        "new/predictions.jsonl",
        "new/heatmaps/0000.png",
        "new/anomaly_maps/0000.npy",
        "eval/report.html",
    ] {
        assert!(folder.path().join("results/part").join(file).is_file(), "{file}");
    }
}

#[test]
fn threshold() {
    walk("threshold.md");
}

#[test]
fn numbers() {
    walk("numbers.md");
}

#[test]
fn large_photographs() {
    walk("large-photographs.md");
}

#[test]
fn line_pc() {
    let folder = walk("line-pc.md");
    assert!(folder.path().join("line/part.onnx").is_file());
    let written = fs::read_to_string(folder.path().join("line/results/predictions.jsonl")).unwrap();
    let written: Value = serde_json::from_str(written.lines().next().unwrap()).unwrap();
    let (_, shown) =
        blocks(&page("line-pc.md")).into_iter().find(|(language, _)| language == "json").unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    for key in keys(&shown) {
        assert!(keys(&written).contains(&key), "the page shows a field `{key}` that no line has: {written}");
    }
}

#[test]
fn how_many_images() {
    walk("how-many-images.md");
}

#[test]
fn troubleshooting() {
    walk("troubleshooting.md");
}

/// A page that no test above walks would be one whose commands nobody has run.
#[test]
fn every_page_is_walked() {
    let this = fs::read_to_string(workspace_root().join("tests/tests/guide.rs")).unwrap();
    let index = page("README.md");
    for path in images(&workspace_root().join("docs/guide")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if name != "README.md" {
            assert!(this.contains(&format!("walk(\"{name}\")")), "{name} is not walked");
            assert!(index.contains(&format!("({name})")), "{name} is not in the guide's index");
        }
    }
}

/// What GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>().replace(' ', "-")
}

/// How pages that are read elsewhere too (docs.rs, crates.io) name a file of this repository.
const REPOSITORY: &str = "https://github.com/simplenet-rs/simplenet/blob/main/";

/// Where a page's links lead, those into the web left out.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let is_here = |target: &&str| {
        target.starts_with(REPOSITORY) || !(target.contains("://") || target.starts_with("mailto:"))
    };
    targets.filter(is_here).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let root = workspace_root();
    let mut pages: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "data/README.md", "tests/fuzz/README.md"]
            .map(|page| root.join(page))
            .into();
    for folder in ["docs", "docs/guide", "docs/reference"] {
        pages.extend(
            images(&root.join(folder)).into_iter().filter(|path| path.extension().is_some_and(|e| e == "md")),
        );
    }
    for name in ["data", "metrics", "model", "train", "cli"] {
        pages.push(root.join(format!("crates/simplenet-{name}/README.md")));
    }
    let headings = |path: &Path| -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        let of_headings = text.lines().filter_map(|line| line.strip_prefix('#'));
        let of_headings = of_headings.map(|heading| anchor(heading.trim_start_matches('#')));
        let named = text.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next());
        of_headings.chain(named.map(String::from)).collect()
    };
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            let (file, part) = link.split_once('#').unwrap_or((link, ""));
            let target = match file.strip_prefix(REPOSITORY) {
                Some(file) => root.join(file),
                None if file.is_empty() => page.clone(),
                None => page.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link}", page.display());
            assert!(
                part.is_empty() || headings(&target).contains(&part.to_string()),
                "{}: {link}",
                page.display()
            );
        }
    }
}

/// The guide's first command, in a copy of nothing: as typed in a clone, but into a folder of its own.
#[test]
#[ignore = "compiles the program in release for minutes: cargo test -p simplenet-tests --test guide -- --ignored"]
fn the_install_command() {
    let into = tempfile::tempdir().unwrap();
    let words = INSTALL.split_whitespace().skip(1);
    let status = Command::new("cargo")
        .args(words)
        .arg("--root")
        .arg(into.path())
        .current_dir(workspace_root())
        .status();
    assert!(status.unwrap().success());
    let program = into.path().join("bin").join(format!("simplenet{}", std::env::consts::EXE_SUFFIX));
    assert!(Command::new(program).arg("--version").status().unwrap().success());
}
