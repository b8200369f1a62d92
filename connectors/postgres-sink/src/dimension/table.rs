//! How a dimension is laid out in the database, and the statements that follow from it.

use std::sync::LazyLock;

/// A dimension's table.
#[derive(Debug)]
pub(super) struct Table {
    name: &'static str,
    key: &'static str,
    /// The columns that tell members apart and never change.
    pub(super) identity: &'static [&'static str],
    pub(super) attributes: &'static [Attribute],
    statements: fn() -> &'static Statements,
}

/// Columns that are told, and replaced, together.
#[derive(Debug)]
pub(super) struct Attribute {
    as_of: &'static str,
    pub(super) columns: &'static [&'static str],
}

/// `dim_product`. The order of the attributes is that of `Dimension::note_product`.
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

/// The statements for one table. All but `find` take the arrays of `Values`: the natural keys, the
/// columns of the identity, those of the attributes, their times, first and last seen.
#[derive(Debug)]
pub(super) struct Statements {
    /// The keys of the members whose natural keys are in `$1`.
    pub(super) find: String,
    /// Inserts those that are new and returns their keys.
    pub(super) insert: String,
    /// Changes those of which something new is told. It locks rows in any order, so one transaction at a time.
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
        let told = format!("unnest({}) AS told ({columns})", arrays.join(", "));
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
                "INSERT INTO {name} ({columns}) SELECT {columns} FROM {told} ON CONFLICT (natural_key) DO NOTHING \
                 RETURNING natural_key, {key}"
            ),
            update: format!(
                "UPDATE {name} known SET {} FROM {told} WHERE known.natural_key = told.natural_key AND ({changes})",
                assignments.join(", ")
            ),
        }
    }
}

/// `least` and `greatest` pass over NULL.
fn seen_changes() -> String {
    "least(known.first_seen, told.first_seen) IS DISTINCT FROM known.first_seen \
     OR greatest(known.last_seen, told.last_seen) IS DISTINCT FROM known.last_seen"
        .to_owned()
}

fn seen_assignments() -> [String; 2] {
    [("first_seen", "least"), ("last_seen", "greatest")]
        .map(|(column, pick)| format!("{column} = {pick}(known.{column}, told.{column})"))
}

impl Attribute {
    /// The same order as that of `Told` in memory: something before nothing, then by time, then by value.
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
            list("told").join(", "),
            list("known").join(", "),
            row("told"),
            row("known"),
        )
    }

    fn assignments(&self) -> impl Iterator<Item = String> {
        let newer = self.is_newer();
        let columns = self.columns.iter().chain([&self.as_of]);
        columns.map(move |column| {
            format!("{column} = CASE WHEN {newer} THEN told.{column} ELSE known.{column} END")
        })
    }
}
