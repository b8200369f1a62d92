//! What others sent, put into a page or onto a terminal without any of it being obeyed there.

use serde_json::Value;

/// Characters of a name that are shown; what is longer ends in an ellipsis, and is whole when copied.
const SHOWN: usize = 160;

/// Text in HTML, between tags or in a quoted attribute.
pub fn html(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            character => safe.push(visible(character)),
        }
    }
    safe
}

/// JSON in a script element, which ends at the first `</script` whatever the JSON says.
pub fn json(value: &Value) -> String {
    value
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

/// Text on a terminal: no escape sequence, no line of its own, no longer than `limit`.
pub fn terminal(text: &str, limit: usize) -> String {
    shortened(text, limit).chars().map(printable).collect()
}

/// A character that neither moves the cursor of a terminal nor begins an escape sequence.
pub fn printable(character: char) -> char {
    match character {
        '\t' | '\n' | '\r' => ' ',
        // Marks that turn the direction of what follows would take the rest of the line with them.
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            char::REPLACEMENT_CHARACTER
        }
        character => visible(character),
    }
}

/// A name short enough for a cell.
pub fn short(text: &str) -> String {
    shortened(text, SHOWN)
}

fn shortened(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(limit - 1).collect();
    short.push('…');
    short
}

fn visible(character: char) -> char {
    match character {
        '\t' | '\n' => character,
        character if character.is_control() => char::REPLACEMENT_CHARACTER,
        character => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_stays_text() {
        assert_eq!(
            html("</script><b a=\"1\" c='2'>&\u{1b}[31m"),
            "&lt;/script&gt;&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;\u{fffd}[31m"
        );
        let value = Value::String("</script><!--&".to_owned());
        let safe = json(&value);
        assert_eq!(safe, r#""\u003c/script\u003e\u003c!--\u0026""#);
        assert_eq!(serde_json::from_str::<Value>(&safe).unwrap(), value);
    }

    #[test]
    fn a_terminal_is_told_nothing() {
        assert_eq!(
            terminal("a\u{1b}]0;title\u{7}\nb\u{202e}c", 40),
            "a\u{fffd}]0;title\u{fffd} b\u{fffd}c"
        );
        assert_eq!(terminal("äöüß", 3), "äö…");
    }
}
