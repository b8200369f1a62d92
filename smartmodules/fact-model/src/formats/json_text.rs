//! Writing the JSON that a format means.

use crate::arena::Arena;
use crate::decimal::Decimal;
use crate::write::{write_text, write_unescaped};
use serde_json::value::RawValue;

/// JSON in the making. Commas come by themselves.
#[derive(Debug)]
pub(crate) struct JsonText<'a> {
    arena: &'a Arena,
    out: Vec<u8>,
}

impl<'a> JsonText<'a> {
    pub(crate) fn new(arena: &'a Arena) -> Self {
        Self {
            arena,
            out: Vec::new(),
        }
    }

    pub(crate) fn begin_object(&mut self) {
        self.comma();
        self.out.push(b'{');
    }

    pub(crate) fn end_object(&mut self) {
        self.out.push(b'}');
    }

    pub(crate) fn begin_list(&mut self) {
        self.comma();
        self.out.push(b'[');
    }

    pub(crate) fn end_list(&mut self) {
        self.out.push(b']');
    }

    pub(crate) fn key(&mut self, key: &str) {
        self.string(key);
        self.out.push(b':');
    }

    /// A string, without the U+0000 in it.
    pub(crate) fn string(&mut self, text: &str) {
        self.comma();
        if !write_unescaped(text, &mut self.out) {
            write_text(&self.arena.without_nul(text), &mut self.out);
        }
    }

    /// A value that is JSON already.
    pub(crate) fn raw(&mut self, json: &str) {
        self.comma();
        self.out.extend_from_slice(json.as_bytes());
    }

    /// A number where `text` is one, in whatever notation; else a string.
    pub(crate) fn number(&mut self, text: &str) {
        let starts_as_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        if starts_as_number && serde_json::from_str::<&RawValue>(text).is_ok() {
            self.raw(text);
        } else if let Some(number) = Decimal::parse(text) {
            self.raw(number.as_str());
        } else {
            self.string(text);
        }
    }

    /// A key with a text.
    pub(crate) fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        self.string(text);
    }

    /// A key with a value that is JSON already.
    pub(crate) fn entry(&mut self, key: &str, json: &str) {
        self.key(key);
        self.raw(json);
    }

    /// The text, in the arena.
    pub(crate) fn finish(self) -> &'a str {
        // All that was written is UTF-8.
        self.arena
            .text(&String::from_utf8(self.out).unwrap_or_default())
    }

    fn comma(&mut self) {
        // A string ends with a quote, so a bracket or a colon is one of the structure.
        if !matches!(self.out.last(), None | Some(b'{' | b'[' | b':')) {
            self.out.push(b',');
        }
    }
}
