//! Reads JSON without building a tree: an object's keys come with the text of their values, and
//! only the values in use are parsed.

use serde::de::Error as _;
use serde_json::value::RawValue;

use crate::path::StepKind;
use crate::raw::Raw;
use crate::scan::{GiveUp, Scanner};
use crate::swar;
use crate::text::Arena;

/// Reads `json`, which must be exactly one object, and passes each key with its value to `take`.
pub(crate) fn each_entry<'a>(
    json: &'a str,
    arena: &'a Arena,
    mut take: impl FnMut(&'a str, Raw<'a>),
) -> serde_json::Result<()> {
    read_entries(json, arena, |scanner, key| {
        take(key, scanner.value()?);
        Ok(())
    })
}

/// Reads `json`, which must be exactly one object. `take` reads the value of each key.
pub(crate) fn read_entries<'a>(
    json: &'a str,
    arena: &'a Arena,
    take: impl FnMut(&mut Scanner<'a>, &'a str) -> Result<(), GiveUp>,
) -> serde_json::Result<()> {
    let mut scanner = Scanner::new(json);
    let read = scanner.object(arena, take).and_then(|()| scanner.end());
    read.map_err(|_| json_error(json, "it is not an object"))
}

/// The keys and values of an object.
pub(crate) type Entries<'a> = Vec<(&'a str, Raw<'a>)>;

/// Returns the entries of an object; none if `json` isn't one.
pub(crate) fn entries<'a>(json: &'a str, arena: &'a Arena) -> Entries<'a> {
    let mut entries = Vec::new();
    if each_entry(json, arena, |key, value| entries.push((key, value))).is_err() {
        entries.clear();
    }
    entries
}

/// Returns the value of a key; the last one if the key is repeated, as in every JSON parser.
pub(crate) fn get<'a>(entries: &Entries<'a>, key: &str) -> Option<Raw<'a>> {
    entries
        .iter()
        .rfind(|(name, _)| *name == key)
        .map(|(_, value)| *value)
}

/// Returns the bytes of keys and values.
pub(crate) fn size<'k>(entries: impl IntoIterator<Item = (&'k str, Raw<'k>)>) -> usize {
    let sizes = entries.into_iter();
    sizes
        .map(|(key, value)| key.len() + value.get().len())
        .sum()
}

/// Returns `serde_json`'s error for a text that could not be read; `otherwise` if it is valid JSON.
pub(crate) fn json_error(json: &str, otherwise: &str) -> serde_json::Error {
    match serde_json::from_str::<&RawValue>(json) {
        Ok(_) => serde_json::Error::custom(otherwise),
        Err(error) => error,
    }
}

/// Returns true if a text is one JSON value.
pub(crate) fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// Trims JSON's white space and a leading byte order mark.
pub(crate) fn trim(json: &str) -> &str {
    const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];
    let json = json.trim_matches(SPACE);
    match json.strip_prefix('\u{feff}') {
        Some(json) => json.trim_matches(SPACE),
        None => json,
    }
}

/// Returns the content of a JSON string without escapes.
pub(crate) fn unescape<'a>(string: &'a str, arena: &'a Arena) -> Option<&'a str> {
    let inner = string.strip_prefix('"')?.strip_suffix('"')?;
    if !swar::any_special(inner) {
        return Some(inner);
    }
    let text = match undo_short_escapes(inner) {
        Some(text) => text,
        None => serde_json::from_str(string).ok()?,
    };
    Some(arena.text(&text))
}

/// Undoes one-letter escapes, which are frequent in items in a string: every quote has one. `None`
/// if there is any other escape, such as `\u`.
///
/// It copies eight bytes at a time, since the pieces between escapes are too short for a call each.
fn undo_short_escapes(inner: &str) -> Option<String> {
    let bytes = inner.as_bytes();
    let mut text = Vec::with_capacity(bytes.len() + 8);
    let mut at = 0;
    loop {
        let run = match swar::eight(bytes, at) {
            Some(eight) => {
                let marks = swar::special(eight);
                text.extend_from_slice(&eight.to_le_bytes());
                if marks == 0 {
                    at += 8;
                    continue;
                }
                let run = swar::first(marks);
                text.truncate(text.len() - (8 - run));
                run
            }
            None => {
                let rest = bytes.get(at..)?;
                let is_special = |byte: &u8| swar::special(swar::one(*byte)) != 0;
                let run = rest.iter().position(is_special).unwrap_or(rest.len());
                text.extend_from_slice(rest.get(..run)?);
                run
            }
        };
        at += run;
        text.push(match bytes.get(at..at + 2) {
            Some([b'\\', quoted @ (b'"' | b'\\' | b'/')]) => *quoted,
            Some(b"\\n") => b'\n',
            Some(b"\\t") => b'\t',
            Some(b"\\r") => b'\r',
            Some(b"\\b") => 0x08,
            Some(b"\\f") => 0x0c,
            _ if at == bytes.len() => return String::from_utf8(text).ok(),
            _ => return None,
        });
        at += 2;
    }
}

/// Replaces escapes in JSON that PostgreSQL can't store: U+0000 is removed, and an unpaired
/// surrogate becomes U+FFFD. A producer that cuts a text in the middle of an emoji sends one.
pub(crate) fn repair<'a>(json: &'a str, arena: &'a Arena) -> &'a str {
    if !swar::any_unicode_escape(json) {
        return json;
    }
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
    arena.step(StepKind::Value, || {
        "U+0000 and unpaired surrogates are replaced".to_owned()
    });
    arena.text(&repaired)
}

/// Returns the UTF-16 code unit of an escape `\uXXXX` at `at`.
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
    fn escapes_are_undone_as_serde_json_does() {
        let arena = Arena::new();
        for text in [
            "",
            "a",
            "\"",
            "\\",
            "é\"é",
            "a\nb\tc\rd\u{8}e\u{c}f/",
            "\u{1}",
            "😀\\\"\\u0041",
            "12345678\"",
            "1234567\"",
            "\"12345678",
            "[{\"item_id\":\"SKU \\\"1\\\"\",\"price\":9.90},{\"item_id\":\"é\"}]",
        ] {
            let string = serde_json::to_string(text).unwrap();
            assert_eq!(unescape(&string, &arena), Some(text), "{string}");
        }
        assert_eq!(
            unescape(r#""a\/b\u00e9\ud83d\ude00\/""#, &arena),
            Some("a/bé😀/")
        );
        for bad in [
            r#""\""#,
            r#""\x""#,
            r#""abcdefgh\""#,
            "\"a\nb\"",
            r#""a"b""#,
            r#""\ud83d""#,
        ] {
            assert_eq!(unescape(bad, &arena), None, "{bad}");
        }
    }

    #[test]
    fn white_space_and_a_byte_order_mark_are_cut() {
        assert_eq!(trim(" \r\n\u{feff}\t{} \n"), "{}");
        assert_eq!(trim("\u{feff}"), "");
    }
}
