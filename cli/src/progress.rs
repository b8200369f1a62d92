//! Progress of long work: bars on a terminal, plain lines in a log.

use std::fmt;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// How often a log gets a line.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// One bar.
pub struct Bar {
    name: &'static str,
    bar: ProgressBar,
    /// When the last line was printed; none on a terminal, which has the bar.
    last_line: Option<Mutex<Instant>>,
}

impl Bar {
    /// A bar towards an end that isn't known, standing alone.
    pub fn counter(name: &'static str) -> Self {
        Self::alone(name, None)
    }

    /// A bar towards `length`, standing alone.
    pub fn towards(name: &'static str, length: u64) -> Self {
        Self::alone(name, Some(length))
    }

    fn alone(name: &'static str, length: Option<u64>) -> Self {
        let bar = Self::hidden(name, length);
        if bar.last_line.is_none() {
            bar.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        bar
    }

    /// A bar that isn't drawn yet: whoever shows it decides where.
    fn hidden(name: &'static str, length: Option<u64>) -> Self {
        let template = match length {
            Some(_) => "{prefix:>14} [{bar:40}] {human_pos:>11}/{human_len} {rate:>10}",
            None => "{prefix:>14} {human_pos:>11} {rate:>10} {elapsed}",
        };
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
                // A rate that can't be written is a rate that isn't shown.
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
            last_line: (!terminal).then(|| Mutex::new(Instant::now())),
        }
    }

    /// Moves on by `count`.
    pub fn add(&self, count: u64) {
        self.bar.inc(count);
        self.line_when_due();
    }

    /// Moves to `position`, never backwards.
    pub fn reach(&self, position: u64) {
        if position > self.bar.position() {
            self.bar.set_position(position);
        }
        self.line_when_due();
    }

    /// The end, with the last state left to see.
    pub fn finish(&self) {
        if self.last_line.is_some() {
            self.line();
        }
        self.bar.abandon();
    }

    fn line_when_due(&self) {
        let Some(last_line) = &self.last_line else {
            return;
        };
        let mut last_line = last_line
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if last_line.elapsed() >= LINE_EVERY {
            *last_line = Instant::now();
            self.line();
        }
    }

    fn line(&self) {
        match self.bar.length() {
            Some(length) => eprintln!("{}: {} of {length}", self.name, self.bar.position()),
            None => eprintln!("{}: {}", self.name, self.bar.position()),
        }
    }
}

/// The three bars of the demo: how far the messages have come.
pub struct Journey {
    bars: MultiProgress,
    /// Messages in the queue or beyond.
    pub sent: Bar,
    /// Records in the topic or beyond.
    pub in_topic: Bar,
    /// Records whose facts are committed.
    pub in_tables: Bar,
}

impl Journey {
    /// Bars for `messages` messages, or an unknown number.
    pub fn new(messages: Option<u64>) -> Self {
        let bars = MultiProgress::new();
        let bar = |name| {
            let bar = Bar::hidden(name, messages);
            if bar.last_line.is_none() {
                bars.add(bar.bar.clone());
            }
            bar
        };
        let (sent, in_topic, in_tables) = (bar("sent"), bar("in the topic"), bar("in the tables"));
        Self {
            bars,
            sent,
            in_topic,
            in_tables,
        }
    }

    /// Prints a line without disturbing the bars.
    pub fn say(&self, line: &str) {
        self.bars.suspend(|| eprintln!("{line}"));
    }

    /// The end of all three.
    pub fn finish(&self) {
        for bar in [&self.sent, &self.in_topic, &self.in_tables] {
            bar.finish();
        }
    }
}
