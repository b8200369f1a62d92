//! Pushes to the data layer of Google Tag Manager: an event whose values stand in `ecommerce`.
//!
//! GA4's has the parameters there, items included. That of Universal Analytics has actions there,
//! `ecommerce.detail.products`, and one push can carry impressions, promotions and an action; each becomes an
//! event of its own (<https://developers.google.cn/tag-manager/enhanced-ecommerce>). The name of the push
//! itself is kept in `extra`.

use crate::arena::Arena;
use crate::formats::Rewritten;
use crate::formats::json_text::JsonText;
use crate::formats::shape::{Entries, Shape, entries, get};
use crate::formats::universal::{IMPRESSION, PROMOTION_CLICK, PROMOTION_VIEW, event_of_action};
use crate::json::unescape;
use crate::raw::Raw;

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

/// Rewrites a push; `None` where it has no `ecommerce`, or one that is no object, and is an event all the same.
pub(crate) fn read<'a>(push: &Entries<'a>, is_named: bool, arena: &'a Arena) -> Option<Shape<'a>> {
    let ecommerce = get(push, "ecommerce")?;
    if !ecommerce.is_object() {
        return (!is_named && ecommerce.get() == "null").then_some(Shape::Cleared);
    }
    let ecommerce = entries(ecommerce.get(), arena);
    let mut events = universal(push, &ecommerce, arena);
    if events.is_empty() {
        events.push(ga4(push, &ecommerce, arena));
    }
    Some(Shape::Events(events))
}

fn ga4<'a>(push: &Entries<'a>, ecommerce: &Entries<'a>, arena: &'a Arena) -> Rewritten<'a> {
    let params = get(push, "params").filter(|params| params.is_object());
    let mut out = JsonText::new(arena);
    out.begin_object();
    for (key, value) in push {
        if *key != "ecommerce" && !(*key == "params" && params.is_some()) {
            out.entry(key, value.get());
        }
    }
    out.key("params");
    out.begin_object();
    let params = params.map_or_else(Vec::new, |params| entries(params.get(), arena));
    for (key, value) in ecommerce.iter().chain(&params) {
        out.entry(key, value.get());
    }
    out.end_object();
    out.end_object();
    Rewritten {
        names: vec![(".params", ".ecommerce".to_owned())],
        ..Rewritten::whole(out.finish())
    }
}

/// The events of a push of Universal Analytics; none where it is not one.
fn universal<'a>(
    push: &Entries<'a>,
    ecommerce: &Entries<'a>,
    arena: &'a Arena,
) -> Vec<Rewritten<'a>> {
    let mut events = Vec::new();
    let common = Common { push, ecommerce };
    if let Some(impressions) = get(ecommerce, "impressions").filter(|list| !list.is_object()) {
        events.push(
            common.event(IMPRESSION, arena, ".ecommerce.impressions", |out| {
                out.entry("items", impressions.get());
            }),
        );
    }
    for (key, name) in PROMOTIONS {
        let Some(promotions) = common
            .action(key, arena)
            .and_then(|action| get(&action, "promotions"))
        else {
            continue;
        };
        events.push(common.event(
            name,
            arena,
            &format!(".ecommerce.{key}.promotions"),
            |out| {
                out.key("items");
                write_promotions(promotions, arena, out);
            },
        ));
    }
    for key in ACTIONS {
        let Some(action) = common.action(key, arena) else {
            continue;
        };
        let field =
            get(&action, "actionField").map_or_else(Vec::new, |field| entries(field.get(), arena));
        let step = get(&field, "step").and_then(|step| match step.get() {
            json if json.starts_with('"') => unescape(json, arena),
            number => Some(number),
        });
        let name = event_of_action(key, step);
        events.push(
            common.event(name, arena, &format!(".ecommerce.{key}.products"), |out| {
                for (key, value) in &field {
                    out.entry(action_field(key), value.get());
                }
                if let Some(products) = get(&action, "products") {
                    out.entry("items", products.get());
                }
            }),
        );
    }
    events
}

/// What the events of one push share.
struct Common<'e, 'a> {
    push: &'e Entries<'a>,
    ecommerce: &'e Entries<'a>,
}

impl<'a> Common<'_, 'a> {
    fn action(&self, key: &str, arena: &'a Arena) -> Option<Entries<'a>> {
        let action = get(self.ecommerce, key).filter(|action| action.is_object())?;
        Some(entries(action.get(), arena))
    }

    fn event(
        &self,
        name: &str,
        arena: &'a Arena,
        items: &str,
        params: impl FnOnce(&mut JsonText<'_>),
    ) -> Rewritten<'a> {
        let mut out = JsonText::new(arena);
        out.begin_object();
        for (key, value) in self.push {
            if *key != "ecommerce" {
                out.entry(key, value.get());
            }
        }
        // Last, since of a key that comes twice the later value counts.
        out.text("event_name", name);
        out.key("params");
        out.begin_object();
        for (key, value) in self.ecommerce {
            match *key {
                "currencyCode" => out.entry("currency", value.get()),
                "impressions" | "promoView" | "promoClick" => {}
                key if ACTIONS.contains(&key) => {}
                key => out.entry(key, value.get()),
            }
        }
        params(&mut out);
        out.end_object();
        out.end_object();
        Rewritten {
            names: vec![
                (".params.items", items.to_owned()),
                (".params", ".ecommerce".to_owned()),
            ],
            ..Rewritten::whole(out.finish())
        }
    }
}

/// What the keys of an `actionField` are called in GA4.
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

fn write_promotions<'a>(list: Raw<'a>, arena: &'a Arena, out: &mut JsonText<'_>) {
    let Some(promotions) = list
        .elements()
        .filter(|list| list.iter().all(|element| element.is_object()))
    else {
        return out.raw(list.get());
    };
    out.begin_list();
    for promotion in promotions {
        out.begin_object();
        for (key, value) in entries(promotion.get(), arena) {
            let name = match key {
                "id" => "promotion_id",
                "name" => "promotion_name",
                "creative" => "creative_name",
                "position" => "creative_slot",
                other => other,
            };
            out.entry(name, value.get());
        }
        out.end_object();
    }
    out.end_list();
}
