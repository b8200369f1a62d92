//! Events of Shopify's web pixels, with the checkout, cart or products in `data`.
//!
//! <https://shopify.dev/docs/api/web-pixels-api/standard-events>. An item's id is that of the
//! product; the variant's id and its SKU go to `extra`. `value` is the subtotal, which like GA4's
//! `value` excludes shipping and tax.

use crate::formats::Rewritten;
use crate::formats::vendors::{ITEMS, NAME, TIME, Table, Vendor, text};
use crate::json::{Entries, entries, get};
use crate::rejection::Refusal;
use crate::text::Arena;

const SHOPIFY: Vendor = Vendor {
    name: "Shopify's web pixel",
    names: &[
        ("page_viewed", "page_view"),
        ("search_submitted", "search"),
        ("collection_viewed", "view_item_list"),
        ("product_viewed", "view_item"),
        ("product_added_to_cart", "add_to_cart"),
        ("product_removed_from_cart", "remove_from_cart"),
        ("cart_viewed", "view_cart"),
        ("checkout_started", "begin_checkout"),
        ("checkout_shipping_info_submitted", "add_shipping_info"),
        ("payment_info_submitted", "add_payment_info"),
        ("checkout_completed", "purchase"),
    ],
    event: &[
        ("name", NAME),
        ("timestamp", TIME),
        ("id", "event_id"),
        ("clientId", "user_pseudo_id"),
        ("data.checkout.lineItems", ITEMS),
        ("data.cart.lines", ITEMS),
        ("data.cartLine", ITEMS),
        ("data.collection.productVariants", ITEMS),
        ("data.searchResult.productVariants", ITEMS),
        ("data.productVariant", ITEMS),
        ("data.checkout.order.customer.id", "user_id"),
        ("data.checkout.order.id", "transaction_id"),
        ("data.checkout.subtotalPrice.amount", "value"),
        ("data.checkout.totalPrice.amount", "value"),
        ("data.checkout.totalTax.amount", "tax"),
        ("data.checkout.shippingLine.price.amount", "shipping"),
        ("data.checkout.currencyCode", "currency"),
        ("data.checkout.localization.country.isoCode", "country"),
        ("data.cart.cost.totalAmount.amount", "value"),
        ("data.cart.cost.totalAmount.currencyCode", "currency"),
        ("data.collection.id", "item_list_id"),
        ("data.collection.title", "item_list_name"),
    ],
    item: &[
        ("quantity", "quantity"),
        // A line of a checkout.
        ("variant.product.id", "item_id"),
        ("variant.product.title", "item_name"),
        ("variant.product.vendor", "item_brand"),
        ("variant.product.type", "item_category"),
        ("variant.title", "item_variant"),
        ("variant.price.amount", "price"),
        ("variant.price.currencyCode", "currency"),
        // A line of a cart.
        ("merchandise.product.id", "item_id"),
        ("merchandise.product.title", "item_name"),
        ("merchandise.product.vendor", "item_brand"),
        ("merchandise.product.type", "item_category"),
        ("merchandise.title", "item_variant"),
        ("merchandise.price.amount", "price"),
        ("merchandise.price.currencyCode", "currency"),
        // A variant.
        ("product.id", "item_id"),
        ("product.title", "item_name"),
        ("product.vendor", "item_brand"),
        ("product.type", "item_category"),
        ("price.amount", "price"),
        ("price.currencyCode", "currency"),
    ],
    // Names in `data` are Shopify's, so none is a parameter.
    params: "",
};

/// The order may be created after the event, with an id that the event does not have.
const CHECKOUT: &Table = &[
    ("data.checkout.order.id", "transaction_id"),
    ("data.checkout.token", "transaction_id"),
];

/// Rewrites an event; `None` for an object without the pixel's keys.
pub(super) fn read<'a>(
    object: &Entries<'a>,
    arena: &'a Arena,
) -> Result<Option<Rewritten<'a>>, Refusal> {
    let Some(name) = text(object, "name", arena) else {
        return Ok(None);
    };
    let Some(data) = get(object, "data").filter(|data| data.is_object()) else {
        return Ok(None);
    };
    let of_pixel = [
        "checkout",
        "cart",
        "cartLine",
        "collection",
        "searchResult",
        "productVariant",
    ];
    let is_standard = text(object, "type", arena) == Some("standard");
    let is_event = get(object, "clientId").is_some() && is_standard
        || SHOPIFY.event(name).is_some()
            && entries(data.get(), arena)
                .iter()
                .any(|(key, _)| of_pixel.contains(key));
    if !is_event {
        return Ok(None);
    }
    let more = if name == "checkout_completed" {
        CHECKOUT
    } else {
        &[]
    };
    SHOPIFY.rewrite(object, more, arena).map(Some)
}
