//! What both programs do around a verb: read the call, run it or print its configuration, and turn the outcome into an exit
//! code.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::{
    config_file::{Call, ConfigFile, Refused, Vocabulary, call},
    error::CliError,
};

/// Reads the arguments of this process, joined with a configuration file, and gives them to `run`, which tells how many things
/// failed.
pub fn main<P: CommandFactory + FromArgMatches>(
    vocabulary: &Vocabulary,
    run: impl FnOnce(&P, Option<&ConfigFile>) -> Result<usize, CliError>,
) -> ExitCode {
    let outcome = match call::<P>(vocabulary, std::env::args_os().collect()) {
        Ok(Call::Run { arguments, file }) => run(&arguments, file.as_ref()),
        Ok(Call::PrintConfig(text)) => {
            print!("{text}");
            Ok(0)
        }
        Err(Refused::CommandLine(error)) => error.exit(),
        Err(Refused::File(error)) => Err(error),
    };
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => error.tell(),
    }
}
