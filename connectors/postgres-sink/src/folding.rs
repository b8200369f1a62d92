//! Folding: what was written is added to the analysts' rollups every few seconds, on a connection of its own, so that no
//! batch waits for it. Where it fails, or hasn't been done yet, the views count the facts themselves: slower, and the same.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_postgres::Client;

use crate::backoff::Backoff;
use crate::database::Database;
use crate::errors::{DatabaseError, Doing};

/// How long facts gather before they are folded. A fold has costs that don't depend on their number.
const PAUSE: Duration = Duration::from_secs(10);
/// `false` where another sink has folded within the last seconds, or is at it.
const FOLD: &str = "SELECT analytics.fold_when_due()";

/// Folds the facts of a sink.
#[derive(Debug)]
pub struct Folding {
    database: Arc<Database>,
    written: Arc<Notify>,
}

impl Folding {
    /// Folds whenever somebody has told `written` of new facts.
    #[must_use]
    pub fn new(database: Arc<Database>, written: Arc<Notify>) -> Self {
        Self { database, written }
    }

    /// Until it is dropped, which leaves nothing half done.
    pub async fn run(self) {
        let mut backoff = Backoff::new(PAUSE, Duration::from_secs(300));
        let mut connection = None;
        loop {
            self.written.notified().await;
            tokio::time::sleep(PAUSE).await;
            match self.fold(&mut connection).await {
                Ok(true) => backoff.reset(),
                Ok(false) => self.written.notify_one(),
                Err(error) => {
                    connection = None;
                    if backoff.is_news() {
                        tracing::warn!(
                            database = self.database.address(),
                            "the rollups of the schema analytics fall behind, which makes the analysts' views slow: {error}"
                        );
                    }
                    tokio::time::sleep(backoff.next()).await;
                    self.written.notify_one();
                }
            }
        }
    }

    async fn fold(&self, connection: &mut Option<Client>) -> Result<bool, DatabaseError> {
        let client = match connection {
            Some(client) if !client.is_closed() => client,
            _ => connection.insert(self.database.connect().await?),
        };
        let row = client
            .query_one(FOLD, &[])
            .await
            .doing("cannot fold facts")?;
        Ok(row.get(0))
    }
}
