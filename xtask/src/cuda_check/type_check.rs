//! The Rust code with the feature `cuda`, checked with a stand-in for nvcc: nothing of NVIDIA's is needed.

use std::{path::Path, process::Command};

use simplenet_cli::{CliError, progress::TerminalProgress};

use super::report::Outcome;
use crate::cuda::{Cargo, Metadata, Unavailable, WRAPPER, absolute, output, packages};

/// Its own: cargo does not see that nvcc is another one.
const TARGET_DIR: &str = "target/cuda-check";

/// Runs clippy, whose words go to standard error as they come, over every target of every package that has the feature.
///
/// # Errors
/// cargo cannot be run.
pub(super) fn run(progress: &TerminalProgress) -> Result<Outcome<bool>, CliError> {
    for program in ["bash", "cc", "ar"] {
        let there = output("the stand-in for nvcc", Command::new(program).arg("--version"));
        if let Err(Unavailable(reason)) = there {
            return Ok(Outcome::Skipped { reason });
        }
    }
    let metadata = Metadata::read()?;
    progress.note("checking the Rust code with the feature `cuda` (the first time its dependencies too: a minute or two)");
    let mut command = Cargo::command();
    command.arg("clippy");
    packages(&mut command, &metadata.with_cuda());
    command.args(["--all-targets", "--target-dir", TARGET_DIR, "--", "-D", "warnings"]);
    command.env("NVCC", absolute(Path::new(WRAPPER))?).env("NVCC_MODE", "fake").env_remove("CUDA_HOME");
    command.env("CUDARC_CUDA_VERSION", "13000").env("CUDA_COMPUTE_CAP", "80");
    let status = command.status().map_err(CliError::io("run", "cargo clippy"))?;
    Ok(Outcome::Checked(status.success()))
}
