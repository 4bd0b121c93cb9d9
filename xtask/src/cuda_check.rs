//! `cargo xtask cuda-check`: the CUDA code, checked on a machine without a GPU and without an installed toolkit. Every kernel goes
//! through NVIDIA's compiler, every line of Rust with the feature `cuda` through clippy.
//!
//! In: the working tree. Out: a table of registers, shared memory and spills on standard output and, if asked for, as JSON.
//! What cannot be had here (Python, the package index, a C++ compiler) is skipped and said; it fails with `--require` only.

mod compile;
mod report;
mod type_check;

use std::path::PathBuf;

use clap::Args;
use simplenet_cli::{CliError, output::atomic, progress::TerminalProgress};

use crate::cuda::{Toolkit, Unavailable, default_cache, kernels};
use report::{Outcome, Report};

/// Flags of `cuda-check`.
#[derive(Debug, Args)]
pub(crate) struct CudaCheckArgs {
    /// Keep NVIDIA's compiler here [default: simplenet/cuda in the user's cache folder].
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// The Python that fetches it, with venv and pip.
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// Take this installed toolkit instead; another version than 13.0 gives other registers.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["cache", "python"])]
    cuda_home: Option<PathBuf>,
    /// Also write every number as JSON here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fail where something had to be skipped.
    #[arg(long)]
    require: bool,
}

/// Runs the task; gives the number of things that failed.
///
/// # Errors
/// Not at the repository's root; a folder or file that cannot be written.
pub(crate) fn run(args: &CudaCheckArgs, progress: &TerminalProgress) -> Result<usize, CliError> {
    let kernels = kernels()?;
    let toolkit = match &args.cuda_home {
        Some(home) => Toolkit::at(home),
        None => {
            let cache = args.cache.clone().unwrap_or_else(default_cache);
            Toolkit::obtain(&cache, &args.python, progress)?
        }
    };
    let compiled = match toolkit {
        Ok(toolkit) => compile::all(&toolkit, &kernels, progress),
        Err(Unavailable(reason)) => Outcome::Skipped { reason },
    };
    let mut report = Report::new(compiled);
    // Printed before what takes longer.
    println!("{}", report.kernels_text());
    report.types = Some(type_check::run(progress)?);
    println!("{}", report.types_text());
    if let Some(path) = &args.json {
        atomic::write_json(path, &report)?;
    }
    Ok(report.failures() + if args.require { report.skipped() } else { 0 })
}
