//! Compiles every `.cu` of simplenet-model with the C++ compiler behind `src/cuda_emu.h`, and a table of its kernels.
//! Where there is no C++20 compiler, says so and leaves the kernels out.

#[path = "../../crates/simplenet-model/kernel_files.rs"]
mod kernel_files;

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let ops = here.join("../../crates/simplenet-model/src/kernels");
    println!("cargo::rerun-if-changed={}", here.join("src").display());
    println!("cargo::rerun-if-changed={}", ops.display());
    println!("cargo::rustc-check-cfg=cfg(emulator)");

    let mut build = cc::Build::new();
    build.cpp(true).std("c++20").opt_level(2).warnings(false).cargo_warnings(false);
    // As the GPU rounds where a kernel says so, and nowhere else: the compiler joins no products and sums by itself.
    build.flag("-ffp-contract=off").include(here.join("src")).include(ops.join("cuda"));
    // As on the GPU, a vector that is not aligned to its size ends the process.
    for flag in ["-fsanitize=alignment", "-fsanitize-undefined-trap-on-error"] {
        build.flag_if_supported(flag);
    }
    let mut table = String::new();
    let mut sources: Vec<PathBuf> = vec![];
    for (op, source) in kernel_files::kernels(&ops)? {
        let text = fs::read_to_string(&source)?;
        let names = names(&text);
        let file = out.join(format!("{op}.cpp"));
        let entries: String = names
            .iter()
            .map(|name| {
                format!("    if (!std::strcmp(name, \"{name}\")) return emu::bound({name}, arguments);\n")
            })
            .collect();
        write_if_new(
            &file,
            &format!(
                "#include \"cuda_emu.h\"\n#include \"{}\"\nstd::function<void()> emu_find_{op}(const char *name, void **arguments) {{\n{entries}    return {{}};\n}}\n",
                source.canonicalize()?.display()
            ),
        )?;
        sources.push(file);
        table += &format!("std::function<void()> emu_find_{op}(const char *, void **);\n");
    }
    let finds: String = kernel_files::kernels(&ops)?
        .iter()
        .map(|(op, _)| format!("    if (auto found = emu_find_{op}(name, arguments)) return found;\n"))
        .collect();
    let door = out.join("door.cpp");
    write_if_new(
        &door,
        &format!(
            "#include \"cuda_emu.h\"\n{table}static std::function<void()> find(const char *name, void **arguments) {{\n{finds}    return {{}};\n}}\n\
             extern \"C\" int emu_launch(const char *name, const unsigned *grid, unsigned threads, size_t shared, int order, void **arguments) {{\n\
             \x20   auto body = find(name, arguments);\n    if (!body) return 1;\n\
             \x20   emu::launch(dim3(grid[0], grid[1], grid[2]), dim3(threads), shared, order, body);\n    return 0;\n}}\n"
        ),
    )?;
    sources.push(door);
    build.files(&sources);
    match build.try_compile("simplenet_cuda_emulated") {
        Ok(()) => println!("cargo::rustc-cfg=emulator"),
        Err(error) => println!(
            "cargo::warning=the CUDA kernels are not tested on the CPU: no C++20 compiler compiled them ({error})"
        ),
    }
    Ok(())
}

/// The names in every `KERNEL(threads, name)`.
fn names(text: &str) -> Vec<&str> {
    let after =
        |part: &'static str| text.split("KERNEL(").skip(1).filter_map(move |rest| rest.split_once(part));
    let inside = after(")").filter_map(|(inside, _)| inside.split_once(',')).map(|(_, name)| name.trim());
    inside.filter(|name| !name.is_empty()).collect()
}

fn write_if_new(path: &Path, text: &str) -> std::io::Result<()> {
    match fs::read_to_string(path) {
        Ok(before) if before == text => Ok(()),
        _ => fs::write(path, text),
    }
}
