//! What iOS prints of an `NSDictionary` or `NSArray`: `{ item_id = "card 1"; price = 1.5; }`, `( a, b )`.
//!
//! OpenStep property lists: `;` behind each entry, quotes only around tokens with special characters, `\U00e9`
//! for what is not ASCII. Lists may stand in square brackets too; keys may have their short names behind them,
//! `ga_event_origin (_o)`.

use crate::formats::json_text::JsonText;
use crate::formats::{Fault, MAX_DEPTH};

/// Writes the dictionary or list that stands at `at`, and returns where it ends.
pub(crate) fn read(text: &str, at: usize, out: &mut JsonText<'_>) -> Result<usize, Fault> {
    let mut reader = Reader { text, at };
    reader.value(out, 0)?;
    Ok(reader.at)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.space();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn fault<T>(&self, what: impl Into<String>) -> Result<T, Fault> {
        Err(Fault::new(self.at, what))
    }

    fn value(&mut self, out: &mut JsonText<'_>, depth: usize) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return self.fault(format!("more than {MAX_DEPTH} levels"));
        }
        if self.eat(b'{') {
            self.dictionary(out, depth)
        } else if self.eat(b'(') {
            self.list(b')', out, depth)
        } else if self.eat(b'[') {
            self.list(b']', out, depth)
        } else if self.peek() == Some(b'"') {
            out.string(&self.quoted()?);
            Ok(())
        } else {
            match self.token(&[';', ',', ')', ']', '}'])? {
                "<null>" => out.raw("null"),
                token => out.string(token),
            }
            Ok(())
        }
    }

    fn dictionary(&mut self, out: &mut JsonText<'_>, depth: usize) -> Result<(), Fault> {
        out.begin_object();
        while !self.eat(b'}') {
            let start = self.at;
            if self.peek() == Some(b'"') {
                out.key(without_short_name(&self.quoted()?));
            } else {
                let key = self.token(&['=', ';', '{', '}', '\n'])?;
                out.key(without_short_name(key));
            }
            if !self.eat(b'=') {
                // At the key, since anything may be one: another reader of the text may know better.
                return Err(Fault::new(start, "`=` is missing behind this key"));
            }
            self.value(out, depth + 1)?;
            if !self.eat(b';') && self.peek() != Some(b'}') {
                return self.fault("`;` is missing");
            }
        }
        out.end_object();
        Ok(())
    }

    fn list(&mut self, end: u8, out: &mut JsonText<'_>, depth: usize) -> Result<(), Fault> {
        out.begin_list();
        while !self.eat(end) {
            self.value(out, depth + 1)?;
            if !self.eat(b',') && self.peek() != Some(end) {
                return self.fault(format!("`,` or `{}` is missing", char::from(end)));
            }
        }
        out.end_list();
        Ok(())
    }

    /// A token without quotes, which ends before one of `ends`.
    fn token(&mut self, ends: &[char]) -> Result<&'t str, Fault> {
        self.space();
        let rest = self.rest();
        let Some(length) = rest.find(ends) else {
            return self.fault("the text breaks off");
        };
        let token = rest.get(..length).unwrap_or_default().trim_end();
        if token.is_empty() {
            return self.fault("a value or key is missing");
        }
        self.at += length;
        Ok(token)
    }

    fn quoted(&mut self) -> Result<String, Fault> {
        let start = self.at;
        self.at += 1;
        let mut units: Vec<u16> = Vec::new();
        let mut text = String::new();
        let flush = |units: &mut Vec<u16>, text: &mut String| {
            text.push_str(&String::from_utf16_lossy(units));
            units.clear();
        };
        loop {
            let rest = self.rest();
            let Some(length) = rest.find(['"', '\\']) else {
                return Err(Fault::new(start, "a string does not end"));
            };
            if length > 0 {
                flush(&mut units, &mut text);
                text.push_str(rest.get(..length).unwrap_or_default());
            }
            self.at += length + 1;
            if rest.as_bytes().get(length) == Some(&b'"') {
                flush(&mut units, &mut text);
                return Ok(text);
            }
            if let Some(unit) = self.code_unit() {
                units.push(unit);
                continue;
            }
            flush(&mut units, &mut text);
            let Some(escaped) = self.rest().chars().next() else {
                return Err(Fault::new(start, "a string does not end"));
            };
            self.at += escaped.len_utf8();
            text.push(match escaped {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            });
        }
    }

    /// The code unit of UTF-16 that an escape `UXXXX` is.
    fn code_unit(&mut self) -> Option<u16> {
        let digits = self.rest().strip_prefix(['U', 'u'])?.get(..4)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.at += 5;
        u16::from_str_radix(digits, 16).ok()
    }
}

/// A name such as `ga_event_origin (_o)` without its short form.
pub(crate) fn without_short_name(name: &str) -> &str {
    match name
        .strip_suffix(')')
        .and_then(|name| name.rsplit_once('('))
    {
        Some((long, short)) if short.starts_with('_') && !long.trim().is_empty() => long.trim_end(),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;

    fn json(text: &str) -> Result<String, String> {
        let arena = Arena::new();
        let mut out = JsonText::new(&arena);
        match read(text, 0, &mut out) {
            Ok(_) => Ok(out.finish().to_owned()),
            Err(fault) => Err(fault.sentence(text)),
        }
    }

    #[test]
    fn dictionaries_become_objects() {
        for (text, expected) in [
            (
                "{\n    currency = UAH;\n    ga_event_origin (_o) = app;\n    items = (\n        {\n        \"item_id\" = 123456789;\n    }\n);\n    value = 450;\n}",
                r#"{"currency":"UAH","ga_event_origin":"app","items":[{"item_id":"123456789"}],"value":"450"}"#,
            ),
            (
                "[ { item_id = card-1; price = 1.5; }, { item_id = card-2; } ]",
                r#"[{"item_id":"card-1","price":"1.5"},{"item_id":"card-2"}]"#,
            ),
            (
                r#"{ name = "Caf\U00e9 \U0001 \Ud83d\Ude00 \"x\";"; "ga_screen (_sn)" = "<null>"; n = "<null>"; e = ""; }"#,
                "{\"name\":\"Café \\u0001 😀 \\\"x\\\";\",\"ga_screen\":\"<null>\",\"n\":\"<null>\",\"e\":\"\"}",
            ),
            (
                "{ a = <null>; b = (); c = {}; d = (1, two words) }",
                r#"{"a":null,"b":[],"c":{},"d":["1","two words"]}"#,
            ),
        ] {
            assert_eq!(json(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_dictionary_says_where() {
        for (text, expected) in [
            ("{ a }", "`=` is missing behind this key at line 1 column 3"),
            ("{ a = 1\n", "the text breaks off at line 1 column 7"),
            ("{ a = \"x; }", "a string does not end at line 1 column 7"),
            ("( a, , b )", "a value or key is missing at line 1 column 6"),
            ("{ a = \"1\" b = 2; }", "`;` is missing at line 1 column 11"),
        ] {
            assert_eq!(json(text).unwrap_err(), expected, "{text}");
        }
        assert!(
            json(&"(".repeat(1000))
                .unwrap_err()
                .contains("more than 64 levels")
        );
    }
}
