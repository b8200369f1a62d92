//! Rows of GA4's export to BigQuery: parameters as a list of keys and typed values, integers as strings, a
//! column for everything, most of them null.
//!
//! <https://support.google.com/analytics/answer/7029846>. A column that is null says nothing, and exports leave it
//! out or write it, so it is dropped.

use serde_json::value::RawValue;

use crate::arena::Arena;
use crate::formats::Rewritten;
use crate::formats::json_text::JsonText;
use crate::formats::shape::{Entries, entries, get};
use crate::raw::Raw;

/// Columns of `ecommerce` by the names of the parameters that they come from.
const ECOMMERCE: [(&str, &str); 4] = [
    ("transaction_id", "transaction_id"),
    ("purchase_revenue", "value"),
    ("tax_value", "tax"),
    ("shipping_value", "shipping"),
];

/// Rewrites a row; `None` where `event_params` is no list of keys and values.
pub(crate) fn read<'a>(row: &Entries<'a>, arena: &'a Arena) -> Option<Rewritten<'a>> {
    let params = params(get(row, "event_params")?, arena)?;
    let lifts = ECOMMERCE.map(|(column, param)| {
        let is_said = params.iter().any(|(key, _)| *key == param);
        (column, (!is_said).then_some(param))
    });
    let mut out = JsonText::new(arena);
    out.begin_object();
    for (key, value) in row {
        match *key {
            "event_params" => {}
            _ if is_null(value) => {}
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
    for (column, value) in columns.into_iter().filter(|(_, value)| !is_null(value)) {
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
    for (key, value) in params {
        out.entry(key, value);
    }
    out.end_object();
    out.end_object();
    Some(Rewritten::whole(out.finish()))
}

/// The parameters, each with the one of its typed values that is set.
fn params<'a>(list: Raw<'a>, arena: &'a Arena) -> Option<Vec<(&'a str, &'a str)>> {
    let mut params = Vec::new();
    for element in list.elements()? {
        let entries = entries(element.get(), arena);
        let key = get(&entries, "key")?;
        let key = serde_json::from_str::<String>(key.get()).ok()?;
        // Some pipelines leave the struct `value` out, or have the bare value there.
        let value = match get(&entries, "value") {
            Some(value) if value.is_object() => typed(&self::entries(value.get(), arena)),
            Some(value) => Some(value.get()),
            None => typed(&entries),
        };
        if let Some(value) = value {
            params.push((arena.text(&key), value));
        }
    }
    Some(params)
}

/// The value that is set; a number in a string is a number.
fn typed<'a>(values: &Entries<'a>) -> Option<&'a str> {
    let set = |name| {
        get(values, name)
            .filter(|value| !is_null(value))
            .map(Raw::get)
    };
    if let Some(text) = set("string_value") {
        return Some(text);
    }
    let number = ["int_value", "float_value", "double_value"]
        .into_iter()
        .find_map(set)?;
    let bare = number.trim_matches('"');
    let is_number = bare.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && serde_json::from_str::<&RawValue>(bare).is_ok();
    Some(if is_number { bare } else { number })
}

/// Writes the items without the columns that are null.
fn items<'a>(list: Raw<'a>, arena: &'a Arena, out: &mut JsonText<'_>) {
    match list.elements() {
        Some(elements) if elements.iter().all(|element| element.is_object()) => {
            out.begin_list();
            for element in elements {
                let mut columns = entries(element.get(), arena);
                columns.retain(|(_, value)| !is_null(value));
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

fn is_null(value: &Raw<'_>) -> bool {
    value.get() == "null"
}
