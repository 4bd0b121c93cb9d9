//! Progress for people: bars with the time left, on a terminal only.
//!
//! In: the four calls of the libraries' reporter trait (start, advance, finish, note). Out: on a terminal, bars on
//! standard error, without colour when NO_COLOR is set; on a pipe, in a file or in CI no bars at all, and notes as
//! plain lines on standard error, so that a message is never lost.
//!
//! Calls nest: a `start` inside a started task adds a bar below, `finish` ends the innermost one. Where a task may
//! fail between the two, take [`depth`](TerminalProgress::depth) before it and
//! [`unwind`](TerminalProgress::unwind) to it afterwards.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Progress on standard error.
#[derive(Debug)]
pub struct TerminalProgress {
    screen: Screen,
    colour: Colour,
    bars: Mutex<Vec<ProgressBar>>,
}

#[derive(Debug)]
enum Screen {
    Terminal(MultiProgress),
    Plain,
}

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
    /// Looks at standard error and NO_COLOR once.
    pub fn new() -> Self {
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
        Self { screen: Screen::Plain, colour: Colour::Off, bars: Mutex::default() }
    }

    fn on(target: ProgressDrawTarget, colour: Colour) -> Self {
        let screen = Screen::Terminal(MultiProgress::with_draw_target(target));
        Self { screen, colour, bars: Mutex::default() }
    }

    /// Begin a task of `total` steps; 0 means that the number is not known.
    pub fn start(&self, what: &str, total: u64) {
        let bar = if total == 0 { ProgressBar::no_length() } else { ProgressBar::new(total) };
        if let Screen::Terminal(screen) = &self.screen {
            // Added before its first draw, so that it never draws on its own.
            let bar = screen.add(bar);
            bar.set_style(style(total, self.colour));
            bar.set_message(what.to_string());
            bar.enable_steady_tick(Duration::from_millis(250));
            self.bars().push(bar);
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
            self.bars().push(bar);
        }
    }

    /// `n` more steps of the innermost task are done.
    pub fn advance(&self, n: u64) {
        if let Some(bar) = self.bars().last() {
            bar.inc(n);
        }
    }

    /// The innermost task has ended; its bar disappears.
    pub fn finish(&self) {
        if let Some(bar) = self.bars().pop() {
            self.remove(&bar);
        }
    }

    /// Print one line above the bars.
    pub fn note(&self, text: &str) {
        match &self.screen {
            // A MultiProgress without bars prints nothing, hence the second arm.
            Screen::Terminal(screen) if self.depth() > 0 => {
                if screen.println(text).is_err() {
                    eprintln!("{text}");
                }
            }
            _ => eprintln!("{text}"),
        }
    }

    /// How many tasks are open.
    pub fn depth(&self) -> usize {
        self.bars().len()
    }

    /// End the innermost tasks until only `depth` are open: cleans up behind a task that failed half-way.
    pub fn unwind(&self, depth: usize) {
        while self.depth() > depth {
            self.finish();
        }
    }

    fn remove(&self, bar: &ProgressBar) {
        bar.finish_and_clear();
        if let Screen::Terminal(screen) = &self.screen {
            screen.remove(bar);
        }
    }

    /// A thread that panicked while it held the bars leaves them usable.
    fn bars(&self) -> MutexGuard<'_, Vec<ProgressBar>> {
        self.bars.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn style(total: u64, colour: Colour) -> ProgressStyle {
    let template = match (total, colour) {
        (0, Colour::On) => "{spinner:.cyan} {msg}  {pos}  {elapsed}",
        (0, Colour::Off) => "{spinner} {msg}  {pos}  {elapsed}",
        (_, Colour::On) => "{msg:28} {bar:24.cyan/dim} {pos:>6}/{len}  {left}",
        (_, Colour::Off) => "{msg:28} {bar:24} {pos:>6}/{len}  {left}",
    };
    // A template that does not parse would be a mistake here; the default bar is still progress.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("left", |state: &ProgressState, out: &mut dyn Write| {
            let _ = out.write_str(&time_left(state.pos(), state.eta()));
        })
        .progress_chars("━╸─")
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
        progress.note("gear: image AUROC 0.98");
        progress.advance(1);
        wait_for(&term, "note above the outer bar", |screen| {
            screen.starts_with("gear: image AUROC 0.98\n")
                && screen.contains("1/4")
                && !screen.contains("features")
        });
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
        assert_eq!(progress.bars().last().map(ProgressBar::position), Some(100));
    }
}
