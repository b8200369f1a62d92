//! `etl erase`: removes somebody's data from the tables, and tells what stays elsewhere.
//!
//! A batch is a day (UTC): one transaction deletes its facts and what the schema `analytics` stores
//! of the person. Triggers open the touched hours, so that every answer is right after each batch;
//! the hours are stored again at the end. A command that was killed is simply repeated: it goes on
//! with the days that are left. Linked devices are first, because the user's facts name them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use chrono::NaiveDate;
use serde_json::json;
use tokio_postgres::Client;

use crate::aggregates::store_open_hours;
use crate::arguments::Database;
use crate::display::counted;
use crate::people::{Aggregate, Asked, FACTS, Link, Subject};
use crate::printer;
use crate::progress::Bar;

/// Searches of all facts. The last one has to find nothing; facts can arrive meanwhile.
const SEARCHES: u32 = 4;
/// Rejected events in one transaction.
const BATCH_REJECTED: usize = 1000;
/// Rejected events that are listed.
const MAX_SHOWN: usize = 20;
/// A partition is searched by one statement. A refresh ends its transaction in an hour.
const SESSION: &str = "SET statement_timeout = '2h'; SET lock_timeout = '65min'; SET jit = off";
/// The lock of `analytics.refresh`, "etl agg" in ASCII.
const REFRESH_LOCK: &str = "SELECT pg_advisory_xact_lock(x'65746c20616767'::bigint)";
/// The condition for the hours of the day `$1`.
const HOURS: &str = "hour >= $1::date::timestamp AT TIME ZONE 'UTC' \
                     AND hour < ($1::date + 1)::timestamp AT TIME ZONE 'UTC'";
const DELETE_FACTS: &str = "\
    WITH gone AS ( \
        DELETE FROM fact_events \
        WHERE event_time >= $4::date::timestamp AT TIME ZONE 'UTC' \
          AND event_time < ($4::date + 1)::timestamp AT TIME ZONE 'UTC' AND {FACTS} \
        RETURNING source_topic) \
    SELECT source_topic, count(*) FROM gone GROUP BY 1";
/// Marks the days that depend on the hours of a day, and those of orders with purchases in them.
const MARK_DAYS: &str = "\
    UPDATE analytics.days d SET is_stored = false, noted_at = clock_timestamp() \
    WHERE d.since < ($1::date + 1)::timestamp AT TIME ZONE 'UTC' \
        AND d.until > $1::date::timestamp AT TIME ZONE 'UTC' \
        OR d.day IN (SELECT analytics.day_of(o.event_time) FROM analytics.hourly_purchases o \
                     WHERE o.transaction_key IS NOT NULL AND o.transaction_key IN ( \
                         SELECT transaction_key FROM analytics.hourly_purchases \
                         WHERE {HOURS} AND ({condition})))";
/// Days that are not stored are computed from the hours: nobody reads their rows.
const DELETE_OF_DAYS: &str = "\
    DELETE FROM {table} t WHERE ({condition}) \
        AND NOT EXISTS (SELECT FROM analytics.days d WHERE d.day = t.day AND d.is_stored)";
/// Mends the day before of the rows that stay.
const MEND_REACH: &str = "\
    UPDATE analytics.day_reach r SET before = ( \
        SELECT max(b.day) FROM analytics.day_reach b \
        WHERE b.person = r.person AND b.key = r.key AND b.activity = r.activity AND b.day < r.day) \
    WHERE ({condition}) AND r.before IS NOT NULL AND NOT EXISTS ( \
        SELECT FROM analytics.day_reach b WHERE b.person = r.person AND b.key = r.key \
            AND b.activity = r.activity AND b.day = r.before)";
/// Counts the rows of day_reach of some days anew.
const RECOUNT: [&str; 2] = [
    "DELETE FROM analytics.day_reach_counts WHERE day = ANY ($1::date[])",
    "INSERT INTO analytics.day_reach_counts \
     SELECT r.day, r.activity, r.key, r.before, count(*) FROM analytics.day_reach r \
     WHERE r.day = ANY ($1::date[]) GROUP BY 1, 2, 3, 4",
];
const FORGET_TRANSACTIONS: &str = "\
    DELETE FROM analytics.repeated_transactions r \
    WHERE NOT EXISTS (SELECT FROM analytics.hourly_purchases p \
                      WHERE p.transaction_key = r.transaction_key)";
const REPEAT: &str = "what is erased stays erased; run the same command again to go on";

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    asked: Asked,
    /// Only count what would be erased
    #[arg(long)]
    dry_run: bool,
    /// Don't ask
    #[arg(long)]
    yes: bool,
    /// Print the account as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: Database,
}

/// The data of a subject, as counted by a search.
#[derive(Default)]
struct Found {
    /// The facts and the rows of aggregates by day (UTC).
    days: BTreeMap<NaiveDate, Rows>,
    /// The numbers of rejected events.
    rejected: Vec<i64>,
}

#[derive(Clone, Copy, Default)]
struct Rows {
    facts: i64,
    aggregates: i64,
}

/// The account of what was removed, or would be.
#[derive(Default)]
struct Account {
    facts: i64,
    rejected: u64,
    /// The numbers of rejected events that were found by a search.
    rejected_ids: Vec<i64>,
    aggregates: u64,
    /// The topics of the facts, and those that sinks read.
    topics: BTreeSet<String>,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let asks = !args.dry_run && !args.yes;
    ensure!(
        !asks || io::stdin().is_terminal(),
        "nothing was erased: there is no terminal to ask on; see --dry-run, and use --yes"
    );
    let mut client = args.database.connect().await?;
    client.batch_execute(SESSION).await?;
    let (subject, links) = args.asked.find(&client).await?;
    args.asked.print_links(&links);
    let subjects = in_order(subject);
    let mut account = Account::default();
    if args.dry_run || asks {
        for subject in &subjects {
            account.add(&Found::search(&client, subject).await?);
        }
    }
    if !args.dry_run {
        if asks {
            confirm(&account)?;
        }
        account = Account::default();
        for subject in &subjects {
            erase(&mut client, subject, &mut account)
                .await
                .context(REPEAT)?;
        }
        forget_transactions(&mut client).await.context(REPEAT)?;
        store_open_hours(&client).await.context(REPEAT)?;
    }
    let topics = client
        .query("SELECT DISTINCT topic FROM sink_offsets", &[])
        .await?;
    account
        .topics
        .extend(topics.iter().map(|row| row.get::<_, String>(0)));
    let stays = stays(&client, &account).await?;
    if args.json {
        printer::json(&account.json(&args, &links, &stays).to_string());
    } else {
        account.print(args.dry_run, &stays);
    }
    Ok(ExitCode::SUCCESS)
}

/// The linked devices, and then the people themselves: a repeated command finds linked devices as
/// long as the facts of their users are there.
fn in_order(subject: Subject) -> Vec<Subject> {
    let Subject {
        users,
        devices,
        linked,
    } = subject;
    let linked = Subject {
        linked,
        ..Subject::default()
    };
    let own = Subject {
        users,
        devices,
        linked: Vec::new(),
    };
    let mut subjects = vec![linked, own];
    subjects.retain(|subject| !subject.is_empty());
    subjects
}

fn confirm(account: &Account) -> anyhow::Result<()> {
    printer::err(format_args!(
        "Erase {}, {} and {} of aggregates? [y/N] ",
        counted(account.facts.unsigned_abs(), "fact"),
        counted(account.rejected, "rejected event"),
        counted(account.aggregates, "row")
    ));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    ensure!(
        ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()),
        "nothing was erased"
    );
    Ok(())
}

impl Found {
    async fn search(client: &Client, subject: &Subject) -> anyhow::Result<Self> {
        let mut found = Self::default();
        let partitions = client
            .query("SELECT quote_ident(name) FROM etl_partitions()", &[])
            .await?;
        let bar = Bar::towards("partitions", partitions.len() as u64);
        for partition in &partitions {
            let query = format!(
                "SELECT (event_time AT TIME ZONE 'UTC')::date, count(*) FROM {} WHERE {FACTS} \
                 GROUP BY 1",
                partition.get::<_, &str>(0)
            );
            for row in client.query(&query, &subject.params()).await? {
                found.day(&row)?.facts += row.get::<_, i64>(1);
            }
            bar.add(1);
        }
        bar.finish();
        for aggregate in subject.aggregates(client).await? {
            let Aggregate {
                table,
                is_hourly,
                condition,
            } = aggregate;
            let day = if is_hourly {
                "(hour AT TIME ZONE 'UTC')::date"
            } else {
                "day"
            };
            let query = format!("SELECT {day}, count(*) FROM {table} WHERE {condition} GROUP BY 1");
            for row in client.query(&query, &[]).await? {
                found.day(&row)?.aggregates += row.get::<_, i64>(1);
            }
        }
        found.rejected = subject.rejected(client).await?;
        Ok(found)
    }

    fn day(&mut self, row: &tokio_postgres::Row) -> anyhow::Result<&mut Rows> {
        let day = row.try_get(0).context("a fact's time is not a date")?;
        Ok(self.days.entry(day).or_default())
    }

    fn is_empty(&self) -> bool {
        self.days.is_empty() && self.rejected.is_empty()
    }
}

async fn erase(
    client: &mut Client,
    subject: &Subject,
    account: &mut Account,
) -> anyhow::Result<()> {
    for _ in 0..SEARCHES {
        let found = Found::search(client, subject).await?;
        if found.is_empty() {
            return Ok(());
        }
        let aggregates = subject.aggregates(client).await?;
        let bar = Bar::towards("days erased", found.days.len() as u64);
        for day in found.days.keys() {
            erase_day(client, subject, &aggregates, *day, account)
                .await
                .with_context(|| format!("cannot erase the data of {day}"))?;
            bar.add(1);
        }
        bar.finish();
        for ids in found.rejected.chunks(BATCH_REJECTED) {
            let delete = "DELETE FROM rejected_events WHERE id = ANY ($1)";
            account.rejected += client.execute(delete, &[&ids]).await?;
        }
    }
    bail!("events of this person keep arriving; stop what sends or replays them")
}

async fn erase_day(
    client: &mut Client,
    subject: &Subject,
    aggregates: &[Aggregate],
    day: NaiveDate,
    account: &mut Account,
) -> anyhow::Result<()> {
    let mut gone = Account::default();
    let transaction = client.transaction().await?;
    transaction.execute(REFRESH_LOCK, &[]).await?;
    let [users, devices, linked] = subject.params();
    let delete = DELETE_FACTS.replace("{FACTS}", FACTS);
    for row in transaction
        .query(&delete, &[users, devices, linked, &day])
        .await?
    {
        gone.topics.insert(row.get(0));
        gone.facts += row.get::<_, i64>(1);
    }
    let of = |table: &str| aggregates.iter().find(|aggregate| aggregate.table == table);
    if let Some(purchases) = of("analytics.hourly_purchases") {
        let mark = MARK_DAYS.replace("{HOURS}", HOURS);
        let mark = mark.replace("{condition}", &purchases.condition);
        transaction.execute(&mark, &[&day]).await?;
    }
    let mut recounted: Vec<NaiveDate> = Vec::new();
    if let Some(reach) = of("analytics.day_reach") {
        let condition = &reach.condition;
        let days = format!("SELECT DISTINCT day FROM analytics.day_reach WHERE {condition}");
        let days = transaction.query(&days, &[]).await?;
        recounted.extend(days.iter().map(|row| row.get::<_, NaiveDate>(0)));
    }
    for Aggregate {
        table,
        is_hourly,
        condition,
    } in aggregates
    {
        gone.aggregates += if *is_hourly {
            let delete = format!("DELETE FROM {table} WHERE {HOURS} AND ({condition})");
            transaction.execute(&delete, &[&day]).await?
        } else {
            let delete = DELETE_OF_DAYS.replace("{table}", table);
            let delete = delete.replace("{condition}", condition);
            transaction.execute(&delete, &[]).await?
        };
    }
    if let Some(reach) = of("analytics.day_reach") {
        let mend = MEND_REACH.replace("{condition}", &reach.condition);
        transaction.execute(&mend, &[]).await?;
        for statement in RECOUNT {
            transaction.execute(statement, &[&recounted]).await?;
        }
    }
    transaction.commit().await?;
    account.facts += gone.facts;
    account.aggregates += gone.aggregates;
    account.topics.extend(gone.topics);
    Ok(())
}

async fn forget_transactions(client: &mut Client) -> anyhow::Result<()> {
    let transaction = client.transaction().await?;
    transaction.execute(REFRESH_LOCK, &[]).await?;
    transaction.execute(FORGET_TRANSACTIONS, &[]).await?;
    transaction.commit().await?;
    Ok(())
}

/// The places that keep data of the person, and until when.
async fn stays(client: &Client, account: &Account) -> anyhow::Result<Vec<[String; 2]>> {
    let detached = client
        .query(
            "SELECT c.oid::regclass::text FROM pg_class c \
             WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' \
               AND c.relname ~ '^fact_events_y\\d' AND NOT c.relispartition ORDER BY 1",
            &[],
        )
        .await?;
    let topics = account.topics.iter().map(|topic| {
        let until = "until its retention; a replay before that brings the facts back: erase again";
        [format!("topic {topic}"), until.to_owned()]
    });
    let detached = detached.iter().map(|row| {
        let table: String = row.get(0);
        [
            format!("detached table {table}"),
            "until you drop it".to_owned(),
        ]
    });
    let others = [
        (
            "messages in SQS queues and dead-letter queues",
            "until they are deleted or their retention ends",
        ),
        (
            "deleted rows in the files of PostgreSQL",
            "until VACUUM removes them, by itself or by hand",
        ),
        (
            "WAL, replicas and backups of PostgreSQL",
            "until you discard them",
        ),
        (
            "copies that readers of the topic or the tables made",
            "until they erase them",
        ),
        (
            "names of lists and products, such as search terms",
            "for good, without the person",
        ),
        (
            "counts of hours whose facts were dropped earlier",
            "for good, without the person",
        ),
    ];
    let others = others.map(|(place, until)| [place.to_owned(), until.to_owned()]);
    Ok(topics.chain(detached).chain(others).collect())
}

impl Account {
    fn add(&mut self, found: &Found) {
        for rows in found.days.values() {
            self.facts += rows.facts;
            self.aggregates += rows.aggregates.unsigned_abs();
        }
        self.rejected += found.rejected.len() as u64;
        self.rejected_ids.extend(&found.rejected);
    }

    fn print(&self, is_dry: bool, stays: &[[String; 2]]) {
        let done = if is_dry { "would be erased" } else { "erased" };
        outln!("{} {done}", counted(self.facts.unsigned_abs(), "fact"));
        outln!("{} {done}", counted(self.rejected, "rejected event"));
        for id in self.rejected_ids.iter().take(MAX_SHOWN) {
            outln!("  etl rejected show {id}");
        }
        outln!("{} of aggregates {done}", counted(self.aggregates, "row"));
        outln!("not erased here:");
        for [place, until] in stays {
            outln!("  {place}: {until}");
        }
    }

    fn json(&self, args: &Args, links: &[Link], stays: &[[String; 2]]) -> serde_json::Value {
        let links = links.iter().map(|link| {
            json!({"user_pseudo_id": link.user_pseudo_id, "other_users": link.other_users,
                   "included": args.asked.includes_linked()})
        });
        let stays = stays
            .iter()
            .map(|[place, until]| json!({"place": place, "until": until}));
        json!({
            "dry_run": args.dry_run,
            "facts": self.facts,
            "rejected_events": self.rejected,
            "aggregate_rows": self.aggregates,
            "linked_devices": links.collect::<Vec<_>>(),
            "stays": stays.collect::<Vec<_>>(),
        })
    }
}
