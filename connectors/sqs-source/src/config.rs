//! The section `sqs` of the connector's YAML. This struct is its reference.

mod validation;

use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;
use connector_common::Secret;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::awaited::AwaitedSink;

/// The longest time that SQS hides a message after its receive (quota "message visibility
/// timeout").
pub const LONGEST_VISIBILITY: Duration = Duration::from_secs(12 * 60 * 60);

/// The section `sqs`: access to the queue, and settings for reading it. Durations are written like
/// `30s` or `5m`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// The queue's URL, or a list of them. At least one queue is needed, here or in `queue-name`.
    #[serde(default, deserialize_with = "one_or_many")]
    pub queue_url: Vec<String>,

    /// The queue's name, in the account of the credentials, or a list of names. Needs the
    /// permission `sqs:GetQueueUrl` in addition to those that the connector always needs:
    /// `sqs:ReceiveMessage`, `sqs:GetQueueAttributes` and, unless `delete-after: never`,
    /// `sqs:DeleteMessage` and `sqs:ChangeMessageVisibility`.
    ///
    /// The key of a record is the message id, for a FIFO queue (`….fifo`) the message group and the
    /// id. Words after it give the time when the message was sent, its sequence number in a FIFO
    /// queue, and the trace context of its sender: `8b1f… sent=1795382400123 trace=Root=1-5759…`.
    /// The message group selects the partition, so that one partition has a group in its order.
    /// Records without a group go to the partition with the fewest unacknowledged bytes.
    #[serde(default, deserialize_with = "one_or_many")]
    pub queue_name: Vec<String>,

    /// The AWS region of the queue. Default: from the AWS environment variables or profile.
    #[serde(default)]
    pub region: Option<String>,

    /// An address to use in place of AWS's own: a VPC endpoint or an SQS-compatible server.
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

    /// The ARN of a role to assume with the credentials, for a queue of another account for
    /// example.
    #[serde(default)]
    pub assume_role: Option<String>,

    /// The external id that the role's trust policy requires; only together with `assume-role`.
    #[serde(default)]
    pub external_id: Option<String>,

    /// The time that a received message is hidden from other receivers: whole seconds, 1s to 12h.
    /// It is extended at half this time while the message is in flight. Default: the queue's own
    /// visibility timeout.
    ///
    /// With `delete-after: never` it is not extended: each message is delivered again after this
    /// time, to this source or another reader, and is hidden from the others until then. A longer
    /// timeout costs fewer receives. It has to be longer than one pass over the queue takes, or the
    /// newest messages are reached late. SQS hides at most 120,000 messages of a queue at once.
    /// `0s`, allowed only here, hides nothing from other readers, but SQS may then return the same
    /// messages again and again before others, so it suits a queue with few messages.
    #[serde(default, with = "humantime_serde")]
    pub visibility_timeout: Option<Duration>,

    /// The longest wait of a receive for a first message: whole seconds, at most 20s. Default: 20s,
    /// which costs the fewest requests on a quiet queue; messages arrive at once either way.
    #[serde(default = "default_wait_time", with = "humantime_serde")]
    pub wait_time: Duration,

    /// The most messages of a queue that are received and not yet deleted; receiving pauses there.
    /// From 10 to 119,999, since SQS refuses more. Default: 10000.
    #[serde(default = "default_max_in_flight")]
    pub max_in_flight: usize,

    /// The memory budget for message bodies that the topic has yet to acknowledge (`8MiB`), over
    /// all queues; receiving pauses there. Running receives may exceed it. At least 1 MiB, the
    /// largest message of SQS. Default: 8 MiB, a third of a second of the fastest flow.
    #[serde(default = "default_max_in_flight_bytes")]
    pub max_in_flight_bytes: ByteSize,

    /// The most receives of a queue that run at once, each for up to 10 messages: 1 to 100. As many
    /// run as the flow needs, by the size of the answers. Default: 8.
    #[serde(default = "default_pollers")]
    pub pollers: usize,

    /// The fewest receives of a queue that run at once: 1 to `pollers`. Default: 1, which costs the
    /// fewest requests on a quiet queue.
    #[serde(default = "default_min_pollers")]
    pub min_pollers: usize,

    /// The content of a record: `body` (default) or `envelope`. See [`RecordFormat`].
    #[serde(default)]
    pub record_format: RecordFormat,

    /// Reads bodies from S3, where the Amazon SQS Extended Client Library has put them and sent a
    /// pointer in their place. Needs `s3:GetObject` on the objects, with the credentials and the
    /// region of the queue. Anybody who may send to the queue can name any object, so allow no
    /// other bucket. A message whose object is missing, denied or larger than a record may be
    /// (about 4 MB) is left to the queue's redrive policy; `/readyz` and the log name the object.
    /// Objects are not deleted: give their bucket a lifecycle rule that keeps them longer than the
    /// queue keeps messages. Default: false, and `flatten-items` rejects such messages as
    /// `s3-pointer`.
    #[serde(default)]
    pub s3_payloads: bool,

    /// With `s3-payloads`, an address to use in place of AWS's own: a VPC endpoint or an
    /// S3-compatible server. Default: none.
    #[serde(default)]
    pub s3_endpoint_url: Option<String>,

    /// The dead-letter queue: a queue's URL or name, in the same region, a FIFO queue for a FIFO
    /// queue. A message that was received more than `max-receives` times, because it is too large
    /// for the topic for example, is forwarded to it. The message is deleted only after that queue
    /// has its copy, body and attributes. The copy has the attribute `ecommerce-etl-first-sent`, so
    /// that its events keep their version wherever a source receives it. Needs `sqs:SendMessage` on
    /// it; with `sqs:GetQueueAttributes` it is checked at the start. Default: none, since a queue's
    /// own redrive policy does the same without the connector.
    #[serde(default)]
    pub dead_letter_queue: Option<String>,

    /// The receives after which a message is forwarded to the `dead-letter-queue`: 1 to 1000, as a
    /// redrive policy's `maxReceiveCount`. Default: 10.
    #[serde(default)]
    pub max_receives: Option<u32>,

    /// The timeout of the topic's acknowledgement of a record; at least 1s. After it the source
    /// reconnects and produces the record again. Default: 30s.
    #[serde(default = "default_acknowledgement_timeout", with = "humantime_serde")]
    pub acknowledgement_timeout: Duration,

    /// The replicas that a record is acknowledged by: `read-committed` (default), all of them, or
    /// `read-uncommitted`, the leader. See [`Isolation`].
    #[serde(default)]
    pub isolation: Isolation,

    /// The condition for deleting a message: `tables` (default), `lake` or `topic` has it; all
    /// sinks of a list have committed it; or `never`, which leaves it in the queue. See
    /// [`DeleteAfter`].
    ///
    /// While a message waits for sinks it counts as in flight and is kept hidden, also while a sink
    /// is unreachable. Set `max-in-flight` above the number of messages between a receive and its
    /// commit, and a `visibility-timeout` of minutes, since each message is extended twice in that
    /// time. `/readyz` and the log name the sink that messages wait for too long for. Without it
    /// nothing is deleted.
    ///
    /// A lake sink commits once in its `commit-interval`, a minute unless it is set. So
    /// `max-in-flight` has to be more than the messages of that time, and receiving pauses at
    /// 119,999, which are 2,000 a second for a minute; a shorter interval lets more through. A FIFO
    /// queue gives no further message of a group before the first are deleted: at most ten of each
    /// group a minute. What is in flight when the source stops comes again, and becomes rows with
    /// the same hash in the lake: set `stop-timeout` above the interval.
    #[serde(default)]
    pub delete_after: DeleteAfter,

    /// With `delete-after: tables` or `lake`, the sink whose commits count: its
    /// `meta.consumer.id`, else its `meta.name`. Default: any sink of this kind that reads the
    /// topic, which is right as long as all of them write to one database, or one table of a lake.
    #[serde(default)]
    pub sink: Option<String>,

    /// The secret that the sinks sign their commit notifications with, at least 16 characters, the
    /// same as in their files: `${{ secrets.NAME }}`. Only if messages wait for sinks.
    /// Notifications without its signature are ignored, and `/readyz` and the log name the reason.
    /// Default: none, of which the source warns at its start: whoever can write to the topic
    /// `<topic>-committed` can then have messages deleted that no sink has committed.
    ///
    /// To change it, stop the sources, restart the sinks with the new one, and start the sources.
    #[serde(default)]
    pub notifications_secret: Option<Secret>,

    /// With `delete-after: never`, the most messages of a queue that are remembered as produced: 1
    /// to 100,000,000. Each takes up to 64 bytes of memory. Beyond it the oldest is forgotten; if
    /// that message is still in the queue, it is produced again, which changes no row. So set it
    /// above the number of messages in the queue. Default: 1000000.
    #[serde(default)]
    pub max_remembered: Option<usize>,

    /// The time that a stop may take to produce and delete the messages in flight. The rest is then
    /// made visible in the queue again. Default: 20s.
    #[serde(default = "default_stop_timeout", with = "humantime_serde")]
    pub stop_timeout: Duration,

    /// The IP address and port to serve `/metrics` for Prometheus, `/healthz` and `/readyz` at:
    /// `127.0.0.1:9465`, or `0.0.0.0:9465` in a container. Default: none.
    #[serde(default)]
    pub metrics_address: Option<SocketAddr>,

    /// The http URL of an OpenTelemetry collector: `http://127.0.0.1:4318`. A span `publish TOPIC`
    /// is exported for each record whose sender sampled its trace (`AWSTraceHeader` or the message
    /// attribute `traceparent`), from the time when the message was sent to the topic's
    /// acknowledgement. Default: none.
    #[serde(default)]
    pub otlp_endpoint: Option<String>,
}

/// The content of a record.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum RecordFormat {
    /// The message's body, byte for byte.
    #[default]
    Body,
    /// A JSON object with the body and the metadata that SQS has of the message;
    /// `src/record.rs` documents it. `flatten-items` reads the body in it.
    Envelope,
}

/// The isolation of a producer, by Fluvio's names.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// All replicas have the record, so it survives the loss of its leader. While a replica is
    /// away, the topic acknowledges nothing and the source waits.
    #[default]
    ReadCommitted,
    /// The leader has the record. Needs no other replica; but with `delete-after: topic` the
    /// record is lost with its leader if no other replica has copied it.
    ReadUncommitted,
}

impl From<Isolation> for fluvio::Isolation {
    fn from(isolation: Isolation) -> Self {
        match isolation {
            Isolation::ReadCommitted => Self::ReadCommitted,
            Isolation::ReadUncommitted => Self::ReadUncommitted,
        }
    }
}

/// The condition for deleting a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeleteAfter {
    /// A postgres-sink has reported that the record's facts are committed.
    #[default]
    Tables,
    /// A lake-sink has reported that the record's rows are committed.
    Lake,
    /// Each of the named sinks has reported so. A name is a sink's `meta.consumer.id`, else its
    /// `meta.name`; `tables` and `lake` stand for any sink of this kind. Up to eight.
    Sinks(Vec<String>),
    /// The topic has acknowledged its record. Fluvio does so before the record is on a
    /// disk, so this is for topics that are replicated, or may lose some records with their
    /// machine, and for pipelines without a sink.
    Topic,
    /// Messages stay in the queue until its retention ends. For a queue that may only be
    /// read, or that others read as well. Needs `sqs:ReceiveMessage`, and
    /// `sqs:GetQueueAttributes` unless `visibility-timeout` is set.
    ///
    /// - The source remembers the ids of up to `max-remembered` messages, each once the topic has
    ///   acknowledged its record, and skips their later deliveries. After a restart the memory is
    ///   empty: each message is produced once more, which changes no row.
    /// - Every receive by any reader counts for the queue's redrive policy. A policy moves each
    ///   message to its dead-letter queue after `maxReceiveCount` receives, though no error
    ///   occurred. So the queue should have no redrive policy, or a `visibility-timeout` that is
    ///   longer than its retention divided by `maxReceiveCount`.
    /// - While receives return no new messages, receiving slows down to one pass over the queue in
    ///   2.5 to 5 seconds. New messages are received at full speed.
    /// - A record that is too large for the topic is not retried before the source is restarted.
    ///
    /// Refused for FIFO queues, of which SQS returns no further messages of a group before the
    /// first are deleted, and with `dead-letter-queue`, which would delete.
    Never,
}

impl<'de> Deserialize<'de> for DeleteAfter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "`delete-after` is tables, lake, topic, never, or a list of sinks"
        )]
        enum Form {
            Word(String),
            Sinks(Vec<String>),
        }
        match Form::deserialize(deserializer)? {
            Form::Sinks(sinks) => Ok(Self::Sinks(sinks)),
            Form::Word(word) => match word.as_str() {
                "tables" => Ok(Self::Tables),
                "lake" => Ok(Self::Lake),
                "topic" => Ok(Self::Topic),
                "never" => Ok(Self::Never),
                _ => Err(D::Error::custom(format!(
                    "`delete-after` is tables, lake, topic, never, or a list of sinks: `[{word}]`"
                ))),
            },
        }
    }
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

/// The default of `max-receives`.
const DEFAULT_MAX_RECEIVES: u32 = 10;

/// The default of `max-remembered`.
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

/// A reference to a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueRef {
    /// By its URL.
    Url(String),
    /// By its name, in the account of the credentials.
    Name(String),
}

impl QueueRef {
    /// The name or URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
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

    /// The most messages that are remembered as produced.
    #[must_use]
    pub fn max_remembered(&self) -> usize {
        self.max_remembered.unwrap_or(DEFAULT_MAX_REMEMBERED)
    }

    /// The sinks that have to commit a message before it is deleted.
    #[must_use]
    pub fn awaited_sinks(&self) -> Vec<AwaitedSink> {
        let named = self.sink.clone().map(AwaitedSink::Named);
        match &self.delete_after {
            DeleteAfter::Tables => vec![named.unwrap_or(AwaitedSink::Tables)],
            DeleteAfter::Lake => vec![named.unwrap_or(AwaitedSink::Lake)],
            DeleteAfter::Sinks(sinks) => {
                sinks.iter().map(|sink| AwaitedSink::parse(sink)).collect()
            }
            DeleteAfter::Topic | DeleteAfter::Never => Vec::new(),
        }
    }

    /// The dead-letter queue and `max-receives`.
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
