//! A whole configuration file: every key that one may have, with its help and its default or, where it has none, a comment with
//! an example. `docs/simplenet.example.toml` is this text.

use simplenet_model::BackboneId;
use simplenet_train::{Preset, TrainConfig};

use super::{
    Vocabulary, flags,
    print::{entry, training_text},
};
use crate::error::CliError;

const HEAD: &str = "\
# A whole configuration file of `simplenet` and `cargo xtask`: every key that one may have. Take what you need:
#
#     simplenet infer --config line.toml
#     simplenet infer --config line.toml --print-config      # what it comes to, with the command line
#
# At the top: flags of every verb, and the settings of the training. Below: a table a verb, its flags by their long names with
# `_` for `-`. The command line wins over the table, the table over the top. Keys that are commented out have no default; what
# stands there is an example. Paths start in the working directory. `cargo xtask example-config` writes this file.
";

/// The text.
///
/// # Errors
/// Settings that TOML cannot hold.
pub fn example(vocabulary: &Vocabulary) -> Result<String, CliError> {
    let mut text = HEAD.to_string();
    for (key, flag) in vocabulary.globals() {
        text += &entry(&key, flag, default(flag).as_deref());
    }
    text += &training_text(&TrainConfig::preset(Preset::Default, BackboneId::EfficientNetLite0))?;
    for (table, verb) in vocabulary.tables() {
        let about = verb.get_about().map(|about| about.to_string()).unwrap_or_default();
        text += &format!("\n\n# {about}\n[{table}]\n");
        for (key, flag) in flags::keys(verb).filter(|(_, flag)| !flag.is_global_set()) {
            text += &entry(&key, flag, default(flag).as_deref());
        }
    }
    Ok(text)
}

/// A flag's default as TOML.
fn default(flag: &clap::Arg) -> Option<String> {
    let has_one = !flag.get_default_values().is_empty();
    if flags::is_switch(flag) { Some("false".into()) } else { has_one.then(|| flags::default(flag)) }
}
