//! `simplenet completions`: the script by which a shell completes verbs, flags and their values, on standard output.

use clap::CommandFactory;

use crate::{
    args::{Cli, CompletionsArgs},
    tell,
};

/// Runs the verb.
pub fn run(args: &CompletionsArgs) {
    let mut script = vec![];
    clap_complete::generate(args.shell, &mut Cli::command(), "simplenet", &mut script);
    tell::data(&String::from_utf8_lossy(&script));
}
