//! Writes the facts of a file of events, one a line, into the database `DATABASE_URL`, as the sink does it from the moment
//! when records are in its hands: of each partition one batch is decoded while another is written, and the aggregates are refreshed beside.
//! `bench/` runs it, to see the sink without the cluster and its SmartModule, which share its cores on one machine.
//!
//! `load FILE PARTITIONS PASSES`: the events are spread over the partitions evenly, and written so many times. Says the seconds of
//! each pass.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use bytes::Bytes;
use postgres_sink::Config;
use postgres_sink::batch::{Batch, Record};
use postgres_sink::database::Database;
use postgres_sink::refreshing::Refreshing;
use postgres_sink::writer::{Source, Writer};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

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
    let database = Database::new(&config).map_err(anyhow::Error::msg)?;
    let wrote = Arc::new(Notify::new());
    tokio::spawn(Refreshing::new(Arc::clone(&database), Arc::clone(&wrote)).run());
    let max_rows = config.max_rows / partitions.len();
    for pass in 0..passes {
        let began = Instant::now();
        let mut lanes = JoinSet::new();
        for (partition, records) in (0..).zip(&partitions) {
            let source = Source {
                sink: format!("pass {pass}"),
                topic: "load".to_owned(),
                partition,
            };
            let writer = Writer::new(Arc::clone(&database), source).telling(Arc::clone(&wrote));
            lanes.spawn(write(writer, records.clone(), max_rows));
        }
        while let Some(lane) = lanes.join_next().await {
            lane??;
        }
        println!("{}", began.elapsed().as_secs_f64());
    }
    Ok(())
}

/// What the SmartModule makes of the events, by partition.
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
    // As in the sink, one batch is written while the next is decoded.
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
