//! `--print-config`: the whole configuration of a call as TOML that `--config` reads. In: what was parsed. Out: the text, a
//! comment from the flag's help above each key; what was not given and has no default is a comment too.

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use simplenet_train::TrainConfig;

use super::{ConfigFile, Vocabulary, call::deepest, flags, resolve};
use crate::{args::SettingArgs, error::CliError};

/// Stands above the settings of the training.
const TRAINING: &str = "# Settings of the training (docs/reference.md, Settings).";

/// The configuration of a call.
///
/// # Errors
/// Settings that cannot work; a value that TOML cannot hold.
pub(super) fn configuration(
    vocabulary: &Vocabulary,
    matches: &ArgMatches,
    file: Option<&ConfigFile>,
) -> Result<String, CliError> {
    let (verb, matches) = deepest(matches);
    let command = verb.iter().try_fold(vocabulary.own(), |command, name| command.find_subcommand(name));
    let command = command.unwrap_or(vocabulary.own());
    let program = vocabulary.own().get_name();
    let mut text = format!(
        "# The configuration of `{}`, as --print-config wrote it; --config reads it.\n",
        [program].into_iter().chain(verb.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
    );
    let line = |(key, flag): (String, &Arg)| -> Result<String, CliError> {
        let value = flags::resolved(flag, matches).map_err(CliError::Usage)?;
        Ok(entry(&key, flag, value.as_deref()))
    };
    for global in vocabulary.globals() {
        text += &line(global)?;
    }
    let of_file = file.map(ConfigFile::training).transpose()?;
    match (training(command, matches, file)?, of_file.filter(|table| !table.is_empty())) {
        (Some(config), _) => text += &training_text(&config)?,
        // Looked at by `import`, passed over by the other verbs; kept, so that nothing is lost.
        (None, Some(of_file)) => text += &format!("\n{TRAINING}\n{of_file}"),
        (None, None) => {}
    }
    let mut own = flags::keys(command).filter(|(_, flag)| !flag.is_global_set()).peekable();
    if own.peek().is_some() {
        text += &format!("\n[{}]", vocabulary.table_of(&verb).join("."));
        for flag in own {
            text += &line(flag)?;
        }
    }
    Ok(text)
}

/// A key with its help above it, commented out where there is no value.
pub(super) fn entry(key: &str, flag: &Arg, value: Option<&str>) -> String {
    let help = flag.get_help().map(|help| help.to_string()).unwrap_or_default();
    let help = first_sentence(&help);
    match value {
        Some(value) => format!("\n# {help}\n{key} = {value}\n"),
        None => format!("\n# {help}\n# {key} = {}\n", flags::example(flag)),
    }
}

/// The settings of the training, with the keys that are not set as comments.
pub(super) fn training_text(config: &TrainConfig) -> Result<String, CliError> {
    let mut text = format!("\n{TRAINING}\n");
    let written = config.to_toml()?;
    let table: toml::Table = written.parse().map_err(|e| CliError::Usage(format!("{e}")))?;
    let is_set = |path: &str| {
        let mut keys = path.split('.');
        let top = keys.next().and_then(|key| table.get(key));
        keys.try_fold(top, |value, key| Some(value?.get(key))).flatten().is_some()
    };
    for path in config.keys()?.iter().filter(|path| !is_set(path)) {
        text += &format!("# {path} is not set\n");
    }
    Ok(text + &written)
}

/// The settings that the call would train with, of a verb that trains.
fn training(
    command: &Command,
    matches: &ArgMatches,
    file: Option<&ConfigFile>,
) -> Result<Option<TrainConfig>, CliError> {
    let settings = SettingArgs::augment_args(Command::new("settings"));
    let has = |flag: &Arg| command.get_arguments().any(|known| known.get_id() == flag.get_id());
    if !settings.get_arguments().all(has) {
        return Ok(None);
    }
    let settings = SettingArgs::from_arg_matches(matches).map_err(|e| CliError::Usage(e.to_string()))?;
    let seed = matches.try_get_one::<u64>("seed").ok().flatten().copied();
    resolve(&settings, seed, file).map(Some)
}

/// Up to the first point that ends a sentence, in one line.
fn first_sentence(help: &str) -> String {
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    help.split_once(". ").map_or(help.clone(), |(first, _)| first.to_string())
}
