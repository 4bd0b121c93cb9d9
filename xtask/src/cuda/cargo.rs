//! Calls of cargo with the feature `cuda`.

use std::{ffi::OsString, path::PathBuf, process::Command};

use serde::Deserialize;
use simplenet_cli::CliError;

/// The feature of those packages that run on a GPU.
const FEATURE: &str = "cuda";

/// The cargo that runs this.
pub(crate) struct Cargo;

impl Cargo {
    /// A call of it, without what `cargo run` told this program: build scripts that look at it would run again.
    pub(crate) fn command() -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
        let told = |name: &OsString| {
            let name = name.to_string_lossy();
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        };
        for name in std::env::vars_os().map(|(name, _)| name).filter(told) {
            command.env_remove(name);
        }
        command
    }
}

/// What `cargo metadata` tells.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    features: serde_json::Map<String, serde_json::Value>,
    /// None for a package of this workspace.
    source: Option<String>,
}

impl Metadata {
    /// Asks cargo, with the dependencies of the feature.
    ///
    /// # Errors
    /// cargo cannot be run or says no: its reason.
    pub(crate) fn read() -> Result<Self, CliError> {
        let mut command = Cargo::command();
        command.args(["metadata", "--format-version", "1", "--features", "simplenet-model/cuda"]);
        let output = command.output().map_err(CliError::io("run", "cargo metadata"))?;
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(CliError::Usage(format!("cargo metadata: {}", reason.trim())));
        }
        serde_json::from_slice(&output.stdout).map_err(|e| CliError::Usage(format!("cargo metadata: {e}")))
    }

    /// The workspace's packages that have the feature.
    pub(crate) fn with_cuda(&self) -> Vec<&str> {
        let ours = self.packages.iter().filter(|package| package.source.is_none());
        ours.filter(|package| package.features.contains_key(FEATURE))
            .map(|package| &package.name[..])
            .collect()
    }

    /// The folder of a dependency's source.
    ///
    /// # Errors
    /// There is no such dependency.
    pub(crate) fn source(&self, name: &str) -> Result<PathBuf, CliError> {
        let package = self.packages.iter().find(|package| package.name == name);
        let folder = package.and_then(|package| package.manifest_path.parent());
        folder.map(PathBuf::from).ok_or_else(|| CliError::Usage(format!("no crate {name} is used here")))
    }
}

/// `-p NAME --features NAME/cuda` of each.
pub(crate) fn packages(command: &mut Command, names: &[&str]) {
    for name in names {
        command.args(["-p", name, "--features", &format!("{name}/{FEATURE}")]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_with_the_feature_are_named_and_sources_found() {
        let text = r#"{"packages": [
            {"name": "ours", "manifest_path": "/w/ours/Cargo.toml", "features": {"cuda": []}, "source": null},
            {"name": "plain", "manifest_path": "/w/plain/Cargo.toml", "features": {}, "source": null},
            {"name": "theirs", "manifest_path": "/r/theirs/Cargo.toml", "features": {"cuda": []}, "source": "registry"}
        ]}"#;
        let metadata: Metadata = serde_json::from_str(text).unwrap();
        assert_eq!(metadata.with_cuda(), ["ours"]);
        assert_eq!(metadata.source("theirs").unwrap(), PathBuf::from("/r/theirs"));
        assert!(metadata.source("absent").unwrap_err().to_string().contains("absent"));
        let mut command = Command::new("cargo");
        packages(&mut command, &metadata.with_cuda());
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["-p", "ours", "--features", "ours/cuda"]);
    }
}
