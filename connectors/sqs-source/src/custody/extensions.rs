//! Which message's visibility timeout has to be extended next, and for how long: at half of it, up to the
//! twelve hours that SQS hides a message after its receive.

use std::time::{Duration, Instant};

use super::{Custody, Table};
use crate::config::LONGEST_VISIBILITY;
use crate::queue::{MessageId, Receipt};

/// A visibility timeout that has to be extended now.
#[derive(Debug, PartialEq, Eq)]
pub struct Extension {
    /// The message.
    pub id: MessageId,
    /// Its newest delivery.
    pub receipt: Receipt,
    /// For how long from now.
    pub timeout: Duration,
}

impl Custody {
    /// Up to `most` messages whose visibility timeout has to be extended by `now`. Each is handed out
    /// once, until [`Custody::extended`] or [`Custody::extend_later`] puts it back.
    pub fn take_due(&self, now: Instant, most: usize) -> Vec<Extension> {
        let mut table = self.table();
        let mut due = Vec::new();
        while due.len() < most {
            let Some((_, id)) = table
                .extensions
                .first()
                .filter(|(at, _)| *at <= now)
                .cloned()
            else {
                break;
            };
            table.extend_at(&id, None);
            let Some(held) = table.held.get(&id) else {
                continue;
            };
            let left = (held.received_at + LONGEST_VISIBILITY).saturating_duration_since(now);
            let timeout = Duration::from_secs(self.visibility_timeout.min(left).as_secs());
            if timeout.is_zero() {
                tracing::warn!(message_id = %id, "in hand for 12 hours, which is as long as SQS hides a message; it will be delivered again");
            } else {
                due.push(Extension {
                    receipt: held.receipt.clone(),
                    id,
                    timeout,
                });
            }
        }
        due
    }

    /// The queue hides the message until its timeout from `asked_at` on.
    pub fn extended(&self, extension: &Extension, asked_at: Instant) {
        self.extend_later(extension, asked_at + extension.timeout / 2);
    }

    /// The message is to be extended, or tried again, at `when`, unless a newer delivery has its own time.
    pub fn extend_later(&self, extension: &Extension, when: Instant) {
        let mut table = self.table();
        if table.holds(extension) {
            table.extend_at(&extension.id, Some(when));
        }
    }

    /// Whether this delivery is the newest of a message in hand.
    pub fn holds(&self, extension: &Extension) -> bool {
        self.table().holds(extension)
    }
}

impl Table {
    fn holds(&self, extension: &Extension) -> bool {
        self.held
            .get(&extension.id)
            .is_some_and(|held| held.receipt == extension.receipt)
    }

    /// Has the message extended at `when`; with `None` not before this is called again.
    pub(super) fn extend_at(&mut self, id: &MessageId, when: Option<Instant>) {
        let Some(held) = self.held.get_mut(id) else {
            return;
        };
        if let Some(before) = std::mem::replace(&mut held.extend_at, when) {
            self.extensions.remove(&(before, id.clone()));
        }
        if let Some(when) = when {
            self.extensions.insert((when, id.clone()));
        }
    }
}
