//! The `simplenet` program: reads the arguments, runs the verb, and turns its outcome into an exit code.

use std::process::ExitCode;

use clap::Parser;
use simplenet_cli::{
    CliError,
    args::{Cli, Verb},
    commands::{bench, calibrate, data, eval, export, import, infer, info, train, verify},
    progress::TerminalProgress,
    set_threads,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => error.tell(),
    }
}

/// Runs the verb; gives the number of images that failed, or of problems that were found.
fn run(cli: &Cli) -> Result<usize, CliError> {
    set_threads(cli.threads)?;
    let progress = TerminalProgress::default();
    match &cli.verb {
        Verb::Train(args) => train::run(args, &progress).map(|()| 0),
        Verb::Eval(args) => eval::run(args, &progress).map(|_| 0),
        Verb::Infer(args) => infer::run(args, &progress).map(|outcome| outcome.failed),
        Verb::Calibrate(args) => calibrate::run(args, &progress).map(|_| 0),
        Verb::Info(args) => info::run(args).map(|()| 0),
        Verb::Verify(args) => verify::run(args).map(|()| 0),
        Verb::Bench(args) => bench::run(args, &progress).map(|_| 0),
        Verb::Data(args) => data::run(args, &progress),
        Verb::Import(args) => import::run(args, &progress).map(|()| 0),
        Verb::Export(args) => export::run(args, &progress).map(|()| 0),
    }
}
