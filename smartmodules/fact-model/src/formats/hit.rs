//! Web hits: the query string that a tag sends, GA4's (`v=2&en=…`) or Universal Analytics'
//! (`v=1&pa=…`).
//!
//! A body has one hit a line. Lines without a version are the events of one GA4 request and share
//! the parameters of its URL, the first line. A whole URL, `https://…/g/collect?v=2&…`, is read
//! too.
//!
//! - GA4, `v=2&en=add_to_cart&cu=USD&epn.value=30.03&pr1=id…`: `ep.` marks an event's parameters,
//!   `epn.` numeric ones; other keys are short names of gtag.js. A hit has no time unless the tag
//!   was given a parameter for it.
//! - Universal Analytics, `v=1&t=pageview&pa=purchase&ti=T1&pr1id=…&il1pi1id=…`: one hit can
//!   carry impressions, promotions and a product action; each becomes an event. A hit without them
//!   is the event of its type. An old item hit (`t=item`) and its transaction (`t=transaction`)
//!   both become `purchase`: one has the product, the other the value.
//!   <https://developers.google.com/analytics/devguides/collection/protocol/v1/parameters>

use crate::formats::Rewritten;
use crate::formats::hit_items::{HitItems, Pair};
use crate::limits::Budget;
use crate::names::{IMPRESSION, PROMOTION_CLICK, PROMOTION_VIEW, event_of_action};
use crate::rejection::Refusal;
use crate::text::Arena;
use crate::write::JsonText;

/// Returns true if a text starts with a hit.
pub(crate) fn is_hit(text: &str) -> bool {
    let line = query(text.lines().next().unwrap_or_default().trim());
    let first = line.split('&').next().unwrap_or_default();
    let is_key = |key: &str| {
        !key.is_empty()
            && key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.%-".contains(&byte))
    };
    first.split_once('=').is_some_and(|(key, _)| is_key(key))
        && line.split('&').any(|pair| {
            matches!(pair, "v=1" | "v=2") || pair.starts_with("en=") || pair.starts_with("pa=")
        })
}

/// Returns true if a text is a query string with parameters of items.
pub(crate) fn is_items(text: &str) -> bool {
    let has_item = |pair: &str| {
        let key = pair.split('=').next().unwrap_or_default();
        HitItems::default().take(key, "")
    };
    text.contains('=') && query(text).split('&').any(has_item)
}

/// Writes the items of a query string.
pub(crate) fn write_items(text: &str, out: &mut JsonText<'_>) {
    let pairs = pairs(text);
    let mut items = HitItems::default();
    for (key, value) in &pairs {
        items.take(key, value);
    }
    if items.has_products() {
        items.write_products(out);
    } else if items.has_impressions() {
        items.write_impressions(out);
    } else {
        items.write_promotions(out);
    }
}

/// Reads the events of all hits.
pub(crate) fn read<'a>(
    text: &str,
    arena: &'a Arena,
    budget: &mut Budget<'_>,
) -> Result<Vec<Rewritten<'a>>, Refusal> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut events = Vec::new();
    let mut shared: Vec<Pair<'_>> = Vec::new();
    let mut size = 0;
    let first = lines.next().unwrap_or_default();
    let first_pairs = pairs(first);
    let rest: Vec<&str> = lines.collect();
    if !rest.is_empty() {
        shared = first_pairs
            .iter()
            .filter(|(key, _)| !is_event_key(key))
            .cloned()
            .collect();
        size = first.len();
    }
    let is_address = !rest.is_empty() && !has(&first_pairs, "en") && has(&first_pairs, "v");
    let is_version_1 = first_pairs
        .iter()
        .any(|(key, value)| key == "v" && value == "1");
    if !is_address || is_version_1 {
        hit(&first_pairs, arena, &mut events);
    }
    for line in rest {
        let own = pairs(line);
        if has(&own, "v") {
            hit(&own, arena, &mut events);
        } else {
            budget.spend(size)?;
            let all: Vec<_> = shared.iter().cloned().chain(own).collect();
            hit(&all, arena, &mut events);
        }
    }
    if events.len() > 1 {
        for (index, event) in events.iter_mut().enumerate() {
            event.at = format!("[{index}]");
        }
    }
    Ok(events)
}

fn hit<'a>(pairs: &[Pair<'_>], arena: &'a Arena, events: &mut Vec<Rewritten<'a>>) {
    let is_universal = pairs.iter().any(|(key, value)| key == "v" && value == "1")
        || !has(pairs, "v") && !has(pairs, "en");
    if is_universal {
        UniversalHit::sort(pairs).rewrite(arena, events);
    } else {
        events.push(ga4(pairs, arena));
    }
}

fn has(pairs: &[Pair<'_>], name: &str) -> bool {
    pairs.iter().any(|(key, _)| key == name)
}

fn pairs(line: &str) -> Vec<Pair<'_>> {
    form_urlencoded::parse(query(line).as_bytes()).collect()
}

/// Returns the query string of a URL; any other text is one already.
fn query(line: &str) -> &str {
    let is_address =
        line.starts_with("http://") || line.starts_with("https://") || line.starts_with('/');
    match line.split_once('?') {
        Some((_, query)) if is_address => query,
        _ => line.strip_prefix('?').unwrap_or(line),
    }
}

/// Translates a short name of gtag.js.
fn ga4_name(key: &str) -> Option<&'static str> {
    Some(match key {
        "en" => "event_name",
        "cid" => "client_id",
        "uid" => "user_id",
        "sid" => "ga_session_id",
        "sct" => "ga_session_number",
        "seg" => "session_engaged",
        "cu" => "currency",
        "_et" => "engagement_time_msec",
        "dl" => "page_location",
        "dr" => "page_referrer",
        "dt" => "page_title",
        "ul" => "language",
        "sr" => "screen_resolution",
        "cs" => "source",
        "cm" => "medium",
        "cn" => "campaign",
        "_uc" => "country",
        _ => return None,
    })
}

/// Returns true for a parameter of one event, not of the request that carries several.
fn is_event_key(key: &str) -> bool {
    matches!(key, "en" | "_et" | "cu")
        || key.starts_with("ep.")
        || key.starts_with("epn.")
        || HitItems::default().take(key, "")
}

/// Rewrites a hit of GA4.
fn ga4<'a>(pairs: &[Pair<'_>], arena: &'a Arena) -> Rewritten<'a> {
    let mut items = HitItems::default();
    let mut params = JsonText::new(arena);
    let mut out = JsonText::new(arena);
    params.begin_object();
    out.begin_object();
    for (key, value) in pairs {
        if key == "v" || items.take(key, value) {
            continue;
        }
        if let Some(key) = key.strip_prefix("epn.") {
            params.key(key);
            params.number(value);
        } else if let Some(key) = key.strip_prefix("ep.") {
            params.text(key, value);
        } else {
            out.text(ga4_name(key).unwrap_or(key), value);
        }
    }
    params.end_object();
    out.entry("params", params.finish());
    if items.has_products() {
        out.key("items");
        items.write_products(&mut out);
    }
    // Those of Universal Analytics are no items of GA4's event, and kept.
    if items.has_impressions() {
        out.key("impressions");
        items.write_impressions(&mut out);
    }
    if items.has_promotions() {
        out.key("promotions");
        items.write_promotions(&mut out);
    }
    out.end_object();
    Rewritten::whole(out.finish())
}

/// Translates a Universal Analytics parameter that all events of a hit share.
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
        "cs" => "source",
        "cm" => "medium",
        "cn" => "campaign",
        "av" => "app_version",
        "ec" => "event_category",
        "ea" => "event_action",
        "el" => "event_label",
        "ev" => "event_value",
        _ => return None,
    })
}

/// Translates a Universal Analytics parameter of the action.
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

/// Translates a parameter of an old item hit.
fn item_name(key: &str) -> Option<&'static str> {
    Some(match key {
        "in" => "item_name",
        "ip" => "price",
        "iq" => "quantity",
        "ic" => "item_id",
        "iv" => "category",
        _ => return None,
    })
}

/// A hit of Universal Analytics, its parameters sorted by what they belong to.
struct UniversalHit<'p> {
    shared: Vec<(&'p str, &'p str)>,
    of_action: Vec<(&'p str, &'p str)>,
    old_item: Vec<(&'static str, &'p str)>,
    items: HitItems<'p>,
    action: Option<&'p str>,
    promotion_action: Option<&'p str>,
}

impl<'p> UniversalHit<'p> {
    /// Rewrites the hit as its events.
    fn rewrite<'a>(&self, arena: &'a Arena, events: &mut Vec<Rewritten<'a>>) {
        let before = events.len();
        if self.items.has_impressions() {
            events.push(self.event(IMPRESSION, arena, |out| {
                out.key("items");
                self.items.write_impressions(out);
            }));
        }
        if self.items.has_promotions() {
            let is_click = self.promotion_action == Some("click");
            let name = if is_click {
                PROMOTION_CLICK
            } else {
                PROMOTION_VIEW
            };
            events.push(self.event(name, arena, |out| {
                out.key("items");
                self.items.write_promotions(out);
            }));
        }
        let is_action = self.action.is_some() || self.items.has_products();
        if is_action || events.len() == before {
            events.push(self.event(self.name(), arena, |out| self.write_action(out)));
        }
    }

    fn sort(pairs: &'p [Pair<'_>]) -> Self {
        let mut hit = Self {
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

    /// Returns the event of the action, else of the hit's type.
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
        if self.action.is_none() && !self.items.has_products() {
            for (name, value) in &self.of_action {
                out.text(name, value);
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
