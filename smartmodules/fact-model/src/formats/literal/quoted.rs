//! Strings in the quotes of JavaScript or Python, with the escapes of either.

use super::Reader;
use crate::formats::Fault;

impl Reader<'_> {
    /// Reads the string whose quote stands here. The escapes `\xHH` of Python's `bytes` are parts of UTF-8, those
    /// of a text are characters.
    pub(super) fn string(&mut self, is_bytes: bool) -> Result<String, Fault> {
        let start = self.at;
        let Some(quote) = self.peek() else {
            return self.fault("a string is missing");
        };
        self.at += 1;
        let mut text: Vec<u8> = Vec::new();
        loop {
            let rest = self.rest();
            let special = |byte: u8| {
                byte == quote || byte == b'\\' || byte.is_ascii_control() && byte != b'\t'
            };
            let Some(length) = rest.bytes().position(special) else {
                return Err(Fault::new(start, "a string does not end"));
            };
            text.extend_from_slice(rest.as_bytes().get(..length).unwrap_or_default());
            self.at += length;
            match self.peek() {
                Some(b'\\') => self.escape(is_bytes, &mut text)?,
                Some(byte) if byte == quote => break,
                Some(b'\n' | b'\r') if quote == b'`' => {
                    text.push(b'\n');
                    self.at += 1;
                }
                _ => return self.fault("a control character in a string"),
            }
        }
        self.at += 1;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn escape(&mut self, is_bytes: bool, text: &mut Vec<u8>) -> Result<(), Fault> {
        self.at += 1;
        let Some(escaped) = self.rest().chars().next() else {
            return self.fault("a string does not end");
        };
        let digits = match escaped {
            'x' => self.hex(1, 2),
            'u' if self.rest().starts_with("u{") => {
                let length = self
                    .rest()
                    .bytes()
                    .take(9)
                    .position(|byte| byte == b'}')
                    .unwrap_or(0);
                let code = self.hex(2, length.saturating_sub(2));
                self.at += 1;
                code
            }
            'u' => self.utf16(),
            'U' => self.hex(1, 8),
            _ => {
                self.at += escaped.len_utf8();
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
            return self.fault("an escape without its digits");
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

    /// The number that `count` hex digits from `skip` on are.
    fn hex(&mut self, skip: usize, count: usize) -> Option<u32> {
        let digits = self.text.get(self.at + skip..self.at + skip + count)?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.at += skip + count;
        u32::from_str_radix(digits, 16).ok()
    }

    /// `uXXXX`, or a pair of them that is one character.
    fn utf16(&mut self) -> Option<u32> {
        let high = self.hex(1, 4)?;
        if !(0xd800..0xdc00).contains(&high) || !self.rest().starts_with("\\u") {
            return Some(high);
        }
        let before = self.at;
        match self.hex(2, 4) {
            Some(low @ 0xdc00..0xe000) => Some(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)),
            _ => {
                self.at = before;
                Some(high)
            }
        }
    }
}
