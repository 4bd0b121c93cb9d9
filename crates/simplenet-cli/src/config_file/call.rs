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

use toml::de::DeTable;

use super::{ConfigFile, Entry, Vocabulary, flags, print};
use crate::{error::CliError, tell::LogFormat};

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
    entry: Entry<'a>,
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
    let table = file.as_ref().map(ConfigFile::table).transpose()?;
    let of_file = match (&file, &table, command) {
        (Some(file), Some(table), Some(command)) => {
            flags_of_file((file, table), &vocabulary.table_of(&verb), command, matches, log_format)?
        }
        _ => vec![],
    };
    let at = typed.iter().position(|argument| argument == "--").unwrap_or(typed.len());
    let (positional, flags): (Vec<_>, Vec<_>) = of_file.iter().partition(|set| set.flag.is_positional());
    typed.splice(at..at, flags.into_iter().chain(positional).flat_map(|set| set.arguments.clone()));

    let prints = sketch.get_flag("print_config");
    // What is to be seen need not be complete.
    let parser = if prints { without_requirements(P::command()) } else { P::command() };
    let matches = parser.try_get_matches_from(typed).map_err(|mut error| {
        if let (Some(file), ErrorKind::MissingRequiredArgument) = (&file, error.kind()) {
            let table = vocabulary.table_of(&verb).join(".");
            let tip = format!("{} may say it too, in [{table}]", file.path().display());
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
        }
        error
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
    (file, top): (&ConfigFile, &'a DeTable<'a>),
    names: &[String],
    command: &'a Command,
    typed: &ArgMatches,
    log_format: &mut LogFormat,
) -> Result<Vec<FileFlag<'a>>, CliError> {
    let below = |table: &'a DeTable<'a>, name: &String| table.get(name.as_str())?.get_ref().as_table();
    let table = names.iter().try_fold(top, below);
    let is_typed = |flag: &Arg| typed.value_source(flag.get_id().as_str()) == Some(ValueSource::CommandLine);
    let typed_flags: Vec<&Arg> = command.get_arguments().filter(|flag| is_typed(flag)).collect();
    let mut set: Vec<(FileFlag<'_>, String)> = vec![];
    for (key, flag) in flags::keys(command) {
        let in_table = table.and_then(|table| table.get_key_value(key.as_str()));
        let at_top = || top.get_key_value(key.as_str()).filter(|_| flag.is_global_set());
        let Some(entry) = in_table.or_else(at_top) else { continue };
        if typed_flags.iter().any(|other| other.get_id() == flag.get_id() || contradict(command, flag, other))
        {
            continue;
        }
        // Said to be what it is anyway: that contradicts nothing and needs nothing, as if it were not said.
        if flags::is_default(flag, entry.1.get_ref()) {
            continue;
        }
        if key == "log_format" && entry.1.get_ref().as_str() == Some("json") {
            *log_format = LogFormat::Json;
        }
        let place = in_table.map_or_else(String::new, |_| format!(" in [{}]", names.join(".")));
        let place = format!("`{key} = {}`{place}", file.written(entry.1));
        let arguments = flags::arguments(flag, &key, entry.1, file).map_err(CliError::Usage)?;
        set.push((FileFlag { flag, entry, arguments }, place));
    }
    // All of them are known before one is refused, so that the form of the log is.
    for (at, (FileFlag { flag, entry, arguments }, place)) in set.iter().enumerate() {
        let contradicts = |(other, _): &&(FileFlag<'_>, _)| contradict(command, flag, other.flag);
        let contradicted: Vec<String> = set[..at]
            .iter()
            .filter(contradicts)
            .map(|(other, _)| format!("`{}` (line {})", other.entry.0, file.line(other.entry.0)))
            .collect();
        if !contradicted.is_empty() {
            let problem = format!("{place}: it cannot stand beside {}", contradicted.join(", "));
            return Err(file.wrong(*entry, &problem));
        }
        if let Some(why) = flags::refused(flag, arguments) {
            return Err(file.wrong(*entry, &format!("{place}: {why}")));
        }
    }
    Ok(set.into_iter().map(|(set, _)| set).collect())
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
