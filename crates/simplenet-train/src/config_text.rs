//! Training settings from a TOML text: laid over others, with messages that name the line, the key and what was meant.
//!
//! In: settings and a [`PlacedTable`]. Out: the settings with the table's keys put in their place. And the names of all keys,
//! for those who write such files.

use std::path::Path;

use crate::{
    TrainError,
    config::TrainConfig,
    placed_deserializer::{KeyPath, Problem, ReadError, fields, read},
    placed_toml::{Placed, PlacedTable, PlacedValue},
};

impl TrainConfig {
    /// Reads a whole configuration, as `to_toml` writes it.
    ///
    /// # Errors
    /// `TrainError::Config` with `origin`, the line and the key; unknown keys are errors.
    pub fn from_toml(text: &str, origin: &Path) -> Result<Self, TrainError> {
        let table = PlacedTable::parse(text).map_err(|e| TrainError::config(origin, e))?;
        let config: Self = read(&table)
            .map_err(|e| TrainError::config(origin, in_words(&e, &table, &Default::default())))?;
        config.validate_from(&table, origin)?;
        Ok(config)
    }

    /// This configuration with the keys that `text` (TOML, any subset of the keys) gives put in their place.
    ///
    /// # Errors
    /// As `from_toml`.
    pub fn overridden_by(&self, text: &str, origin: &Path) -> Result<Self, TrainError> {
        let changes = PlacedTable::parse(text).map_err(|e| TrainError::config(origin, e))?;
        self.overridden_by_table(&changes, origin)
    }

    /// The same for a text that was parsed.
    ///
    /// # Errors
    /// As `from_toml`.
    pub fn overridden_by_table(&self, changes: &PlacedTable, origin: &Path) -> Result<Self, TrainError> {
        let base = self.to_table()?;
        let mut all = base.clone();
        merge(&mut all, changes);
        let config: Self =
            read(&all).map_err(|e| TrainError::config(origin, in_words(&e, changes, &base)))?;
        config.validate_from(changes, origin)?;
        Ok(config)
    }

    /// The names of all keys from the top, such as `calibration.held_out_share`: those of this configuration, and those that
    /// it could have but has not. The keys of choices are those of the choice that was taken.
    ///
    /// # Errors
    /// As `to_toml`.
    pub fn keys(&self) -> Result<Vec<String>, TrainError> {
        let fields = fields::<Self>(&self.to_table()?);
        let fields = fields.map_err(|e| TrainError::config(Path::new("config.toml"), e))?;
        let names = |(path, names): (KeyPath, &'static [&'static str])| {
            let name = move |name: &&str| {
                path.iter().map(String::as_str).chain([*name]).collect::<Vec<_>>().join(".")
            };
            names.iter().map(name).collect::<Vec<_>>()
        };
        Ok(fields.into_iter().flat_map(names).collect())
    }

    /// As a table without lines.
    fn to_table(&self) -> Result<PlacedTable, TrainError> {
        let table =
            toml::Table::try_from(self).map_err(|e| TrainError::config(Path::new("config.toml"), e))?;
        Ok(table.into())
    }

    /// Says the line too where the setting that cannot work is one of the text's.
    fn validate_from(&self, text: &PlacedTable, origin: &Path) -> Result<(), TrainError> {
        self.validate().map_err(|error| match &error {
            TrainError::Setting { name, .. } => {
                match text.nearest_on(name.split('.')).and_then(|placed| placed.line) {
                    Some(line) => TrainError::config(origin, format!("line {line}: {error}")),
                    None => error,
                }
            }
            _ => error,
        })
    }
}

/// Keys whose tables are choices: another choice replaces the table, it does not mix with it.
const CHOICES: [&str; 2] = ["batch", "resize"];

fn merge(into: &mut PlacedTable, changes: &PlacedTable) {
    for (key, placed) in changes.iter() {
        match (into.get_mut(key).map(|old| &mut old.value), &placed.value) {
            (Some(PlacedValue::Table(old)), PlacedValue::Table(new)) if !CHOICES.contains(&key) => {
                merge(old, new);
            }
            _ => into.insert(key, placed.clone()),
        }
    }
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

/// An error in one sentence. `changes` has the lines, `base` the examples.
fn in_words(error: &ReadError, changes: &PlacedTable, base: &PlacedTable) -> String {
    let path = error.path.as_deref().unwrap_or_default();
    // Serde notices some errors at a place that stands in no text: a key that is missing, in a table that does.
    let line = error.line.or_else(|| changes.nearest_on(path.iter().map(String::as_str))?.line);
    let place = line.map_or_else(String::new, |line| format!("line {line}: "));
    let key = path.join(".");
    let example = || match base.nearest_on(path.iter().map(String::as_str)) {
        Some(Placed { value, .. }) if has(base, path) => format!(", like `{key} = {value}`"),
        _ => String::new(),
    };
    place
        + &match &error.problem {
            Problem::UnknownKey { key: unknown_key, known } => {
                let elsewhere = known_elsewhere(base, unknown_key, path);
                let in_table = if path.is_empty() { String::new() } else { format!(" (in `{key}`)") };
                match elsewhere {
                    Some(table) if !known.contains(&unknown_key.as_str()) => {
                        format!("unknown key `{unknown_key}`{in_table}; it stands in the table [{table}]")
                    }
                    _ => unknown("key", unknown_key, known.iter().copied()) + &in_table,
                }
            }
            Problem::UnknownChoice { choice, known } => {
                format!(
                    "{}: `{key}` takes {}",
                    unknown("value", choice, known.iter().copied()),
                    known.join(", ")
                )
            }
            Problem::WrongType { found, expected } => {
                format!("`{key}` must be {}{}; found {found}", type_in_words(expected), example())
            }
            Problem::Missing(missing) if path.is_empty() => format!("the key `{missing}` is missing"),
            Problem::Missing(missing) => format!("`{key}` needs the key `{missing}`{}", example()),
            Problem::Other(words) => match key.as_str() {
                "" => words.trim().to_string(),
                key => format!("`{key}`: {}", words.trim()),
            },
        }
}

fn has(table: &PlacedTable, path: &[String]) -> bool {
    let [first, rest @ ..] = path else { return false };
    match (table.get(first), rest) {
        (None, _) => false,
        (Some(_), []) => true,
        (Some(placed), rest) => placed.value.table().is_some_and(|table| has(table, rest)),
    }
}

/// The table in which a key is known that is not known at `path`.
fn known_elsewhere(base: &PlacedTable, key: &str, path: &[String]) -> Option<String> {
    base.iter().find_map(|(name, placed)| {
        let found = placed.value.table().is_some_and(|table| table.get(key).is_some());
        (found && path.first().map(String::as_str) != Some(name)).then(|| name.to_string())
    })
}

/// Serde's names of types as words.
fn type_in_words(expected: &str) -> String {
    match expected {
        "f32" | "f64" => "a number".into(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".into(),
        "a boolean" => "true or false".into(),
        "a string" | "str" => "a text in quotes".into(),
        "a sequence" => "a list in brackets".into(),
        "newtype variant" | "struct variant" => "a table".into(),
        _ if expected.starts_with("struct ") => "a table".into(),
        _ => expected.to_string(),
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
        fn check(table: &PlacedTable, above: &str, keys: &[String]) {
            for (key, placed) in table.iter() {
                let path = format!("{above}{key}");
                if let Some(table) = placed.value.table() {
                    check(table, &format!("{path}."), keys);
                } else if !path.contains("image_score") {
                    assert!(keys.contains(&path), "{path} in {keys:?}");
                }
            }
        }
        check(&base().to_table().unwrap(), "", &keys);
    }
}
