//! Training settings from a TOML text: laid over others, with messages that name the line, the key and what was meant.
//!
//! In: settings and a text. Out: the settings with the text's keys put in their place. And the names of all keys, for those
//! who write such files.
//!
//! Serde's derive reads the settings. Before that, the keys that the text does not have are filled in from the settings that
//! it changes; they stand behind the text's end, so that an error's span tells whose they are.

use std::{ops::Range, path::Path};

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue, ValueDeserializer},
};

use crate::{TrainError, config::TrainConfig};

impl TrainConfig {
    /// Reads a whole configuration, as `to_toml` writes it.
    ///
    /// # Errors
    /// `TrainError::Config` with `origin`, the line and the key; unknown keys are errors.
    pub fn from_toml(text: &str, origin: &Path) -> Result<Self, TrainError> {
        let table = parse(text).map_err(|problem| TrainError::config(origin, problem))?;
        Source { text, table: DeValue::Table(table), base: toml::Table::new() }.read(origin)
    }

    /// This configuration with the keys that `text` (TOML, any subset of the keys) gives put in their place.
    ///
    /// # Errors
    /// As `from_toml`.
    pub fn overridden_by(&self, text: &str, origin: &Path) -> Result<Self, TrainError> {
        self.overridden_by_part(text, origin, |_| true)
    }

    /// The same with a text that says other things too: `is_setting` tells of a key at the top whether it is looked at.
    ///
    /// # Errors
    /// As `from_toml`.
    pub fn overridden_by_part(
        &self,
        text: &str,
        origin: &Path,
        is_setting: impl Fn(&str) -> bool,
    ) -> Result<Self, TrainError> {
        let table = parse(text).map_err(|problem| TrainError::config(origin, problem))?;
        let mut table: DeTable<'_> = table.into_iter().filter(|(key, _)| is_setting(key.get_ref())).collect();
        let behind = " ".repeat(text.len()) + &self.to_toml()?;
        let base = parse(&behind).map_err(|problem| TrainError::config(origin, problem))?;
        fill(&mut table, base);
        Source { text, table: DeValue::Table(table), base: self.to_table()? }.read(origin)
    }

    /// The names of all keys from the top, such as `calibration.held_out_share`: those of this configuration, and those that
    /// it could have but has not. The keys of choices are those of the choice that was taken.
    ///
    /// # Errors
    /// As `to_toml`.
    pub fn keys(&self) -> Result<Vec<String>, TrainError> {
        let text = self.to_toml()?;
        let table = parse(&text).map_err(|problem| TrainError::config(Path::new("config.toml"), problem))?;
        let mut keys = vec![];
        collect_keys(&DeValue::Table(table), &[], &mut keys);
        Ok(keys)
    }

    fn to_table(&self) -> Result<toml::Table, TrainError> {
        toml::Table::try_from(self).map_err(|e| TrainError::config(Path::new("config.toml"), e))
    }
}

/// Keys whose tables are choices: another choice replaces the table, it does not mix with it.
const CHOICES: [&str; 2] = ["batch", "resize"];

/// Puts the keys of `base` into a table that does not have them.
fn fill<'a>(table: &mut DeTable<'a>, base: DeTable<'a>) {
    for (key, value) in base {
        match (table.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut), value.get_ref()) {
            (None, _) => drop(table.insert(key, value)),
            (Some(DeValue::Table(table)), DeValue::Table(base))
                if !CHOICES.contains(&key.get_ref().as_ref()) =>
            {
                fill(table, base.clone());
            }
            (Some(_), _) => {}
        }
    }
}

/// Reads a TOML text; what is wrong with it begins with the line.
///
/// # Errors
/// The parser's words.
pub fn parse(text: &str) -> Result<DeTable<'_>, String> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        format!("line {line}: {}", error.message().trim().replace('\n', " "))
    })?;
    Ok(table.into_inner())
}

/// The line, from 1, of a byte of a text.
pub fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count()
}

/// The known name that is most like `word`.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |name: &str| strsim::jaro_winkler(word, name);
    known.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)).then(b.cmp(a)))
}

/// What is said of a word that is not known, with the nearest one that is.
pub fn unknown<'a>(what: &str, word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    /// From here on a person has most likely meant it.
    const ALIKE: f64 = 0.75;
    match nearest(word, known) {
        Some(near) if strsim::jaro_winkler(word, near) >= ALIKE => {
            format!("unknown {what} `{word}`; did you mean `{near}`?")
        }
        Some(near) => format!("unknown {what} `{word}`; the nearest known one is `{near}`"),
        None => format!("unknown {what} `{word}`"),
    }
}

/// What settings are read from.
struct Source<'a> {
    text: &'a str,
    /// The table of the text's keys, and of those that it leaves as they are.
    table: DeValue<'a>,
    /// The settings that are changed: examples of what may stand there.
    base: toml::Table,
}

impl Source<'_> {
    fn read(&self, origin: &Path) -> Result<TrainConfig, TrainError> {
        let config = deserialize(self.table.clone())
            .map_err(|error| TrainError::config(origin, self.in_words(&error)))?;
        config.validate().map_err(|error| match &error {
            // Says the line too where the setting that cannot work is one of the text's.
            TrainError::Setting { name, .. } => match self.line_on(name.split('.')) {
                Some(line) => TrainError::config(origin, format!("line {line}: {error}")),
                None => error,
            },
            _ => error,
        })?;
        Ok(config)
    }

    /// An error in one sentence.
    fn in_words(&self, error: &toml::de::Error) -> String {
        let span = error.span().unwrap_or(OF_NO_TEXT);
        let said = Said::of(error.message());
        let is_key = |key: &Key<'_>, _: &Value<'_>| key.span() == span;
        let is_value = |_: &Key<'_>, value: &Value<'_>| {
            let items = value.get_ref().as_array().into_iter().flat_map(|items| items.iter());
            [value].into_iter().chain(items).any(|value| value.span() == span)
        };
        let mut path = match said {
            Said::UnknownKey { .. } | Said::UnknownChoice { .. } => path_to(&self.table, &is_key),
            _ => None,
        };
        // It is the table's fault that it has the key.
        path.as_mut().map(Vec::pop);
        let path = path.or_else(|| path_to(&self.table, &is_value)).unwrap_or_default();
        // Serde notices some errors at a place that stands in no text: a key that is missing, in a table that does.
        let in_text = (span.start < self.text.len()).then(|| line_of(self.text, span.start));
        let line = in_text.or_else(|| self.line_on(path.iter().map(String::as_str)));
        let place = line.map_or_else(String::new, |line| format!("line {line}: "));
        let key = path.join(".");
        let mut example = path.iter().try_fold(None, |table: Option<&toml::Value>, key| {
            Some(Some(table.map_or_else(|| self.base.get(key), |table| table.get(key))?))
        });
        let example =
            example.take().flatten().map(|value| format!(", like `{key} = {value}`")).unwrap_or_default();
        let must_be = |expected: &str, found: &str| {
            format!("`{key}` must be {}{example}; found {found}", type_in_words(expected))
        };
        place
            + &match said {
                Said::UnknownKey { key: unknown_key, known } => {
                    let in_table = if path.is_empty() { String::new() } else { format!(" (in `{key}`)") };
                    match self.known_elsewhere(unknown_key, &path) {
                        Some(table) if !known.contains(&unknown_key) => {
                            format!("unknown key `{unknown_key}`{in_table}; it stands in the table [{table}]")
                        }
                        _ => unknown("key", unknown_key, known) + &in_table,
                    }
                }
                Said::UnknownChoice { choice, known } => {
                    format!(
                        "{}: `{key}` takes {}",
                        unknown("value", choice, known.iter().copied()),
                        known.join(", ")
                    )
                }
                Said::WrongType { found, expected } => must_be(expected, found),
                Said::NoChoice => {
                    let found = self.text.get(span).unwrap_or_default();
                    must_be(&format!("one of {}", self.choices(&path)), &format!("`{found}`"))
                }
                Said::Missing(missing) if path.is_empty() => format!("the key `{missing}` is missing"),
                Said::Missing(missing) => format!("`{key}` needs the key `{missing}`{example}"),
                Said::Other(words) if path.is_empty() => words.to_string(),
                Said::Other(words) => format!("`{key}`: {words}"),
            }
    }

    /// The line of the last key of a path that stands in the text.
    fn line_on<'k>(&self, path: impl IntoIterator<Item = &'k str>) -> Option<usize> {
        let (mut table, mut line) = (self.table.as_table(), None);
        for name in path {
            let Some((key, value)) = table.and_then(|table| table.get_key_value(name)) else { break };
            if key.span().start >= self.text.len() {
                break;
            }
            line = Some(line_of(self.text, key.span().start));
            table = value.get_ref().as_table();
        }
        line
    }

    /// The names that may stand at the end of a path: what serde says of one that is none of them.
    fn choices(&self, path: &[String]) -> String {
        let refused = refused(&self.table, path, |value| *value = DeValue::String("".into()));
        match refused.as_ref().map(|error| Said::of(error.message())) {
            Some(Said::UnknownChoice { known, .. }) => known.join(", "),
            _ => "its choices".into(),
        }
    }

    /// The table in which a key is known that is not known at `path`.
    fn known_elsewhere(&self, key: &str, path: &[String]) -> Option<&str> {
        let mut tables = self.base.iter().filter(|(name, _)| path.first() != Some(name));
        tables.find(|(_, value)| value.get(key).is_some()).map(|(name, _)| name.as_str())
    }
}

type Key<'a> = Spanned<DeString<'a>>;
type Value<'a> = Spanned<DeValue<'a>>;

/// Where no text goes.
const OF_NO_TEXT: Range<usize> = usize::MAX..usize::MAX;

fn deserialize(table: DeValue<'_>) -> Result<TrainConfig, toml::de::Error> {
    TrainConfig::deserialize(ValueDeserializer::from(Spanned::new(OF_NO_TEXT, table)))
}

/// What serde says of settings of which one value was changed.
fn refused<'a>(
    table: &DeValue<'a>,
    path: &[String],
    change: impl FnOnce(&mut DeValue<'a>),
) -> Option<toml::de::Error> {
    let mut table = table.clone();
    let mut place = Some(&mut table);
    for key in path {
        place = match place {
            Some(DeValue::Table(table)) => table.get_mut(key.as_str()).map(Spanned::get_mut),
            _ => None,
        };
    }
    place.map(change);
    deserialize(table).err()
}

/// The keys that every struct on the way has, as serde names them where one is not known.
fn collect_keys(whole: &DeValue<'_>, path: &[String], keys: &mut Vec<String>) {
    let mut names = vec![];
    let refused = refused(whole, path, |value| {
        if let DeValue::Table(table) = value {
            names.extend(
                table.iter().filter(|(_, value)| value.get_ref().is_table()).map(|(key, _)| key.to_string()),
            );
            table.insert(
                Spanned::new(OF_NO_TEXT, "".into()),
                Spanned::new(OF_NO_TEXT, DeValue::Boolean(true)),
            );
        }
    });
    let below = |name: &str| [path, &[name.to_string()]].concat();
    if let Some(Said::UnknownKey { known, .. }) = refused.as_ref().map(|error| Said::of(error.message())) {
        keys.extend(known.into_iter().map(|name| below(name).join(".")));
    }
    for name in names {
        collect_keys(whole, &below(&name), keys);
    }
}

/// The keys that lead to an entry, to the innermost where several are it.
fn path_to(table: &DeValue<'_>, is_it: &dyn Fn(&Key<'_>, &Value<'_>) -> bool) -> Option<Vec<String>> {
    table.as_table()?.iter().find_map(|(key, value)| {
        let below = path_to(value.get_ref(), is_it);
        let path = below.or_else(|| is_it(key, value).then(Vec::new))?;
        Some([vec![key.get_ref().to_string()], path].concat())
    })
}

/// What serde and `toml` say, taken apart.
enum Said<'a> {
    UnknownKey {
        key: &'a str,
        known: Vec<&'a str>,
    },
    UnknownChoice {
        choice: &'a str,
        known: Vec<&'a str>,
    },
    WrongType {
        found: &'a str,
        expected: &'a str,
    },
    /// Neither a name nor a table with one.
    NoChoice,
    Missing(&'a str),
    /// In the type's own words.
    Other(&'a str),
}

impl<'a> Said<'a> {
    fn of(words: &'a str) -> Self {
        // ``unknown field `a`, expected one of `b`, `c` ``; what a person wrote may hold anything.
        let unknown = |what: &str| {
            let (word, known) = words.strip_prefix(what)?.rsplit_once("`, expected ")?;
            Some((word, known.split('`').skip(1).step_by(2).collect::<Vec<_>>()))
        };
        let of_variant = || {
            let (keys, known) =
                words.strip_prefix("unexpected keys in table: ")?.rsplit_once(", available keys: ")?;
            Some((keys.split(", ").next()?, known.split(", ").collect::<Vec<_>>()))
        };
        let after = |what: &str| words.strip_prefix(what);
        if let Some((key, known)) = unknown("unknown field `").or_else(of_variant) {
            return Self::UnknownKey { key, known };
        }
        if let Some((choice, known)) = unknown("unknown variant `") {
            return Self::UnknownChoice { choice, known };
        }
        let other = after("invalid type: ").or_else(|| after("invalid value: "));
        if let Some((found, expected)) = other.and_then(|types| types.rsplit_once(", expected ")) {
            return Self::WrongType { found, expected };
        }
        match after("missing field `").and_then(|key| key.strip_suffix('`')) {
            Some(key) => Self::Missing(key),
            None if words.starts_with("wanted ") => Self::NoChoice,
            None => Self::Other(words.trim()),
        }
    }
}

/// Serde's names of types as words.
fn type_in_words(expected: &str) -> &str {
    match expected {
        "f32" | "f64" => "a number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "a boolean" => "true or false",
        "a string" | "str" => "a text in quotes",
        "a sequence" => "a list in brackets",
        "newtype variant" | "struct variant" => "a table",
        _ if expected.starts_with("struct ") => "a table",
        _ => expected,
    }
}

#[cfg(test)]
mod tests {
    use simplenet_model::BackboneId;

    use super::*;
    use crate::config::Preset;

    fn base() -> TrainConfig {
        TrainConfig::preset(Preset::Default, BackboneId::EfficientNetLite0)
    }

    #[test]
    fn messages_name_line_key_and_what_was_meant() {
        for (text, expected) in [
            (
                "epochs = 3\nnoise_sgima = 1.0",
                "line 2: unknown key `noise_sgima`; did you mean `noise_sigma`?",
            ),
            (
                "[calibration]\nheld_out_shar = 0.1",
                "line 2: unknown key `held_out_shar`; did you mean `held_out_share`? (in `calibration`)",
            ),
            (
                "held_out_share = 0.1",
                "line 1: unknown key `held_out_share`; it stands in the table [calibration]",
            ),
            ("zzz = 1", "line 1: unknown key `zzz`; the nearest known one is `"),
            (
                "\nepochs = \"many\"",
                "line 2: `epochs` must be a whole number, 0 or more, like `epochs = 20`; found string \"many\"",
            ),
            ("epochs = -1", "like `epochs = 20`; found integer `-1`"),
            (
                "noise_sigma = true",
                "`noise_sigma` must be a number, like `noise_sigma = 0.4`; found boolean `true`",
            ),
            ("loss = \"hinge\"", "`loss` takes truncated-l1, cross-entropy"),
            ("loss = 3", "`loss` must be one of truncated-l1, cross-entropy, like `loss = \"truncated-l1\"`"),
            (
                "calibration = 1",
                "`calibration` must be a table, like `calibration = { fewest_held_out = 6, held_out_share = 0.15, target",
            ),
            (
                "batch = \"images\"",
                "`batch` must be a table, like `batch = { patches = { size = 4096, steps = 12 } }`",
            ),
            (
                "batch = { image = 3 }",
                "unknown value `image`; did you mean `images`?: `batch` takes images, patches",
            ),
            ("[batch.patches]\nsize = 100", "line 1: `batch.patches` needs the key `steps`, like"),
            ("[preprocess.decode]\nexif = \"maybe\"", "line 2: unknown value `maybe`"),
            ("[preprocess]\n\nmean = [1.0, 2.0]", "line 3: `preprocess.mean`: "),
            ("epochs = 0", "line 1: setting `epochs` = 0: must be at least 1"),
            ("[batch.patches]\nsize = 1\nsteps = 5", "line 2: setting `batch.patches.size`"),
        ] {
            let error = base().overridden_by(text, Path::new("x.toml")).unwrap_err().to_string();
            assert!(error.starts_with("x.toml: line "), "{text}: {error}");
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains('\n'), "{text}: {error}");
        }
    }

    #[test]
    fn whole_numbers_are_numbers() {
        let changed = base().overridden_by("noise_sigma = 1\nmap_sigma = 3", Path::new("x.toml")).unwrap();
        assert_eq!((changed.noise_sigma, changed.map_sigma), (1.0, 3.0));
    }

    #[test]
    fn keys_are_listed_with_those_that_are_absent() {
        let keys = base().keys().unwrap();
        for key in [
            "epochs",
            "batch",
            "calibration.held_out_share",
            "preprocess.crop",
            "preprocess.resize.exact.width",
        ] {
            assert!(keys.iter().any(|known| known == key), "{key} in {keys:?}");
        }
        // Every key that is written is known.
        fn check(table: &toml::Table, above: &str, keys: &[String]) {
            for (key, value) in table {
                let path = format!("{above}{key}");
                if let Some(table) = value.as_table() {
                    check(table, &format!("{path}."), keys);
                } else if !path.contains("image_score") {
                    assert!(keys.contains(&path), "{path} in {keys:?}");
                }
            }
        }
        check(&base().to_table().unwrap(), "", &keys);
    }
}
