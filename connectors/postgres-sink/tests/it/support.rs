//! A migrated database for each test, and envelopes to write into it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use connector_common::{Secret, Stop};
use postgres_sink::delivery::{self, Refusals};
use private_postgres::PrivatePostgres;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio_postgres::Client;
use warehouse::{Batch, Database, Record, Settings, Source, Writer, Written};

/// The folders of migrated servers are named so, with the id of the process that copies it.
const MIGRATED: &str = "migrated-";
/// No process runs tests for longer.
const TEMPLATE_AGE: Duration = Duration::from_hours(6);

/// The settings for the database at `url`, as the sink has them.
pub fn settings(url: String) -> Settings {
    Settings::new(Secret::from(url), "postgres-sink")
}

/// Removes those of processes that have ended.
fn remove_old_templates(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_template = entry.file_name().to_string_lossy().starts_with(MIGRATED);
        let changed = entry.metadata().and_then(|metadata| metadata.modified());
        let age = changed.ok().and_then(|changed| changed.elapsed().ok());
        if is_template && age.is_some_and(|age| age > TEMPLATE_AGE) {
            // Another process may remove it now, too.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A running server with the schema in it.
pub struct Tables {
    pub server: PrivatePostgres,
    pub database: Arc<Database>,
    pub client: Client,
}

impl Tables {
    /// A server of its own, copied from one that was migrated once.
    pub async fn new() -> Self {
        static TEMPLATE: OnceCell<PathBuf> = OnceCell::const_new();
        let template = TEMPLATE
            .get_or_init(|| async {
                // Another process has its own.
                let name = format!("{MIGRATED}{}", std::process::id());
                let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
                remove_old_templates(folder);
                let template = folder.join(name);
                let tables = Self::of(PrivatePostgres::start().await.unwrap()).await;
                tables.server.save(&template).await.unwrap();
                template
            })
            .await;
        Self::of(PrivatePostgres::start_copy(template).await.unwrap()).await
    }

    /// The tables of a server. Creates them if they are missing.
    pub async fn of(server: PrivatePostgres) -> Self {
        let database = Database::new(&settings(server.url())).unwrap();
        let mut client = database.connect().await.unwrap();
        warehouse::migrate(&mut client).await.unwrap();
        Self {
            server,
            database,
            client,
        }
    }

    pub fn writer(&self, partition: i32) -> Writer {
        let source = Source {
            sink: "test".to_owned(),
            topic: "shop-events".to_owned(),
            partition,
        };
        Writer::new(Arc::clone(&self.database), source)
    }

    /// The rows of `query` as JSON, in the order of their text.
    pub async fn rows(&self, query: &str) -> Vec<Value> {
        let all = format!("SELECT to_jsonb(r) FROM ({query}) r ORDER BY to_jsonb(r)::text");
        self.client
            .query(&all, &[])
            .await
            .unwrap()
            .into_iter()
            .map(|row| row.get(0))
            .collect()
    }

    pub async fn count(&self, table: &str) -> i64 {
        self.client
            .query_one(&format!("SELECT count(*) FROM {table}"), &[])
            .await
            .unwrap()
            .get(0)
    }

    /// All rows that a batch may change, without columns that depend on the time and order of
    /// arrival.
    pub async fn everything(&self) -> Vec<Value> {
        let mut all = self
            .rows(
                "SELECT f.*, NULL AS ingested_at, NULL AS product_key, NULL AS list_key, \
                 p.natural_key AS product, l.natural_key AS list \
                 FROM fact_events f LEFT JOIN dim_product p ON p.product_key = f.product_key LEFT \
                 JOIN dim_list l ON l.list_key = f.list_key",
            )
            .await;
        all.extend(
            self.rows("SELECT *, NULL AS product_key FROM dim_product")
                .await,
        );
        all.extend(self.rows("SELECT *, NULL AS list_key FROM dim_list").await);
        all.extend(
            self.rows("SELECT *, NULL AS id, NULL AS first_seen FROM rejected_events")
                .await,
        );
        all.extend(
            self.rows("SELECT sink, topic, partition, next_offset FROM sink_offsets")
                .await,
        );
        all
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
    fact.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    fact
}

/// An envelope with these facts.
pub fn envelope(facts: &[Value]) -> Bytes {
    Bytes::from(json!({ "facts": facts }).to_string())
}

/// Records without keys that start at the offset `from`.
pub fn records(from: i64, values: impl IntoIterator<Item = Bytes>) -> impl Iterator<Item = Record> {
    (from..).zip(values).map(|(offset, value)| Record {
        offset,
        key: None,
        value,
    })
}

/// A batch of them.
pub fn batch(from: i64, values: impl IntoIterator<Item = Bytes>) -> Batch {
    Batch::of(from, records(from, values)).finish()
}

/// Delivers `batch` as the sink does, without metrics and however many events are refused.
pub async fn deliver(
    writer: &mut Writer,
    batch: Batch,
    stop: &Stop,
) -> Result<Written, postgres_sink::Error> {
    delivery::deliver(writer, batch, stop, None, &mut Refusals::default()).await
}

/// The time of facts for which it does not matter.
pub const NOON: &str = "2026-11-22T12:00:00.123456Z";

/// Facts on 20 products in 3 lists at times around noon. The same seed gives the same facts.
pub fn shopping(seed: u128, count: u128) -> Vec<Bytes> {
    let one = |number: u128| {
        let hash = seed + number;
        let product = format!("SKU-{}", hash * 7 % 20);
        let time = format!("2026-11-22T12:{:02}:{:02}Z", hash * 13 % 60, hash * 17 % 60);
        let more = json!({"product_id": product, "product_name": format!("Product {hash}"),
            "list_name": format!("List {}", hash % 3)});
        envelope(&[fact(hash, &time, more)])
    };
    (0..count).map(one).collect()
}

/// The committed offset of `writer`; 0 if there is none.
pub async fn stored(writer: &Writer) -> i64 {
    writer.committed_offset().await.unwrap().unwrap_or(0)
}

/// The result of a write with so many new and so many stored facts.
pub fn inserted(inserted: u64, duplicates: u64) -> Written {
    Written {
        inserted,
        duplicates,
        ..Written::default()
    }
}
