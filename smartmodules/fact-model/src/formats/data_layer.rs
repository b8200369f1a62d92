//! Pushes to the data layer of Google Tag Manager: events with their values in `ecommerce`, or in
//! `eventModel`, where gtag.js puts the parameters of a call.
//!
//! GA4's push has the parameters there, including items. A push of Universal Analytics has actions
//! there (`ecommerce.detail.products`); it can carry impressions, promotions and an action, each of
//! which becomes an event (<https://developers.google.com/tag-manager/enhanced-ecommerce>). The
//! push's own name is kept in `extra`. Its older, standard e-commerce has the order in keys of the
//! push (`transactionId`, `transactionProducts`).
//!
//! A push may have several shapes of one event, such as `items` beside `purchase.products`. Then
//! GA4's values count, as in Google's tag, which looks for those of Universal Analytics only where
//! there are none of GA4
//! (<https://developers.google.com/analytics/devguides/migration/ecommerce/gtm-compatibility>).
//! Those of the other shape fill gaps, and what is left of it is in `extra`, under `ecommerce`.

use std::collections::btree_map::Entry;

use crate::formats::container::{Object, listed, object, opened};
use crate::formats::{Rewritten, bigquery};
use crate::json::{Entries, entries, get, unescape};
use crate::names::{
    IMPRESSION, PROMOTION_CLICK, PROMOTION_VIEW, event_of_action, is_ecommerce_event,
};
use crate::raw::Raw;
use crate::text::Arena;
use crate::value::{self, Column, is_null};
use crate::write::{JsonText, object_of};

/// The key of the product impressions of Universal Analytics.
const IMPRESSIONS: &str = "impressions";
const ACTIONS: [&str; 8] = [
    "detail",
    "click",
    "add",
    "remove",
    "checkout",
    "checkout_option",
    "purchase",
    "refund",
];
const PROMOTIONS: [(&str, &str); 2] = [
    ("promoView", PROMOTION_VIEW),
    ("promoClick", PROMOTION_CLICK),
];
/// Keys of standard e-commerce besides `transactionProducts`.
const TRANSACTION: [(&str, &str); 6] = [
    ("transactionId", "transaction_id"),
    ("transactionAffiliation", "affiliation"),
    ("transactionTotal", "value"),
    ("transactionTax", "tax"),
    ("transactionShipping", "shipping"),
    ("transactionCurrency", "currency"),
];
const TRANSACTION_PRODUCTS: &str = "transactionProducts";

/// Rewrites a push; `None` if it is none.
pub(crate) fn read<'a>(push: &Entries<'a>, arena: &'a Arena) -> Option<Vec<Rewritten<'a>>> {
    let open = |key: &str| get(push, key).and_then(|value| object(value, arena));
    let (ecommerce, model) = (open("ecommerce"), open("eventModel"));
    if ecommerce.is_none() && model.is_none() {
        return Some(vec![standard(push, arena)?]);
    }
    let mut ecommerce = ecommerce.unwrap_or_default();
    let mut parts = universal(&mut ecommerce, arena);
    let name = name(push, arena);
    let has_items = ecommerce
        .get("items")
        .is_some_and(|items| !is_empty(*items));
    if !has_items && !parts.is_empty() {
        ecommerce.remove("items");
    }
    let of_ga4 = if has_items || parts.is_empty() {
        twin(&parts, name).unwrap_or_else(|| {
            parts.push(Part::default());
            parts.len() - 1
        })
    } else {
        usize::MAX
    };
    let push = Push {
        push,
        ecommerce: &ecommerce,
        params: open("params"),
        model,
        is_refund: name == Some("refund"),
    };
    let events = parts.iter().enumerate().map(|(index, part)| {
        let source = if !has_items && part.name.is_some() {
            Source::Universal
        } else if index == of_ga4 {
            Source::Ga4
        } else {
            Source::Beside
        };
        push.event(part, source, arena)
    });
    Some(events.collect())
}

/// Returns the part of Universal Analytics that is the same event as GA4's `items`: that with the
/// name of the push, else the only part or the action, unless the push is another event of GA4.
fn twin(parts: &[Part<'_>], name: Option<&str>) -> Option<usize> {
    let same = parts.iter().position(|part| part.name == name);
    if same.is_some() || name.is_some_and(is_ecommerce_event) {
        return same.filter(|_| name.is_some());
    }
    let action = parts.iter().position(|part| ACTIONS.contains(&part.key));
    action.or((!parts.is_empty()).then_some(0))
}

/// Returns the event's name that a push has.
fn name<'a>(push: &Entries<'a>, arena: &'a Arena) -> Option<&'a str> {
    ["event_name", "event", "name"].iter().find_map(|key| {
        match value::text(get(push, key)?, arena) {
            Column::Value(name) => Some(name),
            _ => None,
        }
    })
}

fn is_empty(list: Raw<'_>) -> bool {
    is_null(list) || matches!(list.get(), "[]" | "{}" | "\"[]\"")
}

/// An event of Universal Analytics in a push, or that of GA4.
#[derive(Default)]
struct Part<'a> {
    /// The event's name; the push has that of GA4.
    name: Option<&'a str>,
    /// The key in `ecommerce`, and its value.
    key: &'static str,
    whole: Option<Raw<'a>>,
    /// The items and their location.
    items: Option<&'a str>,
    at: String,
    params: Object<'a>,
    /// True if two of its values are for one parameter.
    clashes: bool,
}

impl<'a> Part<'a> {
    fn put(&mut self, key: &'a str, value: Raw<'a>) {
        match self.params.entry(key) {
            Entry::Vacant(place) => drop(place.insert(value)),
            Entry::Occupied(held) => self.clashes |= held.get().get() != value.get(),
        }
    }
}

/// Takes the events of Universal Analytics out of `ecommerce`.
fn universal<'a>(ecommerce: &mut Object<'a>, arena: &'a Arena) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    let keys = [(IMPRESSIONS, Some(IMPRESSION))].into_iter();
    let keys = keys.chain(PROMOTIONS.map(|(key, name)| (key, Some(name))));
    for (key, name) in keys.chain(ACTIONS.map(|key| (key, None))) {
        let Some(whole) = ecommerce.get(key).copied() else {
            continue;
        };
        let value = listed(opened(whole, arena), arena);
        let part = if key == IMPRESSIONS && !value.is_object() && !is_null(value) {
            Some(Part {
                items: Some(value.get()),
                at: ".ecommerce.impressions".to_owned(),
                ..Part::default()
            })
        } else {
            object(value, arena).and_then(|fields| action(key, value, fields, arena))
        };
        if let Some(part) = part {
            ecommerce.remove(key);
            parts.push(Part {
                name: name.or(part.name),
                key,
                whole: Some(whole),
                ..part
            });
        }
    }
    parts
}

/// Reads an action: its list, its `actionField`, and keys beside them, which are GA4's.
fn action<'a>(
    key: &'static str,
    value: Raw<'a>,
    mut fields: Object<'a>,
    arena: &'a Arena,
) -> Option<Part<'a>> {
    let list_key = match key {
        IMPRESSIONS => "items",
        "promoView" | "promoClick" => "promotions",
        _ => "products",
    };
    let mut part = Part::default();
    let list = fields.remove(list_key).map(|list| (list_key, list));
    // An action in a container for Universal Analytics may have GA4's keys.
    if let Some((list_key, list)) = list.or_else(|| Some(("items", fields.remove("items")?))) {
        let list = listed(opened(list, arena), arena);
        part.items = Some(if list_key == "promotions" {
            rename(list, &PROMOTION, arena)
        } else {
            list.get()
        });
        part.at = format!(".ecommerce.{key}.{list_key}");
    } else if key == IMPRESSIONS {
        // One product.
        part.items = Some(value.get());
        part.at = ".ecommerce.impressions".to_owned();
        return Some(part);
    } else if list_key == "promotions" {
        return None;
    } else {
        part.at = format!(".ecommerce.{key}.{list_key}");
    }
    let action_fields = fields
        .get("actionField")
        .and_then(|field| object(*field, arena));
    if let Some(action_fields) = action_fields {
        fields.remove("actionField");
        let step = action_fields.get("step").and_then(|step| match step.get() {
            json if json.starts_with('"') => unescape(json, arena),
            number => Some(number),
        });
        part.name = Some(event_of_action(key, step));
        for (key, value) in action_fields {
            part.put(action_field(key), value);
        }
    }
    part.name = part.name.or(Some(event_of_action(key, None)));
    for (key, value) in fields {
        part.put(key, value);
    }
    Some(part)
}

/// The shape that an event's values come from.
#[derive(PartialEq)]
enum Source {
    /// Universal Analytics only.
    Universal,
    /// GA4, perhaps beside Universal Analytics.
    Ga4,
    /// Universal Analytics, beside another event that is GA4's.
    Beside,
}

/// Values shared by all events of a push.
struct Push<'e, 'a> {
    push: &'e Entries<'a>,
    /// `ecommerce` without the parts of Universal Analytics.
    ecommerce: &'e Object<'a>,
    params: Option<Object<'a>>,
    model: Option<Object<'a>>,
    is_refund: bool,
}

impl<'a> Push<'_, 'a> {
    fn event(&self, part: &Part<'a>, source: Source, arena: &'a Arena) -> Rewritten<'a> {
        let mut event = Event::default();
        match source {
            Source::Universal => {
                event.add_part(part);
                event.add_ecommerce(self, |_| true);
                event.add_params(self, arena);
            }
            Source::Ga4 if part.name.is_some() => {
                event.add_ecommerce(self, |_| true);
                event.add_part(part);
                event.add_params(self, arena);
            }
            Source::Ga4 => {
                event.add_params(self, arena);
                event.add_ecommerce(self, |_| true);
            }
            Source::Beside => {
                event.add_part(part);
                event.add_ecommerce(self, |key| matches!(key, "currency" | "currencyCode"));
                event.add_params(self, arena);
            }
        }
        event.add_model(self, arena);
        event.write(self.push, part.name, arena)
    }
}

/// An event that is put together.
#[derive(Default)]
struct Event<'a> {
    params: Object<'a>,
    /// Values of `ecommerce` that have no place in `params`.
    rest: Object<'a>,
    /// The location of the items in `params`.
    at: String,
}

impl<'a> Event<'a> {
    /// Adds a parameter. Returns false if there is another value already.
    fn put(&mut self, key: &'a str, value: Raw<'a>, at: &str) -> bool {
        match self.params.entry(key) {
            Entry::Occupied(held) if !is_null(*held.get()) => {
                return is_null(value) || held.get().get() == value.get();
            }
            Entry::Occupied(mut null) => drop(null.insert(value)),
            Entry::Vacant(place) => drop(place.insert(value)),
        }
        if key == "items" {
            at.clone_into(&mut self.at);
        }
        true
    }

    fn add_part(&mut self, part: &Part<'a>) {
        let mut fits = !part.clashes;
        for (key, value) in &part.params {
            fits &= self.put(key, *value, "");
        }
        if let Some(items) = part.items.map(|items| Raw::read(items, false)) {
            fits &= is_empty(items) || self.put("items", items, &part.at);
        }
        if self.at.is_empty() {
            part.at.clone_into(&mut self.at);
        }
        if let Some(whole) = part.whole.filter(|_| !fits) {
            self.rest.insert(part.key, whole);
        }
    }

    fn add_ecommerce(&mut self, push: &Push<'_, 'a>, passes: impl Fn(&str) -> bool) {
        for (key, value) in push.ecommerce.iter().filter(|(key, _)| passes(key)) {
            let name = match *key {
                "currencyCode" => "currency",
                key => bigquery::param_of(key, push.is_refund)
                    .filter(|name| !push.ecommerce.contains_key(name))
                    .unwrap_or(key),
            };
            if !self.put(name, *value, ".ecommerce.items") {
                self.rest.insert(key, *value);
            }
        }
    }

    fn add_params(&mut self, push: &Push<'_, 'a>, arena: &'a Arena) {
        self.add_object(push.params.as_ref(), "params", arena);
    }

    fn add_model(&mut self, push: &Push<'_, 'a>, arena: &'a Arena) {
        self.add_object(push.model.as_ref(), "eventModel", arena);
    }

    fn add_object(&mut self, object: Option<&Object<'a>>, key: &'static str, arena: &'a Arena) {
        let Some(object) = object else { return };
        let at = format!(".{key}.items");
        let mut fits = true;
        for (key, value) in object {
            fits &= self.put(key, *value, &at);
        }
        if !fits {
            self.rest.insert(key, object_of(object.clone(), arena));
        }
    }

    fn write(mut self, push: &Entries<'a>, name: Option<&str>, arena: &'a Arena) -> Rewritten<'a> {
        let mut out = JsonText::new(arena);
        out.begin_object();
        for (key, value) in push {
            match *key {
                "params" | "eventModel" | "ecommerce" if object(*value, arena).is_some() => {}
                "ecommerce" | "params" if value.get() == "null" => {}
                "ecommerce" | "params" => drop(self.rest.insert(key, *value)),
                "event_name" if name.is_some() => {
                    if value::text(*value, arena) != name.map_or(Column::Null, Column::Value) {
                        self.rest.insert(key, *value);
                    }
                }
                _ => out.entry(key, value.get()),
            }
        }
        if let Some(name) = name {
            out.text("event_name", name);
        }
        if !self.rest.is_empty() {
            out.key("ecommerce");
            out.object(self.rest);
        }
        out.key("params");
        out.object(self.params);
        out.end_object();
        Rewritten {
            names: vec![
                (".params.items", self.at),
                (".params", ".ecommerce".to_owned()),
            ],
            ..Rewritten::whole(out.finish())
        }
    }
}

/// Rewrites a push of standard e-commerce; `None` if it is none.
fn standard<'a>(push: &Entries<'a>, arena: &'a Arena) -> Option<Rewritten<'a>> {
    let products = get(push, TRANSACTION_PRODUCTS).map(|list| listed(opened(list, arena), arena));
    let has = |key| get(push, key).is_some();
    if products.is_none() && !(has("transactionId") && has("transactionTotal")) {
        return None;
    }
    let mut event = Event::default();
    let mut push = push.clone();
    for (key, name) in TRANSACTION {
        if let Some(value) = get(&push, key) {
            event.put(name, value, "");
        }
    }
    if let Some(products) = products {
        let items = Raw::read(rename(products, &SKU, arena), false);
        event.put("items", items, ".transactionProducts");
    }
    push.retain(|(key, _)| {
        *key != TRANSACTION_PRODUCTS && TRANSACTION.iter().all(|(name, _)| name != key)
    });
    if let Some(params) = get(&push, "params").and_then(|params| object(params, arena)) {
        event.add_object(Some(&params), "params", arena);
    }
    let is_named = name(&push, arena).is_some_and(is_ecommerce_event);
    Some(event.write(&push, (!is_named).then_some("purchase"), arena))
}

/// Translates a key of an `actionField` to GA4's.
fn action_field(key: &str) -> &str {
    match key {
        "id" => "transaction_id",
        "revenue" => "value",
        "list" => "item_list_name",
        "step" => "checkout_step",
        "option" => "checkout_option",
        other => other,
    }
}

/// The name of a product's id in standard e-commerce.
const SKU: [(&str, &str); 1] = [("sku", "id")];
/// Names of a promotion's keys.
const PROMOTION: [(&str, &str); 4] = [
    ("id", "promotion_id"),
    ("name", "promotion_name"),
    ("creative", "creative_name"),
    ("position", "creative_slot"),
];

/// Renames the keys of a list's objects, or of a single object. A key whose new name the object has
/// too stays.
fn rename<'a>(list: Raw<'a>, names: &[(&str, &str)], arena: &'a Arena) -> &'a str {
    let elements = match list.elements() {
        Some(elements) => elements,
        None => vec![list],
    };
    if !elements.iter().all(|element| element.is_object()) {
        return list.get();
    }
    let mut out = JsonText::new(arena);
    out.begin_list();
    for element in elements {
        let object = entries(element.get(), arena);
        let mut names = names.to_vec();
        names.retain(|(_, new)| get(&object, new).is_none());
        out.object(object.iter().map(|(key, value)| {
            let new = names.iter().find(|(old, _)| old == key);
            (new.map_or(*key, |(_, new)| new), *value)
        }));
    }
    out.end_list();
    out.finish()
}
