//! The configuration file: everything that flags say, and the settings of the training, in one TOML file for all verbs.
//!
//! In: the arguments of a call. Out: the verb and its flags, from the command line and the file, and the file's settings of the
//! training; or, with `--print-config`, all of it as TOML. A file's flags are parsed as if they had been typed, so that
//! they obey the same rules; an error names the file, the line and the key.
//!
//! The top of a file has the keys of `TrainConfig` and the flags of every verb; a table called as a verb has its flags, by
//! their long names with `_` for `-`. The command line wins over the table, the table over the top. A path means what it
//! means as a flag: it starts in the working directory, wherever the file lies.

mod call;
mod example;
mod flags;
mod print;
mod resolve;
mod vocabulary;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use simplenet_train::{
    TrainConfig, TrainError,
    config::text::{line_of, parse},
};
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue, Deserializer},
};

use crate::error::CliError;

pub use call::{Asked, Call, Refused, call};
pub use example::example;
pub use flags::{example as example_of, keys};
pub use resolve::resolve;
pub use vocabulary::{TASKS, Vocabulary, XTASK};

/// A configuration file, every key of which is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    path: PathBuf,
    text: String,
    /// The keys of the top that are settings of the training.
    training: Vec<String>,
}

/// A key of a file, and what it has there.
type Entry<'a> = (&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>);

impl ConfigFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// A file that cannot be read, is no TOML, or has an unknown key or a flag's value of another type; names the line.
    pub fn read(path: &Path, vocabulary: &Vocabulary) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(path).map_err(CliError::io("read", path))?;
        Self::parse(&text, path, vocabulary)
    }

    /// The same from a text; `path` is what errors call it.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(text: &str, path: &Path, vocabulary: &Vocabulary) -> Result<Self, CliError> {
        let mut file = Self { path: path.to_path_buf(), text: text.to_string(), training: vec![] };
        let table = file.table()?;
        vocabulary.check(&table, &file)?;
        let keys = table.keys().map(|key| key.get_ref().to_string());
        file.training = keys.filter(|key| vocabulary.is_training(key)).collect();
        Ok(file)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Settings of a training, with those of the file in their place.
    ///
    /// # Errors
    /// A setting of another type or one that cannot work; names the line.
    pub fn change(&self, settings: &TrainConfig) -> Result<TrainConfig, TrainError> {
        settings.overridden_by_part(&self.text, &self.path, |key| self.is_training(key))
    }

    /// The settings of the training that it has.
    ///
    /// # Errors
    /// A value that TOML cannot hold.
    pub fn training(&self) -> Result<toml::Table, CliError> {
        let table = self.table()?.into_iter().filter(|(key, _)| self.is_training(key.get_ref()));
        let read = toml::Table::deserialize(Deserializer::from(Spanned::new(0..0, table.collect())));
        read.map_err(|error| CliError::Usage(format!("{}: {}", self.path.display(), error.message())))
    }

    /// All that it has, with places.
    fn table(&self) -> Result<DeTable<'_>, CliError> {
        parse(&self.text).map_err(|problem| CliError::Usage(format!("{}: {problem}", self.path.display())))
    }

    fn is_training(&self, key: &str) -> bool {
        self.training.iter().any(|known| known == key)
    }

    /// What is wrong with an entry.
    fn wrong(&self, (key, _): Entry<'_>, problem: &str) -> CliError {
        CliError::Usage(format!("{}: line {}: {problem}", self.path.display(), self.line(key)))
    }

    fn line(&self, key: &Spanned<DeString<'_>>) -> usize {
        line_of(&self.text, key.span().start)
    }

    /// A value as it stands in the file, in one line.
    fn written(&self, value: &Spanned<DeValue<'_>>) -> String {
        let written = self.text.get(value.span()).unwrap_or_default();
        written.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}
