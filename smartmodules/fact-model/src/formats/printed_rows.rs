//! Rows as Java prints them: `[{item_id=sku123, item_name=T-Shirt, price=19.99},
//! {item_id=sku456}]`.
//!
//! Java prints maps this way, and engines written in Java (Athena, Presto, Trino, Hive, Spark)
//! print arrays of rows so. Nothing is quoted or escaped:
//!
//! ```text
//! list   := "[" "]" | "[" element ("," element)* "]"
//! row    := "{" "}" | "{" name "=" value ("," name "=" value)* "}"
//! value  := "null" | "(not set)" | nothing | number | text | list | row
//! ```
//!
//! White space may follow a comma. A text may contain commas, equals signs and brackets, so these
//! rules decide where it ends:
//!
//! - A text ends before a comma and a **known field name** with `=`: the columns of an item in
//!   GA4's BigQuery export (<https://support.google.com/analytics/answer/7029846>) and the keys of
//!   an event. So `Sartén, diámetro=24 cm, antiadherente` is one name.
//! - A text ends before a closing bracket only if everything after it fits: the next row, or the
//!   closing brackets of all open lists and rows, then the end. Brackets in such a text, and in any
//!   value that isn't free text, must be pairs.
//! - A text can't continue in an id, after a number in a field that isn't text, after `null`, `(not
//!   set)` and an empty value, or after a list or a row. There an unknown name with `=` is a field
//!   too, and a comma must be followed by a field, or by digits in a number.
//! - In items without any of GA4's own names (`item_…`), and in rows that are neither items nor
//!   events, every name with `=` is a field. If an item has both GA4's and older names (`id`,
//!   `name`), both end a text.
//! - A field that is repeated in a row means that a text contains a known name; `{` with a known
//!   name in a text means that a bracket is missing. Neither can be repaired, so the rows are
//!   refused.
//!
//! A text that is cut off, or has a bracket too many or too few, is a fault at the byte that shows
//! it. Each byte is read at most once for each open bracket, of which there are at most
//! [`MAX_DEPTH`].
//!
//! Parameters (`item_params=[{key=in_stock, value={string_value=null, int_value=1, …}}]`) are
//! written with the one value that is set, as in [`bigquery`]. Empty fields are omitted.

use std::cell::Cell;
use std::collections::BTreeSet;

use crate::formats::bigquery;
use crate::formats::{Fault, MAX_DEPTH, is_word};
use crate::names::{KnownName, event_key, item_key, older_item_key};
use crate::text::Arena;
use crate::value::is_sentinel;
use crate::write::JsonText;

const NO_FIELD: &str = "expected a field name with `=`";
/// The longest field name. Firebase's own limit is 40 characters.
const LONGEST_NAME: usize = 100;

/// Returns true if a text starts like a row or a list of rows, and not like a dictionary of iOS,
/// whose entries end with semicolons.
pub(crate) fn is_rows(text: &str) -> bool {
    let rows = Rows::new(text);
    let Some(value) = rows.first_value() else {
        return false;
    };
    let value = rows.from(value).trim_start();
    let quoted = value
        .strip_prefix('"')
        .and_then(|rest| rest.split_once('"'));
    let behind = quoted.map_or(value, |(_, behind)| behind);
    let is_list = value.starts_with('(') && !value.starts_with("(not set)");
    let next = behind.find([',', ';', '}']).and_then(|at| behind.get(at..));
    let is_entry = next
        .and_then(|next| next.strip_prefix(';'))
        .is_some_and(|next| {
            let next = next.trim_start();
            let name = next.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
            next.starts_with(['}', '"'])
                || name.len() < next.len() && name.trim_start().starts_with('=')
        });
    !is_list && !is_entry
}

/// Returns true if a text starts like a row or a list of rows.
pub(crate) fn may_be_rows(text: &str) -> bool {
    Rows::new(text).first_value().is_some()
}

/// Rewrites a row or a list of rows as JSON. `names` are those of the outermost rows, unless these
/// are parameters.
pub(crate) fn read<'a>(text: &str, names: Names, arena: &'a Arena) -> Result<&'a str, Fault> {
    let mut rows = Rows::new(text);
    rows.items = rows.known(Names::Item);
    let first = rows.space(1);
    let names = match names {
        Names::Item if rows.byte(0) == Some(b'[') && rows.starts_row(first, Names::Parameter) => {
            Names::Parameter
        }
        Names::Item => rows.items,
        names => names,
    };
    let json = rows.whole(names, arena)?;
    if !rows.has_older_names {
        return Ok(json);
    }
    // A row has both vocabularies, so the names of both end a text.
    rows.items = Names::AnyItem;
    let names = if names == Names::Item {
        Names::AnyItem
    } else {
        names
    };
    rows.whole(names, arena)
}

/// The known field names of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// The keys of an event.
    Event,
    /// The columns of an item.
    Item,
    /// The columns of an item, also under older tags' names.
    AnyItem,
    /// `key`, `value` and the typed values, of a parameter.
    Parameter,
    /// The typed values, of the row `value` of a parameter.
    TypedValue,
    /// No name is known, so every name is a field.
    Any,
}

impl Names {
    /// Looks up a known field name.
    fn known(self, name: &str) -> Option<KnownName> {
        let number = match self {
            Self::Event => return event_key(name),
            Self::Item => return item_key(name),
            Self::AnyItem => return item_key(name).or_else(|| older_item_key(name)),
            Self::Parameter if name == "key" => 4,
            Self::Parameter if name == "value" => 5,
            Self::Parameter | Self::TypedValue => bigquery::rank(name)?,
            Self::Any => return None,
        };
        Some(KnownName {
            number: u8::try_from(number).ok(),
            is_text: matches!(number, 0 | 4 | 5),
        })
    }

    /// Returns true if a text ends before a field of this name.
    fn has(self, name: &str) -> bool {
        self == Self::Any || self.known(name).is_some()
    }

    /// Returns true for rows of items.
    fn are_items(self) -> bool {
        matches!(self, Self::Item | Self::AnyItem)
    }
}

/// The kind of a field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Free text. Only a known name ends it.
    Text,
    /// An id, a number or a list, which can't continue with a comma and a name.
    Code,
    /// The value of an unknown field.
    Unknown,
}

impl Kind {
    fn of(known: Option<KnownName>) -> Self {
        match known {
            Some(KnownName { is_text: true, .. }) => Self::Text,
            Some(_) => Self::Code,
            None => Self::Unknown,
        }
    }
}

/// An open list or row, with the field names of its rows.
#[derive(Debug, Clone, Copy)]
enum Open {
    List(Names),
    Row(Names),
}

/// A field with its value at `at`.
#[derive(Debug, Clone, Copy)]
struct Field<'t> {
    name: &'t str,
    kind: Kind,
    at: usize,
}

/// The field names of a row so far.
#[derive(Debug, Default)]
struct Seen<'t> {
    /// A bit for each known name that has a number.
    known: u64,
    others: BTreeSet<&'t str>,
}

impl<'t> Seen<'t> {
    /// Adds a name and returns true if it is new.
    fn insert(&mut self, name: &'t str, known: Option<KnownName>) -> bool {
        let Some(number) = known.and_then(|known| known.number) else {
            return self.others.insert(name);
        };
        let bit = 1 << number;
        let is_new = self.known & bit == 0;
        self.known |= bit;
        is_new
    }
}

struct Rows<'t> {
    text: &'t str,
    /// The end of the text without trailing white space.
    end: usize,
    open: Vec<Open>,
    /// The field names of items: GA4's if the text has any of them.
    items: Names,
    /// True once an item has a field with an older name.
    has_older_names: bool,
    /// The position and length of the last name, cached since it ends one value and starts the next
    /// field.
    last_name: Cell<(usize, usize)>,
}

impl<'t> Rows<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            end: text.trim_end().len(),
            open: Vec::new(),
            items: Names::Any,
            has_older_names: false,
            last_name: Cell::default(),
        }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn from(&self, at: usize) -> &'t str {
        self.text.get(at..self.end).unwrap_or_default()
    }

    /// Returns the position of the first byte from `at` on that isn't white space.
    fn space(&self, at: usize) -> usize {
        let next = self.text.as_bytes().get(at..).unwrap_or_default();
        match next {
            [b'!'..=b'~', ..] => at,
            [b' ', b'!'..=b'~', ..] => at + 1,
            _ => {
                let rest = self.text.get(at..).unwrap_or_default();
                at + rest.len() - rest.trim_start().len()
            }
        }
    }

    /// Returns the position of the first value, if the text starts like a row or a list of rows.
    fn first_value(&self) -> Option<usize> {
        let mut at = 0;
        if self.byte(at) == Some(b'[') {
            at = self.space(1);
            while self.is_null_element(at) {
                at = self.space(at + "null".len());
                if self.byte(at) == Some(b',') {
                    at = self.space(at + 1);
                }
            }
        }
        let is_row = self.byte(at) == Some(b'{');
        let first = is_row.then(|| self.name(self.space(at + 1))).flatten();
        first.map(|(_, value)| value)
    }

    /// Rewrites the whole text, whose outermost rows have these names.
    fn whole<'a>(&mut self, names: Names, arena: &'a Arena) -> Result<&'a str, Fault> {
        let mut out = JsonText::new(arena);
        self.open.clear();
        let at = self.nested(0, names, &mut out)?;
        if at < self.end {
            return Err(Fault::new(at, "text after the end of the rows"));
        }
        Ok(out.finish())
    }

    /// Returns the field name at `at` and the position of its value.
    fn name(&self, at: usize) -> Option<(&'t str, usize)> {
        let (place, mut length) = self.last_name.get();
        if place != at || length == 0 {
            let rest = self.text.as_bytes().get(at..)?;
            let is_part = |byte: &u8| is_word(*byte) || matches!(byte, b'.' | b'-' | 0x80..);
            length = rest
                .iter()
                .take_while(|byte| is_part(byte))
                .take(LONGEST_NAME)
                .count();
            if length == 0 || rest.get(length) != Some(&b'=') {
                return None;
            }
            self.last_name.set((at, length));
        }
        Some((self.text.get(at..at + length)?, at + length + 1))
    }

    /// Returns true if a field with one of `names` starts at `at`.
    fn starts_field(&self, at: usize, names: Names) -> bool {
        self.name(at).is_some_and(|(name, _)| names.has(name))
    }

    /// Returns true if a row with a field with one of `names` starts at `at`.
    fn starts_row(&self, at: usize, names: Names) -> bool {
        self.byte(at) == Some(b'{') && self.starts_field(self.space(at + 1), names)
    }

    /// Returns true if a null element of a list starts at `at`.
    fn is_null_element(&self, at: usize) -> bool {
        let behind = self.from(at).strip_prefix("null");
        behind.is_some_and(|behind| behind.trim_start().starts_with([',', ']']))
    }

    /// Returns `names` if the text has an item field with a name of GA4's own, else [`Names::Any`].
    fn known(&self, names: Names) -> Names {
        let is_of_ga4 = |name: &str| name.starts_with("item_") && names.has(name);
        let is_known = |(at, byte)| {
            let name = || self.name(self.space(at + 1));
            matches!(byte, b',' | b'{') && name().is_some_and(|(name, _)| is_of_ga4(name))
        };
        if self.text.bytes().enumerate().any(is_known) {
            names
        } else {
            Names::Any
        }
    }

    /// Returns true if a text can end at `at`: what follows continues or closes the innermost
    /// `level` open lists and rows.
    fn fits(&self, at: usize, level: usize) -> bool {
        let Some(outer) = level.checked_sub(1) else {
            return at == self.end;
        };
        match (self.open.get(outer), self.byte(at)) {
            (Some(Open::Row(_)), Some(b'}')) | (Some(Open::List(_)), Some(b']')) => {
                self.fits(self.space(at + 1), outer)
            }
            (Some(Open::Row(names)), Some(b',')) => self.starts_field(self.space(at + 1), *names),
            (Some(Open::List(names)), Some(b',')) => {
                let next = self.space(at + 1);
                self.starts_row(next, *names) || self.is_null_element(next)
            }
            _ => false,
        }
    }

    /// Returns true if a value that isn't text ends at `at`.
    fn ends(&self, at: usize) -> bool {
        match self.byte(at) {
            Some(b'}') => true,
            Some(b',') => self.starts_field(self.space(at + 1), Names::Any),
            _ => false,
        }
    }

    /// Writes the list or the row at `at` and returns its end.
    fn nested(&mut self, at: usize, names: Names, out: &mut JsonText<'_>) -> Result<usize, Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Fault::new(at, format!("more than {MAX_DEPTH} levels")));
        }
        let end = if self.byte(at) == Some(b'[') {
            self.open.push(Open::List(names));
            out.begin_list();
            let end = self.list(at + 1, names, out)?;
            out.end_list();
            end
        } else {
            self.open.push(Open::Row(names));
            out.begin_object();
            let end = self.row(at, names, |rows, field| rows.field(field, names, out))?;
            out.end_object();
            end
        };
        self.open.pop();
        Ok(end)
    }

    /// Writes the elements from `at` to the closing bracket and returns the end of the list.
    fn list(&mut self, at: usize, names: Names, out: &mut JsonText<'_>) -> Result<usize, Fault> {
        let mut at = self.space(at);
        if self.byte(at) == Some(b']') {
            return Ok(at + 1);
        }
        loop {
            at = match self.byte(at) {
                _ if self.is_null_element(at) => {
                    out.raw("null");
                    at + "null".len()
                }
                Some(b'{') if names == Names::Parameter => self.parameter(at, out)?,
                Some(b'{') => self.nested(at, names, out)?,
                Some(b'[') if names == Names::Any => self.nested(at, names, out)?,
                _ if names == Names::Any => self.element(at, out)?,
                _ => return Err(Fault::new(at, "expected a row, `{…}`, or null")),
            };
            at = self.space(at);
            match self.byte(at) {
                Some(b',') => at = self.space(at + 1),
                Some(b']') => return Ok(at + 1),
                _ => {
                    return Err(Fault::new(
                        at,
                        "the list does not continue with `,` or end with `]`",
                    ));
                }
            }
        }
    }

    /// Writes a text of a list without rows and returns its end.
    fn element(&self, at: usize, out: &mut JsonText<'_>) -> Result<usize, Fault> {
        let length = self.from(at).find([',', ']']);
        let length = length.ok_or_else(|| Fault::new(self.end, "a list is cut off"))?;
        out.string(
            self.text
                .get(at..at + length)
                .unwrap_or_default()
                .trim_end(),
        );
        Ok(at + length)
    }

    /// Reads the fields of the row at `at` and returns its end. `read` reads the value of a field
    /// and returns its end.
    fn row(
        &mut self,
        at: usize,
        names: Names,
        mut read: impl FnMut(&mut Self, Field<'t>) -> Result<usize, Fault>,
    ) -> Result<usize, Fault> {
        let mut seen = Seen::default();
        let mut at = self.space(at + 1);
        if self.byte(at) == Some(b'}') {
            return Ok(at + 1);
        }
        loop {
            let Some((name, value)) = self.name(at) else {
                return Err(Fault::new(at, NO_FIELD));
            };
            let known = names.known(name);
            if !seen.insert(name, known) {
                let what =
                    format!("`{name}` is repeated in a row: one of them may belong to a text");
                return Err(Fault::new(at, what));
            }
            let field = Field {
                name,
                kind: Kind::of(known),
                at: value,
            };
            let end = read(self, field)?;
            at = self.space(end);
            match self.byte(at) {
                Some(b',') => at = self.space(at + 1),
                Some(b'}') => return Ok(at + 1),
                _ => {
                    return Err(Fault::new(
                        at,
                        "the row does not continue with `,` or end with `}`",
                    ));
                }
            }
        }
    }

    /// Writes a field and returns the end of its value.
    fn field(
        &mut self,
        field: Field<'t>,
        names: Names,
        out: &mut JsonText<'_>,
    ) -> Result<usize, Fault> {
        let Field { name, kind, at } = field;
        self.has_older_names |=
            names == Names::Item && kind == Kind::Unknown && older_item_key(name).is_some();
        let inner = match name {
            "items" if !names.are_items() => Some(self.items),
            "events" | "params" | "ecommerce" if names == Names::Event => Some(Names::Event),
            "event_params" | "item_params"
                if names != Names::Any && self.starts_row(self.space(at + 1), Names::Parameter) =>
            {
                Some(Names::Parameter)
            }
            "event_params" if names == Names::Event => Some(Names::Event),
            _ => (kind != Kind::Text).then_some(Names::Any),
        };
        if let Some(inner) = inner
            && self.is_nested(at)
        {
            out.key(name);
            return self.nested(at, inner, out);
        }
        let end = self.scalar(field, names)?;
        let text = self.text.get(at..end).unwrap_or_default();
        if !is_sentinel(text.trim()) {
            out.text(name, text);
        }
        Ok(end)
    }

    /// Returns true if a list or a row starts at `at`, not a text with a leading bracket.
    fn is_nested(&self, at: usize) -> bool {
        let is_row = |at| self.starts_row(at, Names::Any);
        if self.byte(at) != Some(b'[') {
            return is_row(at);
        }
        let first = self.space(at + 1);
        let is_empty = || self.byte(first) == Some(b']') && self.ends(self.space(first + 1));
        is_row(first) || is_empty() || self.is_null_element(first)
    }

    /// Returns the end of a field's value that isn't a list or a row.
    fn scalar(&self, field: Field<'_>, names: Names) -> Result<usize, Fault> {
        let Field { name, kind, at } = field;
        let rest = self.from(at);
        let nothing = match rest.as_bytes() {
            [b'(', ..] if rest.starts_with("(not set)") => Some("(not set)"),
            [b'n', ..] if rest.starts_with("null") => Some("null"),
            [b',' | b'}', ..] => Some(""),
            _ => None,
        };
        if let Some(end) = nothing.map(|nothing| at + nothing.len()) {
            let is_end = match self.byte(end) {
                Some(b'}') if kind == Kind::Text => self.fits(end, self.open.len()),
                _ => self.ends(end),
            };
            if is_end {
                return Ok(end);
            }
            if end > at && self.byte(end) == Some(b',') {
                return Err(Fault::new(end + 1, NO_FIELD));
            }
        }
        if kind == Kind::Unknown {
            let is_part =
                |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
            let is_number = rest.starts_with(|c: char| c == '-' || c.is_ascii_digit());
            let length = rest.bytes().take_while(is_part).count();
            if is_number && self.ends(at + length) {
                return Ok(at + length);
            }
        }
        let mut end = at;
        let is_mark = |byte: &u8| matches!(byte, b',' | b'{' | b'}');
        while let Some(found) = self.from(end).as_bytes().iter().position(is_mark) {
            end += found;
            if names != Names::Any && self.starts_row(end, names) {
                return Err(Fault::new(
                    end,
                    format!("a row starts within the value of `{name}`"),
                ));
            }
            let is_end = match kind {
                Kind::Code => self.ends(end),
                _ => self.fits(end, self.open.len()),
            };
            if !is_end {
                let is_comma = self.byte(end) == Some(b',');
                end += 1;
                // In a number, digits may follow a comma.
                if kind == Kind::Code
                    && is_comma
                    && !self.byte(end).is_some_and(|b| b.is_ascii_digit())
                {
                    return Err(Fault::new(end, NO_FIELD));
                }
            } else if kind == Kind::Text && self.byte(end) == Some(b',') {
                return Ok(end);
            } else {
                return self.paired(at, end).map(|()| end);
            }
        }
        Err(Fault::new(
            self.end,
            format!("the value of `{name}` is cut off"),
        ))
    }

    /// Checks that brackets from `at` to `end` are pairs.
    fn paired(&self, at: usize, end: usize) -> Result<(), Fault> {
        let mut open = Vec::new();
        let text = self.text.as_bytes().get(at..end).unwrap_or_default();
        for (offset, byte) in (at..).zip(text) {
            let opening = match byte {
                b'[' | b'{' => {
                    open.push((byte, offset));
                    continue;
                }
                b']' => b'[',
                b'}' => b'{',
                _ => continue,
            };
            if open.pop().is_none_or(|(byte, _)| *byte != opening) {
                return Err(Fault::new(offset, "a closing bracket has no opening one"));
            }
        }
        open.pop().map_or(Ok(()), |(_, offset)| {
            Err(Fault::new(offset, "an opening bracket has no closing one"))
        })
    }

    /// Writes the parameter at `at`, with the value that is set, if any, and its unknown fields.
    /// Returns its end.
    fn parameter(&mut self, at: usize, out: &mut JsonText<'_>) -> Result<usize, Fault> {
        let mut param = Param::default();
        self.open.push(Open::Row(Names::Parameter));
        let end = self.row(at, Names::Parameter, |rows, field| {
            if field.name != "value" || !rows.is_nested(field.at) {
                return param.set(rows, field, Names::Parameter);
            }
            rows.open.push(Open::Row(Names::TypedValue));
            let end = rows.row(field.at, Names::TypedValue, |rows, field| {
                param.set(rows, field, Names::TypedValue)
            })?;
            rows.open.pop();
            Ok(end)
        })?;
        self.open.pop();
        let Some(key) = param.key else {
            return Err(Fault::new(at, "a parameter has no `key`"));
        };
        if param.value.is_none() && param.others.is_empty() {
            return Ok(end);
        }
        out.begin_object();
        out.text("key", key);
        if let Some((rank, text)) = param.value {
            out.key("value");
            if rank == 0 {
                out.string(text);
            } else {
                out.number(text);
            }
        }
        for (name, text) in param.others {
            out.text(name, text);
        }
        out.end_object();
        Ok(end)
    }
}

/// A parameter that is being read.
#[derive(Default)]
struct Param<'t> {
    key: Option<&'t str>,
    /// The winning value, with its [rank](bigquery::rank). A value without a type ranks as a text.
    value: Option<(usize, &'t str)>,
    others: Vec<(&'t str, &'t str)>,
}

impl<'t> Param<'t> {
    /// Sets a field of the parameter or of its `value` and returns the field's end.
    fn set(&mut self, rows: &Rows<'t>, field: Field<'t>, names: Names) -> Result<usize, Fault> {
        let end = rows.scalar(field, names)?;
        let text = rows.text.get(field.at..end).unwrap_or_default();
        if field.name == "key" {
            self.key = Some(text);
            return Ok(end);
        }
        if is_sentinel(text.trim()) {
            return Ok(end);
        }
        let rank = match field.name {
            "value" => Some(0),
            name => bigquery::rank(name),
        };
        match rank {
            None => self.others.push((field.name, text)),
            Some(rank) if self.value.is_none_or(|(other, _)| rank < other) => {
                self.value = Some((rank, text));
            }
            Some(_) => {}
        }
        Ok(end)
    }
}
