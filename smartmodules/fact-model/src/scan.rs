//! Finds the start and end of values in a JSON text, fast.
//!
//! It checks the same grammar as `serde_json`, but has no error messages: on invalid JSON it gives
//! up, and the caller asks `serde_json` for the error.

use crate::raw::Raw;
use crate::swar;
use crate::text::Arena;

/// Reads a JSON text from front to back.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    json: &'a str,
    at: usize,
    /// The closing brackets of all open ones.
    open: Vec<u8>,
}

/// The text is not JSON, or not the requested kind of value.
#[derive(Debug)]
pub(crate) struct GiveUp;

impl<'a> Scanner<'a> {
    pub(crate) fn new(json: &'a str) -> Self {
        Self {
            json,
            at: 0,
            open: Vec::new(),
        }
    }

    /// Reads an object; `take` reads the value of each key.
    pub(crate) fn object(
        &mut self,
        arena: &'a Arena,
        mut take: impl FnMut(&mut Self, &'a str) -> Result<(), GiveUp>,
    ) -> Result<(), GiveUp> {
        self.expect(b'{')?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let key = self.key(arena)?;
            self.expect(b':')?;
            take(self, key)?;
            match self.next()? {
                b',' => {}
                b'}' => return Ok(()),
                _ => return Err(GiveUp),
            }
        }
    }

    /// Reads an array, each element by `read`.
    pub(crate) fn array(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<(), GiveUp>,
    ) -> Result<(), GiveUp> {
        self.expect(b'[')?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            read(self)?;
            match self.next()? {
                b',' => {}
                b']' => return Ok(()),
                _ => return Err(GiveUp),
            }
        }
    }

    /// Checks that only white space is left.
    pub(crate) fn end(&mut self) -> Result<(), GiveUp> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(GiveUp),
        }
    }

    /// Skips a null and returns true if there was one.
    pub(crate) fn null(&mut self) -> bool {
        self.peek();
        let is_null = self
            .json
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with("null"));
        self.at += if is_null { "null".len() } else { 0 };
        is_null
    }

    /// Reads a value of any kind.
    pub(crate) fn value(&mut self) -> Result<Raw<'a>, GiveUp> {
        let is_text = self.peek() == Some(b'"');
        let start = self.at;
        let is_plain = if is_text {
            !self.string()?
        } else {
            self.skip()?;
            false
        };
        let text = self.json.get(start..self.at).ok_or(GiveUp)?;
        Ok(Raw::read(text, is_plain))
    }

    /// Reads a value with `read` and returns it with its text. Returns to the value's start if
    /// `read` gives up.
    pub(crate) fn try_value<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, GiveUp>,
    ) -> Result<(T, Raw<'a>), GiveUp> {
        self.peek();
        let start = self.at;
        let value = read(self);
        let text = self.json.get(start..self.at).ok_or(GiveUp);
        value
            .and_then(|value| Ok((value, Raw::read(text?, false))))
            .inspect_err(|_| {
                self.at = start;
                self.open.clear();
            })
    }

    /// Reads a key. Keys nearly never have escapes.
    fn key(&mut self, arena: &'a Arena) -> Result<&'a str, GiveUp> {
        self.peek();
        let start = self.at;
        let has_escapes = self.string()?;
        let key = self.json.get(start + 1..self.at - 1).ok_or(GiveUp)?;
        if !has_escapes {
            return Ok(key);
        }
        let key = self.json.get(start..self.at).ok_or(GiveUp)?;
        let key: String = serde_json::from_str(key).map_err(|_| GiveUp)?;
        Ok(arena.text(&key))
    }

    /// Skips a value of any depth, without recursion.
    fn skip(&mut self) -> Result<(), GiveUp> {
        loop {
            match self.peek().ok_or(GiveUp)? {
                b'"' => drop(self.string()?),
                b'-' | b'0'..=b'9' => self.number()?,
                b'{' => {
                    self.at += 1;
                    if self.peek() != Some(b'}') {
                        self.open.push(b'}');
                        self.skip_key()?;
                        continue;
                    }
                    self.at += 1;
                }
                b'[' => {
                    self.at += 1;
                    if self.peek() != Some(b']') {
                        self.open.push(b']');
                        continue;
                    }
                    self.at += 1;
                }
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                _ => return Err(GiveUp),
            }
            // After a value: close brackets until another value follows.
            loop {
                let Some(&close) = self.open.last() else {
                    return Ok(());
                };
                match self.next()? {
                    b',' if close == b'}' => break self.skip_key()?,
                    b',' => break,
                    byte if byte == close => drop(self.open.pop()),
                    _ => return Err(GiveUp),
                }
            }
        }
    }

    fn skip_key(&mut self) -> Result<(), GiveUp> {
        self.peek();
        self.string()?;
        self.expect(b':')
    }

    /// Skips a string and returns true if it has escapes.
    #[inline(always)]
    fn string(&mut self) -> Result<bool, GiveUp> {
        if self.byte() != Some(b'"') {
            return Err(GiveUp);
        }
        self.at += 1;
        self.skip_plain();
        if self.byte() == Some(b'"') {
            self.at += 1;
            return Ok(false);
        }
        self.rest_of_string()
    }

    /// Skips unescaped characters of a string, except for the last bytes of the text.
    #[inline(always)]
    fn skip_plain(&mut self) {
        // Most strings end within eight bytes, or soon after.
        while let Some(eight) = swar::eight(self.json.as_bytes(), self.at) {
            let marks = swar::special(eight);
            if marks == 0 {
                self.at += 8;
                continue;
            }
            self.at += swar::first(marks);
            break;
        }
    }

    /// Skips the rest of a string from an escape, from an invalid character, or near the end of the
    /// text.
    #[cold]
    fn rest_of_string(&mut self) -> Result<bool, GiveUp> {
        let mut has_escapes = false;
        loop {
            match self.byte().ok_or(GiveUp)? {
                b'"' => {
                    self.at += 1;
                    return Ok(has_escapes);
                }
                b'\\' => {
                    self.at += 1;
                    let rest = self.json.as_bytes().get(self.at..).unwrap_or_default();
                    self.at += escape_length(rest)?;
                    has_escapes = true;
                    self.skip_plain();
                }
                byte if byte < b' ' => return Err(GiveUp),
                _ => self.at += 1,
            }
        }
    }

    fn number(&mut self) -> Result<(), GiveUp> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), GiveUp> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        if self.at == start {
            return Err(GiveUp);
        }
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), GiveUp> {
        let rest = self.json.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(GiveUp);
        }
        self.at += word.len();
        Ok(())
    }

    /// Returns the next byte.
    #[inline]
    fn byte(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    /// Skips white space and returns the next byte without reading it.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.byte() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                byte => return byte,
            }
        }
    }

    /// Skips white space and reads the next byte.
    #[inline]
    fn next(&mut self) -> Result<u8, GiveUp> {
        let byte = self.peek().ok_or(GiveUp)?;
        self.at += 1;
        Ok(byte)
    }

    fn expect(&mut self, wanted: u8) -> Result<(), GiveUp> {
        if self.next()? == wanted {
            Ok(())
        } else {
            Err(GiveUp)
        }
    }
}

/// Returns the length of an escape without its `\`.
fn escape_length(rest: &[u8]) -> Result<usize, GiveUp> {
    match rest {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Ok(1),
        [b'u', a, b, c, d, ..] if [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) => Ok(5),
        _ => Err(GiveUp),
    }
}

#[cfg(test)]
mod tests;
