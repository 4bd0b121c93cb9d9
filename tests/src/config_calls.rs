//! What holds for every flag of every verb of a program, whichever they are: it can stand in a configuration file, and what
//! `--print-config` writes gives the same call.
//!
//! In: a program's command line, as clap knows it. Out: calls, typed and from files, compared through their Debug text.

use std::{
    ffi::OsString,
    fmt::Debug,
    fs,
    path::{Path, PathBuf},
};

use clap::{
    Arg, ArgAction, Command, CommandFactory, FromArgMatches,
    error::{ContextKind, ContextValue, ErrorKind},
};
use simplenet_cli::config_file::{Call, Refused, Vocabulary, call, keys};

/// Gives each flag once by the command line and once by a file, and compares the calls.
///
/// # Panics
/// When they differ, or a flag has no effect on its call.
pub fn every_flag_can_stand_in_a_file<P: CommandFactory + FromArgMatches + Debug>(vocabulary: &Vocabulary) {
    let folder = tempfile::tempdir().expect("folder");
    let mut flags = 0;
    for_every_flag::<P>(vocabulary, |verb, flag, key, others, typed| {
        let by_line = run::<P>(vocabulary, &[&verb.names, others, typed].concat());
        // Without a flag that must be there, there is no call.
        if let Ok(Call::Run { arguments, .. }) = call::<P>(vocabulary, [&verb.names, others].concat()).call {
            assert_ne!(by_line, format!("{arguments:#?}"), "{}: {flag} changes nothing", verb.table);
        }
        let value = toml_value(flag, typed);
        let table = if flag.is_global_set() { String::new() } else { format!("[{}]\n", verb.table) };
        let file = write(folder.path(), &format!("{table}{key} = {value}\n"));
        let config = [OsString::from("--config"), file.clone().into()];
        let by_file = run::<P>(vocabulary, &[&verb.names, others, &config].concat());
        assert_eq!(without_file(&by_file, &file), by_line, "{}: {key} = {value}", verb.table);
        flags += 1;
    });
    assert!(flags > 20, "only {flags} flags were found");
}

/// Prints the configuration of calls with each flag, and compares what is read back.
///
/// # Panics
/// When another call comes back.
pub fn what_is_printed_gives_the_same_call<P: CommandFactory + FromArgMatches + Debug>(
    vocabulary: &Vocabulary,
) {
    let folder = tempfile::tempdir().expect("folder");
    for_every_flag::<P>(vocabulary, |verb, flag, _, others, typed| {
        let line = [&verb.names, others, typed].concat();
        let by_line = run::<P>(vocabulary, &line);
        let printed = print::<P>(vocabulary, &line);
        let file = write(folder.path(), &printed);
        let from_file = [&verb.names[..], &["--config".into(), file.clone().into()]].concat();
        let by_file = run::<P>(vocabulary, &from_file);
        assert_eq!(without_file(&by_file, &file), by_line, "{}, {flag}:\n{printed}", verb.table);
        assert_eq!(print::<P>(vocabulary, &from_file), printed, "{}, {flag}", verb.table);
    });
}

/// A verb without verbs below it.
struct Verb<'a> {
    /// The program's name and the verb's.
    names: Vec<OsString>,
    table: String,
    command: &'a Command,
}

/// Calls `check` with each flag of each verb: the verb, the flag, its key, the arguments that it cannot be without, and its own.
fn for_every_flag<P: CommandFactory + FromArgMatches + Debug>(
    vocabulary: &Vocabulary,
    mut check: impl FnMut(&Verb<'_>, &Arg, &str, &[OsString], &[OsString]),
) {
    let mut program = P::command();
    program.build();
    let mut verbs = vec![];
    collect(&program, &[], &mut verbs);
    for mut verb in verbs {
        verb.table = table_of::<P>(vocabulary, &verb);
        for (key, flag) in keys(verb.command) {
            let typed = arguments(flag);
            let others = others::<P>(vocabulary, &verb, &typed);
            check(&verb, flag, &key, &others, &typed);
        }
    }
}

fn collect<'a>(command: &'a Command, names: &[OsString], verbs: &mut Vec<Verb<'a>>) {
    let mut names = names.to_vec();
    names.push(command.get_name().into());
    let below: Vec<&Command> = command.get_subcommands().filter(|verb| verb.get_name() != "help").collect();
    match below[..] {
        [] => verbs.push(Verb { names, table: String::new(), command }),
        _ => below.into_iter().for_each(|verb| collect(verb, &names, verbs)),
    }
}

/// The name of the verb's table, as --print-config writes it.
fn table_of<P: CommandFactory + FromArgMatches + Debug>(vocabulary: &Vocabulary, verb: &Verb<'_>) -> String {
    let printed = print::<P>(vocabulary, &verb.names);
    let names: Vec<_> = verb.names[1..].iter().map(|name| name.to_string_lossy()).collect();
    let name = names.join(".");
    let mut headings = printed.lines().filter_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
    headings.rfind(|heading| heading.ends_with(&*name)).unwrap_or(&name).to_string()
}

/// The arguments without which clap refuses `typed`: what it names as missing, until it is content.
fn others<P: CommandFactory + FromArgMatches + Debug>(
    vocabulary: &Vocabulary,
    verb: &Verb<'_>,
    typed: &[OsString],
) -> Vec<OsString> {
    // What the settings ask for, not clap: a configuration may have tiles already.
    let of_tiles = typed.iter().any(|argument| argument.to_string_lossy().starts_with("--overlap"));
    let mut others: Vec<OsString> = if of_tiles { vec!["--tile=512".into()] } else { vec![] };
    while let Err(Refused::CommandLine(error)) =
        call::<P>(vocabulary, [&verb.names, &others, typed].concat()).call
    {
        assert_eq!(error.kind(), ErrorKind::MissingRequiredArgument, "{typed:?}: {error}");
        let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) else {
            panic!("{error}");
        };
        for shown in missing {
            // Of a group, `<--data <DIR>|--normal <DIR>>`: the first that does not contradict what is typed.
            let group = shown.strip_prefix('<').and_then(|inside| inside.strip_suffix('>'));
            let is_shown = |flag: &&Arg| {
                let name = flag.to_string();
                name == *shown || group.is_some_and(|group| group.split('|').any(|one| one == name))
            };
            let mut candidates = verb.command.get_arguments().filter(is_shown).map(arguments);
            let contradicts = |other: &Vec<OsString>| {
                let line = [&verb.names, &others, other, typed].concat();
                matches!(call::<P>(vocabulary, line).call, Err(Refused::CommandLine(error)) if error.kind() == ErrorKind::ArgumentConflict)
            };
            let found = candidates.find(|other| !contradicts(other));
            others.extend(found.unwrap_or_else(|| panic!("no flag {shown}: {error}")));
        }
    }
    others
}

/// The flag with a value that is not its default, as it would be typed.
fn arguments(flag: &Arg) -> Vec<OsString> {
    let typed = |value: &str| match flag.get_long() {
        Some(long) => format!("--{long}={value}").into(),
        None => OsString::from(value),
    };
    match flag.get_action() {
        ArgAction::SetTrue => {
            vec![format!("--{}", flag.get_long().expect("a switch has a name")).into()]
        }
        ArgAction::Append => values(flag).iter().take(2).map(|value| typed(value)).collect(),
        _ => values(flag).iter().take(1).map(|value| typed(value)).collect(),
    }
}

/// Values that the flag's parser takes and that are not its default.
fn values(flag: &Arg) -> Vec<String> {
    let choices = flag.get_possible_values().into_iter().map(|choice| choice.get_name().to_string());
    let of_kinds = [
        "0.25", "0.5", "7", "9", "10", "12", "3GB", "96x64", "96", "cuda:1", "cpu", "resnet18", "resnet50",
        "btad", "a/file", "b",
    ];
    let defaults: Vec<_> = flag.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if flag.get_long() == Some("roi") {
        // It is read, and any picture will do.
        return vec![concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/images/heatmaps.jpg").into()];
    }
    let values: Vec<String> = choices
        .chain(of_kinds.map(String::from))
        .filter(|value| !defaults.iter().any(|default| default == value))
        .filter(|value| {
            let alone = Arg::new("value").long("value").value_parser(flag.get_value_parser().clone());
            let command = Command::new("one").no_binary_name(true).arg(alone);
            command.try_get_matches_from([format!("--value={value}")]).is_ok()
        })
        .collect();
    assert!(!values.is_empty(), "no value for {flag}: add one of its kind to `values`");
    values
}

/// What was typed for a flag, as TOML: numbers bare where the flag is not a path's or a text's.
fn toml_value(flag: &Arg, typed: &[OsString]) -> String {
    if matches!(flag.get_action(), ArgAction::SetTrue) {
        return "true".into();
    }
    let takes_words = Command::new("one")
        .no_binary_name(true)
        .arg(Arg::new("value").long("value").value_parser(flag.get_value_parser().clone()))
        .try_get_matches_from(["--value=any words"])
        .is_ok();
    let value = |argument: &OsString| {
        let text = argument.to_str().expect("UTF-8");
        let text = if text.starts_with("--") { text.split_once('=').expect("a value").1 } else { text };
        match text.parse::<f64>() {
            Ok(_) if !takes_words => text.to_string(),
            _ => format!("{text:?}"),
        }
    };
    let values: Vec<String> = typed.iter().map(value).collect();
    match flag.get_action() {
        ArgAction::Append => format!("[{}]", values.join(", ")),
        _ => values.concat(),
    }
}

fn run<P: CommandFactory + FromArgMatches + Debug>(vocabulary: &Vocabulary, line: &[OsString]) -> String {
    match call::<P>(vocabulary, line.to_vec()).call {
        Ok(Call::Run { arguments, .. }) => format!("{arguments:#?}"),
        other => panic!("{line:?}: {other:?}"),
    }
}

fn print<P: CommandFactory + FromArgMatches + Debug>(vocabulary: &Vocabulary, line: &[OsString]) -> String {
    match call::<P>(vocabulary, [line, &["--print-config".into()]].concat()).call {
        Ok(Call::PrintConfig(text)) => text,
        other => panic!("{line:?}: {other:?}"),
    }
}

/// The call's text as if no file had been named.
fn without_file(text: &str, file: &Path) -> String {
    let named = format!("Some(\n            {:?},\n        )", file);
    assert!(text.contains(&named), "no {named} in {text}");
    text.replacen(&named, "None", 1)
}

fn write(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("line.toml");
    fs::write(&path, text).expect("a file");
    path
}
