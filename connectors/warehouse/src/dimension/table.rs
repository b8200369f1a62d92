//! The tables of the dimensions, their statements, and members as parameters of these.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use tokio_postgres::types::ToSql;

use super::member::Member;

/// The table of a dimension.
#[derive(Debug)]
pub(super) struct Table {
    name: &'static str,
    key: &'static str,
    /// The columns that distinguish members. They never change.
    pub(super) identity: &'static [&'static str],
    pub(super) attributes: &'static [Attribute],
    statements: fn() -> &'static Statements,
}

/// Columns that are updated together.
#[derive(Debug)]
pub(super) struct Attribute {
    as_of: &'static str,
    pub(super) columns: &'static [&'static str],
}

/// `dim_product`. The attributes are in the order of `Dimension::add_product`.
pub(super) const PRODUCT: Table = Table {
    name: "dim_product",
    key: "product_key",
    identity: &["product_id"],
    attributes: &[
        Attribute {
            as_of: "name_as_of",
            columns: &["product_name"],
        },
        Attribute {
            as_of: "brand_as_of",
            columns: &["product_brand"],
        },
        Attribute {
            as_of: "category_as_of",
            columns: &[
                "product_category",
                "product_category2",
                "product_category3",
                "product_category4",
                "product_category5",
            ],
        },
        Attribute {
            as_of: "variant_as_of",
            columns: &["product_variant"],
        },
    ],
    statements: || {
        static STATEMENTS: LazyLock<Statements> = LazyLock::new(|| Statements::of(&PRODUCT));
        &STATEMENTS
    },
};

/// `dim_list`.
pub(super) const LIST: Table = Table {
    name: "dim_list",
    key: "list_key",
    identity: &["list_id", "list_name"],
    attributes: &[],
    statements: || {
        static STATEMENTS: LazyLock<Statements> = LazyLock::new(|| Statements::of(&LIST));
        &STATEMENTS
    },
};

impl Table {
    pub(super) fn statements(&self) -> &'static Statements {
        (self.statements)()
    }
}

/// The statements for a table. All but `find` take the arrays of [`Columns`]: the natural keys, the
/// columns of the identity, those of the attributes, their times, first and last seen.
#[derive(Debug)]
pub(super) struct Statements {
    /// Returns the keys of the members with the natural keys in `$1`.
    pub(super) find: String,
    /// Inserts new members and returns their keys.
    pub(super) insert: String,
    /// Updates members with newer values. It locks rows in any order, so only one transaction at a
    /// time may run it.
    pub(super) update: String,
}

impl Statements {
    fn of(table: &Table) -> Self {
        let Table {
            name,
            key,
            identity,
            attributes,
            ..
        } = table;
        let texts: Vec<&str> = attributes
            .iter()
            .flat_map(|attribute| attribute.columns)
            .copied()
            .collect();
        let times: Vec<&str> = attributes.iter().map(|attribute| attribute.as_of).collect();
        let columns = [
            &["natural_key"],
            *identity,
            texts.as_slice(),
            times.as_slice(),
            &["first_seen", "last_seen"],
        ]
        .concat()
        .join(", ");
        let last_text = 1 + identity.len() + texts.len();
        let arrays: Vec<String> = (1..=last_text + times.len() + 2)
            .map(|number| {
                let kind = if number <= last_text {
                    "text"
                } else {
                    "timestamptz"
                };
                format!("${number}::{kind}[]")
            })
            .collect();
        let new = format!("unnest({}) AS new ({columns})", arrays.join(", "));
        let changes: Vec<String> = attributes
            .iter()
            .map(Attribute::is_newer)
            .chain([seen_changes()])
            .collect();
        let changes = changes.join(" OR ");
        let assignments: Vec<String> = attributes
            .iter()
            .flat_map(Attribute::assignments)
            .chain(seen_assignments())
            .collect();
        Self {
            find: format!("SELECT natural_key, {key} FROM {name} WHERE natural_key = ANY ($1)"),
            insert: format!(
                "INSERT INTO {name} ({columns}) SELECT {columns} FROM {new} \
                 ON CONFLICT (natural_key) DO NOTHING RETURNING natural_key, {key}"
            ),
            update: format!(
                "UPDATE {name} old SET {} FROM {new} \
                 WHERE old.natural_key = new.natural_key AND ({changes})",
                assignments.join(", ")
            ),
        }
    }
}

/// `least` and `greatest` ignore NULL.
fn seen_changes() -> String {
    "least(old.first_seen, new.first_seen) IS DISTINCT FROM old.first_seen \
     OR greatest(old.last_seen, new.last_seen) IS DISTINCT FROM old.last_seen"
        .to_owned()
}

fn seen_assignments() -> [String; 2] {
    [("first_seen", "least"), ("last_seen", "greatest")]
        .map(|(column, pick)| format!("{column} = {pick}(old.{column}, new.{column})"))
}

impl Attribute {
    /// The same order as of `Values` in memory: a value is newer than none, then the time decides,
    /// then the value.
    fn is_newer(&self) -> String {
        let list = |side: &str| -> Vec<String> {
            self.columns
                .iter()
                .map(|column| format!("{side}.{column}"))
                .collect()
        };
        let row = |side: &str| -> String {
            let values: Vec<String> = list(side)
                .iter()
                .map(|column| format!("coalesce({column}, '') COLLATE \"C\""))
                .collect();
            format!(
                "ROW(coalesce({side}.{}, '-infinity'), {})",
                self.as_of,
                values.join(", ")
            )
        };
        format!(
            "(coalesce({}) IS NOT NULL AND (coalesce({}) IS NULL OR {} > {}))",
            list("new").join(", "),
            list("old").join(", "),
            row("new"),
            row("old"),
        )
    }

    fn assignments(&self) -> impl Iterator<Item = String> {
        let newer = self.is_newer();
        let columns = self.columns.iter().chain([&self.as_of]);
        columns.map(move |column| {
            format!("{column} = CASE WHEN {newer} THEN new.{column} ELSE old.{column} END")
        })
    }
}

/// Members as arrays for `unnest`, one for each column.
pub(super) struct Columns<'a> {
    texts: Vec<Vec<Option<&'a str>>>,
    times: Vec<Vec<Option<DateTime<Utc>>>>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(table: &Table, members: &[&'a Member]) -> Self {
        let all = || members.iter();
        let time = |micros: Option<i64>| micros.and_then(DateTime::from_timestamp_micros);
        let natural_key = |member: &&'a Member| Some(member.natural_key.as_str());
        let mut texts: Vec<Vec<Option<&str>>> = vec![all().map(natural_key).collect()];
        for column in 0..table.identity.len() {
            let value = |member: &&'a Member| member.identity.get(column)?.as_deref();
            texts.push(all().map(value).collect());
        }
        let mut times = Vec::new();
        for (index, attribute) in table.attributes.iter().enumerate() {
            for column in 0..attribute.columns.len() {
                let value = |member: &&'a Member| {
                    let values = &member.attributes.get(index)?.values;
                    values.get(column)?.as_deref()
                };
                texts.push(all().map(value).collect());
            }
            let as_of = |member: &&'a Member| time(member.attributes.get(index)?.as_of);
            times.push(all().map(as_of).collect());
        }
        times.push(all().map(|member| time(member.first_seen)).collect());
        times.push(all().map(|member| time(member.last_seen)).collect());
        Self { texts, times }
    }

    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        let texts = self
            .texts
            .iter()
            .map(|column| column as &(dyn ToSql + Sync));
        let times = self
            .times
            .iter()
            .map(|column| column as &(dyn ToSql + Sync));
        texts.chain(times).collect()
    }
}
