//! Objects and lists that were sent in another form: as JSON in a text, or a list as an object with
//! numbers as keys.
//!
//! PHP's `json_encode` writes an array with gaps as an object
//! (<https://www.php.net/manual/en/function.json-encode.php>), and so do Lua's libraries and
//! exports of Firebase's Realtime Database
//! (<https://firebase.google.com/docs/database/web/structure-data>).

use std::collections::BTreeMap;

use crate::json::{entries, is_json, repair, trim, unescape};
use crate::limits::MAX_STRINGS;
use crate::raw::Raw;
use crate::text::Arena;
use crate::write::JsonText;

/// The keys of an object with their values. Of a repeated key the last value stays.
pub(crate) type Object<'a> = BTreeMap<&'a str, Raw<'a>>;

/// Returns the object or list in a JSON text; any other value is unchanged.
pub(crate) fn opened<'a>(value: Raw<'a>, arena: &'a Arena) -> Raw<'a> {
    match text(value, arena) {
        Some(text) if text.starts_with(['{', '[']) && is_json(text) => Raw::read(text, false),
        _ => value,
    }
}

/// Returns the content of a string, and of JSON strings in it.
pub(crate) fn text<'a>(value: Raw<'a>, arena: &'a Arena) -> Option<&'a str> {
    let mut text = value.get();
    for _ in 0..MAX_STRINGS {
        if !text.starts_with('"') {
            break;
        }
        text = repair(trim(unescape(text, arena)?), arena);
    }
    (value.get().starts_with('"')).then_some(text)
}

/// Returns the object that `value` is or holds in a JSON text.
pub(crate) fn object<'a>(value: Raw<'a>, arena: &'a Arena) -> Option<Object<'a>> {
    let value = opened(value, arena);
    value
        .is_object()
        .then(|| entries(value.get(), arena).into_iter().collect())
}

/// Returns the list that an object with numbers as keys stands for, in the order of its keys; any
/// other value is unchanged. Elements are objects, texts or null.
pub(crate) fn listed<'a>(value: Raw<'a>, arena: &'a Arena) -> Raw<'a> {
    // The first key rules out nearly all objects.
    let first = value.get().strip_prefix('{').map(str::trim_start);
    let first = first.and_then(|rest| rest.strip_prefix('"'));
    if !first.is_some_and(|key| key.starts_with(|c: char| c.is_ascii_digit())) {
        return value;
    }
    let mut elements = Vec::new();
    for (key, element) in entries(value.get(), arena) {
        match number(key) {
            Some(number) if is_element(element) => elements.push((number, element)),
            _ => return value,
        }
    }
    elements.sort_by_key(|(number, _)| *number);
    let mut out = JsonText::new(arena);
    out.begin_list();
    for (_, element) in elements {
        out.raw(element.get());
    }
    out.end_list();
    Raw::read(out.finish(), false)
}

/// Returns true if `key` with this value may be an element of a list that came as an object.
pub(crate) fn is_numbered(key: &str, value: Raw<'_>) -> bool {
    key.starts_with(|c: char| c.is_ascii_digit()) && is_element(value) && number(key).is_some()
}

fn is_element(value: Raw<'_>) -> bool {
    value.is_object() || value.get().starts_with(['"', 'n'])
}

fn number(key: &str) -> Option<u32> {
    key.parse().ok().filter(|_| !key.starts_with('+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_objects_are_lists_in_the_order_of_their_keys() {
        let arena = Arena::new();
        for (json, expected) in [
            (r#"{"0":{"a":1},"2":{"b":2}}"#, r#"[{"a":1},{"b":2}]"#),
            (r#"{ "10":"x", "9":null }"#, r#"[null,"x"]"#),
            (r#"{"0":{},"a":{}}"#, r#"{"0":{},"a":{}}"#),
            (r#"{"0":1}"#, r#"{"0":1}"#),
            (r#"{"1a":{}}"#, r#"{"1a":{}}"#),
            (r#"{"item_id":"1"}"#, r#"{"item_id":"1"}"#),
            ("{}", "{}"),
            (r#"[{"0":{}}]"#, r#"[{"0":{}}]"#),
        ] {
            assert_eq!(listed(Raw::read(json, false), &arena).get(), expected);
        }
    }

    #[test]
    fn a_text_is_opened_only_if_it_holds_an_object_or_a_list() {
        let arena = Arena::new();
        for (json, expected) in [
            (r#""{\"a\":1}""#, r#"{"a":1}"#),
            (r#""\" [1] \"""#, "[1]"),
            (r#""{a}""#, r#""{a}""#),
            (r#""7""#, r#""7""#),
            ("7", "7"),
        ] {
            assert_eq!(opened(Raw::read(json, false), &arena).get(), expected);
        }
    }
}
