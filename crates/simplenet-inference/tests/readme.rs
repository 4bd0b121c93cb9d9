//! The README's program is the example, and it runs.

#![allow(clippy::unwrap_used)] // tests: a failed expectation must stop them

mod drawn;

#[allow(dead_code)] // its main
#[path = "../examples/inspect.rs"]
mod example;

#[test]
fn the_example_inspects_photographs() {
    let (folder, model, mut photographs) = drawn::folder(3);
    photographs.push(folder.path().join("absent.png"));
    example::inspect(&model, &photographs).unwrap();
    let error = example::inspect(&folder.path().join("absent.safetensors"), &photographs).unwrap_err();
    assert!(error.to_string().contains("absent.safetensors"), "{error}");
}

#[test]
fn the_readme_shows_the_example() {
    let readme = include_str!("../README.md");
    let example = include_str!("../examples/inspect.rs").replace("pub(crate) fn", "fn");
    let shown = readme.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(example.contains(shown), "README.md shows another program than examples/inspect.rs:\n{shown}");
    let lines = shown.lines().filter(|line| !line.is_empty()).count();
    assert!(lines <= 15, "{lines} lines");
}
