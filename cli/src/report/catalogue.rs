//! The tables of a report: what each asks, and what its columns mean. The definitions are those of the schema
//! `analytics`, in a sentence.

use std::borrow::Cow;

use crate::report::table::Kind::{Count, Day, Delay, Money, Rate, Text, Units};
use crate::report::table::{Column, Kind, Shade};

/// What leaves out rows whose rates would be chance.
#[derive(Clone, Copy)]
pub enum Least {
    /// Nothing does.
    None,
    /// Products shown in the list.
    Impressions,
    /// People who viewed the product.
    Viewers,
}

/// A table before it is read. `{impressions}` and `{viewers}` in its texts stand for the least that is asked for.
pub struct Spec {
    pub id: &'static str,
    pub title: &'static str,
    pub lead: &'static str,
    pub empty: &'static str,
    pub sql: &'static str,
    pub least: Least,
    pub columns: &'static [Column],
    pub sorted: Option<(usize, bool)>,
    pub shade: Shade,
    /// Whether the query's last column counts the rows that it would have without its limit.
    pub is_limited: bool,
}

const fn column(title: &'static str, kind: Kind, means: &'static str) -> Column {
    Column {
        title: Cow::Borrowed(title),
        kind,
        means,
    }
}

pub const FUNNEL: Spec = Spec {
    id: "funnel",
    title: "Funnel",
    lead: "How many people did each thing at least once in these days. An open funnel, as in GA4: nobody has to take the steps in order. \
           A person is user_id, or user_pseudo_id where nobody is signed in.",
    empty: "None of the funnel's events was sent in these days.",
    sql: include_str!("sql/funnel.sql"),
    least: Least::None,
    columns: &[
        column("Step", Text, ""),
        column("Event", Text, "GA4 event name."),
        column(
            "People",
            Count,
            "People with at least one such event in these days.",
        ),
        column(
            "Of the step before",
            Rate,
            "People of this step / people of the step before.",
        ),
        column(
            "Of the first",
            Rate,
            "People of this step / people of the first step.",
        ),
        column(
            "Products",
            Count,
            "Products of the step; of purchases the lines of orders, each once.",
        ),
    ],
    sorted: None,
    shade: Shade::Plain,
    is_limited: false,
};

pub const DAYS: Spec = Spec {
    id: "days",
    title: "Day by day",
    lead: "Every day from the first with facts to the last.",
    empty: "No facts in these days.",
    sql: include_str!("sql/days.sql"),
    least: Least::None,
    columns: &[
        column("Day", Day, ""),
        column("People", Count, "People with any event on the day."),
        column("Events", Count, "Events of all names on the day."),
        column(
            "Saw a list",
            Count,
            "People with view_item_list on the day.",
        ),
        column(
            "Viewed a product",
            Count,
            "People with view_item on the day.",
        ),
        column(
            "Began checkout",
            Count,
            "People with begin_checkout on the day.",
        ),
        column("Purchased", Count, "People with purchase on the day."),
        column(
            "Checkout to purchase",
            Rate,
            "People who purchased / people who began checkout.",
        ),
        column(
            "Orders",
            Count,
            "Orders that began on the day, each once: by transaction_id; without one the purchase event is the order.",
        ),
    ],
    sorted: Some((0, false)),
    shade: Shade::Plain,
    is_limited: false,
};

pub const MONEY: Spec = Spec {
    id: "money",
    title: "Revenue by currency",
    lead: "Revenue is item_revenue where it is sent, else price × units, without tax and shipping. Each order counts once, however often it was sent.",
    empty: "Nothing was sold in these days.",
    sql: include_str!("sql/money.sql"),
    least: Least::None,
    columns: &[
        column("Currency", Text, "“no currency” where none was sent."),
        column("Orders", Count, ""),
        column(
            "Units",
            Units,
            "Units sold; one where no quantity was sent.",
        ),
        column("Revenue", Money, "Of an order without items: its value."),
        column("Per order", Money, "Revenue / orders."),
    ],
    sorted: Some((1, true)),
    shade: Shade::Plain,
    is_limited: false,
};

pub const REVENUE: Spec = Spec {
    id: "revenue",
    title: "Revenue by day",
    lead: "As above, by the day the order began.",
    empty: "Nothing was sold in these days.",
    sql: include_str!("sql/revenue.sql"),
    least: Least::None,
    columns: &[
        column("Day", Day, ""),
        column("Currency", Text, ""),
        column("Orders", Count, ""),
        column("Units", Units, ""),
        column("Revenue", Money, ""),
        column("Per order", Money, ""),
    ],
    sorted: Some((0, false)),
    shade: Shade::Plain,
    is_limited: false,
};

pub const LISTS: Spec = Spec {
    id: "lists",
    title: "Top lists by engagement rate",
    lead: "Which lists make people go on with what they saw. Lists that showed fewer than {impressions} products are left out: their rates are chance.",
    empty: "No list showed {impressions} products or more in these days. --min-impressions sets how many it takes.",
    sql: include_str!("sql/lists.sql"),
    least: Least::Impressions,
    columns: &[
        column("List", Text, "Its newest name."),
        column(
            "Engagement rate",
            Rate,
            "Of the products shown to known people, those that the person selected, viewed, added, checked out or bought at that time or within the 30 minutes after.",
        ),
        column("Impressions", Count, "Products shown."),
        column("Viewers", Count, "People who saw the list."),
        column(
            "Clicks",
            Count,
            "select_item in the list, and product views by a person to whom the list showed the product in the 30 minutes before, where no select_item was sent.",
        ),
        column(
            "Click-through",
            Rate,
            "People who clicked / people who saw the list (GA4 itemListClickThroughRate).",
        ),
        column(
            "Orders",
            Count,
            "Orders with a line that the list led to: named by it, or of the person's last click in the 24 hours before.",
        ),
        column(
            "Revenue",
            Money,
            "Of these lines; a list that sold in two currencies has two rows.",
        ),
    ],
    sorted: Some((1, true)),
    shade: Shade::Bar(1),
    is_limited: true,
};

pub const PRODUCTS: Spec = Spec {
    id: "products",
    title: "Best products by view-to-purchase rate",
    lead: "Which products are bought by those who look at them. Products that fewer than {viewers} people viewed are left out: their rates are chance.",
    empty: "No product was viewed by {viewers} people or more in these days. --min-viewers sets how many it takes.",
    sql: include_str!("sql/products.sql"),
    least: Least::Viewers,
    columns: &[
        column("Product", Text, "Its newest name."),
        column(
            "View to purchase",
            Rate,
            "People who purchased it / people who viewed it (GA4 purchaseToViewRate). Above 100% where it is bought without its page being opened.",
        ),
        column("Viewers", Count, "People with view_item of it."),
        column("Buyers", Count, "People with purchase of it."),
        column("Views", Count, "view_item items of it."),
        column("Orders", Count, "Orders with it, each once."),
        column("Units", Units, "Units sold."),
        column(
            "Revenue",
            Money,
            "A product that sold in two currencies has two rows.",
        ),
        column("Brand", Text, ""),
    ],
    sorted: Some((1, true)),
    shade: Shade::Bar(1),
    is_limited: true,
};

pub const SESSIONS: Spec = Spec {
    id: "sessions",
    title: "Sessions by day",
    lead: "By the day a session began: a session_id of one installation or browser; without one, a person's events with no pause above 30 minutes.",
    empty: "No event of these days says whose it is.",
    sql: include_str!("sql/sessions.sql"),
    least: Least::None,
    columns: &[
        column("Day", Day, ""),
        column("Sessions", Count, ""),
        column(
            "Engaged",
            Count,
            "Longer than 10 seconds, or with a purchase, or with two views or more.",
        ),
        column("With a purchase", Count, ""),
        column(
            "Engagement rate",
            Rate,
            "Engaged sessions / sessions (GA4 engagementRate).",
        ),
        column(
            "Conversion rate",
            Rate,
            "Sessions with a purchase / sessions (GA4 sessionKeyEventRate:purchase).",
        ),
    ],
    sorted: Some((0, false)),
    shade: Shade::Plain,
    is_limited: false,
};

pub const PROMOTIONS: Spec = Spec {
    id: "promotions",
    title: "Promotions",
    lead: "Which promotions are clicked.",
    empty: "No view_promotion was sent in these days.",
    sql: include_str!("sql/promotions.sql"),
    least: Least::None,
    columns: &[
        column(
            "Promotion",
            Text,
            "Its name, or its id where none was sent.",
        ),
        column(
            "Click-through",
            Rate,
            "People who clicked / people who saw it (GA4 itemPromotionClickThroughRate).",
        ),
        column("Views", Count, "view_promotion items."),
        column("Viewers", Count, "People with such an item."),
        column("Clicks", Count, "select_promotion items."),
        column("Clickers", Count, "People with such an item."),
    ],
    sorted: Some((1, true)),
    shade: Shade::Bar(1),
    is_limited: true,
};

pub const REJECTED: Spec = Spec {
    id: "rejected",
    title: "Rejected, by reason",
    lead: "Events, or parts of events, that could not become facts, by the day they arrived. `etl rejected list` shows them, `etl rejected retry` sends them through again.",
    empty: "Nothing is rejected.",
    sql: include_str!("sql/rejected.sql"),
    least: Least::None,
    columns: &[
        column("Reason", Text, ""),
        column(
            "In these days",
            Count,
            "Arrived in the days of this report.",
        ),
        column("Ever", Count, "All that stand in rejected_events now."),
        column("Last arrived", Day, ""),
    ],
    sorted: Some((1, true)),
    shade: Shade::Plain,
    is_limited: true,
};

pub const LATENESS: Spec = Spec {
    id: "late",
    title: "Late and early facts",
    lead: "How long after their event the facts arrived, by the day of the event.",
    empty: "No facts in these days.",
    sql: include_str!("sql/lateness.sql"),
    least: Least::None,
    columns: &[
        column("Day", Day, ""),
        column("Facts", Count, "Items of events."),
        column(
            "Late",
            Count,
            "Arrived more than 24 hours after their event.",
        ),
        column("Late share", Rate, "Late facts / facts."),
        column(
            "Early",
            Count,
            "Dated more than 5 minutes after their arrival: a clock that is wrong.",
        ),
        column(
            "Median delay",
            Delay,
            "Half of the facts arrived faster than this after their event.",
        ),
    ],
    sorted: Some((0, false)),
    shade: Shade::Plain,
    is_limited: false,
};

pub const DUPLICATES: Spec = Spec {
    id: "duplicates",
    title: "Duplicates",
    lead: "Records of the topic that brought nothing new: sent again by a producer, or delivered again by SQS. Over all that was read, not these days alone.",
    empty: "Nothing was read from a topic yet.",
    sql: include_str!("sql/duplicates.sql"),
    least: Least::None,
    columns: &[
        column("Topic", Text, ""),
        column("Partition", Count, ""),
        column(
            "Records",
            Count,
            "Records read since the first that left a row.",
        ),
        column(
            "With rows",
            Count,
            "Records that left facts or rejected events.",
        ),
        column(
            "Without",
            Count,
            "The others. Once facts are removed, the records they came from count here too.",
        ),
        column("Share", Rate, "Records without rows / records."),
    ],
    sorted: Some((0, false)),
    shade: Shade::Plain,
    is_limited: false,
};

/// The rows that [`super::positions`] makes a chart and a table of.
pub const POSITIONS: &str = include_str!("sql/positions.sql");
