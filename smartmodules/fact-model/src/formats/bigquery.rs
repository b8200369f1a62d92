//! Rows of GA4's export to BigQuery: parameters as a list of keys and typed values, integers as strings, a
//! column for everything, most of them null.
//!
//! <https://support.google.com/analytics/answer/7029846>. A column that is null says nothing, and exports leave it
//! out or write it, so it is dropped.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use crate::arena::Arena;
use crate::formats::Rewritten;
use crate::formats::json_text::JsonText;
use crate::formats::shape::{Entries, entries, get};
use crate::json::{each_entry, unescape};
use crate::raw::Raw;
use crate::scan::{GiveUp, Scanner};
use crate::value::is_null;

/// Columns of `ecommerce` by the names of the parameters that they come from.
const ECOMMERCE: [(&str, &str); 4] = [
    ("transaction_id", "transaction_id"),
    ("purchase_revenue", "value"),
    ("tax_value", "tax"),
    ("shipping_value", "shipping"),
];

/// Rewrites a row; `None` where `event_params` is no list of keys and values.
pub(crate) fn read<'a>(row: &Entries<'a>, arena: &'a Arena) -> Option<Rewritten<'a>> {
    let params = params(
        get(row, "event_params").filter(|list| !list.is_object())?,
        arena,
    )?;
    let lifts = ECOMMERCE.map(|(column, param)| {
        let is_said = params.entries.iter().any(|(key, _)| *key == param);
        (column, (!is_said).then_some(param))
    });
    let mut out = JsonText::new(arena);
    out.begin_object();
    for (key, value) in row {
        match *key {
            "event_params" => {}
            _ if is_json_null(value) => {}
            "items" => {
                out.key(key);
                items(*value, arena, &mut out);
            }
            "ecommerce" if value.is_object() => {}
            _ => out.entry(key, value.get()),
        }
    }
    let ecommerce = get(row, "ecommerce").filter(|value| value.is_object());
    let columns = ecommerce.map_or_else(Vec::new, |value| entries(value.get(), arena));
    let mut lifted = Vec::new();
    let mut rest = Vec::new();
    for (column, value) in columns
        .into_iter()
        .filter(|(_, value)| !is_json_null(value))
    {
        match lifts.iter().find(|(name, _)| *name == column) {
            Some((_, Some(param))) => lifted.push((*param, value)),
            _ => rest.push((column, value)),
        }
    }
    if !rest.is_empty() {
        out.key("ecommerce");
        object(&rest, &mut out);
    }
    out.key("event_params");
    out.begin_object();
    for (key, value) in lifted {
        out.entry(key, value.get());
    }
    write_params(params, &mut out);
    out.end_object();
    out.end_object();
    Some(Rewritten::whole(out.finish()))
}

/// Parameters, each with the one of its typed values that is set.
pub(crate) struct Params<'a> {
    pub(crate) entries: Vec<(&'a str, Raw<'a>)>,
    /// True where the list says more than keys and typed values.
    pub(crate) has_more: bool,
}

/// Reads a list of parameters, or an object with one for each of its keys. `None` where `list` is neither.
pub(crate) fn params<'a>(list: Raw<'a>, arena: &'a Arena) -> Option<Params<'a>> {
    let mut entries = Vec::new();
    if list.is_object() {
        each_entry(list.get(), arena, |key, value| entries.push((key, value))).ok()?;
        return Some(Params {
            entries,
            has_more: false,
        });
    }
    let mut has_more = false;
    let mut scanner = Scanner::new(list.get());
    let read = scanner.array(|scanner| {
        if scanner.null() {
            return Ok(());
        }
        let mut param = Param::default();
        scanner.object(arena, |scanner, key| {
            let value = scanner.value()?;
            match key {
                "key" => param.key = unescape(value.get(), arena),
                // Some pipelines leave the struct `value` out, or have the bare value there.
                "value" if value.is_object() => {
                    Scanner::new(value.get()).object(arena, |scanner, key| {
                        let value = scanner.value()?;
                        has_more |= !param.set(rank(key), value);
                        Ok(())
                    })?;
                }
                "value" => drop(param.set(Some(0), value)),
                _ => has_more |= !param.set(rank(key), value),
            }
            Ok(())
        })?;
        let key = param.key.ok_or(GiveUp)?;
        if let Some((_, value)) = param.value {
            entries.push((key, value));
        }
        Ok(())
    });
    read.and_then(|()| scanner.end()).ok()?;
    Some(Params { entries, has_more })
}

/// Returns the parameters as a JSON object.
pub(crate) fn object_of<'a>(params: Params<'_>, arena: &'a Arena) -> &'a str {
    let mut out = JsonText::new(arena);
    out.begin_object();
    write_params(params, &mut out);
    out.end_object();
    out.finish()
}

/// Writes each parameter as a key with its value. Of one that comes twice the first counts.
fn write_params(params: Params<'_>, out: &mut JsonText<'_>) {
    let mut known = BTreeSet::new();
    for (key, value) in params.entries {
        if known.insert(key) {
            out.entry(key, value.get());
        }
    }
}

/// Returns the rank of a typed value by its name: of those that are set, the one with the lowest counts.
pub(crate) fn rank(name: &str) -> Option<usize> {
    const TYPED_VALUES: [&str; 4] = ["string_value", "int_value", "float_value", "double_value"];
    TYPED_VALUES.iter().position(|typed| *typed == name)
}

/// A parameter that is being read.
#[derive(Default)]
struct Param<'a> {
    key: Option<&'a str>,
    /// The value that counts, with its rank.
    value: Option<(usize, Raw<'a>)>,
}

impl<'a> Param<'a> {
    /// Takes a value, and tells whether its name has a rank or it is nothing. A number in a string is a number,
    /// since exports write integers so.
    fn set(&mut self, rank: Option<usize>, value: Raw<'a>) -> bool {
        if is_null(value) {
            return true;
        }
        let Some(rank) = rank else { return false };
        if self.value.is_none_or(|(other, _)| rank < other) {
            let bare = value.get().trim_matches('"');
            let is_number = rank > 0
                && bare.starts_with(|c: char| c == '-' || c.is_ascii_digit())
                && serde_json::from_str::<&RawValue>(bare).is_ok();
            let value = if is_number {
                Raw::read(bare, false)
            } else {
                value
            };
            self.value = Some((rank, value));
        }
        true
    }
}

/// Writes the items without the columns that are null.
fn items<'a>(list: Raw<'a>, arena: &'a Arena, out: &mut JsonText<'_>) {
    match list.elements() {
        Some(elements) if elements.iter().all(|element| element.is_object()) => {
            out.begin_list();
            for element in elements {
                let mut columns = entries(element.get(), arena);
                columns.retain(|(_, value)| !is_json_null(value));
                object(&columns, out);
            }
            out.end_list();
        }
        _ => out.raw(list.get()),
    }
}

fn object(entries: &[(&str, Raw<'_>)], out: &mut JsonText<'_>) {
    out.begin_object();
    for (key, value) in entries {
        out.entry(key, value.get());
    }
    out.end_object();
}

fn is_json_null(value: &Raw<'_>) -> bool {
    value.get() == "null"
}
