//! The built program starts. (A package with such a test gets its programs built by `cargo test --workspace`, which the
//! tests of `simplenet-tests` count on.)

use std::process::Command;

#[test]
fn the_program_tells_its_version() {
    let output = Command::new(env!("CARGO_BIN_EXE_simplenet")).arg("--version").output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        format!("simplenet {}", env!("CARGO_PKG_VERSION"))
    );
}
