//! NVIDIA's compiler, without an installed toolkit: five packages of PyPI in a virtual environment, kept in a cache folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, id},
};

use simplenet_cli::{CliError, progress::TerminalProgress};

use super::{
    absolute,
    command::{Unavailable, output},
};

/// The packages, 104 MB to download. All five are pinned: a newer nvvm writes PTX that this ptxas refuses.
const PACKAGES: [&str; 5] = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
];
/// The environment's folder in the cache.
const FOLDER: &str = "cuda-13.0.88";
/// Written last, into a complete environment: the packages that are in it.
const COMPLETE: &str = "complete.txt";
/// Without a network pip must not try for minutes: seconds a connection, and how often again.
const PIP_PATIENCE: [&str; 4] = ["--timeout", "8", "--retries", "1"];

/// A CUDA toolkit with a compiler that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Toolkit {
    /// What others call `CUDA_HOME`.
    pub(crate) home: PathBuf,
}

/// Where the environment is kept unless told: the user's cache folder, so that a fresh clone finds it; else `target/`.
pub(crate) fn default_cache() -> PathBuf {
    dirs::cache_dir()
        .map_or_else(|| PathBuf::from("target/cuda"), |cache| cache.join("simplenet").join("cuda"))
}

impl Toolkit {
    /// The toolkit in the cache; installs it first where it is not there yet. One that is half there is made anew.
    ///
    /// # Errors
    /// `Unavailable` says what is missing: Python, the package index, a C++ compiler. `CliError` for a folder that cannot be
    /// written.
    pub(crate) fn obtain(
        cache: &Path,
        python: &Path,
        progress: &TerminalProgress,
    ) -> Result<Result<Self, Unavailable>, CliError> {
        if !cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))) {
            let reason = "the packages of NVIDIA's compiler are used on Linux, x86-64 and AArch64, only";
            return Ok(Err(Unavailable(reason.into())));
        }
        // Programs are started elsewhere.
        let cache = absolute(cache)?;
        let folder = cache.join(FOLDER);
        let complete = fs::read_to_string(folder.join(COMPLETE));
        if complete.is_ok_and(|packages| packages == PACKAGES.join("\n")) {
            return Ok(Self::in_environment(&folder));
        }
        progress.note(&format!("installing NVIDIA's compiler, 104 MB, into {}", folder.display()));
        let partial = cache.join(format!(".{FOLDER}-{}", id()));
        fs::create_dir_all(&cache).map_err(CliError::io("create", &cache))?;
        let installed = install(&partial, python);
        if let Err(reason) = installed {
            // What is left of it is of no use; nor is its error.
            let _best_effort = fs::remove_dir_all(&partial);
            return Ok(Err(reason));
        }
        let stamp = partial.join(COMPLETE);
        fs::write(&stamp, PACKAGES.join("\n")).map_err(CliError::io("write", &stamp))?;
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(CliError::io("remove", &folder))?;
        }
        // The compiler finds its parts from where it lies itself, so it may move.
        fs::rename(&partial, &folder).map_err(CliError::io("make", &folder))?;
        Ok(Self::in_environment(&folder))
    }

    fn in_environment(folder: &Path) -> Result<Self, Unavailable> {
        let libraries = fs::read_dir(folder.join("lib")).into_iter().flatten().flatten();
        let homes = libraries.map(|python| python.path().join("site-packages/nvidia/cu13"));
        let home = homes.into_iter().find(|home| home.join("bin/nvcc").is_file());
        let missing =
            || Unavailable(format!("{} has no nvcc: remove the folder and run this again", folder.display()));
        Self::at(&home.ok_or_else(missing)?)
    }

    /// An installed toolkit, if its compiler works here.
    ///
    /// # Errors
    /// `Unavailable` says why it does not: it is not there, or has no C++ compiler that it knows.
    pub(crate) fn at(home: &Path) -> Result<Self, Unavailable> {
        let toolkit = Self { home: home.to_path_buf() };
        // Its version shows a missing nvcc, an empty file a missing or unknown C++ compiler.
        output("nvcc --version", toolkit.nvcc().arg("--version"))?;
        let folder =
            tempfile::tempdir().map_err(|e| Unavailable(format!("no temporary folder for nvcc: {e}")))?;
        let (source, out) = (folder.path().join("empty.cu"), folder.path().join("empty.ptx"));
        fs::write(&source, "").map_err(|e| Unavailable(format!("cannot write {}: {e}", source.display())))?;
        let mut nvcc = toolkit.nvcc();
        output(
            "nvcc with an empty file",
            nvcc.args(["-arch=compute_80", "--ptx", "-o"]).args([out, source]),
        )?;
        Ok(toolkit)
    }

    /// A call of the compiler.
    pub(crate) fn nvcc(&self) -> Command {
        let mut command = Command::new(self.home.join("bin/nvcc"));
        command.env("CUDA_HOME", &self.home);
        command
    }
}

/// A virtual environment with the packages.
fn install(folder: &Path, python: &Path) -> Result<(), Unavailable> {
    output("a Python environment", Command::new(python).args(["-m", "venv"]).arg(folder))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"];
    let mut command = Command::new(folder.join("bin/python"));
    command.args(pip).args(["--no-deps", "--only-binary", ":all:", "--no-cache-dir"]);
    command.args(PIP_PATIENCE).args(PACKAGES);
    match output("pip", &mut command) {
        Ok(_) => Ok(()),
        Err(Unavailable(reason)) => Err(Unavailable(format!(
            "NVIDIA's compiler cannot be fetched from the package index (no network?): {reason}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An environment that cannot be made leaves nothing behind, and says what it lacks.
    #[test]
    fn without_python_there_is_a_reason_and_no_rest() {
        let cache = std::env::temp_dir().join(format!("xtask-toolkit-{}", id()));
        let progress = TerminalProgress::plain();
        let got = Toolkit::obtain(&cache, Path::new("/no/such/python"), &progress).unwrap();
        let Unavailable(reason) = got.unwrap_err();
        assert!(reason.contains("/no/such/python") || !cfg!(target_os = "linux"), "{reason}");
        assert_eq!(fs::read_dir(&cache).map_or(0, Iterator::count), 0);
        let _best_effort = fs::remove_dir_all(&cache);
    }

    #[test]
    fn a_toolkit_without_a_compiler_is_none() {
        let Unavailable(reason) = Toolkit::at(Path::new("/no/such/toolkit")).unwrap_err();
        assert!(reason.contains("/no/such/toolkit/bin/nvcc"), "{reason}");
    }
}
