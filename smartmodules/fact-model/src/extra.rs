//! What of an event no column takes. Kept, so that nothing a producer sends is lost.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::arena::Arena;
use crate::canonical;
use crate::raw::Raw;
use crate::write::{serialize_json, write_plain, write_text};

/// Keys with the JSON text of their values, sorted by key, each key once.
pub(crate) type Keys<'a> = &'a [(&'a str, Raw<'a>)];

/// A JSON object `{"event":{…},"item":{…}}` of unknown keys, and of known keys whose value no column
/// can hold. A part without keys is absent.
///
/// Every value is one that PostgreSQL's `jsonb` takes.
#[derive(Debug, Clone)]
pub struct Extra<'a>(Form<'a>);

/// What most of them fit into, so that a buffer need not grow.
const ROOM: usize = 256;

#[derive(Debug, Clone)]
enum Form<'a> {
    /// As it was read.
    Json(Cow<'a, RawValue>),
    /// As it comes out of an event: nothing is copied until it is written.
    Parts { event: Keys<'a>, item: Keys<'a> },
}

impl<'a> Extra<'a> {
    /// The extra of one item of an event; `None` when there is nothing.
    pub(crate) fn of(event: Keys<'a>, item: Keys<'a>) -> Option<Self> {
        let nothing = event.is_empty() && item.is_empty();
        (!nothing).then_some(Self(Form::Parts { event, item }))
    }

    /// The object as JSON text.
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

    /// Whether both are the same keys of an event, and no keys of an item.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (
                Form::Parts { event, item: [] },
                Form::Parts {
                    event: same,
                    item: [],
                },
            ) => std::ptr::eq::<[_]>(*event, *same),
            _ => false,
        }
    }

    /// Appends the object as JSON.
    pub(crate) fn write_json(&self, out: &mut Vec<u8>) {
        let (event, item) = match &self.0 {
            Form::Json(json) => return out.extend_from_slice(json.get().as_bytes()),
            Form::Parts { event, item } => (event, item),
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
        out.push(b'}');
    }

    /// Appends the object as canonical JSON, without the event's keys that `ignores` names. Appends nothing
    /// where no key is left.
    pub(crate) fn write_canonical(&self, ignores: impl Fn(&str) -> bool, out: &mut Vec<u8>) {
        let arena = Arena::new();
        let (event, item) = match &self.0 {
            Form::Json(json) => return canonical::write(json.get(), &arena, out),
            Form::Parts { event, item } => (event, item),
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
            canonical::write_sorted(keys, &arena, out);
        };
        part("event", &mut event.iter().filter(|(key, _)| !ignores(key)));
        part("item", &mut item.iter());
        if before == b',' {
            out.push(b'}');
        }
    }

    /// The same object with its own copy of every text.
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
