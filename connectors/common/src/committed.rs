//! Commit notifications: a sink reports to sources which records it has committed.
//!
//! A topic acknowledges a record before it is on a disk. A source that must not delete a message
//! before its facts are committed follows the topic `<topic>-committed`. The sink sends each of its
//! commits there as JSON, one record a commit (a large one in parts):
//!
//! ```json
//! {"sink":"shop-events-sink","partition":0,"next_offset":1042,"ids":["8b1f…","77c0…"]}
//! ```
//!
//! A lake sink adds `"destination":"lake"` and the seconds between its commits, by which a source
//! knows how long a message may wait: `"commit_seconds":60`.
//!
//! `ids` are the SQS message ids in the keys of the committed records ([`crate::keys`]). Sources
//! match messages by id, not by offset: a topic that loses its end or is created again assigns the
//! same offset to another record. `next_offset` is the sink's committed offset. At its start and
//! every half minute the sink sends it without ids. The record's own key is `sink/partition`.
//!
//! Whoever can write to the topic could name messages that are not in the tables, and have them
//! deleted. So a sink signs each notification with a secret that its sources share
//! (`notifications-secret`), and those ignore notifications without the signature. It is a second
//! word of the record's key, HMAC-SHA256 over the topic's name, a zero byte and the record's value:
//!
//! ```text
//! shop-events-sink/0 hmac-sha256=NQzr2Qh7…
//! ```
//!
//! A notification that somebody repeats deletes nothing else: its ids are of messages whose facts
//! are committed, and SQS gives each message an id of its own.
//!
//! A lost notification leaves messages undeleted, and SQS delivers them again. So the topic is
//! small and short-lived. It has as many replicas as the topic of the records, so that the loss of
//! an SPU which those survive does not delay deletes either.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fluvio::metadata::topic::{CleanupPolicy, SegmentBasedPolicy, TopicSpec, TopicStorageConfig};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::secrets::Secret;

/// Retention of the notifications.
const RETENTION_SECONDS: u32 = 3600;
const SEGMENT_BYTES: u32 = 16 << 20;

/// Precedes the signature in a record's key.
const SIGNATURE: &str = " hmac-sha256=";

/// The shortest `notifications-secret`.
const SHORTEST_SECRET: usize = 16;

/// The destination that a sink commits to.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Destination {
    /// The tables in PostgreSQL.
    #[default]
    Tables,
    /// The tables of a lake.
    Lake,
}

impl Destination {
    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A commit notification.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Commit {
    /// The sink's name: its `meta.consumer.id`, else its `meta.name`.
    pub sink: String,
    /// The destination of the commit.
    #[serde(default, skip_serializing_if = "Destination::is_default")]
    pub destination: Destination,
    /// The partition that the sink reads.
    pub partition: u32,
    /// The committed offset: the first record of the partition that is not in the tables yet.
    pub next_offset: i64,
    /// Seconds between two commits; 0 if the sink commits what it has read without waiting.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub commit_seconds: u32,
    /// The message ids of committed records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(seconds: &u32) -> bool {
    *seconds == 0
}

/// A record of the notifications' topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationRecord {
    /// The sink and partition, and the signature.
    pub key: String,
    /// The notification as JSON.
    pub value: Vec<u8>,
}

/// Signs the notifications of one topic and checks their signatures. Without a secret it signs
/// nothing and accepts every notification.
#[derive(Clone, Debug)]
pub struct Signatures {
    topic: String,
    key: Option<hmac::Key>,
}

impl Signatures {
    /// The signatures of the notifications for records of `topic`, by `notifications-secret`.
    #[must_use]
    pub fn new(topic: &str, secret: Option<&Secret>) -> Self {
        let key = |secret: &Secret| hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
        Self {
            topic: notifications_topic(topic),
            key: secret.map(key),
        }
    }

    /// The record of a notification.
    ///
    /// # Errors
    /// [`Error::NotNotification`] if it can't be written as JSON.
    pub fn record(&self, commit: &Commit) -> Result<NotificationRecord, Error> {
        let value = serde_json::to_vec(commit).map_err(Error::NotNotification)?;
        let mut key = format!("{}/{}", commit.sink, commit.partition);
        if let Some(signing) = &self.key {
            let tag = hmac::sign(signing, &self.signed(&value));
            key = format!("{key}{SIGNATURE}{}", STANDARD.encode(tag));
        }
        Ok(NotificationRecord { key, value })
    }

    /// Reads a notification from the key and the value of a record.
    ///
    /// # Errors
    /// [`Error::NotSigned`] if there is a secret and its signature is not in the key,
    /// [`Error::NotNotification`] if the value is not a notification.
    pub fn read(&self, key: Option<&[u8]>, value: &[u8]) -> Result<Commit, Error> {
        if let Some(signing) = &self.key {
            let signature = || {
                let (_, signature) = std::str::from_utf8(key?).ok()?.rsplit_once(SIGNATURE)?;
                STANDARD.decode(signature).ok()
            };
            let tag = signature().ok_or(Error::NotSigned)?;
            hmac::verify(signing, &self.signed(value), &tag).map_err(|_| Error::NotSigned)?;
        }
        serde_json::from_slice(value).map_err(Error::NotNotification)
    }

    /// The signed bytes. The topic's name can't contain a zero byte.
    fn signed(&self, value: &[u8]) -> Vec<u8> {
        [self.topic.as_bytes(), b"\0", value].concat()
    }
}

/// Checks `notifications-secret`.
///
/// # Errors
/// [`Error::Invalid`] if it is so short that it could be guessed.
pub fn validate_secret(secret: Option<&Secret>) -> Result<(), Error> {
    match secret {
        Some(secret) if secret.reveal().len() < SHORTEST_SECRET => Err(Error::Invalid(format!(
            "`notifications-secret` needs at least {SHORTEST_SECRET} characters; \
             `openssl rand -hex 32` makes one"
        ))),
        _ => Ok(()),
    }
}

/// The name of the topic with the commit notifications for records of `topic`.
#[must_use]
pub fn notifications_topic(topic: &str) -> String {
    format!("{topic}-committed")
}

/// The settings to create that topic with.
#[must_use]
pub fn notifications_spec(replicas: u32) -> TopicSpec {
    let mut spec = TopicSpec::new_computed(1, replicas, None);
    spec.set_cleanup_policy(CleanupPolicy::Segment(SegmentBasedPolicy {
        time_in_seconds: RETENTION_SECONDS,
    }));
    spec.set_storage(TopicStorageConfig {
        segment_size: Some(SEGMENT_BYTES),
        ..TopicStorageConfig::default()
    });
    spec
}

/// The reason why the loss of an SPU may delay deletes although the records survive it: the topic
/// of the notifications has fewer replicas than the topic of the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FewReplicas {
    /// The topic of the records.
    pub topic: String,
    /// The number of its replicas.
    pub wanted: u32,
    /// The number of replicas of the notifications.
    pub found: u32,
}

impl FewReplicas {
    /// Compares the two topics.
    #[must_use]
    pub fn find(topic: &str, records: &TopicSpec, notifications: &TopicSpec) -> Option<Self> {
        let few = Self {
            topic: topic.to_owned(),
            wanted: replicas(records),
            found: replicas(notifications),
        };
        (few.found < few.wanted).then_some(few)
    }

    /// The command that mends it.
    #[must_use]
    pub fn remedy(&self) -> String {
        format!(
            "fluvio topic delete {}, with {} SPUs in the cluster; a connector creates it again",
            notifications_topic(&self.topic),
            self.wanted
        )
    }
}

impl fmt::Display for FewReplicas {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            topic,
            wanted,
            found,
        } = self;
        write!(
            formatter,
            "the topic `{}` has the replication factor {found}, and `{topic}` has {wanted}: while \
             an SPU is away, deletes may be delayed though all records are there",
            notifications_topic(topic)
        )
    }
}

/// The number of replicas of a topic.
pub(crate) fn replicas(spec: &TopicSpec) -> u32 {
    spec.replication_factor().unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    #[test]
    fn fewer_replicas_than_the_topic_has_are_found_with_the_remedy() {
        let records = TopicSpec::new_computed(4, 3, None);
        let find = |replicas| FewReplicas::find("events", &records, &notifications_spec(replicas));
        assert_eq!(find(3), None);
        let few = find(1).unwrap();
        assert!(
            few.to_string()
                .starts_with("the topic `events-committed` has the replication factor 1")
        );
        assert!(
            few.remedy()
                .starts_with("fluvio topic delete events-committed, with 3 SPUs")
        );
    }

    fn commit() -> Commit {
        Commit {
            sink: "s".to_owned(),
            partition: 2,
            next_offset: 7,
            ids: vec!["a".to_owned()],
            ..Commit::default()
        }
    }

    fn signatures(topic: &str, secret: &str) -> Signatures {
        Signatures::new(topic, Some(&Secret::from(secret.to_owned())))
    }

    #[test]
    fn only_a_notification_that_the_secret_signed_for_this_topic_is_read() {
        let signatures = signatures("events", "one secret of many");
        let signed = signatures.record(&commit()).unwrap();
        let read = |key: &str, value: &[u8]| signatures.read(Some(key.as_bytes()), value);
        assert_eq!(read(&signed.key, &signed.value).unwrap(), commit());

        let forged = Commit {
            ids: vec!["b".to_owned()],
            ..commit()
        };
        let forged = serde_json::to_vec(&forged).unwrap();
        let of =
            |topic, secret| crate::committed::tests::signatures(topic, secret).record(&commit());
        let of_another_topic = of("orders", "one secret of many").unwrap();
        let of_another_secret = of("events", "another secret of many").unwrap();
        let unsigned = Signatures::new("events", None).record(&commit()).unwrap();
        assert_eq!(unsigned.key, "s/2");
        for (key, value) in [
            (&signed.key, &forged),
            (&of_another_topic.key, &of_another_topic.value),
            (&of_another_secret.key, &of_another_secret.value),
            (&unsigned.key, &unsigned.value),
            (&"s/2 hmac-sha256=".to_owned(), &signed.value),
            (
                &signed.key[..signed.key.len() - 4].to_owned(),
                &signed.value,
            ),
        ] {
            let error = read(key, value).unwrap_err();
            assert!(matches!(error, Error::NotSigned), "{key}: {error}");
        }
        assert!(signatures.read(None, &signed.value).is_err());
        let without_secret = Signatures::new("events", None);
        let read = without_secret.read(Some(signed.key.as_bytes()), &signed.value);
        assert_eq!(read.unwrap(), commit());
    }

    /// The signature as another program computes it: `openssl dgst -sha256 -hmac` and `base64`.
    #[test]
    fn the_signature_is_the_documented_one() {
        let signed = signatures("events", "one secret of many").record(&commit());
        assert_eq!(
            signed.unwrap().key,
            "s/2 hmac-sha256=C0FGmOm+KlLJaPYVwMufHPSyQJkH1I8qaAgIK9iBxbo="
        );
    }

    proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

        #[test]
        fn a_changed_notification_is_refused(at in any::<Index>(), change in 1..=u8::MAX) {
            let signatures = signatures("events", "one secret of many");
            let NotificationRecord { key, value } = signatures.record(&commit()).unwrap();
            let mut changed = value.clone();
            changed[at.index(value.len())] ^= change;
            prop_assert!(signatures.read(Some(key.as_bytes()), &changed).is_err());
            // The part before the signature is not signed, and not read.
            let prefix = key.len() - 44;
            let mut changed = key.into_bytes();
            changed[prefix + at.index(44)] ^= change;
            prop_assert!(signatures.read(Some(&changed), &value).is_err());
        }

        #[test]
        fn any_bytes_are_refused_or_read(
            key in any::<Option<Vec<u8>>>(),
            value in any::<Vec<u8>>(),
        ) {
            let with_secret = signatures("events", "one secret of many");
            prop_assert!(with_secret.read(key.as_deref(), &value).is_err());
            let _ = Signatures::new("events", None).read(key.as_deref(), &value);
        }
    }

    #[test]
    fn a_secret_that_could_be_guessed_is_refused() {
        let validate = |secret: &str| validate_secret(Some(&Secret::from(secret.to_owned())));
        validate("0123456789abcdef").unwrap();
        let error = validate("hunter2").unwrap_err().to_string();
        assert!(
            error.contains("notifications-secret") && !error.contains("hunter2"),
            "{error}"
        );
        assert!(validate("").is_err());
    }

    #[test]
    fn a_notification_is_the_documented_json() {
        let commit = commit();
        let json = r#"{"sink":"s","partition":2,"next_offset":7,"ids":["a"]}"#;
        assert_eq!(serde_json::to_string(&commit).unwrap(), json);
        assert_eq!(serde_json::from_str::<Commit>(json).unwrap(), commit);
        let without_ids: Commit =
            serde_json::from_str(r#"{"sink":"s","partition":2,"next_offset":7}"#).unwrap();
        assert!(without_ids.ids.is_empty());
        let of_lake = Commit {
            destination: Destination::Lake,
            commit_seconds: 60,
            ..commit
        };
        let json = r#"{"sink":"s","destination":"lake","partition":2,"next_offset":7,"commit_seconds":60,"ids":["a"]}"#;
        assert_eq!(serde_json::to_string(&of_lake).unwrap(), json);
        assert_eq!(serde_json::from_str::<Commit>(json).unwrap(), of_lake);
    }
}
