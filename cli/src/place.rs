//! Showing the place in a body that a rejection is about.

use std::borrow::Cow;
use std::collections::HashMap;

use fact_model::Rejection;
use serde_json::value::RawValue;

use crate::escape;

/// How many characters are shown in front of the place, and behind it.
const BEFORE: usize = 60;
const BEHIND: usize = 40;

/// The line of the body around the place, and a line that marks it. Nothing for a body that is no text.
pub fn marked(body: &[u8], rejection: &Rejection<'_>) -> Vec<String> {
    match std::str::from_utf8(body) {
        Ok(text) if !text.trim().is_empty() => mark_place(text, &rejection.at, &rejection.detail),
        _ => Vec::new(),
    }
}

fn mark_place(text: &str, place: &str, sentence: &str) -> Vec<String> {
    let (value, rest) = resolve(text, place);
    let position = line_and_column(sentence);
    // What the rest of the place, or line and column, are about is the text of the string, without escapes.
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

/// What stands at a place such as `$.events[2].params`, as far as the place can be followed, and what is left
/// of it: it ends at a text that is JSON itself, or at what is no JSON.
fn resolve<'t, 'p>(text: &'t str, place: &'p str) -> (&'t str, &'p str) {
    let mut value = text.trim_start();
    let mut rest = place.strip_prefix('$').unwrap_or(place);
    while !rest.is_empty() {
        let (next, behind) = if let Some(index) = rest.strip_prefix('[') {
            let (index, behind) = index.split_once(']').unwrap_or((index, ""));
            (
                index.parse().ok().and_then(|index| element(value, index)),
                behind,
            )
        } else {
            let key = rest.strip_prefix('.').unwrap_or(rest);
            let (key, behind) = key.split_at(key.find(['.', '[']).unwrap_or(key.len()));
            (entry(value, key), behind)
        };
        match next {
            Some(next) => (value, rest) = (next, behind),
            None => break,
        }
    }
    (value, rest)
}

/// An element of an array, or one of several documents.
fn element(json: &str, index: usize) -> Option<&str> {
    if let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(json) {
        return elements.get(index).map(|element| element.get());
    }
    let mut documents = serde_json::Deserializer::from_str(json).into_iter::<&RawValue>();
    for _ in 0..index {
        documents.next()?.ok()?;
    }
    let behind = json.get(documents.byte_offset()..)?.trim_start();
    (!behind.is_empty()).then_some(behind)
}

/// The value of a key, the last where it came twice.
fn entry<'t>(json: &'t str, key: &str) -> Option<&'t str> {
    let entries: HashMap<Cow<'t, str>, &'t RawValue> = serde_json::from_str(json).ok()?;
    entries.get(key).map(|value| value.get())
}

/// Where a sentence ends with line and column, both from 1.
fn line_and_column(sentence: &str) -> Option<(usize, usize)> {
    let (_, place) = sentence.rsplit_once(" at line ")?;
    let (line, column) = place.split_once(" column ")?;
    Some((line.parse().ok()?, column.parse().ok()?))
}

/// The byte at a line and column; the end of the text when there is none.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let lines = text.split_inclusive('\n').map(str::len);
    let before: usize = lines.take(line.saturating_sub(1)).sum();
    let mut at = (before + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The line that the byte `at` is in, as much of it as is needed, and a caret below that byte.
fn mark(text: &str, at: usize) -> Vec<String> {
    let (before, behind) = text.split_at_checked(at).unwrap_or((text, ""));
    let before = before.rsplit('\n').next().unwrap_or_default();
    let behind = behind.split('\n').next().unwrap_or_default();
    let length = before.chars().count();
    let mut shown = String::new();
    if length > BEFORE {
        shown.push('…');
    }
    shown.extend(
        before
            .chars()
            .skip(length.saturating_sub(BEFORE))
            .map(escape::printable),
    );
    let caret = shown.chars().count();
    shown.extend(behind.chars().take(BEHIND).map(escape::printable));
    if behind.chars().nth(BEHIND).is_some() {
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
