//! Facts as rows of [`crate::schema::FACTS`].

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use fact_model::{Decimal, Fact};
use serde_json::Value;

use super::{Row, RowBuilder, Source};

/// Adds a fact of the record at `offset`, whose events have this version and sent time.
pub fn push(
    rows: &mut RowBuilder,
    fact: &Fact<'_>,
    source: &Source,
    offset: i64,
    version: Option<u128>,
    sent_at: Option<DateTime<Utc>>,
) {
    let mut row = rows.row();
    let mut unfit = Unfit::default();
    row.time(Some(fact.event_time.timestamp_micros()));
    row.text(Some(&fact.event_name));
    for text in [
        &fact.event_id,
        &fact.user_id,
        &fact.user_pseudo_id,
        &fact.session_id,
        &fact.platform,
        &fact.traffic_source,
        &fact.traffic_medium,
        &fact.traffic_campaign,
        &fact.device_category,
        &fact.country,
        &fact.app_version,
        &fact.product_id,
        &fact.product_name,
        &fact.product_brand,
        &fact.product_category,
        &fact.product_category2,
        &fact.product_category3,
        &fact.product_category4,
        &fact.product_category5,
        &fact.product_variant,
        &fact.list_id,
        &fact.list_name,
    ] {
        row.text(text.as_deref());
    }
    row.int(fact.list_position);
    row.int(Some(fact.item_ordinal));
    for (name, number) in [
        ("price", &fact.price),
        ("quantity", &fact.quantity),
        ("discount", &fact.discount),
        ("price_in_usd", &fact.price_in_usd),
        ("item_revenue", &fact.item_revenue),
        ("item_revenue_in_usd", &fact.item_revenue_in_usd),
        ("item_refund", &fact.item_refund),
        ("item_refund_in_usd", &fact.item_refund_in_usd),
    ] {
        unfit.number(&mut row, name, number.as_ref());
    }
    for text in [
        &fact.item_coupon,
        &fact.affiliation,
        &fact.location_id,
        &fact.promotion_id,
        &fact.promotion_name,
        &fact.creative_name,
        &fact.creative_slot,
        &fact.currency,
    ] {
        row.text(text.as_deref());
    }
    unfit.number(&mut row, "value", fact.value.as_ref());
    row.text(fact.transaction_id.as_deref());
    unfit.number(&mut row, "tax", fact.tax.as_ref());
    unfit.number(&mut row, "shipping", fact.shipping.as_ref());
    row.text(fact.event_coupon.as_deref());
    let extra = fact.extra.as_ref().map(fact_model::Extra::json);
    row.text(unfit.with(extra).as_deref());
    row.text(Some(&fact.fact_hash.to_string()));
    row.whole(version);
    row.time(sent_at.map(|at| at.timestamp_micros()));
    row.source(source, offset);
}

/// Numbers that their columns can't hold exactly. They go to `extra`, under the column's name.
#[derive(Default)]
struct Unfit<'f>(Vec<(&'static str, &'f str)>);

impl<'f> Unfit<'f> {
    fn number(&mut self, row: &mut Row<'_>, name: &'static str, number: Option<&'f Decimal<'_>>) {
        let text = number.map(Decimal::as_str);
        if !row.number(text) {
            self.0.extend(text.map(|text| (name, text)));
        }
    }

    /// `extra`, which is the text of a JSON object, with the numbers in it.
    fn with<'e>(&self, extra: Option<Cow<'e, str>>) -> Option<Cow<'e, str>> {
        if self.0.is_empty() {
            return extra;
        }
        let mut members: Vec<String> = self
            .0
            .iter()
            .map(|(name, number)| format!("{}:{number}", Value::from(*name)))
            .collect();
        let inner = extra.as_deref().map(str::trim);
        let inner = inner.and_then(|text| text.strip_prefix('{')?.strip_suffix('}'));
        members.extend(inner.filter(|text| !text.is_empty()).map(str::to_owned));
        Some(Cow::Owned(format!("{{{}}}", members.join(","))))
    }
}
