//! The modules of a crate form no circle: who reads one from the bottom up never has to look ahead.
//!
//! In: the sources of every crate. Out: nothing, or the circles, each with the uses that close it. A folder counts as one
//! module, the root (`lib.rs`, `main.rs`) as none: what it re-exports belongs to the module that it comes from. Comments,
//! strings and what is compiled for tests only are left out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Who uses whom: the places of each use, as `file:line: path`.
type Arrows = BTreeMap<(String, String), Vec<String>>;

#[test]
fn modules_form_no_circle() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut sources: Vec<PathBuf> = fs::read_dir(workspace.join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().path().join("src"))
        .collect();
    sources.extend(["xtask", "tests"].map(|name| workspace.join(name).join("src")));
    sources.sort();
    let found: Vec<String> = sources
        .iter()
        .flat_map(|source| circles(&arrows(source)).into_iter().map(move |circle| (source, circle)))
        .map(|(source, circle)| format!("{}: {circle}", source.strip_prefix(workspace).unwrap().display()))
        .collect();
    assert!(found.is_empty(), "modules that use each other in a circle:\n\n{}", found.join("\n"));
}

/// The circles among the modules, each in words; none where there is none.
fn circles(arrows: &Arrows) -> Vec<String> {
    let modules: BTreeSet<&String> = arrows.keys().flat_map(|(from, to)| [from, to]).collect();
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        modules.iter().map(|&module| (module, reachable(arrows, module))).collect();
    let mut told = BTreeSet::new();
    let mut circles = vec![];
    for &module in &modules {
        let circle: Vec<&String> =
            reached[module].iter().filter(|&&m| reached[m].contains(module)).copied().collect();
        if circle.is_empty() || !told.insert(circle.clone()) {
            continue;
        }
        let names = circle.iter().map(|module| module.as_str()).collect::<Vec<_>>().join(", ");
        let mut words = format!("{{{names}}}\n");
        for ((from, to), uses) in
            arrows.iter().filter(|((a, b), _)| circle.contains(&a) && circle.contains(&b))
        {
            words += &format!("  {from} -> {to}\n    {}\n", uses.join("\n    "));
        }
        circles.push(words);
    }
    circles
}

/// The modules that `from` uses, directly or by way of others.
fn reachable<'a>(arrows: &'a Arrows, from: &'a str) -> BTreeSet<&'a String> {
    let (mut reached, mut waiting) = (BTreeSet::new(), vec![from]);
    while let Some(module) = waiting.pop() {
        for (_, to) in arrows.keys().filter(|(user, _)| user == module) {
            if reached.insert(to) {
                waiting.push(to);
            }
        }
    }
    reached
}

/// What the top-level modules below `source` use of each other.
fn arrows(source: &Path) -> Arrows {
    let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
    let mut only_tests = BTreeSet::new();
    for path in rust_files(source) {
        let (code, tests) = without_tests(&path, &fs::read_to_string(&path).unwrap());
        only_tests.extend(tests);
        files.insert(path, code);
    }
    files.retain(|path, _| !path.ancestors().any(|part| only_tests.contains(&part.with_extension(""))));
    let modules: BTreeMap<&PathBuf, Vec<String>> =
        files.keys().map(|path| (path, module_of(path.strip_prefix(source).unwrap()))).collect();
    let tops: BTreeSet<&String> = modules.values().filter_map(|module| module.first()).collect();

    // Names that the root has from its modules.
    let mut re_exports = BTreeMap::new();
    for code in files.iter().filter(|(path, _)| modules[path].is_empty()).map(|(_, code)| code) {
        for (start, _) in code.match_indices("use ").filter(|&(at, _)| is_word_start(code, at)) {
            let statement = &code[start + 4..code[start..].find(';').map_or(code.len(), |end| start + end)];
            for path in flattened(statement) {
                let mut parts =
                    path.split("::").map(str::trim).skip_while(|part| matches!(*part, "crate" | "self"));
                let (Some(module), Some(name)) = (parts.next(), parts.last()) else { continue };
                let name = name.rsplit(" as ").next().unwrap().trim().to_string();
                assert!(name != "*", "{}: a glob hides what is whose: {path}", source.display());
                re_exports.insert(name, module.to_string());
            }
        }
    }

    let mut arrows = Arrows::new();
    for (path, code) in &files {
        let Some(user) = modules[path].first() else { continue };
        for (at, named) in paths_from_the_root(code, modules[path].len()) {
            let name = named.split("::").next().unwrap_or_default().trim().to_string();
            let used = tops.get(&name).map(|top| top.to_string()).or_else(|| re_exports.get(&name).cloned());
            let Some(used) = used.filter(|used| tops.contains(used) && used != user) else { continue };
            let line = 1 + code[..at].matches('\n').count();
            let place = format!("{}:{line}: crate::{named}", path.strip_prefix(source).unwrap().display());
            arrows.entry((user.clone(), used)).or_default().push(place);
        }
    }
    arrows
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The path of a file's module below the root; empty for the root.
fn module_of(file: &Path) -> Vec<String> {
    let parts = file.with_extension("");
    let parts = parts.iter().map(|part| part.to_string_lossy().into_owned());
    parts.filter(|part| !matches!(part.as_str(), "mod" | "lib" | "main")).collect()
}

/// Where code names something of the root, and its path from there: `crate::path`, `super::path` of a module at `depth`; each
/// of a group's.
fn paths_from_the_root(code: &str, depth: usize) -> Vec<(usize, String)> {
    let mut found = vec![];
    for prefix in ["crate::".to_string(), "super::".repeat(depth)] {
        for (at, _) in code.match_indices(&prefix).filter(|&(at, _)| is_word_start(code, at)) {
            let rest = code[at + prefix.len()..].trim_start();
            let path = rest.find(|c| !is_of_a_word(c) && c != ':').unwrap_or(rest.len());
            let is_group = rest[path..].starts_with('{') && (path == 0 || rest[..path].ends_with("::"));
            let end = if is_group { path + closing(&rest[path..]) + 1 } else { path };
            found.extend(flattened(&rest[..end]).into_iter().map(|path| (at, path)));
        }
    }
    found
}

/// The paths of a `use`: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn flattened(tree: &str) -> Vec<String> {
    let Some(open) = tree.find('{') else { return vec![tree.trim().to_string()] };
    let (prefix, inside) = (tree[..open].trim(), &tree[open + 1..open + closing(&tree[open..])]);
    let (mut depth, mut start, mut parts) = (0, 0, vec![]);
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inside[start..]);
    let whole = parts.into_iter().filter(|part| !part.trim().is_empty());
    whole.flat_map(flattened).map(|path| format!("{prefix}{path}")).collect()
}

/// Where the brace that `text` begins with is closed.
fn closing(text: &str) -> usize {
    let mut depth = 0;
    let end = text.char_indices().find(|&(_, c)| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth == 0
    });
    end.map_or(text.len() - 1, |(at, _)| at)
}

fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether no word and no path goes on there.
fn is_word_start(code: &str, at: usize) -> bool {
    !code[..at].ends_with(|c| is_of_a_word(c) || c == ':')
}

/// Code with blanks for comments, strings and what is compiled for tests only; and the files, without their ending, of modules
/// that are.
fn without_tests(path: &Path, source: &str) -> (String, Vec<PathBuf>) {
    let mut code = blanked(source);
    let mut files = vec![];
    let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
    let parent = path.parent().unwrap();
    let folder = if matches!(stem.as_str(), "mod" | "lib" | "main") {
        parent.to_path_buf()
    } else {
        parent.join(stem)
    };
    for mark in ["#[cfg(test)]", "#[cfg(all(test"] {
        while let Some(start) = code.find(mark) {
            let item = &code[start..];
            // A block, or up to the semicolon; a group of a `use` is no block.
            let (block, semicolon) =
                (item.find('{').unwrap_or(item.len()), item.find(';').unwrap_or(item.len()));
            let is_use = item[..block].split_whitespace().any(|word| word == "use");
            let end = if block < semicolon && !is_use { block + closing(&item[block..]) } else { semicolon };
            let end = start + end.min(item.len() - 1);
            if let Some((_, name)) =
                code[start..=end].rsplit_once("mod ").filter(|_| end == start + semicolon)
            {
                let path_of =
                    source[start..end].split_once("#[path = \"").and_then(|(_, rest)| rest.split_once('"'));
                let file = path_of
                    .map_or_else(|| folder.join(name.trim_end_matches(';')), |(file, _)| parent.join(file));
                files.push(file.with_extension(""));
            }
            let blank: String = code[start..=end].chars().map(blank).collect();
            code.replace_range(start..=end, &blank);
        }
    }
    (code, files)
}

fn blank(c: char) -> char {
    if c == '\n' { c } else { ' ' }
}

/// Blanks, one a byte, for comments and what stands in strings; lines stay.
fn blanked(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = bytes.to_vec();
    let find = |from: usize, what: &str| {
        source.get(from..).and_then(|rest| rest.find(what)).map_or(bytes.len(), |at| from + at)
    };
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let end = if rest.starts_with(b"//") {
            find(at, "\n")
        } else if rest.starts_with(b"/*") {
            find(at, "*/") + 2
        } else if rest.starts_with(b"r\"") || rest.starts_with(b"r#") {
            let marks = rest[1..].iter().take_while(|&&b| b == b'#').count();
            match rest.get(1 + marks) {
                Some(b'"') => find(at + marks + 2, &format!("\"{}", "#".repeat(marks))) + 1 + marks,
                _ => at + 1, // a raw name
            }
        } else if rest[0] == b'"' {
            let mut end = at + 1;
            while end < bytes.len() && bytes[end] != b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            end + 1
        } else if rest[0] == b'\''
            && (rest.get(1) == Some(&b'\\') || source[at + 1..].chars().nth(1) == Some('\''))
        {
            // A character, not a lifetime.
            find(at + if rest[1] == b'\\' { 3 } else { 2 }, "'") + 1
        } else {
            at += 1;
            continue;
        };
        let end = end.min(bytes.len());
        // A raw name's `r` stays.
        if end > at + 1 {
            code[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        }
        at = end;
    }
    String::from_utf8(code).unwrap()
}

#[test]
fn a_circle_is_told_with_the_uses_that_close_it() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        "lib.rs",
        "mod error;\nmod room;\nmod end;\npub use room::{Kept as Stopped, inner::{Deep}};\npub fn program() {}\n",
    );
    write("error.rs", "use crate::end;\n\nfn f(kept: crate::Stopped) { crate::program() }\n");
    write("room/mod.rs", "mod inner;\n#[cfg(test)]\nmod tests;\n");
    write("room/tests.rs", "use crate::end::Tested;\n");
    write(
        "room/inner.rs",
        "use std::fmt;\nuse super::super::{\n    end::{self, End},\n    error::Error,\n};\n",
    );
    let end = "// use crate::room;\n/* crate::error */\nconst C: (char, &str, &str) = ('\"', \"crate::room\", r#\"\"crate::room\"#);\n\
        #[cfg(test)]\nuse crate::room::{Kept};\n#[cfg(test)]\nmod tests { use crate::error::Error; fn f() {} }\n";
    write("end.rs", end);
    let found = circles(&arrows(folder.path()));
    let want = "{error, room}\n  error -> room\n    error.rs:3: crate::Stopped\n  room -> error\n    room/inner.rs:2: crate::error::Error\n";
    assert_eq!(found, [want]);

    write("end.rs", &format!("{end}fn g<'a>(x: &'a str) -> crate::Deep {{}}\n"));
    let found = circles(&arrows(folder.path()));
    assert!(found.len() == 1 && found[0].starts_with("{end, error, room}\n"), "{found:?}");
    assert!(found[0].contains("  end -> room\n    end.rs:8: crate::Deep\n"), "{found:?}");
    assert!(!found[0].contains("tests.rs"), "{found:?}");

    write("error.rs", "use crate::end;\n");
    write("end.rs", end);
    assert!(circles(&arrows(folder.path())).is_empty());
}
