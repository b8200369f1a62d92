//! Compares the facts of a day in the lake with those in PostgreSQL.
//!
//! A fact is its time and its `fact_hash`. First a count and a hash of each side's facts and versions
//! are compared: most days are equal and untouched. Those of a day that differ are compared one by
//! one. The lake may have a newer version than PostgreSQL, which keeps the first one unless it is
//! written with `on-conflict: update`; an older one lacks content that PostgreSQL has.
//!
//! Both sides are written meanwhile, each at its own pace. A fact that one side lacks is missing
//! only if that side has committed the fact's record: if the record's offset is before the
//! committed offset of that side. The lake's offsets are those of the snapshot that is read, and
//! PostgreSQL's are read in the same transaction as the facts, so this is exact at any time. Facts
//! that one side has not reached yet are pending.

use std::collections::HashMap;

use anyhow::Context;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use futures_util::{TryStreamExt, pin_mut};
use iceberg::table::Table;
use lake_sink::error::Offsets;
use lake_sink::maintenance::facts::{
    Digest, Fact, FactId, FactRow, Facts, Slice, Version, rows_of,
};
use lake_sink::offsets;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, GenericClient, IsolationLevel, Transaction};
use uuid::Uuid;

/// Facts that are named of a day.
const MAX_NAMED: usize = 3;
/// Facts that are looked up by one statement.
const BATCH: usize = 10_000;
/// The session of the comparison: each statement reads a day, and may take long.
pub const SESSION: &str = "SET timezone = 'UTC'; SET jit = off; SET statement_timeout = '1h'";

/// The digest of the facts of `{table}` from `$1` up to `$2`, by day (UTC).
const DIGESTS: &str = "\
    SELECT (event_time AT TIME ZONE 'UTC')::date, count(*), \
           bit_xor(('x' || substr(h, 1, 16))::bit(64)::bigint), \
           bit_xor(('x' || substr(h, 17, 16))::bit(64)::bigint), \
           sum((extract(epoch FROM event_time) * 1000000)::bigint)::text, \
           (sum(version) % 340282366920938463463374607431768211456)::text \
    FROM (SELECT event_time, replace(fact_hash::text, '-', '') AS h, \
                 coalesce(trunc(event_version) + 1, 0) AS version FROM {table} \
          WHERE event_time >= $1 AND event_time < $2) f GROUP BY 1";
const FACTS: &str = "\
    SELECT event_time, fact_hash, source_topic, source_partition, source_offset, \
           coalesce(trunc(event_version) + 1, 0)::text FROM {table} \
    WHERE event_time >= $1 AND event_time < $2";
const NEXT: &str = "SELECT min(event_time) FROM fact_events WHERE event_time >= $1";
const COMMITTED: &str = "\
    SELECT partition, max(next_offset) FROM sink_offsets \
    WHERE topic = $1 AND ($2::text IS NULL OR sink = $2) GROUP BY 1";
/// The facts whose event PostgreSQL does not have in a newer version. A newer version without an
/// item has its facts removed.
const NOT_REMOVED: &str = "\
    SELECT k.n \
    FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY \
        AS k(event_time, event_id, event_name, event_version, n) \
    WHERE NOT EXISTS (SELECT FROM fact_events f \
                      WHERE f.event_time = k.event_time AND f.event_id = k.event_id \
                        AND f.event_name = k.event_name \
                        AND f.event_version > coalesce(k.event_version::numeric, -1))";

/// The facts of a day that differ.
#[derive(Debug, Default)]
pub struct Difference {
    /// The facts that the lake has.
    pub in_lake: u64,
    /// The facts that PostgreSQL has.
    pub in_postgres: u64,
    /// The rows of the lake whose fact another row has, too.
    pub repeated: u64,
    /// The facts that the lake lacks although it has committed their records.
    pub missing_in_lake: u64,
    /// The facts that the lake has in older versions only, although it has committed the records of
    /// PostgreSQL's.
    pub older_in_lake: u64,
    /// The facts that PostgreSQL lacks although it has committed their records.
    pub missing_in_postgres: u64,
    /// The facts of items that the version of the event in PostgreSQL does not have.
    pub removed: u64,
    /// The facts whose records one side has not committed yet.
    pub pending: u64,
    /// The facts in PostgreSQL of other topics, which the lake does not have.
    pub of_other_topics: u64,
    /// Some of the missing and older facts.
    pub named: Vec<String>,
}

impl Difference {
    /// True if a fact is missing on either side, or older in the lake.
    pub fn is_fault(&self) -> bool {
        self.missing_in_lake + self.older_in_lake + self.missing_in_postgres > 0
    }
}

/// The two sides.
pub struct Sides<'s> {
    /// The topic that both read.
    pub topic: &'s str,
    /// The sink of PostgreSQL; the one that is furthest if there is no name.
    pub sink: Option<&'s str>,
}

/// A transaction that reads one state of PostgreSQL.
pub async fn snapshot(client: &mut Client) -> Result<Transaction<'_>, tokio_postgres::Error> {
    client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
}

/// The first day with facts in PostgreSQL from `from` on.
pub async fn next_day(client: &Client, from: NaiveDate) -> anyhow::Result<Option<NaiveDate>> {
    let row = client.query_one(NEXT, &[&midnight(from)]).await?;
    let time: Option<DateTime<Utc>> = row.try_get(0).context("a fact's time is not a date")?;
    Ok(time.map(|time| time.date_naive()))
}

/// The digests of the facts in a table of PostgreSQL from `since` up to `until`, by day.
pub async fn digests(
    client: &impl GenericClient,
    table: &str,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> anyhow::Result<HashMap<NaiveDate, Digest>> {
    let query = DIGESTS.replace("{table}", table);
    let rows = client.query(&query, &[&since, &until]).await?;
    let mut digests = HashMap::new();
    for row in &rows {
        let digest = Digest {
            count: row.get(1),
            high: row.get::<_, i64>(2).cast_unsigned(),
            low: row.get::<_, i64>(3).cast_unsigned(),
            times: row.get::<_, String>(4).parse()?,
            versions: row.get::<_, String>(5).parse()?,
        };
        digests.insert(row.get(0), digest);
    }
    Ok(digests)
}

/// Compares a day of which the lake has `rows` rows.
pub async fn compare(
    sides: &Sides<'_>,
    table: &Table,
    client: &mut Client,
    day: NaiveDate,
    rows: u64,
) -> anyhow::Result<Difference> {
    let (since, until) = bounds(day);
    let mut difference = Difference::default();
    let mut digest = Digest::default();
    let mut only = None;
    for slice in Slice::all(rows) {
        let facts = Facts::read(table, day, slice).await?;
        facts.add_to(&mut digest);
        difference.repeated += facts.rows - facts.all.len() as u64;
        only = Some(facts);
    }
    difference.in_lake = digest.count.unsigned_abs();
    let found = digests(client, "fact_events", since, until).await?;
    let found = found.get(&day).copied().unwrap_or_default();
    difference.in_postgres = found.count.unsigned_abs();
    if found == digest {
        return Ok(difference);
    }
    let is_whole = Slice::all(rows).nth(1).is_none();
    let lake = offsets::committed(table, sides.topic);
    let transaction = snapshot(client).await?;
    let postgres = committed(&transaction, sides).await?;
    difference.in_postgres = 0;
    for slice in Slice::all(rows) {
        let facts = match only.take().filter(|_| is_whole) {
            Some(facts) => facts,
            None => Facts::read(table, day, slice).await?,
        };
        let others = difference
            .postgres(sides, &transaction, &facts, slice, (since, until), &lake)
            .await?;
        if !others.is_empty() {
            difference
                .lake(sides, &transaction, (table, day), &others, &postgres)
                .await?;
        }
    }
    transaction.commit().await?;
    Ok(difference)
}

async fn committed(client: &impl GenericClient, sides: &Sides<'_>) -> anyhow::Result<Offsets> {
    let params: [&(dyn ToSql + Sync); 2] = [&sides.topic, &sides.sink];
    let rows = client.query(COMMITTED, &params).await;
    let rows = rows.context("cannot read sink_offsets; `etl migrate` creates the tables")?;
    let mut offsets = Offsets::new();
    for row in &rows {
        offsets.insert(u32::try_from(row.get::<_, i32>(0))?, row.get(1));
    }
    Ok(offsets)
}

/// True if the record is before the committed offset.
fn is_committed(offsets: &Offsets, partition: i32, offset: i64) -> bool {
    let next = u32::try_from(partition)
        .ok()
        .and_then(|it| offsets.get(&it));
    next.is_some_and(|next| offset < *next)
}

impl Difference {
    /// Looks up the facts of PostgreSQL in a slice of the lake. Returns the others of the slice.
    async fn postgres(
        &mut self,
        sides: &Sides<'_>,
        client: &impl GenericClient,
        facts: &Facts,
        slice: Slice,
        (since, until): (DateTime<Utc>, DateTime<Utc>),
        lake: &Offsets,
    ) -> anyhow::Result<Vec<FactId>> {
        let mut is_known = vec![false; facts.all.len()];
        let params: [&(dyn ToSql + Sync); 2] = [&since, &until];
        let query = FACTS.replace("{table}", "fact_events");
        let rows = client.query_raw(&query, params).await?;
        pin_mut!(rows);
        while let Some(row) = rows.try_next().await? {
            let Fact { id, version } = fact(&row)?;
            if !slice.has(&id) {
                continue;
            }
            self.in_postgres += 1;
            let found = facts.find(&id);
            if let Some((index, in_lake)) = found {
                if let Some(known) = is_known.get_mut(index) {
                    *known = true;
                }
                if in_lake >= version {
                    continue;
                }
            }
            let (topic, partition): (&str, i32) = (row.get(2), row.get(3));
            let offset = row.get(4);
            if topic != sides.topic {
                self.of_other_topics += 1;
            } else if !is_committed(lake, partition, offset) {
                self.pending += 1;
            } else if found.is_some() {
                self.older_in_lake += 1;
                self.name(
                    "the lake has an older version of the",
                    &id,
                    partition,
                    offset,
                );
            } else {
                self.missing_in_lake += 1;
                self.name("the lake has no", &id, partition, offset);
            }
        }
        let facts = facts.all.iter().zip(is_known);
        let others = facts.filter(|(_, is_known)| !is_known);
        Ok(others.map(|(fact, _)| fact.id).collect())
    }

    /// Judges the facts `ids` of a day, which only the lake has.
    async fn lake(
        &mut self,
        sides: &Sides<'_>,
        client: &impl GenericClient,
        (table, day): (&Table, NaiveDate),
        ids: &[FactId],
        postgres: &Offsets,
    ) -> anyhow::Result<()> {
        // PostgreSQL must have a fact if it has committed any of its records.
        let mut is_due = vec![false; ids.len()];
        let mut due: Vec<FactRow> = Vec::new();
        let rows = rows_of(table, day, ids).await?;
        pin_mut!(rows);
        while let Some(rows) = rows.try_next().await? {
            due.extend(rows.into_iter().filter(|row| {
                row.topic == sides.topic
                    && is_committed(postgres, row.partition, row.offset)
                    && ids
                        .binary_search(&row.id)
                        .ok()
                        .and_then(|index| is_due.get_mut(index))
                        .is_some_and(|is_due| !std::mem::replace(is_due, true))
            }));
            if due.len() >= BATCH {
                self.due(client, &due).await?;
                due.clear();
            }
        }
        self.due(client, &due).await?;
        self.pending += is_due.iter().filter(|is_due| !**is_due).count() as u64;
        Ok(())
    }

    /// Judges facts that only the lake has and whose records PostgreSQL has committed.
    async fn due(&mut self, client: &impl GenericClient, due: &[FactRow]) -> anyhow::Result<()> {
        if due.is_empty() {
            return Ok(());
        }
        let times: Vec<Option<DateTime<Utc>>> = due
            .iter()
            .map(|row| DateTime::from_timestamp_micros(row.id.time))
            .collect();
        let events: Vec<Option<&str>> = due.iter().map(|row| row.event_id.as_deref()).collect();
        let names: Vec<&str> = due.iter().map(|row| row.event_name.as_str()).collect();
        let versions: Vec<Option<String>> = due
            .iter()
            .map(|row| row.event_version.map(|version| version.to_string()))
            .collect();
        let params: [&(dyn ToSql + Sync); 4] = [&times, &events, &names, &versions];
        let missing = client.query(NOT_REMOVED, &params).await?;
        self.removed += (due.len() - missing.len()) as u64;
        self.missing_in_postgres += missing.len() as u64;
        for number in &missing {
            let index = usize::try_from(number.get::<_, i64>(0))?.saturating_sub(1);
            if let Some(row) = due.get(index) {
                self.name("PostgreSQL has no", &row.id, row.partition, row.offset);
            }
        }
        Ok(())
    }

    fn name(&mut self, problem: &str, id: &FactId, partition: i32, offset: i64) {
        if self.named.len() < MAX_NAMED {
            self.named.push(format!(
                "{problem} fact {:032x} of partition {partition}, offset {offset}",
                id.hash()
            ));
        }
    }
}

/// The facts of a day in a partition of PostgreSQL that the lake lacks, whatever topic they are of.
pub struct Proof {
    /// The number of those that it does not have.
    pub missing: u64,
    /// The number of those that it has in older versions only.
    pub older: u64,
    /// The digest of the day's facts in PostgreSQL.
    pub digest: Digest,
}

/// Compares all facts of a day in a table of PostgreSQL with the lake, one by one.
pub async fn prove(
    table: &Table,
    client: &impl GenericClient,
    partition: &str,
    day: NaiveDate,
    rows: u64,
) -> anyhow::Result<Proof> {
    let (since, until) = bounds(day);
    let params: [&(dyn ToSql + Sync); 2] = [&since, &until];
    let query = FACTS.replace("{table}", partition);
    let mut proof = Proof {
        missing: 0,
        older: 0,
        digest: Digest::default(),
    };
    for slice in Slice::all(rows) {
        let facts = Facts::read(table, day, slice).await?;
        let rows = client.query_raw(&query, params).await?;
        pin_mut!(rows);
        while let Some(row) = rows.try_next().await? {
            let fact = fact(&row)?;
            if !slice.has(&fact.id) {
                continue;
            }
            proof.digest.add(&fact);
            match facts.find(&fact.id) {
                None => proof.missing += 1,
                Some((_, in_lake)) => proof.older += u64::from(in_lake < fact.version),
            }
        }
    }
    Ok(proof)
}

/// The fact of a row of [`FACTS`].
fn fact(row: &tokio_postgres::Row) -> anyhow::Result<Fact> {
    let time: DateTime<Utc> = row.try_get(0).context("a fact's time is not a date")?;
    let hash: Uuid = row.get(1);
    // A version of 39 digits does not fit into the lake, so the lake's is older.
    let version = row.get::<_, &str>(5).parse().unwrap_or(u128::MAX);
    Ok(Fact {
        id: FactId::new(time.timestamp_micros(), hash.as_u128()),
        version: Version::of_number(version),
    })
}

fn bounds(day: NaiveDate) -> (DateTime<Utc>, DateTime<Utc>) {
    let next = day.checked_add_days(Days::new(1)).unwrap_or(day);
    (midnight(day), midnight(next))
}

/// The beginning of a day (UTC).
pub fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}
