//! Products, impressions and promotions in the parameters of a web hit.
//!
//! GA4 (gtag.js) packs an item into one parameter, `pr1=idSKU~nmTee~pr9.99`: parts with two-letter
//! keys, separated by `~`; a `~` in a value is doubled. Universal Analytics has a parameter for
//! each value, `pr1id=SKU&pr1nm=Tee`, and lists of impressions, `il1nm=…&il1pi1id=…`. Common
//! keys mean the same, so both use one table. Its sources are gtag.js and
//! <https://developers.google.com/analytics/devguides/collection/protocol/v1/devguide>.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::write::JsonText;

/// Translates a two-letter key.
fn name(key: &str) -> Option<&'static str> {
    Some(match key {
        "id" => "item_id",
        "nm" => "item_name",
        "br" => "item_brand",
        "ca" => "item_category",
        "c2" => "item_category2",
        "c3" => "item_category3",
        "c4" => "item_category4",
        "c5" => "item_category5",
        "va" => "item_variant",
        "pr" => "price",
        "qt" => "quantity",
        "ds" => "discount",
        "cp" | "cc" => "coupon",
        "lp" | "ps" => "index",
        "li" => "item_list_id",
        "ln" => "item_list_name",
        "lo" => "location_id",
        "af" => "affiliation",
        "pi" => "promotion_id",
        "pn" => "promotion_name",
        "cn" => "creative_name",
        "cs" => "creative_slot",
        _ => return None,
    })
}

/// Translates a key of Universal Analytics or GA4; unknown keys are unchanged.
fn full_name(key: &str) -> Cow<'_, str> {
    match (name(key), key.get(..2)) {
        // A path, unlike GA4's.
        (Some("item_category"), _) => Cow::Borrowed("category"),
        (Some(name), _) => Cow::Borrowed(name),
        (None, Some("cd")) => Cow::Owned(format!("dimension{}", key.get(2..).unwrap_or_default())),
        (None, Some("cm")) => Cow::Owned(format!("metric{}", key.get(2..).unwrap_or_default())),
        (None, _) => Cow::Borrowed(key),
    }
}

/// Translates a parameter of a promotion.
fn promotion_name(key: &str) -> &str {
    match key {
        "id" => "promotion_id",
        "nm" => "promotion_name",
        "cr" => "creative_name",
        "ps" => "creative_slot",
        other => other,
    }
}

/// Returns true if a text is an item in parts: at least two, each with a known key.
pub(crate) fn is_parts(text: &str) -> bool {
    let is_part = |part: &str| part.get(..2).and_then(name).is_some();
    is_part(text) && matches!(split(text).as_slice(), [_, second, ..] if is_part(second))
}

/// Writes an item in parts.
pub(crate) fn write_parts(text: &str, out: &mut JsonText<'_>) {
    out.begin_object();
    parts(text, out);
    out.end_object();
}

fn parts(text: &str, out: &mut JsonText<'_>) {
    // A custom parameter has two parts, `k0color` and `v0red`.
    let mut custom: BTreeMap<String, (Option<String>, Option<String>)> = BTreeMap::new();
    for part in split(text) {
        let mut letters = part.char_indices().skip(2);
        let at = letters.next().map_or(part.len(), |(at, _)| at);
        let (key, value) = part.split_at_checked(at).unwrap_or((&part, ""));
        let number = key.get(1..).unwrap_or_default();
        match (key.as_bytes().first(), name(key)) {
            (None, _) => {}
            (_, Some(name)) => out.text(name, value),
            (Some(b'k'), None) => {
                custom.entry(number.to_owned()).or_default().0 = Some(value.to_owned())
            }
            (Some(b'v'), None) => {
                custom.entry(number.to_owned()).or_default().1 = Some(value.to_owned())
            }
            _ => out.text(key, value),
        }
    }
    for (number, pair) in custom {
        match pair {
            (Some(key), value) if !key.is_empty() => out.text(&key, &value.unwrap_or_default()),
            (_, Some(value)) => out.text(&format!("v{number}"), &value),
            _ => {}
        }
    }
}

/// Splits at each single `~`; a doubled one is a `~` in a value.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('~') {
        let doubled = after.strip_prefix('~');
        if let Some(part) = parts.last_mut() {
            part.push_str(before);
            if doubled.is_some() {
                part.push('~');
            }
        }
        if doubled.is_none() {
            parts.push(String::new());
        }
        rest = doubled.unwrap_or(after);
    }
    if let Some(part) = parts.last_mut() {
        part.push_str(rest);
    }
    parts
}

/// A parameter of a hit, decoded.
pub(crate) type Pair<'t> = (Cow<'t, str>, Cow<'t, str>);

/// The items of one hit, in the order of their numbers.
#[derive(Debug, Default)]
pub(crate) struct HitItems<'p> {
    products: BTreeMap<u32, Vec<(&'p str, &'p str)>>,
    promotions: BTreeMap<u32, Vec<(&'p str, &'p str)>>,
    lists: BTreeMap<u32, List<'p>>,
}

#[derive(Debug, Default)]
struct List<'p> {
    name: Option<&'p str>,
    products: BTreeMap<u32, Vec<(&'p str, &'p str)>>,
}

impl<'p> HitItems<'p> {
    /// Adds a parameter and returns true if it belongs to an item.
    pub(crate) fn take(&mut self, key: &'p str, value: &'p str) -> bool {
        self.try_take(key, value).is_some()
    }

    fn try_take(&mut self, key: &'p str, value: &'p str) -> Option<()> {
        if let Some((number, suffix)) = key.strip_prefix("promo").and_then(numbered) {
            self.promotions
                .entry(number)
                .or_default()
                .push((suffix, value));
        } else if let Some((number, suffix)) = key.strip_prefix("pr").and_then(numbered) {
            let suffix = suffix.strip_prefix('.').unwrap_or(suffix);
            self.products
                .entry(number)
                .or_default()
                .push((suffix, value));
        } else {
            let (number, suffix) = numbered(key.strip_prefix("il")?)?;
            let product = suffix.strip_prefix("pi").and_then(numbered);
            if suffix != "nm" && product.is_none() {
                return None;
            }
            let list = self.lists.entry(number).or_default();
            match product {
                Some((number, suffix)) => list
                    .products
                    .entry(number)
                    .or_default()
                    .push((suffix, value)),
                None => list.name = Some(value),
            }
        }
        Some(())
    }

    pub(crate) fn has_products(&self) -> bool {
        !self.products.is_empty()
    }

    pub(crate) fn has_promotions(&self) -> bool {
        !self.promotions.is_empty()
    }

    pub(crate) fn has_impressions(&self) -> bool {
        !self.lists.is_empty()
    }

    pub(crate) fn write_products(&self, out: &mut JsonText<'_>) {
        out.begin_list();
        for values in self.products.values() {
            out.begin_object();
            write_product(values, out);
            out.end_object();
        }
        out.end_list();
    }

    pub(crate) fn write_promotions(&self, out: &mut JsonText<'_>) {
        out.begin_list();
        for values in self.promotions.values() {
            out.begin_object();
            for (key, value) in values {
                out.text(promotion_name(key), value);
            }
            out.end_object();
        }
        out.end_list();
    }

    /// Writes the impressions of all lists, each with its list's name.
    pub(crate) fn write_impressions(&self, out: &mut JsonText<'_>) {
        out.begin_list();
        for list in self.lists.values() {
            for values in list.products.values() {
                out.begin_object();
                if let Some(name) = list.name {
                    out.text("item_list_name", name);
                }
                write_product(values, out);
                out.end_object();
            }
        }
        out.end_list();
    }
}

fn write_product(values: &[(&str, &str)], out: &mut JsonText<'_>) {
    for (key, value) in values {
        if key.is_empty() {
            parts(value, out);
        } else {
            out.text(&full_name(key), value);
        }
    }
}

/// Splits a leading number off a text.
fn numbered(text: &str) -> Option<(u32, &str)> {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at_checked(length)?;
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Arena;

    fn item(text: &str) -> String {
        let arena = Arena::new();
        let mut out = JsonText::new(&arena);
        write_parts(text, &mut out);
        out.finish().to_owned()
    }

    #[test]
    fn parts_become_an_item() {
        for (text, expected) in [
            (
                "idSKU~nmTee~pr9.99",
                r#"{"item_id":"SKU","item_name":"Tee","price":"9.99"}"#,
            ),
            ("nma~~b~~~brx", r#"{"item_name":"a~b~","item_brand":"x"}"#),
            (
                "idx~k0color~v0red~k1~v1y~kAsize~zz1~i~~~",
                r#"{"item_id":"x","zz":"1","i~":"","color":"red","v1":"y","size":""}"#,
            ),
            ("é~idé~", r#"{"é":"","item_id":"é"}"#),
            ("", "{}"),
        ] {
            assert_eq!(item(text), expected, "{text}");
        }
    }

    #[test]
    fn a_word_is_no_item() {
        assert!(is_parts("idSKU~nmTee"));
        for text in ["idSKU", "purchase", "id", "é~é", "idx~", "~~", "id~~nm"] {
            assert!(!is_parts(text), "{text}");
        }
    }

    #[test]
    fn parameters_belong_to_the_item_of_their_number() {
        let arena = Arena::new();
        let mut items = HitItems::default();
        for (key, taken) in [
            ("pr10id", true),
            ("pr2.nm", true),
            ("pr2cd1", true),
            ("il1nm", true),
            ("il0pi0id", true),
            ("il1pi1id", true),
            ("promo1cr", true),
            ("pr", false),
            ("prx", false),
            ("il1", false),
            ("il1x", false),
            ("promoa", false),
            ("pr99999999999id", false),
        ] {
            assert_eq!(items.take(key, "v"), taken, "{key}");
        }
        let mut out = JsonText::new(&arena);
        items.write_products(&mut out);
        items.write_impressions(&mut out);
        items.write_promotions(&mut out);
        assert_eq!(
            out.finish(),
            concat!(
                r#"[{"item_name":"v","dimension1":"v"},{"item_id":"v"}],"#,
                r#"[{"item_id":"v"},{"item_list_name":"v","item_id":"v"}],[{"creative_name":"v"}]"#
            )
        );
    }
}
