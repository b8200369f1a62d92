//! Formats of events and items other than JSON with GA4's names. Each is rewritten as JSON, so
//! times, numbers, sentinels, unknown keys and identities don't depend on the format.
//!
//! In formats that don't distinguish texts and numbers (log lines, web hits), every value becomes a
//! JSON string: columns parse numbers in strings, and an id such as `007` or `1.0` is unchanged.
//!
//! [`body`](crate::body) and [`items`](crate::items) detect the format.

pub(crate) mod bigquery;
pub(crate) mod bundle;
pub(crate) mod compressed;
pub(crate) mod container;
mod cursor;
pub(crate) mod data_layer;
pub(crate) mod hit;
pub(crate) mod hit_items;
pub(crate) mod literal;
pub(crate) mod log_line;
pub(crate) mod plist;
pub(crate) mod printed;
pub(crate) mod printed_rows;
pub(crate) mod shape;
pub(crate) mod vendors;

use crate::raw::Raw;
use crate::rejection::{Reason, Refusal};

/// The deepest nesting of objects and lists outside of JSON. Producers need four levels.
pub(crate) const MAX_DEPTH: usize = 64;

/// One event, rewritten as JSON.
#[derive(Debug)]
pub(crate) struct Rewritten<'a> {
    pub(crate) json: &'a str,
    /// The event's location in its source: empty, or a path like `.events[2]`.
    pub(crate) at: String,
    /// Prefixes of locations in the rewritten event and in its source; the first match is replaced.
    pub(crate) names: Vec<(&'static str, String)>,
    /// The reason if the event can't be rewritten.
    pub(crate) refused: Option<Refusal>,
}

impl<'a> Rewritten<'a> {
    /// An event without a location of its own in its source.
    pub(crate) fn whole(json: &'a str) -> Self {
        Self {
            json,
            at: String::new(),
            names: Vec::new(),
            refused: None,
        }
    }

    /// Translates the location of a refusal to the event's source.
    pub(crate) fn place(&self, refusal: Refusal) -> Refusal {
        let renamed = self.names.iter().find_map(|(name, called)| {
            let rest = refusal.below.strip_prefix(name)?;
            Some(format!("{called}{rest}"))
        });
        let below = renamed.unwrap_or_else(|| refusal.below.clone());
        Refusal { below, ..refusal }.within(&self.at)
    }
}

/// An object that isn't a plain event.
#[derive(Debug)]
pub(crate) enum Shape<'a> {
    /// One body in an envelope.
    Envelope(Envelope<'a>),
    /// Events of another shape, rewritten.
    Events(Vec<Rewritten<'a>>),
    /// A push that only clears the data layer's `ecommerce`.
    Cleared,
    /// Several bodies in an envelope with this name.
    Bodies(&'static str, Vec<Body<'a>>),
    /// A list of bodies that came as an object with numbers as keys.
    List(Raw<'a>),
}

/// An envelope around one body.
#[derive(Debug)]
pub(crate) struct Envelope<'a> {
    pub(crate) name: &'static str,
    pub(crate) content: Raw<'a>,
    /// The location of the content.
    pub(crate) at: &'static str,
}

/// A body in a batch.
#[derive(Debug)]
pub(crate) struct Body<'a> {
    pub(crate) text: &'a str,
    /// The source, for a rejection.
    pub(crate) raw: &'a str,
    pub(crate) at: String,
}

/// A syntax error and the byte at which it was found.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    what: String,
    /// True if the format has lost the data.
    lost: bool,
}

impl Fault {
    pub(crate) fn new(at: usize, what: impl Into<String>) -> Self {
        Self {
            at,
            what: what.into(),
            lost: false,
        }
    }

    /// Returns the fault of a text that stands for data that was never printed.
    pub(crate) fn lost(at: usize, what: impl Into<String>) -> Self {
        Self {
            lost: true,
            ..Self::new(at, what)
        }
    }

    /// Moves the fault by `before` bytes.
    pub(crate) fn after(mut self, before: usize) -> Self {
        self.at += before;
        self
    }

    /// Returns the reason for a rejection: `otherwise`, unless the data is lost.
    pub(crate) fn reason(&self, otherwise: Reason) -> Reason {
        if self.lost {
            Reason::Unrecoverable
        } else {
            otherwise
        }
    }

    /// Returns the message, which ends with line and column as those of `serde_json` do.
    pub(crate) fn sentence(&self, text: &str) -> String {
        let (line, column) = line_and_column(text, self.at);
        format!("{} at line {line} column {column}", self.what)
    }
}

/// Returns the line and column of a byte, each from 1. Columns count bytes, as in `serde_json`'s
/// errors.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    let lines = before.iter().filter(|byte| **byte == b'\n').count();
    let start = before.iter().rposition(|byte| *byte == b'\n');
    (
        lines + 1,
        before.len() - start.map_or(0, |start| start + 1) + 1,
    )
}

/// Returns true if another reader got further into `text` than a JSON parser with this error. The
/// error's column is that of the byte where it stopped or of the one before.
pub(crate) fn is_further(fault: &Fault, text: &str, error: &serde_json::Error) -> bool {
    let lines = text.split_inclusive('\n').map(str::len);
    let before: usize = lines.take(error.line().saturating_sub(1)).sum();
    fault.at > before + error.column()
}

/// Returns true if a byte may be part of a name.
pub(crate) const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
