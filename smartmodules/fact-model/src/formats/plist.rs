//! `NSDictionary` and `NSArray` as iOS prints them: `{ item_id = "card 1"; price = 1.5; }`, `( a, b
//! )`.
//!
//! These are OpenStep property lists: each entry ends with `;`, only tokens with special characters
//! are quoted, and `\U00e9` escapes non-ASCII characters. Lists may have square brackets too. A key
//! may be followed by its short name: `ga_event_origin (_o)`.

use crate::formats::cursor::Cursor;
use crate::formats::{Fault, MAX_DEPTH};
use crate::write::JsonText;

/// Writes the dictionary or list at `at` and returns its end.
pub(crate) fn read(text: &str, at: usize, out: &mut JsonText<'_>) -> Result<usize, Fault> {
    let mut reader = Reader {
        cursor: Cursor::new(text, at),
    };
    reader.value(out, 0)?;
    Ok(reader.cursor.at)
}

struct Reader<'t> {
    cursor: Cursor<'t>,
}

impl<'t> Reader<'t> {
    /// Skips white space, then `byte`, and returns true if it was next.
    fn eat(&mut self, byte: u8) -> bool {
        self.cursor.space();
        self.cursor.eat(byte)
    }

    fn value(&mut self, out: &mut JsonText<'_>, depth: usize) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return self.cursor.fault(format!("more than {MAX_DEPTH} levels"));
        }
        if self.eat(b'{') {
            self.dictionary(out, depth)
        } else if self.eat(b'(') {
            self.list(b')', out, depth)
        } else if self.eat(b'[') {
            self.list(b']', out, depth)
        } else if self.cursor.peek() == Some(b'"') {
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
            let start = self.cursor.at;
            if self.cursor.peek() == Some(b'"') {
                out.key(without_short_name(&self.quoted()?));
            } else {
                let key = self.token(&['=', ';', '{', '}', '\n'])?;
                out.key(without_short_name(key));
            }
            if !self.eat(b'=') {
                // The fault is at the key, since any text may be one: another reader may get
                // further.
                return Err(Fault::new(start, "`=` is missing behind this key"));
            }
            self.value(out, depth + 1)?;
            if !self.eat(b';') && self.cursor.peek() != Some(b'}') {
                return self.cursor.fault("`;` is missing");
            }
        }
        out.end_object();
        Ok(())
    }

    fn list(&mut self, end: u8, out: &mut JsonText<'_>, depth: usize) -> Result<(), Fault> {
        out.begin_list();
        while !self.eat(end) {
            self.value(out, depth + 1)?;
            if !self.eat(b',') && self.cursor.peek() != Some(end) {
                return self
                    .cursor
                    .fault(format!("`,` or `{}` is missing", char::from(end)));
            }
        }
        out.end_list();
        Ok(())
    }

    /// Reads an unquoted token, which ends before one of `ends`.
    fn token(&mut self, ends: &[char]) -> Result<&'t str, Fault> {
        self.cursor.space();
        let rest = self.cursor.rest();
        let Some(length) = rest.find(ends) else {
            return self.cursor.fault("the text breaks off");
        };
        let token = rest.get(..length).unwrap_or_default().trim_end();
        if token.is_empty() {
            return self.cursor.fault("a value or key is missing");
        }
        self.cursor.at += length;
        Ok(token)
    }

    fn quoted(&mut self) -> Result<String, Fault> {
        let start = self.cursor.at;
        self.cursor.at += 1;
        let mut units: Vec<u16> = Vec::new();
        let mut text = String::new();
        let flush = |units: &mut Vec<u16>, text: &mut String| {
            text.push_str(&String::from_utf16_lossy(units));
            units.clear();
        };
        loop {
            let rest = self.cursor.rest();
            let Some(length) = rest.find(['"', '\\']) else {
                return Err(Fault::new(start, "a string is cut off"));
            };
            if length > 0 {
                flush(&mut units, &mut text);
                text.push_str(rest.get(..length).unwrap_or_default());
            }
            self.cursor.at += length + 1;
            if rest.as_bytes().get(length) == Some(&b'"') {
                flush(&mut units, &mut text);
                return Ok(text);
            }
            if let Some(unit) = self.code_unit() {
                units.push(unit);
                continue;
            }
            flush(&mut units, &mut text);
            let Some(escaped) = self.cursor.rest().chars().next() else {
                return Err(Fault::new(start, "a string is cut off"));
            };
            self.cursor.at += escaped.len_utf8();
            text.push(match escaped {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            });
        }
    }

    /// Reads an escape `UXXXX`, a UTF-16 code unit.
    fn code_unit(&mut self) -> Option<u16> {
        if !matches!(self.cursor.peek(), Some(b'U' | b'u')) {
            return None;
        }
        u16::try_from(self.cursor.hex(1, 4)?).ok()
    }
}

/// Removes the short form from a name such as `ga_event_origin (_o)`.
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
    fn dictionaries_become_objects() {
        for (text, expected) in [
            (
                "{\n    currency = UAH;\n    ga_event_origin (_o) = app;\n    items = (\n\n {\n\
                 \"item_id\" = 123456789;\n    }\n);\n    value = 450;\n}",
                concat!(
                    r#"{"currency":"UAH","ga_event_origin":"app","#,
                    r#""items":[{"item_id":"123456789"}],"value":"450"}"#
                ),
            ),
            (
                "[ { item_id = card-1; price = 1.5; }, { item_id = card-2; } ]",
                r#"[{"item_id":"card-1","price":"1.5"},{"item_id":"card-2"}]"#,
            ),
            (
                concat!(
                    r#"{ name = "Caf\U00e9 \U0001 \Ud83d\Ude00 \"x\";"; "#,
                    r#""ga_screen (_sn)" = "<null>"; n = "<null>"; e = ""; }"#
                ),
                concat!(
                    r#"{"name":"Café \u0001 😀 \"x\";","#,
                    r#""ga_screen":"<null>","n":"<null>","e":""}"#
                ),
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
    fn errors_have_a_location() {
        for (text, expected) in [
            ("{ a }", "`=` is missing behind this key at line 1 column 3"),
            ("{ a = 1\n", "the text breaks off at line 1 column 7"),
            ("{ a = \"x; }", "a string is cut off at line 1 column 7"),
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
