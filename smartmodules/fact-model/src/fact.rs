//! The fact: one product interaction, that is one item of one event, or an event without items.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::borrow::optional_text;
use crate::decimal::Decimal;
use crate::envelope::owned;
use crate::extra::Extra;
use crate::hash::FactHash;

/// One row of the fact table.
///
/// The names are GA4's and those of the dbt packages for it. Values of the item win over values of
/// the event wherever GA4 knows both (list, promotion, creative); the two coupons are separate.
/// What is not known is absent. Every field is `None` where the event has a sentinel such as
/// `(not set)`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Fact<'a> {
    /// When it happened, in UTC, to the microsecond; between 2000 and 2099.
    #[serde(deserialize_with = "crate::time::rfc3339_micros::deserialize")]
    pub event_time: DateTime<Utc>,
    /// What happened: `view_item_list`, `view_item`, `begin_checkout`, `purchase` or any other.
    #[serde(borrow)]
    pub event_name: Cow<'a, str>,
    /// The producer's own id of the event.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub event_id: Option<Cow<'a, str>>,
    /// Who did it, where the user is signed in.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub user_id: Option<Cow<'a, str>>,
    /// The device or browser that it happened on; GA's client id.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub user_pseudo_id: Option<Cow<'a, str>>,
    /// The visit that it was part of.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub session_id: Option<Cow<'a, str>>,
    /// `WEB`, `IOS`, `ANDROID`, or whatever the producer says, in upper case.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub platform: Option<Cow<'a, str>>,
    /// `item_id`.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub product_id: Option<Cow<'a, str>>,
    /// `item_name`.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub product_name: Option<Cow<'a, str>>,
    /// `item_brand`.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub product_brand: Option<Cow<'a, str>>,
    /// `item_category`, or its first level where one text holds several: `Apparel/Adult/Shirts`.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub product_category: Option<Cow<'a, str>>,
    /// The second level of the category.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub product_category2: Option<Cow<'a, str>>,
    /// The third level of the category.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub product_category3: Option<Cow<'a, str>>,
    /// The fourth level of the category.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub product_category4: Option<Cow<'a, str>>,
    /// The fifth level of the category, and all below it.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub product_category5: Option<Cow<'a, str>>,
    /// `item_variant`: colour, size.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub product_variant: Option<Cow<'a, str>>,
    /// `item_list_id`, of the item or else of the event.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub list_id: Option<Cow<'a, str>>,
    /// `item_list_name`, of the item or else of the event.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub list_name: Option<Cow<'a, str>>,
    /// `index`: the product's position in the list, counted as the producer counts.
    #[serde(default)]
    pub list_position: Option<i32>,
    /// The item's place in `items`, from 1; 0 for an event without items.
    pub item_ordinal: i32,
    /// The price of one unit, after its discount.
    #[serde(borrow, default)]
    pub price: Option<Decimal<'a>>,
    /// How many units.
    #[serde(borrow, default)]
    pub quantity: Option<Decimal<'a>>,
    /// The discount on one unit.
    #[serde(borrow, default)]
    pub discount: Option<Decimal<'a>>,
    /// `price_in_usd`: the price of one unit in US dollars.
    #[serde(borrow, default)]
    pub price_in_usd: Option<Decimal<'a>>,
    /// `item_revenue`: price times quantity, as the producer says. GA4 sets it for purchases alone.
    #[serde(borrow, default)]
    pub item_revenue: Option<Decimal<'a>>,
    /// `item_revenue_in_usd`: the same in US dollars.
    #[serde(borrow, default)]
    pub item_revenue_in_usd: Option<Decimal<'a>>,
    /// `item_refund`: price times quantity of what was refunded, as the producer says.
    #[serde(borrow, default)]
    pub item_refund: Option<Decimal<'a>>,
    /// `item_refund_in_usd`: the same in US dollars.
    #[serde(borrow, default)]
    pub item_refund_in_usd: Option<Decimal<'a>>,
    /// `coupon` of the item.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub item_coupon: Option<Cow<'a, str>>,
    /// The shop or supplier, of the item or else of the event.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub affiliation: Option<Cow<'a, str>>,
    /// The physical place of the item.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub location_id: Option<Cow<'a, str>>,
    /// `promotion_id`, of the item or else of the event.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub promotion_id: Option<Cow<'a, str>>,
    /// `promotion_name`, of the item or else of the event.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub promotion_name: Option<Cow<'a, str>>,
    /// `creative_name`, of the item or else of the event.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub creative_name: Option<Cow<'a, str>>,
    /// `creative_slot`, of the item or else of the event.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub creative_slot: Option<Cow<'a, str>>,
    /// Three upper-case letters, ISO 4217, of the event or else of the item.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub currency: Option<Cow<'a, str>>,
    /// The value of the whole event; the same on each of its facts, so never to be summed over them.
    #[serde(borrow, default)]
    pub value: Option<Decimal<'a>>,
    /// The order that the event belongs to.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub transaction_id: Option<Cow<'a, str>>,
    /// The tax of the whole event.
    #[serde(borrow, default)]
    pub tax: Option<Decimal<'a>>,
    /// The shipping of the whole event.
    #[serde(borrow, default)]
    pub shipping: Option<Decimal<'a>>,
    /// `coupon` of the event.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub event_coupon: Option<Cow<'a, str>>,
    /// What no column takes: unknown keys, and known ones whose value a column can't hold.
    #[serde(borrow, default)]
    pub extra: Option<Extra<'a>>,
    /// The fact's identity; see [`FactHash`].
    pub fact_hash: FactHash,
}

impl Fact<'_> {
    /// The same fact with its own copy of every text.
    pub fn into_owned(self) -> Fact<'static> {
        Fact {
            event_time: self.event_time,
            event_name: owned(self.event_name),
            event_id: self.event_id.map(owned),
            user_id: self.user_id.map(owned),
            user_pseudo_id: self.user_pseudo_id.map(owned),
            session_id: self.session_id.map(owned),
            platform: self.platform.map(owned),
            product_id: self.product_id.map(owned),
            product_name: self.product_name.map(owned),
            product_brand: self.product_brand.map(owned),
            product_category: self.product_category.map(owned),
            product_category2: self.product_category2.map(owned),
            product_category3: self.product_category3.map(owned),
            product_category4: self.product_category4.map(owned),
            product_category5: self.product_category5.map(owned),
            product_variant: self.product_variant.map(owned),
            list_id: self.list_id.map(owned),
            list_name: self.list_name.map(owned),
            list_position: self.list_position,
            item_ordinal: self.item_ordinal,
            price: self.price.map(Decimal::into_owned),
            quantity: self.quantity.map(Decimal::into_owned),
            discount: self.discount.map(Decimal::into_owned),
            price_in_usd: self.price_in_usd.map(Decimal::into_owned),
            item_revenue: self.item_revenue.map(Decimal::into_owned),
            item_revenue_in_usd: self.item_revenue_in_usd.map(Decimal::into_owned),
            item_refund: self.item_refund.map(Decimal::into_owned),
            item_refund_in_usd: self.item_refund_in_usd.map(Decimal::into_owned),
            item_coupon: self.item_coupon.map(owned),
            affiliation: self.affiliation.map(owned),
            location_id: self.location_id.map(owned),
            promotion_id: self.promotion_id.map(owned),
            promotion_name: self.promotion_name.map(owned),
            creative_name: self.creative_name.map(owned),
            creative_slot: self.creative_slot.map(owned),
            currency: self.currency.map(owned),
            value: self.value.map(Decimal::into_owned),
            transaction_id: self.transaction_id.map(owned),
            tax: self.tax.map(Decimal::into_owned),
            shipping: self.shipping.map(Decimal::into_owned),
            event_coupon: self.event_coupon.map(owned),
            extra: self.extra.map(Extra::into_owned),
            fact_hash: self.fact_hash,
        }
    }
}
