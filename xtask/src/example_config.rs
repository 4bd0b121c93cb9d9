//! `cargo xtask example-config`: writes docs/simplenet.example.toml, a configuration file with every key that one may have, from the
//! definitions of the flags and settings. A test holds the file against them.

use std::path::PathBuf;

use clap::Args;
use simplenet_cli::{
    CliError,
    config_file::{Vocabulary, example},
    output::atomic,
};

/// Flags of `example-config`.
#[derive(Debug, Args)]
pub(crate) struct ExampleConfigArgs {
    /// The file to write.
    #[arg(long, value_name = "FILE.toml", default_value = "docs/simplenet.example.toml")]
    out: PathBuf,
}

/// Runs the task.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn run(args: &ExampleConfigArgs, vocabulary: &Vocabulary) -> Result<(), CliError> {
    atomic::write_text(&args.out, &example(vocabulary)?)?;
    println!("written: {}", args.out.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory;
    use simplenet_cli::{args::Cli, config_file::ConfigFile};

    use super::*;

    #[test]
    fn the_file_in_docs_is_complete_and_loads() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/simplenet.example.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let vocabulary = crate::vocabulary();
        assert_eq!(
            text,
            example(&vocabulary).unwrap(),
            "the flags have changed: run `cargo xtask example-config`"
        );
        // As it is, and with every key that is commented out.
        let whole: String = text
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(key) if key.split_once(" = ").is_some_and(|(key, _)| !key.contains([' ', '`'])) => key,
                _ => line,
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        assert!(whole.lines().count() == text.lines().count() && whole != text);
        for vocabulary in [vocabulary, Vocabulary::of_simplenet(Cli::command())] {
            for text in [&text, &whole] {
                ConfigFile::parse(text, Path::new("simplenet.example.toml"), &vocabulary).unwrap();
            }
        }
    }
}
