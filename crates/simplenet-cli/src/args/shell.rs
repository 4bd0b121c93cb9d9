//! Flags of what helps at the command line: `completions`, `man`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// Flags of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "To install:
  bash        simplenet completions bash > ~/.local/share/bash-completion/completions/simplenet
  zsh         simplenet completions zsh > ~/.zfunc/_simplenet     (with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc)
  fish        simplenet completions fish > ~/.config/fish/completions/simplenet.fish
  powershell  simplenet completions powershell >> $PROFILE
  elvish      simplenet completions elvish >> ~/.config/elvish/rc.elv")]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

/// Flags of `man`.
#[derive(Debug, Args)]
#[command(after_help = "To read it: simplenet man | man -l -
To install: simplenet man --out ~/.local/share/man/man1")]
pub struct ManArgs {
    /// Write simplenet.1 and a page a verb into this folder. Without it, simplenet.1 goes to standard output.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}
