//! Events of other vendors: Segment and RudderStack, Snowplow, Meta, Shopify, gtag.js' arguments.
//! Each is rewritten with GA4's names by a table of paths; all other values go to `extra` under
//! their own names.
//!
//! A vendor's event name becomes GA4's, and its own is kept in `extra` as `vendor_event`. An event
//! about products without any is rejected: its products are where we don't read them.

mod aws;
pub(crate) mod gtag;
mod meta;
mod segment;
mod shopify;
mod snowplow;

use crate::formats::container::opened;
use crate::formats::{Body, Rewritten, Shape};
use crate::json::{Entries, entries, get, size, trim, unescape};
use crate::limits::Budget;
use crate::names::item_key;
use crate::path::StepKind;
use crate::raw::Raw;
use crate::rejection::{Reason, Refusal};
use crate::text::Arena;
use crate::value::is_null;
use crate::write::{JsonText, object_of};

/// Returns true if a key of a plain event hints at a wrapper of AWS or at another vendor.
pub(crate) fn hints(key: &str, value: Raw<'_>) -> bool {
    let json = value.get();
    match key {
        "properties" | "custom_data" => json.starts_with('{'),
        "Records" | "batch" => json.starts_with('['),
        "data" => value.is_nested(),
        "schema" => json.starts_with("\"iglu:"),
        "type" => segment::is_call(json),
        "eventSource" | "EventSource" => json.starts_with("\"aws:"),
        "Service" => json == "\"Amazon S3\"",
        "0" => gtag::is_name_of_command(json),
        "specversion" | "collector_tstamp" | "tv" | "ue_pr" | "ue_px" => true,
        _ => key.starts_with("unstruct_event_") || OTHERS.iter().any(|(other, _)| *other == key),
    }
}

/// Keys that only the events of vendors have that aren't read.
const OTHERS: [(&str, &str); 5] = [
    ("productListItems", "Adobe's Experience Platform"),
    ("product_action", "mParticle"),
    ("event_properties", "Amplitude or Braze"),
    (
        "line_items",
        "a shop's webhook, such as Shopify's or WooCommerce's",
    ),
    ("lineItems", "a shop's webhook or API"),
];

/// Returns the shape of a wrapper of AWS or of another vendor's event; `None` for other objects.
pub(crate) fn read<'a>(
    object: &Entries<'a>,
    is_named: bool,
    arena: &'a Arena,
    budget: &mut Budget<'_>,
) -> Result<Option<Shape<'a>>, Refusal> {
    if let Some(shape) = aws::read(object, is_named, arena)? {
        return Ok(Some(shape));
    }
    if let Some(shape) = snowplow::read(object, arena, budget)? {
        return Ok(Some(shape));
    }
    for list in ["batch", "data"] {
        if !is_named && let Some(bodies) = batch(object, list, arena, budget)? {
            return Ok(Some(Shape::Bodies("a batch", bodies)));
        }
    }
    let event = match gtag::of_object(object, arena)? {
        Some(event) => Some(event),
        None => match meta::read(object, arena)? {
            Some(event) => Some(event),
            None => match shopify::read(object, arena)? {
                Some(event) => Some(event),
                None => segment::read(object, arena)?,
            },
        },
    };
    if let Some(event) = event {
        return Ok(Some(Shape::Events(vec![event])));
    }
    refuse_others(object, arena)?;
    Ok(None)
}

/// Returns the sentence for a text in a format that is known and can't be read.
pub(crate) fn known_text(text: &str) -> Option<&'static str> {
    snowplow::is_tsv(text).then_some(
        "this is a Snowplow event as tab-separated values, which is not read; send it as JSON \
         (`spEnrichedToJson` of Snowbridge)",
    )
}

/// Refuses an event whose products are in a vendor's format that isn't read.
fn refuse_others(object: &Entries<'_>, arena: &Arena) -> Result<(), Refusal> {
    if get(object, "items").is_some_and(|items| !is_null(items)) {
        return Ok(());
    }
    let is_list = |value: Raw<'_>| value.get().starts_with("[{");
    for (key, vendor) in OTHERS {
        let Some(value) = get(object, key) else {
            continue;
        };
        let has_products = match key {
            "event_properties" => products(value, arena).is_some(),
            "product_action" => value.is_object(),
            _ => is_list(value),
        };
        if has_products {
            return Err(not_read(vendor, key));
        }
    }
    if let Some(properties) = get(object, "properties")
        && let Some(key) = products(properties, arena)
    {
        let place = format!("properties.{key}");
        return Err(not_read("TikTok, Klaviyo or Mixpanel", &place));
    }
    Ok(())
}

fn not_read(vendor: &str, key: &str) -> Refusal {
    let detail = format!(
        "the event looks like one of {vendor}, and products in `{key}` are not read; send them as \
         GA4's `items`"
    );
    Refusal::at(Reason::BadItems, detail, format!(".{key}"))
}

/// Returns the key of a list of products.
fn products<'a>(properties: Raw<'a>, arena: &'a Arena) -> Option<&'a str> {
    let keys = ["contents", "Items", "line_items", "lineItems", "products"];
    let found = entries(properties.get(), arena).into_iter();
    let mut lists = found.filter(|(key, value)| keys.contains(key) && value.get().starts_with('['));
    Some(lists.next()?.0)
}

/// Returns the messages of a batch: objects in the list `key`, each with the batch's other values,
/// as Segment's HTTP API and Meta's Conversions API send them. `None` for another list.
fn batch<'a>(
    object: &Entries<'a>,
    key: &str,
    arena: &'a Arena,
    budget: &mut Budget<'_>,
) -> Result<Option<Vec<Body<'a>>>, Refusal> {
    let Some(messages) = get(object, key).and_then(Raw::elements).filter(|messages| {
        !messages.is_empty() && messages.iter().all(|message| message.is_object())
    }) else {
        return Ok(None);
    };
    // `access_token` is Meta's password in the body.
    let common = object
        .iter()
        .filter(|(name, _)| *name != key && *name != "access_token");
    let common: Entries<'a> = common.copied().collect();
    let size = size(common.iter().copied());
    let mut bodies = Vec::with_capacity(messages.len());
    for (index, message) in messages.into_iter().enumerate() {
        budget.spend(size)?;
        let own = entries(message.get(), arena);
        // A message's own value of a key wins.
        let whole = object_of(common.iter().copied().chain(own), arena);
        bodies.push(Body {
            text: whole.get(),
            raw: message.get(),
            at: format!(".{key}[{index}]"),
        });
    }
    Ok(Some(bodies))
}

/// Paths of values, with dots between keys, and GA4's names for them. Of several paths with the
/// same name, the first that has a value wins; the others stay where they are.
type Table = [(&'static str, &'static str)];

/// GA4's name for the list of a path in a [`Table`]; all other names are for single values.
const ITEMS: &str = "items";
const NAME: &str = "event_name";
const TIME: &str = "event_time";

/// A vendor's format.
struct Vendor {
    name: &'static str,
    /// The vendor's names of events, in lower case, and GA4's.
    names: &'static Table,
    event: &'static Table,
    item: &'static Table,
    /// The object with the event's parameters: other values in it keep their names.
    params: &'static str,
}

/// GA4's events that are about products.
const ABOUT_PRODUCTS: [&str; 7] = [
    "view_item_list",
    "select_item",
    "view_item",
    "add_to_cart",
    "remove_from_cart",
    "add_to_wishlist",
    "purchase",
];

impl Vendor {
    /// Returns GA4's name for a vendor's event, if there is one.
    fn event(&self, name: &str) -> Option<&'static str> {
        let lower = name.to_lowercase();
        let known = self.names.iter().find(|(known, _)| *known == lower);
        known.map(|(_, event)| *event)
    }

    /// Rewrites an event. `more` has paths that only this kind of event has.
    fn rewrite<'a>(
        &self,
        object: &Entries<'a>,
        more: &Table,
        arena: &'a Arena,
    ) -> Result<Rewritten<'a>, Refusal> {
        arena.step(StepKind::Format, || format!("an event of {}", self.name));
        let table = [more, self.event].concat();
        let Lifted { values, rest } = lift(object, &table, arena);
        let find = |name: &str| values.iter().find(|value| value.name == name);
        let own = find(NAME)
            .and_then(|value| unescape(value.raw.get(), arena))
            .map(trim);
        let event = own.and_then(|name| self.event(name));
        let items = find(ITEMS);
        if let (Some(own), Some(event), None) = (own, event, items)
            && ABOUT_PRODUCTS.contains(&event)
        {
            let paths = table.iter().filter(|(_, name)| *name == ITEMS);
            let paths: Vec<String> = paths.map(|(path, _)| format!("`{path}`")).collect();
            let detail = format!(
                "`{own}` of {} has no products: {} is missing",
                self.name,
                paths.join(" or ")
            );
            return Err(Refusal::new(Reason::BadItems, detail));
        }
        let mut out = JsonText::new(arena);
        out.begin_object();
        for value in &values {
            match (value.name, event) {
                (ITEMS, _) => {
                    out.key(ITEMS);
                    write_items(value.raw, self.item, arena, &mut out);
                }
                (NAME, Some(event)) => {
                    out.text(NAME, event);
                    if own != Some(event) {
                        out.entry("vendor_event", value.raw.get());
                    }
                }
                _ => out.entry(value.name, value.raw.get()),
            }
        }
        // A value must not take the place of one that has its name already, so it goes one level
        // down, where it loses and is kept.
        let is_taken = |key: &str| {
            values.iter().any(|value| value.name == key)
                || matches!(key, "params" | "event_params" | "vendor_event")
        };
        let (taken, rest): (Entries<'_>, Entries<'_>) =
            rest.into_iter().partition(|(key, _)| is_taken(key));
        for (key, value) in rest {
            let is_params = key == self.params && value.is_object();
            out.entry(if is_params { "params" } else { key }, value.get());
        }
        if !taken.is_empty() {
            out.entry("event_params", object_of(taken, arena).get());
        }
        out.end_object();
        let place = |name: &str| find(name).map(|value| format!(".{}", value.path));
        let mut names = vec![(".params", format!(".{}", self.params))];
        names.extend(place(ITEMS).map(|path| (".items", path)));
        names.extend(place(TIME).map(|path| (".event_time", path)));
        Ok(Rewritten {
            names,
            ..Rewritten::whole(out.finish())
        })
    }
}

/// Writes a list of products, or one, with GA4's names. A text with JSON is read; any other value
/// is left to the reader of items.
fn write_items<'a>(list: Raw<'a>, table: &Table, arena: &'a Arena, out: &mut JsonText<'_>) {
    let list = opened(list, arena);
    let Some(items) = (if list.is_object() {
        Some(vec![list])
    } else {
        list.elements()
    }) else {
        return out.raw(list.get());
    };
    out.begin_list();
    for item in items {
        match item.get().as_bytes().first() {
            Some(b'{') => write_item(&entries(item.get(), arena), table, arena, out),
            // A list of ids.
            Some(b'"' | b'0'..=b'9') => out.object([("item_id", item)]),
            _ => out.raw(item.get()),
        }
    }
    out.end_list();
}

/// Writes a product. Keys of GA4's keep their meaning; all others become item parameters.
fn write_item<'a>(item: &Entries<'a>, table: &Table, arena: &'a Arena, out: &mut JsonText<'_>) {
    let Lifted { values, rest } = lift(item, table, arena);
    out.begin_object();
    for value in &values {
        out.entry(value.name, value.raw.get());
    }
    let is_column = |key: &str| {
        key != "item_params"
            && item_key(key).is_some()
            && values.iter().all(|value| value.name != key)
    };
    let (columns, params): (Entries<'_>, Entries<'_>) =
        rest.into_iter().partition(|(key, _)| is_column(key));
    for (key, value) in columns {
        out.entry(key, value.get());
    }
    match params.as_slice() {
        [] => {}
        // They were item parameters before.
        [("item_params", params)] => out.entry("item_params", params.get()),
        _ => out.entry("item_params", object_of(params, arena).get()),
    }
    out.end_object();
}

/// The values of an object that a [`Table`] names, and all others.
struct Lifted<'a> {
    values: Vec<Value<'a>>,
    rest: Entries<'a>,
}

struct Value<'a> {
    path: &'static str,
    name: &'static str,
    raw: Raw<'a>,
}

fn lift<'a>(object: &Entries<'a>, table: &Table, arena: &'a Arena) -> Lifted<'a> {
    let mut found = vec![None; table.len()];
    find(object, "", table, arena, &mut found);
    let mut values: Vec<Value<'_>> = Vec::new();
    for ((path, name), raw) in table.iter().zip(found) {
        if let Some(raw) = raw
            && values.iter().all(|value| value.name != *name)
        {
            values.push(Value { path, name, raw });
        }
    }
    let rest = rest(object, "", table, &values, arena);
    Lifted { values, rest }
}

/// Fills in the value of each path. Null and, but for items, objects and lists are no values.
fn find<'a>(
    object: &Entries<'a>,
    above: &str,
    table: &Table,
    arena: &'a Arena,
    found: &mut [Option<Raw<'a>>],
) {
    for (key, raw) in object {
        let path = format!("{above}{key}");
        for ((row, name), found) in table.iter().zip(found.iter_mut()) {
            if *row == path && !is_null(*raw) && (*name == ITEMS || !raw.is_nested()) {
                *found = Some(*raw);
            }
        }
        if raw.is_object() && is_above(&path, table) {
            let below = entries(raw.get(), arena);
            find(&below, &format!("{path}."), table, arena, found);
        }
    }
}

fn is_above(path: &str, table: &Table) -> bool {
    let mut rows = table.iter();
    rows.any(|(row, _)| {
        row.strip_prefix(path)
            .is_some_and(|rest| rest.starts_with('.'))
    })
}

/// Returns the entries without the values that were lifted, and without nulls in their places.
fn rest<'a>(
    object: &Entries<'a>,
    above: &str,
    table: &Table,
    values: &[Value<'a>],
    arena: &'a Arena,
) -> Entries<'a> {
    let mut kept = Vec::new();
    for (key, raw) in object {
        let path = format!("{above}{key}");
        let is_lifted = values.iter().any(|value| value.path == path);
        let is_empty = is_null(*raw) && table.iter().any(|(row, _)| *row == path);
        if is_lifted || is_empty {
            continue;
        }
        if raw.is_object() && is_above(&path, table) {
            let below = entries(raw.get(), arena);
            let rest = rest(&below, &format!("{path}."), table, values, arena);
            if !rest.is_empty() || below.is_empty() {
                kept.push((*key, object_of(rest, arena)));
            }
        } else {
            kept.push((*key, *raw));
        }
    }
    kept
}

/// Returns the text of a key's value.
fn text<'a>(object: &Entries<'a>, key: &str, arena: &'a Arena) -> Option<&'a str> {
    unescape(get(object, key)?.get(), arena)
}
