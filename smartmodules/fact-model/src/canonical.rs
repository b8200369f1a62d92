//! JSON with one text for each meaning, to be hashed.

use serde_json::value::RawValue;

use crate::arena::Arena;
use crate::decimal::Decimal;
use crate::json::each_entry;
use crate::raw::Raw;

/// Appends the canonical text of `json`: no white space, keys sorted and each once, numbers as
/// [`Decimal`] writes them, strings with the fewest escapes.
///
/// `json` is the text of values that are kept in `extra`, whose depth is limited.
pub(crate) fn write(json: &str, out: &mut Vec<u8>) {
    let arena = Arena::new();
    value(json, &arena, out);
}

fn value<'a>(json: &'a str, arena: &'a Arena, out: &mut Vec<u8>) {
    match json.as_bytes().first() {
        Some(b'{') => object(json, arena, out),
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
            out.push(b'[');
            for (index, element) in elements.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                value(element.get(), arena, out);
            }
            out.push(b']');
        }
        Some(b'"') => match serde_json::from_str::<String>(json) {
            Ok(text) => string(&text, out),
            Err(_) => out.extend_from_slice(json.as_bytes()),
        },
        _ => match Decimal::parse(json) {
            Some(number) => out.extend_from_slice(number.as_str().as_bytes()),
            None => out.extend_from_slice(json.as_bytes()),
        },
    }
}

fn object<'a>(json: &'a str, arena: &'a Arena, out: &mut Vec<u8>) {
    let mut entries: Vec<(&str, Raw<'_>)> = Vec::new();
    // What is no JSON is none of ours: every value was read once before it was kept.
    let _ = each_entry(json, arena, |key, value| entries.push((key, value)));
    entries.sort_by_key(|(key, _)| *key);
    out.push(b'{');
    let mut first = true;
    for (index, (key, raw)) in entries.iter().enumerate() {
        // Of a key that came twice the later value counts, as in `jsonb`.
        if entries.get(index + 1).is_some_and(|(next, _)| next == key) {
            continue;
        }
        if !first {
            out.push(b',');
        }
        first = false;
        string(key, out);
        out.push(b':');
        value(raw.get(), arena, out);
    }
    out.push(b'}');
}

fn string(text: &str, out: &mut Vec<u8>) {
    // Writing a text to a `Vec` can't fail.
    serde_json::to_writer(out, text).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_for_each_meaning() {
        let canonical = |json: &str| {
            let mut out = Vec::new();
            write(json, &mut out);
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
