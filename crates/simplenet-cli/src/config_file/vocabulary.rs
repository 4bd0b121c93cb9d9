//! What a configuration file may say: the keys of the training, the flags of every verb, one table a verb.
//!
//! In: the programs' command lines as clap knows them, and a file. Out: the file's parts, or an error that names the line, the
//! key and the nearest known one.

use clap::{Arg, Command};
use simplenet_model::BackboneId;
use simplenet_train::{Preset, TrainConfig, config::text::unknown};
use toml::de::DeTable;

use super::{ConfigFile, Entry, flags};
use crate::error::CliError;

/// The tasks of `cargo xtask`: their tables may stand in a file that `simplenet` reads, which does not look into them. A test of
/// `xtask` holds this list against its tasks.
pub const TASKS: [&str; 7] =
    ["train-all", "ablate", "weights", "cuda-check", "gpu-check", "import-backbone", "example-config"];
/// Holds the tables of tasks that have the name of a verb of `simplenet`.
pub const XTASK: &str = "xtask";

/// What may stand in a file.
pub struct Vocabulary {
    /// The program that reads.
    own: Command,
    /// Another program whose tables are in the same file, and known here.
    other: Option<Command>,
    /// Tables of programs that are not known here.
    foreign: &'static [&'static str],
    training: Vec<String>,
}

impl Vocabulary {
    /// Of the program `simplenet`.
    pub fn of_simplenet(own: Command) -> Self {
        Self { own: built(own), other: None, foreign: &TASKS, training: training_keys() }
    }

    /// Of `cargo xtask`, which knows the verbs of `simplenet` too.
    pub fn of_xtask(own: Command, simplenet: Command) -> Self {
        Self { own: built(own), other: Some(built(simplenet)), foreign: &[], training: training_keys() }
    }

    /// Every verb that has flags of its own, of both programs, with the name of its table.
    pub(super) fn tables(&self) -> Vec<(String, &Command)> {
        let mut tables = vec![];
        for program in [self.other.as_ref(), Some(&self.own)].into_iter().flatten() {
            let mut verbs: Vec<(Vec<String>, &Command)> = vec![(vec![], program)];
            while let Some((names, verb)) = verbs.pop() {
                if !names.is_empty() && flags::keys(verb).any(|(_, flag)| !flag.is_global_set()) {
                    let is_own = std::ptr::eq(program, &self.own);
                    let table = if is_own { self.table_of(&names) } else { names.clone() };
                    tables.push((table.join("."), verb));
                }
                let below: Vec<&Command> = verb.get_subcommands().filter(|verb| is_verb(verb)).collect();
                // The last one is taken first.
                for verb in below.into_iter().rev() {
                    verbs.push((names.iter().cloned().chain([verb.get_name().to_string()]).collect(), verb));
                }
            }
        }
        tables
    }

    /// The program that reads, built: global flags are in every verb.
    pub(super) fn own(&self) -> &Command {
        &self.own
    }

    /// The names of the tables that lead to a verb's flags.
    pub(super) fn table_of(&self, verb: &[String]) -> Vec<String> {
        let taken =
            |name: &String| self.other.as_ref().is_some_and(|other| other.find_subcommand(name).is_some());
        let prefix = verb.first().filter(|name| taken(name)).map(|_| XTASK.to_string());
        prefix.into_iter().chain(verb.iter().cloned()).collect()
    }

    /// Whether a key at the top is a setting of the training.
    pub(super) fn is_training(&self, key: &str) -> bool {
        self.training.iter().any(|known| known == key)
    }

    /// Checks every key of a file, and the type of every flag's value, of all verbs.
    ///
    /// # Errors
    /// The first one that is wrong, with its line.
    pub(super) fn check(&self, table: &DeTable<'_>, file: &ConfigFile) -> Result<(), CliError> {
        in_order(table).into_iter().try_for_each(|entry| self.check_top(entry, file))
    }

    fn check_top(&self, entry: Entry<'_>, file: &ConfigFile) -> Result<(), CliError> {
        let (key, value): (&str, _) = (entry.0.get_ref(), entry.1);
        if self.is_training(key) {
            return Ok(());
        }
        let own = |key: &str| self.own.find_subcommand(key).filter(|verb| is_verb(verb));
        let other = |key: &str| self.other.as_ref()?.find_subcommand(key).filter(|verb| is_verb(verb));
        let inside = value.get_ref().as_table();
        let checked = match (self.global(key), other(key).or_else(|| own(key)), inside) {
            (Some(flag), ..) => flags::arguments(flag, key, value, file).map(drop),
            (_, Some(verb), Some(table)) => return self.check_table(verb, key, table, file),
            // Known to `xtask` alone.
            (_, None, Some(tasks)) if key == XTASK && self.other.is_some() => {
                return self.check_xtask(tasks, file);
            }
            (_, Some(_), None) => Err(format!("`{key}` must be a table: `[{key}]`, and its keys below")),
            (_, None, Some(_)) if key == XTASK || self.foreign.contains(&key) => Ok(()),
            (_, None, inside) => Err(self.unknown_at_top(key, inside.is_some())),
        };
        checked.map_err(|problem| file.wrong(entry, &problem))
    }

    fn check_xtask(&self, tasks: &DeTable<'_>, file: &ConfigFile) -> Result<(), CliError> {
        for entry in in_order(tasks) {
            let key: &str = entry.0.get_ref();
            let task = self.own.find_subcommand(key).filter(|task| is_verb(task));
            match (task, entry.1.get_ref().as_table()) {
                (Some(task), Some(table)) => {
                    self.check_table(task, &format!("{XTASK}.{key}"), table, file)?;
                }
                _ => {
                    let known = self.own.get_subcommands().map(Command::get_name);
                    let problem = format!("{} (in [{XTASK}])", unknown("table", key, known));
                    return Err(file.wrong(entry, &problem));
                }
            }
        }
        Ok(())
    }

    /// Checks a verb's table; `name` is what stands between the brackets.
    fn check_table(
        &self,
        verb: &Command,
        name: &str,
        table: &DeTable<'_>,
        file: &ConfigFile,
    ) -> Result<(), CliError> {
        for entry in in_order(table) {
            let key: &str = entry.0.get_ref();
            let verb_below = verb.find_subcommand(key).filter(|verb| is_verb(verb));
            if let (Some(verb), Some(inside)) = (verb_below, entry.1.get_ref().as_table()) {
                self.check_table(verb, &format!("{name}.{key}"), inside, file)?;
                continue;
            }
            let checked = match flags::keys(verb).find(|(known, _)| known == key) {
                Some((_, flag)) => flags::arguments(flag, key, entry.1, file).map(drop),
                None => Err(self.unknown_in_table(verb, key)),
            };
            checked.map_err(|problem| file.wrong(entry, &format!("{problem} (in [{name}])")))?;
        }
        Ok(())
    }

    fn unknown_in_table(&self, verb: &Command, key: &str) -> String {
        let flags: Vec<String> = flags::keys(verb).map(|(key, _)| key).collect();
        let verbs = verb.get_subcommands().filter(|verb| is_verb(verb)).map(Command::get_name);
        if self.is_training(key) {
            return format!("`{key}` is no flag but a setting of the training: it stands above all tables");
        }
        unknown("key", key, flags.iter().map(String::as_str).chain(verbs))
    }

    fn unknown_at_top(&self, key: &str, is_table: bool) -> String {
        let globals: Vec<String> = self.globals().map(|(key, _)| key).collect();
        let programs = || [Some(&self.own), self.other.as_ref()].into_iter().flatten();
        let verbs = || programs().flat_map(Command::get_subcommands).filter(|verb| is_verb(verb));
        let takes = |verb: &&Command| flags::keys(verb).any(|(known, _)| known == key);
        if let (false, Some(verb)) = (is_table, verbs().find(takes)) {
            let verb = verb.get_name();
            return format!(
                "unknown key `{key}` above all tables; as a flag of `{verb}` it stands in [{verb}]"
            );
        }
        let tables = verbs().map(Command::get_name).chain(self.foreign.iter().copied());
        let known = self.training.iter().chain(&globals).map(String::as_str);
        if is_table {
            unknown("table", key, tables.chain(self.training.iter().map(String::as_str)))
        } else {
            unknown("key", key, known.chain(tables))
        }
    }

    /// The flags of every verb that may stand at the top.
    pub(super) fn globals(&self) -> impl Iterator<Item = (String, &Arg)> {
        flags::keys(&self.own).filter(|(_, flag)| flag.is_global_set())
    }

    fn global(&self, key: &str) -> Option<&Arg> {
        self.globals().find(|(known, _)| known == key).map(|(_, flag)| flag)
    }
}

/// Not clap's own `help`.
pub(super) fn is_verb(verb: &Command) -> bool {
    verb.get_name() != "help"
}

/// The entries of a table as they stand in the file.
fn in_order<'a>(table: &'a DeTable<'a>) -> Vec<Entry<'a>> {
    let mut entries: Vec<Entry<'_>> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn built(mut command: Command) -> Command {
    command.build();
    command
}

/// The keys at the top of a training configuration.
fn training_keys() -> Vec<String> {
    let config = TrainConfig::preset(Preset::Default, BackboneId::EfficientNetLite0);
    // A preset can stand in TOML: a test of the training crate holds it.
    let keys = config.keys().unwrap_or_default();
    keys.into_iter().filter(|key| !key.contains('.')).collect()
}
