//! Collects keys without a column.

use crate::extra::Keys;
use crate::formats::bigquery::Params;
use crate::raw::Raw;
use crate::text::Arena;

/// The deepest nesting of a kept value. PostgreSQL parses JSON recursively and has a limit too.
const MAX_DEPTH: usize = 64;
/// The largest exponent of a kept number: that of the largest double.
const MAX_EXPONENT: usize = 308;
/// The longest kept number in characters, more than a double written out in full.
const MAX_NUMBER: usize = 400;

/// Unknown keys of one object, in their order.
#[derive(Debug, Default)]
pub(crate) struct Unknown<'a>(Vec<(&'a str, Raw<'a>)>);

impl<'a> Unknown<'a> {
    /// Continues with keys that were taken before.
    pub(crate) fn of(keys: Keys<'a>) -> Self {
        Self(keys.to_vec())
    }

    pub(crate) fn push(&mut self, key: &'a str, value: Raw<'a>) {
        self.0.push((key, value));
    }

    /// Removes those for which `takes` is true. The last value of a repeated key counts.
    pub(crate) fn take_if(&mut self, mut takes: impl FnMut(&'a str, Raw<'a>) -> bool) {
        self.sort();
        self.0.retain(|(key, value)| !takes(key, *value));
    }

    /// Sorts by key. The last value of a repeated key stays, as in every JSON parser.
    pub(crate) fn sort(&mut self) {
        self.0.sort_by_key(|(key, _)| *key);
        self.0.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                *earlier = *later;
            }
            same
        });
    }

    /// Adds those of `others` whose key isn't here yet. These must be sorted. Returns true if any
    /// was left out.
    pub(crate) fn join(&mut self, others: &Self) -> bool {
        let own = self.0.len();
        let mut left_out = false;
        for (key, value) in &others.0 {
            let sorted = self.0.get(..own).unwrap_or_default();
            if sorted.binary_search_by_key(key, |(key, _)| key).is_ok() {
                left_out = true;
            } else {
                self.push(key, *value);
            }
        }
        left_out
    }

    /// Adds the parameters of the list `raw`, the value of `key`. The first value of a repeated
    /// parameter stays. The list is kept whole if a parameter has the name of a key that is here
    /// already, if the list holds more than parameters, or if it can't be read.
    pub(crate) fn unpack(&mut self, key: &'a str, raw: Raw<'a>, params: Option<Params<'a>>) {
        let Some(mut params) = params else {
            return self.push(key, raw);
        };
        params.entries.sort_by_key(|(key, _)| *key);
        params.entries.dedup_by_key(|(key, _)| *key);
        self.sort();
        if self.join(&Self(params.entries)) || params.has_more {
            self.push(key, raw);
        }
    }

    /// Returns the sorted keys with values that `jsonb` accepts, and clears the collection.
    pub(crate) fn take(&mut self, arena: &'a Arena) -> Keys<'a> {
        if self.0.is_empty() {
            return &[];
        }
        self.sort();
        for (_, value) in &mut self.0 {
            *value = storable(*value, arena);
        }
        let keys = arena.slice(&self.0);
        self.0.clear();
        keys
    }
}

/// Returns the value, or a string with its text if `jsonb` would refuse it.
fn storable<'a>(value: Raw<'a>, arena: &'a Arena) -> Raw<'a> {
    if is_storable(value.get()) {
        return value;
    }
    match serde_json::to_string(value.get()) {
        Ok(string) => Raw::read(arena.text(&string), false),
        Err(_) => Raw::NULL,
    }
}

/// Returns true if PostgreSQL can store this JSON value: not too deep, no number out of range.
fn is_storable(json: &str) -> bool {
    let mut depth = 0_usize;
    let mut rest = json;
    while let Some(at) =
        rest.find(|c: char| matches!(c, '"' | '[' | '{' | ']' | '}' | '-' | '0'..='9'))
    {
        let (token, after) = rest
            .split_at_checked(at)
            .map_or((rest, ""), |(_, rest)| token(rest));
        match token.as_bytes().first() {
            Some(b'[' | b'{') => depth += 1,
            Some(b']' | b'}') => depth = depth.saturating_sub(1),
            Some(b'"') => {}
            _ if !is_storable_number(token) => return false,
            _ => {}
        }
        if depth > MAX_DEPTH {
            return false;
        }
        rest = after;
    }
    true
}

/// Splits the leading string, number or bracket off `json`.
fn token(json: &str) -> (&str, &str) {
    let length = match json.as_bytes().first() {
        Some(b'"') => string_length(json),
        Some(b'-' | b'0'..=b'9') => json
            .find(|c: char| !matches!(c, '-' | '+' | '.' | 'e' | 'E' | '0'..='9'))
            .unwrap_or(json.len()),
        _ => 1,
    };
    json.split_at_checked(length).unwrap_or((json, ""))
}

/// Returns the length of the leading string of `json`, including its quotes.
fn string_length(json: &str) -> usize {
    let mut at = 1;
    while let Some(found) = json.get(at..).and_then(|rest| rest.find(['"', '\\'])) {
        at += found;
        match json.as_bytes().get(at) {
            Some(b'"') => return at + 1,
            // In valid JSON one byte follows `\`.
            _ => at += 2,
        }
    }
    json.len()
}

fn is_storable_number(number: &str) -> bool {
    let exponent = number
        .split_once(['e', 'E'])
        .map_or("0", |(_, exponent)| exponent);
    let exponent = exponent
        .trim_start_matches(['+', '-'])
        .trim_start_matches('0');
    number.len() <= MAX_NUMBER
        && (exponent.is_empty()
            || exponent
                .parse()
                .is_ok_and(|exponent: usize| exponent <= MAX_EXPONENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_jsonb_refuses_become_strings() {
        let arena = Arena::new();
        let long = "9".repeat(401);
        let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
        for json in [
            "1e309",
            "1e999999999999999999999",
            "[1, {\"a\": -1E-400}]",
            &long,
            &deep,
        ] {
            let kept = storable(Raw::read(json, false), &arena);
            let text: String = serde_json::from_str(kept.get()).unwrap();
            assert_eq!(text, json);
        }
    }

    #[test]
    fn everything_else_is_kept_as_it_is() {
        let arena = Arena::new();
        let deep = format!("{}1{}", "[".repeat(64), "]".repeat(64));
        for json in [
            "1",
            "-1.5e308",
            "1e00000000000000000000000001",
            "\"1e999\"",
            r#"{"a\"1e999":["\\",1]}"#,
            r#"["é\\","[[[",{"x":null,"y":true}]"#,
            &deep,
        ] {
            assert_eq!(storable(Raw::read(json, false), &arena).get(), json);
        }
    }

    #[test]
    fn the_last_value_of_a_repeated_key_stays() {
        let arena = Arena::new();
        let mut unknown = Unknown::default();
        for (key, json) in [("b", "1"), ("a", "2"), ("b", "3"), ("b", "4")] {
            unknown.push(key, Raw::read(json, false));
        }
        let keys: Vec<_> = unknown
            .take(&arena)
            .iter()
            .map(|(key, value)| (*key, value.get()))
            .collect();
        assert_eq!(keys, [("a", "2"), ("b", "4")]);
        assert!(unknown.take(&arena).is_empty());
    }
}
