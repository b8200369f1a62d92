//! The limits of SQS that a client can run into.
//!
//! Source: Amazon SQS developer guide, "message quotas" and "queue quotas"; the 1 MiB payload is
//! of August 2025 (256 KiB before).

use std::time::Duration;

/// Entries in one batch request, and messages in one receive.
pub(crate) const BATCH: usize = 10;
/// Characters in the id of a batch entry.
pub(crate) const BATCH_ID_CHARS: usize = 80;
/// Bytes of one message's body, and of all bodies in one batch.
pub(crate) const BODY_BYTES: usize = 1 << 20;
/// Messages of a standard queue that are received and neither deleted nor visible again.
pub(crate) const IN_FLIGHT: usize = 120_000;
/// The longest visibility timeout, counted from the receive.
pub(crate) const VISIBILITY: Duration = Duration::from_secs(12 * 60 * 60);
/// The visibility timeout of a queue that was created without one.
pub(crate) const DEFAULT_VISIBILITY_SECONDS: u64 = 30;
/// The longest long poll.
pub(crate) const WAIT_SECONDS: u64 = 20;
/// The longest delay of a message.
pub(crate) const DELAY_SECONDS: u64 = 900;
/// Characters in a queue's name.
pub(crate) const QUEUE_NAME_CHARS: usize = 80;
/// Message attributes of one message.
pub(crate) const MESSAGE_ATTRIBUTES: usize = 10;
/// Queues in one reply of `ListQueues`.
pub(crate) const LISTED_QUEUES: usize = 1000;
/// How long a queue refuses to be purged again.
pub(crate) const PURGE_PAUSE: Duration = Duration::from_secs(60);

/// Whether SQS takes `c` in a body: what XML 1.0 allows.
pub(crate) fn is_message_character(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
}

/// Whether `name` is letters, digits, `-` and `_`, and neither empty nor longer than `longest`.
pub(crate) fn is_plain_name(name: &str, longest: usize) -> bool {
    (1..=longest).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
