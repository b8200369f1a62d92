//! Writes the facts of a file of events, one a line, into a lake in a folder, as the sink does
//! after it has read the records: one batch is decoded while another is sorted and written.
//! `bench/` runs it to measure the sink without the cluster and its SmartModule, which share the
//! machine's cores with it. The catalog is in the database `DATABASE_URL`.
//!
//! `lake-load FILE FOLDER PASSES` writes the events PASSES times, at further offsets each time, and
//! prints the seconds and the CPU seconds of each pass.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use connector_common::committed::Destination;
use connector_common::{Health, Stop};
use lake_sink::batch::{Content, LakeBatch};
use lake_sink::catalog;
use lake_sink::lake::{Context, Lake, Settings};
use lake_sink::metrics::Metrics;
use lake_sink::rows::Source;
use lake_sink::schema;
use serde_json::json;
use sink_common::{NotifyingSink, ReadBatch, Record, notifications};
use tokio::sync::mpsc;

const TOPIC: &str = "load";
/// The rows of a batch that the sink's reader hands over.
const BATCH_ROWS: usize = 20_000;
/// Linux counts the CPU of a process in hundredths of a second.
const TICKS: f64 = 100.0;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, folder, passes] = arguments.as_slice() else {
        bail!("lake-load FILE FOLDER PASSES");
    };
    let passes: usize = passes.parse()?;
    let envelopes = envelopes(Path::new(file))?;
    let mut lake = open(folder).await?;
    let mut next = 0;
    for _ in 0..passes {
        let (began, cpu) = (Instant::now(), cpu_seconds()?);
        let (sender, mut batches) = mpsc::channel(1);
        let decoding = tokio::spawn(decode(envelopes.clone(), next, sender));
        lake.run(&mut batches).await?;
        next = decoding.await?;
        let cpu = cpu_seconds()? - cpu;
        println!("{} {cpu}", began.elapsed().as_secs_f64());
    }
    Ok(())
}

async fn open(folder: &str) -> anyhow::Result<Lake> {
    let url = std::env::var("DATABASE_URL").context("DATABASE_URL is not set")?;
    let config = json!({"warehouse": format!("file://{folder}"), "catalog-url": url});
    let catalog = catalog::open(&serde_json::from_value(config)?).await?;
    let settings = Settings {
        content: Content::Facts,
        namespace: schema::namespace("shop")?,
        table: "facts".to_owned(),
        rejections: "rejected_events".to_owned(),
        commit_interval: Duration::from_secs(60),
        target_size: 128 << 20,
        max_buffer: 64 << 20,
    };
    let sink = NotifyingSink {
        name: "lake-load".to_owned(),
        destination: Destination::Lake,
        commit_interval: settings.commit_interval,
        queue_size: 1,
    };
    // Without the sender nobody is notified.
    let (notifications, _) = notifications(sink, TOPIC, None);
    let (stop, _) = Stop::manual();
    let context = Context {
        metrics: Metrics::new()?,
        health: Health::default(),
        notifications,
        stop,
    };
    Ok(Lake::open(catalog, settings, TOPIC, "bench", context).await?)
}

/// The values of the records that the SmartModule makes of the events.
fn envelopes(events: &Path) -> anyhow::Result<Vec<Bytes>> {
    let events = std::fs::read(events)?;
    let bodies = events.split(|byte| *byte == b'\n');
    let bodies = bodies.filter(|body| !body.is_empty());
    let values = bodies.map(|body| {
        let value = serde_json::to_vec(&fact_model::flatten(body))?;
        Ok(Bytes::from(value))
    });
    values.collect()
}

/// Returns the offset behind the last record.
async fn decode(values: Vec<Bytes>, first: i64, sender: mpsc::Sender<LakeBatch>) -> i64 {
    let source = Source {
        topic: TOPIC.to_owned(),
        partition: 0,
    };
    let mut batch = LakeBatch::after(first, Content::Facts, source);
    for (offset, value) in (first..).zip(values) {
        let record = Record {
            offset,
            key: None,
            value,
        };
        batch.push(record, None);
        if batch.row_count() >= BATCH_ROWS && sender.send(batch.take()).await.is_err() {
            return offset;
        }
    }
    let next = batch.next;
    sender.send(batch).await.ok();
    next
}

/// The CPU that this process has used.
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("/proc/self/stat")?;
    // After the program's name, user and system time are the 12th and 13th.
    let times = fields.split_whitespace().skip(11).take(2);
    let ticks: Result<Vec<f64>, _> = times.map(str::parse).collect();
    Ok(ticks?.iter().sum::<f64>() / TICKS)
}
