//! What a sink tells a source: which records are in the tables.
//!
//! A topic acknowledges a record before it is on a disk. A source that must not let go of a message
//! before its facts are safe follows the topic `<topic>-committed`, to which the sink announces each
//! of its commits, as JSON, one record a commit (a large one in parts):
//!
//! ```json
//! {"sink":"shop-events-sink","partition":0,"next_offset":1042,"keys":["8b1f…","77c0…"]}
//! ```
//!
//! `keys` are the keys of the committed records, which for records from SQS name the messages ([`crate::keys`]).
//! They are what a source goes by: an offset is given out anew when a topic loses its end or is made
//! again, and would then stand for another record. `next_offset` tells how far the sink has come;
//! without keys, at its start and every half minute, it only tells that. The record's own key is
//! `sink/partition`.
//!
//! Announcements are no more than hints: one that gets lost leaves messages undeleted, and they are
//! delivered again. So the topic is small, short-lived and needs no replicas.

use fluvio::metadata::topic::{CleanupPolicy, SegmentBasedPolicy, TopicSpec, TopicStorageConfig};
use serde::{Deserialize, Serialize};

/// How long announcements are kept, in seconds.
const RETENTION_SECONDS: u32 = 3600;
const SEGMENT_BYTES: u32 = 16 << 20;

/// An announcement.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Commit {
    /// The sink's name: its `meta.consumer.id`, else its `meta.name`.
    pub sink: String,
    /// The partition of the topic that the sink reads.
    pub partition: u32,
    /// The first record of the partition that is not in the tables yet.
    pub next_offset: i64,
    /// The keys of records that are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

/// The name of the topic on which commits of records of `topic` are announced.
#[must_use]
pub fn announcements_of(topic: &str) -> String {
    format!("{topic}-committed")
}

/// What that topic is created as, where nobody has made it yet.
#[must_use]
pub fn announcements_spec() -> TopicSpec {
    let mut spec = TopicSpec::new_computed(1, 1, None);
    spec.set_cleanup_policy(CleanupPolicy::Segment(SegmentBasedPolicy {
        time_in_seconds: RETENTION_SECONDS,
    }));
    spec.set_storage(TopicStorageConfig {
        segment_size: Some(SEGMENT_BYTES),
        ..TopicStorageConfig::default()
    });
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_the_documented_json() {
        let commit = Commit {
            sink: "s".to_owned(),
            partition: 2,
            next_offset: 7,
            keys: vec!["a".to_owned()],
        };
        let json = r#"{"sink":"s","partition":2,"next_offset":7,"keys":["a"]}"#;
        assert_eq!(serde_json::to_string(&commit).unwrap(), json);
        assert_eq!(serde_json::from_str::<Commit>(json).unwrap(), commit);
        let stand: Commit =
            serde_json::from_str(r#"{"sink":"s","partition":2,"next_offset":7}"#).unwrap();
        assert!(stand.keys.is_empty());
    }
}
