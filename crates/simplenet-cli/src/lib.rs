#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// As the standard `print!`, but a reader that has gone (`simplenet infer | head -3`) is no reason to stop: the results
/// are files. Defined before the modules, so that it holds in all of them.
#[allow(unused_macros)] // whoever writes it is to get this one
macro_rules! print {
    ($($text:tt)*) => { $crate::say(format_args!($($text)*)) };
}

/// As the standard `println!`, with [`print!`]'s forbearance.
macro_rules! println {
    ($($text:tt)*) => { $crate::say(format_args!("{}\n", format_args!($($text)*))) };
}

/// As the standard `eprintln!`, in the log's form.
#[allow(unused_macros)] // whoever writes it is to get this one
macro_rules! eprintln {
    ($($text:tt)*) => {
        $crate::tell::line($crate::tell::Level::Info, "note", &format!($($text)*), &$crate::tell::NoFields {})
    };
}

pub mod args;
pub mod commands;
pub mod config_file;
pub mod curves_file;
pub mod device;
pub mod error;
pub mod evaluation;
pub mod inputs;
pub mod inspect;
pub mod interrupt;
pub mod machine;
pub mod output;
pub mod plots_folder;
pub mod program;
pub mod progress;
pub mod report_page;
mod reporting;
pub mod settings;
pub mod tell;
pub mod training_reporter;
pub mod unlike_training;

pub use error::CliError;
pub use tell::say;

/// Sets the number of threads for everything that follows, one per CPU without a number, and that they take short turns.
///
/// # Errors
/// When the threads were already started.
pub fn set_threads(threads: Option<u16>) -> Result<(), CliError> {
    // Before rayon starts its threads, which then have it from this one.
    simplenet_model::prefer_short_time_slices();
    let Some(threads) = threads else { return Ok(()) };
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.into())
        .build_global()
        .map_err(|e| CliError::Usage(format!("--threads {threads}: {e}")))
}
