//! Formats values for readers and for the clipboard.

use chrono::NaiveDate;

use crate::report::table::Cell;

/// Currencies without a smaller unit.
const WHOLE: [&str; 8] = ["CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF"];

/// The text of a cell.
pub fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Nothing => "–".to_owned(),
        Cell::Text(text) => text.clone(),
        Cell::Day(day) => long_day(*day),
        Cell::Count(count) => grouped(&count.to_string()),
        Cell::Units(units) => decimal(units, if units.contains('.') { 2 } else { 0 })
            .trim_end_matches(".00")
            .to_owned(),
        Cell::Rate(rate) => percent(*rate),
        Cell::Money { amount, currency } => money(amount, currency.as_deref()),
        Cell::Delay(seconds) => delay(*seconds),
        Cell::Change(part) => signed(*part * 100.0, "%"),
    }
}

/// The bare value, for a spreadsheet or a query.
pub fn raw(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Nothing => None,
        Cell::Text(text) => Some(text.clone()),
        Cell::Day(day) => Some(day.to_string()),
        Cell::Count(count) => Some(count.to_string()),
        Cell::Units(exact) | Cell::Money { amount: exact, .. } => Some(exact.clone()),
        Cell::Rate(number) | Cell::Delay(number) | Cell::Change(number) => {
            let rounded = format!("{number:.6}");
            let short = rounded.trim_end_matches('0').trim_end_matches('.');
            Some(short.to_owned())
        }
    }
}

/// The signed change of a number: of a rate in points, of anything else in percent of the earlier
/// value. `None` if a value is missing or the earlier one is 0.
pub fn change(now: &Cell, before: &Cell) -> Option<String> {
    if let (
        Cell::Money { currency, .. },
        Cell::Money {
            currency: other, ..
        },
    ) = (now, before)
        && currency != other
    {
        return None;
    }
    let (new, old) = (now.number()?, before.number()?);
    let (difference, unit) = match now {
        Cell::Rate(_) => ((new - old) * 100.0, " points"),
        _ if old == 0.0 => return None,
        _ => ((new - old) / old.abs() * 100.0, "%"),
    };
    Some(signed(difference, unit))
}

fn signed(difference: f64, unit: &str) -> String {
    let size = format!("{:.1}", difference.abs());
    let sign = match size.as_str() {
        "0.0" => "±",
        _ if difference < 0.0 => "−",
        _ => "+",
    };
    format!("{sign}{}{unit}", grouped(&size))
}

/// `25 Nov 2026`.
pub fn long_day(day: NaiveDate) -> String {
    day.format("%-d %b %Y").to_string()
}

/// `25 Nov`.
pub fn short_day(day: NaiveDate) -> String {
    day.format("%-d %b").to_string()
}

/// `29 Oct – 25 Nov 2026`.
pub fn days(from: NaiveDate, to: NaiveDate) -> String {
    use chrono::Datelike;
    if from == to {
        long_day(to)
    } else if from.year() == to.year() {
        format!("{} – {}", short_day(from), long_day(to))
    } else {
        format!("{} – {}", long_day(from), long_day(to))
    }
}

fn percent(rate: f64) -> String {
    match rate * 100.0 {
        percent if percent > 0.0 && percent < 0.05 => "<0.1%".to_owned(),
        percent => format!("{}%", grouped(&format!("{percent:.1}"))),
    }
}

fn money(amount: &str, currency: Option<&str>) -> String {
    let places = match currency {
        Some(code) if WHOLE.contains(&code) => 0,
        _ => 2,
    };
    let number = decimal(amount, places);
    let sign = match currency {
        Some("EUR") => "€",
        Some("USD") => "$",
        Some("GBP") => "£",
        Some("JPY") => "¥",
        Some(code) => return format!("{code}\u{a0}{number}"),
        None => "",
    };
    match number.strip_prefix('-') {
        Some(number) => format!("−{sign}{number}"),
        None => format!("{sign}{number}"),
    }
}

fn delay(seconds: f64) -> String {
    let size = seconds.abs();
    match size {
        _ if size < 1.0 => format!("{:.0} ms", seconds * 1e3),
        _ if size < 120.0 => format!("{seconds:.1} s"),
        _ if size < 7_200.0 => format!("{:.1} min", seconds / 60.0),
        _ if size < 172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{} days", grouped(&format!("{:.1}", seconds / 86_400.0))),
    }
}

fn decimal(exact: &str, places: usize) -> String {
    match exact.parse::<f64>() {
        Ok(number) if number.is_finite() => grouped(&format!("{number:.places$}")),
        _ => exact.to_owned(),
    }
}

/// Inserts commas between the thousands.
fn grouped(number: &str) -> String {
    let (sign, rest) = match number.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", number),
    };
    let (whole, fraction) = match rest.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (rest, None),
    };
    let mut text = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(amount: &str, currency: &str) -> String {
        shown(&Cell::Money {
            amount: amount.to_owned(),
            currency: Some(currency.to_owned()),
        })
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(shown(&Cell::Count(0)), "0");
        assert_eq!(shown(&Cell::Count(999)), "999");
        assert_eq!(shown(&Cell::Count(-1_234_567)), "-1,234,567");
        assert_eq!(shown(&Cell::Units("1234.50".to_owned())), "1,234.50");
        assert_eq!(shown(&Cell::Units("12.00".to_owned())), "12");
        assert_eq!(shown(&Cell::Rate(0.123_45)), "12.3%");
        assert_eq!(shown(&Cell::Rate(0.000_1)), "<0.1%");
        assert_eq!(shown(&Cell::Rate(0.0)), "0.0%");
        assert_eq!(shown(&Cell::Rate(12.5)), "1,250.0%");
        assert_eq!(money("1234.5", "EUR"), "€1,234.50");
        assert_eq!(money("-3", "USD"), "−$3.00");
        assert_eq!(money("1234", "JPY"), "¥1,234");
        assert_eq!(money("7", "CHF"), "CHF\u{a0}7.00");
        assert_eq!(money("NaN", "EUR"), "€NaN");
        let no_currency = Cell::Money {
            amount: "24910217".to_owned(),
            currency: None,
        };
        assert_eq!(shown(&no_currency), "24,910,217.00");
        assert_eq!(shown(&Cell::Change(-0.125)), "−12.5%");
        assert_eq!(shown(&Cell::Delay(0.25)), "250 ms");
        assert_eq!(shown(&Cell::Delay(61.0)), "61.0 s");
        assert_eq!(shown(&Cell::Delay(-90_000.0)), "-25.0 h");
        assert_eq!(shown(&Cell::Nothing), "–");
    }

    #[test]
    fn a_change_has_a_sign_and_a_unit() {
        let count = |now, before| change(&Cell::Count(now), &Cell::Count(before));
        assert_eq!(count(112, 100).unwrap(), "+12.0%");
        assert_eq!(count(1, 3).unwrap(), "−66.7%");
        assert_eq!(count(100_001, 100_000).unwrap(), "±0.0%");
        assert_eq!(count(3_000, 100).unwrap(), "+2,900.0%");
        assert_eq!(count(5, 0), None);
        let rate = change(&Cell::Rate(0.25), &Cell::Rate(0.2)).unwrap();
        assert_eq!(rate, "+5.0 points");
        assert_eq!(change(&Cell::Nothing, &Cell::Rate(0.2)), None);
        let money = |currency: &str| Cell::Money {
            amount: "3".to_owned(),
            currency: Some(currency.to_owned()),
        };
        assert_eq!(change(&money("EUR"), &money("EUR")).unwrap(), "±0.0%");
        assert_eq!(change(&money("EUR"), &money("USD")), None);
    }

    #[test]
    fn what_is_copied_is_the_value() {
        assert_eq!(raw(&Cell::Count(1_234)).unwrap(), "1234");
        assert_eq!(raw(&Cell::Rate(0.25)).unwrap(), "0.25");
        assert_eq!(raw(&Cell::Rate(1.0 / 3.0)).unwrap(), "0.333333");
        assert_eq!(raw(&Cell::Rate(0.0)).unwrap(), "0");
        assert_eq!(raw(&Cell::Nothing), None);
    }

    #[test]
    fn ranges_name_the_year_once() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let (new_year, november) = (day("2026-01-01"), day("2026-11-25"));
        assert_eq!(days(november, november), "25 Nov 2026");
        assert_eq!(days(new_year, november), "1 Jan – 25 Nov 2026");
        assert_eq!(
            days(day("2025-12-31"), new_year),
            "31 Dec 2025 – 1 Jan 2026"
        );
    }
}
