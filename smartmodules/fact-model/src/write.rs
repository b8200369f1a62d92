//! Writes JSON.

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::decimal::Decimal;
use crate::json::is_json;
use crate::raw::Raw;
use crate::swar;
use crate::text::Arena;

/// Serializes the JSON that `write` appends. Only `serde_json` accepts it.
pub(crate) fn serialize_json<S: Serializer>(
    write: impl FnOnce(&mut Vec<u8>),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut json = Vec::new();
    write(&mut json);
    String::from_utf8(json)
        .map_err(S::Error::custom)
        .and_then(|json| RawValue::from_string(json).map_err(S::Error::custom))?
        .serialize(serializer)
}

/// Appends the digits of a number.
pub(crate) fn write_integer(number: i32, out: &mut Vec<u8>) {
    if let digit @ 0..=9 = number {
        out.push(b'0' + digit as u8);
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
}

/// Appends a JSON string.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    if !write_unescaped(text, out) {
        // Writing to a `Vec` can't fail.
        serde_json::to_writer(out, text).unwrap_or_default();
    }
}

/// Appends a JSON string and returns true if the text needs no escapes; else appends nothing.
pub(crate) fn write_unescaped(text: &str, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.push(b'"');
    let mut escapes = 0;
    copy(text.as_bytes(), out, |bytes| {
        escapes |= swar::special(bytes)
    });
    if escapes == 0 {
        out.push(b'"');
    } else {
        out.truncate(start);
    }
    escapes == 0
}

/// Appends a short text.
pub(crate) fn write_plain(bytes: &[u8], out: &mut Vec<u8>) {
    copy(bytes, out, |_| {});
}

/// Appends bytes, eight at a time, and passes each eight to `see`, some of them twice or padded
/// with blanks. For a short text this is faster than calling the system's copy, above all in
/// WebAssembly.
fn copy(bytes: &[u8], out: &mut Vec<u8>, mut see: impl FnMut(u64)) {
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        see(u64::from_le_bytes(*chunk));
        out.extend_from_slice(chunk);
    }
    if rest.is_empty() {
        return;
    }
    if let Some(last) = bytes.last_chunk::<8>() {
        see(u64::from_le_bytes(*last));
        out.truncate(out.len() - (8 - rest.len()));
        out.extend_from_slice(last);
        return;
    }
    for byte in rest {
        see(swar::one(*byte));
        out.push(*byte);
    }
}

/// Returns an object with these entries.
pub(crate) fn object_of<'k, 'a>(
    entries: impl IntoIterator<Item = (&'k str, Raw<'k>)>,
    arena: &'a Arena,
) -> Raw<'a> {
    let mut out = JsonText::new(arena);
    out.object(entries);
    Raw::read(out.finish(), false)
}

/// Builds JSON text. It inserts the commas.
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

    /// Appends a string, without its U+0000.
    pub(crate) fn string(&mut self, text: &str) {
        self.comma();
        if !write_unescaped(text, &mut self.out) {
            write_text(&self.arena.without_nul(text), &mut self.out);
        }
    }

    /// Appends a JSON value.
    pub(crate) fn raw(&mut self, json: &str) {
        self.comma();
        self.out.extend_from_slice(json.as_bytes());
    }

    /// Appends `text` as a number if it is one in any notation, else as a string.
    pub(crate) fn number(&mut self, text: &str) {
        let starts_as_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        if starts_as_number && is_json(text) {
            self.raw(text);
        } else if let Some(number) = Decimal::parse(text) {
            self.raw(number.as_str());
        } else {
            self.string(text);
        }
    }

    /// Appends a key with a string.
    pub(crate) fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        self.string(text);
    }

    /// Appends a key with a JSON value.
    pub(crate) fn entry(&mut self, key: &str, json: &str) {
        self.key(key);
        self.raw(json);
    }

    /// Appends an object.
    pub(crate) fn object<'k>(&mut self, entries: impl IntoIterator<Item = (&'k str, Raw<'k>)>) {
        self.begin_object();
        for (key, value) in entries {
            self.entry(key, value.get());
        }
        self.end_object();
    }

    /// Moves the text into the arena.
    pub(crate) fn finish(self) -> &'a str {
        // All that was written is UTF-8.
        self.arena
            .text(&String::from_utf8(self.out).unwrap_or_default())
    }

    fn comma(&mut self) {
        // A string ends with a quote, so these bytes are never part of one.
        if !matches!(self.out.last(), None | Some(b'{' | b'[' | b':')) {
            self.out.push(b',');
        }
    }
}
