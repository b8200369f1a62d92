//! What the keys of records from SQS say, and which partition a record goes to by it.
//!
//! The key is the id of the SQS message, by which a sink names what it has committed. The records of a FIFO queue have
//! their message group as the key instead, and where a sink has to name them the id behind it: `group id`. Neither can
//! hold a space (SQS, `MessageGroupId`). Whatever stands before the first space decides on the partition, so that one
//! partition has a group in its order.

use std::hash::{Hash, Hasher};

use fluvio::{PartitionId, Partitioner, PartitionerConfig};
use siphasher::sip::SipHasher;

const SEPARATOR: char = ' ';

/// The key of a message that belongs to a group and has to be named.
#[must_use]
pub fn of_group_and_message(group: &str, message_id: &str) -> String {
    format!("{group}{SEPARATOR}{message_id}")
}

/// The id in a key that names a message.
#[must_use]
pub fn message_id(key: &str) -> &str {
    key.rsplit(SEPARATOR).next().unwrap_or(key)
}

/// Gives records of the same group the same partition, as Fluvio's own partitioner does with records of the same key.
#[derive(Debug)]
pub struct ByGroup;

impl Partitioner for ByGroup {
    fn partition(
        &self,
        config: &PartitionerConfig,
        key: Option<&[u8]>,
        value: &[u8],
    ) -> PartitionId {
        let key = key.unwrap_or(value);
        let group = key.split(|byte| *byte == SEPARATOR as u8).next();
        let mut hasher = SipHasher::new();
        group.unwrap_or(key).hash(&mut hasher);
        let partitions = u64::from(config.partition_count().max(1));
        // Less than the number of partitions, which is of this type.
        PartitionId::try_from(hasher.finish() % partitions).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(key: &str) -> PartitionId {
        let config = PartitionerConfig {
            partition_count: 8,
            available_partitions: (0..8).collect(),
        };
        ByGroup.partition(&config, Some(key.as_bytes()), b"")
    }

    #[test]
    fn a_group_keeps_its_partition_and_others_have_their_own() {
        let named = of_group_and_message("user-1", "8b1f");
        assert_eq!(message_id(&named), "8b1f");
        assert_eq!(message_id("8b1f"), "8b1f");
        assert_eq!(partition(&named), partition("user-1"));
        let of_groups: std::collections::BTreeSet<_> = (0..100)
            .map(|number| partition(&format!("user-{number} 8b1f")))
            .collect();
        assert_eq!(of_groups.len(), 8);
    }
}
