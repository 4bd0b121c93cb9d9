//! The peers: a Python process that holds them all and runs the one that is asked for. In: names of engines. Out: the
//! milliseconds of one run each. It answers one line of JSON to each line; see `tests/peers/engines_peers.py`.

use std::{
    io::{BufRead, BufReader, ErrorKind, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use simplenet_cli::CliError;
use simplenet_model::BackboneId;

const SCRIPT: &str = "tests/peers/engines_peers.py";
const REQUIREMENTS: &str = "tests/peers/requirements-engines.txt";

/// An engine that is ready, its taps checked.
#[derive(Debug, Deserialize)]
pub(super) struct Engine {
    /// What [`Worker::run`] knows it by.
    pub(super) name: String,
    /// Its name for people, with version and precision.
    pub(super) label: String,
    /// Largest difference of its taps from ours, over the largest magnitude of the tap.
    pub(super) deviation: f64,
}

/// The first answer.
#[derive(Deserialize)]
struct Ready {
    engines: Vec<Engine>,
}

/// The answer to every request.
#[derive(Deserialize)]
struct Time {
    ms: f64,
}

/// What may come instead of any answer.
#[derive(Deserialize)]
struct Failure {
    error: String,
}

/// The running process. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Worker {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts the script on the files in `folder` and waits until every engine is built and checked.
    ///
    /// # Errors
    /// No such Python, a package that is missing, an engine that fails or whose taps are not ours.
    pub(super) fn start(
        python: &Path,
        id: BackboneId,
        folder: &Path,
    ) -> Result<(Self, Vec<Engine>), CliError> {
        if !Path::new(SCRIPT).is_file() {
            return Err(CliError::Usage(format!(
                "{SCRIPT} is not here: run this from the repository's root"
            )));
        }
        let started = Command::new(python)
            .arg(SCRIPT)
            .args(["--backbone", id.name(), "--threads", &rayon::current_num_threads().to_string()])
            .arg("--folder")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut process = started.map_err(|error| match error.kind() {
            ErrorKind::NotFound => CliError::Usage(format!(
                "there is no `{}`: name a Python with --python PATH, one that has had \
                 `pip install -r {REQUIREMENTS}`",
                python.display()
            )),
            _ => CliError::io("start", python)(error),
        })?;
        let (Some(requests), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(CliError::Usage("the peers' process has no pipes".into()));
        };
        let mut worker = Self { process, requests, answers: BufReader::new(answers) };
        let ready: Ready = worker.answer()?;
        Ok((worker, ready.engines))
    }

    /// Runs an engine once; gives the milliseconds that it took, without the way there and back.
    ///
    /// # Errors
    /// The engine failed, or the process has ended.
    pub(super) fn run(&mut self, engine: &str) -> Result<f64, CliError> {
        writeln!(self.requests, "{}", json!({ "run": engine })).map_err(CliError::io("write to", SCRIPT))?;
        let time: Time = self.answer()?;
        Ok(time.ms)
    }

    fn answer<T: DeserializeOwned>(&mut self) -> Result<T, CliError> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(CliError::io("read from", SCRIPT))?;
        if line.is_empty() {
            return Err(CliError::Usage(format!("{SCRIPT} ended too early; its own words are above")));
        }
        if let Ok(Failure { error }) = serde_json::from_str(&line) {
            return Err(CliError::Usage(format!("{SCRIPT}: {error}")));
        }
        serde_json::from_str(&line)
            .map_err(|error| CliError::Usage(format!("{SCRIPT} answered `{}`: {error}", line.trim_end())))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It keeps nothing that would have to be saved.
        let _gone_already = self.process.kill();
        let _gone_already = self.process.wait();
    }
}
