//! The simplenet command line as a library: `main.rs` and the workspace's `xtask` call it.
//!
//! Data flows one way: arguments (`args`) -> settings (`settings`) -> command (`commands/`) -> files and sentences
//! (`output/`). Only this crate prints.

pub mod args;
pub mod commands;
pub mod error;
pub mod evaluation;
pub mod inspect;
pub mod machine;
pub mod output;
pub mod progress;
pub mod report_page;
mod reporting;
pub mod settings;

pub use error::CliError;

/// Sets the number of processor threads for everything that follows; all of them without a number.
///
/// # Errors
/// When the threads were already started.
pub fn set_threads(threads: Option<u16>) -> Result<(), CliError> {
    let Some(threads) = threads else { return Ok(()) };
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.into())
        .build_global()
        .map_err(|e| CliError::Usage(format!("--threads {threads}: {e}")))
}
