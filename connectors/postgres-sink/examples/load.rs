//! Writes the facts of a file of events, one a line, into the database `DATABASE_URL`, once and again, as the sink does it from the moment
//! when records are in its hands: decoded in one task, written in another, folded in a third. `bench/` runs it, to see the
//! sink without the cluster and its SmartModule, which share its cores on one machine. Says the seconds of each pass; a second
//! argument `once` leaves out the other one.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use bytes::Bytes;
use postgres_sink::Config;
use postgres_sink::batch::{Batch, Record};
use postgres_sink::database::Database;
use postgres_sink::folding::Folding;
use postgres_sink::writer::{Source, Writer};
use tokio::sync::{Notify, mpsc};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let file = std::env::args_os()
        .nth(1)
        .context("name a file of events")?;
    let url = std::env::var("DATABASE_URL").context("DATABASE_URL is not set")?;
    let records = flattened(&std::fs::read(file)?)?;
    let config = Config::new(url.into());
    let database = Database::new(&config).map_err(anyhow::Error::msg)?;
    let wrote = Arc::new(Notify::new());
    tokio::spawn(Folding::new(Arc::clone(&database), Arc::clone(&wrote)).run());
    let passes = if std::env::args().nth(2).as_deref() == Some("once") {
        1
    } else {
        2
    };
    for (partition, pass) in (0..passes).zip(["first load", "replay"]) {
        let source = Source {
            sink: "load".to_owned(),
            topic: "load".to_owned(),
            partition,
        };
        let writer = Writer::new(Arc::clone(&database), source).telling(Arc::clone(&wrote));
        let began = Instant::now();
        write(writer, records.clone(), config.max_rows).await?;
        println!("{pass}: {}", began.elapsed().as_secs_f64());
    }
    Ok(())
}

/// What the SmartModule makes of the events.
fn flattened(events: &[u8]) -> anyhow::Result<Vec<Record>> {
    let bodies = events
        .split(|byte| *byte == b'\n')
        .filter(|body| !body.is_empty());
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
}

async fn write(mut writer: Writer, records: Vec<Record>, max_rows: usize) -> anyhow::Result<()> {
    writer.begin(0).await?;
    // As in the sink, one batch waits while one is written and the next is decoded.
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
