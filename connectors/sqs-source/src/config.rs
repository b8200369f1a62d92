//! The section `sqs` of the connector's YAML. This is its reference; `validation` refuses what can't work.

mod validation;

use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;
use connector_common::Secret;
use serde::{Deserialize, Deserializer};

/// SQS lets a message be hidden for twelve hours after its receive (quota "message visibility timeout").
pub const LONGEST_VISIBILITY: Duration = Duration::from_secs(12 * 60 * 60);

/// How to reach the queue and how to read it. Durations are written like `30s` or `5m`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// The queue by its URL, or a list of queues. At least one, here or in `queue-name`.
    #[serde(default, deserialize_with = "one_or_many")]
    pub queue_url: Vec<String>,

    /// The queue by its name, in the account of the credentials, or a list of queues. Needs the
    /// permission `sqs:GetQueueUrl` besides those that the connector needs anyway:
    /// `sqs:ReceiveMessage`, `sqs:GetQueueAttributes` and, unless `delete-after: never`,
    /// `sqs:DeleteMessage` and `sqs:ChangeMessageVisibility`.
    ///
    /// Of a FIFO queue (`….fifo`) the records of a message group have the group as their key, with
    /// `delete-after: tables` the group and the message's id, with a space between. Either way one partition has
    /// a group in its order.
    #[serde(default, deserialize_with = "one_or_many")]
    pub queue_name: Vec<String>,

    /// The AWS region of the queue. Default: what the AWS environment variables or profile say.
    #[serde(default)]
    pub region: Option<String>,

    /// Another address than AWS's own for the region: a VPC endpoint, an SQS-compatible server.
    #[serde(default)]
    pub endpoint_url: Option<String>,

    /// A static access key; only together with `secret-access-key`. Default: AWS's own chain of
    /// providers (environment, profile, web identity, container, instance).
    #[serde(default)]
    pub access_key_id: Option<Secret>,

    /// The secret of `access-key-id`. Write it as `${{ secrets.NAME }}`.
    #[serde(default)]
    pub secret_access_key: Option<Secret>,

    /// The profile of the AWS configuration files to use. Default: `AWS_PROFILE`, else `default`.
    #[serde(default)]
    pub profile: Option<String>,

    /// The ARN of a role to take on with the credentials found, for a queue of another account, say.
    #[serde(default)]
    pub assume_role: Option<String>,

    /// The external id that the role's trust policy asks for; only together with `assume-role`.
    #[serde(default)]
    pub external_id: Option<String>,

    /// How long a received message stays hidden from other receivers before it is extended or comes
    /// back: whole seconds, 1s to 12h. It is extended at half this time for as long as the message is
    /// in hand. Default: the queue's own visibility timeout.
    ///
    /// With `delete-after: never` nothing is extended: each message comes again after this time, to
    /// this source or another reader, and is hidden from the others until then. A longer timeout
    /// costs fewer receives. It has to be longer than one pass over the queue takes, or the newest
    /// messages are reached late. SQS hides at most 120,000 messages of a queue at once. There,
    /// `0s` is allowed: it hides nothing from other readers, but SQS may then hand out the same
    /// messages again and again before others, so it suits a queue that holds few.
    #[serde(default, with = "humantime_serde")]
    pub visibility_timeout: Option<Duration>,

    /// How long a receive waits for a first message: whole seconds, at most 20s. Default: 20s, which
    /// costs the fewest requests on a quiet queue; messages arrive at once either way.
    #[serde(default = "default_wait_time", with = "humantime_serde")]
    pub wait_time: Duration,

    /// The most messages of a queue that are received and not yet deleted; receiving pauses there.
    /// From 10 to 119,999, since SQS refuses more. Default: 10000.
    #[serde(default = "default_max_in_flight")]
    pub max_in_flight: usize,

    /// The most memory for bodies that the topic has yet to acknowledge (`8MiB`), over all queues;
    /// receiving pauses there. What the receives under way bring comes on top. At least 1 MiB, the
    /// largest message of SQS. Default: 8 MiB, a third of a second of the fastest flow.
    #[serde(default = "default_max_in_flight_bytes")]
    pub max_in_flight_bytes: ByteSize,

    /// The most receives of a queue that run at once, each for up to 10 messages: 1 to 100. As many
    /// run as the flow needs, found out from how full the answers are. Default: 8.
    #[serde(default = "default_pollers")]
    pub pollers: usize,

    /// The fewest receives of a queue that run at once, whatever the flow. Default: 1, which costs the
    /// fewest requests on a quiet queue.
    #[serde(default = "default_min_pollers")]
    pub min_pollers: usize,

    /// What a record holds: `body` (default) or `envelope`. See [`RecordFormat`].
    #[serde(default)]
    pub record_format: RecordFormat,

    /// Where to move a message that was received more than `max-receives` times without being
    /// deleted, one that is too large for the topic, say: a queue's URL or name, in the same region, a
    /// FIFO queue for a FIFO queue. The message is deleted only when that queue has its copy, body and
    /// attributes. Needs `sqs:SendMessage` on it. Default: none, since a queue's own redrive policy does
    /// the same without the connector.
    #[serde(default)]
    pub dead_letter_queue: Option<String>,

    /// See `dead-letter-queue`: 1 to 1000, as a redrive policy's `maxReceiveCount`. Default: 10.
    #[serde(default)]
    pub max_receives: Option<u32>,

    /// How long the topic may take to acknowledge a record before the connection is given up and
    /// made anew, and the record is produced again; at least 1s. Default: 30s.
    #[serde(default = "default_acknowledgement_timeout", with = "humantime_serde")]
    pub acknowledgement_timeout: Duration,

    /// What has to hold a message before it is deleted: `topic` (default) or `tables`; or `never`,
    /// which leaves it in the queue. See [`DeleteAfter`].
    #[serde(default)]
    pub delete_after: DeleteAfter,

    /// With `delete-after: tables`, the sink whose tables count: its `meta.consumer.id`, else its
    /// `meta.name`. Default: any sink that reads the topic, which is right as long as all of them
    /// write to one database.
    #[serde(default)]
    pub sink: Option<String>,

    /// With `delete-after: never`, the most messages of a queue that are remembered as produced: 1
    /// to 100,000,000. Each takes up to 64 bytes of memory. Beyond it the oldest is forgotten; if
    /// that message is still in the queue, it is produced again, which changes no row. So choose it
    /// above the number of messages that the queue holds. Default: 1000000.
    #[serde(default)]
    pub max_remembered: Option<usize>,

    /// How long a stop may take to produce and delete what is in hand. What is left then is made
    /// visible in the queue again. Default: 20s.
    #[serde(default = "default_stop_timeout", with = "humantime_serde")]
    pub stop_timeout: Duration,

    /// How long to wait at the start for a Fluvio cluster that does not answer before giving up with an
    /// error. Once running, the source waits without end, and a queue that can't be reached is always
    /// waited for. Default: 30s.
    #[serde(default = "default_start_timeout", with = "humantime_serde")]
    pub start_timeout: Duration,

    /// Where to serve `/metrics` for Prometheus, `/healthz` and `/readyz`: `127.0.0.1:9465`, or
    /// `0.0.0.0:9465` in a container. Default: nowhere.
    #[serde(default)]
    pub metrics_address: Option<SocketAddr>,
}

/// What a record holds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum RecordFormat {
    /// The message's body, byte for byte.
    #[default]
    Body,
    /// A JSON object with what SQS knows of the message beside its body; see [`crate::record`].
    /// `flatten-items` reads the body in it.
    Envelope,
}

/// What has to hold a message before it is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum DeleteAfter {
    /// The topic has acknowledged its record. Fluvio does so before the record is on a disk, so this
    /// is for topics that are replicated, or may lose some records with their machine.
    #[default]
    Topic,
    /// A postgres-sink has announced that the record's facts are committed. Until then the message
    /// counts as in flight and is kept hidden, whatever is away meanwhile: choose `max-in-flight`
    /// for what comes in between a receive and its commit, and a `visibility-timeout` of minutes,
    /// since each message is extended twice in that time.
    Tables,
    /// Nothing: messages stay in the queue until its retention ends. For a queue that may only be
    /// read, or that others read as well. Needs `sqs:ReceiveMessage`, and
    /// `sqs:GetQueueAttributes` unless `visibility-timeout` is set.
    ///
    /// - A message that comes again is dropped: the source remembers the ids of up to
    ///   `max-remembered` messages, each once the topic has acknowledged its record. The memory is
    ///   empty after a restart; then each message is produced once more, which changes no row.
    /// - Every receive counts for the queue's redrive policy, whoever receives. A policy moves each
    ///   message to its dead-letter queue after `maxReceiveCount` receives, though nothing is wrong
    ///   with it. So the queue should have no redrive policy, or a `visibility-timeout` that is
    ///   longer than its retention divided by `maxReceiveCount`.
    /// - Where the messages that come again are all there is, receiving slows down to one pass over
    ///   the queue in 2.5 to 5 seconds. Anything new is received at full speed.
    /// - A record that the topic finds too large is not tried again before the source is restarted.
    ///
    /// Refused for FIFO queues, of which SQS hands out no further messages of a group before the
    /// first are deleted, and with `dead-letter-queue`, which would delete.
    Never,
}

fn default_wait_time() -> Duration {
    Duration::from_secs(20)
}

fn default_max_in_flight() -> usize {
    10_000
}

fn default_max_in_flight_bytes() -> ByteSize {
    ByteSize::mib(8)
}

fn default_pollers() -> usize {
    8
}

fn default_min_pollers() -> usize {
    1
}

fn default_start_timeout() -> Duration {
    Duration::from_secs(30)
}

/// Receives after which a message is moved where nobody says otherwise.
const DEFAULT_MAX_RECEIVES: u32 = 10;

/// Messages that are remembered as produced where nobody says otherwise.
const DEFAULT_MAX_REMEMBERED: usize = 1_000_000;

fn default_acknowledgement_timeout() -> Duration {
    Duration::from_secs(30)
}

fn default_stop_timeout() -> Duration {
    Duration::from_secs(20)
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a queue or a list of queues")]
    enum Form {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Form::deserialize(deserializer)? {
        Form::One(queue) => vec![queue],
        Form::Many(queues) => queues,
    })
}

/// A queue as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueRef {
    /// By its URL.
    Url(String),
    /// By its name, in the account of the credentials.
    Name(String),
}

impl QueueRef {
    /// The name or URL, for messages to people.
    #[must_use]
    pub fn shown(&self) -> &str {
        match self {
            Self::Url(queue) | Self::Name(queue) => queue,
        }
    }
}

impl Config {
    /// The queues to read, in the order of the file.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueRef> {
        let urls = self.queue_url.iter().cloned().map(QueueRef::Url);
        urls.chain(self.queue_name.iter().cloned().map(QueueRef::Name))
            .collect()
    }

    /// The most messages to remember as produced.
    #[must_use]
    pub fn max_remembered(&self) -> usize {
        self.max_remembered.unwrap_or(DEFAULT_MAX_REMEMBERED)
    }

    /// The dead-letter queue, and how many receives a message has before it goes there.
    #[must_use]
    pub fn dead_letters(&self) -> Option<(QueueRef, u32)> {
        let queue = self.dead_letter_queue.clone()?;
        let queue = if is_http(&queue) {
            QueueRef::Url(queue)
        } else {
            QueueRef::Name(queue)
        };
        Some((queue, self.max_receives.unwrap_or(DEFAULT_MAX_RECEIVES)))
    }
}

fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

#[cfg(test)]
mod tests;
