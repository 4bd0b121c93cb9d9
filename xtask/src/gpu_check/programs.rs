//! The programs for the machine with a GPU. In: the working tree and a compiler. Out: `simplenet` and the test programs, built with
//! the feature `cuda`, none of which needs a library of CUDA's to start.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;
use simplenet_cli::CliError;

use crate::cuda::{Cargo, Metadata, Toolkit, WRAPPER, absolute, output, packages};

/// Its own: cargo does not see that nvcc is another one.
const TARGET_DIR: &str = "target/gpu-check/build";
/// Compiled kernels of candle's, from run to run.
const NVCC_CACHE: &str = "target/gpu-check/nvcc";
const CLI: &str = "simplenet-cli";
const PROGRAM: &str = "simplenet";
/// Where the test programs are in the archive.
const SUITES: &str = "suites";
/// The suites: one package a line of the report would be too coarse, so a file each.
const TESTED: [&str; 2] = ["simplenet-model", "simplenet-train"];
/// A window that holds several programs, so that what they have in common is kept once.
const XZ: &str = "xz -T1 -6 --lzma2=preset=6,dict=64MiB";

/// What was built.
#[derive(Debug)]
pub(super) struct Programs {
    /// The command line.
    pub(super) simplenet: PathBuf,
    /// Test programs by package and target: `simplenet-model-predictor`.
    suites: BTreeMap<String, PathBuf>,
}

/// A line of `cargo build --message-format=json`, as far as it is of use here.
#[derive(Debug, Deserialize)]
struct Message {
    package_id: Option<String>,
    target: Option<Target>,
    executable: Option<PathBuf>,
    profile: Option<Profile>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Profile {
    test: bool,
}

/// Builds them: `simplenet` as it is released, the suites as `cargo test` builds them, without symbols.
///
/// # Errors
/// A build that fails, whose words cargo has printed; a program that needs a CUDA library to start.
pub(super) fn build(toolkit: &Toolkit, metadata: &Metadata, stubs: &Path) -> Result<Programs, CliError> {
    let with_cuda = metadata.with_cuda();
    let mut command = cargo(toolkit, stubs)?;
    command.args(["build", "--release"]);
    packages(&mut command, &with_cuda);
    let built = executables(command.args(["-p", CLI, "--bin", PROGRAM]))?;
    let simplenet = built.into_iter().find(|built| built.name == PROGRAM);
    let simplenet =
        simplenet.ok_or_else(|| CliError::Usage(format!("cargo built no program {PROGRAM}")))?.path;

    let mut command = cargo(toolkit, stubs)?;
    command.args(["test", "--no-run", "--config", "profile.dev.strip=\"symbols\""]);
    for package in TESTED {
        command.args(["-p", package]);
        if with_cuda.contains(&package) {
            command.args(["--features", &format!("{package}/cuda")]);
        }
    }
    let built = executables(&mut command)?.into_iter().filter(|built| built.test);
    let suites: BTreeMap<_, _> = built.map(|built| (built.suite(), built.path)).collect();
    if suites.is_empty() {
        return Err(CliError::Usage("cargo built no test program".into()));
    }
    let programs = Programs { simplenet, suites };
    for program in programs.suites.values().chain([&programs.simplenet]) {
        check_starts_anywhere(program)?;
    }
    Ok(programs)
}

/// cargo with everything that the builds of candle, cudarc and our own kernels look at.
fn cargo(toolkit: &Toolkit, stubs: &Path) -> Result<Command, CliError> {
    let mut command = Cargo::command();
    command.env("CARGO_TARGET_DIR", TARGET_DIR).env("CUDA_HOME", &toolkit.home);
    command.env("NVCC", absolute(Path::new(WRAPPER))?).env("NVCC_MODE", "lite");
    command.env("NVCC_CACHE", absolute(Path::new(NVCC_CACHE))?);
    command.env("SIMPLENET_CUDA_STUBS", absolute(stubs)?);
    // PTX for the oldest GPU that our own kernels are for; a driver compiles it for any newer one.
    command.env("CUDARC_CUDA_VERSION", "13000").env("CUDA_COMPUTE_CAP", "80");
    Ok(command)
}

/// A program that cargo built.
#[derive(Debug, PartialEq, Eq)]
struct Built {
    package: String,
    name: String,
    test: bool,
    path: PathBuf,
}

impl Built {
    /// What a suite is called: the package's own tests as the package, the others with their name behind.
    fn suite(&self) -> String {
        if self.name == self.package.replace('-', "_") {
            self.package.clone()
        } else {
            format!("{}-{}", self.package, self.name)
        }
    }
}

/// Runs cargo, whose words for people go to standard error as they come.
fn executables(command: &mut Command) -> Result<Vec<Built>, CliError> {
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = command.output().map_err(CliError::io("run", "cargo"))?;
    if output.status.success() {
        Ok(parse(&String::from_utf8_lossy(&output.stdout)))
    } else {
        Err(CliError::Usage("the build failed; cargo's own words are above".into()))
    }
}

fn parse(lines: &str) -> Vec<Built> {
    let messages = lines.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    messages
        .filter_map(|message| {
            let (id, target, path) = (message.package_id?, message.target?, message.executable?);
            let test = message.profile.is_some_and(|profile| profile.test);
            if !test && !target.kind.iter().any(|kind| kind == "bin") {
                return None;
            }
            // path+file:///somewhere/simplenet-model#0.1.0, or ...#name@0.1.0 where the folder has another name.
            let (folder, end) = id.rsplit_once('#')?;
            let package = match end.split_once('@') {
                Some((name, _)) => name,
                None => folder.rsplit('/').next()?,
            };
            Some(Built { package: package.into(), name: target.name, test, path })
        })
        .collect()
}

/// A program that needs a CUDA library would not start on a machine without it, and say so in the loader's words.
fn check_starts_anywhere(program: &Path) -> Result<(), CliError> {
    let listed = output("ldd", Command::new("ldd").arg(program));
    let listed = listed.map_err(|reason| CliError::Usage(reason.0))?;
    let text = String::from_utf8_lossy(&listed.stdout);
    let ours = ["libcuda", "libcublas", "libcurand", "libnvrtc"];
    match text.lines().find(|line| ours.iter().any(|library| line.contains(library))) {
        None => Ok(()),
        Some(line) => Err(CliError::Usage(format!(
            "{} needs {} to start: the linker took a real library instead of the stand-in",
            program.display(),
            line.trim()
        ))),
    }
}

impl Programs {
    /// Writes them into one archive: `simplenet` and `suites/…`.
    ///
    /// # Errors
    /// A file that cannot be written; no tar or xz.
    pub(super) fn pack(&self, archive: &Path) -> Result<(), CliError> {
        let folder = tempfile::tempdir().map_err(CliError::io("create a folder for", archive))?;
        let suites = folder.path().join(SUITES);
        fs::create_dir(&suites).map_err(CliError::io("create", &suites))?;
        let copy = |from: &Path, to: PathBuf| fs::copy(from, to).map_err(CliError::io("copy", from));
        copy(&self.simplenet, folder.path().join(PROGRAM))?;
        for (name, path) in &self.suites {
            copy(path, suites.join(name))?;
        }
        let mut tar = Command::new("tar");
        tar.args(["-I", XZ, "-cf"]).arg(absolute(archive)?);
        tar.arg("-C").arg(folder.path()).args([PROGRAM, SUITES]);
        output("packing the programs", &mut tar).map_err(|reason| CliError::Usage(reason.0))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_cargos_messages() {
        let lines = r#"
            {"reason":"compiler-artifact","package_id":"path+file:///w/crates/simplenet-model#0.1.0","target":{"name":"simplenet_model","kind":["lib"]},"profile":{"test":false},"executable":null}
            {"reason":"compiler-artifact","package_id":"path+file:///w/crates/simplenet-model#0.1.0","target":{"name":"simplenet_model","kind":["lib"]},"profile":{"test":true},"executable":"/t/a"}
            {"reason":"compiler-artifact","package_id":"path+file:///w/x#simplenet-model@0.1.0","target":{"name":"predictor","kind":["test"]},"profile":{"test":true},"executable":"/t/b"}
            {"reason":"compiler-artifact","package_id":"path+file:///w/c#simplenet-cli@0.1.0","target":{"name":"simplenet","kind":["bin"]},"profile":{"test":false},"executable":"/t/c"}
            {"reason":"compiler-artifact","package_id":"path+file:///w/c#simplenet-cli@0.1.0","target":{"name":"e","kind":["example"]},"profile":{"test":false},"executable":"/t/d"}
            {"reason":"build-finished","success":true}
            not a message"#;
        let built = parse(lines);
        let paths: Vec<_> = built.iter().map(|built| built.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/t/a", "/t/b", "/t/c"]);
        assert_eq!(built[0].suite(), "simplenet-model");
        assert_eq!(built[1].suite(), "simplenet-model-predictor");
        assert_eq!((built[2].name.as_str(), built[2].test), ("simplenet", false));
    }

    #[test]
    fn the_shell_starts_anywhere() {
        if Path::new("/bin/sh").exists() && cfg!(target_os = "linux") {
            check_starts_anywhere(Path::new("/bin/sh")).unwrap();
        }
    }
}
