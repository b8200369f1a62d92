//! Snowplow's e-commerce events: the action is self-describing JSON; products, transaction,
//! promotions and others are entities beside it.
//!
//! Three forms are read: a tracker's payload (`payload_data`, or one with `ue_pr` and `co`), the
//! enriched event as JSON with keys such as
//! `contexts_com_snowplowanalytics_snowplow_ecommerce_product_1`, and self-describing JSON with its
//! entities in `contexts`, `context` or `entities`.
//! <https://docs.snowplow.io/docs/events/ootb-data/ecommerce-events/>

use std::collections::BTreeSet;

use crate::formats::container::opened;
use crate::formats::vendors::{ITEMS, NAME, TIME, Table, Vendor, batch, text, write_item};
use crate::formats::{Shape, compressed};
use crate::json::{Entries, entries, get, unescape};
use crate::limits::Budget;
use crate::raw::Raw;
use crate::rejection::{Reason, Refusal};
use crate::text::Arena;
use crate::write::{JsonText, object_of};

const SNOWPLOW: Vendor = Vendor {
    name: "Snowplow",
    names: &[
        ("list_view", "view_item_list"),
        ("list_click", "select_item"),
        ("product_view", "view_item"),
        ("add_to_cart", "add_to_cart"),
        ("remove_from_cart", "remove_from_cart"),
        ("promo_view", "view_promotion"),
        ("promo_click", "select_promotion"),
        ("checkout_step", "begin_checkout"),
        ("transaction", "purchase"),
        ("refund", "refund"),
    ],
    event: &[
        ("action.type", NAME),
        ("action.name", "item_list_name"),
        ("event_name", NAME),
        ("true_tstamp", TIME),
        ("derived_tstamp", TIME),
        ("dvce_created_tstamp", TIME),
        ("collector_tstamp", TIME),
        ("ttm", TIME),
        ("dtm", TIME),
        ("eid", "event_id"),
        ("uid", "user_id"),
        ("domain_userid", "user_pseudo_id"),
        ("network_userid", "user_pseudo_id"),
        ("duid", "user_pseudo_id"),
        ("domain_sessionid", "session_id"),
        ("sid", "session_id"),
        ("p", "platform"),
        ("geo_country", "country"),
        ("mkt_source", "source"),
        ("mkt_medium", "medium"),
        ("mkt_campaign", "campaign"),
        ("products", ITEMS),
        ("refund.refund_amount", "value"),
        ("refund.transaction_id", "transaction_id"),
        ("refund.currency", "currency"),
        ("transaction.revenue", "value"),
        ("transaction.transaction_id", "transaction_id"),
        ("transaction.currency", "currency"),
        ("transaction.tax", "tax"),
        ("transaction.shipping", "shipping"),
        ("transaction.discount_code", "coupon"),
        ("checkout_step.coupon_code", "coupon"),
        ("cart.total_value", "value"),
        ("cart.currency", "currency"),
    ],
    item: &[
        ("id", "item_id"),
        ("name", "item_name"),
        ("category", "category"),
        ("brand", "item_brand"),
        ("variant", "item_variant"),
        ("position", "index"),
    ],
    params: "",
};

/// GA4's names for a promotion, which becomes an item as in GA4's `view_promotion`.
const PROMOTION: &Table = &[
    ("id", "promotion_id"),
    ("name", "promotion_name"),
    ("creative_id", "creative_name"),
    ("slot", "creative_slot"),
    ("position", "creative_slot"),
];

/// A step after the first, for which GA4 has no event.
const LATER_STEP: &Table = &[("later_step", NAME)];

const VENDOR: &str = "com.snowplowanalytics.snowplow.ecommerce";
const ACTION: &str = "snowplow_ecommerce_action";

/// The most levels of self-describing JSON and of lists of it. A tracker's have three: `contexts`,
/// a list, and an entity.
const MAX_LEVELS: usize = 4;

/// Returns the shape of one of Snowplow's events; `None` for other objects.
pub(super) fn read<'a>(
    object: &Entries<'a>,
    arena: &'a Arena,
    budget: &mut Budget<'_>,
) -> Result<Option<Shape<'a>>, Refusal> {
    let has = |key: &str| get(object, key).is_some();
    let schema = text(object, "schema", arena).and_then(|schema| schema.strip_prefix("iglu:"));
    let is_event = schema.is_some()
        || has("ue_pr")
        || has("ue_px")
        || has("e") && has("tv")
        || has("collector_tstamp")
        || object
            .iter()
            .any(|(key, _)| key.starts_with("unstruct_event_"));
    if !is_event {
        return Ok(None);
    }
    if schema.is_some_and(|schema| schema.contains("/payload_data/")) {
        let payload = object.iter().filter(|(key, _)| *key != "schema").copied();
        let payloads = batch(&payload.collect(), "data", arena, budget)?;
        return Ok(payloads.map(|bodies| Shape::Bodies("a payload of a Snowplow tracker", bodies)));
    }
    refuse_older(object, arena)?;
    let mut parts = Parts::of(object, arena);
    let is_named = get(&parts.object, "event_name").is_some();
    let is_action = get(&parts.ecommerce, ACTION).is_some();
    if !is_named
        && !is_action
        && let Some(name) = parts.name(object, arena)
    {
        parts.object.push(("event_name", name));
    }
    let more = parts.entities(arena);
    let event = SNOWPLOW.rewrite(&parts.object, more, arena)?;
    Ok(Some(Shape::Events(vec![event])))
}

/// Refuses the e-commerce events that came before those with the action's schema.
fn refuse_older(object: &Entries<'_>, arena: &Arena) -> Result<(), Refusal> {
    let is_older = matches!(text(object, "e", arena), Some("tr" | "ti"))
        || matches!(
            text(object, "event", arena),
            Some("transaction" | "transaction_item")
        )
        || object.iter().any(|(key, value)| {
            key.contains("google_analytics_enhanced_ecommerce")
                || matches!(*key, "ue_pr" | "schema")
                    && value
                        .get()
                        .contains("com.google.analytics.enhanced-ecommerce")
        });
    if !is_older {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::NotAnEvent,
        "this is an event of Snowplow's older e-commerce plugins, which is not read; send the \
         Snowplow e-commerce plugin's events",
    ))
}

/// An event's self-describing JSON, sorted.
#[derive(Default)]
struct Parts<'a> {
    /// Keys that aren't self-describing JSON.
    object: Entries<'a>,
    /// The action and the entities of the e-commerce schemas.
    ecommerce: Entries<'a>,
    /// All other self-describing JSON, each with its schema's name.
    others: Vec<(&'a str, Raw<'a>)>,
}

impl<'a> Parts<'a> {
    fn of(object: &Entries<'a>, arena: &'a Arena) -> Self {
        let mut parts = Self::default();
        let schema = get(object, "schema");
        for (key, value) in object {
            let enriched = ["unstruct_event_", "contexts_"].iter().find_map(|prefix| {
                let name = key.strip_prefix(prefix)?;
                name.strip_prefix("com_snowplowanalytics_snowplow_ecommerce_")
            });
            match *key {
                "ue_px" | "cx" => match decoded(*value, arena) {
                    Some(json) => parts.collect(json, 0, arena),
                    None => parts.object.push((*key, *value)),
                },
                "ue_pr" | "co" | "unstruct_event" | "contexts" | "context" | "entities"
                    if opened(*value, arena).is_nested() =>
                {
                    parts.collect(*value, 0, arena);
                }
                "data" if schema.is_some() => {}
                "schema" => {
                    let data = get(object, "data").unwrap_or(Raw::NULL);
                    let itself = [("schema", *value), ("data", data)];
                    parts.collect(object_of(itself, arena), 0, arena);
                }
                _ => match enriched {
                    Some(name) => parts.enriched(name, *value),
                    None => parts.object.push((*key, *value)),
                },
            }
        }
        parts
    }

    /// Adds the action or the entities of an enriched event. `name` ends with the schema's version.
    fn enriched(&mut self, name: &'a str, value: Raw<'a>) {
        let name = name.trim_end_matches(|c: char| c == '_' || c.is_ascii_digit());
        for entity in value.elements().unwrap_or_else(|| vec![value]) {
            self.ecommerce.push((name, entity));
        }
    }

    /// Adds self-describing JSON, or a list of it. Lists and wrappers below [`MAX_LEVELS`] stay
    /// whole.
    fn collect(&mut self, value: Raw<'a>, level: usize, arena: &'a Arena) {
        let value = opened(value, arena);
        let may_descend = level < MAX_LEVELS;
        if may_descend && let Some(elements) = value.elements() {
            for element in elements {
                self.collect(element, level + 1, arena);
            }
            return;
        }
        let own = entries(value.get(), arena);
        let schema = text(&own, "schema", arena).unwrap_or_default();
        let mut path = schema.strip_prefix("iglu:").unwrap_or_default().split('/');
        let (vendor, name) = (
            path.next().unwrap_or_default(),
            path.next().unwrap_or_default(),
        );
        match get(&own, "data") {
            Some(data) if may_descend && matches!(name, "unstruct_event" | "contexts") => {
                self.collect(data, level + 1, arena);
            }
            Some(data) if vendor == VENDOR && data.is_object() => self.ecommerce.push((name, data)),
            _ => self.others.push((name, value)),
        }
    }

    /// Returns the name of an event without an action, as JSON.
    fn name(&self, object: &Entries<'a>, arena: &'a Arena) -> Option<Raw<'a>> {
        let name = match text(object, "e", arena) {
            Some("pv") => "page_view",
            Some("pp") => "page_ping",
            Some("se") => "struct",
            // The event comes before its entities.
            _ => self.others.first()?.0,
        };
        let mut out = JsonText::new(arena);
        out.string(name);
        (!name.is_empty()).then(|| Raw::read(out.finish(), false))
    }

    /// Adds the entities to the object, and returns the paths that only this event has.
    fn entities(&mut self, arena: &'a Arena) -> &'static Table {
        let mut items = JsonText::new(arena);
        let mut has_items = false;
        let mut later_step = false;
        items.begin_list();
        let mut others = std::mem::take(&mut self.others);
        let mut taken: BTreeSet<&str> = self.object.iter().map(|(key, _)| *key).collect();
        for (name, entity) in std::mem::take(&mut self.ecommerce) {
            match name {
                "product" => {
                    items.raw(entity.get());
                    has_items = true;
                }
                "promotion" => {
                    write_item(&entries(entity.get(), arena), PROMOTION, arena, &mut items);
                    has_items = true;
                }
                _ => {
                    let key = if name == ACTION { "action" } else { name };
                    if name == "checkout_step" {
                        let step = get(&entries(entity.get(), arena), "step");
                        later_step |= step.is_some_and(|step| step.get().trim_matches('"') != "1");
                    }
                    if taken.insert(key) {
                        self.object.push((key, entity));
                    } else {
                        others.push((key, entity));
                    }
                }
            }
        }
        items.end_list();
        if has_items {
            self.object
                .push(("products", Raw::read(items.finish(), false)));
        }
        if !others.is_empty() {
            let mut contexts = JsonText::new(arena);
            contexts.begin_list();
            // A value of the event's own under this key stays beside them.
            let object = std::mem::take(&mut self.object).into_iter();
            let (own, object) = object.partition(|(key, _)| *key == "contexts");
            self.object = object;
            own.iter().for_each(|(_, own)| contexts.raw(own.get()));
            others
                .iter()
                .for_each(|(_, other)| contexts.raw(other.get()));
            contexts.end_list();
            self.object
                .push(("contexts", Raw::read(contexts.finish(), false)));
        }
        if !later_step {
            return &[];
        }
        let name = Raw::read("\"checkout_progress\"", false);
        self.object.push(("later_step", name));
        LATER_STEP
    }
}

/// Returns the JSON that a string holds in base64.
fn decoded<'a>(value: Raw<'a>, arena: &'a Arena) -> Option<Raw<'a>> {
    let bytes = compressed::from_base64(unescape(value.get(), arena)?)?;
    let mut out = JsonText::new(arena);
    out.string(std::str::from_utf8(&bytes).ok()?);
    let json = opened(Raw::read(out.finish(), false), arena);
    json.is_nested().then_some(json)
}

/// Returns true for an enriched event as tab-separated values, of which there are 131.
/// <https://docs.snowplow.io/docs/fundamentals/canonical-event/>
pub(super) fn is_tsv(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'\t').count() >= 100 && text.contains("iglu:com.snowplow")
}
