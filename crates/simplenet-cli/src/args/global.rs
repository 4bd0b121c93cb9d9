//! Flags of every verb of both programs: threads, the configuration file, the log.

use std::path::PathBuf;

use clap::Args;

use crate::tell::LogFormat;

/// Flags of every verb.
#[derive(Debug, Clone, Args)]
pub struct GlobalArgs {
    /// Processor threads to use, 1 to 1024; all by default.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS), help_heading = HEADING)]
    pub threads: Option<u16>,
    /// Take flags and training settings from this TOML file too; what stands on the command line wins over it.
    #[arg(long, global = true, value_name = "FILE.toml", help_heading = HEADING)]
    pub config: Option<PathBuf>,
    /// Write the whole configuration of this call as TOML, which --config reads, and do nothing else.
    #[arg(long, global = true, help_heading = HEADING)]
    pub print_config: bool,
    /// How progress, notes, results and errors are told: for people, or as one JSON object a line on standard error.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT", help_heading = HEADING)]
    pub log_format: LogFormat,
}

const HEADING: &str = "Options of every verb";
/// More threads than any machine has processors only wait for each other.
const MAX_THREADS: i64 = 1024;
