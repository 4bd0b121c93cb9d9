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
mod vocabulary;

use std::path::{Path, PathBuf};

use simplenet_train::placed_toml::{Placed, PlacedTable};

use crate::error::CliError;

pub use call::{Asked, Call, Refused, call};
pub use example::example;
pub use flags::{example as example_of, keys};
pub use vocabulary::{TASKS, Vocabulary, XTASK};

/// A configuration file, every key of which is known.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigFile {
    path: PathBuf,
    table: PlacedTable,
    /// The keys of the top that are settings of the training.
    training: PlacedTable,
}

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
        let in_file = |problem: String| CliError::Usage(format!("{}: {problem}", path.display()));
        let table = PlacedTable::parse(text).map_err(|error| in_file(error.to_string()))?;
        vocabulary.check(&table).map_err(in_file)?;
        let training = table.filtered(|key| vocabulary.is_training(key));
        Ok(Self { path: path.to_path_buf(), table, training })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The settings of the training that it has.
    pub fn training(&self) -> &PlacedTable {
        &self.training
    }

    /// A key at the top.
    fn top(&self, key: &str) -> Option<&Placed> {
        self.table.get(key)
    }

    /// The table below these names.
    fn below(&self, names: &[String]) -> Option<&PlacedTable> {
        names.iter().try_fold(&self.table, |table, name| table.get(name)?.value.table())
    }
}
