//! Compares the facts of a day in the lake with those in PostgreSQL.
//!
//! A fact is its time and its `fact_hash`. First a count and a hash of each side's facts are
//! compared: most days are equal and untouched. Those of a day that differ are compared one by one.
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
use lake_sink::maintenance::facts::{Digest, FactId, FactRow, Facts, Slice, rows_of};
use lake_sink::offsets;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, GenericClient, IsolationLevel};
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
           sum((extract(epoch FROM event_time) * 1000000)::bigint)::text \
    FROM (SELECT event_time, replace(fact_hash::text, '-', '') AS h FROM {table} \
          WHERE event_time >= $1 AND event_time < $2) f GROUP BY 1";
const FACTS: &str = "\
    SELECT event_time, fact_hash, source_topic, source_partition, source_offset FROM {table} \
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
    /// The facts that PostgreSQL lacks although it has committed their records.
    pub missing_in_postgres: u64,
    /// The facts of items that the version of the event in PostgreSQL does not have.
    pub removed: u64,
    /// The facts whose records one side has not committed yet.
    pub pending: u64,
    /// The facts in PostgreSQL of other topics, which the lake does not have.
    pub of_other_topics: u64,
    /// Some of the missing facts.
    pub named: Vec<String>,
}

impl Difference {
    /// True if a fact is missing on either side.
    pub fn is_fault(&self) -> bool {
        self.missing_in_lake + self.missing_in_postgres > 0
    }
}

/// The two sides.
pub struct Sides<'s> {
    /// The topic that both read.
    pub topic: &'s str,
    /// The sink of PostgreSQL; the one that is furthest if there is no name.
    pub sink: Option<&'s str>,
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
        difference.repeated += facts.rows - facts.ids.len() as u64;
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
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
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
            let rows = rows_of(table, day, &others).await?;
            difference
                .lake(sides, &transaction, &others, &rows, &postgres)
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
        let mut is_known = vec![false; facts.ids.len()];
        let params: [&(dyn ToSql + Sync); 2] = [&since, &until];
        let query = FACTS.replace("{table}", "fact_events");
        let rows = client.query_raw(&query, params).await?;
        pin_mut!(rows);
        while let Some(row) = rows.try_next().await? {
            let id = id(&row)?;
            if !slice.has(&id) {
                continue;
            }
            self.in_postgres += 1;
            if let Some(known) = facts.find(&id).and_then(|index| is_known.get_mut(index)) {
                *known = true;
                continue;
            }
            let (topic, partition): (&str, i32) = (row.get(2), row.get(3));
            let offset = row.get(4);
            if topic != sides.topic {
                self.of_other_topics += 1;
            } else if is_committed(lake, partition, offset) {
                self.missing_in_lake += 1;
                self.name("the lake", &id, partition, offset);
            } else {
                self.pending += 1;
            }
        }
        let ids = facts.ids.iter().zip(is_known);
        Ok(ids.filter(|(_, known)| !known).map(|(id, _)| *id).collect())
    }

    /// Judges facts that only the lake has, of which these are the rows.
    async fn lake(
        &mut self,
        sides: &Sides<'_>,
        client: &impl GenericClient,
        ids: &[FactId],
        rows: &[FactRow],
        postgres: &Offsets,
    ) -> anyhow::Result<()> {
        // PostgreSQL must have a fact if it has committed any of its records.
        let mut due: HashMap<FactId, &FactRow> = HashMap::new();
        for row in rows {
            if row.topic == sides.topic && is_committed(postgres, row.partition, row.offset) {
                due.entry(row.id).or_insert(row);
            }
        }
        self.pending += (ids.len() - due.len()) as u64;
        let due: Vec<&FactRow> = due.into_values().collect();
        for batch in due.chunks(BATCH) {
            let times: Vec<Option<DateTime<Utc>>> = batch
                .iter()
                .map(|row| DateTime::from_timestamp_micros(row.id.time))
                .collect();
            let events: Vec<Option<&str>> =
                batch.iter().map(|row| row.event_id.as_deref()).collect();
            let names: Vec<&str> = batch.iter().map(|row| row.event_name.as_str()).collect();
            let versions: Vec<Option<String>> = batch
                .iter()
                .map(|row| row.event_version.map(|version| version.to_string()))
                .collect();
            let params: [&(dyn ToSql + Sync); 4] = [&times, &events, &names, &versions];
            let missing = client.query(NOT_REMOVED, &params).await?;
            self.removed += (batch.len() - missing.len()) as u64;
            self.missing_in_postgres += missing.len() as u64;
            for number in &missing {
                let index = usize::try_from(number.get::<_, i64>(0))?.saturating_sub(1);
                if let Some(row) = batch.get(index) {
                    self.name("PostgreSQL", &row.id, row.partition, row.offset);
                }
            }
        }
        Ok(())
    }

    fn name(&mut self, side: &str, id: &FactId, partition: i32, offset: i64) {
        if self.named.len() < MAX_NAMED {
            self.named.push(format!(
                "{side} has no fact {:032x} of partition {partition}, offset {offset}",
                id.hash()
            ));
        }
    }
}

/// The facts of a day in a partition of PostgreSQL that the lake lacks.
pub struct Proof {
    /// Their number, whatever topic they are of.
    pub missing: u64,
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
        digest: Digest::default(),
    };
    for slice in Slice::all(rows) {
        let facts = Facts::read(table, day, slice).await?;
        let rows = client.query_raw(&query, params).await?;
        pin_mut!(rows);
        while let Some(row) = rows.try_next().await? {
            let id = id(&row)?;
            if slice.has(&id) {
                proof.digest.add(&id);
                proof.missing += u64::from(facts.find(&id).is_none());
            }
        }
    }
    Ok(proof)
}

fn id(row: &tokio_postgres::Row) -> anyhow::Result<FactId> {
    let time: DateTime<Utc> = row.try_get(0).context("a fact's time is not a date")?;
    let hash: Uuid = row.get(1);
    Ok(FactId::new(time.timestamp_micros(), hash.as_u128()))
}

fn bounds(day: NaiveDate) -> (DateTime<Utc>, DateTime<Utc>) {
    let next = day.checked_add_days(Days::new(1)).unwrap_or(day);
    (midnight(day), midnight(next))
}

/// The beginning of a day (UTC).
pub fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}
