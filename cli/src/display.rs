//! Text for people: tables on the terminal, durations and sizes, and text from events made safe for
//! a terminal or a page.

use std::fmt::{self, Write};

use askama::filters::Escaper;
use comfy_table::{CellAlignment, Table, presets};
use connector_common::escape::escaped;

/// The longest name that a page shows, in characters. Longer names end in an ellipsis, and are
/// copied in full.
const MAX_NAME: usize = 160;

/// A table with borders as psql draws them.
pub fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    table
}

/// Aligns the columns that hold only numbers to the right.
pub fn align_numbers(table: &mut Table) {
    let numeric: Vec<bool> = table
        .column_iter()
        .map(|column| {
            let index = column.index;
            table.row_iter().all(|row| {
                row.cell_iter()
                    .nth(index)
                    .is_some_and(|cell| cell.content().parse::<f64>().is_ok())
            })
        })
        .collect();
    for (column, numeric) in table.column_iter_mut().zip(numeric) {
        if numeric {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// A duration, for a table.
pub fn age(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..120 => format!("{whole} s"),
        120..7_200 => format!("{} min", whole / 60),
        7_200..172_800 => format!("{} h", whole / 3_600),
        _ => format!("{} days", whole / 86_400),
    }
}

/// A duration, for a sentence.
pub fn period(seconds: u32) -> String {
    match seconds {
        0..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A size: in MiB, from ten GiB on in GiB.
pub fn size(bytes: i64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 10_240.0 {
        format!("{mib:.1} MiB")
    } else {
        format!("{:.1} GiB", mib / 1024.0)
    }
}

/// Escapes text for HTML, between tags or in a quoted attribute, and replaces control characters.
/// The templates of the report use it for every value (`askama.toml`).
#[derive(Clone, Copy)]
pub struct Html;

impl Escaper for Html {
    fn write_escaped_str<W: Write>(&self, mut dest: W, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '&' => dest.write_str("&amp;")?,
                '<' => dest.write_str("&lt;")?,
                '>' => dest.write_str("&gt;")?,
                '"' => dest.write_str("&quot;")?,
                '\'' => dest.write_str("&#39;")?,
                character => dest.write_char(visible(character))?,
            }
        }
        Ok(())
    }
}

/// Shows at most `limit` characters of a text on one line of a terminal.
pub fn terminal(text: &str, limit: usize) -> String {
    line(&shortened(text, limit))
}

/// Shows text from data on one line of a terminal. The printer escapes it too, but not its
/// newlines, and after tables are laid out.
pub fn line(text: &str) -> String {
    escaped(&text.replace(['\t', '\n', '\r'], " "))
}

/// A name short enough for a table on a page.
pub fn short(text: &str) -> String {
    shortened(text, MAX_NAME)
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
    fn markup_is_escaped() {
        let mut escaped = String::new();
        Html.write_escaped_str(&mut escaped, "</script><b a=\"1\" c='2'>&\u{1b}[31m")
            .unwrap();
        assert_eq!(
            escaped,
            "&lt;/script&gt;&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;\u{fffd}[31m"
        );
    }

    #[test]
    fn a_terminal_gets_no_escape_sequences() {
        assert_eq!(
            terminal("a\u{1b}]0;title\u{7}\nb\u{202e}c", 40),
            "a\\u{1b}]0;title\\u{7} b\\u{202e}c"
        );
        assert_eq!(terminal("äöüß", 3), "äö…");
    }

    #[test]
    fn durations_and_sizes_have_the_fitting_unit() {
        let ages = [0.04, 9.96, 119.0, 120.0, 7_200.0, 172_800.0].map(age);
        assert_eq!(ages, ["0.0 s", "10.0 s", "119 s", "2 min", "2 h", "2 days"]);
        assert_eq!(size(1 << 20), "1.0 MiB");
        assert_eq!(size(20 << 30), "20.0 GiB");
    }
}
