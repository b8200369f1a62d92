//! The progress of long operations: bars on a terminal, lines in a log.

use std::fmt;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// The time between lines in a log.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// A progress bar.
pub struct Bar {
    name: &'static str,
    bar: ProgressBar,
    /// The lines in a log; `None` on a terminal.
    lines: Option<Mutex<Lines>>,
}

/// The lines of a bar in a log.
struct Lines {
    /// The time of the last one, or of the beginning.
    last: Instant,
    /// True if there are any.
    are_any: bool,
}

impl Bar {
    /// A bar without a known length.
    pub fn counter(name: &'static str) -> Self {
        Self::alone(name, None)
    }

    /// A bar of the length `length`.
    pub fn towards(name: &'static str, length: u64) -> Self {
        Self::alone(name, Some(length))
    }

    fn alone(name: &'static str, length: Option<u64>) -> Self {
        let bar = Self::hidden(name, length);
        if bar.lines.is_none() {
            bar.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        bar
    }

    /// A bar that is not drawn yet.
    fn hidden(name: &'static str, length: Option<u64>) -> Self {
        let template = match length {
            Some(_) => "{prefix:>17} [{bar:40}] {human_pos:>11}/{human_len} {rate:>10}",
            None => "{prefix:>17} {human_pos:>11} {rate:>10} {elapsed}",
        };
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
                // A rate that can't be written is left out.
                let _ = write!(out, "{:.0}/s", state.per_sec());
            })
            .progress_chars("=> ");
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
        bar.set_style(style);
        bar.set_prefix(name);
        let terminal = std::io::stderr().is_terminal();
        Self {
            name,
            bar,
            lines: (!terminal).then(|| {
                Mutex::new(Lines {
                    last: Instant::now(),
                    are_any: false,
                })
            }),
        }
    }

    /// Advances by `count`.
    pub fn add(&self, count: u64) {
        self.bar.inc(count);
        self.line_when_due();
    }

    /// Makes the bar at least as long as `length`, if it has a length.
    fn lengthen(&self, length: u64) {
        if self.bar.length().is_some_and(|before| before < length) {
            self.bar.set_length(length);
        }
    }

    /// Advances to `position`; never moves back.
    pub fn reach(&self, position: u64) {
        if position > self.bar.position() {
            self.bar.set_position(position);
        }
        self.line_when_due();
    }

    /// Ends the bar and leaves its last state on the screen. A log gets a last line if it has others.
    pub fn finish(&self) {
        self.bar.abandon();
        match self.lines() {
            // A bar leaves the cursor at its end.
            None => errln!(""),
            Some(lines) if lines.are_any => self.line(),
            Some(_) => {}
        }
    }

    fn line_when_due(&self) {
        if let Some(mut lines) = self.lines()
            && lines.last.elapsed() >= LINE_INTERVAL
        {
            lines.last = Instant::now();
            lines.are_any = true;
            self.line();
        }
    }

    fn lines(&self) -> Option<MutexGuard<'_, Lines>> {
        let lines = self.lines.as_ref()?;
        Some(lines.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn line(&self) {
        match self.bar.length() {
            Some(length) => errln!("{}: {} of {length}", self.name, self.bar.position()),
            None => errln!("{}: {}", self.name, self.bar.position()),
        }
    }
}

/// The three bars of the demo.
pub struct Journey {
    bars: MultiProgress,
    /// Messages sent to the queue.
    pub sent: Bar,
    in_topic: Bar,
    in_tables: Bar,
}

impl Journey {
    /// Bars for `messages` messages, or for an unknown number.
    pub fn new(messages: Option<u64>) -> Self {
        let bars = MultiProgress::new();
        let bar = |name| {
            let bar = Bar::hidden(name, messages);
            if bar.lines.is_none() {
                bars.add(bar.bar.clone());
            }
            bar
        };
        Self {
            sent: bar("messages sent"),
            in_topic: bar("records in topic"),
            in_tables: bar("records in tables"),
            bars,
        }
    }

    /// Shows the number of records in the topic, and of those whose facts are committed. A message
    /// that was delivered again has several, so both can exceed the number of messages.
    pub fn reach(&self, in_topic: u64, in_tables: u64) {
        for (bar, records) in [(&self.in_topic, in_topic), (&self.in_tables, in_tables)] {
            bar.lengthen(in_topic);
            bar.reach(records);
        }
    }

    /// Prints a line above the bars.
    pub fn println(&self, line: &str) {
        self.bars.suspend(|| errln!("{line}"));
    }

    /// Ends all three.
    pub fn finish(&self) {
        for bar in [&self.sent, &self.in_topic, &self.in_tables] {
            bar.bar.abandon();
            if bar.lines.is_some() {
                bar.line();
            }
        }
        if self.sent.lines.is_none() {
            // The bars leave the cursor at the end of the last one.
            errln!("");
        }
    }
}
