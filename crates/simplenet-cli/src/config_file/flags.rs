//! A flag as a key of a configuration file. In: what clap knows of the flag, and a value of the file. Out: the arguments that
//! say the same on a command line; and back, what clap has read as TOML.

use std::{any::TypeId, error::Error, ffi::OsString, path::PathBuf};

use clap::{
    Arg, ArgAction, ArgMatches, Command,
    error::{ContextKind, ContextValue},
    parser::ValueSource,
};
use simplenet_train::config::text::unknown;
use toml::{Spanned, de::DeValue};

use super::ConfigFile;

/// Flags that say something about this file or end the program: they do not stand in it.
const NOT_IN_FILES: [&str; 4] = ["config", "print_config", "help", "version"];

/// How many values a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// None: it is there or not.
    Switch,
    /// One or none.
    Optional,
    /// One.
    One,
    /// Any number.
    Several,
}

/// The flag's key: its long name with `_` for `-`; an argument without a flag is called by its id.
pub(super) fn key(flag: &Arg) -> Option<String> {
    let id = flag.get_id().as_str();
    if NOT_IN_FILES.contains(&id) {
        return None;
    }
    match flag.get_long() {
        Some(long) => Some(long.replace('-', "_")),
        None => flag.is_positional().then(|| id.to_lowercase()),
    }
}

/// The flags of a verb that a file may set, with their keys.
pub fn keys(verb: &Command) -> impl Iterator<Item = (String, &Arg)> {
    verb.get_arguments().filter_map(|flag| Some((key(flag)?, flag)))
}

/// How many values it takes.
pub(super) fn shape(flag: &Arg) -> Shape {
    let values = flag.get_num_args();
    match flag.get_action() {
        ArgAction::Append => Shape::Several,
        ArgAction::Set if values.is_some_and(|range| range.max_values() > 1) => Shape::Several,
        ArgAction::Set if values.is_some_and(|range| range.min_values() == 0) => Shape::Optional,
        ArgAction::Set => Shape::One,
        _ => Shape::Switch,
    }
}

/// The arguments that say what a file says; none for a switch that is off and for an empty list.
///
/// # Errors
/// A value of another type, with what would do.
pub(super) fn arguments(
    flag: &Arg,
    key: &str,
    value: &Spanned<DeValue<'_>>,
    file: &ConfigFile,
) -> Result<Vec<OsString>, String> {
    let name = flag.get_long().map(|long| format!("--{long}"));
    let with_value = |value: &Spanned<DeValue<'_>>| -> Result<OsString, String> {
        let text = text(flag, value.get_ref()).ok_or_else(|| wrong_type(flag, key, value, file))?;
        match &name {
            Some(name) => Ok(format!("{name}={text}").into()),
            None if text.starts_with('-') => Err(format!("`{key}` cannot begin with a `-`")),
            None => Ok(text.into()),
        }
    };
    match (shape(flag), value.get_ref()) {
        (Shape::Switch | Shape::Optional, DeValue::Boolean(true)) => {
            Ok(name.into_iter().map(Into::into).collect())
        }
        (Shape::Switch | Shape::Optional, DeValue::Boolean(false)) => Ok(vec![]),
        (Shape::Switch, _) => Err(wrong_type(flag, key, value, file)),
        (Shape::Several, DeValue::Array(list)) => list.iter().map(with_value).collect(),
        _ => Ok(vec![with_value(value)?]),
    }
}

/// Why the flag's own parser does not take what a file says, and what it takes; `None` where it does.
pub(super) fn refused(flag: &Arg, arguments: &[OsString]) -> Option<String> {
    let error = parse_alone(flag, arguments).err()?;
    let choices: Vec<String> =
        flag.get_possible_values().iter().map(|choice| choice.get_name().to_string()).collect();
    let written = || format!("it is written like `{} = {}`", key(flag).unwrap_or_default(), example(flag));
    Some(match (error.source(), error.get(ContextKind::InvalidValue)) {
        (Some(source), _) => format!("{source}; {}", written()),
        (None, Some(ContextValue::String(value))) if !choices.is_empty() => {
            let known = choices.iter().map(String::as_str);
            format!("{} (it takes {})", unknown("value", value, known), choices.join(", "))
        }
        _ => written(),
    })
}

/// The flag without its ties to others.
fn parse_alone(flag: &Arg, arguments: &[OsString]) -> Result<ArgMatches, clap::Error> {
    let mut alone = Arg::new("value")
        .action(flag.get_action().clone())
        .value_parser(flag.get_value_parser().clone())
        .value_delimiter(flag.get_value_delimiter());
    if let Some(values) = flag.get_num_args() {
        alone = alone.num_args(values);
    }
    if let Some(long) = flag.get_long() {
        alone = alone.long(long.to_string());
    }
    Command::new("one-flag").no_binary_name(true).arg(alone).try_get_matches_from(arguments)
}

/// A plain value as it would be typed; `None` where the flag wants another type.
fn text(flag: &Arg, value: &DeValue<'_>) -> Option<String> {
    let kind = Kind::of(flag);
    match value {
        DeValue::String(text) if kind != Kind::Integer && kind != Kind::Switch => Some(text.to_string()),
        DeValue::Integer(integer) if kind == Kind::Integer || kind == Kind::Other => {
            Some(i64::from_str_radix(integer.as_str(), integer.radix()).ok()?.to_string())
        }
        DeValue::Float(number) if kind == Kind::Other => {
            Some(number.as_str().parse::<f64>().ok()?.to_string())
        }
        DeValue::Boolean(switch) if kind == Kind::Switch => Some(switch.to_string()),
        _ => None,
    }
}

/// Whether a value is the flag's default.
pub(super) fn is_default(flag: &Arg, value: &DeValue<'_>) -> bool {
    let defaults: Vec<_> = flag.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let values: Option<Vec<String>> = match value {
        DeValue::Array(list) => list.iter().map(|item| text(flag, item.get_ref())).collect(),
        value => text(flag, value).map(|value| vec![value]),
    };
    // A list of defaults may be written as one text.
    !defaults.is_empty() && values.is_some_and(|values| values.join(",") == defaults.join(","))
}

fn wrong_type(flag: &Arg, key: &str, found: &Spanned<DeValue<'_>>, file: &ConfigFile) -> String {
    let expected = match (shape(flag), Kind::of(flag)) {
        (Shape::Switch, _) => "true or false",
        (Shape::Several, _) => "a value or a list of values",
        (_, Kind::Integer) => "a whole number",
        (_, Kind::Switch) => "true or false",
        (_, Kind::Text) => "a text in quotes",
        (_, Kind::Other) => "a text or a number",
    };
    let kind = match found.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    format!(
        "`{key}` must be {expected}, like `{key} = {}`; found {kind}: `{}`",
        example(flag),
        file.written(found)
    )
}

/// What a flag's values are in TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A path or another text, never a number.
    Text,
    Integer,
    Switch,
    /// What a parser of its own takes: numbers, or words, or both.
    Other,
}

impl Kind {
    fn of(flag: &Arg) -> Self {
        let parser = flag.get_value_parser().type_id();
        let is = |types: &[TypeId]| types.iter().any(|id| parser == *id);
        if is(&[TypeId::of::<PathBuf>(), TypeId::of::<String>(), TypeId::of::<OsString>()]) {
            Self::Text
        } else if is(&[
            TypeId::of::<u8>(),
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<usize>(),
            TypeId::of::<i32>(),
            TypeId::of::<i64>(),
        ]) {
            Self::Integer
        } else if is(&[TypeId::of::<bool>()]) {
            Self::Switch
        } else {
            Self::Other
        }
    }
}

/// A value that the flag takes, as TOML: its default, its first choice, or one of its kind.
pub fn example(flag: &Arg) -> String {
    let typed = typed_example(flag);
    match shape(flag) {
        Shape::Switch => "true".into(),
        Shape::Several => format!("[{}]", to_toml(flag, &typed)),
        Shape::Optional | Shape::One => to_toml(flag, &typed),
    }
}

/// The default of a flag that has one, as TOML.
pub(super) fn default(flag: &Arg) -> String {
    let defaults = flag.get_default_values().iter().map(|value| value.to_string_lossy().into_owned());
    match shape(flag) {
        Shape::Several => {
            // Several may be written as one text.
            let values: Vec<String> = match flag.get_value_delimiter() {
                Some(sign) => defaults
                    .flat_map(|value| value.split(sign).map(String::from).collect::<Vec<_>>())
                    .collect(),
                None => defaults.collect(),
            };
            let values: Vec<String> = values.iter().map(|value| to_toml(flag, value)).collect();
            format!("[{}]", values.join(", "))
        }
        _ => defaults.map(|value| to_toml(flag, &value)).collect(),
    }
}

/// Whether it takes no value.
pub(super) fn is_switch(flag: &Arg) -> bool {
    shape(flag) == Shape::Switch
}

/// The same as it would be typed.
fn typed_example(flag: &Arg) -> String {
    let default = flag.get_default_values().iter().map(|value| value.to_string_lossy().into_owned());
    let choices = flag.get_possible_values().into_iter().map(|choice| choice.get_name().to_string());
    let name = flag.get_value_names().and_then(|names| names.first()).map(|name| name.to_string());
    let of_kind = match Kind::of(flag) {
        Kind::Text => name.clone().into_iter().collect(),
        _ => ["2GB", "0.5", "1", "288", "cpu", "efficientnet-lite0", "true"].map(String::from).to_vec(),
    };
    // What stands in the help alone: a default that depends on other things is a sentence, and does not fit.
    let help = flag.get_help().map(|help| help.to_string()).unwrap_or_default();
    let said = help.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']'));
    let said = said.map(|(value, _)| value.split(',').next().unwrap_or_default().to_string());
    let said = said.filter(|_| Kind::of(flag) != Kind::Text);
    let candidates = default.chain(said).chain(choices).chain(of_kind);
    let long = flag.get_long().map_or_else(String::new, |long| format!("--{long}="));
    let mut fitting =
        candidates.filter(|value| parse_alone(flag, &[format!("{long}{value}").into()]).is_ok());
    fitting.next().or(name).unwrap_or_default()
}

/// What was typed, as TOML: a number where that says the same, else a text.
fn to_toml(flag: &Arg, typed: &str) -> String {
    let quoted = || toml::Value::from(typed).to_string();
    match Kind::of(flag) {
        Kind::Text => quoted(),
        Kind::Integer => typed.parse::<i128>().map_or_else(|_| quoted(), |integer| integer.to_string()),
        Kind::Switch => typed.to_string(),
        Kind::Other => match format!("x = {typed}").parse::<toml::Table>() {
            Ok(table) => match table.get("x") {
                Some(toml::Value::Integer(integer)) if integer.to_string() == typed => typed.to_string(),
                Some(toml::Value::Float(number)) if number.to_string() == typed => typed.to_string(),
                _ => quoted(),
            },
            Err(_) => quoted(),
        },
    }
}

/// What a call has for a flag, as TOML, defaults included; `None` where it was not given and has no default.
///
/// # Errors
/// A value that is not UTF-8: TOML cannot hold it.
pub(super) fn resolved(flag: &Arg, matches: &ArgMatches) -> Result<Option<String>, String> {
    let id = flag.get_id().as_str();
    let Some(source) = matches.value_source(id) else {
        return Ok((shape(flag) == Shape::Switch).then(|| "false".into()));
    };
    if shape(flag) == Shape::Switch {
        // A default is `false`, said or not.
        return Ok(Some((source != ValueSource::DefaultValue && matches.get_flag(id)).to_string()));
    }
    let mut values = vec![];
    for value in matches.get_raw(id).into_iter().flatten() {
        let typed = value.to_str().ok_or_else(|| {
            format!("`{}` is not UTF-8, and a TOML file cannot hold it", value.to_string_lossy())
        })?;
        values.push(to_toml(flag, typed));
    }
    Ok(Some(match (shape(flag), &values[..]) {
        (Shape::Several, values) => format!("[{}]", values.join(", ")),
        (_, [value]) => value.clone(),
        // Given without its value.
        _ => "true".into(),
    }))
}
