//! The `simplenet` program: reads the arguments, runs the verb, and turns its outcome into an exit code.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::CommandFactory;
use simplenet_cli::{
    CliError,
    args::{Cli, Verb},
    commands::{bench, calibrate, completions, data, eval, export, import, infer, info, man, train, verify},
    config_file::{ConfigFile, Vocabulary},
    program,
    progress::TerminalProgress,
    set_threads,
};

fn main() -> ExitCode {
    program::main(&Vocabulary::of_simplenet(Cli::command()), run)
}

/// Runs the verb; gives the number of images that failed, or of problems that were found.
fn run(cli: &Cli, file: Option<&ConfigFile>) -> Result<usize, CliError> {
    set_threads(cli.global.threads)?;
    let progress = TerminalProgress::default();
    match &cli.verb {
        Verb::Train(args) => train::run(args, file, &progress).map(|()| 0),
        Verb::Eval(args) => eval::run(args, &progress).map(|_| 0),
        Verb::Infer(args) => infer::run(args, &progress).map(|outcome| outcome.failures()),
        Verb::Calibrate(args) => calibrate::run(args, &progress).map(|_| 0),
        Verb::Info(args) => info::run(args).map(|()| 0),
        Verb::Verify(args) => verify::run(args).map(|()| 0),
        Verb::Bench(args) => bench::run(args, &progress).map(|_| 0),
        Verb::Import(args) => import::run(args, file, &progress).map(|()| 0),
        Verb::Export(args) => export::run(args, &progress).map(|()| 0),
        Verb::Data(args) => data::run(args, &progress),
        Verb::Completions(args) => {
            completions::run(args);
            Ok(0)
        }
        Verb::Man(args) => man::run(args).map(|()| 0),
    }
}
