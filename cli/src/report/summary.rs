//! The headline: each metric with its value, its chart, and its change since the previous period.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use crate::report::breakdown::{Breakdown, Cause, Dimension, Slice};
use crate::report::charts::Chart;
use crate::report::days::Span;
use crate::report::format;
use crate::report::numbers::{Amounts, Day, ListClicks, Numbers, Sales, Sums, Visits};
use crate::report::table::{Cell, money, share};

/// Currencies with tiles and a chart of their own; the table has all.
const MAX_CURRENCIES: usize = 3;

/// A number with its name and its definition.
#[derive(Clone)]
pub struct Tile {
    pub name: String,
    pub value: Cell,
    pub note: String,
    /// Its change, if there is something to compare with.
    pub change: Option<String>,
    /// Its values by day.
    pub chart: Option<Chart>,
}

impl Tile {
    pub fn new(name: impl Into<String>, value: Cell, note: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value,
            note: note.into(),
            change: None,
            chart: None,
        }
    }
}

/// A number of the headline.
pub struct Metric {
    pub id: String,
    /// Its name within a sentence, and its currency.
    pub spoken: (&'static str, Option<String>),
    pub tile: Tile,
    /// The values of the days compared and of the previous period.
    pub compared: Option<[Cell; 2]>,
    /// The number of independent occurrences behind the compared values, which separates a change
    /// from chance. `None` if another metric covers the change.
    pub evidence: Option<[i64; 2]>,
    pub cause: Cause,
}

impl Metric {
    fn new(
        name: impl Into<String>,
        spoken: &'static str,
        value: Cell,
        note: impl Into<String>,
        chart: Chart,
    ) -> Self {
        let mut tile = Tile::new(name, value, note);
        let id = chart.id.clone();
        tile.chart = Some(chart);
        Self {
            id,
            spoken: (spoken, None),
            tile,
            compared: None,
            evidence: None,
            cause: Cause::Unknown,
        }
    }

    fn compared_by(mut self, compared: Option<[Cell; 2]>, evidence: Option<[i64; 2]>) -> Self {
        if let Some([now, before]) = &compared {
            self.tile.change = format::change(now, before);
        }
        self.compared = compared;
        self.evidence = evidence;
        self
    }

    fn caused_by(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }
}

/// The metrics in their order.
pub fn metrics(numbers: &Numbers) -> Vec<Metric> {
    let sessions = |part: fn(&Visits) -> Sums| {
        by_platform(numbers, |name, visits| Slice::sum(name, part(visits)))
    };
    let session_rate = |part: fn(&Visits) -> Sums| {
        by_platform(numbers, |name, visits| {
            Slice::ratio(name, part(visits).compared(), visits.sessions)
        })
    };
    let lists = |slice: fn(&ListClicks) -> Slice| {
        let slices = numbers.clicks_by_list.iter().map(slice);
        Cause::Within(vec![Breakdown::new(Dimension::List, slices)])
    };
    let mut metrics = vec![
        people(numbers),
        count(
            numbers,
            Chart::by_day("sessions-a-day", "Sessions a day", numbers, |day| {
                Cell::Count(numbers.on(day).sessions)
            }),
            ("Sessions", "The number of sessions"),
            match share(
                numbers.sum(|day| day.engaged),
                numbers.sum(|day| day.sessions),
            ) {
                Cell::Nothing => "no event has a user_id or user_pseudo_id".to_owned(),
                rate => format!(
                    "{} engaged: over 10 seconds, a purchase, or two views",
                    format::shown(&rate)
                ),
            },
            [|day| day.sessions, |day| day.sessions],
        )
        .caused_by(sessions(|visits| visits.sessions)),
        rate(
            numbers,
            ("bounces", "Bounce rate", "The bounce rate"),
            "sessions with one event / sessions",
            [|day| day.bounces, |day| day.sessions],
        )
        .caused_by(session_rate(|visits| visits.bounces)),
        rate(
            numbers,
            ("conversion", "Conversion", "The conversion rate"),
            "sessions with a purchase / sessions",
            [|day| day.converted, |day| day.sessions],
        )
        .caused_by(session_rate(|visits| visits.converted)),
        count(
            numbers,
            Chart::by_day("impressions", "Impressions a day", numbers, |day| {
                Cell::Count(numbers.on(day).impressions)
            }),
            ("Impressions", "The number of impressions"),
            "products shown in lists".to_owned(),
            // The products of a list are shown together, so impressions are not independent.
            [|day| day.impressions, |day| day.sessions],
        )
        .caused_by(lists(|list| Slice::sum(&list.list, list.impressions))),
        rate(
            numbers,
            ("clicks", "CTR", "The click-through rate"),
            "clicks / impressions, over all lists",
            [|day| day.clicks, |day| day.list_impressions],
        )
        .caused_by(lists(|list| {
            Slice::ratio(&list.list, list.clicks.compared(), list.impressions)
        })),
        count(
            numbers,
            Chart::by_day("orders", "Orders a day", numbers, |day| {
                Cell::Count(numbers.on(day).orders)
            }),
            ("Orders", "The number of orders"),
            "each once; without a transaction_id the purchase event is the order".to_owned(),
            [|day| day.orders, |day| day.orders],
        )
        .caused_by(sales(numbers, None, |sales| {
            Slice::sum(&sales.value, sales.orders)
        })),
    ];
    let (mut averages, mut revenues, mut nets) = (Vec::new(), Vec::new(), Vec::new());
    for (index, all) in numbers.headline_amounts().take(MAX_CURRENCIES).enumerate() {
        let [average, revenue, net] = of_currency(numbers, index, all);
        averages.push(average);
        revenues.push(revenue);
        nets.push(net);
    }
    metrics.extend(averages.into_iter().chain(revenues).chain(nets));
    metrics
}

fn people(numbers: &Numbers) -> Metric {
    let chart = Chart::by_day("people", "People a day", numbers, |day| {
        Cell::Count(numbers.on(day).people)
    });
    let Sums { shown, now, before } = numbers.people;
    let platforms = numbers
        .people_by_platform
        .iter()
        .map(|(platform, people)| Slice::sum(platform, *people));
    Metric::new(
        "People",
        "The number of people",
        Cell::Count(shown),
        "with any event; user_id, or user_pseudo_id where nobody is signed in",
        chart,
    )
    .compared_by(
        numbers
            .comparison
            .map(|_| [Cell::Count(now), Cell::Count(before)]),
        Some([now, before]),
    )
    .caused_by(Cause::Within(vec![Breakdown::new(
        Dimension::Platform,
        platforms,
    )]))
}

/// The tiles of new and returning people, which are not in the headline.
pub fn newcomers(numbers: &Numbers) -> Vec<Tile> {
    let metric = |id: &str, title: &str, name: &'static str, note: &str, value: fn(&Day) -> i64| {
        let chart = Chart::by_day(id, title, numbers, |day| {
            Cell::Count(value(&numbers.on(day)))
        });
        count(
            numbers,
            chart,
            (name, name),
            note.to_owned(),
            [value, value],
        )
        .tile
    };
    let mut tiles = vec![
        metric(
            "new-people",
            "New people a day",
            "New people",
            "with their first event in the tables",
            |day| day.new_people,
        ),
        metric(
            "returning-people",
            "Returning people a day",
            "Returning people",
            "who came before these days, too",
            |day| day.returning_people,
        ),
        metric(
            "new-buyers",
            "New buyers a day",
            "New buyers",
            "with their first purchase in the tables",
            |day| day.new_buyers,
        ),
    ];
    // A person who returns on several days counts once.
    if let Some(returning) = tiles.get_mut(1) {
        let new = |span| numbers.sum_over(span, |day| day.new_people);
        let people = numbers.people;
        let all = people.shown - numbers.sum(|day| day.new_people);
        returning.value = Cell::Count(all);
        returning.change = numbers.comparison.and_then(|compared| {
            let (now, before) = (new(compared.now), new(compared.before));
            let before = Cell::Count(people.before - before);
            format::change(&Cell::Count(people.now - now), &before)
        });
    }
    tiles
}

fn count(
    numbers: &Numbers,
    chart: Chart,
    (name, spoken): (&'static str, &'static str),
    note: String,
    [value, evidence]: [fn(&Day) -> i64; 2],
) -> Metric {
    let compared = |count: fn(&Day) -> i64| compared(numbers, |span| numbers.sum_over(span, count));
    let value_of = Cell::Count(numbers.sum(value));
    Metric::new(name, spoken, value_of, note, chart).compared_by(
        compared(value).map(|counts| counts.map(Cell::Count)),
        compared(evidence),
    )
}

fn rate(
    numbers: &Numbers,
    (id, name, spoken): (&'static str, &'static str, &'static str),
    note: &str,
    [part, of]: [fn(&Day) -> i64; 2],
) -> Metric {
    let title = match name {
        "Conversion" => "Conversion rate",
        name => name,
    };
    let chart = Chart::by_day(id, title, numbers, |day| {
        let counts = numbers.on(day);
        share(part(&counts), of(&counts))
    });
    let over = |span| share(numbers.sum_over(span, part), numbers.sum_over(span, of));
    let value = share(numbers.sum(part), numbers.sum(of));
    Metric::new(name, spoken, value, note, chart).compared_by(
        compared(numbers, over),
        compared(numbers, |span| numbers.sum_over(span, part)),
    )
}

/// Average order value, revenue and net revenue.
fn of_currency(numbers: &Numbers, index: usize, all: &Amounts) -> [Metric; 3] {
    let currency = all.currency.as_str();
    let days = numbers.daily_amounts(currency);
    let on = |day: NaiveDate, amount: fn(&Amounts) -> &Cell, none: Cell| {
        days.get(&day)
            .map_or(none, |amounts| amount(amounts).clone())
    };
    let zero = || money(Some("0".to_owned()), currency);
    let chart = |id: &str, title: &str, amount: fn(&Amounts) -> &Cell, none: Cell| {
        Chart::by_day(
            format!("{id}-{index}"),
            format!("{title}, {currency}"),
            numbers,
            |day| on(day, amount, none.clone()),
        )
    };
    let sum = |span, amount: fn(&Amounts) -> &Cell| sum_over(&days, span, amount);
    let in_words = |amount: f64| money(Some(amount.to_string()), currency);
    let orders = |span: Span| {
        days.range(span.first..=span.last)
            .map(|(_, amounts)| amounts.orders)
            .sum::<i64>()
    };
    let evidence = || compared(numbers, orders);
    let left_out = match all.left_out {
        0 => String::new(),
        orders => format!(
            "; without {} orders in currencies that have no exchange rate",
            format::shown(&Cell::Count(orders))
        ),
    };
    let average = Metric::new(
        format!("AOV, {currency}"),
        "The average order value",
        all.per_order.clone(),
        format!("revenue / orders{left_out}"),
        chart(
            "aov",
            "Average order value",
            |day| &day.per_order,
            Cell::Nothing,
        ),
    )
    .compared_by(
        compared(numbers, |span| match orders(span) {
            0 => Cell::Nothing,
            #[allow(clippy::cast_precision_loss, reason = "an average for people to read")]
            orders => in_words(sum(span, |day| &day.revenue) / orders as f64),
        }),
        evidence(),
    )
    .caused_by(sales(numbers, Some(currency), |sales| {
        Slice::ratio(&sales.value, sales.compared, sales.orders)
    }));
    let revenue = Metric::new(
        format!("Revenue, {currency}"),
        "Revenue",
        all.revenue.clone(),
        format!("without tax and shipping{left_out}"),
        chart("revenue", "Revenue a day", |day| &day.revenue, zero()),
    )
    .compared_by(
        compared(numbers, |span| in_words(sum(span, |day| &day.revenue))),
        evidence(),
    )
    .caused_by(sales(numbers, Some(currency), |sales| {
        Slice::amount(&sales.value, sales.compared)
    }));
    let refunds = compared(numbers, |span| sum(span, |day| &day.refunds));
    let earned = compared(numbers, |span| sum(span, |day| &day.revenue));
    let changed =
        |amounts: Option<[f64; 2]>| amounts.map_or(0.0, |[now, before]| (now - before).abs());
    // If refunds change less than revenue, revenue covers the change.
    let is_by_refunds = changed(refunds) > changed(earned);
    let net = Metric::new(
        format!("Net revenue, {currency}"),
        "Net revenue",
        all.net.clone(),
        format!(
            "revenue − refunds of {}{left_out}",
            format::shown(&all.refunds)
        ),
        chart("net", "Net revenue a day", |day| &day.net, zero()),
    )
    .compared_by(
        compared(numbers, |span| in_words(sum(span, |day| &day.net))),
        evidence().filter(|_| is_by_refunds),
    )
    .caused_by(refunds.map_or(Cause::Unknown, |refunds| {
        Cause::Refunds(refunds.map(in_words))
    }));
    let mut metrics = [average, revenue, net];
    for metric in &mut metrics {
        metric.spoken.1 = Some(currency.to_owned());
    }
    metrics
}

fn sum_over(
    days: &BTreeMap<NaiveDate, &Amounts>,
    span: Span,
    amount: fn(&Amounts) -> &Cell,
) -> f64 {
    days.range(span.first..=span.last)
        .filter_map(|(_, amounts)| amount(amounts).number())
        .sum()
}

fn compared<T>(numbers: &Numbers, over: impl Fn(Span) -> T) -> Option<[T; 2]> {
    let days = numbers.comparison?;
    Some([over(days.now), over(days.before)])
}

fn by_platform(numbers: &Numbers, slice: impl Fn(&str, &Visits) -> Slice) -> Cause {
    let platforms = numbers.visits_by_platform.iter();
    let slices = platforms.map(|(platform, visits)| slice(platform, visits));
    Cause::Within(vec![Breakdown::new(Dimension::Platform, slices)])
}

fn sales(numbers: &Numbers, currency: Option<&str>, slice: fn(&Sales) -> Slice) -> Cause {
    let breakdown = |dimension, sales: &[Sales]| {
        let of_currency = sales
            .iter()
            .filter(|sales| currency.is_none_or(|currency| sales.currency == currency));
        Breakdown::new(dimension, of_currency.map(slice))
    };
    Cause::Within(vec![
        breakdown(Dimension::Platform, &numbers.sales_by_platform),
        breakdown(Dimension::Category, &numbers.sales_by_category),
    ])
}
