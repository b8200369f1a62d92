//! Reading JSON without building a tree: an object's keys come with the text of their values, and
//! only the values that matter are looked into.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::arena::Arena;

/// Reads `json`, which must be one object and nothing else, and hands each key with its value to `take`.
pub(crate) fn each_entry<'a>(
    json: &'a str,
    arena: &'a Arena,
    take: impl FnMut(&'a str, &'a RawValue),
) -> serde_json::Result<()> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    Entries { arena, take }.deserialize(&mut deserializer)?;
    deserializer.end()
}

/// An object whose keys and values go to `take` as they come.
pub(crate) struct Entries<'a, F> {
    pub(crate) arena: &'a Arena,
    pub(crate) take: F,
}

impl<'a, F: FnMut(&'a str, &'a RawValue)> DeserializeSeed<'a> for Entries<'a, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a, F: FnMut(&'a str, &'a RawValue)> Visitor<'a> for Entries<'a, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key(self.arena))? {
            (self.take)(key, map.next_value()?);
        }
        Ok(())
    }
}

/// A key, which nearly never has an escape and so nearly always stands in the text as it is.
struct Key<'a>(&'a Arena);

impl<'a> DeserializeSeed<'a> for Key<'a> {
    type Value = &'a str;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<&'a str, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Key<'a> {
    type Value = &'a str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'a str) -> Result<&'a str, E> {
        Ok(key)
    }

    fn visit_str<E>(self, key: &str) -> Result<&'a str, E> {
        Ok(self.0.text(key))
    }
}

/// Cuts JSON's white space, and a byte order mark in front, off a text.
pub(crate) fn trim(json: &str) -> &str {
    const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];
    let json = json.trim_matches(SPACE);
    match json.strip_prefix('\u{feff}') {
        Some(json) => json.trim_matches(SPACE),
        None => json,
    }
}

/// The text of a JSON string, its escapes undone.
pub(crate) fn unescape<'a>(string: &'a str, arena: &'a Arena) -> Option<&'a str> {
    let inner = string.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(inner);
    }
    let text: String = serde_json::from_str(string).ok()?;
    Some(arena.text(&text))
}

/// Takes out of a JSON text what PostgreSQL can't hold: U+0000 is removed, and half of a surrogate
/// pair, which is no character (a producer that cuts a text in the middle of an emoji sends it), becomes
/// U+FFFD. Both can stand in JSON only as escapes.
pub(crate) fn repair<'a>(json: &'a str, arena: &'a Arena) -> &'a str {
    let mut repaired = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = json.get(at..).and_then(|rest| rest.find('\\')) {
        at += found;
        let (length, replacement) = match code_unit(json, at) {
            None => (2, None),
            Some(0) => {
                arena.count_nuls(1);
                (6, Some(""))
            }
            Some(0xd800..0xdc00) if matches!(code_unit(json, at + 6), Some(0xdc00..0xe000)) => {
                (12, None)
            }
            Some(0xd800..0xe000) => (6, Some("\u{fffd}")),
            Some(_) => (6, None),
        };
        if let Some(replacement) = replacement {
            repaired.push_str(json.get(copied..at).unwrap_or_default());
            repaired.push_str(replacement);
            copied = at + length;
        }
        at += length;
    }
    if copied == 0 {
        return json;
    }
    repaired.push_str(json.get(copied..).unwrap_or_default());
    arena.text(&repaired)
}

/// The UTF-16 code unit that an escape `\uXXXX` at `at` stands for.
fn code_unit(json: &str, at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_postgresql_cannot_hold_is_repaired() {
        let arena = Arena::new();
        for (json, expected) in [
            (r#"{"a":"b"}"#, r#"{"a":"b"}"#),
            (r#""a\u0000b""#, r#""ab""#),
            (r#""\u0000""#, r#""""#),
            (r#""a\\u0000b""#, r#""a\\u0000b""#),
            (r#""a\\\u0000b""#, r#""a\\b""#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\uD83D""#, "\"\u{fffd}\""),
            (r#""\ude00x\ud83d\u0041""#, "\"\u{fffd}x\u{fffd}\\u0041\""),
            (r#""\ud83d\ud83d\ude00""#, "\"\u{fffd}\\ud83d\\ude00\""),
            (r#""\ud83d\u0000\ude00""#, "\"\u{fffd}\u{fffd}\""),
            (r#""caf\u00e9""#, r#""caf\u00e9""#),
            ("\"\\", "\"\\"),
            ("\"\\u12", "\"\\u12"),
            ("\"\\u00é0", "\"\\u00é0"),
            ("\"\\é\\u0000", "\"\\é\\u0000"),
        ] {
            assert_eq!(repair(json, &arena), expected, "{json}");
        }
    }

    #[test]
    fn white_space_and_a_byte_order_mark_are_cut() {
        assert_eq!(trim(" \r\n\u{feff}\t{} \n"), "{}");
        assert_eq!(trim("\u{feff}"), "");
    }
}
