#!/usr/bin/env bash
# Every kernel suite of simplenet-model under AddressSanitizer. See README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
# Helpers live as long as the program.
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" ASAN_OPTIONS="detect_leaks=0"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target/asan}"
exec cargo test -p simplenet-model --lib --target x86_64-unknown-linux-gnu "${@:-kernels::}"
