//! Completions and manual pages, with the programs that read them where these are here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{fs, process::Command};

use simplenet_tests::program::run;

#[test]
fn bash_completes_verbs_flags_and_values() {
    let folder = tempfile::tempdir().unwrap();
    let script = run(folder.path(), "simplenet completions bash").ok().out;
    fs::write(folder.path().join("simplenet.bash"), script).unwrap();
    if Command::new("bash").arg("--version").output().is_err() {
        return eprintln!("skipped: no bash");
    }
    for (words, expected) in [
        ("simplenet inf", &["infer", "info"][..]),
        ("simplenet infe", &["infer"]),
        ("simplenet infer --map-f", &["--map-format"]),
        ("simplenet infer --map-format n", &["npy", "none"]),
        ("simplenet completions z", &["zsh"]),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
        let ask = format!(
            "source ./simplenet.bash\nCOMP_WORDS=({})\nCOMP_CWORD={}\n_simplenet simplenet {last} {before}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.join(" "),
            words.len() - 1
        );
        let output = Command::new("bash").args(["--norc", "-c", &ask]).current_dir(&folder).output().unwrap();
        let mut found: Vec<String> =
            String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect();
        found.sort();
        let mut expected: Vec<String> = expected.iter().map(|word| word.to_string()).collect();
        expected.sort();
        assert_eq!(found, expected, "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_shell_has_a_script() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let finished = run(folder.path(), &format!("simplenet completions {shell}"))
            .ok()
            .says(&["map-format", "calibrate"]);
        finished.check(finished.err.is_empty(), "nothing else is said");
    }
    run(folder.path(), "simplenet completions tcsh").fails(2, &["tcsh", "bash", "zsh"]);
}

#[test]
fn manual_pages_render_without_warnings() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), "simplenet man").ok().says(&[".TH SIMPLENET 1", "EXIT STATUS", "NO_COLOR"]);
    run(folder.path(), "simplenet man --out pages").ok().says(&["pages in pages"]);
    if Command::new("groff").arg("--version").output().is_err() {
        return eprintln!("skipped: no groff");
    }
    let mut pages = 0;
    for entry in fs::read_dir(folder.path().join("pages")).unwrap() {
        let path = entry.unwrap().path();
        let output = Command::new("groff")
            .args(["-man", "-Tutf8", "-ww", "-b", "-P-cbou"])
            .arg(&path)
            .output()
            .unwrap();
        let warnings = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && warnings.is_empty(), "{}: {warnings}", path.display());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("EXIT STATUS") && text.contains("130"), "{}: {text}", path.display());
        pages += 1;
    }
    assert!(pages >= 10, "{pages} pages");
}
