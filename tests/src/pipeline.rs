//! A running pipeline that is fed with bodies and watched until they have arrived.
//!
//! Its Fluvio is the embedded node, or with `ETL_TEST_CLUSTER=profile` the cluster of the current
//! Fluvio profile. To kill and start that cluster, the tests run the shell commands in
//! `ETL_TEST_CLUSTER_KILL` and `ETL_TEST_CLUSTER_START`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use aws_sdk_sqs::Client as Sqs;
use aws_sdk_sqs::types::QueueAttributeName::{
    ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible,
};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use local_stack::{Fluvio, Part, Stack, StackOptions, queue};
use tokio::process::Command;
use tokio_postgres::Client;

use crate::found;

/// Timeout for messages to arrive, far longer than any test needs.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(180);

/// A running stack with clients of its queue and its database.
pub struct Pipeline {
    /// The stack.
    pub stack: Stack,
    /// A client of its queue.
    pub sqs: Sqs,
    /// A client of its database.
    pub database: Client,
}

impl Pipeline {
    /// Starts a stack.
    ///
    /// # Errors
    /// Fails if a part does not start.
    pub async fn start(mut options: StackOptions) -> anyhow::Result<Self> {
        options.fluvio = fluvio()?;
        let stack = Stack::start(options, |_| {}).await?;
        let sqs = queue::client(stack.sqs_url());
        let database = found::connect(stack.database_url()).await?;
        Ok(Self {
            stack,
            sqs,
            database,
        })
    }

    /// Waits until all messages have arrived, compares the tables with `bodies`, and stops the
    /// stack.
    ///
    /// # Errors
    /// Fails with the first difference, or if a part ends, stays behind or can't be stopped.
    pub async fn finish(mut self, bodies: &[String]) -> anyhow::Result<()> {
        self.arrived().await?;
        found::ensure_equal(&self.database, bodies).await?;
        self.stack.stop().await
    }

    /// Kills a part and restarts it.
    ///
    /// # Errors
    /// Fails if it can't be killed or does not restart.
    pub async fn kill_and_restart(&mut self, part: Part) -> anyhow::Result<()> {
        self.kill(part).await?;
        self.start_part(part).await
    }

    /// Kills a part.
    ///
    /// # Errors
    /// Fails if it can't be killed.
    pub async fn kill(&mut self, part: Part) -> anyhow::Result<()> {
        match (part, fluvio()?) {
            (Part::Node, Fluvio::CurrentProfile) => run_command_in("ETL_TEST_CLUSTER_KILL").await,
            _ => self.stack.kill(part).await,
        }
    }

    /// Starts a part that was killed.
    ///
    /// # Errors
    /// Fails if it does not start.
    pub async fn start_part(&mut self, part: Part) -> anyhow::Result<()> {
        match (part, fluvio()?) {
            (Part::Node, Fluvio::CurrentProfile) => run_command_in("ETL_TEST_CLUSTER_START").await,
            _ => self.stack.start_part(part).await,
        }
    }

    /// Sends every body, in batches of ten.
    ///
    /// # Errors
    /// Fails if the queue refuses one.
    pub async fn send(&self, bodies: &[String]) -> anyhow::Result<()> {
        send(&self.sqs, self.stack.queue_url(), bodies).await
    }

    /// Sends every body in seven parts; during each, one of `victims` in turn is killed and
    /// restarted.
    ///
    /// # Errors
    /// Fails if the queue refuses a body, nothing arrives, or a part does not restart.
    pub async fn send_among_kills(
        &mut self,
        bodies: &[String],
        victims: &[Part],
    ) -> anyhow::Result<()> {
        let parts = bodies.chunks(bodies.len().div_ceil(7));
        for (part, victim) in parts.zip(victims.iter().cycle()) {
            let before = self.committed().await?;
            self.send(part).await?;
            self.committed_at_least(before + 1).await?;
            self.kill_and_restart(*victim).await?;
        }
        Ok(())
    }

    /// Waits until the queue is empty and the sink has committed the topic's end offset.
    ///
    /// # Errors
    /// Fails if a part ends, or after a timeout.
    pub async fn arrived(&mut self) -> anyhow::Result<()> {
        let mut last = String::new();
        let arrival = async {
            loop {
                if let Some((part, status)) = self.stack.ended()?.first() {
                    bail!(
                        "{part} ended ({status}):\n{}",
                        self.stack.launch(*part).log_tail(30)
                    );
                }
                let waiting = self.waiting().await?;
                let end = self.topic_end().await?;
                let committed = self.committed().await?;
                if waiting == 0 && committed == end {
                    return Ok(());
                }
                last = format!("{waiting} in the queue, {end} in the topic, {committed} committed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        match tokio::time::timeout(ARRIVAL_LIMIT, arrival).await {
            Ok(arrived) => arrived,
            Err(_) => bail!(
                "not arrived in {ARRIVAL_LIMIT:?}: {last}\nsource:\n{}\nsink:\n{}",
                self.stack.launch(Part::Source).log_tail(30),
                self.stack.launch(Part::Sink).log_tail(30)
            ),
        }
    }

    /// Waits until the sink has committed at least `records` records.
    ///
    /// # Errors
    /// Fails after a timeout.
    pub async fn committed_at_least(&self, records: i64) -> anyhow::Result<i64> {
        let reached = async {
            loop {
                let committed = self.committed().await?;
                if committed >= records {
                    return anyhow::Ok(committed);
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(ARRIVAL_LIMIT, reached)
            .await
            .context("the sink does not commit")?
    }

    /// The number of records that the sink has committed.
    ///
    /// # Errors
    /// Fails if the server does.
    pub async fn committed(&self) -> anyhow::Result<i64> {
        let there = self
            .database
            .query_one("SELECT to_regclass('sink_offsets') IS NOT NULL", &[])
            .await?;
        if !there.get::<_, bool>(0) {
            return Ok(0);
        }
        let row = self
            .database
            .query_one(
                "SELECT coalesce(sum(next_offset), 0)::bigint FROM sink_offsets",
                &[],
            )
            .await?;
        Ok(row.get(0))
    }

    /// The number of records in the topic, over all partitions.
    ///
    /// # Errors
    /// Fails if the node does not respond.
    pub async fn topic_end(&self) -> anyhow::Result<i64> {
        self.stack.topic_end().await?.read().await
    }

    /// The number of messages in the queue, in flight or not.
    ///
    /// # Errors
    /// Fails if the queue does not respond.
    pub async fn waiting(&self) -> anyhow::Result<u64> {
        let names = [
            ApproximateNumberOfMessages,
            ApproximateNumberOfMessagesNotVisible,
        ];
        let answer = self
            .sqs
            .get_queue_attributes()
            .queue_url(self.stack.queue_url())
            .set_attribute_names(Some(names.to_vec()))
            .send()
            .await?;
        let mut waiting = 0;
        for name in names {
            let count = answer
                .attributes()
                .and_then(|all| all.get(&name))
                .context("the queue gives no counts")?;
            waiting += count.parse::<u64>()?;
        }
        Ok(waiting)
    }
}

fn fluvio() -> anyhow::Result<Fluvio> {
    match std::env::var("ETL_TEST_CLUSTER").as_deref() {
        Err(_) | Ok("embedded") => Ok(Fluvio::Embedded),
        Ok("profile") => Ok(Fluvio::CurrentProfile),
        Ok(other) => bail!("ETL_TEST_CLUSTER is `{other}`; it can be `embedded` or `profile`"),
    }
}

async fn run_command_in(variable: &str) -> anyhow::Result<()> {
    let command = std::env::var(variable).with_context(|| {
        format!("the tests don't own the cluster; set {variable} to a shell command")
    })?;
    let status = Command::new("sh").args(["-c", &command]).status().await?;
    ensure!(status.success(), "`{command}` ended with {status}");
    Ok(())
}

/// Sends every body, in batches of ten.
///
/// # Errors
/// Fails if the queue refuses one.
pub async fn send(sqs: &Sqs, queue_url: &str, bodies: &[String]) -> anyhow::Result<()> {
    for batch in bodies.chunks(10) {
        let entries = batch.iter().enumerate().map(|(index, body)| {
            SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(body)
                .build()
        });
        let answer = sqs
            .send_message_batch()
            .queue_url(queue_url)
            .set_entries(Some(entries.collect::<Result<_, _>>()?))
            .send()
            .await
            .context("cannot send messages")?;
        ensure!(
            answer.failed.is_empty(),
            "the queue refuses {:?}",
            answer.failed
        );
    }
    Ok(())
}

/// Waits until `condition` holds.
///
/// # Errors
/// It does not hold within a minute.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
    for _ in 0..600 {
        if condition().await {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("not in a minute: {what}")
}

/// Replaces a text in a file.
///
/// # Errors
/// The file does not have it.
pub fn edit(file: &Path, from: &str, to: &str) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file)?;
    ensure!(text.contains(from), "no `{from}` in {}", file.display());
    std::fs::write(file, text.replace(from, to))?;
    Ok(())
}
