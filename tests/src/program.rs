//! Runs the project's programs as a person does. In: a folder and a command line. Out: exit code and words, with the
//! checks that every run must pass.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

/// Variables of the caller's shell that would change what a program does.
const CLEARED: [&str; 8] = [
    "HF_ENDPOINT",
    "HF_TOKEN",
    "HF_HUB_CACHE",
    "NO_COLOR",
    "RAYON_NUM_THREADS",
    "RUST_BACKTRACE",
    "COLUMNS",
    "CLICOLOR_FORCE",
];

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

/// Runs a line of shell as a person types it, the built programs being in the path. Otherwise as [`run`].
///
/// # Panics
/// As [`run`].
pub fn shell(folder: &Path, line: &str) -> Finished {
    let program = built("simplenet");
    let mut path = program.parent().map(Path::as_os_str).unwrap_or_default().to_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).env("PATH", path);
    let finished =
        Running { child: start_in(folder, command, Stdio::piped()), line: line.to_string(), program }
            .finish();
    finished.check(finished.code.is_some(), "a signal ended it");
    finished
}

/// Starts `line` as [`run`] does, and leaves it running.
///
/// # Panics
/// When the program is not built or does not start.
pub fn start(folder: &Path, line: &str) -> Running {
    spawn(folder, line, Stdio::piped())
}

/// Starts `line` as [`run`] does, and kills it as soon as `now` says so. Returns whether it was still running then.
///
/// # Panics
/// When the program is not built or does not start.
pub fn kill_when(folder: &Path, line: &str, mut now: impl FnMut() -> bool) -> bool {
    let mut running = start(folder, line);
    while running.is_running() {
        if now() {
            running.signal("KILL");
            return running.finish().code.is_none();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

/// A program that runs.
pub struct Running {
    child: Child,
    line: String,
    program: PathBuf,
}

impl Running {
    /// Whether it has not ended yet.
    ///
    /// # Panics
    /// When the system does not tell.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child's state").is_none()
    }

    /// Sends it a signal: `INT`, `TERM`, `KILL`.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("the program `kill`").success(), "{}: SIG{name} cannot be sent", self.line);
    }

    /// Waits for its end. The code is `None` when a signal ended it.
    ///
    /// # Panics
    /// When it panics, or draws a progress bar into a pipe.
    pub fn finish(self) -> Finished {
        let output = self.child.wait_with_output().unwrap_or_else(|e| panic!("{}: {e}", self.line));
        let text = |bytes| String::from_utf8(bytes).expect("programs print UTF-8");
        let finished = Finished {
            line: self.line,
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
            note: stale(&self.program),
        };
        finished.check(!finished.err.contains("panicked"), "it panicked");
        for c in ['\u{1b}', '\r'] {
            let found = finished.out.contains(c) || finished.err.contains(c);
            finished.check(!found, &format!("{c:?} in what went into a pipe: a progress bar or colour?"));
        }
        finished
    }
}

fn finish(folder: &Path, line: &str, out: Stdio) -> Finished {
    let finished = spawn(folder, line, out).finish();
    finished.check(finished.code.is_some(), "a signal ended it");
    finished
}

fn spawn(folder: &Path, line: &str, out: Stdio) -> Running {
    let mut words = line.split_whitespace();
    let program = built(words.next().expect("a command line has a program"));
    let mut command = Command::new(&program);
    command.args(words);
    Running { child: start_in(folder, command, out), line: line.to_string(), program }
}

/// Starts a command in a folder, without network and with the caches in that folder.
fn start_in(folder: &Path, mut command: Command, out: Stdio) -> Child {
    command.current_dir(folder);
    for name in CLEARED {
        command.env_remove(name);
    }
    command.env("HF_HUB_OFFLINE", "1").env("HF_HOME", folder.join("hub"));
    command.env("XDG_CACHE_HOME", folder.join("cache"));
    command.stdout(out).stderr(Stdio::piped());
    command.spawn().unwrap_or_else(|e| panic!("{}: {e}", command.get_program().display()))
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
///
/// # Panics
/// When it is not there.
pub fn built(name: &str) -> PathBuf {
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
