//! A catalog and a folder for each test, and records to write.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use bytes::Bytes;
use connector_common::committed::Destination;
use connector_common::{Health, Secret, Stop};
use futures_util::TryStreamExt;
use iceberg::table::Table;
use iceberg::transaction::{ApplyTransactionAction, Transaction};
use iceberg::{Catalog, TableIdent};
use lake_sink::batch::{Content, LakeBatch};
use lake_sink::catalog;
use lake_sink::error::Error;
use lake_sink::lake::{Context, Lake, Settings};
use lake_sink::metrics::Metrics;
use lake_sink::rows::Source;
use lake_sink::schema;
use private_postgres::PrivatePostgres;
use serde_json::{Value, json};
use sink_common::{NotificationSender, NotifyingSink, ReadBatch, Record, notifications};
use tempfile::TempDir;
use tokio::sync::mpsc;
use warehouse::Database;

pub const TOPIC: &str = "shop-events";

/// A row's partition, offset and hash; of a rejected event its reason instead of the hash.
pub type Place = (i32, i64, String);

pub struct Lab {
    pub server: PrivatePostgres,
    pub folder: TempDir,
    pub database: Arc<Database>,
}

impl Lab {
    pub async fn new() -> Self {
        let server = PrivatePostgres::start().await.unwrap();
        let settings = warehouse::Settings::new(Secret::from(server.url()), "lake-sink");
        let database = Database::new(&settings).unwrap();
        let folder = TempDir::new().unwrap();
        Self {
            server,
            folder,
            database,
        }
    }

    pub fn warehouse(&self) -> String {
        format!("file://{}", self.folder.path().display())
    }

    pub async fn catalog(&self) -> Arc<dyn Catalog> {
        let config = json!({"warehouse": self.warehouse(), "catalog-url": self.server.url()});
        let config = serde_json::from_value(config).unwrap();
        catalog::open(&config).await.unwrap()
    }

    pub async fn lake(&self) -> Lake {
        self.open(self.catalog().await, Content::Facts)
            .await
            .unwrap()
    }

    pub async fn open(&self, catalog: Arc<dyn Catalog>, content: Content) -> Result<Lake, Error> {
        let (never, _) = Stop::manual();
        open(catalog, settings(content), never).await
    }

    pub async fn table(&self, name: &str) -> Table {
        let id = TableIdent::from_strs(["shop", name]).unwrap();
        self.catalog().await.load_table(&id).await.unwrap()
    }

    /// Removes a column of the facts, as another program may do.
    pub async fn drop_column(&self, name: &str) {
        let transaction = Transaction::new(&self.table("facts").await);
        let update = transaction.update_schema().delete_column(name);
        let transaction = update.apply(transaction).unwrap();
        let catalog = self.catalog().await;
        transaction.commit(catalog.as_ref()).await.unwrap();
    }

    /// The places of all rows.
    pub async fn places(&self, name: &str) -> Vec<Place> {
        let text = if name == "facts" {
            "fact_hash"
        } else {
            "reason"
        };
        places(&self.table(name).await, text).await
    }

    /// The names of the files with rows.
    pub fn files(&self, table: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().join("shop").join(table).join("data")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path.display().to_string());
                }
            }
        }
        found
    }
}

/// The places of all rows, in order, by Iceberg's own reader. `text` is their last column.
pub async fn places(table: &Table, text: &str) -> Vec<Place> {
    let columns = ["source_partition", "source_offset", text];
    let scan = table.scan().select(columns).build().unwrap();
    let batches: Vec<_> = scan.to_arrow().await.unwrap().try_collect().await.unwrap();
    let mut places = Vec::new();
    for batch in batches {
        let partition = batch.column(0).as_primitive::<Int32Type>();
        let offset = batch.column(1).as_primitive::<Int64Type>();
        let text = batch.column(2).as_string::<i32>();
        places.extend((0..batch.num_rows()).map(|row| {
            let text = text.value(row).to_owned();
            (partition.value(row), offset.value(row), text)
        }));
    }
    places.sort();
    places
}

/// A program of the tests' Python environment.
pub fn program(name: &str) -> PathBuf {
    let venv = std::env::var("ETL_TEST_VENV")
        .expect("this test needs programs from PyPI: run it by `make test`");
    PathBuf::from(venv).join("bin").join(name)
}

pub async fn open(
    catalog: Arc<dyn Catalog>,
    settings: Settings,
    stop: Stop,
) -> Result<Lake, Error> {
    Lake::open(catalog, settings, TOPIC, "cluster-1", context(stop).0).await
}

/// The context of a lake, and what sends its commit notifications.
pub fn context(stop: Stop) -> (Context, NotificationSender) {
    let sink = NotifyingSink {
        name: "lake".to_owned(),
        destination: Destination::Lake,
        commit_interval: Duration::from_secs(60),
        queue_size: 8,
    };
    let (notifications, sender) = notifications(sink, TOPIC, None);
    let context = Context {
        metrics: Metrics::new().unwrap(),
        health: Health::default(),
        notifications,
        stop,
    };
    (context, sender)
}

pub fn settings(content: Content) -> Settings {
    let table = match content {
        Content::Facts => "facts",
        Content::Raw => "raw_records",
    };
    Settings {
        content,
        namespace: schema::namespace("shop").unwrap(),
        table: table.to_owned(),
        rejections: "rejected_events".to_owned(),
        commit_interval: Duration::from_secs(60),
        target_size: 128 << 20,
        max_buffer: 64 << 20,
    }
}

/// A fact as the SmartModule writes it. `more` adds to it and overrides it.
pub fn fact(hash: u128, time: &str, more: Value) -> Value {
    let mut fact = json!({
        "event_time": time,
        "event_name": "view_item",
        "item_ordinal": 1,
        "fact_hash": format!("{hash:032x}"),
    });
    let fields = fact.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    fact
}

/// The envelope of the record at `offset`: two facts, and with each tenth a rejected event.
pub fn envelope(partition: u32, offset: i64) -> Bytes {
    let first = u128::from(partition) << 64 | u128::try_from(offset * 2).unwrap();
    let time = format!("2026-11-{:02}T12:00:00Z", 20 + offset % 3);
    let facts = [
        fact(first, &time, json!({})),
        fact(first + 1, &time, json!({})),
    ];
    let mut envelope = json!({ "facts": facts });
    if offset % 10 == 9 {
        envelope["rejected"] = json!([
            {"reason": "no-time", "detail": "no time", "at": "$[1]", "raw": "{}"},
        ]);
    }
    Bytes::from(envelope.to_string())
}

/// The places that [`envelope`]s of these offsets have in the table of facts.
pub fn expected(partition: u32, offsets: std::ops::Range<i64>) -> Vec<Place> {
    let number = i32::try_from(partition).unwrap();
    let each = offsets.flat_map(|offset| {
        let first = u128::from(partition) << 64 | u128::try_from(offset * 2).unwrap();
        [first, first + 1].map(|hash| (number, offset, format!("{hash:032x}")))
    });
    each.collect()
}

/// The places in the table of rejected events.
pub fn expected_rejected(partition: u32, offsets: std::ops::Range<i64>) -> Vec<Place> {
    let number = i32::try_from(partition).unwrap();
    let tenths = offsets.filter(|offset| offset % 10 == 9);
    tenths
        .map(|offset| (number, offset, "no-time".to_owned()))
        .collect()
}

/// A batch of the records from `from` on.
pub fn batch(
    content: Content,
    partition: u32,
    from: i64,
    values: impl IntoIterator<Item = Bytes>,
) -> LakeBatch {
    let source = Source {
        topic: TOPIC.to_owned(),
        partition,
    };
    let mut batch = LakeBatch::after(from, content, source);
    for (offset, value) in (from..).zip(values) {
        let key = Some(Bytes::from(format!("message-{offset} sent={offset}")));
        let record = Record { offset, key, value };
        batch.push(record, Some(1_795_348_800_000 + offset));
    }
    batch
}

/// Batches of the envelopes of these offsets, a hundred in each.
pub fn batches(partition: u32, offsets: std::ops::Range<i64>) -> Vec<LakeBatch> {
    let firsts = offsets.clone().step_by(100);
    let batch = |first: i64| {
        let values =
            (first..offsets.end.min(first + 100)).map(|offset| envelope(partition, offset));
        batch(Content::Facts, partition, first, values)
    };
    firsts.map(batch).collect()
}

/// Commits the batches as the sink does.
pub async fn write(lake: &mut Lake, batches: Vec<LakeBatch>) -> Result<(), Error> {
    let (sender, mut receiver) = mpsc::channel(1);
    let feeding = async move {
        for batch in batches {
            if sender.send(batch).await.is_err() {
                break;
            }
        }
    };
    let running = async move {
        let outcome = lake.run(&mut receiver).await;
        drop(receiver);
        outcome
    };
    tokio::join!(feeding, running).1
}

/// Begins partition 0 to `partitions` at their first record.
pub async fn begin(lake: &mut Lake, partitions: u32) {
    let known = lake.offsets();
    let new = (0..partitions).filter(|number| !known.contains_key(number));
    lake.begin(new.map(|number| (number, 0)).collect())
        .await
        .unwrap();
}
