//! Sends the events of a file to the queue `QUEUE_URL` at a steady rate, and prints how long each
//! takes from the call of `SendMessageBatch` until a query of `DATABASE_URL` sees it, as JSON.
//!
//! `latency FILE EVENTS_PER_SECOND`; the file has an event a line. Events of the first three seconds
//! don't count. The topic has one partition. The query needs an index on `source_offset` of the facts
//! whose `item_ordinal` is 1; without it, it would read the whole table.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, bail};
use aws_config::BehaviorVersion;
use aws_sdk_sqs::Client as Sqs;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_postgres::{Client as Postgres, NoTls};

/// Entries of a `SendMessageBatch`: the most that SQS takes.
const BATCH: usize = 10;
const WARM_UP: Duration = Duration::from_secs(3);
/// Between two queries.
const PAUSE: Duration = Duration::from_millis(2);
/// Without a new event in the table for this long, the measurement fails.
const STALLED_AFTER: Duration = Duration::from_secs(60);
/// Events from an offset on. The offsets of a partition are committed in their order.
const ARRIVED: &str = "SELECT event_id, source_offset FROM fact_events
    WHERE source_offset >= $1 AND item_ordinal = 1 ORDER BY source_offset LIMIT 10000";
const NEXT_OFFSET: &str = "SELECT coalesce(max(next_offset), 0) FROM sink_offsets";

#[derive(Deserialize)]
struct Event {
    event_id: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, rate] = arguments.as_slice() else {
        bail!("usage: latency FILE EVENTS_PER_SECOND");
    };
    let rate: f64 = rate.parse().context("EVENTS_PER_SECOND is not a number")?;
    let bodies = std::fs::read_to_string(file).with_context(|| format!("can't read {file}"))?;
    let queue = std::env::var("QUEUE_URL").context("QUEUE_URL is not set")?;
    let database = std::env::var("DATABASE_URL").context("DATABASE_URL is not set")?;
    let sqs = Sqs::new(&aws_config::load_defaults(BehaviorVersion::latest()).await);
    let (postgres, connection) = tokio_postgres::connect(&database, NoTls).await?;
    tokio::spawn(connection);

    let (sent, sent_events) = mpsc::unbounded_channel();
    let start = Instant::now();
    let mut sending = tokio::spawn(send(sqs, queue, bodies, rate, sent));
    let mut watching = tokio::spawn(until_all_arrived(postgres, sent_events, start + WARM_UP));
    let mut latencies = tokio::select! {
        // Whoever watches waits for all that was sent, so only a failure ends before.
        ended = &mut watching => ended??,
        ended = &mut sending => { ended??; watching.await?? }
    };
    latencies.sort_unstable();
    let (Some(first), Some(last)) = (latencies.first(), latencies.last()) else {
        bail!("{file} does not last longer than the first three seconds");
    };
    let share = |share: usize| {
        *latencies
            .get(latencies.len() * share / 100)
            .unwrap_or(first)
    };
    let result = serde_json::json!({
        "rate": rate,
        "events": latencies.len(),
        "p50_ms": share(50).as_secs_f64() * 1e3,
        "p99_ms": share(99).as_secs_f64() * 1e3,
        "max_ms": last.as_secs_f64() * 1e3,
    });
    println!("{result}");
    Ok(())
}

/// Sends each batch at its time, whether or not those before it were answered.
async fn send(
    sqs: Sqs,
    queue: String,
    bodies: String,
    rate: f64,
    sent: mpsc::UnboundedSender<(String, Instant)>,
) -> anyhow::Result<()> {
    let lines: Vec<&str> = bodies.lines().collect();
    let start = Instant::now();
    let mut calls = JoinSet::new();
    for (number, batch) in lines.chunks(BATCH).enumerate() {
        sleep_until(start + Duration::from_secs_f64((number * BATCH) as f64 / rate)).await;
        let entry = |(index, body): (usize, &&str)| {
            SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(*body)
                .build()
        };
        let entries = batch
            .iter()
            .enumerate()
            .map(entry)
            .collect::<Result<_, _>>()?;
        let events = batch.iter().map(|body| serde_json::from_str(body));
        let now = Instant::now();
        for event in events {
            let Event { event_id } = event?;
            sent.send((event_id, now))
                .context("nobody watches any more")?;
        }
        let call = sqs
            .send_message_batch()
            .queue_url(&queue)
            .set_entries(Some(entries));
        calls.spawn(async move {
            match call.send().await?.failed.first() {
                Some(failed) => bail!("SQS refused a message: {failed:?}"),
                None => Ok(()),
            }
        });
        while let Some(ended) = calls.try_join_next() {
            ended??;
        }
    }
    while let Some(ended) = calls.join_next().await {
        ended??;
    }
    Ok(())
}

/// The latencies of all events that were sent after `from`, once all have arrived.
async fn until_all_arrived(
    postgres: Postgres,
    mut sent_events: mpsc::UnboundedReceiver<(String, Instant)>,
    from: Instant,
) -> anyhow::Result<Vec<Duration>> {
    // However many facts there are, the index has the next ones in their order.
    postgres.batch_execute("SET enable_sort = off").await?;
    let arrived = postgres.prepare(ARRIVED).await?;
    let mut next_offset: i64 = postgres.query_one(NEXT_OFFSET, &[]).await?.try_get(0)?;
    let mut latencies = Vec::new();
    let mut unseen: HashMap<String, Instant> = HashMap::new();
    let mut last_arrival = Instant::now();
    loop {
        let rows = postgres.query(&arrived, &[&next_offset]).await?;
        let now = Instant::now();
        let all_are_sent = loop {
            match sent_events.try_recv() {
                Ok((event_id, at)) => unseen.insert(event_id, at),
                Err(error) => break error == mpsc::error::TryRecvError::Disconnected,
            };
        };
        for row in rows {
            let event_id: &str = row.try_get(0)?;
            let offset: i64 = row.try_get(1)?;
            next_offset = next_offset.max(offset + 1);
            last_arrival = now;
            if let Some(at) = unseen.remove(event_id)
                && at >= from
            {
                latencies.push(now - at);
            }
        }
        if unseen.is_empty() {
            if all_are_sent {
                return Ok(latencies);
            }
            last_arrival = now;
        }
        if now > last_arrival + STALLED_AFTER {
            bail!("{} events did not arrive", unseen.len());
        }
        sleep(PAUSE).await;
    }
}
