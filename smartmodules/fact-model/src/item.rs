//! One item of an event: the product and what was done with it.

use crate::arena::Arena;
use crate::decimal::Decimal;
use crate::extra::Keys;
use crate::formats::bigquery;
use crate::raw::Raw;
use crate::unknown::Unknown;
use crate::value::{self, Column, is_null, trim};

/// What an item says, before the event's own values fill its gaps.
#[derive(Debug, Default)]
pub(crate) struct Item<'a> {
    pub(crate) id: Option<&'a str>,
    pub(crate) name: Option<&'a str>,
    pub(crate) brand: Option<&'a str>,
    /// The levels of the category, the widest first.
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
    /// The currency with the text that it came as.
    pub(crate) currency: Option<(&'a str, Raw<'a>)>,
    pub(crate) extra: Keys<'a>,
    /// Values under other names than GA4's, as they came.
    other_names: Vec<(&'a str, Raw<'a>)>,
    /// `item_params` as they came.
    params: Option<Raw<'a>>,
}

/// The name of a field that is known, among those of its kind of row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownName {
    /// Tells the name from the others of its kind of row, below 64. Not every kind of row numbers its names.
    pub(crate) number: Option<u8>,
    /// True for free text, false for ids, codes, numbers and times.
    pub(crate) is_text: bool,
}

/// Looks up a column of an item in GA4's BigQuery export, or one of GA4's other item parameters.
pub(crate) fn known_name(key: &str) -> Option<KnownName> {
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

/// Looks up a name that older tags give to a column of an item.
pub(crate) fn older_name(key: &str) -> Option<KnownName> {
    let known = known_name(other_name(key)?)?;
    Some(KnownName {
        number: None,
        ..known
    })
}

/// The name in GA4 of what older tags call otherwise: those of Universal Analytics, which gtag.js takes in an
/// item too, and BigQuery's `item_list_index`. Where an item has both, GA4's wins.
fn other_name(key: &str) -> Option<&'static str> {
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

impl<'a> Item<'a> {
    /// Takes one key of the item; what no column can hold goes to `unknown`.
    pub(crate) fn take(
        &mut self,
        key: &'a str,
        raw: Raw<'a>,
        unknown: &mut Unknown<'a>,
        arena: &'a Arena,
    ) {
        match self.column(key, raw, arena) {
            Some(true) => {}
            None if key == "item_params" && !is_null(raw) => self.params = Some(raw),
            None if other_name(key).is_some() => self.other_names.push((key, raw)),
            _ => unknown.push(key, raw),
        }
    }

    /// Takes a value for the column of `key` and tells whether it fits; `None` where there is no such column.
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
        Some(set(text, value::text(raw, arena)))
    }

    /// The column of decimals with this name.
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

    /// Whether the column of `key`, one of those with another name, has a value.
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

    /// Completes the item when all its keys are taken, first with what came under other names.
    ///
    /// One category text that holds several levels, `Apparel/Adult/Shirts`, is split, as Google's own
    /// tag does; what is below the fifth level stays with the fifth.
    pub(crate) fn finish(&mut self, unknown: &mut Unknown<'a>, arena: &'a Arena) {
        for (key, raw) in std::mem::take(&mut self.other_names) {
            let name = other_name(key).unwrap_or(key);
            if self.has(name) || self.column(name, raw, arena) != Some(true) {
                unknown.push(key, raw);
            }
        }
        if let [Some(path), None, None, None, None] = self.categories
            && path.as_bytes().contains(&b'/')
        {
            self.categories = levels(path);
        }
        if let Some(raw) = self.params.take() {
            unknown.unpack("item_params", raw, bigquery::params(raw, arena));
        }
        self.extra = unknown.take(arena);
    }

    /// Keeps a currency other than the event's in `extra`: it can't be the fact's, since `value` is in the event's.
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

/// The levels of a category, the widest first; those that are empty are left out.
fn levels(path: &str) -> [Option<&str>; 5] {
    let mut parts = path.trim_matches('/').splitn(5, '/').map(trim);
    std::array::from_fn(|_| parts.find(|level| !level.is_empty()))
}

/// Sets a column where the value fits, and tells whether it did.
fn set<T>(column: &mut Option<T>, value: Column<T>) -> bool {
    match value {
        Column::Null => {}
        Column::Value(value) => *column = Some(value),
        Column::Misfit => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn known_names_are_columns_with_numbers_of_their_own() {
        let names = "item_id item_name item_brand item_variant item_category item_category2 item_category3 \
                     item_category4 item_category5 price_in_usd price quantity item_revenue_in_usd item_revenue \
                     item_refund_in_usd item_refund coupon affiliation location_id item_list_id item_list_name \
                     item_list_index promotion_id promotion_name creative_name creative_slot item_params index \
                     discount currency";
        let arena = Arena::new();
        let mut numbers = BTreeSet::new();
        for name in names.split_whitespace() {
            let number = known_name(name).and_then(|known| known.number).unwrap();
            assert!(number < 64 && numbers.insert(number), "{name}");
            let key = other_name(name).unwrap_or(name);
            let column = Item::default().column(key, Raw::NULL, &arena);
            assert!(column.is_some() || name == "item_params", "{name}");
        }
    }
}
