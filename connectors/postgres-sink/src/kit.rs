//! What the lanes of a sink are made of.

use std::sync::Arc;
use std::time::Duration;

use connector_common::{Health, Start};
use fluvio::SmartModuleInvocation;
use tokio::sync::Notify;

use crate::announce::Announcements;
use crate::claims::Claims;
use crate::database::Database;
use crate::lane::Lane;
use crate::metrics::{self, Metrics, Watch};
use crate::partition::Partition;
use crate::progress::Progress;
use crate::reader::{self, Limits};
use crate::writer::{Source, Writer};

/// What the lanes of a sink have in common.
pub(crate) struct Kit {
    pub(crate) sink: String,
    pub(crate) topic: String,
    pub(crate) database: Arc<Database>,
    pub(crate) claims: Arc<Claims>,
    pub(crate) smartmodules: Vec<SmartModuleInvocation>,
    pub(crate) start: Start,
    pub(crate) limits: Limits,
    /// How long a transaction may take before it counts as hanging.
    pub(crate) patience: Duration,
    pub(crate) metrics: Metrics,
    /// Whether anybody reads how far the tables are behind the topic.
    pub(crate) measures: bool,
    pub(crate) health: Health,
    /// Told of new facts.
    pub(crate) wrote: Arc<Notify>,
    pub(crate) announcements: Announcements,
}

impl Kit {
    /// A partition, as the database knows it.
    pub(crate) fn source(&self, number: u32) -> Source {
        Source {
            sink: self.sink.clone(),
            topic: self.topic.clone(),
            partition: id(number),
        }
    }

    /// A lane for a partition. One that was never read begins at `start`, or where the file says.
    pub(crate) fn lane(&self, number: u32, start: Option<Start>) -> Lane {
        let watch = Watch::new(
            self.metrics.clone(),
            self.health.clone(),
            id(number),
            self.patience,
        );
        let source = self.source(number);
        Lane {
            partition: self.partition(number),
            writer: Writer::new(Arc::clone(&self.database), source)
                .watched(watch)
                .telling(Arc::clone(&self.wrote)),
            claims: Arc::clone(&self.claims),
            start: start.unwrap_or(self.start),
            limits: self.limits.clone(),
            overtaken: Vec::new(),
            progress: Progress::new(self.metrics.clone(), number),
            health: self.health.clone(),
            announcements: self.announcements.clone(),
        }
    }

    /// What measures the lag of a partition, if anybody reads it.
    pub(crate) fn measured(&self, number: u32) -> Option<(Partition, Metrics)> {
        self.measures
            .then(|| (self.partition(number), self.metrics.clone()))
    }

    /// This sink no longer writes a partition: it says no more of it, to nobody.
    pub(crate) fn forget(&self, number: u32) {
        self.announcements.end(number);
        self.metrics.forget(number);
        let database = metrics::part(id(number));
        self.health.ended(&database);
        for part in [database, reader::part(number)] {
            self.health.works(&part);
        }
    }

    fn partition(&self, number: u32) -> Partition {
        Partition {
            topic: self.topic.clone(),
            number,
            smartmodules: self.smartmodules.clone(),
        }
    }
}

fn id(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
