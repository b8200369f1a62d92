//! JavaScript and Python literals: a data layer copied from a page's source, `str()` of a Python
//! list.
//!
//! One grammar covers both: keys with or without quotes, strings in any quotes with the escapes of
//! either language, `True`, `None`, `undefined`, `NaN`, tuples, trailing commas, comments, and
//! calls such as `Decimal('2.414')`, `datetime.datetime(…)` or `new Date(…)`, which are
//! replaced by their argument. A call of `gtag(…)` becomes the list of its arguments.
//!
//! Two relatives are read too: collections as Swift prints them, `[["item_id": "A1", "price":
//! Optional(9.99)]]`, and lists as numpy prints them, without commas or as
//! `array([…], dtype=object)`.

use crate::formats::cursor::Cursor;
use crate::formats::{Fault, MAX_DEPTH, is_word};
use crate::write::JsonText;

/// Writes the values in `text` as one JSON list. They may be separated by `;` or `,` and wrapped in
/// `dataLayer.push(…)`.
pub(crate) fn read(text: &str, out: &mut JsonText<'_>) -> Result<(), Fault> {
    let mut reader = Reader::new(text);
    out.begin_list();
    reader.separators();
    while reader.cursor.peek().is_some() {
        match reader.pushed() {
            Some(()) => reader.list(b')', out, 0)?,
            None if reader.cursor.rest().starts_with(GTAG) => {
                // The arguments are a tuple.
                reader.cursor.at += GTAG.len() - 1;
                reader.value(out, 0)?;
            }
            None => reader.value(out, 0)?,
        }
        reader.separators();
    }
    out.end_list();
    Ok(())
}

/// The push to a data layer under its usual name.
const PUSH: &str = "dataLayer.push(";

/// The beginning of `repr()` of a numpy array.
pub(crate) const ARRAY: &str = "array([";

/// A call of gtag.js.
const GTAG: &str = "gtag(";

/// Returns the part of a text that may be literals though it doesn't start like JSON: a string, a
/// tuple, or the pushes of a snippet without the lines that set up the data layer.
pub(crate) fn part(text: &str) -> Option<&str> {
    let is_string =
        text.starts_with(['\'', '(', '`']) || text.starts_with("b'") || text.starts_with("b\"");
    let is_call = text.starts_with(GTAG) || text.starts_with(ARRAY);
    if is_string || is_call || Reader::new(text).pushed().is_some() {
        return Some(text);
    }
    let sets_up = ["window.dataLayer", "dataLayer", "var dataLayer"];
    if !sets_up.iter().any(|start| text.starts_with(start)) {
        return None;
    }
    text.get(text.find(PUSH)?..)
}

struct Reader<'t> {
    cursor: Cursor<'t>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            cursor: Cursor::new(text, 0),
        }
    }

    /// Skips white space and comments.
    fn space(&mut self) {
        loop {
            self.cursor.space();
            let rest = self.cursor.rest();
            let end = if rest.starts_with("//") {
                rest.find('\n')
            } else if rest.starts_with("/*") {
                rest.find("*/").map(|end| end + 2)
            } else {
                return;
            };
            self.cursor.at += end.unwrap_or(rest.len());
        }
    }

    /// Skips separators between values.
    fn separators(&mut self) {
        self.space();
        while self.cursor.eat(b';') || self.cursor.eat(b',') {
            self.space();
        }
    }

    fn word(&mut self) -> &'t str {
        self.cursor
            .take_while(|byte| is_word(byte) || byte == b'$' || byte >= 0x80)
    }

    /// Reads a name, which may have dots.
    fn path(&mut self) -> &'t str {
        let start = self.cursor.at;
        self.word();
        while self.cursor.peek() == Some(b'.') {
            self.cursor.at += 1;
            self.word();
        }
        self.cursor
            .text
            .get(start..self.cursor.at)
            .unwrap_or_default()
    }

    /// Skips `dataLayer.push(`, under any name of the data layer.
    fn pushed(&mut self) -> Option<()> {
        let start = self.cursor.at;
        let is_push = self.path().ends_with(".push") && self.cursor.eat(b'(');
        if !is_push {
            self.cursor.at = start;
        }
        is_push.then_some(())
    }

    fn value(&mut self, out: &mut JsonText<'_>, depth: usize) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return self.cursor.fault(format!("more than {MAX_DEPTH} levels"));
        }
        match self.cursor.peek() {
            None => self.cursor.fault("a value is missing"),
            Some(b'{') => self.object(out, depth),
            Some(open @ (b'[' | b'(')) => {
                let end = if open == b'[' { b']' } else { b')' };
                self.cursor.at += 1;
                if open == b'[' && self.is_dictionary() {
                    return self.dictionary(out, depth);
                }
                out.begin_list();
                self.list(end, out, depth + 1)?;
                out.end_list();
                Ok(())
            }
            Some(b'\'' | b'"' | b'`') => {
                out.string(&self.string(false)?);
                Ok(())
            }
            Some(b'-' | b'+' | b'.' | b'0'..=b'9') => self.number(out),
            Some(_) => self.name(out, depth),
        }
    }

    /// Reads comma-separated values up to `end`.
    fn list(&mut self, end: u8, out: &mut JsonText<'_>, depth: usize) -> Result<(), Fault> {
        loop {
            self.space();
            if self.cursor.eat(end) {
                return Ok(());
            }
            self.value(out, depth)?;
            self.space();
            // numpy separates elements by white space.
            let next = self.cursor.peek();
            if !self.cursor.eat(b',') && next != Some(end) && next != Some(b'{') {
                return self
                    .cursor
                    .fault(format!("`,` or `{}` is missing", char::from(end)));
            }
        }
    }

    fn object(&mut self, out: &mut JsonText<'_>, depth: usize) -> Result<(), Fault> {
        self.cursor.at += 1;
        out.begin_object();
        loop {
            self.space();
            if self.cursor.eat(b'}') {
                out.end_object();
                return Ok(());
            }
            let prefixed =
                self.cursor.rest().starts_with("u'") || self.cursor.rest().starts_with("u\"");
            self.cursor.at += usize::from(prefixed);
            if matches!(self.cursor.peek(), Some(b'\'' | b'"' | b'`')) {
                out.key(&self.string(false)?);
            } else {
                match self.word() {
                    "" => return self.cursor.fault("a key is missing"),
                    key => out.key(key),
                }
            }
            self.space();
            if !self.cursor.eat(b':') {
                return self.cursor.fault("`:` is missing");
            }
            self.space();
            self.value(out, depth + 1)?;
            self.space();
            if !self.cursor.eat(b',') && self.cursor.peek() != Some(b'}') {
                return self.cursor.fault("`,` or `}` is missing");
            }
        }
    }

    /// Returns true if a Swift dictionary follows its `[`: a key and `:`, or only `:`.
    fn is_dictionary(&mut self) -> bool {
        let start = self.cursor.at;
        self.space();
        let is_dictionary = self.cursor.peek() == Some(b':')
            || self.swift_key().is_ok_and(|key| key.is_some()) && {
                self.space();
                self.cursor.peek() == Some(b':')
            };
        self.cursor.at = start;
        is_dictionary
    }

    /// Reads a quoted key of a Swift dictionary; `None` for anything else.
    fn swift_key(&mut self) -> Result<Option<String>, Fault> {
        const ANY: &str = "AnyHashable(";
        let is_any = self.cursor.rest().starts_with(ANY);
        self.cursor.at += if is_any { ANY.len() } else { 0 };
        if self.cursor.peek() != Some(b'"') {
            return Ok(None);
        }
        let key = self.string(false)?;
        Ok((!is_any || self.cursor.eat(b')')).then_some(key))
    }

    /// Reads a Swift dictionary behind its `[`.
    fn dictionary(&mut self, out: &mut JsonText<'_>, depth: usize) -> Result<(), Fault> {
        out.begin_object();
        self.space();
        self.cursor.eat(b':');
        loop {
            self.space();
            if self.cursor.eat(b']') {
                out.end_object();
                return Ok(());
            }
            match self.swift_key()? {
                Some(key) => out.key(&key),
                None => return self.cursor.fault("a key is missing"),
            }
            self.space();
            if !self.cursor.eat(b':') {
                return self.cursor.fault("`:` is missing");
            }
            self.space();
            self.value(out, depth + 1)?;
            self.space();
            if !self.cursor.eat(b',') && self.cursor.peek() != Some(b']') {
                return self.cursor.fault("`,` or `]` is missing");
            }
        }
    }

    fn number(&mut self, out: &mut JsonText<'_>) -> Result<(), Fault> {
        let rest = self.cursor.rest();
        let is_part = |byte: u8| is_word(byte) || matches!(byte, b'-' | b'+' | b'.');
        let length = rest.bytes().take_while(|byte| is_part(*byte)).count();
        let number = rest.get(..length).unwrap_or_default();
        match number.trim_start_matches(['-', '+']) {
            "Infinity" | "inf" | "NaN" | "nan" => out.raw("null"),
            digits if digits.starts_with(|c: char| c == '.' || c.is_ascii_digit()) => {
                out.number(number)
            }
            _ => return self.cursor.fault("this is not a number"),
        }
        self.cursor.at += length;
        Ok(())
    }

    /// Reads a constant, a call, or a string with a prefix.
    fn name(&mut self, out: &mut JsonText<'_>, depth: usize) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return self.cursor.fault(format!("more than {MAX_DEPTH} levels"));
        }
        let start = self.cursor.at;
        let name = self.path();
        match name {
            "true" | "True" => out.raw("true"),
            "false" | "False" => out.raw("false"),
            "null" | "None" | "nil" | "undefined" | "NaN" | "nan" | "inf" | "Infinity" => {
                out.raw("null")
            }
            "u" | "b" if matches!(self.cursor.peek(), Some(b'\'' | b'"')) => {
                out.string(&self.string(name == "b")?)
            }
            "new" => {
                self.space();
                return self.name(out, depth + 1);
            }
            "datetime.datetime" if self.cursor.eat(b'(') => out.string(&self.datetime()?),
            _ if !name.is_empty() && self.cursor.eat(b'(') => {
                return self.call(name, out, depth + 1);
            }
            _ => {
                self.cursor.at = start;
                let shown: String = self.cursor.rest().chars().take(20).collect();
                return self.cursor.fault(format!("`{shown}` is not a value"));
            }
        }
        Ok(())
    }

    /// Reads a call as its only argument. A number in the string of a `Decimal` becomes a number.
    fn call(&mut self, name: &str, out: &mut JsonText<'_>, depth: usize) -> Result<(), Fault> {
        self.space();
        let is_number = matches!(name, "Decimal" | "decimal.Decimal" | "Number");
        if is_number && matches!(self.cursor.peek(), Some(b'\'' | b'"')) {
            let number = self.string(false)?;
            match number.as_str() {
                "NaN" | "sNaN" | "Infinity" | "-Infinity" => out.raw("null"),
                number => out.number(number),
            }
        } else {
            self.value(out, depth)?;
        }
        self.space();
        if name == "array" && self.cursor.eat(b',') {
            self.space();
            self.cursor.take_while(|byte| byte != b')');
        }
        if !self.cursor.eat(b')') {
            return self
                .cursor
                .fault(format!("{name} has more than one argument, or no `)`"));
        }
        Ok(())
    }

    /// Reads the arguments of `datetime.datetime(` as RFC 3339, without an offset if the time zone
    /// is unknown.
    fn datetime(&mut self) -> Result<String, Fault> {
        let mut parts = [0_u32, 1, 1, 0, 0, 0, 0];
        let mut count = 0;
        let mut offset = String::new();
        loop {
            self.space();
            if self.cursor.eat(b')') {
                break;
            }
            let digits = self.word();
            if let (Ok(number), Some(part)) = (digits.parse(), parts.get_mut(count)) {
                *part = number;
                count += 1;
            } else if digits == "tzinfo" && self.cursor.eat(b'=') {
                offset = self.time_zone()?;
            } else if digits == "fold" && self.cursor.eat(b'=') {
                self.word();
            } else {
                return self.cursor.fault("this is not part of a time");
            }
            self.space();
            if !self.cursor.eat(b',') && self.cursor.peek() != Some(b')') {
                return self.cursor.fault("`,` or `)` is missing");
            }
        }
        let [year, month, day, hour, minute, second, micros] = parts;
        Ok(format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}{offset}"
        ))
    }

    /// Reads the value of `tzinfo` as an offset, which is empty for a named zone.
    fn time_zone(&mut self) -> Result<String, Fault> {
        let rest = self.cursor.rest();
        let mut depth = 0_usize;
        let mut end = None;
        for (at, byte) in rest.bytes().enumerate().take(200) {
            match byte {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b')' | b',' if depth == 0 => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        let Some(zone) = end.and_then(|end| rest.get(..end)) else {
            return self.cursor.fault("the time zone is cut off");
        };
        self.cursor.at += zone.len();
        if matches!(
            zone,
            "datetime.timezone.utc" | "timezone.utc" | "<UTC>" | "tzutc()"
        ) {
            return Ok("+00:00".to_owned());
        }
        let number = |name: &str| -> i64 {
            zone.split_once(name)
                .and_then(|(_, rest)| rest.split([',', ')']).next())
                .and_then(|number| number.trim().parse().ok())
                .unwrap_or(0)
        };
        if !zone.contains("timedelta(") {
            return Ok(String::new());
        }
        let seconds = number("days=")
            .saturating_mul(86_400)
            .saturating_add(number("seconds="));
        let sign = if seconds < 0 { '-' } else { '+' };
        let minutes = seconds.unsigned_abs() / 60;
        Ok(format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60))
    }
}

/// Strings in any quotes, with the escapes of either language.
impl Reader<'_> {
    /// Reads a string from its quote on. An escape `\xHH` is a byte of UTF-8 in Python's `bytes`,
    /// else a character.
    fn string(&mut self, is_bytes: bool) -> Result<String, Fault> {
        let start = self.cursor.at;
        let Some(quote) = self.cursor.peek() else {
            return self.cursor.fault("a string is missing");
        };
        self.cursor.at += 1;
        let mut text: Vec<u8> = Vec::new();
        loop {
            let rest = self.cursor.rest();
            let special = |byte: u8| {
                byte == quote || byte == b'\\' || byte.is_ascii_control() && byte != b'\t'
            };
            let Some(length) = rest.bytes().position(special) else {
                return Err(Fault::new(start, "a string is cut off"));
            };
            text.extend_from_slice(rest.as_bytes().get(..length).unwrap_or_default());
            self.cursor.at += length;
            match self.cursor.peek() {
                Some(b'\\') => self.escape(is_bytes, &mut text)?,
                Some(byte) if byte == quote => break,
                Some(b'\n' | b'\r') if quote == b'`' => {
                    text.push(b'\n');
                    self.cursor.at += 1;
                }
                _ => return self.cursor.fault("a control character in a string"),
            }
        }
        self.cursor.at += 1;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn escape(&mut self, is_bytes: bool, text: &mut Vec<u8>) -> Result<(), Fault> {
        self.cursor.at += 1;
        let Some(escaped) = self.cursor.rest().chars().next() else {
            return self.cursor.fault("a string is cut off");
        };
        let digits = match escaped {
            'x' => self.cursor.hex(1, 2),
            'u' if self.cursor.rest().starts_with("u{") => {
                let length = self
                    .cursor
                    .rest()
                    .bytes()
                    .take(9)
                    .position(|byte| byte == b'}')
                    .unwrap_or(0);
                let code = self.cursor.hex(2, length.saturating_sub(2));
                self.cursor.at += 1;
                code
            }
            'u' => self.utf16(),
            'U' => self.cursor.hex(1, 8),
            _ => {
                self.cursor.at += escaped.len_utf8();
                let plain = match escaped {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'v' => '\u{b}',
                    'a' => '\u{7}',
                    '0' => '\0',
                    '\n' => return Ok(()),
                    other => other,
                };
                text.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
        };
        let Some(code) = digits else {
            return self.cursor.fault("an escape without its digits");
        };
        match u8::try_from(code) {
            Ok(byte) if is_bytes && escaped == 'x' => text.push(byte),
            _ => {
                let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        Ok(())
    }

    /// Reads `uXXXX`, or a surrogate pair of them.
    fn utf16(&mut self) -> Option<u32> {
        let high = self.cursor.hex(1, 4)?;
        if !(0xd800..0xdc00).contains(&high) || !self.cursor.rest().starts_with("\\u") {
            return Some(high);
        }
        let before = self.cursor.at;
        match self.cursor.hex(2, 4) {
            Some(low @ 0xdc00..0xe000) => Some(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)),
            _ => {
                self.cursor.at = before;
                Some(high)
            }
        }
    }
}

#[cfg(test)]
mod tests;
