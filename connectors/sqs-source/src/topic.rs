//! What the source needs of a topic: a producer that acknowledges each record for itself.

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use crate::custody::Message;

/// Where a topic has a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The partition.
    pub partition: u32,
    /// The record's offset in the partition.
    pub offset: i64,
}

/// A topic that producers can be made for.
#[async_trait]
pub trait Topic: Send + Sync + 'static {
    /// The topic's name.
    fn name(&self) -> &str;

    /// A producer on connections of its own.
    async fn producer(&self) -> anyhow::Result<Box<dyn Producer>>;

    /// The offset that the partition's next record will get.
    async fn end(&self, partition: u32) -> anyhow::Result<i64>;
}

/// A producer. One that gave [`NotProduced::Broken`] is not used again.
#[async_trait]
pub trait Producer: Send {
    /// How many bytes of records may wait for their acknowledgement.
    fn window(&self) -> usize;

    /// Hands over a record, with the message's id as key and its body as value. The acknowledgement
    /// is of this very record.
    async fn send(&mut self, message: &Message) -> Result<Acknowledgement, NotProduced>;
}

/// Resolves when the topic has the record, or won't have it.
pub type Acknowledgement = BoxFuture<'static, Result<Place, NotProduced>>;

/// Why a topic doesn't have a record.
#[derive(Debug, thiserror::Error)]
pub enum NotProduced {
    /// The record, or the batch that it went with, is larger than the topic takes.
    #[error("it is larger than the topic takes: {0}")]
    TooLarge(String),
    /// The producer does not work any more. Whether the topic has the record is not known.
    #[error("{0:#}")]
    Broken(anyhow::Error),
}
