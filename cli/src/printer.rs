//! Standard output and standard error. Everything that the command prints is escaped here
//! ([`connector_common::escape`]), so that no payload controls the terminal. The lints
//! `print_stdout` and `print_stderr` refuse `println!` elsewhere.
//!
//! Two outputs are written as they are: the bodies of `etl generate` and the page of
//! `etl report --out -`. The screen of `etl status --watch` escapes its text itself, since it also
//! moves the cursor.

use std::fmt;
use std::io::{self, BufWriter, ErrorKind, StderrLock, Stdout, StdoutLock, Write};
use std::sync::OnceLock;

use connector_common::escape::Escaping;

/// Prints a line for people to standard output.
macro_rules! outln {
    ($($text:tt)*) => {
        $crate::printer::out(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// Prints a line for people to standard error.
macro_rules! errln {
    ($($text:tt)*) => {
        $crate::printer::err(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// The first error of standard output.
static FAILED: OnceLock<io::Error> = OnceLock::new();

/// Prints text for people to standard output. [`failure`] returns an error at the end.
pub fn out(text: fmt::Arguments<'_>) {
    remember(Escaping::text(io::stdout().lock()).write_fmt(text));
}

/// Prints JSON and a newline to standard output.
pub fn json(json: &str) {
    remember(writeln!(locked_json(), "{json}"));
}

/// Prints text for people to standard error.
pub fn err(text: fmt::Arguments<'_>) {
    // Nobody is left to tell about an error.
    let _ = stderr().write_fmt(text);
}

/// Standard error, for the log.
pub fn stderr() -> Escaping<StderrLock<'static>> {
    Escaping::text(io::stderr().lock())
}

/// Standard output for lines of JSON, each written at once.
pub fn locked_json() -> Escaping<StdoutLock<'static>> {
    Escaping::json(io::stdout().lock())
}

/// Buffered standard output for text.
pub fn buffered_text() -> Escaping<BufWriter<Stdout>> {
    Escaping::text(BufWriter::new(io::stdout()))
}

/// Buffered standard output for JSON.
pub fn buffered_json() -> Escaping<BufWriter<Stdout>> {
    Escaping::json(BufWriter::new(io::stdout()))
}

/// The error of standard output, if there was one. A closed pipe, as of `| head`, is none.
pub fn failure() -> Option<&'static io::Error> {
    FAILED
        .get()
        .filter(|error| error.kind() != ErrorKind::BrokenPipe)
}

/// Returns true if the reader of the output has closed the pipe.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn remember(written: io::Result<()>) {
    if let Err(error) = written {
        FAILED.get_or_init(|| error);
    }
}
