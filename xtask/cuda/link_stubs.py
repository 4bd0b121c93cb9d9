#!/usr/bin/env python3
"""Makes stand-ins for the CUDA libraries that candle's `cuda` feature links with, so that one program starts anywhere.

    link_stubs.py OUT CUDARC

In: the folder of the cudarc crate's source, which declares every function. Out: in OUT, static libraries libcuda.a,
libcublas.a, libcublasLt.a, libcurand.a and libnvrtc.a of trampolines: a function's first call opens the real shared library
and looks the function up; later calls jump straight to it. Where the library is missing, functions return its
"there is no device" (or "not initialised") code, and those that give a text give one that says so. libcudart.a is
empty: what candle links it for is left out by nvcc-wrapper's modes `fake` and `lite`. Needs cc and ar; x86-64 Linux only.
"""

import re
import subprocess
import sys
from pathlib import Path

# name: (file names to try, cudarc's module, what functions return when the library is missing)
LIBRARIES = {
    "cuda": (["libcuda.so.1"], "driver", 100),  # CUDA_ERROR_NO_DEVICE
    "nvrtc": (["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"], "nvrtc", 7),  # NVRTC_ERROR_BUILTIN_OPERATION_FAILURE
    "curand": (["libcurand.so.10"], "curand", 203),  # CURAND_STATUS_INITIALIZATION_FAILED
    "cublas": (["libcublas.so.13", "libcublas.so.12"], "cublas", 1),  # CUBLAS_STATUS_NOT_INITIALIZED
    "cublasLt": (["libcublasLt.so.13", "libcublasLt.so.12"], "cublaslt", 1),
}

RESOLVER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>
extern const char *const lazy_@_names[];
extern void *lazy_@_functions[];
static long missing(void) { return %ERROR%; }
static const char *missing_text(void) { return "lib@ was not found"; }
static int ends_with(const char *text, const char *end) {
    size_t n = strlen(text), k = strlen(end);
    return n >= k && !strcmp(text + n - k, end);
}
static void *library(void) {
    static void *handle;
    static int tried;
    void *found = __atomic_load_n(&handle, __ATOMIC_ACQUIRE);
    if (found || __atomic_load_n(&tried, __ATOMIC_ACQUIRE)) return found;
    static const char *const candidates[] = {%CANDIDATES%, NULL};
    for (int i = 0; candidates[i] && !found; i++) found = dlopen(candidates[i], RTLD_LAZY | RTLD_GLOBAL);
    __atomic_store_n(&handle, found, __ATOMIC_RELEASE);
    __atomic_store_n(&tried, 1, __ATOMIC_RELEASE);
    return found;
}
__attribute__((visibility("hidden"))) void *lazy_@_resolve(size_t i) {
    void *handle = library(), *function = handle ? dlsym(handle, lazy_@_names[i]) : NULL;
    if (!function) {
        // What returns a text must not return a number (the driver's cuGet... return a code).
        const char *name = lazy_@_names[i];
        int text = %TEXTS% && (ends_with(name, "String") || ends_with(name, "Name"));
        function = text ? (void *)missing_text : (void *)missing;
    }
    __atomic_store_n(&lazy_@_functions[i], function, __ATOMIC_RELEASE);
    return function;
}
"""

ARGUMENT_REGISTERS = ["rdi", "rsi", "rdx", "rcx", "r8", "r9", "rax", "r10"]


def declared(cudarc: Path, module: str) -> list[str]:
    text = (cudarc / "src" / module / "sys" / "mod.rs").read_text()
    return sorted(set(re.findall(r'extern "C" \{\s*fn (\w+)\(', text)))


def trampolines(library: str, functions: list[str]) -> str:
    """A jump through a table for each function; the first time, past the resolver with every argument kept."""
    lines = ['.section .note.GNU-stack,"",@progbits', ".text", f".hidden lazy_{library}_resolve", f"lazy_{library}_first:"]
    lines += ["push %rbp", "mov %rsp,%rbp", "and $-16,%rsp", "sub $192,%rsp"]
    lines += [f"mov %{register},{8 * i}(%rsp)" for i, register in enumerate(ARGUMENT_REGISTERS)]
    lines += [f"movups %xmm{i},{64 + 16 * i}(%rsp)" for i in range(8)]
    lines += ["mov %r11,%rdi", f"call lazy_{library}_resolve", "mov %rax,%r11"]
    lines += [f"mov {8 * i}(%rsp),%{register}" for i, register in enumerate(ARGUMENT_REGISTERS)]
    lines += [f"movups {64 + 16 * i}(%rsp),%xmm{i}" for i in range(8)]
    lines += ["mov %rbp,%rsp", "pop %rbp", "jmp *%r11"]
    for i, function in enumerate(functions):
        lines += [f".globl {function}", f".type {function},@function", f"{function}:"]
        lines += [f"mov lazy_{library}_functions+{8 * i}(%rip),%r11", "test %r11,%r11", "jz 1f", "jmp *%r11"]
        lines += [f"1: mov ${i},%r11d", f"jmp lazy_{library}_first"]
    for table in ("functions", "names"):
        lines += [f".globl lazy_{library}_{table}", f".hidden lazy_{library}_{table}"]
    lines += [".bss", ".align 8", f"lazy_{library}_functions: .zero {8 * len(functions)}"]
    lines += [".section .rodata"] + [f'.Lname{i}: .string "{name}"' for i, name in enumerate(functions)]
    lines += ['.section .data.rel.ro,"aw"', ".align 8", f"lazy_{library}_names:"]
    lines += [f".quad .Lname{i}" for i in range(len(functions))]
    return "\n".join(lines) + "\n"


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    out, cudarc = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    for library, (files, module, error) in LIBRARIES.items():
        functions = declared(cudarc, module)
        if not functions:
            sys.exit(f"{cudarc} declares no function of {library}: another version of cudarc?")
        resolver = RESOLVER.replace("@", library).replace("%ERROR%", str(error))
        resolver = resolver.replace("%CANDIDATES%", ", ".join(f'"{file}"' for file in files))
        resolver = resolver.replace("%TEXTS%", str(int(library != "cuda")))
        sources = {f"{library}_resolver.c": resolver, f"{library}_trampolines.S": trampolines(library, functions)}
        objects = []
        for name, text in sources.items():
            (out / name).write_text(text)
            objects.append(out / f"{name}.o")
            subprocess.check_call(["cc", "-O2", "-fPIC", "-fvisibility=hidden", "-c", "-o", objects[-1], out / name])
        archive(out / f"lib{library}.a", objects)
        print(f"lib{library}.a: {len(functions)} functions")
    archive(out / "libcudart.a", [])


def archive(path: Path, objects: list[Path]) -> None:
    path.unlink(missing_ok=True)
    subprocess.check_call(["ar", "rcs", path, *objects])


if __name__ == "__main__":
    main()
