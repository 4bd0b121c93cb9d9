//! Where everything that a program tells goes: results, notes, errors. For people, results go to standard output and the rest to
//! standard error, as text. With `--log-format json` each is one JSON object a line on standard error, and standard
//! output holds only what was asked for as data.
//!
//! In: sentences, with fields for the JSON form. Out: lines. The form is set once, before anything is told. What a terminal
//! would act on is escaped here ([`escaped`]), for every verb; only data that was asked for goes out as it is.

mod escape;
mod event;

use std::{
    fmt::Arguments,
    io::{ErrorKind, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use clap::ValueEnum;
use serde::Serialize;

pub use escape::{escaped, escaped_line};
pub use event::Level;

/// How a run tells what it does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines, tables and bars for people.
    #[default]
    Text,
    /// One JSON object a line, all on standard error.
    Json,
}

static JSON: AtomicBool = AtomicBool::new(false);

/// Chooses the form of all that follows.
pub fn set_format(format: LogFormat) {
    JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

/// Whether JSON lines are written.
pub fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// Told to nobody: fields of an event that has none.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct NoFields {}

/// A result: a piece of text on standard output, or an event.
pub fn result(event: &str, text: &str, fields: &impl Serialize) {
    if is_json() { event::write(Level::Info, event, text.trim(), fields) } else { write_out(&escaped(text)) }
}

/// One line on standard error, or an event with the line as its message. In text an error begins with `error: `.
pub fn line(level: Level, event: &str, text: &str, fields: &impl Serialize) {
    match (is_json(), level) {
        (true, _) => event::write(level, event, text.trim(), fields),
        (false, Level::Error) => write_err(&format!("error: {}\n", escaped(text))),
        (false, _) => write_err(&format!("{}\n", escaped(text))),
    }
}

/// An event that people see in another way, as a bar or in a table: nothing in text.
pub fn event(level: Level, event: &str, text: &str, fields: &impl Serialize) {
    if is_json() {
        event::write(level, event, text, fields);
    }
}

/// What was asked for as data, on standard output in either form.
pub fn data(text: &str) {
    write_out(text);
}

/// Text for standard output, as `print!` has it; in JSON an event, nothing for blank lines.
pub fn say(text: Arguments<'_>) {
    let text = text.to_string();
    if !is_json() {
        return write_out(&escaped(&text));
    }
    if !text.trim().is_empty() {
        event::write(Level::Info, "result", text.trim(), &NoFields {});
    }
}

/// Writes to standard output; a closed pipe is passed over, another failure is told on standard error.
fn write_out(text: &str) {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            line(Level::Error, "error", &format!("cannot write to standard output: {error}"), &NoFields {});
        }
        _ => {}
    }
}

/// Nobody can be told that standard error is gone.
fn write_err(text: &str) {
    let _gone = std::io::stderr().write_all(text.as_bytes());
}
