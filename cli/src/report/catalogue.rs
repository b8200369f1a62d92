//! The tables of a report: their queries, titles and columns. The definitions are those of the
//! schema `analytics`, in a sentence.

use std::borrow::Cow;

use crate::report::table::Kind::{Change, Count, Day, Delay, Money, Rate, Text, Units};
use crate::report::table::{Cell, Column, Kind, Shade, Table};

/// The minimum that leaves out rows whose rates would be noise.
#[derive(Clone, Copy)]
pub enum Least {
    None,
    /// A minimum of products shown in the list.
    Impressions,
    /// A minimum of people who viewed the product.
    Viewers,
}

/// A table without its rows. `{impressions}` and `{viewers}` in its texts are placeholders for the
/// minimums.
pub struct Spec {
    pub id: &'static str,
    pub title: &'static str,
    pub lead: &'static str,
    pub empty: &'static str,
    pub columns: &'static [Column],
    pub sorted: Option<(usize, bool)>,
    pub shade: Shade,
}

impl Spec {
    /// The table with its rows.
    pub fn table(&self, rows: Vec<Vec<Cell>>) -> Table {
        let table = Table {
            id: self.id,
            title: self.title,
            lead: self.lead.to_owned(),
            empty: self.empty.to_owned(),
            columns: self.columns.to_vec(),
            rows,
            of_all: None,
            sorted: self.sorted,
            shade: self.shade,
        };
        table.with_currencies_named()
    }
}

/// A table whose rows are those of one query.
pub struct Query {
    pub spec: Spec,
    pub sql: &'static str,
    pub least: Least,
    /// True if the query's last column is the number of rows without its limit.
    pub is_limited: bool,
}

/// A column of a table.
pub const fn column(title: &'static str, kind: Kind, means: &'static str) -> Column {
    Column {
        title: Cow::Borrowed(title),
        kind,
        means,
    }
}

pub const FUNNEL: Query = Query {
    spec: Spec {
        id: "funnel",
        title: "Funnel",
        lead: "Sessions that took each step after all steps before it, in this order: a closed \
            funnel. A session that skips a step is not counted from there on. A step is left out \
            if less than a tenth as many sessions have it as have a later step: the shop does \
            not send it.",
        empty: "None of the funnel's events was sent in these days.",
        columns: &[
            column("Step", Text, ""),
            column("Event", Text, "GA4 event name."),
            column(
                "Sessions",
                Count,
                "Sessions that took this step after all steps before it.",
            ),
            column(
                "Of the step before",
                Rate,
                "Sessions of this step / sessions of the step before.",
            ),
            column(
                "Of the first",
                Rate,
                "Sessions of this step / sessions of the first step.",
            ),
        ],
        sorted: None,
        shade: Shade::Plain,
    },
    sql: include_str!("sql/funnel.sql"),
    least: Least::None,
    is_limited: false,
};

pub const DAYS: Spec = Spec {
    id: "days",
    title: "Day by day",
    lead: "Every day from the first with facts to the last.",
    empty: "No facts in these days.",
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
            "Orders that began on the day, each once: by transaction_id; without one the purchase \
             event is the order.",
        ),
        column(
            "Impressions",
            Count,
            "Products shown in lists that have an id or a name.",
        ),
        column(
            "Clicks",
            Count,
            "Clicks on these products, as for the top lists.",
        ),
        column("CTR", Rate, "Clicks / impressions."),
    ],
    sorted: Some((0, false)),
    shade: Shade::Plain,
};

pub const MONEY: Spec = Spec {
    id: "money",
    title: "Revenue by currency",
    lead: "Revenue is item_revenue where it is sent, else price × units, without tax and shipping. \
        Each order counts once, however often it was sent.",
    empty: "Nothing was sold in these days.",
    columns: &[
        column("Currency", Text, "“no currency” where none was sent."),
        column("Revenue", Money, "Of an order without items: its value."),
        column("Refunds", Money, "By the day of the refund."),
        column("Net revenue", Money, "Revenue − refunds."),
        column("AOV", Money, "Average order value: revenue / orders."),
        column("Orders", Count, ""),
        column(
            "Units",
            Units,
            "Units sold; one where no quantity was sent.",
        ),
    ],
    sorted: Some((5, true)),
    shade: Shade::Plain,
};

pub const REVENUE: Spec = Spec {
    id: "revenue",
    title: "Revenue by day",
    lead: "As above, by the day the order began.",
    empty: "Nothing was sold in these days.",
    columns: &[
        column("Day", Day, ""),
        column("Currency", Text, ""),
        column("Revenue", Money, ""),
        column("Refunds", Money, ""),
        column("Net revenue", Money, ""),
        column("AOV", Money, ""),
        column("Orders", Count, ""),
        column("Units", Units, ""),
    ],
    sorted: Some((0, false)),
    shade: Shade::Plain,
};

pub const PLATFORMS: Spec = Spec {
    id: "platforms",
    title: "Platforms",
    lead: "Sessions belong to the platform they begin on.",
    empty: "No event of these days has a user_id or user_pseudo_id.",
    columns: &[
        column("Platform", Text, "As sent."),
        column(
            "Conversion",
            Rate,
            "Sessions with a purchase / sessions (GA4 sessionKeyEventRate:purchase).",
        ),
        column("Bounce rate", Rate, "Sessions with one event / sessions."),
        column(
            "Revenue",
            Money,
            "Without tax and shipping. A platform that sold in two currencies has two rows.",
        ),
        column("Revenue change", Change, REVENUE_CHANGE),
        column("Orders", Count, "Orders in the currency, each once."),
        column("Sessions", Count, ""),
        column("People", Count, "People with any event on the platform."),
    ],
    sorted: Some((6, true)),
    shade: Shade::Plain,
};

pub const CATEGORIES: Spec = Spec {
    id: "categories",
    title: "Categories",
    lead: "Sales by the first level of the product's newest category path.",
    empty: "Nothing was sold in these days.",
    columns: &[
        column("Category", Text, ""),
        column(
            "Revenue",
            Money,
            "Without tax and shipping. A category that sold in two currencies has two rows.",
        ),
        column("Revenue change", Change, REVENUE_CHANGE),
        column(
            "Orders",
            Count,
            "Orders with a line of the category; an order with two categories counts in both.",
        ),
        column(
            "Units",
            Units,
            "Units sold; one where no quantity was sent.",
        ),
        column("Per order", Money, "Revenue of the category / its orders."),
    ],
    sorted: Some((1, true)),
    shade: Shade::Plain,
};

const REVENUE_CHANGE: &str =
    "Revenue of the days that are over, against the days that the headline compares with.";

pub const LISTS: Query = Query {
    spec: Spec {
        id: "lists",
        title: "Top lists by engagement rate",
        lead: "Lists by how often people act on what they saw. Lists that showed fewer than \
            {impressions} products are left out: their rates are noise.",
        empty: "No list showed {impressions} products or more in these days. --min-impressions \
            sets the minimum.",
        columns: &[
            column("List", Text, "Its name, or its id where none was sent."),
            column(
                "Engagement rate",
                Rate,
                "Of the products shown to known people, the share that the person selected, \
                 viewed, added, checked out or bought within the 30 minutes after.",
            ),
            column(
                "Viewers who clicked",
                Rate,
                "People who clicked / people who saw the list (GA4 itemListClickThroughRate).",
            ),
            column(
                "Revenue",
                Money,
                "Of the lines of orders that the list led to; a list that sold in two currencies \
                 has two rows.",
            ),
            column("Impressions", Count, "Products shown."),
            column("Viewers", Count, "People who saw the list."),
            column(
                "Clicks",
                Count,
                "select_item in the list, and product views by a person to whom the list showed \
                 the product in the 30 minutes before, where no select_item was sent.",
            ),
            column(
                "Orders",
                Count,
                "Orders with a line that the list led to: named by it, or of the person's last \
                 click in the 24 hours before.",
            ),
        ],
        sorted: Some((1, true)),
        shade: Shade::Bar(1),
    },
    sql: include_str!("sql/lists.sql"),
    least: Least::Impressions,
    is_limited: true,
};

pub const PRODUCTS: Query = Query {
    spec: Spec {
        id: "products",
        title: "Best products by view-to-purchase rate",
        lead: "Products by how many of their viewers buy. Products that fewer than {viewers} \
            people viewed are left out: their rates are noise.",
        empty: "No product was viewed by {viewers} people or more in these days. --min-viewers \
            sets the minimum.",
        columns: &[
            column("Product", Text, "Its newest name."),
            column(
                "View to purchase",
                Rate,
                "People who purchased it / people who viewed it (GA4 purchaseToViewRate). Above \
                 100% where it is bought without its page being opened.",
            ),
            column(
                "Revenue",
                Money,
                "A product that sold in two currencies has two rows.",
            ),
            column("Viewers", Count, "People with view_item of it."),
            column("Buyers", Count, "People with purchase of it."),
            column("Views", Count, "view_item items of it."),
            column("Orders", Count, "Orders with it, each once."),
            column("Units", Units, "Units sold."),
            column("Brand", Text, ""),
        ],
        sorted: Some((1, true)),
        shade: Shade::Bar(1),
    },
    sql: include_str!("sql/products.sql"),
    least: Least::Viewers,
    is_limited: true,
};

pub const SESSIONS: Spec = Spec {
    id: "sessions",
    title: "Sessions by day",
    lead: "By the day a session began. A session is one session_id of a device with no pause above \
        8 hours; without an id, a device's events with no pause above 30 minutes.",
    empty: "No event of these days has a user_id or user_pseudo_id.",
    columns: &[
        column("Day", Day, ""),
        column("Sessions", Count, ""),
        column(
            "Conversion rate",
            Rate,
            "Sessions with a purchase / sessions (GA4 sessionKeyEventRate:purchase).",
        ),
        column("Bounce rate", Rate, "Sessions with one event / sessions."),
        column(
            "Engagement rate",
            Rate,
            "Engaged sessions / sessions (GA4 engagementRate).",
        ),
        column("With a purchase", Count, ""),
        column("With one event", Count, ""),
        column(
            "Engaged",
            Count,
            "Longer than 10 seconds, or with a purchase, or with two views or more.",
        ),
    ],
    sorted: Some((0, false)),
    shade: Shade::Plain,
};

pub const NEWCOMERS: Spec = Spec {
    id: "newcomers",
    title: "New and returning people by day",
    lead: "A person is new on the day of their first event in the tables, and a new buyer on the \
        day of their first purchase there.",
    empty: "No event of these days has a user_id or user_pseudo_id.",
    columns: &[
        column("Day", Day, ""),
        column(
            "New",
            Count,
            "People with their first event (GA4 newUsers).",
        ),
        column("Returning", Count, "People with events on earlier days."),
        column("New share", Rate, "New people / people of the day."),
        column("New buyers", Count, "People with their first purchase."),
        column(
            "Returning buyers",
            Count,
            "People with a purchase who bought on earlier days.",
        ),
    ],
    sorted: Some((0, false)),
    shade: Shade::Plain,
};

pub const PROMOTIONS: Query = Query {
    spec: Spec {
        id: "promotions",
        title: "Promotions",
        lead: "Promotions by clicks.",
        empty: "No view_promotion was sent in these days.",
        columns: &[
            column(
                "Promotion",
                Text,
                "Its name, or its id where none was sent.",
            ),
            column(
                "Viewers who clicked",
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
    },
    sql: include_str!("sql/promotions.sql"),
    least: Least::None,
    is_limited: true,
};

pub const REJECTED: Query = Query {
    spec: Spec {
        id: "rejected",
        title: "Rejected, by reason",
        lead: "Events, or parts of events, that could not become facts, by the day they arrived. \
            `etl rejected list` shows them, `etl rejected retry` sends them through again.",
        empty: "Nothing is rejected.",
        columns: &[
            column("Reason", Text, ""),
            column(
                "In these days",
                Count,
                "Arrived in the days of this report.",
            ),
            column("Ever", Count, "All rows of rejected_events now."),
            column("Last arrived", Day, ""),
        ],
        sorted: Some((1, true)),
        shade: Shade::Plain,
    },
    sql: include_str!("sql/rejected.sql"),
    least: Least::None,
    is_limited: true,
};

pub const LATENESS: Query = Query {
    spec: Spec {
        id: "late",
        title: "Late and early facts",
        lead: "How long after their event the facts arrived, by the day of the event.",
        empty: "No facts in these days.",
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
                "Dated more than 5 minutes after their arrival, by a wrong clock.",
            ),
            column(
                "Median delay",
                Delay,
                "Half of the facts arrived faster than this after their event.",
            ),
        ],
        sorted: Some((0, false)),
        shade: Shade::Plain,
    },
    sql: include_str!("sql/lateness.sql"),
    least: Least::None,
    is_limited: false,
};

pub const DUPLICATES: Query = Query {
    spec: Spec {
        id: "duplicates",
        title: "Duplicates",
        lead: "Records of the topic that added no rows: sent again by a producer, or delivered \
            again by SQS. Over all records read, not these days alone.",
        empty: "Nothing was read from a topic yet.",
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
    },
    sql: include_str!("sql/duplicates.sql"),
    least: Least::None,
    is_limited: false,
};

/// The rows of [`super::tables::positions`].
pub const POSITIONS: &str = include_str!("sql/positions.sql");
