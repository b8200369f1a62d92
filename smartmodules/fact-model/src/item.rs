//! Reads one item of an event.

use crate::decimal::Decimal;
use crate::extra::Keys;
use crate::formats::bigquery;
use crate::formats::container::opened;
use crate::names::ga4_item_key;
use crate::raw::Raw;
use crate::text::Arena;
use crate::unknown::Unknown;
use crate::value::{self, Column, is_null, trim};

/// An item's own values, before the event's values fill the gaps.
#[derive(Debug, Default)]
pub(crate) struct Item<'a> {
    pub(crate) id: Option<&'a str>,
    pub(crate) name: Option<&'a str>,
    pub(crate) brand: Option<&'a str>,
    /// The levels of the category, top level first.
    pub(crate) categories: [Option<&'a str>; 5],
    pub(crate) variant: Option<&'a str>,
    pub(crate) list_id: Option<&'a str>,
    pub(crate) list_name: Option<&'a str>,
    pub(crate) index: Option<i32>,
    pub(crate) price: Option<Decimal<'a>>,
    pub(crate) quantity: Option<Decimal<'a>>,
    pub(crate) discount: Option<Decimal<'a>>,
    pub(crate) price_in_usd: Option<Decimal<'a>>,
    pub(crate) revenue: Option<Decimal<'a>>,
    pub(crate) revenue_in_usd: Option<Decimal<'a>>,
    pub(crate) refund: Option<Decimal<'a>>,
    pub(crate) refund_in_usd: Option<Decimal<'a>>,
    pub(crate) coupon: Option<&'a str>,
    pub(crate) affiliation: Option<&'a str>,
    pub(crate) location_id: Option<&'a str>,
    pub(crate) promotion_id: Option<&'a str>,
    pub(crate) promotion_name: Option<&'a str>,
    pub(crate) creative_name: Option<&'a str>,
    pub(crate) creative_slot: Option<&'a str>,
    /// The currency with its source text.
    pub(crate) currency: Option<(&'a str, Raw<'a>)>,
    pub(crate) extra: Keys<'a>,
    /// Values under older names than GA4's.
    older_names: Vec<(&'a str, Raw<'a>)>,
    /// `item_params`, unparsed.
    params: Option<Raw<'a>>,
    /// Amounts whose meaning depends on their currency, at most one for each [`amount`].
    amounts: Vec<(&'static str, Raw<'a>)>,
}

impl<'a> Item<'a> {
    /// Adds one key of the item. A value that no column can hold whole goes to `unknown`.
    pub(crate) fn take(
        &mut self,
        key: &'a str,
        raw: Raw<'a>,
        unknown: &mut Unknown<'a>,
        arena: &'a Arena,
    ) {
        if let Some(column) = amount(key) {
            let depends = value::depends_on_currency(raw);
            if (depends || !self.amounts.is_empty())
                && self.hold_amount(column, raw, depends, unknown)
            {
                return;
            }
        }
        match self.column(key, raw, arena) {
            Some(true) => {}
            None if key == "item_params" && !is_null(raw) => self.params = Some(raw),
            None if ga4_item_key(key).is_some() => self.older_names.push((key, raw)),
            _ => unknown.push(key, raw),
        }
    }

    /// Holds an amount that `depends` on its currency for [`Self::settle_amounts`] and returns
    /// true. Of a repeated key the last value counts; one that was held goes to `unknown`.
    fn hold_amount(
        &mut self,
        column: &'static str,
        raw: Raw<'a>,
        depends: bool,
        unknown: &mut Unknown<'a>,
    ) -> bool {
        let held = self.amounts.iter_mut().find(|(held, _)| *held == column);
        match held {
            Some((_, held)) if depends => *held = raw,
            None if depends => self.amounts.push((column, raw)),
            Some((_, held)) if !is_null(raw) => {
                unknown.push(column, *held);
                self.amounts.retain(|(held, _)| *held != column);
            }
            _ => {}
        }
        depends
    }

    /// Sets the column of `key` and returns true if it holds the whole value; `None` if the key has
    /// no column.
    fn column(&mut self, key: &str, raw: Raw<'a>, arena: &'a Arena) -> Option<bool> {
        let [category, category2, category3, category4, category5] = &mut self.categories;
        let text = match key.as_bytes() {
            b"item_id" => &mut self.id,
            b"item_name" => &mut self.name,
            b"item_brand" => &mut self.brand,
            b"item_category" => category,
            b"item_category2" => category2,
            b"item_category3" => category3,
            b"item_category4" => category4,
            b"item_category5" => category5,
            b"item_variant" => &mut self.variant,
            b"item_list_id" => &mut self.list_id,
            b"item_list_name" => &mut self.list_name,
            b"coupon" => &mut self.coupon,
            b"affiliation" => &mut self.affiliation,
            b"location_id" => &mut self.location_id,
            b"promotion_id" => &mut self.promotion_id,
            b"promotion_name" => &mut self.promotion_name,
            b"creative_name" => &mut self.creative_name,
            b"creative_slot" => &mut self.creative_slot,
            b"index" => return Some(set(&mut self.index, value::integer(raw, arena))),
            b"currency" => {
                let currency = value::currency(raw, arena).map(|currency| (currency, raw));
                return Some(set(&mut self.currency, currency));
            }
            _ => {
                let decimal = self.decimal(key)?;
                return Some(set(decimal, value::decimal(raw, arena)));
            }
        };
        Some(set(text, value::column_text(raw, arena)))
    }

    /// Returns the decimal column of this name.
    fn decimal(&mut self, key: &str) -> Option<&mut Option<Decimal<'a>>> {
        Some(match key.as_bytes() {
            b"price" => &mut self.price,
            b"quantity" => &mut self.quantity,
            b"discount" => &mut self.discount,
            b"price_in_usd" => &mut self.price_in_usd,
            b"item_revenue" => &mut self.revenue,
            b"item_revenue_in_usd" => &mut self.revenue_in_usd,
            b"item_refund" => &mut self.refund,
            b"item_refund_in_usd" => &mut self.refund_in_usd,
            _ => return None,
        })
    }

    /// Returns true if the column of `key`, which has an older name too, has a value.
    fn has(&self, key: &str) -> bool {
        match key {
            "item_id" => self.id.is_some(),
            "item_name" => self.name.is_some(),
            "item_brand" => self.brand.is_some(),
            "item_category" => self.categories.iter().any(Option::is_some),
            "item_variant" => self.variant.is_some(),
            "item_list_name" => self.list_name.is_some(),
            "creative_name" => self.creative_name.is_some(),
            _ => self.index.is_some(),
        }
    }

    /// Completes the item after its last key: values under older names fill empty columns.
    ///
    /// In Universal Analytics' `category` a slash separates levels
    /// (<https://developers.google.com/analytics/devguides/collection/protocol/v1/parameters>);
    /// the fifth column holds all levels from the fifth on. GA4's `item_category` is one level,
    /// whose name may have a slash: further levels are `item_category2` to `item_category5`
    /// (<https://developers.google.com/analytics/devguides/collection/ga4/reference/events>).
    pub(crate) fn finish(&mut self, unknown: &mut Unknown<'a>, arena: &'a Arena) {
        let mut is_path = false;
        for (key, raw) in std::mem::take(&mut self.older_names) {
            let name = ga4_item_key(key).unwrap_or(key);
            if self.has(name) || self.column(name, raw, arena) != Some(true) {
                unknown.push(key, raw);
            } else {
                is_path |= key == "category";
            }
        }
        if is_path
            && let [Some(path), None, None, None, None] = self.categories
            && path.as_bytes().contains(&b'/')
        {
            self.categories = levels(path);
        }
        if let Some(raw) = self.params {
            let params = bigquery::params(opened(raw, arena), arena);
            unknown.unpack("item_params", raw, params);
        }
        self.extra = unknown.take(arena);
    }

    /// Reads the amounts that depend on their currency, once it is known. One that its column can't
    /// hold joins `extra`; if a parameter has its name there, the parameters are kept whole beside
    /// it.
    pub(crate) fn settle_amounts(&mut self, currency: Option<&str>, arena: &'a Arena) {
        let mut unknown = None;
        for (key, raw) in std::mem::take(&mut self.amounts) {
            let amount = value::amount(raw, currency, arena);
            if self.decimal(key).is_none_or(|column| set(column, amount)) {
                continue;
            }
            let unknown = unknown.get_or_insert_with(|| Unknown::of(self.extra));
            if let Some(params) = self.params
                && self.extra.iter().any(|(name, _)| *name == key)
            {
                unknown.push("item_params", params);
            }
            unknown.push(key, raw);
        }
        if let Some(mut unknown) = unknown {
            self.extra = unknown.take(arena);
        }
    }

    /// Keeps a currency that differs from the event's in `extra`: the column must match `value`,
    /// which is the event's.
    pub(crate) fn keep_other_currency(&mut self, of_event: &str, arena: &'a Arena) {
        if let Some((currency, raw)) = self.currency
            && currency != of_event
        {
            let mut unknown = Unknown::of(self.extra);
            unknown.push("currency", raw);
            self.extra = unknown.take(arena);
        }
    }
}

/// Returns the name of a column with an amount in the item's currency.
fn amount(key: &str) -> Option<&'static str> {
    Some(match key {
        "price" => "price",
        "discount" => "discount",
        "item_revenue" => "item_revenue",
        "item_refund" => "item_refund",
        _ => return None,
    })
}

/// Splits a category path into its non-empty levels.
fn levels(path: &str) -> [Option<&str>; 5] {
    let mut parts = path.trim_matches('/').splitn(5, '/').map(trim);
    std::array::from_fn(|_| parts.find(|level| !level.is_empty()))
}

/// Sets a column and returns true if it holds the whole value.
fn set<T>(column: &mut Option<T>, value: Column<T>) -> bool {
    match value {
        Column::Null => {}
        Column::Value(value) => *column = Some(value),
        Column::Cut(value) => {
            *column = Some(value);
            return false;
        }
        Column::Misfit => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::names::item_key;

    #[test]
    fn known_names_are_columns_with_numbers_of_their_own() {
        let names = "item_id item_name item_brand item_variant item_category \
                     item_category2 item_category3 item_category4 item_category5 \
                     price_in_usd price quantity item_revenue_in_usd item_revenue \
                     item_refund_in_usd item_refund coupon affiliation location_id \
                     item_list_id item_list_name item_list_index promotion_id \
                     promotion_name creative_name creative_slot item_params index \
                     discount currency";
        let arena = Arena::new();
        let mut numbers = BTreeSet::new();
        for name in names.split_whitespace() {
            let number = item_key(name).and_then(|known| known.number).unwrap();
            assert!(number < 64 && numbers.insert(number), "{name}");
            let key = ga4_item_key(name).unwrap_or(name);
            let column = Item::default().column(key, Raw::NULL, &arena);
            assert!(column.is_some() || name == "item_params", "{name}");
        }
    }
}
