#!/usr/bin/env bash
# The tests of the thread team under Miri; with --kernels also memory types and scalar kernels. See README.md.
set -euo pipefail
cd "$(dirname "$0")/team"
# Helpers live as long as the program; crossbeam needs tree borrows.
export MIRIFLAGS="-Zmiri-tree-borrows -Zmiri-ignore-leaks -Zmiri-disable-isolation -Zmiri-permissive-provenance"
target="${CARGO_TARGET_DIR:-$PWD/../../../target/miri}"
CARGO_TARGET_DIR="$target" cargo +nightly miri test --lib
if [ "${1:-}" = --kernels ]; then
    cd ../../..
    CARGO_TARGET_DIR="$target" cargo +nightly miri test -p simplenet-model --lib -- \
        kernels::aligned kernels::channels_last kernels::encoding kernels::leaky_dot::tests::a kernels::winograd::tile kernels::isa
fi
