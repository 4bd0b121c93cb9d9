//! With the feature `cuda`: compiles every `src/kernels/<op>/<op>.cu` to a fatbin that the library embeds. Without it: nothing.
//!
//! nvcc is looked for in `NVCC`, `CUDA_HOME/bin` and the path. docs/kernels.md says how to build without a GPU and without
//! an installed toolkit. `SIMPLENET_CUDA_STUBS` names a folder of link-time stand-ins for CUDA's libraries.

mod kernel_files;

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Machine code for Ampere, Ada and Hopper, and PTX, which the driver compiles, for what comes after.
const TARGETS: [&str; 4] = [
    "-gencode=arch=compute_80,code=sm_80",
    "-gencode=arch=compute_89,code=sm_89",
    "-gencode=arch=compute_90,code=sm_90",
    "-gencode=arch=compute_90,code=compute_90",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src/kernels");
    for name in ["NVCC", "NVCC_MODE", "CUDA_HOME", "SIMPLENET_CUDA_STUBS"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return Ok(());
    }
    if let Ok(stubs) = env::var("SIMPLENET_CUDA_STUBS") {
        println!("cargo::rustc-link-search=native={stubs}");
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let fake = env::var("NVCC_MODE").as_deref() == Ok("fake");
    let nvcc = env::var_os("NVCC")
        .map(PathBuf::from)
        .or_else(|| env::var_os("CUDA_HOME").map(|home| Path::new(&home).join("bin/nvcc")))
        .unwrap_or_else(|| "nvcc".into());
    let mut table =
        String::from("/// The machine code of every op's kernels.\nstatic FATBINS: &[(&str, &[u8])] = &[\n");
    for (op, source) in kernel_files::kernels(Path::new("src/kernels"))? {
        let fatbin = out.join(format!("{op}.fatbin"));
        if fake {
            // For cargo check: nothing is run.
            fs::write(&fatbin, b"")?;
        } else {
            compile(&nvcc, &source, &fatbin)?;
        }
        table += &format!("    ({op:?}, include_bytes!({fatbin:?})),\n");
    }
    fs::write(out.join("fatbins.rs"), table + "];\n")?;
    Ok(())
}

fn compile(nvcc: &Path, source: &Path, fatbin: &Path) -> Result<(), Box<dyn Error>> {
    let status = Command::new(nvcc)
        .args(["-O3", "-std=c++17", "--fatbin", "-I", "src/kernels/cuda"])
        .args(TARGETS)
        .arg("-o")
        .arg(fatbin)
        .arg(source)
        .status()
        .map_err(|e| {
            format!(
                "cannot run {}: {e}; install the CUDA toolkit, set CUDA_HOME, or see docs/kernels.md",
                nvcc.display()
            )
        })?;
    if status.success() { Ok(()) } else { Err(format!("nvcc could not compile {}", source.display()).into()) }
}
