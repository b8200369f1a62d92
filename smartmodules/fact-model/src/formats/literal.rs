//! Literals of JavaScript and Python: a data layer copied from a page's source, `str()` of a Python list.
//!
//! One grammar reads both: keys with or without quotes, strings in any quotes with the escapes of either
//! language, `True`, `None`, `undefined`, `NaN`, tuples, trailing commas, comments, and calls such as
//! `Decimal('2.414')`, `datetime.datetime(…)` or `new Date(…)`, which stand for their argument.

mod quoted;

use crate::formats::json_text::JsonText;
use crate::formats::{Fault, MAX_DEPTH, is_word};

/// Reads `text`: values one after another, with `;` or `,` between them or `dataLayer.push(…)` around them. Each is
/// written as one JSON value of a list.
pub(crate) fn read(text: &str, out: &mut JsonText<'_>) -> Result<(), Fault> {
    let mut reader = Reader { text, at: 0 };
    out.begin_list();
    reader.separators();
    while reader.peek().is_some() {
        match reader.pushed() {
            Some(()) => reader.list(b')', out, 0)?,
            None => reader.value(out, 0)?,
        }
        reader.separators();
    }
    out.end_list();
    Ok(())
}

/// What a data layer is called on nearly every page.
const PUSH: &str = "dataLayer.push(";

/// The part of a text that may be literals though it does not begin as JSON: a string or a tuple, or the pushes
/// of a snippet, behind what sets their data layer up.
pub(crate) fn part(text: &str) -> Option<&str> {
    let is_string =
        text.starts_with(['\'', '(', '`']) || text.starts_with("b'") || text.starts_with("b\"");
    if is_string || (Reader { text, at: 0 }).pushed().is_some() {
        return Some(text);
    }
    let sets_up = ["window.dataLayer", "dataLayer", "var dataLayer"];
    if !sets_up.iter().any(|start| text.starts_with(start)) {
        return None;
    }
    text.get(text.find(PUSH)?..)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn fault<T>(&self, what: impl Into<String>) -> Result<T, Fault> {
        Err(Fault::new(self.at, what))
    }

    /// Passes over white space and comments.
    fn space(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            let end = if trimmed.starts_with("//") {
                trimmed.find('\n')
            } else if trimmed.starts_with("/*") {
                trimmed.find("*/").map(|end| end + 2)
            } else {
                return;
            };
            self.at += end.unwrap_or(trimmed.len());
        }
    }

    /// Passes over what may stand between values.
    fn separators(&mut self) {
        self.space();
        while self.eat(b';') || self.eat(b',') {
            self.space();
        }
    }

    fn word(&mut self) -> &'t str {
        let rest = self.rest();
        let is_part = |byte: u8| is_word(byte) || byte == b'$' || byte >= 0x80;
        let length = rest.bytes().take_while(|byte| is_part(*byte)).count();
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// A name with perhaps dots in it.
    fn path(&mut self) -> &'t str {
        let start = self.at;
        self.word();
        while self.peek() == Some(b'.') {
            self.at += 1;
            self.word();
        }
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Passes over `dataLayer.push(`, whatever the data layer is called.
    fn pushed(&mut self) -> Option<()> {
        let start = self.at;
        let is_push = self.path().ends_with(".push") && self.eat(b'(');
        if !is_push {
            self.at = start;
        }
        is_push.then_some(())
    }

    fn value(&mut self, out: &mut JsonText<'_>, depth: usize) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return self.fault(format!("more than {MAX_DEPTH} levels"));
        }
        match self.peek() {
            None => self.fault("a value is missing"),
            Some(b'{') => self.object(out, depth),
            Some(open @ (b'[' | b'(')) => {
                let end = if open == b'[' { b']' } else { b')' };
                self.at += 1;
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

    /// Values up to `end`, with commas between them.
    fn list(&mut self, end: u8, out: &mut JsonText<'_>, depth: usize) -> Result<(), Fault> {
        loop {
            self.space();
            if self.eat(end) {
                return Ok(());
            }
            self.value(out, depth)?;
            self.space();
            if !self.eat(b',') && self.peek() != Some(end) {
                return self.fault(format!("`,` or `{}` is missing", char::from(end)));
            }
        }
    }

    fn object(&mut self, out: &mut JsonText<'_>, depth: usize) -> Result<(), Fault> {
        self.at += 1;
        out.begin_object();
        loop {
            self.space();
            if self.eat(b'}') {
                out.end_object();
                return Ok(());
            }
            let prefixed = self.rest().starts_with("u'") || self.rest().starts_with("u\"");
            self.at += usize::from(prefixed);
            if matches!(self.peek(), Some(b'\'' | b'"' | b'`')) {
                out.key(&self.string(false)?);
            } else {
                match self.word() {
                    "" => return self.fault("a key is missing"),
                    key => out.key(key),
                }
            }
            self.space();
            if !self.eat(b':') {
                return self.fault("`:` is missing");
            }
            self.space();
            self.value(out, depth + 1)?;
            self.space();
            if !self.eat(b',') && self.peek() != Some(b'}') {
                return self.fault("`,` or `}` is missing");
            }
        }
    }

    fn number(&mut self, out: &mut JsonText<'_>) -> Result<(), Fault> {
        let rest = self.rest();
        let is_part = |byte: u8| is_word(byte) || matches!(byte, b'-' | b'+' | b'.');
        let length = rest.bytes().take_while(|byte| is_part(*byte)).count();
        let number = rest.get(..length).unwrap_or_default();
        match number.trim_start_matches(['-', '+']) {
            "Infinity" | "inf" | "NaN" | "nan" => out.raw("null"),
            digits if digits.starts_with(|c: char| c == '.' || c.is_ascii_digit()) => {
                out.number(number)
            }
            _ => return self.fault("this is no number"),
        }
        self.at += length;
        Ok(())
    }

    /// A constant, a call, or a string with a prefix.
    fn name(&mut self, out: &mut JsonText<'_>, depth: usize) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return self.fault(format!("more than {MAX_DEPTH} levels"));
        }
        let start = self.at;
        let name = self.path();
        match name {
            "true" | "True" => out.raw("true"),
            "false" | "False" => out.raw("false"),
            "null" | "None" | "undefined" | "NaN" | "nan" | "inf" | "Infinity" => out.raw("null"),
            "u" | "b" if matches!(self.peek(), Some(b'\'' | b'"')) => {
                out.string(&self.string(name == "b")?)
            }
            "new" => {
                self.space();
                return self.name(out, depth + 1);
            }
            "datetime.datetime" if self.eat(b'(') => out.string(&self.datetime()?),
            _ if !name.is_empty() && self.eat(b'(') => return self.call(name, out, depth + 1),
            _ => {
                self.at = start;
                let shown: String = self.rest().chars().take(20).collect();
                return self.fault(format!("`{shown}` is no value"));
            }
        }
        Ok(())
    }

    /// A call stands for its first argument; a number that `Decimal` keeps in a string is a number.
    fn call(&mut self, name: &str, out: &mut JsonText<'_>, depth: usize) -> Result<(), Fault> {
        self.space();
        let is_number = matches!(name, "Decimal" | "decimal.Decimal" | "Number");
        if is_number && matches!(self.peek(), Some(b'\'' | b'"')) {
            let number = self.string(false)?;
            match number.as_str() {
                "NaN" | "sNaN" | "Infinity" | "-Infinity" => out.raw("null"),
                number => out.number(number),
            }
        } else {
            self.value(out, depth)?;
        }
        self.space();
        if !self.eat(b')') {
            return self.fault(format!("{name} has more than one argument, or no `)`"));
        }
        Ok(())
    }

    /// What follows `datetime.datetime(`, as RFC 3339. Without a time zone that is known there is no offset.
    fn datetime(&mut self) -> Result<String, Fault> {
        let mut parts = [0_u32, 1, 1, 0, 0, 0, 0];
        let mut count = 0;
        let mut offset = String::new();
        loop {
            self.space();
            if self.eat(b')') {
                break;
            }
            let digits = self.word();
            if let (Ok(number), Some(part)) = (digits.parse(), parts.get_mut(count)) {
                *part = number;
                count += 1;
            } else if digits == "tzinfo" && self.eat(b'=') {
                offset = self.time_zone()?;
            } else if digits == "fold" && self.eat(b'=') {
                self.word();
            } else {
                return self.fault("this is no part of a time");
            }
            self.space();
            if !self.eat(b',') && self.peek() != Some(b')') {
                return self.fault("`,` or `)` is missing");
            }
        }
        let [year, month, day, hour, minute, second, micros] = parts;
        Ok(format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}{offset}"
        ))
    }

    /// The value of `tzinfo`, as an offset: empty where it is the name of a zone.
    fn time_zone(&mut self) -> Result<String, Fault> {
        let rest = self.rest();
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
            return self.fault("the time zone does not end");
        };
        self.at += zone.len();
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

#[cfg(test)]
mod tests;
