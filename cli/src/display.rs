//! Text for people: tables on the terminal, durations and sizes, and text from events made safe for
//! a terminal or a page.

use std::fmt::{self, Write};
use std::ops::{Deref, DerefMut};

use askama::filters::Escaper;
use comfy_table::{CellAlignment, Row, presets};
use connector_common::escape::escaped;
use console::Term;

/// The longest name that a page shows, in characters. Longer names end in an ellipsis, and are
/// copied in full.
const MAX_NAME: usize = 160;

/// A table for standard output. If that is a terminal which is narrower than the table, each value
/// has a line with the name of its column, as with `\x auto` in psql.
pub struct Table(comfy_table::Table);

impl Deref for Table {
    type Target = comfy_table::Table;

    fn deref(&self) -> &comfy_table::Table {
        &self.0
    }
}

impl DerefMut for Table {
    fn deref_mut(&mut self) -> &mut comfy_table::Table {
        &mut self.0
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.within(terminal_width()))
    }
}

impl Table {
    /// The table in lines of at most `width` columns, if it fits, else with a line for each value.
    fn within(&self, width: Option<usize>) -> String {
        let drawn = self.0.to_string();
        // The first line is a border, without characters of double width.
        let needed = drawn.lines().next().unwrap_or_default().chars().count();
        match width {
            Some(width) if needed > width => self.expanded(),
            _ => drawn,
        }
    }

    /// Each value on a line of its own, after the name of its column. Without names the first value
    /// of a row is the name of the others.
    fn expanded(&self) -> String {
        let texts =
            |row: &Row| -> Vec<String> { row.cell_iter().map(|cell| cell.content()).collect() };
        let mut lines = Vec::new();
        match self.0.header().map(texts) {
            Some(names) => {
                for (row, number) in self.0.row_iter().zip(1..) {
                    lines.push((format!("-[ {number} ]-"), String::new()));
                    lines.extend(names.iter().cloned().zip(texts(row)));
                }
            }
            None => lines.extend(self.0.row_iter().map(|row| {
                let mut texts = texts(row).into_iter();
                let name = texts.next().unwrap_or_default();
                (name, Vec::from_iter(texts).join("  "))
            })),
        }
        let widths = lines.iter().map(|(name, _)| name.chars().count());
        let width = widths.max().unwrap_or_default();
        let lines = lines.into_iter().map(|(name, value)| {
            let value = value.replace('\n', &format!("\n{:width$}  ", ""));
            format!("{name:width$}  {value}").trim_end().to_owned()
        });
        Vec::from_iter(lines).join("\n")
    }
}

/// The columns of the terminal that standard output is; `None` if it is none.
fn terminal_width() -> Option<usize> {
    let width = Term::stdout()
        .size_checked()
        .map(|(_, columns)| columns.into());
    // Tests have the same output in every terminal.
    width.filter(|_| !cfg!(test))
}

/// A table with borders as psql draws them.
pub fn table() -> Table {
    let mut table = comfy_table::Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    Table(table)
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

/// A number with its noun, in the plural unless it is 1.
pub fn counted(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
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
    let (count, unit) = match seconds {
        0..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    counted(count.into(), unit)
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
    fn a_table_that_is_wider_than_the_terminal_has_a_line_for_each_value() {
        let mut wide = table();
        wide.set_header(["reason", "first", "payload"]);
        wide.add_row(["not-json", "2026-11-24", "x".repeat(60).as_str()]);
        wide.add_row(["bad-items", "", "a\nb"]);
        assert_eq!(wide.within(None), wide.0.to_string());
        assert_eq!(wide.within(Some(90)), wide.0.to_string());
        assert_eq!(
            wide.within(Some(80)),
            format!(
                "-[ 1 ]-\nreason   not-json\nfirst    2026-11-24\npayload  {}\n\
                 -[ 2 ]-\nreason   bad-items\nfirst\npayload  a\n         b",
                "x".repeat(60)
            )
        );
        let mut unnamed = table();
        unnamed.add_row(["queue", &"1 waiting, ".repeat(9)]);
        unnamed.add_row(["lag", "0"]);
        let shown = unnamed.within(Some(80));
        assert!(shown.starts_with("queue  1 waiting"), "{shown}");
        assert!(shown.ends_with("\nlag    0"), "{shown}");
    }

    #[test]
    fn one_is_singular() {
        let counts = [0, 1, 2].map(|count| counted(count, "rejected event"));
        assert_eq!(
            counts,
            ["0 rejected events", "1 rejected event", "2 rejected events"]
        );
    }

    #[test]
    fn durations_and_sizes_have_the_fitting_unit() {
        let ages = [0.04, 9.96, 119.0, 120.0, 7_200.0, 172_800.0].map(age);
        assert_eq!(ages, ["0.0 s", "10.0 s", "119 s", "2 min", "2 h", "2 days"]);
        assert_eq!(size(1 << 20), "1.0 MiB");
        assert_eq!(size(20 << 30), "20.0 GiB");
    }
}
