//! One event: what it says itself, and one fact for each of its items.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use crate::arena::Arena;
use crate::budget::Budget;
use crate::decimal::Decimal;
use crate::extra::{Extra, Keys};
use crate::fact::Fact;
use crate::hash::{self, FactHash};
use crate::item::Item;
use crate::items;
use crate::keys::{EventKeys, Known};
use crate::rejection::{Reason, Refusal};
use crate::time;
use crate::value::{self, Column};

/// Turns the `keys` of one event, which took `size` bytes, into its facts, appended to `facts`. There is at
/// least one: an event without items is a fact without a product, so that no event vanishes from the counts.
pub(crate) fn flatten<'a>(
    mut keys: EventKeys<'a>,
    size: usize,
    arena: &'a Arena,
    budget: &mut Budget<'_>,
    facts: &mut Vec<Fact<'a>>,
) -> Result<(), Refusal> {
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
    let event = Event::read(event_time, event_name, keys, arena);

    let repeated = size - items.as_ref().map_or(0, |(found, _)| found.raw.get().len());
    let mut spend = |count| {
        budget.check_items(count)?;
        budget.spend(repeated)
    };
    let mut items = match items {
        Some((_, Some(ahead))) => {
            (0..ahead.len()).try_for_each(spend)?;
            ahead
        }
        Some((found, None)) => items::read(&found, arena, &mut spend)?,
        None => Vec::new(),
    };
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
    if let Some(facts) = facts.get_mut(start..) {
        hash::identify(facts, budget.options);
    }
    Ok(())
}

fn event_time(
    keys: &mut EventKeys<'_>,
    budget: &Budget<'_>,
    arena: &Arena,
) -> Result<DateTime<Utc>, Refusal> {
    let Some(found) = keys.take(Known::Time) else {
        return budget.time_of_record().ok_or_else(|| {
            Refusal::new(
                Reason::MissingTime,
                "the event has no time: none of event_time, event_timestamp, timestamp_micros, \
                 timestamp, time, ts is set",
            )
        });
    };
    let read = match value::text(found.raw, arena) {
        Column::Value(text) => time::read(text),
        Column::Null | Column::Misfit => Err("it is neither a text nor a number"),
    };
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
    match value::text(found.raw, arena) {
        Column::Value(name) => Ok(name),
        Column::Null | Column::Misfit => Err(Refusal::at(
            Reason::MissingName,
            format!("{} can't be the event's name: it is no text", found.shown()),
            found.place(),
        )),
    }
}

/// What an event says of itself, the same for each of its facts.
struct Event<'a> {
    time: DateTime<Utc>,
    name: &'a str,
    id: Option<&'a str>,
    user_id: Option<&'a str>,
    user_pseudo_id: Option<&'a str>,
    session_id: Option<&'a str>,
    platform: Option<&'a str>,
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
    extra: Keys<'a>,
}

impl<'a> Event<'a> {
    fn read(time: DateTime<Utc>, name: &'a str, mut keys: EventKeys<'a>, arena: &'a Arena) -> Self {
        Self {
            time,
            name,
            id: keys.text(Known::Id, arena),
            user_id: keys.text(Known::UserId, arena),
            user_pseudo_id: keys.text(Known::UserPseudoId, arena),
            session_id: keys.text(Known::SessionId, arena),
            platform: keys.column(Known::Platform, |raw| value::upper(raw, arena)),
            currency: keys.column(Known::Currency, |raw| value::currency(raw, arena)),
            value: keys.column(Known::Value, |raw| value::decimal(raw, arena)),
            transaction_id: keys.text(Known::TransactionId, arena),
            tax: keys.column(Known::Tax, |raw| value::decimal(raw, arena)),
            shipping: keys.column(Known::Shipping, |raw| value::decimal(raw, arena)),
            coupon: keys.text(Known::Coupon, arena),
            affiliation: keys.text(Known::Affiliation, arena),
            list_id: keys.text(Known::ListId, arena),
            list_name: keys.text(Known::ListName, arena),
            promotion_id: keys.text(Known::PromotionId, arena),
            promotion_name: keys.text(Known::PromotionName, arena),
            creative_name: keys.text(Known::CreativeName, arena),
            creative_slot: keys.text(Known::CreativeSlot, arena),
            extra: keys.extra(arena),
        }
    }

    /// The fact of one item. Where both the item and the event name a list, a promotion or a creative, the
    /// item's wins (<https://support.google.com/analytics/answer/12947610>). Of an affiliation GA4 knows only
    /// the item's; the one of a whole order, as Universal Analytics has it, fills the gap.
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
