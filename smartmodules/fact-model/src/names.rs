//! Names of keys and events in GA4 and in the older tags of Universal Analytics.

/// The properties of an event that have a column, and `items`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Time,
    Name,
    Id,
    UserId,
    UserPseudoId,
    SessionId,
    Platform,
    TrafficSource,
    TrafficMedium,
    TrafficCampaign,
    DeviceCategory,
    Country,
    AppVersion,
    Items,
    Currency,
    Value,
    TransactionId,
    Tax,
    Shipping,
    Coupon,
    Affiliation,
    ListId,
    ListName,
    PromotionId,
    PromotionName,
    CreativeName,
    CreativeSlot,
}

/// The number of properties.
pub(crate) const KNOWN: usize = Known::CreativeSlot as usize + 1;

impl Known {
    /// Returns the property that `key` names, with the key's rank: of several keys for the same
    /// property the lowest rank wins.
    pub(crate) fn named(key: &str) -> Option<(Self, u8)> {
        Some(match key.as_bytes() {
            b"event_name" => (Self::Name, 0),
            b"event" => (Self::Name, 1),
            b"name" => (Self::Name, 2),
            b"event_time" => (Self::Time, 0),
            b"event_timestamp" => (Self::Time, 1),
            b"timestamp_micros" => (Self::Time, 2),
            b"timestamp" => (Self::Time, 3),
            b"time" => (Self::Time, 4),
            b"ts" => (Self::Time, 5),
            b"event_id" => (Self::Id, 0),
            b"user_id" => (Self::UserId, 0),
            b"user_pseudo_id" => (Self::UserPseudoId, 0),
            b"client_id" => (Self::UserPseudoId, 1),
            b"app_instance_id" => (Self::UserPseudoId, 2),
            b"session_id" => (Self::SessionId, 0),
            b"ga_session_id" => (Self::SessionId, 1),
            b"platform" => (Self::Platform, 0),
            b"source" => (Self::TrafficSource, 0),
            b"utm_source" => (Self::TrafficSource, 1),
            b"traffic_source" => (Self::TrafficSource, 2),
            b"medium" => (Self::TrafficMedium, 0),
            b"utm_medium" => (Self::TrafficMedium, 1),
            b"traffic_medium" => (Self::TrafficMedium, 2),
            b"campaign" => (Self::TrafficCampaign, 0),
            b"utm_campaign" => (Self::TrafficCampaign, 1),
            b"traffic_campaign" => (Self::TrafficCampaign, 2),
            b"device_category" => (Self::DeviceCategory, 0),
            b"country" => (Self::Country, 0),
            b"app_version" => (Self::AppVersion, 0),
            b"appVersion" => (Self::AppVersion, 1),
            b"items" => (Self::Items, 0),
            b"currency" => (Self::Currency, 0),
            b"value" => (Self::Value, 0),
            b"transaction_id" => (Self::TransactionId, 0),
            b"tax" => (Self::Tax, 0),
            b"shipping" => (Self::Shipping, 0),
            b"coupon" => (Self::Coupon, 0),
            b"affiliation" => (Self::Affiliation, 0),
            b"item_list_id" => (Self::ListId, 0),
            b"item_list_name" => (Self::ListName, 0),
            b"promotion_id" => (Self::PromotionId, 0),
            b"promotion_name" => (Self::PromotionName, 0),
            b"creative_name" => (Self::CreativeName, 0),
            b"creative_slot" => (Self::CreativeSlot, 0),
            _ => return None,
        })
    }

    /// Returns true if an object or a list is not a value of the property. GA4's `traffic_source`
    /// is an object, and so is the `source` of some producers; it must not hide a text elsewhere in
    /// the event.
    pub(crate) const fn is_never_nested(self) -> bool {
        matches!(
            self,
            Self::TrafficSource
                | Self::TrafficMedium
                | Self::TrafficCampaign
                | Self::DeviceCategory
                | Self::Country
                | Self::AppVersion
        )
    }
}

/// Objects in GA4's export and Measurement Protocol with values that have a column.
pub(crate) const NESTED: [(&str, &[(&str, Known)]); 5] = [
    (
        "collected_traffic_source",
        &[
            ("manual_source", Known::TrafficSource),
            ("manual_medium", Known::TrafficMedium),
            ("manual_campaign_name", Known::TrafficCampaign),
        ],
    ),
    ("device", &[("category", Known::DeviceCategory)]),
    ("geo", &[("country", Known::Country)]),
    ("app_info", &[("version", Known::AppVersion)]),
    ("user_location", &[("country_id", Known::Country)]),
];

/// The rank of the first of [`NESTED`]. A key of the event itself wins over all of them.
pub(crate) const NESTED_RANK: u8 = 100;

pub(crate) fn is_nested(key: &str) -> bool {
    NESTED.iter().any(|(name, _)| *name == key)
}

/// Returns true for a key of an event that has a column, and for `items`.
pub(crate) fn is_known(key: &str) -> bool {
    Known::named(key).is_some()
}

/// Looks up a key of an event: one that has a column, `items`, or another column of an event in
/// GA4's BigQuery export.
pub(crate) fn event_key(key: &str) -> Option<KnownName> {
    use Known::{
        Affiliation, Country, Coupon, CreativeName, CreativeSlot, ListName, PromotionName,
        TrafficCampaign, TrafficMedium, TrafficSource,
    };
    let known = Known::named(key).map(|(known, _)| known);
    let is_text = known.is_some_and(|known| {
        matches!(
            known,
            Coupon
                | Affiliation
                | ListName
                | PromotionName
                | CreativeName
                | CreativeSlot
                | TrafficSource
                | TrafficMedium
                | TrafficCampaign
                | Country
        )
    });
    // In GA4's export this is a row.
    let is_text = is_text && key != "traffic_source";
    let is_known = known.is_some() || OTHER_COLUMNS.contains(&key);
    is_known.then_some(KnownName {
        number: None,
        is_text,
    })
}

/// Columns of an event in GA4's export that aren't a fact's column, and keys that hold parameters.
const OTHER_COLUMNS: [&str; 23] = [
    "app_info",
    "batch_event_index",
    "batch_ordering_id",
    "batch_page_id",
    "collected_traffic_source",
    "device",
    "ecommerce",
    "event_bundle_sequence_id",
    "event_date",
    "event_dimensions",
    "event_params",
    "event_previous_timestamp",
    "event_server_timestamp_offset",
    "event_value_in_usd",
    "geo",
    "is_active_user",
    "params",
    "privacy_info",
    "replay_timestamp",
    "stream_id",
    "user_first_touch_timestamp",
    "user_ltv",
    "user_properties",
];

/// A known field name of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownName {
    /// A number below 64, unique among the names of this kind of row, if that kind numbers its
    /// names.
    pub(crate) number: Option<u8>,
    /// True for free text, false for ids, codes, numbers and times.
    pub(crate) is_text: bool,
}

/// Looks up a column of an item in GA4's BigQuery export, or one of GA4's other item parameters.
pub(crate) fn item_key(key: &str) -> Option<KnownName> {
    let code = |number| KnownName {
        number: Some(number),
        is_text: false,
    };
    let text = |number| KnownName {
        number: Some(number),
        is_text: true,
    };
    Some(match key.as_bytes() {
        b"item_id" => code(0),
        b"item_name" => text(1),
        b"item_brand" => text(2),
        b"item_variant" => text(3),
        b"item_category" => text(4),
        b"item_category2" => text(5),
        b"item_category3" => text(6),
        b"item_category4" => text(7),
        b"item_category5" => text(8),
        b"price_in_usd" => code(9),
        b"price" => code(10),
        b"quantity" => code(11),
        b"item_revenue_in_usd" => code(12),
        b"item_revenue" => code(13),
        b"item_refund_in_usd" => code(14),
        b"item_refund" => code(15),
        b"coupon" => text(16),
        b"affiliation" => text(17),
        b"location_id" => code(18),
        b"item_list_id" => code(19),
        b"item_list_name" => text(20),
        b"item_list_index" => code(21),
        b"promotion_id" => code(22),
        b"promotion_name" => text(23),
        b"creative_name" => text(24),
        b"creative_slot" => text(25),
        b"item_params" => code(26),
        b"index" => code(27),
        b"discount" => code(28),
        b"currency" => code(29),
        _ => return None,
    })
}

/// Looks up an older tag's name for a column of an item.
pub(crate) fn older_item_key(key: &str) -> Option<KnownName> {
    let known = item_key(ga4_item_key(key)?)?;
    Some(KnownName {
        number: None,
        ..known
    })
}

/// Translates an older name of an item's key to GA4's: Universal Analytics' names, which gtag.js
/// also accepts, and BigQuery's `item_list_index`. If an item has both, GA4's name wins.
pub(crate) fn ga4_item_key(key: &str) -> Option<&'static str> {
    Some(match key {
        "id" => "item_id",
        "name" => "item_name",
        "brand" => "item_brand",
        "category" => "item_category",
        "variant" => "item_variant",
        "list" | "list_name" => "item_list_name",
        "position" | "list_position" | "item_list_index" => "index",
        "creative" => "creative_name",
        _ => return None,
    })
}

/// GA4's e-commerce events
/// (<https://developers.google.com/analytics/devguides/collection/ga4/reference/events>).
const ECOMMERCE_EVENTS: [&str; 14] = [
    "add_payment_info",
    "add_shipping_info",
    "add_to_cart",
    "add_to_wishlist",
    "begin_checkout",
    "purchase",
    "refund",
    "remove_from_cart",
    "select_item",
    "select_promotion",
    "view_cart",
    "view_item",
    "view_item_list",
    "view_promotion",
];

pub(crate) fn is_ecommerce_event(name: &str) -> bool {
    ECOMMERCE_EVENTS.contains(&name)
}

/// Returns false for an event whose `item_id` or `item_name` is no product's: shared or selected
/// content, and a thing bought with a game's currency
/// (<https://developers.google.com/analytics/devguides/collection/ga4/reference/events>).
pub(crate) fn may_have_product(event: &str) -> bool {
    !matches!(event, "share" | "select_content" | "spend_virtual_currency")
}

/// The event of product impressions.
pub(crate) const IMPRESSION: &str = "view_item_list";
/// The event of a promotion that was shown.
pub(crate) const PROMOTION_VIEW: &str = "view_promotion";
/// The event of a promotion that was clicked.
pub(crate) const PROMOTION_CLICK: &str = "select_promotion";

/// Returns GA4's event for an action of Universal Analytics' enhanced e-commerce, in a hit
/// (`pa=detail`) or a data layer (`ecommerce.detail`). The first checkout step is `begin_checkout`.
/// GA4 has no events for later steps and options, so they keep gtag.js' names.
pub(crate) fn event_of_action<'t>(action: &'t str, step: Option<&str>) -> &'t str {
    match action {
        "detail" => "view_item",
        "click" => "select_item",
        "add" => "add_to_cart",
        "remove" => "remove_from_cart",
        "checkout" if matches!(step, None | Some("" | "1")) => "begin_checkout",
        "checkout" => "checkout_progress",
        "checkout_option" => "set_checkout_option",
        other => other,
    }
}
