//! `cargo xtask gpu-check`: one folder that checks and times everything on a machine with a GPU. That machine needs NVIDIA's
//! driver and cuBLAS, but neither cargo nor a toolkit; this one needs no GPU.
//!
//! In: the working tree. Out: the folder: programs (`simplenet` and the suites of the packages with the feature `cuda`), a model trained
//! here, the photographs of its category, and the scripts of `xtask/cuda/gpu-check/`, whose README.md says what they do.

mod programs;
mod subjects;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clap::Args;
use simplenet_cli::{CliError, progress::TerminalProgress};

use crate::cuda::{Metadata, Toolkit, Unavailable, default_cache, kernels, output};

/// What is copied into the folder as it is.
const FILES: [&str; 6] = [
    "xtask/cuda/gpu-check/README.md",
    "xtask/cuda/gpu-check/run.sh",
    "xtask/cuda/gpu-check/compare.py",
    "xtask/cuda/gpu-check/make_weights.py",
    "xtask/cuda/gpu-check/ratios.py",
    "tests/peers/gpu_engines.py",
];
/// By this a folder is known as one that this task made.
const SCRIPT: &str = "run.sh";
/// The programs: together, because they have most of their bytes in common.
const ARCHIVE: &str = "programs.tar.xz";
/// What stands for CUDA's libraries where programs are linked.
const STUBS: &str = "target/gpu-check/stubs";
const STUBS_SCRIPT: &str = "xtask/cuda/link_stubs.py";

/// Flags of `gpu-check`.
#[derive(Debug, Args)]
pub(crate) struct GpuCheckArgs {
    /// The folder to make; one that an earlier run made is replaced.
    #[arg(long, value_name = "DIR", default_value = "target/gpu-check/folder")]
    out: PathBuf,
    /// Keep NVIDIA's compiler here [default: simplenet/cuda in the user's cache folder].
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// The Python that fetches it, with venv and pip.
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// Take this installed toolkit instead.
    #[arg(long, value_name = "DIR", conflicts_with = "cache")]
    cuda_home: Option<PathBuf>,
}

/// Runs the task.
///
/// # Errors
/// No compiler of NVIDIA's; a build that fails; a program that would not start without CUDA's libraries; a folder that is
/// not this task's.
pub(crate) fn run(args: &GpuCheckArgs, progress: &TerminalProgress) -> Result<(), CliError> {
    kernels()?;
    check_replaceable(&args.out)?;
    let toolkit = match &args.cuda_home {
        Some(home) => Toolkit::at(home),
        None => {
            let cache = args.cache.clone().unwrap_or_else(default_cache);
            Toolkit::obtain(&cache, &args.python, progress)?
        }
    };
    let toolkit = toolkit.map_err(usage)?;
    let metadata = Metadata::read()?;
    let mut stubs = Command::new(&args.python);
    stubs.args([STUBS_SCRIPT, STUBS]).arg(metadata.source("cudarc")?);
    output("stand-ins for CUDA's libraries", &mut stubs).map_err(usage)?;

    progress.note("building (the first time candle's kernels too: several minutes)");
    let programs = programs::build(&toolkit, &metadata, Path::new(STUBS))?;
    let folder = tempfile::Builder::new().prefix(".gpu-check-").tempdir_in(parent(&args.out)?);
    let folder = folder.map_err(CliError::io("create a folder beside", &args.out))?;
    for file in FILES.map(Path::new) {
        let name = file.file_name().unwrap_or_default();
        let to = folder.path().join(name);
        fs::copy(file, &to).map_err(CliError::io("copy", file))?;
    }
    progress.note("packing the programs");
    programs.pack(&folder.path().join(ARCHIVE))?;
    subjects::write(&programs.simplenet, folder.path(), progress)?;

    if args.out.exists() {
        fs::remove_dir_all(&args.out).map_err(CliError::io("replace", &args.out))?;
    }
    let made = folder.keep();
    fs::rename(&made, &args.out).map_err(CliError::io("make", &args.out))?;
    println!(
        "{}, {:.1} MB: copy it to a machine with a GPU, and there: bash run.sh",
        args.out.display(),
        bytes_in(&args.out)? as f64 / 1e6
    );
    Ok(())
}

/// What this task did not make is not removed.
fn check_replaceable(out: &Path) -> Result<(), CliError> {
    if out.exists() && !out.join(SCRIPT).is_file() {
        Err(CliError::Usage(format!(
            "{} is there and was not made by this task: name another --out, or remove it",
            out.display()
        )))
    } else {
        Ok(())
    }
}

fn usage(Unavailable(reason): Unavailable) -> CliError {
    CliError::Usage(reason)
}

/// The folder that holds `path`, made if it is not there.
fn parent(path: &Path) -> Result<&Path, CliError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(CliError::io("create", parent))?;
    Ok(parent)
}

/// Of all files below a folder.
fn bytes_in(folder: &Path) -> Result<u64, CliError> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(CliError::io("list", folder))? {
        let entry = entry.map_err(CliError::io("list", folder))?;
        let metadata = entry.metadata().map_err(CliError::io("look at", entry.path()))?;
        bytes += if metadata.is_dir() { bytes_in(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_somebody_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let error = check_replaceable(folder.path()).unwrap_err().to_string();
        assert!(error.contains("was not made by this task"), "{error}");
        fs::write(folder.path().join(SCRIPT), "12345").unwrap();
        check_replaceable(folder.path()).unwrap();
        check_replaceable(&folder.path().join("not there")).unwrap();
        assert_eq!(bytes_in(folder.path()).unwrap(), 5);
    }

    #[test]
    fn what_is_copied_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for file in FILES.into_iter().chain([STUBS_SCRIPT, crate::cuda::WRAPPER]) {
            assert!(root.join(file).is_file(), "{file}");
        }
        assert!(FILES.iter().any(|file| file.ends_with(SCRIPT)));
    }
}
