//! Writes the facts of a file of events, one a line, into the database `DATABASE_URL`, as the sink
//! does after it has read the records: for each partition one batch is decoded while another is
//! written, and the aggregates are refreshed meanwhile. `bench/` runs it to measure the sink
//! without the cluster and its SmartModule, which share the machine's cores with it.
//!
//! `load FILE PARTITIONS PASSES` spreads the events over the partitions evenly, writes them PASSES
//! times, and prints the seconds of each pass.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use bytes::Bytes;
use postgres_sink::Config;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use warehouse::refresh::Refresher;
use warehouse::{Batch, Database, Record, Source, Writer};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, partitions, passes] = arguments.as_slice() else {
        bail!("load FILE PARTITIONS PASSES");
    };
    let (partitions, passes): (usize, usize) = (partitions.parse()?, passes.parse()?);
    let url = std::env::var("DATABASE_URL").context("DATABASE_URL is not set")?;
    let partitions = spread(&std::fs::read(file)?, partitions)?;
    let config = Config::new(url.into());
    let database = Database::new(&config.database())?;
    let written = Arc::new(Notify::new());
    tokio::spawn(Refresher::new(Arc::clone(&database), Arc::clone(&written)).run(|_| {}));
    let max_rows = config.max_rows / partitions.len();
    for pass in 0..passes {
        let began = Instant::now();
        let mut workers = JoinSet::new();
        for (partition, records) in (0..).zip(&partitions) {
            let source = Source {
                sink: format!("pass {pass}"),
                topic: "load".to_owned(),
                partition,
            };
            let writer = Writer::new(Arc::clone(&database), source);
            let writer = writer.notifying(Arc::clone(&written));
            workers.spawn(write(writer, records.clone(), max_rows));
        }
        while let Some(worker) = workers.join_next().await {
            worker??;
        }
        println!("{}", began.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The records that the SmartModule makes of the events, by partition.
fn spread(events: &[u8], partitions: usize) -> anyhow::Result<Vec<Vec<Record>>> {
    let bodies = events
        .split(|byte| *byte == b'\n')
        .filter(|body| !body.is_empty());
    let of_partition = |first| {
        let bodies = bodies.clone().skip(first).step_by(partitions);
        (0..)
            .zip(bodies)
            .map(|(offset, body)| {
                let value = serde_json::to_vec(&fact_model::flatten(body))?;
                Ok(Record {
                    offset,
                    key: None,
                    value: Bytes::from(value),
                })
            })
            .collect()
    };
    (0..partitions).map(of_partition).collect()
}

async fn write(mut writer: Writer, records: Vec<Record>, max_rows: usize) -> anyhow::Result<()> {
    writer.begin(0).await?;
    // As in the sink, the next batch is decoded while one is written.
    let (sender, mut batches) = mpsc::channel(1);
    let decoding = tokio::spawn(async move {
        let mut batch = Batch::after(0);
        for record in records {
            batch.push(record);
            if batch.row_count() >= max_rows {
                let next = batch.next();
                let full = std::mem::replace(&mut batch, next);
                sender.send(full.finish()).await.ok();
            }
        }
        sender.send(batch.finish()).await.ok();
    });
    while let Some(batch) = batches.recv().await {
        writer.write(&batch).await?;
    }
    Ok(decoding.await?)
}
