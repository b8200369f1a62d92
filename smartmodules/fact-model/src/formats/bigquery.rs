//! Rows of GA4's BigQuery export: parameters as a list of keys and typed values, integers as
//! strings, and many columns, most of them null.
//!
//! <https://support.google.com/analytics/answer/7029846>. Null columns are dropped, since some
//! exports omit them.

use std::collections::BTreeSet;

use crate::formats::Rewritten;
use crate::formats::container::listed;
use crate::json::{Entries, each_entry, entries, get, is_json, unescape};
use crate::raw::Raw;
use crate::scan::{GiveUp, Scanner};
use crate::text::Arena;
use crate::value::is_null;
use crate::write::JsonText;

/// Returns the parameter that a column of `ecommerce` comes from. A refund has its value in
/// `refund_value`, any other event in `purchase_revenue`.
pub(crate) fn param_of(column: &str, is_refund: bool) -> Option<&'static str> {
    Some(match column {
        "transaction_id" => "transaction_id",
        "refund_value" if is_refund => "value",
        "purchase_revenue" if !is_refund => "value",
        "tax_value" => "tax",
        "shipping_value" => "shipping",
        _ => return None,
    })
}

/// Rewrites a row; `None` if `event_params` isn't a list of keys and values.
pub(crate) fn read<'a>(row: &Entries<'a>, arena: &'a Arena) -> Option<Rewritten<'a>> {
    let list = get(row, "event_params").filter(|list| !list.is_object())?;
    let params = params(list, arena)?;
    let names: BTreeSet<&str> = params.entries.iter().map(|(key, _)| *key).collect();
    let is_refund = get(row, "event_name").is_some_and(|name| name.get() == "\"refund\"");
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
        match param_of(column, is_refund).filter(|param| !names.contains(param)) {
            Some(param) => lifted.push((param, value)),
            None => rest.push((column, value)),
        }
    }
    if !rest.is_empty() {
        out.key("ecommerce");
        out.object(rest);
    }
    out.key("event_params");
    out.begin_object();
    for (key, value) in lifted {
        out.entry(key, value.get());
    }
    write_params(params, ("event_params", list), &mut out);
    out.end_object();
    out.end_object();
    Some(Rewritten::whole(out.finish()))
}

/// Parameters, each with the typed value that is set.
pub(crate) struct Params<'a> {
    pub(crate) entries: Vec<(&'a str, Raw<'a>)>,
    /// True if the list holds more than keys and typed values.
    pub(crate) has_more: bool,
}

/// Reads a list of parameters, or an object with a key for each. `None` for any other value.
pub(crate) fn params<'a>(list: Raw<'a>, arena: &'a Arena) -> Option<Params<'a>> {
    let list = listed(list, arena);
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
                // Some pipelines omit the struct `value`, or put the plain value there.
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
        has_more |= param.has_more;
        if let Some((_, value)) = param.value {
            entries.push((key, value));
        }
        Ok(())
    });
    read.and_then(|()| scanner.end()).ok()?;
    Some(Params { entries, has_more })
}

/// Returns the parameters of a list as a JSON object; see [`write_params`].
pub(crate) fn object_of<'a>(
    params: Params<'_>,
    list: (&str, Raw<'_>),
    arena: &'a Arena,
) -> &'a str {
    let mut out = JsonText::new(arena);
    out.begin_object();
    write_params(params, list, &mut out);
    out.end_object();
    out.finish()
}

/// Writes each parameter as a key with its value. The first value of a repeated parameter wins. The
/// list is kept under its own key if it holds more.
fn write_params(params: Params<'_>, list: (&str, Raw<'_>), out: &mut JsonText<'_>) {
    if params.has_more {
        out.entry(list.0, list.1.get());
    }
    let mut known = BTreeSet::new();
    for (key, value) in params.entries {
        if known.insert(key) {
            out.entry(key, value.get());
        }
    }
}

/// Returns the rank of a typed value's name: of several that are set, the lowest rank wins.
pub(crate) fn rank(name: &str) -> Option<usize> {
    const TYPED_VALUES: [&str; 4] = ["string_value", "int_value", "float_value", "double_value"];
    TYPED_VALUES.iter().position(|typed| *typed == name)
}

/// A parameter that is being read.
#[derive(Default)]
struct Param<'a> {
    key: Option<&'a str>,
    /// The winning value, with its rank.
    value: Option<(usize, Raw<'a>)>,
    /// True if other values are set too.
    has_more: bool,
}

impl<'a> Param<'a> {
    /// Sets the value if its rank wins. Returns false if the value isn't null but its name has no
    /// rank. A number in a string becomes a number, since exports write integers that way.
    fn set(&mut self, rank: Option<usize>, value: Raw<'a>) -> bool {
        if is_null(value) {
            return true;
        }
        let Some(rank) = rank else { return false };
        self.has_more |= self.value.is_some();
        if self.value.is_none_or(|(other, _)| rank < other) {
            let bare = value.get().trim_matches('"');
            let is_number = rank > 0
                && bare.starts_with(|c: char| c == '-' || c.is_ascii_digit())
                && is_json(bare);
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

/// Writes the items without null columns.
fn items<'a>(list: Raw<'a>, arena: &'a Arena, out: &mut JsonText<'_>) {
    match list.elements() {
        Some(elements) if elements.iter().all(|element| element.is_object()) => {
            out.begin_list();
            for element in elements {
                let mut columns = entries(element.get(), arena);
                columns.retain(|(_, value)| !is_json_null(value));
                out.object(columns);
            }
            out.end_list();
        }
        _ => out.raw(list.get()),
    }
}

fn is_json_null(value: &Raw<'_>) -> bool {
    value.get() == "null"
}
