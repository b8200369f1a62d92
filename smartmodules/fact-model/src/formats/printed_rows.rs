//! Rows as Java prints them: `[{item_id=sku123, item_name=T-Shirt, price=19.99}, {item_id=sku456}]`.
//!
//! Java prints its maps this way, and so do the engines that are written in it (Athena, Presto, Trino,
//! Hive, Spark) with an array of rows. Nothing is quoted and nothing is escaped:
//!
//! ```text
//! list   := "[" "]" | "[" element ("," element)* "]"
//! row    := "{" "}" | "{" name "=" value ("," name "=" value)* "}"
//! value  := "null" | "(not set)" | nothing | number | text | list | row
//! ```
//!
//! White space may follow a comma. A text may hold commas, equals signs and brackets, so these rules
//! decide where it ends:
//!
//! - A text ends before a comma and a **known field name** with `=`: the columns of an item in GA4's
//!   BigQuery export (<https://support.google.com/analytics/answer/7029846>) and the keys of an event.
//!   So `Sartén, diámetro=24 cm, antiadherente` is one name.
//! - A text ends before a closing bracket only where all that follows fits: the next row, or the closing
//!   brackets of all that is open and then the end. Brackets within such a text must be pairs, as in
//!   all that is no free text.
//! - No text can go on in an id, behind a number in a field that is no text, behind `null`, `(not set)`
//!   and nothing, and behind a list or a row. There, an unknown name with `=` is a field, too.
//!   So in these nothing else may follow a comma, but digits in a number.
//! - In items without any of GA4's own names (`item_…`), and in rows that are neither items nor events, every
//!   name with `=` is a field. Where an item has GA4's names and older ones (`id`, `name`), both end a text.
//! - A field that comes twice in a row shows that a text holds a known name, and `{` with a known name
//!   within a text that a bracket is missing. Neither can be mended, so the rows are refused.
//!
//! A text that was cut off, or has a bracket too many or too few, is a fault at the byte that shows it.
//! Each byte is looked at a bounded number of times, at most once for each open bracket and these are
//! at most [`MAX_DEPTH`].
//!
//! Parameters (`item_params=[{key=in_stock, value={string_value=null, int_value=1, …}}]`) come out with
//! the one value that is set, as in [`bigquery`]. Fields that are nothing are left out.

use std::cell::Cell;
use std::collections::BTreeSet;

use crate::arena::Arena;
use crate::formats::bigquery;
use crate::formats::json_text::JsonText;
use crate::formats::{Fault, MAX_DEPTH, is_word};
use crate::item::{self, KnownName};
use crate::keys;
use crate::value::is_sentinel;

const NO_FIELD: &str = "expected a field name with `=`";
/// The longest field name. Firebase's own limit is 40 characters.
const LONGEST_NAME: usize = 100;

/// Tells whether a text begins as a row or a list of rows, and not as a dictionary of iOS, whose entries end with
/// semicolons.
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

/// Tells whether a text begins as a row or a list of rows.
pub(crate) fn may_be_rows(text: &str) -> bool {
    Rows::new(text).first_value().is_some()
}

/// Returns the JSON of the row or the list of rows that `text` is. `names` are those of its outermost rows, unless
/// these are parameters.
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
    // A row has both vocabularies, so that the names of either end a text.
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
    /// The columns of an item, and the names that older tags give them.
    AnyItem,
    /// `key`, `value` and the typed values, of a parameter.
    Parameter,
    /// The typed values, of the row `value` of a parameter.
    TypedValue,
    /// No name is known, so every name counts.
    Any,
}

impl Names {
    /// Looks up a known field name.
    fn known(self, name: &str) -> Option<KnownName> {
        let number = match self {
            Self::Event => return keys::known_name(name),
            Self::Item => return item::known_name(name),
            Self::AnyItem => return item::known_name(name).or_else(|| item::older_name(name)),
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

    /// Tells whether a text ends before a field of this name.
    fn has(self, name: &str) -> bool {
        self == Self::Any || self.known(name).is_some()
    }

    /// Tells whether the rows are items.
    fn are_items(self) -> bool {
        matches!(self, Self::Item | Self::AnyItem)
    }
}

/// The kind of value that a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Free text. Only a known name ends it.
    Text,
    /// An id, a number, a list: nothing that could go on with a comma and a name.
    Code,
    /// Anything, of an unknown field.
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

/// A list or a row that is not closed yet, with the field names of its rows.
#[derive(Debug, Clone, Copy)]
enum Open {
    List(Names),
    Row(Names),
}

/// A field whose value begins at `at`.
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
    /// Adds a name, and tells whether it is new.
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
    /// The end of the text without white space.
    end: usize,
    open: Vec<Open>,
    /// The names of the fields of items: those of GA4 where the text has any of them.
    items: Names,
    /// True once an item has a field by its older name.
    has_older_names: bool,
    /// The place and the length of the name that was found last. It ends one value, and begins the next field.
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

    /// The first byte from `at` on that is no white space.
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

    /// The place of the first value, if the text begins as a row or a list of rows.
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

    /// The JSON of the whole text, whose outermost rows have these names.
    fn whole<'a>(&mut self, names: Names, arena: &'a Arena) -> Result<&'a str, Fault> {
        let mut out = JsonText::new(arena);
        self.open.clear();
        let at = self.nested(0, names, &mut out)?;
        if at < self.end {
            return Err(Fault::new(at, "text after the end of the rows"));
        }
        Ok(out.finish())
    }

    /// The field name at `at`, and where its value begins.
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

    /// Tells whether a field of one of `names` begins at `at`.
    fn starts_field(&self, at: usize, names: Names) -> bool {
        self.name(at).is_some_and(|(name, _)| names.has(name))
    }

    /// Tells whether a row with a field of one of `names` begins at `at`.
    fn starts_row(&self, at: usize, names: Names) -> bool {
        self.byte(at) == Some(b'{') && self.starts_field(self.space(at + 1), names)
    }

    /// Tells whether a null begins at `at` that is an element of a list.
    fn is_null_element(&self, at: usize) -> bool {
        let behind = self.from(at).strip_prefix("null");
        behind.is_some_and(|behind| behind.trim_start().starts_with([',', ']']))
    }

    /// `names` where the text has a field of an item that only GA4 calls so, or else any.
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

    /// Tells whether a text can end at `at`: what stands there goes on with the innermost `level` open lists and
    /// rows, or closes them.
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

    /// Tells whether a value that no text can go on behind ends at `at`.
    fn ends(&self, at: usize) -> bool {
        match self.byte(at) {
            Some(b'}') => true,
            Some(b',') => self.starts_field(self.space(at + 1), Names::Any),
            _ => false,
        }
    }

    /// Writes the list or the row at `at`, and returns where it ends.
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

    /// Writes the elements from `at` on up to the bracket behind them.
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
                        "the list does not go on with `,` or end with `]`",
                    ));
                }
            }
        }
    }

    /// Writes a text in a list without rows.
    fn element(&self, at: usize, out: &mut JsonText<'_>) -> Result<usize, Fault> {
        let length = self.from(at).find([',', ']']);
        let length = length.ok_or_else(|| Fault::new(self.end, "a list does not end"))?;
        out.string(
            self.text
                .get(at..at + length)
                .unwrap_or_default()
                .trim_end(),
        );
        Ok(at + length)
    }

    /// Reads the fields of the row that opens at `at`, and returns where it ends. `read` reads the value of
    /// one and returns where that ends.
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
                    format!("`{name}` comes twice in a row: one of them may belong to a text");
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
                        "the row does not go on with `,` or end with `}`",
                    ));
                }
            }
        }
    }

    /// Writes a field, and returns where its value ends.
    fn field(
        &mut self,
        field: Field<'t>,
        names: Names,
        out: &mut JsonText<'_>,
    ) -> Result<usize, Fault> {
        let Field { name, kind, at } = field;
        self.has_older_names |=
            names == Names::Item && kind == Kind::Unknown && item::older_name(name).is_some();
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

    /// Tells whether a list or a row begins at `at`, and no text with a bracket in front.
    fn is_nested(&self, at: usize) -> bool {
        let is_row = |at| self.starts_row(at, Names::Any);
        if self.byte(at) != Some(b'[') {
            return is_row(at);
        }
        let first = self.space(at + 1);
        let is_empty = || self.byte(first) == Some(b']') && self.ends(self.space(first + 1));
        is_row(first) || is_empty() || self.is_null_element(first)
    }

    /// Finds where the value of a field ends that is no list and no row.
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
                    format!("a row begins within the value of `{name}`"),
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
            format!("the value of `{name}` does not end"),
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
                return Err(Fault::new(offset, "a bracket closes that was not opened"));
            }
        }
        open.pop().map_or(Ok(()), |(_, offset)| {
            Err(Fault::new(offset, "a bracket opens that is not closed"))
        })
    }

    /// Writes the parameter at `at` with the one value that is set, if any is, and with its unknown fields.
    /// Returns where it ends.
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
    /// The value that counts, with its [rank](bigquery::rank); a value without a type counts as a text.
    value: Option<(usize, &'t str)>,
    others: Vec<(&'t str, &'t str)>,
}

impl<'t> Param<'t> {
    /// Takes a field of the parameter or of its `value`, and returns where it ends.
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
