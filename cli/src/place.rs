//! Marks the place in a body at which it was rejected.

use std::borrow::Cow;
use std::collections::HashMap;

use fact_model::Rejection;
use serde_json::value::RawValue;

use crate::display;

/// The characters shown before and after the place.
const BEFORE: usize = 60;
const AFTER: usize = 40;

/// The line of the body around the place, and a line with a caret below it. Empty if the body is
/// not text.
pub fn marked(body: &[u8], rejection: &Rejection<'_>) -> Vec<String> {
    match std::str::from_utf8(body) {
        Ok(text) if !text.trim().is_empty() => mark_place(text, &rejection.at, &rejection.detail),
        _ => Vec::new(),
    }
}

fn mark_place(text: &str, place: &str, sentence: &str) -> Vec<String> {
    let (value, rest) = resolve(text, place);
    let position = line_and_column(sentence);
    // The rest of the place, and line and column, refer to the contents of the string, unescaped.
    let is_inside = position.is_some() || !rest.is_empty();
    if is_inside && let Ok(inner) = serde_json::from_str::<String>(value) {
        return mark_place(&inner, rest, sentence);
    }
    let start = value.as_ptr().addr() - text.as_ptr().addr();
    mark(
        text,
        position.map_or(start, |(line, column)| start + offset(value, line, column)),
    )
}

/// Follows a place such as `$.events[2].params` as far as possible. Returns the value there and the
/// rest of the place, which is not empty if the value is a string of JSON, or not JSON.
fn resolve<'t, 'p>(text: &'t str, place: &'p str) -> (&'t str, &'p str) {
    let mut value = text.trim_start();
    let mut rest = place.strip_prefix('$').unwrap_or(place);
    while !rest.is_empty() {
        let (next, after) = if let Some(index) = rest.strip_prefix('[') {
            let (index, after) = index.split_once(']').unwrap_or((index, ""));
            (
                index.parse().ok().and_then(|index| element(value, index)),
                after,
            )
        } else {
            let key = rest.strip_prefix('.').unwrap_or(rest);
            let (key, after) = key.split_at(key.find(['.', '[']).unwrap_or(key.len()));
            (entry(value, key), after)
        };
        match next {
            Some(next) => (value, rest) = (next, after),
            None => break,
        }
    }
    (value, rest)
}

/// An element of an array, or one of several JSON documents.
fn element(json: &str, index: usize) -> Option<&str> {
    if let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(json) {
        return elements.get(index).map(|element| element.get());
    }
    let mut documents = serde_json::Deserializer::from_str(json).into_iter::<&RawValue>();
    for _ in 0..index {
        documents.next()?.ok()?;
    }
    let after = json.get(documents.byte_offset()..)?.trim_start();
    (!after.is_empty()).then_some(after)
}

/// The value of a key; of duplicates the last.
fn entry<'t>(json: &'t str, key: &str) -> Option<&'t str> {
    let entries: HashMap<Cow<'t, str>, &'t RawValue> = serde_json::from_str(json).ok()?;
    entries.get(key).map(|value| value.get())
}

/// The line and column, counted from 1, at the end of an error of `serde_json`.
fn line_and_column(sentence: &str) -> Option<(usize, usize)> {
    let (_, place) = sentence.rsplit_once(" at line ")?;
    let (line, column) = place.split_once(" column ")?;
    Some((line.parse().ok()?, column.parse().ok()?))
}

/// The offset of a line and column in bytes, at most the length of the text.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let lines = text.split_inclusive('\n').map(str::len);
    let before: usize = lines.take(line.saturating_sub(1)).sum();
    let mut at = (before + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// An extract of the line around the byte `at`, and a caret below that byte.
fn mark(text: &str, at: usize) -> Vec<String> {
    let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
    let before = before.rsplit('\n').next().unwrap_or_default();
    let after = after.split('\n').next().unwrap_or_default();
    let length = before.chars().count();
    let mut shown = String::new();
    if length > BEFORE {
        shown.push('…');
    }
    let before: String = before.chars().skip(length.saturating_sub(BEFORE)).collect();
    shown.push_str(&display::line(&before));
    let caret = shown.chars().count();
    let extract: String = after.chars().take(AFTER).collect();
    shown.push_str(&display::line(&extract));
    if after.chars().nth(AFTER).is_some() {
        shown.push('…');
    }
    vec![shown, format!("{}^", " ".repeat(caret))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(body: &str) -> Vec<String> {
        let envelope = fact_model::flatten(body.as_bytes());
        marked(body.as_bytes(), &envelope.rejected[0])
    }

    #[test]
    fn the_place_is_marked() {
        for (body, expected) in [
            (r#"{"name":"a"}"#, [r#"{"name":"a"}"#, "^"]),
            ("[{\"name\":\"a\",\n\"ts\":0}]", [r#""ts":0}]"#, "     ^"]),
            ("{\"name\":\n  \"a\" 1}", ["  \"a\" 1}", "      ^"]),
            (
                r#"{"name":"a","ts":1795382400,"items":"[{'a': é},\n {'b': x}]"}"#,
                ["[{'a': é},", "       ^"],
            ),
            (
                "{\"name\":\"a\",\"ts\":1795382400}\n{\"é\":7,\"ts\":\"x\"}",
                ["{\"é\":7,\"ts\":\"x\"}", "            ^"],
            ),
            (
                r#"{"name":"a","ts":1795382400,"items":"[{}, 7]"}"#,
                ["[{}, 7]", "     ^"],
            ),
            (
                r#"{"TopicArn":"t","Message":"{\"name\":\"a\",\"ts\":0}"}"#,
                [r#"{"name":"a","ts":0}"#, "                 ^"],
            ),
            ("v=2&en=a", ["v=2&en=a", "^"]),
            ("view_item, {\n a = 1;\n b", [" b", " ^"]),
        ] {
            assert_eq!(marks(body), expected, "{body}");
        }
    }

    #[test]
    fn a_long_line_is_cut() {
        let body = format!(
            r#"{{"x":"{}","name":"a","ts":0,"y":"{}"}}"#,
            "é".repeat(100),
            "y".repeat(100)
        );
        let [line, caret] = marks(&body).try_into().unwrap();
        assert!(line.starts_with('…') && line.ends_with('…'));
        assert_eq!(caret.len(), 62);
        assert_eq!(line.chars().nth(61), Some('0'));
        assert_eq!(
            marked(b"\xff", &fact_model::flatten(b"\xff").rejected[0]),
            Vec::<String>::new()
        );
    }
}
