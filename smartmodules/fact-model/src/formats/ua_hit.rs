//! Hits of Universal Analytics (Measurement Protocol): `v=1&t=pageview&pa=purchase&ti=T1&pr1id=…&il1pi1id=…`.
//!
//! One hit can carry lists of impressions, promotions and a product action; each becomes an event of its
//! own. A hit with none of them is the event that its type says. An old item hit (`t=item`) and its
//! transaction (`t=transaction`) are both `purchase`: the one has the product, the other the value.
//! Parameters: <https://developers.google.cn/analytics/devguides/collection/protocol/v1/parameters>.

use crate::arena::Arena;
use crate::formats::Rewritten;
use crate::formats::hit_items::{HitItems, Pair};
use crate::formats::json_text::JsonText;
use crate::formats::universal::{IMPRESSION, PROMOTION_CLICK, PROMOTION_VIEW, event_of_action};

/// What the short names stand for that every event of a hit shares.
fn shared_name(key: &str) -> Option<&'static str> {
    Some(match key {
        "t" => "hit_type",
        "cid" => "client_id",
        "uid" => "user_id",
        "cu" => "currency",
        "dl" => "page_location",
        "dr" => "page_referrer",
        "dt" => "page_title",
        "ul" => "language",
        "sr" => "screen_resolution",
        "ec" => "event_category",
        "ea" => "event_action",
        "el" => "event_label",
        "ev" => "event_value",
        _ => return None,
    })
}

/// What the short names stand for that belong to the action alone.
fn action_name(key: &str) -> Option<&'static str> {
    Some(match key {
        "ti" => "transaction_id",
        "ta" => "affiliation",
        "tr" => "value",
        "tt" => "tax",
        "ts" => "shipping",
        "tcc" => "coupon",
        "pal" => "item_list_name",
        "cos" => "checkout_step",
        "col" => "checkout_option",
        _ => return None,
    })
}

/// What the parameters of an old item hit stand for.
fn item_name(key: &str) -> Option<&'static str> {
    Some(match key {
        "in" => "item_name",
        "ip" => "price",
        "iq" => "quantity",
        "ic" => "item_id",
        "iv" => "item_category",
        _ => return None,
    })
}

/// A hit, sorted into what it says.
struct Hit<'p> {
    shared: Vec<(&'p str, &'p str)>,
    of_action: Vec<(&'p str, &'p str)>,
    old_item: Vec<(&'static str, &'p str)>,
    items: HitItems<'p>,
    action: Option<&'p str>,
    promotion_action: Option<&'p str>,
}

/// Rewrites one hit as its events.
pub(crate) fn read<'a>(pairs: &[Pair<'_>], arena: &'a Arena, events: &mut Vec<Rewritten<'a>>) {
    let hit = Hit::sort(pairs);
    let before = events.len();
    if hit.items.has_impressions() {
        events.push(hit.event(IMPRESSION, arena, |out| {
            out.key("items");
            hit.items.write_impressions(out);
        }));
    }
    if hit.items.has_promotions() {
        let is_click = hit.promotion_action == Some("click");
        let name = if is_click {
            PROMOTION_CLICK
        } else {
            PROMOTION_VIEW
        };
        events.push(hit.event(name, arena, |out| {
            out.key("items");
            hit.items.write_promotions(out);
        }));
    }
    let is_action = hit.action.is_some() || hit.items.has_products();
    if is_action || events.len() == before {
        events.push(hit.event(hit.name(), arena, |out| hit.write_action(out)));
    }
}

impl<'p> Hit<'p> {
    fn sort(pairs: &'p [Pair<'_>]) -> Self {
        let mut hit = Hit {
            shared: Vec::new(),
            of_action: Vec::new(),
            old_item: Vec::new(),
            items: HitItems::default(),
            action: None,
            promotion_action: None,
        };
        let is_item = pairs
            .iter()
            .any(|(key, value)| key == "t" && value == "item");
        for (key, value) in pairs {
            let (key, value): (&str, &str) = (key, value);
            match key {
                "v" => {}
                "pa" => hit.action = Some(value),
                "promoa" => hit.promotion_action = Some(value),
                _ if hit.items.take(key, value) => {}
                _ => match (action_name(key), item_name(key)) {
                    (Some(name), _) => hit.of_action.push((name, value)),
                    (_, Some(name)) if is_item => hit.old_item.push((name, value)),
                    _ => hit.shared.push((key, value)),
                },
            }
        }
        hit
    }

    fn shared(&self, key: &str) -> Option<&'p str> {
        let pair = self.shared.iter().rfind(|(name, _)| *name == key);
        pair.map(|(_, value)| *value)
            .filter(|value| !value.is_empty())
    }

    /// The event that the action is, or else the one that the hit's type says.
    fn name(&self) -> &'p str {
        if let Some(action) = self.action {
            let step = self
                .of_action
                .iter()
                .find(|(name, _)| *name == "checkout_step");
            return event_of_action(action, step.map(|(_, step)| *step));
        }
        match self.shared("t").unwrap_or_default() {
            "pageview" => "page_view",
            "screenview" => "screen_view",
            "transaction" | "item" => "purchase",
            "event" => self.shared("ea").unwrap_or("event"),
            other => other,
        }
    }

    fn event<'a>(
        &self,
        name: &str,
        arena: &'a Arena,
        rest: impl FnOnce(&mut JsonText<'_>),
    ) -> Rewritten<'a> {
        let mut out = JsonText::new(arena);
        out.begin_object();
        out.text("event_name", name);
        for (key, value) in &self.shared {
            match (
                shared_name(key),
                key.strip_prefix("cd"),
                key.strip_prefix("cm"),
            ) {
                (Some(name), ..) => out.text(name, value),
                (None, Some(number), _) if is_number(number) => {
                    out.text(&format!("dimension{number}"), value)
                }
                (None, _, Some(number)) if is_number(number) => {
                    out.text(&format!("metric{number}"), value)
                }
                _ => out.text(key, value),
            }
        }
        rest(&mut out);
        out.end_object();
        Rewritten::whole(out.finish())
    }

    fn write_action(&self, out: &mut JsonText<'_>) {
        for (name, value) in &self.of_action {
            out.text(name, value);
        }
        if self.items.has_products() {
            out.key("items");
            self.items.write_products(out);
        } else if !self.old_item.is_empty() {
            out.key("items");
            out.begin_object();
            for (name, value) in &self.old_item {
                out.text(name, value);
            }
            out.end_object();
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
