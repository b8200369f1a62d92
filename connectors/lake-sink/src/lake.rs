//! Collects the batches of all partitions and commits them.
//!
//! One commit has the rows of all partitions that this sink reads: a commit for each would make as
//! many times more files.
//!
//! Facts and rejected events are two tables, and a commit is to one. The rejected events come
//! first, and only if there are any. The offsets in the table of facts say how far the sink is: it
//! begins there after a restart. Those in the table of rejected events are ahead after a crash
//! between the two commits, and the sink leaves out what that table has; while no event is rejected
//! they stay behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connector_common::metrics::Volume;
use connector_common::{Health, Stop};
use iceberg::{Catalog, NamespaceIdent};
use sink_common::{CommitNotifications, LastRecord};
use tokio::sync::mpsc;

use crate::batch::{Content, LakeBatch};
use crate::error::{Error, Offsets};
use crate::files::Files;
use crate::metrics::Metrics;
use crate::offsets;
use crate::schema::{Definition, REJECTIONS};
use crate::table::{LakeTable, Move, Moves};

/// The records in a row that may be no envelopes, before the SmartModule counts as another one.
const MAX_UNREADABLE: usize = 1000;

/// The messages that a commit names, which are kept in memory until then.
const MAX_MESSAGES: usize = 500_000;

/// The names of the tables, and the limits of their files.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the sink writes.
    pub content: Content,
    /// The namespace of the tables.
    pub namespace: NamespaceIdent,
    /// The table of facts or records.
    pub table: String,
    /// The table of rejected events, unless records are written as they are.
    pub rejections: String,
    /// The time from the first record to the commit.
    pub commit_interval: Duration,
    /// The size at which a file is closed and committed.
    pub target_size: usize,
    /// The rows that are kept in memory, in bytes.
    pub max_buffer: usize,
}

/// The tables of a sink, and what the next commit adds to them.
pub struct Lake {
    settings: Settings,
    rows: Files,
    table: LakeTable,
    rejections: Option<Rejections>,
    pending: BTreeMap<u32, Pending>,
    unreadable: usize,
    context: Context,
}

/// The receivers of a lake's reports, and the stop that ends it.
#[derive(Clone)]
pub struct Context {
    /// Counts commits.
    pub metrics: Metrics,
    /// Takes the report of a table that can't be committed to.
    pub health: Health,
    /// Takes the commits to notify of.
    pub notifications: CommitNotifications,
    /// Ends commits that go on failing.
    pub stop: Stop,
}

struct Rejections {
    rows: Files,
    table: LakeTable,
}

/// The records of a partition that are not committed yet.
struct Pending {
    next: i64,
    last: Option<LastRecord>,
    read: Volume,
    /// The ids of their messages.
    ids: Vec<String>,
}

impl Lake {
    /// Opens the tables for the `topic` of `cluster`. Creates and evolves them.
    ///
    /// # Errors
    /// The catalog or the storage failed, or a table can't be used.
    pub async fn open(
        catalog: Arc<dyn Catalog>,
        settings: Settings,
        topic: &str,
        cluster: &str,
        context: Context,
    ) -> Result<Self, Error> {
        let Settings {
            content, namespace, ..
        } = &settings;
        let open = async |name: &str, definition: &'static Definition| {
            let catalog = Arc::clone(&catalog);
            let table = LakeTable::open(catalog, namespace, name, definition, topic).await?;
            let files = Files::new(
                table.table(),
                table.definition(),
                settings.target_size,
                settings.max_buffer,
            )?;
            Ok::<_, Error>((table, files))
        };
        let (mut table, rows) = open(&settings.table, content.definition()).await?;
        table.claim(cluster).await?;
        let rejections = match content {
            Content::Facts => {
                let (mut table, rows) = open(&settings.rejections, &REJECTIONS).await?;
                table.claim(cluster).await?;
                Some(Rejections { rows, table })
            }
            Content::Raw => None,
        };
        Ok(Self {
            rows,
            table,
            rejections,
            pending: BTreeMap::new(),
            unreadable: 0,
            settings,
            context,
        })
    }

    /// The committed offsets.
    #[must_use]
    pub fn offsets(&self) -> Offsets {
        self.table.offsets()
    }

    /// The folder of the table of facts or records.
    #[must_use]
    pub fn location(&self) -> &str {
        self.table.table().metadata().location()
    }

    /// The last record of a partition that was committed.
    #[must_use]
    pub fn last_record(&self, topic: &str, partition: u32) -> Option<LastRecord> {
        offsets::last_record(self.table.table(), topic, partition)
    }

    /// Commits the offsets at which partitions begin that were never read. After a crash the end of
    /// the topic would be behind records that were meant to be read.
    ///
    /// # Errors
    /// As [`LakeTable::commit`].
    pub async fn begin(&mut self, offsets: Offsets) -> Result<(), Error> {
        if offsets.is_empty() {
            return Ok(());
        }
        let begun = offsets.into_iter().map(|(partition, to)| {
            let moved = Move {
                from: None,
                to,
                last: None,
            };
            (partition, moved)
        });
        let moves: Moves = begun.collect();
        let Context { health, stop, .. } = &self.context;
        self.table.commit(&[], &moves, health, stop).await
    }

    /// Writes and commits the `batches` until their senders are gone, then commits the rest.
    ///
    /// # Errors
    /// The storage failed, or as [`LakeTable::commit`]. Files that no commit has stay as orphans.
    /// They are not deleted, since a commit whose answer got lost may have them.
    pub async fn run(&mut self, batches: &mut mpsc::Receiver<LakeBatch>) -> Result<(), Error> {
        let mut due = None;
        loop {
            let wait = async move {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let is_due = tokio::select! {
                biased;
                () = wait => true,
                batch = batches.recv() => {
                    let Some(batch) = batch else {
                        return self.commit().await;
                    };
                    let interval = self.settings.commit_interval;
                    due.get_or_insert_with(|| tokio::time::Instant::now() + interval);
                    self.add(batch).await?;
                    self.rows.are_full() || self.messages() >= MAX_MESSAGES
                }
            };
            if is_due {
                self.commit().await?;
                due = None;
            }
        }
    }

    async fn add(&mut self, mut batch: LakeBatch) -> Result<(), Error> {
        self.check_envelopes(&batch)?;
        let partition = batch.partition();
        if let Some(rejections) = &mut self.rejections {
            let from = rejections.table.offsets().get(&partition).copied();
            let rejected = batch.rejected(from.unwrap_or(i64::MIN));
            rejections.rows.add(rejected).await?;
        }
        self.rows.add(batch.rows()).await?;
        let pending = self.pending.entry(partition).or_insert_with(|| Pending {
            next: batch.from,
            last: None,
            read: Volume::default(),
            ids: Vec::new(),
        });
        pending.next = batch.next;
        pending.last = batch.last;
        pending.ids.append(&mut batch.ids);
        pending.read += Volume {
            records: batch.records as u64,
            bytes: batch.bytes as u64,
        };
        Ok(())
    }

    /// The number of messages that the next commit names.
    fn messages(&self) -> usize {
        self.pending.values().map(|pending| pending.ids.len()).sum()
    }

    /// The flattener makes an envelope of any record, so another SmartModule is in its place.
    fn check_envelopes(&mut self, batch: &LakeBatch) -> Result<(), Error> {
        if batch.unreadable < batch.records {
            self.unreadable = 0;
            return Ok(());
        }
        self.unreadable += batch.unreadable;
        if self.unreadable > MAX_UNREADABLE {
            return Err(Error::NotEnvelopes {
                count: self.unreadable,
                offset: batch.next,
            });
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), Error> {
        let Self {
            rows,
            table,
            rejections,
            pending,
            context,
            ..
        } = self;
        let Context {
            metrics,
            health,
            notifications,
            stop,
        } = context;
        let began = Instant::now();
        if let Some(Rejections { rows, table }) = rejections
            && rows.rows() > 0
        {
            let committed = table.offsets();
            let moves = moves(pending, &committed, false);
            let files = rows.close().await?;
            table.commit(files, &moves, health, stop).await?;
            metrics.committed(&table.name(), files, began);
            metrics.rejected(rows.rows());
            rows.committed();
        }
        let moves = moves(pending, &table.offsets(), true);
        if moves.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        let files = rows.close().await?;
        table.commit(files, &moves, health, stop).await?;
        metrics.committed(&table.name(), files, began);
        let count = files.len();
        let records: u64 = pending.values().map(|pending| pending.read.records).sum();
        tracing::info!(
            table = table.name(),
            records,
            rows = rows.rows(),
            files = count,
            seconds = began.elapsed().as_secs_f64(),
            "committed"
        );
        for (partition, pending) in std::mem::take(pending) {
            metrics.add(partition, pending.next, pending.read);
            notifications.committed(partition, pending.next, pending.ids);
        }
        metrics.rows(rows.rows());
        rows.committed();
        Ok(())
    }
}

/// The moves from the offsets of a table to those behind the pending records.
fn moves(pending: &BTreeMap<u32, Pending>, committed: &Offsets, with_last: bool) -> Moves {
    let moves = pending.iter().filter_map(|(partition, pending)| {
        let from = committed.get(partition).copied();
        let moved = Move {
            from,
            to: pending.next,
            last: pending.last.clone().filter(|_| with_last),
        };
        from.is_none_or(|from| from < pending.next)
            .then_some((*partition, moved))
    });
    moves.collect()
}
