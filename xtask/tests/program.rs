//! The built program starts. (A package with such a test gets its programs built by `cargo test --workspace`, which the
//! tests of `simplenet-tests` count on.)

use std::process::Command;

#[test]
fn the_program_lists_its_tasks() {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("--help").output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    for task in ["train-all", "ablate", "bench", "weights", "import-backbone", "cuda-check", "gpu-check"] {
        assert!(text.contains(task), "no `{task}` in:\n{text}");
    }
}
