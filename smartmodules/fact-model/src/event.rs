//! Turns one event into facts: its own values, repeated for each of its items.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use crate::decimal::Decimal;
use crate::explain;
use crate::extra::{Extra, Keys};
use crate::fact::{Fact, FactHash};
use crate::hash;
use crate::item::Item;
use crate::items;
use crate::keys::EventKeys;
use crate::limits::Budget;
use crate::names::{Known, may_have_product};
use crate::path::StepKind;
use crate::rejection::{Reason, Refusal};
use crate::text::Arena;
use crate::time;
use crate::value::{self, Column};

/// Appends the facts of the event `json`, which has these keys, to `facts`: at least one, since an
/// event without items becomes a fact without a product, so every event is counted.
pub(crate) fn flatten<'a>(
    mut keys: EventKeys<'a>,
    json: &str,
    arena: &'a Arena,
    budget: &mut Budget<'_>,
    facts: &mut Vec<Fact<'a>>,
) -> Result<(), Refusal> {
    if let Some(path) = arena.path() {
        explain::nulls(json, path);
    }
    let event_name = event_name(&mut keys, arena);
    if event_name
        .as_ref()
        .is_ok_and(|name| !budget.options.pass(name))
    {
        return Ok(());
    }
    let event_time = event_time(&mut keys, budget, arena)?;
    let event_name = event_name?;
    let items = keys.take_items();
    let product = if items.is_none() && may_have_product(event_name) {
        keys.take_product(arena)
    } else {
        None
    };
    let event = Event::read(event_time, event_name, keys, arena);

    let items_size = items.as_ref().map_or(0, |(found, _)| found.raw.get().len());
    // A text that is cut is in the facts twice: cut in its column, whole in `extra`.
    let repeated = json.len() - items_size + event.cut_bytes;
    let mut spend = |count| {
        budget.check_items(count)?;
        budget.spend(repeated)
    };
    let (list, mut items) = match items {
        Some((found, Some(ahead))) => {
            (0..ahead.len()).try_for_each(spend)?;
            (found.raw.get(), ahead)
        }
        Some((found, None)) => items::read(&found, arena, &mut spend)?,
        None => {
            product.iter().try_for_each(|_| spend(0))?;
            ("", product.into_iter().collect())
        }
    };
    for item in &mut items {
        item.settle_amounts(
            event.currency.or(item.currency.map(|(code, _)| code)),
            arena,
        );
    }
    if let Some(currency) = event.currency {
        items
            .iter_mut()
            .for_each(|item| item.keep_other_currency(currency, arena));
    }
    let start = facts.len();
    if items.is_empty() {
        budget.spend(repeated)?;
        facts.push(event.fact(0, &Item::default()));
    }
    facts.extend(
        items
            .iter()
            .zip(1..)
            .map(|(item, ordinal)| event.fact(ordinal, item)),
    );
    if let Some(path) = arena.path() {
        explain::items(list, facts.get(start..).unwrap_or_default(), path);
    }
    if let Some(facts) = facts.get_mut(start..) {
        hash::identify(facts, budget.options);
    }
    if let Some(plan) = &budget.options.plan {
        let applied = facts
            .get_mut(start..)
            .map_or(Ok(()), |facts| plan.apply(facts, arena, budget));
        if applied.is_err() {
            facts.truncate(start);
        }
        return applied;
    }
    Ok(())
}

fn event_time(
    keys: &mut EventKeys<'_>,
    budget: &Budget<'_>,
    arena: &Arena,
) -> Result<DateTime<Utc>, Refusal> {
    let Some(found) = keys.take(Known::Time) else {
        let time = budget.time_of_record().inspect(|_| {
            arena.step(StepKind::Value, || {
                "event_time is the time of the record, as `missing-time: record` says".to_owned()
            });
        });
        return time.ok_or_else(|| {
            Refusal::new(
                Reason::MissingTime,
                "the event has no time: none of event_time, event_timestamp, timestamp_micros, \
                 timestamp, time, ts is set",
            )
        });
    };
    let read = match value::text(found.raw, arena) {
        Column::Value(text) => time::read(text),
        Column::Cut(_) | Column::Null | Column::Misfit => Err("it is neither a text nor a number"),
    };
    if let (Some(path), Ok(time)) = (arena.path(), &read) {
        let time = time.format("%Y-%m-%dT%H:%M:%S%.6fZ");
        explain::value(found.key, found.raw, &Column::Value(time), path);
    }
    read.map_err(|why| {
        let detail = format!("{} can't be the event's time: {why}", found.shown());
        Refusal::at(Reason::BadTime, detail, found.place())
    })
}

fn event_name<'a>(keys: &mut EventKeys<'a>, arena: &'a Arena) -> Result<&'a str, Refusal> {
    let Some(found) = keys.take(Known::Name) else {
        return Err(Refusal::new(
            Reason::MissingName,
            "the event has no name: none of event_name, name, event is set",
        ));
    };
    let name = value::column_text(found.raw, arena);
    if let Some(path) = arena.path() {
        explain::value(found.key, found.raw, &name, path);
    }
    match name {
        Column::Value(name) => Ok(name),
        Column::Cut(name) => {
            keys.keep_cut(&found);
            Ok(name)
        }
        Column::Null | Column::Misfit => Err(Refusal::at(
            Reason::MissingName,
            format!(
                "{} can't be the event's name: it is not a text",
                found.shown()
            ),
            found.place(),
        )),
    }
}

/// An event's own values, equal in each of its facts.
struct Event<'a> {
    time: DateTime<Utc>,
    name: &'a str,
    id: Option<&'a str>,
    user_id: Option<&'a str>,
    user_pseudo_id: Option<&'a str>,
    session_id: Option<&'a str>,
    platform: Option<&'a str>,
    traffic_source: Option<&'a str>,
    traffic_medium: Option<&'a str>,
    traffic_campaign: Option<&'a str>,
    device_category: Option<&'a str>,
    country: Option<&'a str>,
    app_version: Option<&'a str>,
    currency: Option<&'a str>,
    value: Option<Decimal<'a>>,
    transaction_id: Option<&'a str>,
    tax: Option<Decimal<'a>>,
    shipping: Option<Decimal<'a>>,
    coupon: Option<&'a str>,
    affiliation: Option<&'a str>,
    list_id: Option<&'a str>,
    list_name: Option<&'a str>,
    promotion_id: Option<&'a str>,
    promotion_name: Option<&'a str>,
    creative_name: Option<&'a str>,
    creative_slot: Option<&'a str>,
    /// The bytes of those of these texts that are cut.
    cut_bytes: usize,
    extra: Keys<'a>,
}

impl<'a> Event<'a> {
    fn read(time: DateTime<Utc>, name: &'a str, mut keys: EventKeys<'a>, arena: &'a Arena) -> Self {
        let currency = keys.column(Known::Currency, arena, |raw| value::currency(raw, arena));
        Self {
            time,
            name,
            id: keys.text(Known::Id, arena),
            user_id: keys.text(Known::UserId, arena),
            user_pseudo_id: keys.text(Known::UserPseudoId, arena),
            session_id: keys.text(Known::SessionId, arena),
            platform: keys.column(Known::Platform, arena, |raw| {
                value::column_upper(raw, arena)
            }),
            traffic_source: keys.text(Known::TrafficSource, arena),
            traffic_medium: keys.text(Known::TrafficMedium, arena),
            traffic_campaign: keys.text(Known::TrafficCampaign, arena),
            device_category: keys.text(Known::DeviceCategory, arena),
            country: keys.text(Known::Country, arena),
            app_version: keys.text(Known::AppVersion, arena),
            currency,
            value: keys.column(Known::Value, arena, |raw| {
                value::amount(raw, currency, arena)
            }),
            transaction_id: keys.text(Known::TransactionId, arena),
            tax: keys.column(Known::Tax, arena, |raw| value::amount(raw, currency, arena)),
            shipping: keys.column(Known::Shipping, arena, |raw| {
                value::amount(raw, currency, arena)
            }),
            coupon: keys.text(Known::Coupon, arena),
            affiliation: keys.text(Known::Affiliation, arena),
            list_id: keys.text(Known::ListId, arena),
            list_name: keys.text(Known::ListName, arena),
            promotion_id: keys.text(Known::PromotionId, arena),
            promotion_name: keys.text(Known::PromotionName, arena),
            creative_name: keys.text(Known::CreativeName, arena),
            creative_slot: keys.text(Known::CreativeSlot, arena),
            cut_bytes: keys.cut_bytes,
            extra: keys.extra(arena),
        }
    }

    /// Returns the fact of one item. If both the item and the event have a list, a promotion or a
    /// creative, the item's wins (<https://support.google.com/analytics/answer/12947610>). GA4 has
    /// an affiliation only for items; that of a whole order in Universal Analytics fills the gap.
    fn fact(&self, item_ordinal: i32, item: &Item<'a>) -> Fact<'a> {
        let text = |text: Option<&'a str>| text.map(Cow::Borrowed);
        let [category, category2, category3, category4, category5] = item.categories.map(text);
        Fact {
            event_time: self.time,
            event_name: Cow::Borrowed(self.name),
            event_id: text(self.id),
            user_id: text(self.user_id),
            user_pseudo_id: text(self.user_pseudo_id),
            session_id: text(self.session_id),
            platform: text(self.platform),
            traffic_source: text(self.traffic_source),
            traffic_medium: text(self.traffic_medium),
            traffic_campaign: text(self.traffic_campaign),
            device_category: text(self.device_category),
            country: text(self.country),
            app_version: text(self.app_version),
            product_id: text(item.id),
            product_name: text(item.name),
            product_brand: text(item.brand),
            product_category: category,
            product_category2: category2,
            product_category3: category3,
            product_category4: category4,
            product_category5: category5,
            product_variant: text(item.variant),
            list_id: text(item.list_id.or(self.list_id)),
            list_name: text(item.list_name.or(self.list_name)),
            list_position: item.index,
            item_ordinal,
            price: item.price.clone(),
            quantity: item.quantity.clone(),
            discount: item.discount.clone(),
            price_in_usd: item.price_in_usd.clone(),
            item_revenue: item.revenue.clone(),
            item_revenue_in_usd: item.revenue_in_usd.clone(),
            item_refund: item.refund.clone(),
            item_refund_in_usd: item.refund_in_usd.clone(),
            item_coupon: text(item.coupon),
            affiliation: text(item.affiliation.or(self.affiliation)),
            location_id: text(item.location_id),
            promotion_id: text(item.promotion_id.or(self.promotion_id)),
            promotion_name: text(item.promotion_name.or(self.promotion_name)),
            creative_name: text(item.creative_name.or(self.creative_name)),
            creative_slot: text(item.creative_slot.or(self.creative_slot)),
            currency: text(
                self.currency
                    .or(item.currency.map(|(currency, _)| currency)),
            ),
            value: self.value.clone(),
            transaction_id: text(self.transaction_id),
            tax: self.tax.clone(),
            shipping: self.shipping.clone(),
            event_coupon: text(self.coupon),
            extra: Extra::of(self.extra, item.extra),
            fact_hash: FactHash::default(),
        }
    }
}
