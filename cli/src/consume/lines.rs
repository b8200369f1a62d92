//! The JSON lines of records, facts and rejections.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat};
use fact_model::{Arena, Options, flatten_in};
use serde::Serialize;

use crate::topic::Record;

/// Collects the lines of a topic's records: one a record, or with options to flatten it one a fact
/// and rejection. A line is an object; it begins with the record's position and key:
///
/// ```json
/// {"topic":"shop-events","partition":0,"offset":7,"time":"2026-11-22T21:20:00.123Z","key":"8b1f…"
/// ```
///
/// `key_parts` has the `name=value` words of the key, if it has any. Then comes `value`, `fact` or
/// `rejected`. Keys and values that are not UTF-8 are `key_base64` and `value_base64`.
pub struct Lines {
    topic: String,
    options: Option<Options>,
    arena: Arena,
    head: Vec<u8>,
    lines: Vec<u8>,
}

#[derive(Serialize)]
struct Head<'a> {
    topic: &'a str,
    partition: u32,
    offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    key_parts: BTreeMap<&'a str, &'a str>,
}

impl Lines {
    pub fn new(topic: &str, options: Option<Options>) -> Self {
        Self {
            topic: topic.to_owned(),
            options,
            arena: Arena::new(),
            head: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Adds the lines of a record. An event that the options filter has none.
    ///
    /// # Errors
    /// A value can't be written as JSON.
    pub fn add(&mut self, partition: u32, record: &Record) -> serde_json::Result<()> {
        self.write_head(partition, record)?;
        let Self {
            options,
            arena,
            head,
            lines,
            ..
        } = self;
        let Some(options) = options else {
            return match std::str::from_utf8(&record.value) {
                Ok(value) => add_line(lines, head, "value", |out| {
                    serde_json::to_writer(out, value)
                }),
                Err(_) => add_line(lines, head, "value_base64", |out| {
                    serde_json::to_writer(out, &STANDARD.encode(&record.value))
                }),
            };
        };
        arena.reset();
        let envelope = flatten_in(arena, options, &record.value, record.time);
        for fact in &envelope.facts {
            add_line(lines, head, "fact", |out| {
                fact.write_json(out);
                Ok(())
            })?;
        }
        for rejection in &envelope.rejected {
            add_line(lines, head, "rejected", |out| {
                serde_json::to_writer(out, rejection)
            })?;
        }
        Ok(())
    }

    pub fn bytes(&self) -> &[u8] {
        &self.lines
    }

    pub fn clear(&mut self) {
        self.lines.clear();
    }

    /// Writes the begin of the record's lines, an object without its end.
    fn write_head(&mut self, partition: u32, record: &Record) -> serde_json::Result<()> {
        let time = record.time.and_then(DateTime::from_timestamp_millis);
        let key = record.key.as_deref();
        let text = key.and_then(|key| std::str::from_utf8(key).ok());
        let words = text.unwrap_or_default().split(' ').skip(1);
        self.head.clear();
        serde_json::to_writer(
            &mut self.head,
            &Head {
                topic: &self.topic,
                partition,
                offset: record.offset,
                time: time.map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true)),
                key: text,
                key_base64: key
                    .filter(|_| text.is_none())
                    .map(|key| STANDARD.encode(key)),
                key_parts: words.filter_map(|word| word.split_once('=')).collect(),
            },
        )?;
        self.head.pop();
        Ok(())
    }
}

fn add_line(
    lines: &mut Vec<u8>,
    head: &[u8],
    name: &str,
    write: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>,
) -> serde_json::Result<()> {
    lines.extend_from_slice(head);
    lines.extend_from_slice(format!(",\"{name}\":").as_bytes());
    write(lines)?;
    lines.extend_from_slice(b"}\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn lines(options: Option<Options>, key: &[u8], value: &[u8]) -> Vec<Value> {
        let mut lines = Lines::new("t", options);
        let record = Record {
            offset: 7,
            time: Some(1_795_382_400_123),
            key: Some(key.to_vec()),
            value: value.to_vec(),
        };
        lines.add(1, &record).unwrap();
        let text = std::str::from_utf8(lines.bytes()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    }

    #[test]
    fn a_record_is_a_line_and_stays_what_it_was() {
        let found = lines(None, b"m-1 id=8b sent=17=3 x", "{\"a\":\n\"ñ\"}".as_bytes());
        assert_eq!(
            found,
            [json!({
                "topic": "t", "partition": 1, "offset": 7, "time": "2026-11-22T21:20:00.123Z",
                "key": "m-1 id=8b sent=17=3 x", "key_parts": {"id": "8b", "sent": "17=3"},
                "value": "{\"a\":\n\"ñ\"}",
            })]
        );
        let found = lines(None, &[0xff], &[0, 0xfe]);
        assert_eq!(
            found,
            [json!({
                "topic": "t", "partition": 1, "offset": 7, "time": "2026-11-22T21:20:00.123Z",
                "key_base64": "/w==", "value_base64": "AP4=",
            })]
        );
    }

    #[test]
    fn each_fact_and_each_rejection_is_a_line_with_the_position_of_its_record() {
        let body = br#"[
            {"name":"purchase","ts":1795382400,"items":[{"item_id":"a"},{"item_id":"b"}]},
            {}
        ]"#;
        let found = lines(Some(Options::default()), b"m-1", body);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(
            found
                .iter()
                .all(|line| line["offset"] == 7 && line["key"] == "m-1")
        );
        assert_eq!(found[0]["fact"]["product_id"], "a");
        assert_eq!(found[1]["fact"]["product_id"], "b");
        assert_eq!(found[2]["rejected"]["raw"], "{}");
        let options = Options::parse([("events", "view_item")]).unwrap();
        let only_the_rejection = lines(Some(options), b"m-1", body);
        assert_eq!(only_the_rejection.len(), 1, "{only_the_rejection:?}");
    }
}
