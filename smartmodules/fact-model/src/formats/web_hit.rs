//! Hits of GA4's web tag: `v=2&en=add_to_cart&cu=USD&epn.value=30.03&pr1=id…`.
//!
//! `ep.` is in front of an event's parameters and `epn.` in front of those that are numbers; the rest
//! are short names of gtag.js. A hit says no time unless the tag was given a parameter for it.

use crate::arena::Arena;
use crate::formats::Rewritten;
use crate::formats::hit_items::{HitItems, Pair};
use crate::formats::json_text::JsonText;

/// What the short names stand for.
fn name(key: &str) -> Option<&'static str> {
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
        _ => return None,
    })
}

/// Whether a parameter belongs to one event and not to the request that carries several.
pub(crate) fn is_of_event(key: &str) -> bool {
    matches!(key, "en" | "_et" | "cu")
        || key.starts_with("ep.")
        || key.starts_with("epn.")
        || HitItems::default().take(key, "")
}

/// Rewrites one hit.
pub(crate) fn read<'a>(pairs: &[Pair<'_>], arena: &'a Arena) -> Rewritten<'a> {
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
            out.text(name(key).unwrap_or(key), value);
        }
    }
    params.end_object();
    out.entry("params", params.finish());
    if items.has_products() {
        out.key("items");
        items.write_products(&mut out);
    }
    out.end_object();
    Rewritten::whole(out.finish())
}
