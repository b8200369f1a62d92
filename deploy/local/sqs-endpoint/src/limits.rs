//! The limits of SQS that affect clients.
//!
//! Source: Amazon SQS developer guide, "message quotas" and "queue quotas". The payload limit of 1
//! MiB is from August 2025 (before: 256 KiB).

use std::time::Duration;

/// Entries in one batch request, and messages in one receive.
pub(crate) const BATCH: usize = 10;
/// Characters in the id of a batch entry.
pub(crate) const BATCH_ID_CHARS: usize = 80;
/// Bytes of one message's body, and of all bodies in one batch.
pub(crate) const BODY_BYTES: usize = 1 << 20;
/// In-flight messages of a standard queue: received and neither deleted nor visible again.
pub(crate) const IN_FLIGHT: usize = 120_000;
/// The longest visibility timeout from the receive on.
pub(crate) const VISIBILITY: Duration = Duration::from_secs(12 * 60 * 60);
/// The default visibility timeout of a queue.
pub(crate) const DEFAULT_VISIBILITY_SECONDS: u64 = 30;
/// The longest long poll.
pub(crate) const WAIT_SECONDS: u64 = 20;
/// The longest delay of a message.
pub(crate) const DELAY_SECONDS: u64 = 900;
/// Characters in a queue's name.
pub(crate) const QUEUE_NAME_CHARS: usize = 80;
/// Message attributes of one message.
pub(crate) const MESSAGE_ATTRIBUTES: usize = 10;
/// Queues in one response of `ListQueues`.
pub(crate) const LISTED_QUEUES: usize = 1000;
/// The minimum time between two purges of a queue.
pub(crate) const PURGE_PAUSE: Duration = Duration::from_secs(60);

/// Returns true if SQS accepts `c` in a body: the characters of XML 1.0.
pub(crate) fn is_message_character(c: char) -> bool {
    matches!(
        c,
        '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..
    )
}

/// Returns true if `name` has 1 to `longest` letters, digits, `-` and `_`.
pub(crate) fn is_plain_name(name: &str, longest: usize) -> bool {
    (1..=longest).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
