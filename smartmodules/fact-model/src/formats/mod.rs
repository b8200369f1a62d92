//! The formats that events and their items arrive in besides JSON with GA4's names. Each is rewritten as the
//! JSON that it means, and from there on everything goes one way: times, numbers, sentinels, unknown keys and
//! identities are the same whatever the format.
//!
//! Of formats that don't tell texts from numbers (log lines, web hits) every value becomes a JSON string: the
//! columns read numbers out of strings, and an id such as `007` or `1.0` stays what it is.
//!
//! Which format a body or a list of items is in is decided in [`body`](crate::body) and
//! [`items`](crate::items).

pub(crate) mod bigquery;
pub(crate) mod bundle;
pub(crate) mod compressed;
pub(crate) mod data_layer;
pub(crate) mod hit;
pub(crate) mod hit_items;
pub(crate) mod json_text;
pub(crate) mod literal;
pub(crate) mod literal_params;
pub(crate) mod log_line;
pub(crate) mod measurement;
pub(crate) mod plist;
pub(crate) mod printed_rows;
pub(crate) mod shape;
pub(crate) mod ua_hit;
pub(crate) mod universal;
pub(crate) mod web_hit;

use crate::rejection::{Reason, Refusal};

/// How deep objects and lists may nest in a text that is no JSON. What producers print has four levels.
pub(crate) const MAX_DEPTH: usize = 64;

/// One event, rewritten as JSON.
#[derive(Debug)]
pub(crate) struct Rewritten<'a> {
    pub(crate) json: &'a str,
    /// Its place in what it was rewritten from: empty, or something like `.events[2]`.
    pub(crate) at: String,
    /// What places in the rewritten event are called where they came from; the first that fits counts.
    pub(crate) names: Vec<(&'static str, String)>,
}

impl<'a> Rewritten<'a> {
    /// The one event of its source, or one of several without a place of their own.
    pub(crate) fn whole(json: &'a str) -> Self {
        Self {
            json,
            at: String::new(),
            names: Vec::new(),
        }
    }

    /// The place of a refusal in what the event was rewritten from.
    pub(crate) fn place(&self, refusal: Refusal) -> Refusal {
        let renamed = self.names.iter().find_map(|(name, called)| {
            let rest = refusal.below.strip_prefix(name)?;
            Some(format!("{called}{rest}"))
        });
        let below = renamed.unwrap_or_else(|| refusal.below.clone());
        Refusal { below, ..refusal }.within(&self.at)
    }
}

/// Why a text is not what it looked like, and at which byte that shows.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    what: String,
    /// Whether the format itself has lost what the text stood for.
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

    /// A text that only stands for something that was never printed.
    pub(crate) fn lost(at: usize, what: impl Into<String>) -> Self {
        Self {
            lost: true,
            ..Self::new(at, what)
        }
    }

    /// The same fault in a text that `before` more bytes stand in front of.
    pub(crate) fn after(mut self, before: usize) -> Self {
        self.at += before;
        self
    }

    /// The reason for a rejection: `otherwise`, unless what the text stood for is lost.
    pub(crate) fn reason(&self, otherwise: Reason) -> Reason {
        if self.lost {
            Reason::Unrecoverable
        } else {
            otherwise
        }
    }

    /// The sentence, which ends with line and column as those of JSON do.
    pub(crate) fn sentence(&self, text: &str) -> String {
        let (line, column) = line_and_column(text, self.at);
        format!("{} at line {line} column {column}", self.what)
    }
}

/// Line and column of a byte, each from 1; a column is a byte, as in the errors of `serde_json`.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    let lines = before.iter().filter(|byte| **byte == b'\n').count();
    let start = before.iter().rposition(|byte| *byte == b'\n');
    (
        lines + 1,
        before.len() - start.map_or(0, |start| start + 1) + 1,
    )
}

/// Whether another reader got further into `text` than a JSON parser with this error. That one tells the column of
/// the byte that it stopped at or of the one before.
pub(crate) fn is_further(fault: &Fault, text: &str, error: &serde_json::Error) -> bool {
    let lines = text.split_inclusive('\n').map(str::len);
    let before: usize = lines.take(error.line().saturating_sub(1)).sum();
    fault.at > before + error.column()
}

/// Whether a byte may stand in a name.
pub(crate) const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
