//! One call of a program: what is typed, joined with what a configuration file says.
//!
//! The arguments are parsed twice: first leniently, to find the verb, `--config` and the flags that were typed; then, with the
//! file's flags behind them, for good. A file's flag that was typed too, or that contradicts a typed one, is left out.

use std::{collections::HashSet, ffi::OsString, path::PathBuf};

use clap::{
    Arg, ArgMatches, Command, CommandFactory, FromArgMatches,
    builder::{Resettable, StyledStr},
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

use simplenet_train::config_text::unknown;

use super::{ConfigFile, Vocabulary, flags, print};
use crate::{args::LogFormat, error::CliError};

/// What a person asks for.
#[derive(Debug)]
pub enum Call<P> {
    /// To run a verb.
    Run {
        /// The verb and its flags.
        arguments: P,
        /// The configuration file, if one was named.
        file: Option<ConfigFile>,
    },
    /// To see the configuration: this text, TOML.
    PrintConfig(String),
}

/// Why there is no call.
#[derive(Debug)]
pub enum Refused {
    /// The command line cannot be read, or asks for help.
    CommandLine(clap::Error),
    /// The configuration file cannot be read or obeyed.
    File(CliError),
}

impl From<clap::Error> for Refused {
    fn from(error: clap::Error) -> Self {
        Self::CommandLine(error)
    }
}

impl From<CliError> for Refused {
    fn from(error: CliError) -> Self {
        Self::File(error)
    }
}

/// A flag that a file sets.
struct FileFlag<'a> {
    flag: &'a Arg,
    key: String,
    /// Its table, without brackets; none at the top.
    table: Option<String>,
    line: Option<usize>,
    value: String,
    arguments: Vec<OsString>,
}

/// What was asked for, or why nothing can be done; and how to tell it, as far as that could be read.
pub struct Asked<P> {
    /// How to tell.
    pub log_format: LogFormat,
    /// What to do.
    pub call: Result<Call<P>, Refused>,
}

/// Reads a call; `typed` begins with the program's name.
pub fn call<P: CommandFactory + FromArgMatches>(vocabulary: &Vocabulary, typed: Vec<OsString>) -> Asked<P> {
    let mut log_format = LogFormat::default();
    let call = read(vocabulary, typed, &mut log_format);
    Asked { log_format, call }
}

fn read<P: CommandFactory + FromArgMatches>(
    vocabulary: &Vocabulary,
    mut typed: Vec<OsString>,
    log_format: &mut LogFormat,
) -> Result<Call<P>, Refused> {
    // Before anything is read that may be wrong, so that an error is told in this form too.
    if asks_for_json(&typed) {
        *log_format = LogFormat::Json;
    }
    // Help and the version end here.
    let sketch = P::command().ignore_errors(true).try_get_matches_from(&typed)?;
    let file = match sketch.get_one::<PathBuf>("config") {
        Some(path) => Some(ConfigFile::read(path, vocabulary)?),
        None => None,
    };
    let (verb, matches) = deepest(&sketch);
    let command = verb.iter().try_fold(vocabulary.own(), |command, name| command.find_subcommand(name));
    let of_file = match (&file, command) {
        (Some(file), Some(command)) => flags_of_file(file, vocabulary, &verb, command, matches)?,
        _ => vec![],
    };
    if of_file.iter().any(|set| set.key == "log_format" && set.value == "\"json\"") {
        *log_format = LogFormat::Json;
    }
    let at = typed.iter().position(|argument| argument == "--").unwrap_or(typed.len());
    let (positional, flags): (Vec<_>, Vec<_>) = of_file.iter().partition(|set| set.flag.is_positional());
    typed.splice(at..at, flags.into_iter().chain(positional).flat_map(|set| set.arguments.clone()));

    let prints = sketch.get_flag("print_config");
    // What is to be seen need not be complete.
    let parser = if prints { without_requirements(P::command()) } else { P::command() };
    let matches = parser.try_get_matches_from(typed).map_err(|error| match &file {
        Some(file) => explained(error, file, vocabulary, &verb, &of_file),
        None => Refused::CommandLine(error),
    })?;
    if prints {
        return Ok(Call::PrintConfig(print::configuration(vocabulary, &matches, file.as_ref())?));
    }
    *log_format = matches.get_one("log_format").copied().unwrap_or_default();
    Ok(Call::Run { arguments: P::from_arg_matches(&matches)?, file })
}

fn asks_for_json(typed: &[OsString]) -> bool {
    let flag = typed.iter().position(|argument| argument == "--log-format");
    typed.iter().any(|argument| argument == "--log-format=json")
        || flag.and_then(|at| typed.get(at + 1)).is_some_and(|value| value == "json")
}

/// The verb's names and what was parsed of it.
pub(super) fn deepest(matches: &ArgMatches) -> (Vec<String>, &ArgMatches) {
    let (mut names, mut deepest) = (vec![], matches);
    while let Some((name, below)) = deepest.subcommand() {
        names.push(name.to_string());
        deepest = below;
    }
    (names, deepest)
}

/// What a file sets of a verb's flags, without those that are typed or contradict typed ones.
fn flags_of_file<'a>(
    file: &ConfigFile,
    vocabulary: &Vocabulary,
    verb: &[String],
    command: &'a Command,
    typed: &ArgMatches,
) -> Result<Vec<FileFlag<'a>>, CliError> {
    let names = vocabulary.table_of(verb);
    let table = file.below(&names);
    let is_typed = |flag: &Arg| typed.value_source(flag.get_id().as_str()) == Some(ValueSource::CommandLine);
    let typed_flags: Vec<&Arg> = command.get_arguments().filter(|flag| is_typed(flag)).collect();
    let mut set = vec![];
    for (key, flag) in flags::keys(command) {
        let in_table = table.and_then(|table| table.get(&key)).map(|placed| (placed, Some(names.join("."))));
        let at_top = || file.top(&key).filter(|_| flag.is_global_set()).map(|placed| (placed, None));
        let Some((placed, table)) = in_table.or_else(at_top) else { continue };
        if typed_flags.iter().any(|other| other.get_id() == flag.get_id() || contradict(command, flag, other))
        {
            continue;
        }
        // Said to be what it is anyway: that contradicts nothing and needs nothing, as if it were not said.
        if flags::is_default(flag, &placed.value) {
            continue;
        }
        // Checked when the file was read.
        let arguments = flags::arguments(flag, &key, placed).map_err(CliError::Usage)?;
        set.push(FileFlag {
            flag,
            key,
            table,
            line: placed.line,
            value: placed.value.to_string(),
            arguments,
        });
    }
    Ok(set)
}

/// Whether two flags cannot stand together.
fn contradict(command: &Command, one: &Arg, other: &Arg) -> bool {
    let names = |flag: &Arg, other: &Arg| {
        command.get_arg_conflicts_with(flag).iter().any(|named| named.get_id() == other.get_id())
    };
    let share_a_group = || {
        command.get_groups().any(|group| {
            let members: HashSet<&str> = group.get_args().map(|id| id.as_str()).collect();
            let both = [one, other].iter().all(|flag| members.contains(flag.get_id().as_str()));
            both && !group.clone().is_multiple()
        })
    };
    names(one, other) || names(other, one) || share_a_group()
}

fn without_requirements(command: Command) -> Command {
    let groups: Vec<String> = command.get_groups().map(|group| group.get_id().to_string()).collect();
    let free = |flag: Arg| flag.required(false).required_unless_present(Resettable::Reset);
    let command = command.mut_args(free).mut_subcommands(without_requirements);
    groups.iter().fold(command, |command, id| command.mut_group(id, |group| group.required(false)))
}

/// An error of the joined arguments: of the file where a flag of the file is at fault, else of what was typed.
fn explained(
    mut error: clap::Error,
    file: &ConfigFile,
    vocabulary: &Vocabulary,
    verb: &[String],
    of_file: &[FileFlag<'_>],
) -> Refused {
    let said_of = |kind: ContextKind| -> Vec<String> {
        match error.get(kind) {
            Some(ContextValue::String(text)) => vec![text.clone()],
            Some(ContextValue::Strings(texts)) => texts.clone(),
            _ => vec![],
        }
    };
    let set = |shown: &String| of_file.iter().find(|set| set.flag.to_string() == *shown);
    let at_fault = said_of(ContextKind::InvalidArg);
    let Some(fault) =
        at_fault.iter().find_map(set).filter(|_| error.kind() != ErrorKind::MissingRequiredArgument)
    else {
        if error.kind() == ErrorKind::MissingRequiredArgument {
            let table = vocabulary.table_of(verb).join(".");
            let tip = format!("{} may say it too, in [{table}]", file.path().display());
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
        }
        return Refused::CommandLine(error);
    };
    let why = match error.kind() {
        ErrorKind::ArgumentConflict => {
            let others = said_of(ContextKind::PriorArg);
            let others: Vec<String> = others
                .iter()
                .map(|shown| match set(shown) {
                    Some(FileFlag { key, line: Some(line), .. }) => format!("`{key}` (line {line})"),
                    _ => format!("`{shown}`"),
                })
                .collect();
            format!("it cannot stand beside {}", others.join(", "))
        }
        _ => {
            let source = std::error::Error::source(&error).map(|source| source.to_string());
            let choices = said_of(ContextKind::ValidValue);
            let value = said_of(ContextKind::InvalidValue).concat();
            let written = || format!("it is written like `{} = {}`", fault.key, flags::example(fault.flag));
            match (source, choices.is_empty()) {
                (Some(source), _) => format!("{source}; {}", written()),
                (None, true) => written(),
                (None, false) => {
                    let known = choices.iter().map(String::as_str);
                    format!("{} (it takes {})", unknown("value", &value, known), choices.join(", "))
                }
            }
        }
    };
    let place = fault.line.map_or_else(String::new, |line| format!("line {line}: "));
    let table = fault.table.as_ref().map_or_else(String::new, |table| format!(" in [{table}]"));
    let message =
        format!("{}: {place}`{} = {}`{table}: {why}", file.path().display(), fault.key, fault.value);
    Refused::File(CliError::Usage(message))
}
