//! Progress for people: bars with the time left, on a terminal only.
//!
//! In: the four calls of the libraries' reporter trait (start, advance, finish, note), a form of them for downloads
//! and one for callbacks. Out: on a terminal, bars on standard error, without colour when NO_COLOR is set; on a
//! pipe, in a file or in CI no bars at all, and notes as plain lines on standard error, so that a message is never
//! lost. Results go to standard output with [`result`](TerminalProgress::result), which keeps clear of the bars. With
//! `--log-format json` each is an event: a task's at its begin, its end and once a second between them.
//!
//! Calls nest: a `start` inside a started task adds a bar below, `finish` ends the innermost one. Where a task may
//! fail between the two, take [`depth`](TerminalProgress::depth) before it and
//! [`unwind`](TerminalProgress::unwind) to it afterwards.

use crate::tell::{self, Level, NoFields};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Progress on standard error.
#[derive(Debug)]
pub struct TerminalProgress {
    screen: Screen,
    colour: Colour,
    tasks: Mutex<Vec<Task>>,
    context: Mutex<String>,
    /// The task that [`set`](TerminalProgress::set) ended last.
    ended: Mutex<String>,
}

#[derive(Debug)]
struct Task {
    what: String,
    bar: ProgressBar,
    unit: Unit,
    began: Instant,
    /// Steps that were done before it began.
    present: u64,
    /// When an event was last written, where events are.
    told: Instant,
}

/// What a task's steps are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Steps,
    Bytes,
}

#[derive(Debug)]
enum Screen {
    Terminal(MultiProgress),
    Plain,
    /// Events in the place of bars.
    Events,
}

/// The least time between two events of one task.
const BETWEEN_EVENTS: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colour {
    On,
    Off,
}

impl Default for TerminalProgress {
    fn default() -> Self {
        Self::new()
    }
}

impl TerminalProgress {
    /// Looks at the log's form, standard error and NO_COLOR once.
    pub fn new() -> Self {
        if tell::is_json() {
            return Self::on_screen(Screen::Events, Colour::Off);
        }
        let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        if std::io::stderr().is_terminal() && !dumb {
            // https://no-color.org: present and not empty means no colour.
            let no_colour = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
            let colour = if no_colour { Colour::Off } else { Colour::On };
            Self::on(ProgressDrawTarget::stderr(), colour)
        } else {
            Self::plain()
        }
    }

    /// No bars, whatever standard error is.
    pub fn plain() -> Self {
        Self::on_screen(Screen::Plain, Colour::Off)
    }

    fn on(target: ProgressDrawTarget, colour: Colour) -> Self {
        Self::on_screen(Screen::Terminal(MultiProgress::with_draw_target(target)), colour)
    }

    fn on_screen(screen: Screen, colour: Colour) -> Self {
        Self { screen, colour, tasks: Mutex::default(), context: Mutex::default(), ended: Mutex::default() }
    }

    /// Begin a task of `total` steps; 0 means that the number is not known.
    pub fn start(&self, what: &str, total: u64) {
        self.begin(what, total, Unit::Steps);
    }

    /// Begin a download of `total` bytes (0: not known), `present` of which are already here.
    pub fn start_bytes(&self, what: &str, total: u64, present: u64) {
        self.begin(what, total, Unit::Bytes);
        if let Some(task) = lock(&self.tasks).last_mut() {
            // What was there before says nothing about the speed.
            task.present = present;
            task.bar.set_position(present);
            task.bar.reset_eta();
        }
    }

    /// `n` more steps (or bytes) of the innermost task are done.
    pub fn advance(&self, n: u64) {
        if let Some(task) = lock(&self.tasks).last_mut() {
            task.bar.inc(n);
            self.tell_now_and_then(task);
        }
    }

    /// The innermost task has ended; its bar disappears.
    pub fn finish(&self) {
        let task = lock(&self.tasks).pop();
        if let Some(task) = task {
            self.tell_progress(&task);
            task.bar.finish_and_clear();
            if let Screen::Terminal(screen) = &self.screen {
                screen.remove(&task.bar);
            }
        }
    }

    /// For callbacks that count for themselves, also from several threads: begins the task at its first call and
    /// ends it when `done` reaches `total`. Calls that come late, after that end, change nothing.
    pub fn set(&self, what: &str, done: usize, total: usize) {
        let mut ended = lock(&self.ended);
        let running =
            || lock(&self.tasks).last().filter(|task| task.what == what).map(|task| task.bar.clone());
        if running().is_none() && done < total && (done == 0 || *ended != what) {
            self.start(what, total as u64);
        }
        let Some(bar) = running() else { return };
        bar.set_position(bar.position().max(done as u64));
        if let Some(task) = lock(&self.tasks).last_mut() {
            self.tell_now_and_then(task);
        }
        if done >= total {
            self.finish();
            *ended = what.to_string();
        }
    }

    /// Print one line on standard error, above the bars: something a person should know.
    pub fn note(&self, text: &str) {
        self.above_bars(|| tell::line(Level::Info, "note", text, &NoFields {}));
    }

    /// The same for what may go wrong, or has gone wrong and does not end the run.
    pub fn warn(&self, text: &str) {
        self.above_bars(|| tell::line(Level::Warn, "warning", text, &NoFields {}));
    }

    /// Print one line on standard output, above the bars: a result. Where events are written, it is one of this name and with
    /// these fields.
    pub fn result(&self, event: &str, text: &str, fields: &impl serde::Serialize) {
        self.above_bars(|| tell::result(event, &format!("{text}\n"), fields));
    }

    /// The same for what failed: an event of the level `error`.
    pub fn failed_result(&self, event: &str, text: &str, fields: &impl serde::Serialize) {
        match self.screen {
            Screen::Events => tell::event(Level::Error, event, text, fields),
            _ => self.above_bars(|| tell::result(event, &format!("{text}\n"), fields)),
        }
    }

    /// Put `text` before the name of every task from now on, and end tasks that an earlier context left open. Off
    /// a terminal it is printed once, as a note: it says how far a long run has come.
    pub fn context(&self, text: &str) {
        self.unwind(0);
        if !matches!(self.screen, Screen::Terminal(_)) && !text.is_empty() {
            self.note(text);
        }
        *lock(&self.context) = text.to_string();
    }

    /// How many tasks are open.
    pub fn depth(&self) -> usize {
        lock(&self.tasks).len()
    }

    /// End the innermost tasks until only `depth` are open: cleans up behind a task that failed half-way.
    pub fn unwind(&self, depth: usize) {
        while self.depth() > depth {
            self.finish();
        }
    }

    fn begin(&self, what: &str, total: u64, unit: Unit) {
        let bar = if total == 0 { ProgressBar::no_length() } else { ProgressBar::new(total) };
        let bar = match &self.screen {
            Screen::Terminal(screen) => {
                // Added before its first draw, so that it never draws on its own.
                let bar = screen.add(bar);
                bar.set_style(style(total, unit, self.colour));
                let context = lock(&self.context);
                let space = if context.is_empty() { "" } else { " " };
                bar.set_message(tell::escaped_line(&format!("{context}{space}{what}")).into_owned());
                bar.enable_steady_tick(Duration::from_millis(250));
                bar
            }
            Screen::Plain | Screen::Events => {
                bar.set_draw_target(ProgressDrawTarget::hidden());
                bar
            }
        };
        let now = Instant::now();
        let task = Task { what: what.to_string(), bar, unit, began: now, present: 0, told: now };
        self.tell_progress(&task);
        lock(&self.tasks).push(task);
    }

    /// An event of a task's progress, unless there was one within the last second.
    fn tell_now_and_then(&self, task: &mut Task) {
        if matches!(self.screen, Screen::Events) && task.told.elapsed() >= BETWEEN_EVENTS {
            task.told = Instant::now();
            self.tell_progress(task);
        }
    }

    fn tell_progress(&self, task: &Task) {
        if !matches!(self.screen, Screen::Events) {
            return;
        }
        let done = task.bar.position();
        let total = task.bar.length();
        let context = lock(&self.context);
        let fields = serde_json::json!({
            "context": if context.is_empty() { None } else { Some(&*context) },
            "unit": match task.unit { Unit::Steps => "steps", Unit::Bytes => "bytes" },
            "done": done,
            "total": total,
            "seconds_left": seconds_left(task.began.elapsed(), task.present, done, total),
        });
        tell::event(Level::Info, "progress", &task.what, &fields);
    }

    fn above_bars(&self, print: impl FnOnce()) {
        match &self.screen {
            Screen::Terminal(screen) => screen.suspend(print),
            Screen::Plain | Screen::Events => print(),
        }
    }
}

/// A thread that panicked while it held the lock leaves the bars usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn style(total: u64, unit: Unit, colour: Colour) -> ProgressStyle {
    let (spinner, bar) = match colour {
        Colour::On => ("{spinner:.cyan}", "{bar:24.cyan/dim}"),
        Colour::Off => ("{spinner}", "{bar:24}"),
    };
    let template = match (total, unit) {
        (0, Unit::Steps) => format!("{spinner} {{msg}}  {{pos}}  {{elapsed}}"),
        (0, Unit::Bytes) => format!("{spinner} {{msg}}  {{binary_bytes}}  {{elapsed}}"),
        (_, Unit::Steps) => format!("{{msg:34}} {bar} {{pos:>6}}/{{len}}  {{left}}"),
        (_, Unit::Bytes) => format!("{{msg:34}} {bar} {{binary_bytes}}/{{binary_total_bytes}}  {{left}}"),
    };
    // A template that does not parse would be a mistake here; the default bar is still progress.
    ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("left", |state: &ProgressState, out: &mut dyn Write| {
            let _ = out.write_str(&time_left(state.pos(), state.eta()));
        })
        .progress_chars("━╸─")
}

/// At the speed so far; `None` before the first step, and where the end is not known.
fn seconds_left(elapsed: Duration, present: u64, done: u64, total: Option<u64>) -> Option<f64> {
    let left = total?.checked_sub(done)?;
    let newly_done = done.checked_sub(present).filter(|&steps| steps > 0)?;
    let seconds = elapsed.as_secs_f64() * left as f64 / newly_done as f64;
    Some((seconds * 10.0).round() / 10.0)
}

/// Nothing before the first step: an estimate from no steps would read as "0 s".
fn time_left(steps_done: u64, estimate: Duration) -> String {
    let seconds = estimate.as_secs();
    match (steps_done, seconds) {
        (0, _) => String::new(),
        (_, 0..60) => format!("{seconds} s left"),
        (_, 60..3600) => format!("{} min {:02} s left", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min left", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::InMemoryTerm;

    fn in_memory(colour: Colour) -> (TerminalProgress, InMemoryTerm) {
        let term = InMemoryTerm::new(10, 100);
        (TerminalProgress::on(ProgressDrawTarget::term_like(Box::new(term.clone())), colour), term)
    }

    /// Bars are redrawn by their own clock; wait for it, at most ten seconds.
    fn wait_for(term: &InMemoryTerm, what: &str, holds: impl Fn(&str) -> bool) {
        let begin = std::time::Instant::now();
        while !holds(&term.contents()) {
            assert!(begin.elapsed() < Duration::from_secs(10), "no {what} in:\n{}", term.contents());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn bars_show_the_task_the_count_and_the_time_left() {
        let (progress, term) = in_memory(Colour::Off);
        progress.start("categories", 4);
        progress.start("features", 200);
        progress.advance(50);
        wait_for(&term, "two bars", |screen| {
            let lines: Vec<&str> = screen.lines().collect();
            let [outer, inner] = lines[..] else { return false };
            outer.starts_with("categories")
                && outer.trim_end().ends_with("0/4")
                && inner.starts_with("features")
                && inner.contains("50/200")
                && inner.ends_with(" s left")
        });
        progress.finish();
        progress.advance(1);
        wait_for(&term, "outer bar alone", |screen| screen.contains("1/4") && !screen.contains("features"));
        progress.finish();
        assert_eq!(progress.depth(), 0);
    }

    #[test]
    fn times_are_readable() {
        let cases = [
            (0, 5, ""),
            (1, 0, "0 s left"),
            (1, 59, "59 s left"),
            (9, 61, "1 min 01 s left"),
            (9, 3_660, "1 h 01 min left"),
        ];
        for (steps, seconds, expected) in cases {
            assert_eq!(time_left(steps, Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn time_left_is_that_of_the_speed_so_far() {
        let left = |present, done, total| seconds_left(Duration::from_secs(10), present, done, total);
        assert_eq!(left(0, 5, Some(20)), Some(30.0));
        assert_eq!(left(50, 60, Some(100)), Some(40.0));
        assert_eq!(left(0, 20, Some(20)), Some(0.0));
        for unknown in
            [left(0, 0, Some(20)), left(50, 50, Some(100)), left(0, 5, None), left(0, 30, Some(20))]
        {
            assert_eq!(unknown, None);
        }
    }

    #[test]
    fn every_template_parses() {
        for total in [0, 5] {
            for colour in [Colour::On, Colour::Off] {
                let (progress, term) = in_memory(colour);
                progress.start("work", total);
                progress.advance(3);
                wait_for(&term, "bar", |screen| {
                    screen.contains("work") && screen.contains('3') && screen.contains("left") == (total > 0)
                });
            }
        }
    }

    #[test]
    fn downloads_count_in_bytes_and_contexts_stand_first() {
        let (progress, term) = in_memory(Colour::Off);
        progress.context("[2/4] gear");
        progress.start_bytes("backbone", 4 << 20, 1 << 20);
        progress.advance(1 << 20);
        wait_for(&term, "bytes", |screen| {
            screen.starts_with("[2/4] gear backbone") && screen.contains("2.00 MiB/4.00 MiB")
        });
        progress.context("[3/4] nut");
        assert_eq!(progress.depth(), 0, "what the failed job left open is closed");
    }

    #[test]
    fn callbacks_that_count_for_themselves() {
        let progress = TerminalProgress::plain();
        for (done, open) in [(0, 1), (2, 1), (1, 1), (3, 0), (2, 0), (3, 0), (0, 1), (3, 0)] {
            progress.set("drawing", done, 3);
            assert_eq!(progress.depth(), open, "after {done}");
        }
        progress.start("other", 5);
        progress.set("nothing to do", 0, 0);
        assert_eq!(progress.depth(), 1);
    }

    #[test]
    fn pipes_get_no_bars_and_nesting_unwinds() {
        let progress = TerminalProgress::plain();
        progress.start("outer", 2);
        let depth = progress.depth();
        progress.start("inner", 9);
        progress.start("innermost", 0);
        progress.unwind(depth);
        assert_eq!(progress.depth(), 1);
        progress.finish();
        progress.finish();
        progress.advance(1);
        assert_eq!(progress.depth(), 0);
        assert!(matches!(progress.screen, Screen::Plain));
    }

    #[test]
    fn can_be_shared_between_threads() {
        let progress = TerminalProgress::plain();
        progress.start("work", 100);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..25).for_each(|_| progress.advance(1)));
            }
        });
        assert_eq!(lock(&progress.tasks).last().map(|task| task.bar.position()), Some(100));
    }
}
