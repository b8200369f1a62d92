//! The terms on which a body is read: what the operator chose, and how much may come of it. Each fact repeats what its event says, so a hostile body of a
//! megabyte, half of it one long name and half of it empty items, would become 80 gigabytes.

use chrono::{DateTime, Utc};

use crate::options::{MissingTime, Options};
use crate::rejection::{Reason, Refusal};
use crate::time;

/// What a fact or a rejection takes besides the texts of the body.
const OVERHEAD: usize = 512;
/// What any body may become. Two hundred small items (Google's limit) in a large event are no attack.
const FREE: usize = 1024 * 1024;
/// How many times its own size a larger body may become. Ten items an event make it threefold.
const FACTOR: usize = 64;
/// What no body may exceed: it must fit into one batch of the topic's readers.
const LIMIT: usize = 16 * 1024 * 1024;

/// What one body may become.
#[derive(Debug)]
pub(crate) struct Budget<'o> {
    /// What the operator chose.
    pub(crate) options: &'o Options,
    /// When the record was written to the topic, in ms of Unix time, as far as that is known.
    pub(crate) record_time: Option<i64>,
    /// The bytes that may still come of the body.
    rest: usize,
}

impl<'o> Budget<'o> {
    /// What may come of a body of `size` bytes.
    pub(crate) fn of_body(size: usize, options: &'o Options, record_time: Option<i64>) -> Self {
        Self {
            options,
            record_time,
            rest: size.saturating_mul(FACTOR).saturating_add(FREE).min(LIMIT),
        }
    }

    /// Refuses a body that is larger than the operator allows.
    pub(crate) fn check_size(&self, body: usize) -> Result<(), Refusal> {
        let limit = self.options.max_body;
        if body <= limit {
            return Ok(());
        }
        let detail = format!("the body has {body} bytes, and max-body allows {limit}");
        Err(Refusal::new(Reason::BodyTooLarge, detail))
    }

    /// Refuses an event's next item when it has as many as the operator allows.
    pub(crate) fn check_items(&self, before: usize) -> Result<(), Refusal> {
        let limit = self.options.max_items;
        if before < limit {
            return Ok(());
        }
        let detail = format!("the event has more items than the {limit} that max-items allows");
        Err(Refusal::new(Reason::TooManyItems, detail))
    }

    /// The time of an event that says none, where the operator wants it to be the record's.
    pub(crate) fn time_of_record(&self) -> Option<DateTime<Utc>> {
        match self.options.missing_time {
            MissingTime::Reject => None,
            MissingTime::Record => time::of_millis(self.record_time?),
        }
    }

    /// The bytes that may still come of the body, what it inflates to included.
    pub(crate) fn rest(&self) -> usize {
        self.rest
    }

    /// Takes what one more fact or rejection needs, `size` bytes of texts included.
    pub(crate) fn spend(&mut self, size: usize) -> Result<(), Refusal> {
        match self.rest.checked_sub(size.saturating_add(OVERHEAD)) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(Refusal::new(
                Reason::TooLarge,
                "so many items repeat so much of their event that the facts would be more than \
                 1 MiB and 64 times the body, or more than 16 MiB",
            )),
        }
    }
}
