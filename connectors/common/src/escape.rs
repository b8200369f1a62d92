//! Text from data, safe for a terminal.
//!
//! A payload can hold characters that a terminal obeys (escape sequences, C1 controls), that
//! reorder the rest of a line (marks of the text direction), or that nobody sees (zero width). They
//! are written as escapes, on a terminal and into a pipe alike: logs and `tee` end on terminals
//! later. Newlines and tabs stay, as they are layout.

use std::io::{self, Write};

/// A writer that escapes the text written to it.
#[derive(Debug)]
pub struct Escaping<W> {
    out: W,
    notation: Notation,
}

#[derive(Clone, Copy, Debug)]
enum Notation {
    Text,
    Json,
}

impl<W: Write> Escaping<W> {
    /// Writes escapes as `\u{9b}`.
    pub fn text(out: W) -> Self {
        let notation = Notation::Text;
        Self { out, notation }
    }

    /// Writes escapes as `\u009b`. JSON holds these characters only in strings, so it stays equal.
    pub fn json(out: W) -> Self {
        let notation = Notation::Json;
        Self { out, notation }
    }

    fn write_text(&mut self, text: &str) -> io::Result<()> {
        let mut plain_from = 0;
        for (at, character) in text.char_indices().filter(|(_, it)| is_hidden(*it)) {
            let plain = text.get(plain_from..at).unwrap_or_default();
            self.out.write_all(plain.as_bytes())?;
            match self.notation {
                Notation::Text => write!(self.out, "{}", character.escape_unicode())?,
                Notation::Json => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        write!(self.out, "\\u{unit:04x}")?;
                    }
                }
            }
            plain_from = at + character.len_utf8();
        }
        let plain = text.get(plain_from..).unwrap_or_default();
        self.out.write_all(plain.as_bytes())
    }
}

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for chunk in bytes.utf8_chunks() {
            self.write_text(chunk.valid())?;
            for byte in chunk.invalid() {
                write!(self.out, "\\x{byte:02x}")?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The text with escapes as `\u{9b}`.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) {
            escaped.extend(character.escape_unicode());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Returns true for control characters except newline and tab, marks of the text direction, and
/// formatting that is not visible.
fn is_hidden(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => true,
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}[2Jb\u{9b}31m\r\u{7f}\u{7}\u{85}c\u{202e}\u{2066}\u{200f}\u{61c}\
                           \u{200b}\u{2028}\u{feff}\u{e0041}d";

    fn text(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        Escaping::text(&mut out).write_all(bytes).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_terminal_gets_no_character_that_it_obeys_or_hides() {
        let shown = "a\\u{1b}[2Jb\\u{9b}31m\\u{d}\\u{7f}\\u{7}\\u{85}c\\u{202e}\\u{2066}\\u{200f}\
                     \\u{61c}\\u{200b}\\u{2028}\\u{feff}\\u{e0041}d";
        assert_eq!(text(HOSTILE.as_bytes()), shown);
        assert_eq!(escaped(HOSTILE), shown);
        // 0x9b alone is an escape sequence on an 8-bit terminal.
        assert_eq!(text(b"\x9b31m"), "\\x9b31m");
        let plain = "│ ñ 商品 — “é”\n\tعربي 🙂";
        assert_eq!(text(plain.as_bytes()), plain);
    }

    #[test]
    fn json_stays_equal() {
        let json = serde_json::to_string_pretty(&[HOSTILE, "ñ\n\t\"\\"]).unwrap();
        let mut out = Vec::new();
        Escaping::json(&mut out).write_all(json.as_bytes()).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(!out.chars().any(is_hidden), "{out:?}");
        let read: Vec<String> = serde_json::from_str(&out).unwrap();
        assert_eq!(read, [HOSTILE, "ñ\n\t\"\\"]);
    }
}
