//! Events in the format of a mobile shop's queue: a JSON object whose `items` is an array of rows
//! as Java, Athena, Presto, Trino, Hive and Spark print it, without quotes.
//!
//! The fields are those of an item in [GA4's export to BigQuery][export], in its order.
//!
//! [export]: https://support.google.com/analytics/answer/7029846#items

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use rand::Rng;
use rand::rngs::StdRng;
use serde::Serialize;

use super::shop::{Event, Line};

/// The numbers of products in a list view, equally likely.
pub const LIST_VIEW_SIZES: [usize; 10] = [1, 1, 1, 1, 1, 2, 2, 2, 3, 4];
/// The SDK drops longer names and reports that in the parameters.
const LONGEST_NAME: usize = 100;
const SELLER: &str = "Órbita Electrónica, S.A. de C.V.";
const PESOS_PER_DOLLAR: f64 = 18.395;

/// A message body.
#[derive(Serialize)]
pub struct Body {
    event_timestamp: i64,
    user_id: Option<String>,
    event_name: &'static str,
    platform: &'static str,
    items: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    replay_timestamp: Option<String>,
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

pub fn body(event: &Event, replayed: Option<DateTime<Utc>>) -> Body {
    let items: Vec<String> = event.lines.iter().map(|line| item(event, line)).collect();
    Body {
        event_timestamp: event.at.timestamp_micros(),
        user_id: event
            .is_signed_in
            .then(|| format!("user_{:08x}", event.person.number.wrapping_mul(0x9E37_79B1))),
        event_name: event.name,
        platform: event.person.platform,
        items: format!("[{}]", items.join(", ")),
        replay_timestamp: replayed.map(replay_timestamp),
    }
}

/// The producer writes UTC as `Z` or as `+00:00`.
fn replay_timestamp(time: DateTime<Utc>) -> String {
    let writes_z = time.timestamp() % 2 == 0;
    time.to_rfc3339_opts(SecondsFormat::Micros, writes_z)
}

/// A message with an unreadable event.
pub fn unreadable(event: &Event, replayed: Option<DateTime<Utc>>, random: &mut StdRng) -> String {
    let mut body = body(event, replayed);
    match random.random_range(0..5) {
        0 => body.items = cut_off(&body.items, random).to_owned(),
        1 => drop(body.items.pop()),
        2 => body.items.push(']'),
        3 => return cut_off(&body.to_string(), random).to_owned(),
        _ => body.event_timestamp = 0,
    }
    body.to_string()
}

fn cut_off<'t>(text: &'t str, random: &mut StdRng) -> &'t str {
    let end = random.random_range(1..text.len());
    let end = (0..=end).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or("{")
}

fn item(event: &Event, line: &Line) -> String {
    let product = line.product;
    let is_list_view = event.name == "view_item_list";
    let is_order = matches!(event.name, "begin_checkout" | "purchase");
    let is_purchase = event.name == "purchase";
    let list = event.list.filter(|_| is_list_view);
    let category = |level: usize| Value::text(product.categories.get(level).copied());
    let price = product.price - product.discount.map_or(0.0, |(amount, _)| amount);
    let units = f64::from(line.quantity);
    let has_name = line.name.chars().count() <= LONGEST_NAME;
    let promotion = list.and_then(|list| list.promotion);
    let position = list
        .filter(|list| list.is_numbered)
        .map(|_| line.position.to_string());
    let has_coupon = is_order && event.number.is_multiple_of(5);
    let has_seller = is_order && event.number.is_multiple_of(3);
    // One of the apps writes an empty text without a list.
    let of_list = |text| match text {
        None if event.person.platform == "IOS" => Value::Text(""),
        text => Value::text(text),
    };
    let dollars = |pesos: f64| Value::Double(round(pesos / PESOS_PER_DOLLAR, 1e6));

    row(&[
        ("item_id", Value::Text(product.id)),
        ("item_name", Value::text(has_name.then_some(line.name))),
        ("item_brand", Value::text(product.brand)),
        ("item_variant", Value::text(product.variant)),
        ("item_category", category(0)),
        ("item_category2", category(1)),
        ("item_category3", category(2)),
        ("item_category4", category(3)),
        ("item_category5", category(4)),
        ("price_in_usd", dollars(price).only_if(is_order)),
        ("price", Value::Double(price)),
        (
            "quantity",
            Value::Integer(line.quantity.into()).only_if(!is_list_view),
        ),
        (
            "item_revenue_in_usd",
            dollars(price * units).only_if(is_purchase),
        ),
        (
            "item_revenue",
            Value::Double(round(price * units, 100.0)).only_if(is_purchase),
        ),
        ("item_refund_in_usd", Value::Null),
        ("item_refund", Value::Null),
        ("coupon", Value::text(has_coupon.then_some("BIENVENIDA10"))),
        ("affiliation", Value::text(has_seller.then_some(SELLER))),
        (
            "location_id",
            Value::text(is_purchase.then_some("ChIJU1NoiDs6BIQREZgJa760ZO0")),
        ),
        ("item_list_id", of_list(list.map(|list| list.id))),
        ("item_list_name", of_list(list.map(|list| list.name))),
        ("item_list_index", Value::text(position.as_deref())),
        ("promotion_id", Value::text(promotion.map(|_| "promo_7"))),
        ("promotion_name", Value::text(promotion)),
        (
            "creative_name",
            Value::text(promotion.map(|_| "banner, grande")),
        ),
        ("creative_slot", Value::text(promotion.map(|_| "home_1"))),
        ("item_params", Value::Printed(params(event, line, price))),
    ])
}

/// `[{key=in_stock, value={string_value=null, int_value=1, …}}, …]`
fn params(event: &Event, line: &Line, price: f64) -> String {
    let product = line.product;
    let is_in_stock = !event.number.is_multiple_of(11);
    let mut params = vec![("in_stock", Value::Integer(is_in_stock.into()))];
    let length = line.name.chars().count();
    if length > LONGEST_NAME {
        params.extend([
            ("firebase_error", Value::Integer(4)),
            ("error_value", Value::Text("item_name")),
            ("_el", Value::Integer(length as u64)),
        ]);
    }
    if let Some((_, codes)) = product.discount {
        params.push(("discounts", Value::Text(codes)));
    }
    let discount = product.discount.map_or(0.0, |(amount, _)| amount);
    params.push(("discountt", Value::Double(discount)));
    params.push(("totalPrice", Value::Double(round(price + discount, 100.0))));
    let installments = match event.number % 3 {
        0 => 3_u32,
        1 => 6,
        _ => 12,
    };
    if matches!(event.name, "begin_checkout" | "purchase") {
        let share = money(round(price / f64::from(installments), 100.0));
        params.extend([
            // The apps of the two platforms disagree about the type.
            (
                "number_of_installments",
                match event.person.platform {
                    "IOS" => Value::Integer(installments.into()),
                    _ => Value::Double(installments.into()),
                },
            ),
            ("installment_price", Value::Printed(share)),
        ]);
    }
    let params: Vec<String> = params
        .iter()
        .map(|(key, value)| {
            let only = |wanted: bool| if wanted { value } else { &Value::Null };
            let value = row(&[
                (
                    "string_value",
                    only(matches!(value, Value::Text(_) | Value::Printed(_))),
                ),
                ("int_value", only(matches!(value, Value::Integer(_)))),
                ("float_value", &Value::Null),
                ("double_value", only(matches!(value, Value::Double(_)))),
            ]);
            format!("{{key={key}, value={value}}}")
        })
        .collect();
    format!("[{}]", params.join(", "))
}

/// `$1,299.00`
fn money(amount: f64) -> String {
    let text = format!("{amount:.2}");
    let (whole, cents) = text.split_once('.').unwrap_or((&text, "00"));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("${grouped}.{cents}")
}

fn round(amount: f64, steps: f64) -> f64 {
    (amount * steps).round() / steps
}

/// A value in a row.
enum Value<'a> {
    /// A missing number.
    Null,
    /// A missing text.
    NotSet,
    Text(&'a str),
    Printed(String),
    Integer(u64),
    Double(f64),
}

impl<'a> Value<'a> {
    fn text(text: Option<&'a str>) -> Self {
        text.map_or(Self::NotSet, Self::Text)
    }

    fn only_if(self, is_there: bool) -> Self {
        if is_there { self } else { Self::Null }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::NotSet => f.write_str("(not set)"),
            Self::Text(text) => f.write_str(text),
            Self::Printed(text) => f.write_str(text),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Double(number) => f.write_str(&java_double(*number)),
        }
    }
}

/// `{name=value, name=value}`
fn row(fields: &[(&str, impl fmt::Display)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!("{{{}}}", fields.join(", "))
}

/// The text of Java's [`Double.toString`][java].
///
/// [java]:
/// https://docs.oracle.com/en/java/javase/21/docs/api/java.base/java/lang/Double.html#toString(double)
fn java_double(number: f64) -> String {
    if number == 0.0 || (1e-3..1e7).contains(&number.abs()) {
        return format!("{number:?}");
    }
    let text = format!("{number:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_have_the_format_of_java() {
        let written = [
            0.0,
            12.0,
            899.5,
            0.001,
            9_999_999.0,
            1e7,
            12_345_678.0,
            9.9e-4,
            5e-324,
            -1e10,
        ]
        .map(java_double);
        assert_eq!(
            written,
            [
                "0.0",
                "12.0",
                "899.5",
                "0.001",
                "9999999.0",
                "1.0E7",
                "1.2345678E7",
                "9.9E-4",
                "5.0E-324",
                "-1.0E10"
            ]
        );
    }

    #[test]
    fn money_has_groups_of_three_digits() {
        let written = [0.0, 74.92, 1_299.0, 1_028_806.5].map(money);
        assert_eq!(written, ["$0.00", "$74.92", "$1,299.00", "$1,028,806.50"]);
    }
}
