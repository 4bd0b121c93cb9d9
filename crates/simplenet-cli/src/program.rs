//! What both programs do around a verb: read the call, run it or print its configuration, and turn the outcome into an exit
//! code.

use std::{ffi::OsStr, process::ExitCode};

use clap::{CommandFactory, FromArgMatches};
use serde_json::json;

use crate::{
    config_file::{Asked, Call, ConfigFile, Refused, Vocabulary, call},
    error::CliError,
    tell::{self, Level},
};

/// Reads the arguments of this process, joined with a configuration file, and gives them to `run`, which tells how many things
/// failed.
pub fn main<P: CommandFactory + FromArgMatches>(
    vocabulary: &Vocabulary,
    run: impl FnOnce(&P, Option<&ConfigFile>) -> Result<usize, CliError>,
) -> ExitCode {
    let Asked { log_format, call } = call::<P>(vocabulary, std::env::args_os().collect());
    tell::set_format(log_format);
    let outcome = match call {
        Ok(Call::Run { arguments, file }) => run(&arguments, file.as_ref()),
        Ok(Call::PrintConfig(text)) => {
            tell::data(&text);
            Ok(0)
        }
        Err(Refused::CommandLine(error)) => return refuse(&error),
        Err(Refused::File(error)) => Err(error),
    };
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            tell::event(
                Level::Error,
                "failed",
                "not everything went well",
                &json!({ "failed": failed, "exit_code": 1 }),
            );
            ExitCode::from(1)
        }
        Err(error) => error.tell(),
    }
}

/// Whether a terminal would act on it.
fn is_acted_on(argument: &OsStr) -> bool {
    let text = argument.to_string_lossy();
    tell::escaped_line(&text) != text
}

/// Says why a command line cannot be read, or what was asked for: help, the version.
fn refuse(error: &clap::Error) -> ExitCode {
    let message = error.render().to_string();
    if error.use_stderr() && tell::is_json() {
        let message = message.trim().strip_prefix("error: ").unwrap_or(message.trim());
        tell::line(Level::Error, "error", message, &json!({ "exit_code": error.exit_code() }));
    } else if error.use_stderr() && std::env::args_os().any(|argument| is_acted_on(&argument)) {
        // Without clap's colours, and without what the argument would do to the terminal.
        tell::line(Level::Warn, "error", message.trim_end(), &tell::NoFields {});
    } else {
        // Nobody can be told that this cannot be printed.
        let _gone = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
