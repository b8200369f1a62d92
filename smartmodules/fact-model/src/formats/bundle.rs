//! Android bundles as `Bundle.toString()` prints them:
//! `Bundle[{item_id=sku123, price=Double(19.99)}]`.
//!
//! The format is `"Bundle[" + map + "]"` with maps as `{k=v, k=v}` and lists as `[v, v]` (AOSP,
//! `android/os/Bundle.java`). Nothing is escaped, so a value ends only before `, name=` or at the
//! end of its bundle, and never inside a pair of brackets. Newer log lines have types,
//! `String(…)`, `Double(…)`. A key may be followed by its short name: `ga_screen(_sn)`.

use crate::formats::{Fault, MAX_DEPTH, is_word};
use crate::write::JsonText;

const START: &str = "Bundle[";
const TYPES: [&str; 7] = [
    "String(", "Double(", "Long(", "Integer(", "Int(", "Float(", "Boolean(",
];

/// Returns true if a text is a bundle or a list of bundles.
pub(crate) fn is_bundle(text: &str) -> bool {
    text.starts_with(START) || text.starts_with("[Bundle[") || is_unprinted(text)
}

/// Returns true for the address of an array, which older releases print instead of its content.
fn is_unprinted(text: &str) -> bool {
    text.starts_with("[Landroid.os.") || text.starts_with("[Ljava.")
}

/// Writes the bundle or the list of bundles at `at` and returns its end.
pub(crate) fn read(text: &str, at: usize, out: &mut JsonText<'_>) -> Result<usize, Fault> {
    let bundles = Bundles {
        text,
        ends: ends(text),
    };
    if text.get(at..).is_some_and(is_unprinted) {
        return Err(Fault::lost(
            at,
            "Android printed the address of the list instead of what is in it",
        ));
    }
    let end = bundles.end(at).unwrap_or(text.len());
    bundles.value(at, end, out, 0)?;
    Ok(end)
}

struct Bundles<'t> {
    text: &'t str,
    /// The start of each closed bracket and the byte after its end, sorted by start.
    ends: Vec<(usize, usize)>,
}

/// Matches brackets in one pass. A single brace is text: a bundle opens with `Bundle[{` and closes
/// with `}]`. An opening bracket that is still open when an outer one closes is text too.
fn ends(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut open: Vec<(usize, u8)> = Vec::new();
    let mut counts = [0_usize; 3];
    let kind = |bracket: u8| match bracket {
        b'{' => 0_usize,
        b'[' => 1,
        _ => 2,
    };
    let mut ends = Vec::new();
    let mut at = 0;
    while let Some(rest @ [byte, ..]) = bytes.get(at..) {
        let (opens, bracket, length) = match byte {
            b'B' if rest.starts_with(b"Bundle[{") => (true, b'{', 8),
            b'B' if rest.starts_with(b"Bundle[") => (true, b'[', 7),
            b'[' => (true, b'[', 1),
            b'(' => (true, b'(', 1),
            b'}' if rest.starts_with(b"}]") => (false, b'{', 2),
            b']' => (false, b'[', 1),
            b')' => (false, b'(', 1),
            _ => {
                at += 1;
                continue;
            }
        };
        let count = counts.get_mut(kind(bracket));
        if opens {
            open.push((at, bracket));
            if let Some(count) = count {
                *count += 1;
            }
        } else if count.is_some_and(|count| *count > 0) {
            while let Some((start, opened)) = open.pop() {
                if let Some(count) = counts.get_mut(kind(opened)) {
                    *count -= 1;
                }
                if opened == bracket {
                    ends.push((start, at + length));
                    break;
                }
            }
        }
        at += length;
    }
    ends.sort_unstable();
    ends
}

impl Bundles<'_> {
    fn slice(&self, start: usize, end: usize) -> &str {
        self.text.get(start..end).unwrap_or_default()
    }

    /// Returns the end of the bracket that opens at `at`.
    fn end(&self, at: usize) -> Option<usize> {
        let index = self
            .ends
            .binary_search_by_key(&at, |(start, _)| *start)
            .ok()?;
        self.ends.get(index).map(|(_, end)| *end)
    }

    fn value(
        &self,
        start: usize,
        end: usize,
        out: &mut JsonText<'_>,
        depth: usize,
    ) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::new(start, format!("more than {MAX_DEPTH} levels")));
        }
        let text = self.slice(start, end);
        if text.starts_with(START) {
            return self.bundle(start, end, out, depth);
        }
        if text.starts_with('[') && self.end(start) == Some(end) {
            out.begin_list();
            self.parts(start + 1, end - 1, false, out, depth)?;
            out.end_list();
            return Ok(());
        }
        for (index, name) in TYPES.iter().enumerate() {
            if let Some(inner) = text
                .strip_prefix(name)
                .and_then(|text| text.strip_suffix(')'))
            {
                match (index, inner) {
                    (0, text) => out.string(text),
                    (_, "true" | "false") => out.raw(inner),
                    (_, number) => out.number(number),
                }
                return Ok(());
            }
        }
        if text == "null" {
            out.raw("null");
        } else {
            out.string(text);
        }
        Ok(())
    }

    fn bundle(
        &self,
        start: usize,
        end: usize,
        out: &mut JsonText<'_>,
        depth: usize,
    ) -> Result<(), Fault> {
        let inner = start + START.len();
        let text = self.slice(inner, end);
        if text.starts_with("mParcelledData") {
            return Err(Fault::lost(
                start,
                "Android printed the size of the bundle instead of what is in it",
            ));
        }
        out.begin_object();
        if let Some(entries) = text.strip_prefix('{') {
            let Some(entries) = entries.strip_suffix("}]") else {
                return Err(Fault::new(start, "a bundle is cut off"));
            };
            self.parts(inner + 1, inner + 1 + entries.len(), true, out, depth)?;
        } else if !matches!(text, "]" | "EMPTY_PARCEL]") {
            return Err(Fault::new(inner, "a bundle holds no map"));
        }
        out.end_object();
        Ok(())
    }

    /// Writes the entries of a map or the values of a list from `at` to `end`.
    fn parts(
        &self,
        mut at: usize,
        end: usize,
        is_map: bool,
        out: &mut JsonText<'_>,
        depth: usize,
    ) -> Result<(), Fault> {
        while at < end {
            if is_map {
                let Some((key, length)) = key(self.slice(at, end)) else {
                    return Err(Fault::new(at, "a key is missing"));
                };
                out.key(key);
                at += length;
            }
            let next = self.next(at, end, is_map);
            self.value(at, next, out, depth + 1)?;
            at = next + 2;
        }
        Ok(())
    }

    /// Returns the end of the value at `at`: the next `, ` outside of brackets, which in a map must
    /// be followed by a key.
    fn next(&self, mut at: usize, end: usize, is_map: bool) -> usize {
        let bytes = self.text.as_bytes();
        while at < end {
            match bytes.get(at) {
                Some(b'B' | b'[' | b'(') => {
                    at = self.end(at).filter(|close| *close <= end).unwrap_or(at + 1)
                }
                Some(b',') if bytes.get(at + 1) == Some(&b' ') => {
                    if !is_map || key(self.slice(at + 2, end)).is_some() {
                        return at;
                    }
                    at += 2;
                }
                _ => at += 1,
            }
        }
        end
    }
}

/// Returns the leading key of `text` without its short name, and the length up to and including
/// `=`.
fn key(text: &str) -> Option<(&str, usize)> {
    /// Firebase's own limit is 40 characters.
    const LONGEST: usize = 100;
    let bytes = text.as_bytes();
    let is_part = |byte: &u8| is_word(*byte) || matches!(*byte, b'.' | b'-');
    let length = bytes
        .iter()
        .take(LONGEST)
        .take_while(|byte| is_part(byte))
        .count();
    let mut end = length;
    let rest = text.get(length..)?;
    if let Some(short) = rest.trim_start_matches(' ').strip_prefix('(') {
        let inner = short
            .bytes()
            .take(LONGEST)
            .take_while(|byte| is_word(*byte))
            .count();
        if short.as_bytes().get(inner) == Some(&b')') {
            end = text.len() - short.len() + inner + 1;
        }
    }
    let is_key = length > 0 && bytes.get(end) == Some(&b'=');
    is_key.then_some((text.get(..length)?, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Arena;

    fn json(text: &str) -> Result<String, String> {
        let arena = Arena::new();
        let mut out = JsonText::new(&arena);
        match read(text, 0, &mut out) {
            Ok(_) => Ok(out.finish().to_owned()),
            Err(fault) => Err(fault.sentence(text)),
        }
    }

    #[test]
    fn bundles_become_objects() {
        for (text, expected) in [
            (
                "Bundle[{items=[Bundle[{item_id=sku123, item_name=String(T-Shirt), \
                 price=Double(19.99)}], Bundle[{item_id=sku456}]], currency=USD}]",
                concat!(
                    r#"{"items":[{"item_id":"sku123","item_name":"T-Shirt","price":19.99},"#,
                    r#"{"item_id":"sku456"}],"currency":"USD"}"#
                ),
            ),
            (
                "Bundle[{screen_name=app:…, value=1, ga_screen(_sn)=app:credito, \
                 ga_event_origin (_o)=app}]",
                concat!(
                    r#"{"screen_name":"app:…","value":"1","#,
                    r#""ga_screen":"app:credito","ga_event_origin":"app"}"#
                ),
            ),
            ("[Bundle[{a=1}], Bundle[{}]]", r#"[{"a":"1"},{}]"#),
            ("Bundle[]", "{}"),
            ("Bundle[EMPTY_PARCEL]", "{}"),
            (
                "Bundle[{n=Shirt, red, size [L] (a, b=c), ok=Boolean(true), q=Long(7), v=null}]",
                r#"{"n":"Shirt, red, size [L] (a, b=c)","ok":true,"q":7,"v":null}"#,
            ),
            (
                "Bundle[{n=Shirt [L, p=a}b, q=x)y, r=[1, 2]}]",
                r#"{"n":"Shirt [L","p":"a}b","q":"x)y","r":["1","2"]}"#,
            ),
            ("Bundle[{n=a=b, c==, d=}]", r#"{"n":"a=b","c":"=","d":""}"#),
            (
                "Bundle[{n=String(a) b, m=String(x, y=1)}]",
                r#"{"n":"String(a) b","m":"x, y=1"}"#,
            ),
        ] {
            assert_eq!(json(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn data_that_was_not_printed_is_lost() {
        for text in [
            "Bundle[mParcelledData.dataSize=512]",
            "[Landroid.os.Parcelable;@1a2b",
        ] {
            assert!(
                json(text).unwrap_err().contains("Android printed"),
                "{text}"
            );
        }
        assert_eq!(
            json("Bundle[{a=1").unwrap_err(),
            "a bundle is cut off at line 1 column 1"
        );
        assert_eq!(
            json("Bundle[{1 2}]").unwrap_err(),
            "a key is missing at line 1 column 9"
        );
        assert!(
            json(&format!(
                "Bundle[{{a={}{}}}]",
                "[".repeat(100),
                "]".repeat(100)
            ))
            .is_err()
        );
    }
}
