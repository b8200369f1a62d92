//! Server events of Meta's Conversions API, with the parameters and `contents` in `custom_data`.
//!
//! <https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/custom-data>,
//! <https://developers.facebook.com/docs/meta-pixel/reference> (names of events). Pinterest's and
//! Snap's APIs have the same shape.

use crate::formats::Rewritten;
use crate::formats::vendors::{ITEMS, NAME, TIME, Vendor};
use crate::json::{Entries, get};
use crate::raw::Raw;
use crate::rejection::Refusal;
use crate::text::Arena;

const META: Vendor = Vendor {
    name: "Meta's Conversions API",
    names: &[
        ("viewcontent", "view_item"),
        ("search", "search"),
        ("addtocart", "add_to_cart"),
        ("addtowishlist", "add_to_wishlist"),
        ("initiatecheckout", "begin_checkout"),
        ("addpaymentinfo", "add_payment_info"),
        ("purchase", "purchase"),
        ("pageview", "page_view"),
    ],
    event: &[
        ("event_name", NAME),
        ("event_time", TIME),
        // The browser's id is not hashed; `external_id` usually is.
        ("user_data.fbp", "user_pseudo_id"),
        ("custom_data.contents", ITEMS),
        ("custom_data.content_ids", ITEMS),
        ("custom_data.order_id", "transaction_id"),
    ],
    item: &[
        ("id", "item_id"),
        ("product_id", "item_id"),
        ("title", "item_name"),
        ("name", "item_name"),
        ("brand", "item_brand"),
        ("category", "item_category"),
        ("content_category", "item_category"),
        ("item_price", "price"),
    ],
    params: "custom_data",
};

/// Rewrites an event; `None` for an object without `custom_data`.
pub(super) fn read<'a>(
    object: &Entries<'a>,
    arena: &'a Arena,
) -> Result<Option<Rewritten<'a>>, Refusal> {
    let is_event = get(object, "event_name").is_some();
    if !is_event || !get(object, "custom_data").is_some_and(Raw::is_object) {
        return Ok(None);
    }
    META.rewrite(object, &[], arena).map(Some)
}
