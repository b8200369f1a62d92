//! From received to produced: each message becomes a record, and its own acknowledgement settles it.
//!
//! A producer is used until it fails once. Then everything without an acknowledgement is produced
//! again through a new one: a record may be in the topic twice then, but none is missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use connector_common::Health;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::backoff::Backoff;
use crate::custody::Message;
use crate::pending::{Outcome, Sent, Waiting};
use crate::progress::Progress;
use crate::topic::{NotProduced, Producer, Topic};
use crate::tracker::Tracker;

/// The topic's name in the connector's health.
pub(crate) const TOPIC: &str = "topic";

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What messages are produced to, and who is told.
pub(crate) struct Writer {
    pub(crate) topic: Arc<dyn Topic>,
    pub(crate) tracker: Arc<dyn Tracker>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) acknowledgement_timeout: Duration,
    pub(crate) health: Health,
    /// Whether the health has the topic in trouble.
    pub(crate) is_troubled: AtomicBool,
}

impl Writer {
    /// Produces what comes from `inbox` until it is closed and everything is acknowledged.
    pub(crate) async fn run(self, mut inbox: mpsc::Receiver<Message>) {
        let mut waiting = Waiting::default();
        let mut backoff = Backoff::default();
        // No connection is made for nothing: a source without messages stops while the topic is away.
        while waiting.fill(&mut inbox).await {
            let mut sent = Sent::default();
            let written = match self.topic.producer().await {
                Ok(mut producer) => {
                    self.write(producer.as_mut(), &mut sent, &mut waiting, &mut inbox)
                        .await
                }
                Err(error) => Err(error),
            };
            if sent.is_trusted() {
                backoff.reset();
            }
            if let Err(error) = written {
                waiting.take_back(sent);
                self.health
                    .troubled(TOPIC, format_args!("cannot produce: {error:#}"));
                self.is_troubled.store(true, Ordering::Relaxed);
                let pause = backoff.pause(FIRST_PAUSE, LONGEST_PAUSE);
                tracing::warn!(
                    topic = self.topic.name(),
                    waiting = waiting.len(),
                    again_in = ?pause,
                    "cannot produce, connecting anew; nothing unacknowledged is deleted: {error:#}"
                );
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Produces until nothing is left and nothing will come, or until the producer fails.
    async fn write(
        &self,
        producer: &mut dyn Producer,
        sent: &mut Sent,
        waiting: &mut Waiting,
        inbox: &mut mpsc::Receiver<Message>,
    ) -> anyhow::Result<()> {
        let mut more_may_come = true;
        while more_may_come || !sent.is_empty() {
            while let Some(outcome) = sent.oldest_if_settled() {
                self.settle(sent, waiting, outcome)?;
            }
            let may_send =
                more_may_come && sent.has_room(producer.window(), waiting.wants_solitude());
            if may_send && let Some((message, is_alone)) = waiting.at_hand(inbox) {
                self.send(producer, sent, waiting, message, is_alone)
                    .await?;
                continue;
            }
            tokio::select! {
                biased;
                outcome = sent.oldest() => self.settle(sent, waiting, outcome)?,
                next = waiting.next(inbox), if may_send => match next {
                    Some((message, is_alone)) => self.send(producer, sent, waiting, message, is_alone).await?,
                    None => more_may_come = false,
                },
            }
            // A message that has to be produced again alone is more to come.
            more_may_come |= waiting.len() > 0;
        }
        Ok(())
    }

    async fn send(
        &self,
        producer: &mut dyn Producer,
        sent: &mut Sent,
        waiting: &mut Waiting,
        message: Message,
        is_alone: bool,
    ) -> anyhow::Result<()> {
        match timeout(self.acknowledgement_timeout, producer.send(&message)).await {
            Ok(Ok(acknowledgement)) => {
                sent.push(
                    message,
                    is_alone,
                    acknowledgement,
                    self.acknowledgement_timeout,
                );
                Ok(())
            }
            Ok(Err(NotProduced::TooLarge(reason))) => {
                self.too_large(waiting, message, is_alone, &reason);
                Ok(())
            }
            Ok(Err(NotProduced::Broken(error))) => {
                waiting.put_back(message);
                Err(error)
            }
            Err(_) => {
                waiting.put_back(message);
                Err(anyhow!(
                    "the producer took no record within {:?}",
                    self.acknowledgement_timeout
                ))
            }
        }
    }

    fn works(&self) {
        if self.is_troubled.swap(false, Ordering::Relaxed) {
            self.health.works(TOPIC);
        }
    }

    /// What became of the oldest message that was sent.
    fn settle(
        &self,
        sent: &mut Sent,
        waiting: &mut Waiting,
        outcome: Outcome,
    ) -> anyhow::Result<()> {
        match outcome {
            Outcome::Acknowledged(place) => {
                if let Some(message) = sent.acknowledge_oldest() {
                    self.progress.produced(message.body.len(), message.sent_at);
                    self.works();
                    self.tracker.acknowledged(&message.id, place);
                }
                Ok(())
            }
            Outcome::NotProduced(NotProduced::TooLarge(reason)) => {
                if let Some((message, was_alone)) = sent.drop_oldest() {
                    self.too_large(waiting, message, was_alone, &reason);
                }
                Ok(())
            }
            Outcome::NotProduced(NotProduced::Broken(error)) => Err(error),
            Outcome::Overdue => Err(anyhow!(
                "no acknowledgement within {:?}",
                self.acknowledgement_timeout
            )),
        }
    }

    /// A batch is refused whole, so a message is to blame only if it was alone.
    fn too_large(&self, waiting: &mut Waiting, message: Message, was_alone: bool, reason: &str) {
        if was_alone {
            tracing::warn!(
                topic = self.topic.name(),
                message_id = %message.id,
                bytes = message.body.len(),
                "not produced and not deleted, left to the queue's redrive policy: {reason}"
            );
            self.progress.left.inc();
            self.tracker.refused(&message.id);
        } else {
            waiting.put_alone(message);
        }
    }
}
