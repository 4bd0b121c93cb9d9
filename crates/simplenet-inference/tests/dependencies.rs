//! A program that only inspects takes in what inspecting needs: no training, no configuration files, no plots, no network.

#![allow(clippy::unwrap_used)] // tests: a failed expectation must stop them

use std::{collections::BTreeSet, process::Command};

/// The packages that this crate is built from, without those of tests.
fn packages() -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "-p", env!("CARGO_PKG_NAME"), "-e", "normal", "--prefix", "none", "--format", "{p}"])
        .args(["--offline", "--locked", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let name = |line: &str| line.split_whitespace().next().map(String::from);
    String::from_utf8(tree.stdout).unwrap().lines().filter_map(name).collect()
}

#[test]
fn nothing_is_built_that_inspecting_does_not_need() {
    let packages = packages();
    for needed in ["simplenet-data", "simplenet-metrics", "simplenet-model"] {
        assert!(packages.contains(needed), "{packages:?}");
    }
    for other in [
        "simplenet-train",
        "simplenet-cli",
        "toml",
        "plotters",
        "hf-hub",
        "ureq",
        "rustls",
        "indicatif",
        "clap",
    ] {
        assert!(!packages.contains(other), "{other} is built for a program that only inspects");
    }
}
