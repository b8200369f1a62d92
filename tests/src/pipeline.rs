//! What is in between: a stack, fed with bodies and watched until they have arrived.
//!
//! Its Fluvio is the embedded node, or with `ETL_TEST_CLUSTER=profile` the cluster of the current
//! Fluvio profile. That one is not the tests' own: to kill and to start it, they run the shell
//! commands in `ETL_TEST_CLUSTER_KILL` and `ETL_TEST_CLUSTER_START`.

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

/// Far beyond what any test needs; only a pipeline that stands still gets there.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(180);

/// A running stack and the two ends that a test holds.
pub struct Pipeline {
    /// What is being tested.
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
    /// A part that does not start.
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

    /// Kills a part on the spot and starts it again.
    ///
    /// # Errors
    /// It does not start again, or is not the tests' to kill.
    pub async fn kill_and_restart(&mut self, part: Part) -> anyhow::Result<()> {
        self.kill(part).await?;
        self.start_part(part).await
    }

    /// Kills a part on the spot.
    ///
    /// # Errors
    /// It is not the tests' to kill.
    pub async fn kill(&mut self, part: Part) -> anyhow::Result<()> {
        match (part, fluvio()?) {
            (Part::Node, Fluvio::CurrentProfile) => run_command_in("ETL_TEST_CLUSTER_KILL").await,
            _ => self.stack.kill(part).await,
        }
    }

    /// Starts a part that was killed.
    ///
    /// # Errors
    /// It does not start again.
    pub async fn start_part(&mut self, part: Part) -> anyhow::Result<()> {
        match (part, fluvio()?) {
            (Part::Node, Fluvio::CurrentProfile) => run_command_in("ETL_TEST_CLUSTER_START").await,
            _ => self.stack.start_part(part).await,
        }
    }

    /// Sends every body, in batches of ten.
    ///
    /// # Errors
    /// The queue does not take one.
    pub async fn send(&self, bodies: &[String]) -> anyhow::Result<()> {
        for batch in bodies.chunks(10) {
            let entries = batch.iter().enumerate().map(|(index, body)| {
                SendMessageBatchRequestEntry::builder()
                    .id(index.to_string())
                    .message_body(body)
                    .build()
            });
            let answer = self
                .sqs
                .send_message_batch()
                .queue_url(self.stack.queue_url())
                .set_entries(Some(entries.collect::<Result<_, _>>()?))
                .send()
                .await?;
            ensure!(
                answer.failed.is_empty(),
                "the queue refuses {:?}",
                answer.failed
            );
        }
        Ok(())
    }

    /// Sends every body in seven parts; while each is under way, one of `victims` in turn is killed and
    /// started again.
    ///
    /// # Errors
    /// The queue does not take a body, nothing arrives, or a part does not start again.
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

    /// Waits until the queue is empty and the sink has committed the end of the topic.
    ///
    /// # Errors
    /// A part has ended, or nothing arrives any more.
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
    /// It does not in time.
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

    /// Records that the sink has committed.
    ///
    /// # Errors
    /// The server's own.
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

    /// Records in the topic, over all partitions.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn topic_end(&self) -> anyhow::Result<i64> {
        self.stack.topic_end().await?.read().await
    }

    /// Messages in the queue, in flight or not.
    ///
    /// # Errors
    /// The queue does not answer.
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
        format!("the cluster is not the tests' own; set {variable} to a shell command")
    })?;
    let status = Command::new("sh").args(["-c", &command]).status().await?;
    ensure!(status.success(), "`{command}` ended with {status}");
    Ok(())
}
