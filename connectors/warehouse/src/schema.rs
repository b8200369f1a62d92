//! Checks that the tables are those that the sink writes, and that its user may write them.
//!
//! A column of another type would round amounts or refuse events one by one, and without its
//! constraint a table would store rows twice. All problems are reported at once, each with the
//! statement that fixes it.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use crate::error::{Context, Error};

/// A table as the sink needs it.
struct Expected {
    name: &'static str,
    /// Types, each with its columns.
    columns: &'static [(&'static str, &'static [&'static str])],
    unique: &'static [&'static str],
    rights: &'static [&'static str],
}

const TIME: &str = "timestamp with time zone";

const TABLES: [Expected; 6] = [
    Expected {
        name: "fact_events",
        columns: &[
            (TIME, &["event_time", "sent_at", "ingested_at"]),
            (
                "text",
                &[
                    "event_name",
                    "event_id",
                    "user_id",
                    "user_pseudo_id",
                    "session_id",
                    "platform",
                    "traffic_source",
                    "traffic_medium",
                    "traffic_campaign",
                    "device_category",
                    "country",
                    "app_version",
                    "product_variant",
                    "item_coupon",
                    "affiliation",
                    "location_id",
                    "promotion_id",
                    "promotion_name",
                    "creative_name",
                    "creative_slot",
                    "currency",
                    "transaction_id",
                    "event_coupon",
                    "source_topic",
                ],
            ),
            (
                "numeric",
                &[
                    "price",
                    "quantity",
                    "discount",
                    "price_in_usd",
                    "item_revenue",
                    "item_revenue_in_usd",
                    "item_refund",
                    "item_refund_in_usd",
                    "value",
                    "tax",
                    "shipping",
                    "event_version",
                ],
            ),
            (
                "integer",
                &["list_position", "item_ordinal", "source_partition"],
            ),
            ("bigint", &["product_key", "list_key", "source_offset"]),
            ("jsonb", &["extra"]),
            ("uuid", &["fact_hash"]),
        ],
        unique: &["event_time", "fact_hash"],
        rights: &["SELECT", "INSERT", "UPDATE"],
    },
    Expected {
        name: "dim_product",
        columns: &[
            ("bigint", &["product_key"]),
            (
                "text",
                &[
                    "natural_key",
                    "product_id",
                    "product_name",
                    "product_brand",
                    "product_category",
                    "product_category2",
                    "product_category3",
                    "product_category4",
                    "product_category5",
                    "product_variant",
                ],
            ),
            (
                TIME,
                &[
                    "name_as_of",
                    "brand_as_of",
                    "category_as_of",
                    "variant_as_of",
                    "first_seen",
                    "last_seen",
                ],
            ),
        ],
        unique: &["natural_key"],
        rights: &["SELECT", "INSERT", "UPDATE"],
    },
    Expected {
        name: "dim_list",
        columns: &[
            ("bigint", &["list_key"]),
            ("text", &["natural_key", "list_id", "list_name"]),
            (TIME, &["first_seen", "last_seen"]),
        ],
        unique: &["natural_key"],
        rights: &["SELECT", "INSERT", "UPDATE"],
    },
    Expected {
        name: "rejected_events",
        columns: &[
            (
                "text",
                &[
                    "reason",
                    "detail",
                    "at_path",
                    "raw",
                    "raw_encoding",
                    "source_topic",
                    "source_key",
                ],
            ),
            ("uuid", &["raw_hash"]),
            ("integer", &["source_partition", "ordinal"]),
            ("bigint", &["id", "source_offset"]),
            (TIME, &["first_seen"]),
        ],
        unique: &["source_topic", "source_key", "ordinal", "raw_hash"],
        rights: &["INSERT"],
    },
    Expected {
        name: "sink_offsets",
        columns: &[
            ("text", &["sink", "topic", "last_record"]),
            ("integer", &["partition"]),
            (
                "bigint",
                &[
                    "next_offset",
                    "records",
                    "records_without_rows",
                    "set_aside",
                ],
            ),
            (TIME, &["updated_at"]),
        ],
        unique: &["sink", "topic", "partition"],
        rights: &["SELECT", "INSERT", "UPDATE"],
    },
    Expected {
        name: "sink_clusters",
        columns: &[("text", &["sink", "topic", "cluster"]), (TIME, &["since"])],
        unique: &["sink", "topic"],
        rights: &["SELECT", "INSERT", "UPDATE"],
    },
];

const COLUMNS: &str = "\
    SELECT t.name, a.attname::text, format_type(a.atttypid, a.atttypmod), \
           a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = '' \
    FROM unnest($1::text[]) AS t (name) JOIN pg_attribute a ON a.attrelid = to_regclass(t.name) \
    WHERE a.attnum > 0 AND NOT a.attisdropped";
const UNIQUE: &str = "\
    SELECT t.name, \
           ARRAY(SELECT a.attname::text FROM pg_attribute a \
                 WHERE a.attrelid = i.indrelid \
                   AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])) \
    FROM unnest($1::text[]) AS t (name) JOIN pg_index i ON i.indrelid = to_regclass(t.name) \
    WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL";
const PARTITIONED: &str =
    "SELECT partdefid <> 0 FROM pg_partitioned_table WHERE partrelid = to_regclass('fact_events')";
/// A newer server, or another one, can lack a zone that was valid when it was set.
const TIME_ZONE: &str = "\
    SELECT analytics.time_zone(), \
           EXISTS (SELECT FROM pg_timezone_names z WHERE z.name = analytics.time_zone())";
const RIGHTS: &str = "\
    SELECT t.name, current_user::text, has_table_privilege(to_regclass(t.name), t.needed) \
    FROM unnest($1::text[], $2::text[]) AS t (name, needed)";
const OWNER: &str = "\
    SELECT current_user::text, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), \
           (SELECT pg_has_role(relowner, 'USAGE') FROM pg_class \
            WHERE oid = to_regclass('fact_events')), \
           has_function_privilege('etl_make_partition(date)', 'EXECUTE')";

const OPEN_SCHEMA: &str = "\
    SELECT format('%I of %s', nspname, nspowner::regrole), \
           format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', nspname), \
           pg_has_role(nspowner, 'USAGE') \
    FROM pg_namespace \
    WHERE nspname = current_schema() AND has_schema_privilege('public', oid, 'CREATE')";

/// The columns and unique keys in the database, by table.
#[derive(Default)]
struct Found {
    columns: BTreeMap<String, BTreeMap<String, Column>>,
    unique: BTreeMap<String, Vec<BTreeSet<String>>>,
}

struct Column {
    sql_type: String,
    is_required: bool,
}

/// The problems of the tables, each in a line with its fix.
///
/// # Errors
/// A request to the server failed.
pub async fn problems(client: &Client) -> Result<Vec<String>, Error> {
    let found = Found::read(client).await?;
    let mut problems = Vec::new();
    for table in &TABLES {
        table.compare(&found, &mut problems);
    }
    let partitioned = client
        .query_opt(PARTITIONED, &[])
        .await
        .context("cannot read the partitions of the facts")?;
    match partitioned.map(|row| row.get::<_, bool>(0)) {
        None => problems.push(
            "fact_events is not partitioned: rename it, run `etl migrate` on an empty schema, \
             and copy its rows"
                .to_owned(),
        ),
        Some(false) => problems.push(
            "fact_events has no default partition: \
             ALTER TABLE fact_events ATTACH PARTITION fact_events_default DEFAULT"
                .to_owned(),
        ),
        Some(true) => {}
    }
    // A missing table has no rights to check.
    if problems.is_empty() {
        problems = missing_rights(client).await?;
    }
    if problems.is_empty() {
        problems.extend(unknown_time_zone(client).await?);
    }
    problems.extend(open_schema(client).await?);
    Ok(problems)
}

/// Revokes PUBLIC's right to create in the schema of the tables, if the user may. PostgreSQL 14
/// grants it by default, and upgrades keep it. Returns the statement if it was run.
///
/// # Errors
/// [`Error::Schema`] if somebody else has to revoke it, or a request to the server failed.
pub(crate) async fn close(client: &Client) -> Result<Option<String>, Error> {
    let context = "cannot revoke PUBLIC's right to create in the schema";
    let Some(open) = client.query_opt(OPEN_SCHEMA, &[]).await.context(context)? else {
        return Ok(None);
    };
    let revoke: Option<String> = open.get::<_, bool>(2).then(|| open.get(1));
    if let Some(revoke) = &revoke {
        client.batch_execute(revoke).await.context(context)?;
    }
    match open_schema(client).await? {
        None => Ok(revoke),
        Some(problem) => Err(Error::Schema(vec![problem])),
    }
}

/// A function that somebody creates there can run with the rights of whoever uses the tables.
async fn open_schema(client: &Client) -> Result<Option<String>, Error> {
    let open = client.query_opt(OPEN_SCHEMA, &[]).await;
    let open = open.context("cannot ask who may create in the schema")?;
    Ok(open.map(|row| {
        let (schema, revoke): (String, String) = (row.get(0), row.get(1));
        format!("everybody may create functions in the schema {schema}: {revoke}")
    }))
}

/// A warning if the user has more rights than the sink needs, with the fix.
///
/// # Errors
/// A request to the server failed.
pub async fn needless_rights(client: &Client) -> Result<Option<String>, Error> {
    let row = client
        .query_one(OWNER, &[])
        .await
        .context("cannot ask for the user's rights")?;
    let (user, is_superuser, is_owner): (String, bool, Option<bool>) =
        (row.get(0), row.get(1), row.get(2));
    let has = match (is_superuser, is_owner) {
        (true, _) => "is a superuser",
        (false, Some(true)) => "owns the tables",
        _ => return Ok(None),
    };
    Ok(Some(format!(
        "the user `{user}` {has}, and the sink needs fewer rights: run `etl migrate` as the owner, \
         and give the sink a user that is only a member of etl_writer \
         (CREATE ROLE sink LOGIN IN ROLE etl_writer, and in psql \\password sink)"
    )))
}

async fn missing_rights(client: &Client) -> Result<Vec<String>, Error> {
    let needed = TABLES
        .iter()
        .flat_map(|table| table.rights.iter().map(|right| (table.name, *right)));
    let (names, rights): (Vec<&str>, Vec<&str>) = needed.unzip();
    let context = "cannot ask for the user's rights";
    let rows = client
        .query(RIGHTS, &[&names, &rights])
        .await
        .context(context)?;
    let lacking = rows
        .iter()
        .zip(rights)
        .filter(|(row, _)| !row.get::<_, bool>(2));
    let mut problems: Vec<String> = lacking
        .map(|(row, right)| {
            let (name, user): (String, String) = (row.get(0), row.get(1));
            format!("`{user}` may not {right} on {name}: GRANT etl_writer TO {user}")
        })
        .collect();
    let row = client.query_one(OWNER, &[]).await.context(context)?;
    if !row.get::<_, bool>(3) {
        let user: String = row.get(0);
        problems.push(format!(
            "`{user}` may not create partitions: GRANT etl_writer TO {user}"
        ));
    }
    Ok(problems)
}

async fn unknown_time_zone(client: &Client) -> Result<Option<String>, Error> {
    let row = client
        .query_one(TIME_ZONE, &[])
        .await
        .context("cannot read the reporting time zone")?;
    let (zone, is_known): (String, bool) = (row.get(0), row.get(1));
    Ok((!is_known).then(|| {
        format!(
            "this server does not know the reporting time zone `{zone}`: \
             SELECT analytics.configure(time_zone => 'UTC')"
        )
    }))
}

impl Found {
    async fn read(client: &Client) -> Result<Self, Error> {
        let context = "cannot read the columns of the tables";
        let names: Vec<&str> = TABLES.iter().map(|table| table.name).collect();
        let mut found = Self::default();
        for row in client.query(COLUMNS, &[&names]).await.context(context)? {
            let column = Column {
                sql_type: row.get(2),
                is_required: row.get(3),
            };
            let columns = found.columns.entry(row.get(0)).or_default();
            columns.insert(row.get(1), column);
        }
        for row in client.query(UNIQUE, &[&names]).await.context(context)? {
            let columns: Vec<String> = row.get(1);
            let all = found.unique.entry(row.get(0)).or_default();
            all.push(columns.into_iter().collect());
        }
        Ok(found)
    }
}

impl Expected {
    fn compare(&self, found: &Found, problems: &mut Vec<String>) {
        let name = self.name;
        let Some(columns) = found.columns.get(name) else {
            problems.push(format!(
                "the table {name} is missing, although its migration is recorded: \
                 restore it, or begin with an empty schema"
            ));
            return;
        };
        for (sql_type, ours) in self.columns {
            for ours in *ours {
                match columns.get(*ours).map(|column| column.sql_type.as_str()) {
                    Some(found) if found == *sql_type => {}
                    Some(found) => problems.push(format!(
                        "{name}.{ours} is {found} and must be {sql_type}: \
                         ALTER TABLE {name} ALTER COLUMN {ours} TYPE {sql_type} \
                         USING {ours}::{sql_type}"
                    )),
                    None => problems.push(format!(
                        "{name}.{ours} is missing: ALTER TABLE {name} ADD COLUMN {ours} {sql_type}"
                    )),
                }
            }
        }
        let is_ours = |name: &String| {
            let mut all = self.columns.iter().flat_map(|(_, ours)| ours.iter());
            all.any(|ours| ours == name)
        };
        for (column, _) in columns
            .iter()
            .filter(|(column, found)| found.is_required && !is_ours(column))
        {
            problems.push(format!(
                "{name}.{column} is NOT NULL and the sink does not fill it: \
                 ALTER TABLE {name} ALTER COLUMN {column} DROP NOT NULL, or give it a default"
            ));
        }
        let wanted: BTreeSet<String> = self.unique.iter().map(ToString::to_string).collect();
        let unique = found.unique.get(name).map(Vec::as_slice);
        if !unique.unwrap_or_default().contains(&wanted) {
            let key = self.unique.join(", ");
            problems.push(format!(
                "{name} has no unique constraint on ({key}), so it would store rows twice: \
                 ALTER TABLE {name} ADD UNIQUE ({key})"
            ));
        }
    }
}
