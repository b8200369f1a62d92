//! The fact: one product interaction, which is one item of one event or an event without items.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::decimal::Decimal;
use crate::extra::Extra;
use crate::text::{Text, optional_text, owned};

/// One row of the fact table.
///
/// The names follow GA4 and its dbt packages. Item values win over event values where GA4 has both
/// (list, promotion, creative); the two coupons are separate columns. A field is `None` if the
/// event has no value or a sentinel such as `(not set)`. A text has up to
/// [`MAX_TEXT`](crate::MAX_TEXT) bytes; of a longer one `extra` has the whole.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Fact<'a> {
    /// The event's time in UTC, to the microsecond, between the years 2000 and 2099.
    #[serde(deserialize_with = "crate::time::rfc3339_micros::deserialize")]
    pub event_time: DateTime<Utc>,
    /// `view_item_list`, `view_item`, `begin_checkout`, `purchase` or any other name.
    #[serde(borrow)]
    pub event_name: Cow<'a, str>,
    /// The producer's id of the event.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub event_id: Option<Cow<'a, str>>,
    /// The signed-in user.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub user_id: Option<Cow<'a, str>>,
    /// The device or browser: GA's client id.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub user_pseudo_id: Option<Cow<'a, str>>,
    /// The visit.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub session_id: Option<Cow<'a, str>>,
    /// `WEB`, `IOS`, `ANDROID` or another value of the producer, in upper case.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub platform: Option<Cow<'a, str>>,
    /// The source that the event itself names, such as `google`: GA4's manual source or the
    /// parameter `source`. GA4's `traffic_source` is the source of the user's first visit and stays
    /// in `extra`.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub traffic_source: Option<Cow<'a, str>>,
    /// The medium of that source, such as `cpc`. `(none)` is GA4's medium of a direct visit.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub traffic_medium: Option<Cow<'a, str>>,
    /// The name of the campaign.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub traffic_campaign: Option<Cow<'a, str>>,
    /// The kind of device, as sent: `mobile`, `tablet`, `desktop`.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub device_category: Option<Cow<'a, str>>,
    /// The country, as sent: a name in GA4's export, an ISO 3166-1 code in the Measurement
    /// Protocol.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub country: Option<Cow<'a, str>>,
    /// The version of the app.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub app_version: Option<Cow<'a, str>>,
    /// `item_id`.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub product_id: Option<Cow<'a, str>>,
    /// `item_name`.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub product_name: Option<Cow<'a, str>>,
    /// `item_brand`.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub product_brand: Option<Cow<'a, str>>,
    /// `item_category`, or the first level of a path in an older tag's `category`.
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
    /// The fifth level of the category and all levels below it.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub product_category5: Option<Cow<'a, str>>,
    /// `item_variant`: colour, size.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub product_variant: Option<Cow<'a, str>>,
    /// `item_list_id` of the item, else of the event.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub list_id: Option<Cow<'a, str>>,
    /// `item_list_name` of the item, else of the event.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub list_name: Option<Cow<'a, str>>,
    /// `index`: the product's position in the list. The producer decides whether it starts at 0 or
    /// 1.
    #[serde(default)]
    pub list_position: Option<i32>,
    /// The item's position in `items`, from 1; 0 for an event without items.
    pub item_ordinal: i32,
    /// The price of one unit, after its discount.
    #[serde(borrow, default)]
    pub price: Option<Decimal<'a>>,
    /// The number of units.
    #[serde(borrow, default)]
    pub quantity: Option<Decimal<'a>>,
    /// The discount on one unit.
    #[serde(borrow, default)]
    pub discount: Option<Decimal<'a>>,
    /// `price_in_usd`: the price of one unit in US dollars.
    #[serde(borrow, default)]
    pub price_in_usd: Option<Decimal<'a>>,
    /// `item_revenue`: price times quantity, as sent. GA4 sets it only for purchases.
    #[serde(borrow, default)]
    pub item_revenue: Option<Decimal<'a>>,
    /// `item_revenue_in_usd`: `item_revenue` in US dollars.
    #[serde(borrow, default)]
    pub item_revenue_in_usd: Option<Decimal<'a>>,
    /// `item_refund`: price times quantity of the refunded units, as sent.
    #[serde(borrow, default)]
    pub item_refund: Option<Decimal<'a>>,
    /// `item_refund_in_usd`: `item_refund` in US dollars.
    #[serde(borrow, default)]
    pub item_refund_in_usd: Option<Decimal<'a>>,
    /// `coupon` of the item.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub item_coupon: Option<Cow<'a, str>>,
    /// The shop or supplier of the item, else of the event.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub affiliation: Option<Cow<'a, str>>,
    /// The physical location of the item.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub location_id: Option<Cow<'a, str>>,
    /// `promotion_id` of the item, else of the event.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub promotion_id: Option<Cow<'a, str>>,
    /// `promotion_name` of the item, else of the event.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub promotion_name: Option<Cow<'a, str>>,
    /// `creative_name` of the item, else of the event.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub creative_name: Option<Cow<'a, str>>,
    /// `creative_slot` of the item, else of the event.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub creative_slot: Option<Cow<'a, str>>,
    /// ISO 4217 code in upper case, of the event, else of the item.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub currency: Option<Cow<'a, str>>,
    /// The value of the whole event. Each of its facts repeats it, so don't sum it over facts.
    #[serde(borrow, default)]
    pub value: Option<Decimal<'a>>,
    /// The order's id.
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
    /// Unknown keys, and known keys with a value that their column can't hold, or not whole.
    #[serde(borrow, default)]
    pub extra: Option<Extra<'a>>,
    /// The fact's identity.
    pub fact_hash: FactHash,
}

impl Fact<'_> {
    /// Copies all borrowed strings.
    pub fn into_owned(self) -> Fact<'static> {
        Fact {
            event_time: self.event_time,
            event_name: owned(self.event_name),
            event_id: self.event_id.map(owned),
            user_id: self.user_id.map(owned),
            user_pseudo_id: self.user_pseudo_id.map(owned),
            session_id: self.session_id.map(owned),
            platform: self.platform.map(owned),
            traffic_source: self.traffic_source.map(owned),
            traffic_medium: self.traffic_medium.map(owned),
            traffic_campaign: self.traffic_campaign.map(owned),
            device_category: self.device_category.map(owned),
            country: self.country.map(owned),
            app_version: self.app_version.map(owned),
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

/// A fact's identity: 128 bits, most significant byte first, written as 32 lower-case hex digits.
/// [`hash`](crate::hash) defines how it is computed.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactHash(pub [u8; 16]);

impl FactHash {
    /// Returns the 32 hex digits as ASCII.
    pub(crate) fn digits(self) -> [u8; 32] {
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 0xf]) {
                *digit = if nibble < 10 {
                    b'0' + nibble
                } else {
                    b'a' + nibble - 10
                };
            }
        }
        digits
    }
}

impl fmt::Display for FactHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

impl fmt::Debug for FactHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The string is not a fact hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fact hash is 32 hex digits")]
pub struct NotAFactHash;

impl FromStr for FactHash {
    type Err = NotAFactHash;

    fn from_str(text: &str) -> Result<Self, NotAFactHash> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotAFactHash);
        }
        // Two 64-bit halves: 128-bit multiplication is four times as slow.
        let (high, low) = text.split_at_checked(16).ok_or(NotAFactHash)?;
        let half = |digits| u64::from_str_radix(digits, 16).map_err(|_| NotAFactHash);
        let bits = u128::from(half(high)?) << 64 | u128::from(half(low)?);
        Ok(Self(bits.to_be_bytes()))
    }
}

impl Serialize for FactHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for FactHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
