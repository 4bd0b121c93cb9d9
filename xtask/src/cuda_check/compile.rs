//! Every kernel through NVIDIA's compiler. In: files. Out: what each kernel takes, in the compiler's own numbers.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use rayon::prelude::*;
use simplenet_cli::progress::TerminalProgress;

use super::report::{Compiled, Kernel, Outcome};
use crate::cuda::{INCLUDE, Toolkit};

/// What a file is compiled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// Code that a driver compiles further.
    Ptx(&'static str),
    /// Machine code, with numbers on what it takes.
    Machine(&'static str),
}

const TARGETS: [Target; 3] = [Target::Ptx("compute_80"), Target::Machine("sm_80"), Target::Machine("sm_90")];

/// Compiles every file for every target.
pub(super) fn all(
    toolkit: &Toolkit,
    files: &[(String, PathBuf)],
    progress: &TerminalProgress,
) -> Outcome<Compiled> {
    let runs: Vec<_> = files.iter().flat_map(|file| TARGETS.map(|target| (file, target))).collect();
    progress.start("kernels", runs.len() as u64);
    let results: Vec<_> = runs
        .into_par_iter()
        .map(|((op, source), target)| {
            let result = one(toolkit.nvcc(), op, source, target);
            progress.advance(1);
            result
        })
        .collect();
    progress.finish();
    let mut compiled = Compiled::default();
    for result in results {
        match result {
            Ok(kernels) => compiled.kernels.extend(kernels),
            Err(error) => compiled.errors.push(error),
        }
    }
    Outcome::Checked(compiled)
}

fn one(mut nvcc: Command, op: &str, source: &Path, target: Target) -> Result<Vec<Kernel>, String> {
    // Not /dev/null: a compiler that fails may remove its output.
    let out =
        tempfile::NamedTempFile::new().map_err(|e| format!("no temporary file for nvcc's output: {e}"))?;
    nvcc.args(["-O3", "-std=c++17", "-Werror", "all-warnings", "-I", INCLUDE, "-o"]).arg(out.path());
    let target = match target {
        Target::Ptx(target) => {
            nvcc.args(["--ptx", "-arch", target]);
            target
        }
        Target::Machine(target) => {
            nvcc.args(["-cubin", "-Xptxas", "-v", "-arch", target]);
            target
        }
    };
    let failed = |words: &str| format!("{} for {target}: {}", source.display(), words.trim());
    let output = nvcc.arg(source).output().map_err(|e| failed(&format!("nvcc cannot be run: {e}")))?;
    let words = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        parse(op, target, &words).map_err(|line| failed(&format!("nvcc says what is not understood: {line}")))
    } else {
        Err(failed(&words))
    }
}

/// What `ptxas -v` says of each kernel; an unknown line of a known kind is an error.
fn parse(op: &str, target: &str, words: &str) -> Result<Vec<Kernel>, String> {
    let mut kernels: Vec<Kernel> = vec![];
    for line in words.lines() {
        let unknown = || line.to_string();
        if let Some(entry) = line.split("Compiling entry function '").nth(1) {
            let (kernel, _) = entry.split_once('\'').ok_or_else(unknown)?;
            kernels.push(Kernel {
                op: op.into(),
                kernel: kernel.into(),
                target: target.into(),
                registers: 0,
                shared_bytes: 0,
                stack_bytes: 0,
                spill_store_bytes: 0,
                spill_load_bytes: 0,
            });
        } else if line.contains("bytes stack frame") {
            // Also of functions that a kernel calls: they count for the kernel.
            let kernel = kernels.last_mut().ok_or_else(unknown)?;
            kernel.stack_bytes += before(line, "bytes stack frame").ok_or_else(unknown)?;
            kernel.spill_store_bytes += before(line, "bytes spill stores").ok_or_else(unknown)?;
            kernel.spill_load_bytes += before(line, "bytes spill loads").ok_or_else(unknown)?;
        } else if line.contains("Used ") {
            let kernel = kernels.last_mut().ok_or_else(unknown)?;
            kernel.registers = before(line, "registers").ok_or_else(unknown)?;
            // Not there where there is none.
            kernel.shared_bytes = before(line, "bytes smem").unwrap_or(0);
        }
    }
    Ok(kernels)
}

/// The number before these words.
fn before(line: &str, words: &str) -> Option<u32> {
    let (before, _) = line.split_once(words)?;
    before.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As nvcc 13.0.88 writes it.
    const WORDS: &str = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'plain' for 'sm_90'
ptxas info    : Function properties for plain
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 31 registers, used 0 barriers
ptxas info    : Compile time = 30.513 ms
ptxas info    : Compiling entry function 'full' for 'sm_90'
ptxas info    : Function properties for full
    72 bytes stack frame, 68 bytes spill stores, 76 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 72 bytes cumulative stack size, 16640 bytes smem
";

    #[test]
    fn reads_what_the_compiler_says() {
        let kernels = parse("op", "sm_90", WORDS).unwrap();
        let numbers = |k: &Kernel| {
            [k.registers, k.shared_bytes, k.stack_bytes, k.spill_store_bytes, k.spill_load_bytes]
        };
        let read: Vec<_> = kernels.iter().map(|k| (&k.kernel[..], numbers(k))).collect();
        assert_eq!(read, [("plain", [31, 0, 0, 0, 0]), ("full", [255, 16640, 72, 68, 76])]);
        assert_eq!((&kernels[0].op[..], &kernels[0].target[..]), ("op", "sm_90"));
    }

    #[test]
    fn other_words_are_not_taken_for_zeros() {
        let changed = WORDS.replace("31 registers", "many registers");
        assert!(parse("op", "sm_90", &changed).unwrap_err().contains("many registers"));
        let changed = WORDS.replace("68 bytes spill stores", "68 bytes stored");
        assert!(parse("op", "sm_90", &changed).unwrap_err().contains("68 bytes stored"));
    }

    #[test]
    fn a_compiler_that_fails_is_quoted() {
        let mut nvcc = Command::new("sh");
        nvcc.args(["-c", "echo 'x.cu(3): error: no such thing' >&2; exit 2"]);
        let error = one(nvcc, "x", Path::new("x.cu"), Target::Machine("sm_80")).unwrap_err();
        assert_eq!(error, "x.cu for sm_80: x.cu(3): error: no such thing");
    }
}
