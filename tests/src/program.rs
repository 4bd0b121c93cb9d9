//! Runs the project's programs as a person does. In: a folder and a command line. Out: exit code and words, with the
//! checks that every run must pass.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::SystemTime,
};

/// Variables of the caller's shell that would change what a program does.
const CLEARED: [&str; 7] =
    ["HF_ENDPOINT", "HF_TOKEN", "HF_HUB_CACHE", "NO_COLOR", "RAYON_NUM_THREADS", "RUST_BACKTRACE", "COLUMNS"];

/// How a run ended.
#[derive(Debug)]
pub struct Finished {
    /// What was run, as typed.
    pub line: String,
    /// The exit code; `None` when a signal ended the program.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// What to say beside a failed check.
    note: String,
}

/// Runs `line` in `folder`: the program's name and its arguments, separated by spaces (so that no argument has one).
/// The network is forbidden, and the Hub's cache and that of features lie in the folder. Nothing it prints may be made for a terminal.
///
/// # Panics
/// When the program is not built, does not start, panics, or draws a progress bar into a pipe.
pub fn run(folder: &Path, line: &str) -> Finished {
    finish(folder, line, Stdio::piped())
}

/// As [`run`], but nobody reads standard output: its pipe is closed from the start, as `| head` leaves it.
///
/// # Panics
/// As [`run`].
pub fn run_unread(folder: &Path, line: &str) -> Finished {
    let (reader, writer) = std::io::pipe().expect("pipe");
    drop(reader);
    finish(folder, line, writer.into())
}

/// Starts `line` as [`run`] does, and kills it as soon as `now` says so. Returns whether it was still running then.
///
/// # Panics
/// When the program is not built or does not start.
pub fn kill_when(folder: &Path, line: &str, mut now: impl FnMut() -> bool) -> bool {
    let (program, mut command) = prepared(folder, line);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    loop {
        if child.try_wait().expect("a child can be asked").is_some() {
            return false;
        }
        if now() {
            child.kill().expect("a child can be killed");
            child.wait().expect("a killed child ends");
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// The program, and the command that runs it as a test wants it.
fn prepared(folder: &Path, line: &str) -> (PathBuf, Command) {
    let mut words = line.split_whitespace();
    let program = built(words.next().expect("a command line has a program"));
    let mut command = Command::new(&program);
    command.args(words).current_dir(folder);
    for name in CLEARED {
        command.env_remove(name);
    }
    command.env("HF_HUB_OFFLINE", "1").env("HF_HOME", folder.join("hub"));
    command.env("XDG_CACHE_HOME", folder.join("cache"));
    (program, command)
}

fn finish(folder: &Path, line: &str, out: Stdio) -> Finished {
    let (program, mut command) = prepared(folder, line);
    command.stdout(out).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    let output = child.wait_with_output().unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    let text = |bytes| String::from_utf8(bytes).expect("programs print UTF-8");
    let finished = Finished {
        line: line.to_string(),
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
        note: stale(&program),
    };
    finished.check(!finished.err.contains("panicked"), "it panicked");
    finished.check(finished.code.is_some(), "a signal ended it");
    for c in ['\u{1b}', '\r'] {
        let found = finished.out.contains(c) || finished.err.contains(c);
        finished.check(!found, &format!("{c:?} in what went into a pipe: a progress bar or colour?"));
    }
    finished
}

impl Finished {
    /// Exit code 0, no `error:`.
    ///
    /// # Panics
    /// Otherwise.
    pub fn ok(self) -> Self {
        self.check(self.code == Some(0) && !self.err.contains("error:"), "it should succeed");
        self
    }

    /// This exit code and, on standard error, every one of these words.
    ///
    /// # Panics
    /// Otherwise.
    pub fn fails(self, code: i32, words: &[&str]) -> Self {
        self.check(self.code == Some(code), &format!("it should end with exit code {code}"));
        for word in words {
            self.check(self.err.contains(word), &format!("standard error should say `{word}`"));
        }
        self
    }

    /// Exit code 1 and one line on standard error, `error: …`, with every one of these words.
    ///
    /// # Panics
    /// Otherwise.
    pub fn refused(self, words: &[&str]) -> Self {
        let finished = self.fails(1, words);
        let one_line = finished.err.starts_with("error: ") && finished.err.trim_end().lines().count() == 1;
        finished.check(one_line, "standard error should be one line that starts with `error: `");
        finished
    }

    /// Every one of these words on standard output.
    ///
    /// # Panics
    /// Otherwise.
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            self.check(self.out.contains(word), &format!("standard output should say `{word}`"));
        }
        self
    }

    /// Checks something about the run; a failure shows the whole of it.
    ///
    /// # Panics
    /// When `holds` is false.
    pub fn check(&self, holds: bool, what: &str) {
        let Self { line, code, out, err, note } = self;
        assert!(
            holds,
            "{line}\n{what}{note}\nexit code: {code:?}\nstandard output:\n{out}\nstandard error:\n{err}"
        );
    }
}

/// The program in the target folder that this test was built into.
fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("path of the running test");
    let folder = test.parent().and_then(Path::parent).expect("a test lies in target/<profile>/deps");
    let program = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.is_file(),
        "{} is not built: run `cargo build -p simplenet-cli -p xtask` first, or `cargo test --workspace`, which \
         builds it",
        program.display()
    );
    program
}

/// A sentence when the program is older than its sources, which cargo lists beside it: `cargo test -p simplenet-tests`
/// alone does not build it anew.
fn stale(program: &Path) -> String {
    let time =
        |path: &Path| path.metadata().and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let list = std::fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let built = time(program);
    match list.split_whitespace().skip(1).map(Path::new).find(|source| time(source) > built) {
        Some(source) => format!(
            " (mind that the program is older than {}: `cargo build -p simplenet-cli -p xtask`)",
            source.display()
        ),
        None => String::new(),
    }
}
