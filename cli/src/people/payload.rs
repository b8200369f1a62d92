//! Finds ids in payloads of any format: as words of the text, and of what is packed into it.

use std::borrow::Cow;
use std::cell::Cell;

/// Nested encodings that are undone: a form in JSON in base64, for example.
const MAX_DEPTH: u32 = 5;
/// Bytes that one packed text may inflate to.
const MAX_INFLATED: usize = 64 << 20;
/// Bytes that are unpacked of a payload in all. What is packed into it can branch at each depth.
const MAX_UNPACKED: usize = 1 << 30;
/// Bytes that any gzip may inflate to, and the factor by which a larger one may grow, before
/// [`fact_model::unpack`] gives up.
const GZIP_FREE: usize = 256 << 10;
const GZIP_FACTOR: usize = 64;
/// The shortest word that is tried as base64.
const MIN_PACKED: usize = 16;

/// Ids to be found.
pub struct Ids<'a>(Vec<&'a str>);

impl<'a> Ids<'a> {
    pub fn new(ids: impl Iterator<Item = &'a String>) -> Self {
        Self(ids.map(String::as_str).collect())
    }

    /// True if one of the ids is a word of the payload.
    pub fn occur_in(&self, payload: &str) -> bool {
        self.occur(payload.as_bytes(), MAX_DEPTH, &Cell::new(MAX_UNPACKED))
    }

    /// True if one of the ids is a word. The bytes that it unpacks are taken from `left`.
    fn occur(&self, bytes: &[u8], depth: u32, left: &Cell<usize>) -> bool {
        let text = String::from_utf8_lossy(bytes);
        if self.0.iter().any(|id| is_word(&text, id)) {
            return true;
        }
        let Some(depth) = depth.checked_sub(1) else {
            return false;
        };
        let unpacked =
            |bytes: &[u8]| unpack(bytes, left).is_some_and(|bytes| self.occur(&bytes, depth, left));
        unpacked(bytes)
            || text
                .split(|character: char| !is_base64(character))
                .filter(|word| word.len() >= MIN_PACKED && word.len() < bytes.len())
                .any(|word| unpacked(word.as_bytes()))
            || text.contains('%') && self.occur(decoded(&text).as_bytes(), depth, left)
            || text.contains('\\') && self.occur(unescaped(&text).as_bytes(), depth, left)
    }
}

/// Undoes one layer of gzip or base64, and takes the work from `left`.
fn unpack(bytes: &[u8], left: &Cell<usize>) -> Option<Vec<u8>> {
    let max = MAX_INFLATED.min(left.get());
    if max == 0 {
        return None;
    }
    let unpacked = fact_model::unpack(bytes, max);
    let work = match &unpacked {
        Some(unpacked) => unpacked.len(),
        // It was inflated up to the limit.
        None if bytes.starts_with(&[0x1f, 0x8b]) => bytes
            .len()
            .saturating_mul(GZIP_FACTOR)
            .saturating_add(GZIP_FREE),
        None => 0,
    };
    left.set(left.get().saturating_sub(work));
    unpacked
}

/// True if `id` is in the text and is not a part of a longer word. `7` is not in `17` or `7-a`.
fn is_word(text: &str, id: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || "-_".contains(character);
    text.match_indices(id).any(|(at, _)| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let after = text
            .get(at + id.len()..)
            .and_then(|text| text.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

fn is_base64(character: char) -> bool {
    character.is_ascii_alphanumeric() || "+/-_=".contains(character)
}

/// A form or a query without its percent-encoding.
fn decoded(text: &str) -> String {
    form_urlencoded::parse(text.as_bytes())
        .flat_map(|(key, value)| [key, Cow::Borrowed("="), value, Cow::Borrowed("&")])
        .collect()
}

/// A text without the escapes of JSON.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escaped)) = rest.split_once('\\') {
        plain.push_str(before);
        let unit = |text: &str| u16::from_str_radix(text.strip_prefix('u')?.get(..4)?, 16).ok();
        let (character, length) = match (unit(escaped), escaped.chars().next()) {
            (Some(high), _) => {
                let after = escaped.get(5..).unwrap_or_default();
                let low = after.strip_prefix('\\').and_then(unit);
                let pair = char::decode_utf16([high].into_iter().chain(low)).next();
                let character = pair.and_then(Result::ok);
                let units = character.map_or(1, char::len_utf16);
                (
                    character.unwrap_or(char::REPLACEMENT_CHARACTER),
                    6 * units - 1,
                )
            }
            (None, Some('b' | 'f' | 'n' | 'r' | 't')) => (' ', 1),
            (None, Some(character)) => (character, character.len_utf8()),
            (None, None) => (' ', 0),
        };
        plain.push(character);
        rest = escaped.get(length..).unwrap_or_default();
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn occurs(id: &str, payload: &str) -> bool {
        let ids = [id.to_owned()];
        Ids::new(ids.iter()).occur_in(payload)
    }

    #[test]
    fn ids_are_found_in_every_encoding() {
        let json = r#"{"user_id":"ana.é@x.org","a":1}"#;
        let wrapped = format!(r#"{{"Records":[{{"data":"{}"}}]}}"#, STANDARD.encode(json));
        for payload in [
            json,
            "user_id=ana.é@x.org, items=[]",
            r#"{"user_id":"ana.\u00e9@x.org"}"#,
            r#"{"Message":"{\"user_id\":\"ana.\\u00e9@x.org\"}"}"#,
            "v=2&uid%3Dana.%C3%A9%40x.org%26x=1",
            "{\"x\":\"\\nana.é@x.org\\n\"}",
            &STANDARD.encode(json),
            &STANDARD.encode([&b"\xff\0 "[..], json.as_bytes()].concat()),
            &wrapped,
        ] {
            assert!(occurs("ana.é@x.org", payload), "{payload}");
        }
        assert!(occurs("u\u{1f600}", r#"{"user_id":"u\ud83d\ude00"}"#));
    }

    #[test]
    fn the_work_for_a_payload_is_limited() {
        let ids = ["u-17".to_owned()];
        let ids = Ids::new(ids.iter());
        let found = STANDARD.encode(r#"{"user_id":"u-17","a":1}"#);
        let other = STANDARD.encode([b' '; 600]);
        let payload = format!("{other} {other} {found}");
        let occurs =
            |payload: &str, left: &Cell<usize>| ids.occur(payload.as_bytes(), MAX_DEPTH, left);
        let left = Cell::new(2_000);
        assert!(occurs(&payload, &left));
        assert_eq!(left.get(), 2_000 - 600 - 600 - 24);
        let left = Cell::new(1_000);
        assert!(!occurs(&payload, &left));
        assert_eq!(left.get(), 0);
        let inner = STANDARD.encode(&payload);
        assert!(!occurs(&inner, &Cell::new(2_000)));
        assert!(occurs(&inner, &Cell::new(4_000)));

        let left = Cell::new(1 << 20);
        assert!(!ids.occur(b"\x1f\x8b\x08 no gzip", MAX_DEPTH, &left));
        assert_eq!(left.get(), (1 << 20) - (256 << 10) - 64 * 11);
    }

    #[test]
    fn parts_of_other_ids_are_not_found() {
        for payload in [r#"{"user_id":"u-17"}"#, "u-12", "u-1_b", "xu-1", "é-u-1"] {
            assert!(!occurs("u-1", payload), "{payload}");
        }
        for payload in ["\\", "\\u", "\\u12", "\\ud83d", "%", "\\ud83d\\u0041"] {
            assert!(!occurs("u-1", payload), "{payload}");
        }
    }
}
