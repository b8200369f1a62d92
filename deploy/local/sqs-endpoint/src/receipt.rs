//! Receipt handles: one for each time that a message is received.

use std::fmt;
use std::str::FromStr;

/// Names one receive of one message in one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// Tells queues apart, and a queue from an earlier one of the same name.
    pub(crate) queue: u64,
    /// The message, by its number in the queue.
    pub(crate) message: u64,
    /// The message's receive count at that receive.
    pub(crate) receive: u32,
}

/// A receipt handle that this endpoint never gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl fmt::Display for Receipt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:016x}.{:x}.{:x}",
            self.queue, self.message, self.receive
        )
    }
}

impl FromStr for Receipt {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut parts = text.split('.');
        let mut next = || {
            parts
                .next()
                .and_then(|part| u64::from_str_radix(part, 16).ok())
                .ok_or(Malformed)
        };
        let receipt = Self {
            queue: next()?,
            message: next()?,
            receive: u32::try_from(next()?).map_err(|_| Malformed)?,
        };
        if parts.next().is_some() {
            Err(Malformed)
        } else {
            Ok(receipt)
        }
    }
}
