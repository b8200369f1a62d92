//! Statements and programs for the engines that read and rewrite the tables.
//!
//! Spark and Trino name the catalog as they are configured; here it has the name of the sink's
//! `catalog-name`. Athena has statements if the catalog is Glue, the only one that it can use.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use chrono::{Days, NaiveDate};
use iceberg::table::Table;
use lake_sink::Config;
use lake_sink::config::CatalogKind;
use lake_sink::maintenance::person::Person;
use lake_sink::schema::Definition;

/// The rows of records that one condition names.
const MAX_RECORDS: usize = 500;

/// A table's name in each engine.
struct Names {
    athena: Option<String>,
    spark: String,
    trino: String,
    iceberg: String,
}

impl Names {
    fn of(table: &Table, config: &Config) -> Self {
        let id = table.identifier();
        let levels: Vec<&str> = id.namespace().iter().map(String::as_str).collect();
        let namespace = levels.join(".");
        let (catalog, name) = (config.catalog_name(), id.name());
        let in_spark: Vec<String> = std::iter::once(catalog)
            .chain(levels)
            .chain([name])
            .map(|part| quoted(part, '`'))
            .collect();
        let is_glue = matches!(config.catalog(), CatalogKind::Glue { .. });
        Self {
            athena: is_glue.then(|| format!("{}.{}", quoted(&namespace, '"'), quoted(name, '"'))),
            spark: in_spark.join("."),
            trino: format!(
                "{}.{}.{}",
                quoted(catalog, '"'),
                quoted(&namespace, '"'),
                quoted(name, '"')
            ),
            iceberg: id.to_string(),
        }
    }
}

/// A name, quoted if it needs to be. Names have no quotes.
fn quoted(name: &str, quote: char) -> String {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.bytes().all(is_plain) && !name.starts_with(|first: char| first.is_ascii_digit()) {
        name.to_owned()
    } else {
        format!("{quote}{name}{quote}")
    }
}

/// A dialect of SQL.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// Trino and Athena.
    Trino,
    Spark,
}

impl Dialect {
    fn text(self, text: &str) -> String {
        match self {
            Self::Trino => format!("'{}'", text.replace('\'', "''")),
            // A backslash escapes, and two literals side by side are one.
            Self::Spark => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        }
    }

    fn midnight(self, day: NaiveDate) -> String {
        match self {
            Self::Trino => format!("TIMESTAMP '{day} 00:00:00 UTC'"),
            Self::Spark => format!("TIMESTAMP '{day} 00:00:00Z'"),
        }
    }

    fn between(self, column: &str, (first, last): (NaiveDate, NaiveDate)) -> String {
        let end = last.checked_add_days(Days::new(1)).unwrap_or(last);
        format!(
            "{column} >= {} AND {column} < {}",
            self.midnight(first),
            self.midnight(end)
        )
    }
}

/// Days that follow each other, as their first and last one.
fn ranges(days: &[NaiveDate]) -> Vec<(NaiveDate, NaiveDate)> {
    let mut ranges: Vec<(NaiveDate, NaiveDate)> = Vec::new();
    for day in days {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add_days(Days::new(1)) == Some(*day) => *last = *day,
            _ => ranges.push((*day, *day)),
        }
    }
    ranges
}

/// Names the description of the packages and variables that the programs for PyIceberg need.
const SETUP: &str = "what to install and CATALOG_URL: see `etl lake init`";

/// The rows that a deletion removes.
pub struct Condition {
    trino: String,
    spark: String,
    /// Conditions of PyIceberg, each of which is deleted by itself.
    python: Vec<String>,
}

impl Condition {
    /// The facts of a person.
    pub fn of_person(person: &Person) -> Self {
        let sql = |dialect: Dialect| {
            let list = |ids: &mut dyn Iterator<Item = &String>| {
                ids.map(|id| dialect.text(id))
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            let ids = list(&mut person.ids());
            let mut condition =
                format!("user_id IN ({ids}) OR user_id IS NULL AND user_pseudo_id IN ({ids})");
            if !person.devices.is_empty() {
                let devices = list(&mut person.devices.iter());
                let _ = write!(condition, " OR user_pseudo_id IN ({devices})");
            }
            condition
        };
        let list = |ids: &mut dyn Iterator<Item = &String>| {
            let ids: Vec<String> = ids.map(|id| python_text(id)).collect();
            format!("[{}]", ids.join(", "))
        };
        let ids = list(&mut person.ids());
        // PyIceberg 0.12 keeps each row with a null in a column that the condition compares, unless
        // an `IsNull` names that column: an `Or` would keep a user's rows without a device.
        let mut python = vec![
            format!("In(\"user_id\", {ids})"),
            format!("And(IsNull(\"user_id\"), In(\"user_pseudo_id\", {ids}))"),
        ];
        if !person.devices.is_empty() {
            let devices = list(&mut person.devices.iter());
            python.push(format!("In(\"user_pseudo_id\", {devices})"));
        }
        Self {
            trino: sql(Dialect::Trino),
            spark: sql(Dialect::Spark),
            python,
        }
    }

    /// The rows of some records, by topic, partition and offset.
    pub fn of_records(records: &BTreeSet<(String, i32, i64)>) -> Self {
        let mut topics: BTreeMap<&str, BTreeMap<i32, Vec<String>>> = BTreeMap::new();
        for (topic, partition, offset) in records {
            let partitions = topics.entry(topic).or_default();
            let offsets = partitions.entry(*partition).or_default();
            offsets.push(offset.to_string());
        }
        // At most MAX_RECORDS offsets of one partition each.
        let topics: Vec<(&str, Vec<(i32, String)>)> = topics
            .into_iter()
            .map(|(topic, partitions)| {
                let parts = partitions.into_iter().flat_map(|(partition, offsets)| {
                    let chunks = offsets.chunks(MAX_RECORDS).map(|chunk| chunk.join(", "));
                    chunks.map(|chunk| (partition, chunk)).collect::<Vec<_>>()
                });
                (topic, parts.collect())
            })
            .collect();
        let sql = |dialect: Dialect| {
            let of_topic = |(topic, parts): &(&str, Vec<(i32, String)>)| {
                let parts: Vec<String> = parts
                    .iter()
                    .map(|(partition, offsets)| {
                        format!("source_partition = {partition} AND source_offset IN ({offsets})")
                    })
                    .collect();
                let topic = dialect.text(topic);
                format!("source_topic = {topic} AND ({})", parts.join("\n    OR "))
            };
            let topics: Vec<String> = topics.iter().map(of_topic).collect();
            topics.join("\n    OR ")
        };
        let python = topics.iter().map(|(topic, parts)| {
            let parts = parts.iter().map(|(partition, offsets)| {
                format!(
                    "And(EqualTo(\"source_partition\", {partition}), In(\"source_offset\", \
                     [{offsets}]))"
                )
            });
            format!(
                "And(EqualTo(\"source_topic\", {}), {})",
                python_text(topic),
                any(parts.collect())
            )
        });
        Self {
            trino: sql(Dialect::Trino),
            spark: sql(Dialect::Spark),
            python: vec![any(python.collect())],
        }
    }
}

/// The disjunction of some conditions of PyIceberg, whose `Or` needs two.
fn any(conditions: Vec<String>) -> String {
    match conditions.as_slice() {
        [one] => one.clone(),
        many => format!("Or({})", many.join(",\n    ")),
    }
}

/// A text as a literal of Python. JSON's escapes are Python's.
fn python_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The statements that delete the rows of a condition.
pub fn deletion(table: &Table, condition: &Condition, config: &Config) -> String {
    let names = Names::of(table, config);
    let athena = names.athena.map_or_else(String::new, |name| {
        format!(
            "-- Athena\nDELETE FROM {name} WHERE {};\n\n",
            condition.trino
        )
    });
    let deletes = condition.python.iter();
    let deletes: Vec<String> = deletes.map(|one| format!("table.delete({one})")).collect();
    format!(
        "{athena}-- Spark\nDELETE FROM {spark} WHERE {of_spark};\n\n\
         -- Trino\nDELETE FROM {in_trino} WHERE {trino};\n\n\
         # PyIceberg ({SETUP}):\n\
         # rewrites the files with such rows. If the sink commits meanwhile it fails with\n\
         # CommitFailedException: run it again. It warns if a condition matches nothing.\n\
         {pyiceberg}\n\
         from pyiceberg.expressions import And, EqualTo, In, IsNull, Or\n\
         table = catalog.load_table({name})\n\
         {python}\n",
        trino = condition.trino,
        spark = names.spark,
        of_spark = condition.spark,
        in_trino = names.trino,
        pyiceberg = pyiceberg(config),
        name = python_text(&names.iceberg),
        python = deletes.join("\n"),
    )
}

/// The statements that rewrite the files of some days into few, sorted ones.
pub fn compaction(
    table: &Table,
    definition: &Definition,
    days: &[NaiveDate],
    config: &Config,
) -> String {
    let names = Names::of(table, config);
    let time = definition.time;
    let target = config.target_file_size.as_u64();
    let ranges = ranges(days);
    let order: Vec<String> = definition
        .sorted_by
        .iter()
        .map(|column| format!("{column} ASC"))
        .collect();
    let order = order.join(", ");
    let mut athena = String::new();
    let mut spark = String::new();
    let mut trino = String::new();
    for range in ranges {
        let (on_trino, on_spark) = (
            Dialect::Trino.between(time, range),
            Dialect::Spark.between(time, range),
        );
        if let Some(name) = &names.athena {
            let _ = writeln!(
                athena,
                "OPTIMIZE {name} REWRITE DATA USING BIN_PACK WHERE {on_trino};"
            );
        }
        let _ = writeln!(
            spark,
            "CALL {}.system.rewrite_data_files(table => {}, strategy => 'sort', sort_order => \
             '{order}', where => \"{on_spark}\", options => map('target-file-size-bytes', \
             '{target}'));",
            quoted(config.catalog_name(), '`'),
            Dialect::Spark.text(&names.iceberg)
        );
        let _ = writeln!(
            trino,
            "ALTER TABLE {} EXECUTE optimize(file_size_threshold => '{}MB') WHERE {on_trino};",
            names.trino,
            (target >> 20).max(1)
        );
    }
    if !athena.is_empty() {
        athena = format!("-- Athena\n{athena}\n");
    }
    format!(
        "{athena}-- Spark\n{spark}\n-- Trino\n{trino}\n{}",
        rewrite(&names.iceberg, definition, days, config, false)
    )
}

/// The statements that remove the rows of events that the producer sent again: of those with the
/// same time and `fact_hash` the newest version stays, and of equal ones the first record's.
pub fn repeats(
    table: &Table,
    definition: &Definition,
    days: &[NaiveDate],
    config: &Config,
) -> String {
    let names = Names::of(table, config);
    let merge = |table: &str, dialect: Dialect| {
        let days = ranges(days);
        let days: Vec<String> = days
            .into_iter()
            .map(|range| dialect.between("event_time", range))
            .collect();
        merge_repeats(table, &days.join("\n        OR "))
    };
    let athena = names.athena.as_deref().map_or_else(String::new, |name| {
        format!("-- Athena\n{}\n", merge(name, Dialect::Trino))
    });
    format!(
        "To remove a producer's repeats from these days:\n\n{athena}\
         -- Spark\n{}\n-- Trino\n{}\n\
         {}",
        merge(&names.spark, Dialect::Spark),
        merge(&names.trino, Dialect::Trino),
        rewrite(&names.iceberg, definition, days, config, true),
    )
}

/// Keeps the first row of each fact. Two rows of one record can't be told apart and both stay.
fn merge_repeats(table: &str, days: &str) -> String {
    format!(
        "MERGE INTO {table} t USING (\n    \
             SELECT DISTINCT event_time, fact_hash, source_topic, source_partition, source_offset\n    \
             FROM (SELECT event_time, fact_hash, source_topic, source_partition, source_offset,\n               \
             first_value(source_partition) OVER w AS first_partition,\n               \
             first_value(source_offset) OVER w AS first_offset\n        \
             FROM {table}\n        \
             WHERE {days}\n        \
             WINDOW w AS (PARTITION BY event_time, fact_hash\n                     \
             ORDER BY coalesce(event_version, -1) DESC, source_partition, source_offset)) k\n    \
             WHERE source_partition <> first_partition OR source_offset <> first_offset) r\n\
         ON t.event_time = r.event_time AND t.fact_hash = r.fact_hash\n    \
             AND t.source_topic = r.source_topic AND t.source_partition = r.source_partition\n    \
             AND t.source_offset = r.source_offset\n\
         WHEN MATCHED THEN DELETE;\n"
    )
}

const FIRST: &str = "\
def first(rows):
    rows = rows.sort_by([(\"event_time\", \"ascending\"), (\"fact_hash\", \"ascending\"),
                         (\"event_version\", \"descending\"), (\"source_partition\", \"ascending\"),
                         (\"source_offset\", \"ascending\")])
    keys = list(zip(rows[\"event_time\"].to_pylist(), rows[\"fact_hash\"].to_pylist()))
    return rows.filter([row == 0 or keys[row] != keys[row - 1] for row in range(len(keys))])
";

/// A program that rewrites some days with PyIceberg, `distinct` without the repeats.
fn rewrite(
    table: &str,
    definition: &Definition,
    days: &[NaiveDate],
    config: &Config,
    distinct: bool,
) -> String {
    let days: Vec<String> = days.iter().map(|day| format!("\"{day}\"")).collect();
    let order: Vec<String> = definition
        .sorted_by
        .iter()
        .map(|column| format!("(\"{column}\", \"ascending\")"))
        .collect();
    let (function, call) = if distinct {
        (FIRST, "rows = first(rows)\n    ")
    } else {
        ("", "")
    };
    format!(
        "# PyIceberg ({SETUP}):\n\
         # holds the rows of a day in memory. If the sink commits meanwhile it fails with\n\
         # CommitFailedException and keeps the day as it was: run it again.\n\
         {pyiceberg}\n\
         from datetime import datetime, timedelta, timezone\n\
         from pyiceberg.expressions import And, GreaterThanOrEqual, LessThan\n\
         {function}\
         for day in [{days}]:\n    \
             start = datetime.fromisoformat(day).replace(tzinfo=timezone.utc)\n    \
             of_day = And(GreaterThanOrEqual(\"{time}\", start.isoformat()),\n                 \
             LessThan(\"{time}\", (start + timedelta(days=1)).isoformat()))\n    \
             table = catalog.load_table({table})\n    \
             rows = table.scan(row_filter=of_day).to_arrow()\n    \
             {call}\
             rows = rows.sort_by([{order}])\n    \
             table.overwrite(rows, overwrite_filter=of_day)\n",
        pyiceberg = pyiceberg(config),
        time = definition.time,
        days = days.join(", "),
        table = python_text(table),
        order = order.join(", "),
    )
}

/// The lines that open the catalog with PyIceberg. Secrets come from the environment.
pub fn pyiceberg(config: &Config) -> String {
    let mut properties = Vec::new();
    let mut set = |key: &str, value: Option<String>| {
        properties.extend(value.map(|value| format!("    \"{key}\": {value},\n")));
    };
    let environment = |name: &str| Some(format!("os.environ[\"{name}\"]"));
    let name = config.catalog_name.as_deref();
    match config.catalog() {
        CatalogKind::Postgres => {
            set("type", Some(python_text("sql")));
            set("uri", environment("CATALOG_URL"));
            set("warehouse", Some(python_text(&config.warehouse)));
        }
        CatalogKind::Rest => {
            set("type", Some(python_text("rest")));
            set("uri", environment("CATALOG_URL"));
            set("warehouse", name.map(python_text));
            if config.catalog_token.is_some() {
                set("token", environment("CATALOG_TOKEN"));
            }
            if config.catalog_credential.is_some() {
                set("credential", environment("CATALOG_CREDENTIAL"));
            }
            let url = config.catalog_token_url.as_deref();
            set("oauth2-server-uri", url.map(python_text));
            set("scope", config.catalog_scope.as_deref().map(python_text));
        }
        CatalogKind::Glue { account } => {
            set("type", Some(python_text("glue")));
            set("glue.id", account.map(python_text));
            set("glue.region", config.s3_region.as_deref().map(python_text));
        }
    }
    set(
        "s3.endpoint",
        config.s3_endpoint.as_deref().map(python_text),
    );
    set("s3.region", config.s3_region.as_deref().map(python_text));
    format!(
        "import os\n\
         from pyiceberg.catalog import load_catalog\n\
         catalog = load_catalog({}, **{{\n{}}})",
        python_text(config.catalog_name()),
        properties.concat()
    )
}

/// The statements that read the table with DuckDB.
pub fn duckdb(table: &Table, config: &Config) -> String {
    let location = table.metadata().location();
    let mut lines = String::from("INSTALL iceberg; LOAD iceberg;\n");
    if location.starts_with("s3") {
        lines.push_str("INSTALL httpfs; LOAD httpfs;\n");
        let mut options = vec!["TYPE s3".to_owned(), "PROVIDER credential_chain".to_owned()];
        if let Some(region) = &config.s3_region {
            options.push(format!("REGION {}", Dialect::Trino.text(region)));
        }
        if let Some((scheme, host)) = config
            .s3_endpoint
            .as_deref()
            .and_then(|url| url.split_once("://"))
        {
            options.push(format!("ENDPOINT {}", Dialect::Trino.text(host)));
            options.push(format!("USE_SSL {}", scheme == "https"));
        }
        if config.s3_path_style {
            options.push("URL_STYLE 'path'".to_owned());
        }
        let _ = writeln!(lines, "CREATE SECRET ({});", options.join(", "));
    }
    let folder = location.strip_prefix("file://").unwrap_or(location);
    let _ = write!(
        lines,
        "SELECT count(*) FROM iceberg_scan({});",
        Dialect::Trino.text(folder)
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_literals_in_each_language() {
        let person = Person {
            users: vec!["o'neil\\".to_owned()],
            devices: vec!["d\"1".to_owned()],
            linked: Vec::new(),
        };
        let condition = Condition::of_person(&person);
        assert!(condition.trino.contains(r"user_id IN ('o''neil\', 'd"));
        assert!(condition.spark.contains(r"user_id IN ('o\'neil\\', 'd"));
        assert!(
            condition.python[0] == r#"In("user_id", ["o'neil\\", "d\"1"])"#,
            "{:?}",
            condition.python
        );
        assert!(condition.trino.ends_with("OR user_pseudo_id IN ('d\"1')"));
    }

    #[test]
    fn records_are_of_their_topics() {
        let records = [
            ("old", 0, 7),
            ("new's", 0, 7),
            ("new's", 0, 9),
            ("new's", 2, 1),
        ];
        let records =
            records.map(|(topic, partition, offset)| (topic.to_owned(), partition, offset));
        let condition = Condition::of_records(&records.into());
        assert_eq!(
            condition.trino,
            "source_topic = 'new''s' AND (source_partition = 0 AND source_offset IN (7, 9)\n    \
             OR source_partition = 2 AND source_offset IN (1))\n    \
             OR source_topic = 'old' AND (source_partition = 0 AND source_offset IN (7))"
        );
        assert!(condition.spark.starts_with(r"source_topic = 'new\'s' AND"));
        assert_eq!(
            condition.python,
            ["Or(And(EqualTo(\"source_topic\", \"new's\"), \
             Or(And(EqualTo(\"source_partition\", 0), In(\"source_offset\", [7, 9])),\n    \
             And(EqualTo(\"source_partition\", 2), In(\"source_offset\", [1])))),\n    \
             And(EqualTo(\"source_topic\", \"old\"), \
             And(EqualTo(\"source_partition\", 0), In(\"source_offset\", [7]))))"]
        );
    }

    #[test]
    fn days_that_follow_each_other_are_one_range() {
        let day = |day| NaiveDate::from_ymd_opt(2026, 11, day).unwrap();
        let days = [1, 2, 3, 7, 9, 10].map(day);
        let expected = [(1, 3), (7, 7), (9, 10)].map(|(first, last)| (day(first), day(last)));
        assert_eq!(ranges(&days), expected);
        assert_eq!(
            Dialect::Trino.between("t", expected[0]),
            "t >= TIMESTAMP '2026-11-01 00:00:00 UTC' AND t < TIMESTAMP '2026-11-04 00:00:00 UTC'"
        );
    }

    #[test]
    fn names_are_quoted_where_they_have_to_be() {
        assert_eq!(quoted("facts", '"'), "facts");
        assert_eq!(quoted("my-facts", '`'), "`my-facts`");
        assert_eq!(quoted("a.b", '"'), "\"a.b\"");
        assert_eq!(quoted("1a", '"'), "\"1a\"");
    }
}
