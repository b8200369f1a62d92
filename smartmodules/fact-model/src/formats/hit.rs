//! Web hits: the query string that a tag sends, of GA4 (`v=2&en=…`) or of Universal Analytics (`v=1&pa=…`).
//!
//! A body is one hit or one in each line. Lines without a version of their own are the events of one GA4
//! request, and share the parameters of its address, the first line. A whole address,
//! `https://…/g/collect?v=2&…`, is read as well.

use crate::arena::Arena;
use crate::budget::Budget;
use crate::formats::hit_items::{HitItems, Pair};
use crate::formats::json_text::JsonText;
use crate::formats::{Rewritten, ua_hit, web_hit};
use crate::rejection::Refusal;

/// Whether a text is a hit or begins with one.
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

/// Whether a text is the parameters of items alone.
pub(crate) fn is_items(text: &str) -> bool {
    let has_item = |pair: &str| {
        let key = pair.split('=').next().unwrap_or_default();
        HitItems::default().take(key, "")
    };
    text.contains('=') && query(text).split('&').any(has_item)
}

/// Writes the items that stand in a query string.
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
            .filter(|(key, _)| !web_hit::is_of_event(key))
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
        ua_hit::read(pairs, arena, events);
    } else {
        events.push(web_hit::read(pairs, arena));
    }
}

fn has(pairs: &[Pair<'_>], name: &str) -> bool {
    pairs.iter().any(|(key, _)| key == name)
}

fn pairs(line: &str) -> Vec<Pair<'_>> {
    form_urlencoded::parse(query(line).as_bytes()).collect()
}

/// The query string of an address; anything else is one already.
fn query(line: &str) -> &str {
    let is_address =
        line.starts_with("http://") || line.starts_with("https://") || line.starts_with('/');
    match line.split_once('?') {
        Some((_, query)) if is_address => query,
        _ => line.strip_prefix('?').unwrap_or(line),
    }
}
