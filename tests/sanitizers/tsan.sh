#!/usr/bin/env bash
# The tests of the thread team under ThreadSanitizer. See README.md.
set -euo pipefail
cd "$(dirname "$0")/team"
export RUSTFLAGS="-Zsanitizer=thread" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-../../../target/tsan}"
exec cargo +nightly test --lib -Zbuild-std --target x86_64-unknown-linux-gnu "$@"
