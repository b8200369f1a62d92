//! Segment's and RudderStack's calls `track`, `page` and `screen`, with the parameters and
//! `products` in `properties`.
//!
//! <https://www.twilio.com/docs/segment/connections/spec/ecommerce/v2>,
//! <https://www.twilio.com/docs/segment/connections/spec/common>,
//! <https://www.rudderstack.com/docs/event-spec/ecommerce-events-spec/>.
//! `value` is `revenue`, which like GA4's `value` excludes shipping and tax.

use crate::formats::Rewritten;
use crate::formats::vendors::{ITEMS, NAME, TIME, Table, Vendor, text};
use crate::json::{Entries, entries, get, trim};
use crate::raw::Raw;
use crate::rejection::{Reason, Refusal};
use crate::text::Arena;
use crate::write::object_of;

const SEGMENT: Vendor = Vendor {
    name: "Segment",
    names: &[
        ("products searched", "search"),
        ("product list viewed", "view_item_list"),
        ("promotion viewed", "view_promotion"),
        ("promotion clicked", "select_promotion"),
        ("product clicked", "select_item"),
        ("product viewed", "view_item"),
        ("product added", "add_to_cart"),
        ("product removed", "remove_from_cart"),
        ("product added to wishlist", "add_to_wishlist"),
        ("cart viewed", "view_cart"),
        ("checkout started", "begin_checkout"),
        ("payment info entered", "add_payment_info"),
        ("order completed", "purchase"),
        ("order refunded", "refund"),
        // The first version of the specification.
        ("viewed product category", "view_item_list"),
        ("viewed product", "view_item"),
        ("added product", "add_to_cart"),
        ("removed product", "remove_from_cart"),
        ("completed order", "purchase"),
        // Calls without a name of an event.
        ("page", "page_view"),
        ("screen", "screen_view"),
    ],
    event: &[
        ("event", NAME),
        ("messageId", "event_id"),
        ("timestamp", TIME),
        ("originalTimestamp", TIME),
        ("userId", "user_id"),
        ("anonymousId", "user_pseudo_id"),
        ("context.sessionId", "session_id"),
        ("context.device.type", "platform"),
        ("context.campaign.source", "source"),
        ("context.campaign.medium", "medium"),
        ("context.campaign.name", "campaign"),
        ("context.location.country", "country"),
        ("context.app.version", "app_version"),
        ("properties.products", ITEMS),
        ("properties.order_id", "transaction_id"),
        ("properties.revenue", "value"),
        ("properties.subtotal", "value"),
        ("properties.value", "value"),
        ("properties.total", "value"),
        ("properties.list_id", "item_list_id"),
    ],
    item: &PRODUCT,
    params: "properties",
};

const PRODUCT: [(&str, &str); 11] = [
    ("product_id", "item_id"),
    ("sku", "item_id"),
    ("id", "item_id"),
    ("name", "item_name"),
    ("brand", "item_brand"),
    ("category", "item_category"),
    ("variant", "item_variant"),
    ("price", "price"),
    ("quantity", "quantity"),
    ("coupon", "coupon"),
    ("position", "index"),
];

/// Paths of an event with a list of products.
const LIST: &Table = &[("properties.category", "item_list_name")];
const PROMOTION: &Table = &[
    ("properties.name", "promotion_name"),
    ("properties.creative", "creative_name"),
    ("properties.position", "creative_slot"),
];
/// The one product of an event without a list, once [`with_product`] has moved it.
const ONE: &Table = &[("product", ITEMS)];

/// Returns true for the JSON of a call's `type`.
pub(super) fn is_call(json: &str) -> bool {
    let calls = ["track", "page", "screen", "identify", "group", "alias"];
    calls.contains(&json.trim_matches('"'))
}

/// Rewrites a call; `None` for other objects, which have neither a call's type and ids nor an
/// event's name of the specification.
pub(super) fn read<'a>(
    object: &Entries<'a>,
    arena: &'a Arena,
) -> Result<Option<Rewritten<'a>>, Refusal> {
    if get(object, "event_name").is_some() {
        return Ok(None);
    }
    let ids = [
        "messageId",
        "anonymousId",
        "userId",
        "originalTimestamp",
        "integrations",
    ];
    let is_call = ids.iter().any(|id| get(object, id).is_some());
    let call = text(object, "type", arena).filter(|_| is_call);
    if let Some(call @ ("identify" | "group" | "alias")) = call {
        let detail = format!("this is Segment's call `{call}`, which tells of no event");
        return Err(Refusal::at(Reason::NotAnEvent, detail, ".type"));
    }
    let name = text(object, "event", arena).map(trim);
    let event = name.and_then(|name| SEGMENT.event(name));
    let has_properties = get(object, "properties").is_some_and(Raw::is_object);
    if !matches!(call, Some("track" | "page" | "screen")) && (event.is_none() || !has_properties) {
        return Ok(None);
    }
    let mut object = object.clone();
    if let Some(call @ ("page" | "screen")) = call
        && name.is_none()
    {
        let name = if call == "page" {
            "\"page\""
        } else {
            "\"screen\""
        };
        object.push(("event", Raw::read(name, false)));
    }
    let more = match event {
        Some("view_item_list") => LIST,
        Some("view_promotion" | "select_promotion") => PROMOTION,
        _ if with_product(&mut object, arena) => ONE,
        _ => &[],
    };
    SEGMENT.rewrite(&object, more, arena).map(Some)
}

/// Moves the values of the one product in `properties` to a key `product`, and returns true if
/// there is one.
fn with_product<'a>(object: &mut Entries<'a>, arena: &'a Arena) -> bool {
    let Some(properties) = get(object, "properties") else {
        return false;
    };
    let mut properties = entries(properties.get(), arena);
    let has = |key| get(&properties, key).is_some();
    if has("products") || !(has("product_id") || has("sku")) || get(object, "product").is_some() {
        return false;
    }
    let is_product = |key: &str| PRODUCT.iter().any(|(row, _)| *row == key);
    let product: Entries<'_>;
    (product, properties) = properties.into_iter().partition(|(key, _)| is_product(key));
    object.retain(|(key, _)| *key != "properties");
    object.push(("properties", object_of(properties, arena)));
    object.push(("product", object_of(product, arena)));
    true
}
