//! Reads what programs wrote: the names in a folder, JSON files and their fields.

use std::{fs, path::Path};

use serde_json::Value;

/// The names in a folder, sorted.
///
/// # Panics
/// When it cannot be read.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A JSON file.
///
/// # Panics
/// When it cannot be read or is not JSON.
pub fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The lines of a file of JSON lines.
///
/// # Panics
/// When it cannot be read, or a line is not JSON.
pub fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let parse =
        |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}: {line}", path.display()));
    text.lines().map(parse).collect()
}

/// The lines of the predictions.jsonl in a folder.
///
/// # Panics
/// As [`lines`].
pub fn predictions(folder: &Path) -> Vec<Value> {
    lines(&folder.join("predictions.jsonl"))
}

/// A field that is a text.
///
/// # Panics
/// When it is missing or something else.
pub fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_else(|| panic!("no text `{key}` in {object}"))
}

/// The names of an object's fields, in its order.
///
/// # Panics
/// When it is no object.
pub fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}
