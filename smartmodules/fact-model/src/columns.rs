//! The columns of a fact by name, and the columns that keys are read into.

use crate::decimal::Decimal;
use crate::fact::Fact;
use crate::names::{Known, ga4_item_key};

/// The kind of values in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
}

/// The value of a column.
#[derive(Debug)]
pub(crate) enum Value<'f> {
    Text(&'f str),
    Number(Decimal<'f>),
}

impl Value<'_> {
    /// Returns the value as text.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.as_str(),
        }
    }
}

macro_rules! columns {
    (text: $($text:ident)*; number: $($number:ident)*;) => {
        /// Returns the kind of a column that a producer sets; `None` if there is no such column.
        pub(crate) fn kind(column: &str) -> Option<Kind> {
            match column {
                $(stringify!($text))|* => Some(Kind::Text),
                "list_position" $(| stringify!($number))* => Some(Kind::Number),
                _ => None,
            }
        }

        /// Returns the value of a column.
        pub(crate) fn value<'f>(fact: &'f Fact<'_>, column: &str) -> Option<Value<'f>> {
            match column {
                $(stringify!($text) => fact.$text.as_deref().map(Value::Text),)*
                $(stringify!($number) => fact.$number.as_ref().and_then(|number| {
                    Decimal::parse(number.as_str()).map(Value::Number)
                }),)*
                "list_position" => {
                    let position = fact.list_position?.to_string();
                    Decimal::parse(&position).map(|number| Value::Number(number.into_owned()))
                }
                _ => None,
            }
        }
    };
}

columns! {
    text: event_id user_id user_pseudo_id session_id platform traffic_source traffic_medium
        traffic_campaign device_category country app_version product_id product_name product_brand
        product_category product_category2 product_category3 product_category4 product_category5
        product_variant list_id list_name item_coupon affiliation location_id promotion_id
        promotion_name creative_name creative_slot currency transaction_id event_coupon;
    number: price quantity discount price_in_usd item_revenue item_revenue_in_usd item_refund
        item_refund_in_usd value tax shipping;
}

/// Returns the column that a key of an event is read into.
pub(crate) fn of_event_key(key: &str) -> Option<&'static str> {
    Some(match Known::named(key)?.0 {
        Known::Time => "event_time",
        Known::Name => "event_name",
        Known::Items => "items",
        Known::Id => "event_id",
        Known::UserId => "user_id",
        Known::UserPseudoId => "user_pseudo_id",
        Known::SessionId => "session_id",
        Known::Platform => "platform",
        Known::TrafficSource => "traffic_source",
        Known::TrafficMedium => "traffic_medium",
        Known::TrafficCampaign => "traffic_campaign",
        Known::DeviceCategory => "device_category",
        Known::Country => "country",
        Known::AppVersion => "app_version",
        Known::Currency => "currency",
        Known::Value => "value",
        Known::TransactionId => "transaction_id",
        Known::Tax => "tax",
        Known::Shipping => "shipping",
        Known::Coupon => "event_coupon",
        Known::Affiliation => "affiliation",
        Known::ListId => "list_id",
        Known::ListName => "list_name",
        Known::PromotionId => "promotion_id",
        Known::PromotionName => "promotion_name",
        Known::CreativeName => "creative_name",
        Known::CreativeSlot => "creative_slot",
    })
}

/// Returns the column that a key of an item is read into.
pub(crate) fn of_item_key(key: &str) -> Option<&'static str> {
    Some(match ga4_item_key(key).unwrap_or(key) {
        "item_id" => "product_id",
        "item_name" => "product_name",
        "item_brand" => "product_brand",
        "item_category" => "product_category",
        "item_category2" => "product_category2",
        "item_category3" => "product_category3",
        "item_category4" => "product_category4",
        "item_category5" => "product_category5",
        "item_variant" => "product_variant",
        "item_list_id" => "list_id",
        "item_list_name" => "list_name",
        "index" => "list_position",
        "price" => "price",
        "quantity" => "quantity",
        "discount" => "discount",
        "price_in_usd" => "price_in_usd",
        "item_revenue" => "item_revenue",
        "item_revenue_in_usd" => "item_revenue_in_usd",
        "item_refund" => "item_refund",
        "item_refund_in_usd" => "item_refund_in_usd",
        "coupon" => "item_coupon",
        "affiliation" => "affiliation",
        "location_id" => "location_id",
        "promotion_id" => "promotion_id",
        "promotion_name" => "promotion_name",
        "creative_name" => "creative_name",
        "creative_slot" => "creative_slot",
        "currency" => "currency",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value as Json, json};

    use super::*;

    /// Event keys and item keys with a column, each once.
    const EVENT: &str = "event_id user_id user_pseudo_id session_id platform source medium \
        campaign device_category country app_version value transaction_id tax shipping coupon";
    const ITEM: &str = "item_id item_name item_brand item_category item_category2 item_category3 \
        item_category4 item_category5 item_variant item_list_id item_list_name index price \
        quantity discount price_in_usd item_revenue item_revenue_in_usd item_refund \
        item_refund_in_usd coupon affiliation location_id promotion_id promotion_name \
        creative_name creative_slot";

    #[test]
    fn every_column_has_its_kind_its_value_and_its_key() {
        let keys = |names: &'static str| names.split_whitespace();
        let object = |names| BTreeMap::from_iter(keys(names).map(|key| (key, json!(1))));
        let mut event = object(EVENT);
        event.insert("event_name", json!("a"));
        event.insert("ts", json!(1_795_382_400));
        event.insert("currency", json!("EUR"));
        event.insert("items", json!([object(ITEM)]));
        let envelope = crate::flatten(&serde_json::to_vec(&event).unwrap());
        let fact = &envelope.facts[0];
        let mut columns: BTreeMap<String, Json> =
            serde_json::from_value(serde_json::to_value(fact).unwrap()).unwrap();
        for always in ["event_time", "event_name", "item_ordinal", "fact_hash"] {
            assert!(columns.remove(always).is_some() && kind(always).is_none());
        }
        assert_eq!(columns.len(), 44, "{columns:?}");
        for column in columns.keys() {
            let fits = matches!(
                (kind(column), value(fact, column)),
                (Some(Kind::Text), Some(Value::Text(_)))
                    | (Some(Kind::Number), Some(Value::Number(_)))
            );
            assert!(fits, "{column}");
        }
        let of_event = keys(EVENT).chain(["currency"]).map(of_event_key);
        for column in of_event.chain(keys(ITEM).map(of_item_key)) {
            columns.remove(column.unwrap());
        }
        assert!(columns.is_empty(), "{columns:?}");
    }
}
