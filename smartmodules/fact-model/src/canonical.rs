//! JSON with one text for each meaning, to be hashed.

use serde_json::value::RawValue;

use crate::arena::Arena;
use crate::decimal::Decimal;
use crate::json::{each_entry, unescape};
use crate::raw::Raw;
use crate::write::write_text;

/// Appends the canonical text of `json`: no white space, keys sorted and each once, numbers as
/// [`Decimal`] writes them, strings with the fewest escapes.
///
/// `json` is the text of values that are kept in `extra`, whose depth is limited.
pub(crate) fn write<'a>(json: &'a str, arena: &'a Arena, out: &mut Vec<u8>) {
    match json.as_bytes().first() {
        Some(b'{') => {
            let mut entries: Vec<(&str, Raw<'_>)> = Vec::new();
            // What is no JSON is none of ours: every value was read once before it was kept.
            let _ = each_entry(json, arena, |key, value| entries.push((key, value)));
            // Of a key that came twice the later value counts, as in `jsonb`.
            entries.reverse();
            entries.sort_by_key(|(key, _)| *key);
            entries.dedup_by_key(|(key, _)| *key);
            write_sorted(entries.iter(), arena, out);
        }
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
            out.push(b'[');
            for (index, element) in elements.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(element.get(), arena, out);
            }
            out.push(b']');
        }
        Some(b'"') => match unescape(json, arena) {
            Some(text) => write_text(text, out),
            None => out.extend_from_slice(json.as_bytes()),
        },
        _ => match Decimal::parse(json) {
            Some(number) => out.extend_from_slice(number.as_str().as_bytes()),
            None => out.extend_from_slice(json.as_bytes()),
        },
    }
}

/// Appends the canonical text of the object with these entries, which are sorted by key, each key once.
pub(crate) fn write_sorted<'a, 'e, 'k: 'a + 'e>(
    entries: impl Iterator<Item = &'e (&'k str, Raw<'k>)>,
    arena: &'a Arena,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    out.push(b'{');
    for (key, raw) in entries {
        if out.len() > start + 1 {
            out.push(b',');
        }
        write_text(key, out);
        out.push(b':');
        write(raw.get(), arena, out);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_for_each_meaning() {
        let canonical = |json: &str| {
            let mut out = Vec::new();
            write(json, &Arena::new(), &mut out);
            String::from_utf8(out).unwrap()
        };
        for (json, expected) in [
            (
                r#"{"b": [1.50, 1e2, true, null], "a": {"z":"\u00e9", "y": "\/"}}"#,
                r#"{"a":{"y":"/","z":"é"},"b":[1.5,100,true,null]}"#,
            ),
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
            (
                r#"{"é":1,"z":2,"😀":3,"Z":4}"#,
                r#"{"Z":4,"z":2,"é":1,"😀":3}"#,
            ),
            ("{ }", "{}"),
            ("[ ]", "[]"),
            ("1e99", "1e99"),
            (r#""\u0001\n\u007f""#, "\"\\u0001\\n\u{7f}\""),
        ] {
            assert_eq!(canonical(json), expected);
        }
    }
}
