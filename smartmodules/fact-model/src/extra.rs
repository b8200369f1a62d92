//! Keys and values without a column, kept so that nothing a producer sends is lost.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::decimal::Decimal;
use crate::json::{each_entry, unescape};
use crate::raw::Raw;
use crate::text::Arena;
use crate::write::{serialize_json, write_plain, write_text};

/// Unique keys with the JSON text of their values, sorted by key.
pub(crate) type Keys<'a> = &'a [(&'a str, Raw<'a>)];

/// A JSON object `{"event":{…},"item":{…}}` of unknown keys, and of known keys with a value
/// that their column can't hold, or not whole. A part without keys is absent. `plan` lists the
/// rules of the tracking plan that the fact violates, if there are any.
///
/// PostgreSQL's `jsonb` accepts every value.
#[derive(Debug, Clone)]
pub struct Extra<'a>(Form<'a>);

/// Bytes that hold most objects, so their buffer needn't grow.
const ROOM: usize = 256;

#[derive(Debug, Clone)]
enum Form<'a> {
    /// A deserialized object.
    Json(Cow<'a, RawValue>),
    /// The parts of a flattened event, copied only when they are written.
    Parts {
        event: Keys<'a>,
        item: Keys<'a>,
        /// A JSON array of rules of the tracking plan; empty if none is violated.
        plan: &'a str,
    },
}

impl<'a> Extra<'a> {
    /// Combines the keys of an event and of one of its items; `None` if both are empty.
    pub(crate) fn of(event: Keys<'a>, item: Keys<'a>) -> Option<Self> {
        Self::flagged(event, item, "")
    }

    /// Adds the rules of the tracking plan that the fact violates, a JSON array or an empty text.
    pub(crate) fn flagged(event: Keys<'a>, item: Keys<'a>, plan: &'a str) -> Option<Self> {
        let nothing = event.is_empty() && item.is_empty() && plan.is_empty();
        (!nothing).then_some(Self(Form::Parts { event, item, plan }))
    }

    /// Returns the keys of the event and of the item.
    pub(crate) fn parts(&self) -> (Keys<'a>, Keys<'a>) {
        match &self.0 {
            Form::Json(_) => (&[], &[]),
            Form::Parts { event, item, .. } => (event, item),
        }
    }

    /// Returns the object as JSON text.
    pub fn json(&self) -> Cow<'_, str> {
        match &self.0 {
            Form::Json(json) => Cow::Borrowed(json.get()),
            Form::Parts { .. } => {
                let mut json = Vec::with_capacity(ROOM);
                self.write_json(&mut json);
                String::from_utf8(json).unwrap_or_default().into()
            }
        }
    }

    /// Returns true if both borrow the same event's keys and have no item keys.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (
                Form::Parts {
                    event,
                    item: [],
                    plan,
                },
                Form::Parts {
                    event: same,
                    item: [],
                    plan: same_plan,
                },
            ) => std::ptr::eq::<[_]>(*event, *same) && plan == same_plan,
            _ => false,
        }
    }

    /// Appends the object as JSON.
    pub(crate) fn write_json(&self, out: &mut Vec<u8>) {
        let (event, item, plan) = match &self.0 {
            Form::Json(json) => return out.extend_from_slice(json.get().as_bytes()),
            Form::Parts { event, item, plan } => (event, item, plan),
        };
        out.push(b'{');
        if !event.is_empty() {
            out.extend_from_slice(b"\"event\":");
            write_part(event, out);
        }
        if !event.is_empty() && !item.is_empty() {
            out.push(b',');
        }
        if !item.is_empty() {
            out.extend_from_slice(b"\"item\":");
            write_part(item, out);
        }
        if !plan.is_empty() {
            if !event.is_empty() || !item.is_empty() {
                out.push(b',');
            }
            out.extend_from_slice(b"\"plan\":");
            out.extend_from_slice(plan.as_bytes());
        }
        out.push(b'}');
    }

    /// Appends the object as canonical JSON, without the event keys for which `ignores` is true and
    /// without the rules of the tracking plan. Appends nothing if no key is left.
    pub(crate) fn write_canonical(&self, ignores: impl Fn(&str) -> bool, out: &mut Vec<u8>) {
        let arena = Arena::new();
        let (event, item) = match &self.0 {
            Form::Json(json) => return write_canonical(json.get(), &arena, out),
            Form::Parts { event, item, .. } => (event, item),
        };
        let mut before = b'{';
        let mut part = |name: &str, keys: &mut dyn Iterator<Item = &(&'a str, Raw<'a>)>| {
            let mut keys = keys.peekable();
            if keys.peek().is_none() {
                return;
            }
            out.push(before);
            before = b',';
            write_text(name, out);
            out.push(b':');
            write_canonical_object(keys, &arena, out);
        };
        part("event", &mut event.iter().filter(|(key, _)| !ignores(key)));
        part("item", &mut item.iter());
        if before == b',' {
            out.push(b'}');
        }
    }

    /// Copies all borrowed strings.
    pub fn into_owned(self) -> Extra<'static> {
        let json = match self.0 {
            Form::Json(json) => Cow::Owned(json.into_owned()),
            Form::Parts { .. } => match to_raw_value(&self) {
                Ok(json) => Cow::Owned(json),
                Err(_) => Cow::Borrowed(RawValue::NULL),
            },
        };
        Extra(Form::Json(json))
    }
}

fn write_part(keys: Keys<'_>, out: &mut Vec<u8>) {
    let mut before = b'{';
    for (key, value) in keys {
        out.push(before);
        write_text(key, out);
        out.push(b':');
        write_plain(value.get().as_bytes(), out);
        before = b',';
    }
    out.push(b'}');
}

impl PartialEq for Extra<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.json() == other.json()
    }
}

impl Serialize for Extra<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_json(|out| self.write_json(out), serializer)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Extra<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&'de RawValue>::deserialize(deserializer)?;
        Ok(Self(Form::Json(Cow::Borrowed(json))))
    }
}

/// Appends JSON in canonical form: no white space, unique sorted keys, numbers as [`Decimal`]
/// writes them, strings with the fewest escapes.
///
/// The recursion is bounded, since the depth of values in `extra` is limited.
fn write_canonical<'a>(json: &'a str, arena: &'a Arena, out: &mut Vec<u8>) {
    match json.as_bytes().first() {
        Some(b'{') => {
            let mut entries: Vec<(&str, Raw<'_>)> = Vec::new();
            // It can't fail: every value was parsed before it was kept.
            let _ = each_entry(json, arena, |key, value| entries.push((key, value)));
            // The last value of a repeated key wins, as in `jsonb`.
            entries.reverse();
            entries.sort_by_key(|(key, _)| *key);
            entries.dedup_by_key(|(key, _)| *key);
            write_canonical_object(entries.iter(), arena, out);
        }
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
            out.push(b'[');
            for (index, element) in elements.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_canonical(element.get(), arena, out);
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

/// Appends an object in canonical form. The entries must be sorted by key and unique.
fn write_canonical_object<'a, 'e, 'k: 'a + 'e>(
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
        write_canonical(raw.get(), arena, out);
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
            write_canonical(json, &Arena::new(), &mut out);
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
