//! Faults on purpose: what the network and SQS do once in a while, done when a test wants it.
//!
//! From Rust through [`Faults`], from another process over HTTP:
//!
//! ```text
//! PUT    /_faults  {"operation": "DeleteMessageBatch", "fault": {"kind": "drop-silently"}, "times": 3}
//! PUT    /_faults  {"operation": "ReceiveMessage", "fault": {"kind": "delay", "for": "2s"}, "share": 0.1}
//! GET    /_faults  how often each fault has struck
//! DELETE /_faults  end all faults
//! ```
//!
//! `times` and `share` count what the fault is about: calls, or the entries of calls (see [`Fault`]).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::operation::Operation;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The call is refused with `ThrottlingException` and does nothing. Counted by call.
    Throttle,
    /// The call is refused with `AccessDenied`, as by a policy, and does nothing. Counted by call.
    Deny,
    /// The call is done at once and answered late. Counted by call.
    Delay {
        /// How late.
        #[serde(rename = "for", with = "humantime_serde")]
        by: Duration,
    },
    /// The call is done, then the connection closes without an answer. Counted by call.
    CutReply,
    /// An entry of a batch is not done and reported in `Failed`. Counted by entry; batches only.
    #[serde(rename_all = "kebab-case")]
    FailEntry {
        /// What `SenderFault` says: whether a retry is no use.
        sender_fault: bool,
    },
    /// A delete or visibility change is not done and reported as done. Counted by message.
    DropSilently,
    /// A received message stays visible, so that it is delivered again at once. Counted by message;
    /// `ReceiveMessage` only.
    Duplicate,
}

impl Fault {
    fn is_of_entries(self) -> bool {
        matches!(
            self,
            Self::FailEntry { .. } | Self::DropSilently | Self::Duplicate
        )
    }

    fn applies_to(self, operation: Operation) -> bool {
        use Operation as O;
        match self {
            Self::Throttle | Self::Deny | Self::Delay { .. } | Self::CutReply => true,
            Self::FailEntry { .. } => operation.is_batch(),
            Self::DropSilently => matches!(
                operation,
                O::DeleteMessage
                    | O::DeleteMessageBatch
                    | O::ChangeMessageVisibility
                    | O::ChangeMessageVisibilityBatch
            ),
            Self::Duplicate => operation == O::ReceiveMessage,
        }
    }
}

/// A fault that an operation can't have.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum NotPossible {
    /// Failing an entry of an operation without entries, for example.
    #[error("{fault:?} is not a fault that {operation} can have")]
    Inapplicable {
        /// The operation that was asked for.
        operation: Operation,
        /// The fault that was asked for.
        fault: Fault,
    },
    /// A share that is no probability.
    #[error("a share is between 0 and 1, not {0}")]
    Share(f64),
}

/// The faults of one endpoint. All methods take effect at once, for calls under way too.
#[derive(Debug)]
pub struct Faults(Mutex<Plan>);

#[derive(Debug)]
struct Plan {
    rules: Vec<Rule>,
    struck: BTreeMap<Operation, u64>,
    random: StdRng,
}

#[derive(Debug, Clone, Copy)]
struct Rule {
    operation: Operation,
    fault: Fault,
    when: When,
}

#[derive(Debug, Clone, Copy)]
enum When {
    Next(u64),
    Share(f64),
}

impl Faults {
    pub(crate) fn none() -> Self {
        Self(Mutex::new(Plan {
            rules: Vec::new(),
            struck: BTreeMap::new(),
            random: StdRng::seed_from_u64(0),
        }))
    }

    /// Lets `fault` strike the next `times` calls, entries or messages of `operation`.
    ///
    /// # Errors
    /// The operation can't have this fault.
    pub fn fail_next(
        &self,
        operation: Operation,
        fault: Fault,
        times: u64,
    ) -> Result<(), NotPossible> {
        self.add(operation, fault, When::Next(times))
    }

    /// Lets `fault` strike a share (0 to 1) of the calls, entries or messages of `operation`, chosen
    /// at random from [`Faults::seed`].
    ///
    /// # Errors
    /// The operation can't have this fault, or `share` is no probability.
    pub fn fail_share(
        &self,
        operation: Operation,
        fault: Fault,
        share: f64,
    ) -> Result<(), NotPossible> {
        if !(0.0..=1.0).contains(&share) {
            return Err(NotPossible::Share(share));
        }
        self.add(operation, fault, When::Share(share))
    }

    /// Starts the random choices anew. They are the same for the same seed (0 at the start) and the
    /// same order of calls.
    pub fn seed(&self, seed: u64) {
        self.plan().random = StdRng::seed_from_u64(seed);
    }

    /// Ends all faults.
    pub fn clear(&self) {
        self.plan().rules.clear();
    }

    /// How often faults have struck `operation` so far.
    #[must_use]
    pub fn struck(&self, operation: Operation) -> u64 {
        self.plan().struck.get(&operation).copied().unwrap_or(0)
    }

    pub(crate) fn all_struck(&self) -> BTreeMap<Operation, u64> {
        self.plan().struck.clone()
    }

    /// The faults of one call, in the order in which they were set.
    pub(crate) fn of_call(&self, operation: Operation) -> Vec<Fault> {
        self.plan()
            .strike(operation, |fault| !fault.is_of_entries(), usize::MAX)
    }

    /// The fault of one entry or message, if any.
    pub(crate) fn of_entry(&self, operation: Operation) -> Option<Fault> {
        self.plan().strike(operation, Fault::is_of_entries, 1).pop()
    }

    fn add(&self, operation: Operation, fault: Fault, when: When) -> Result<(), NotPossible> {
        if !fault.applies_to(operation) {
            return Err(NotPossible::Inapplicable { operation, fault });
        }
        self.plan().rules.push(Rule {
            operation,
            fault,
            when,
        });
        Ok(())
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    fn strike(
        &mut self,
        operation: Operation,
        is_meant: impl Fn(Fault) -> bool,
        most: usize,
    ) -> Vec<Fault> {
        let mut faults = Vec::new();
        for rule in &mut self.rules {
            if faults.len() < most && rule.operation == operation && is_meant(rule.fault) {
                let strikes = match &mut rule.when {
                    When::Next(left) => {
                        let strikes = *left > 0;
                        *left = left.saturating_sub(1);
                        strikes
                    }
                    When::Share(share) => self.random.random_bool(*share),
                };
                if strikes {
                    faults.push(rule.fault);
                }
            }
        }
        self.rules
            .retain(|rule| !matches!(rule.when, When::Next(0)));
        if !faults.is_empty() {
            *self.struck.entry(operation).or_default() += faults.len() as u64;
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_strike_as_often_as_asked_and_only_what_they_are_about() {
        let faults = Faults::none();
        faults
            .fail_next(Operation::DeleteMessageBatch, Fault::DropSilently, 2)
            .unwrap();
        assert_eq!(faults.of_call(Operation::DeleteMessageBatch), []);
        assert_eq!(faults.of_entry(Operation::DeleteMessage), None);
        let struck: Vec<_> = (0..4)
            .map(|_| faults.of_entry(Operation::DeleteMessageBatch))
            .collect();
        assert_eq!(
            struck,
            [
                Some(Fault::DropSilently),
                Some(Fault::DropSilently),
                None,
                None
            ]
        );
        assert_eq!(faults.struck(Operation::DeleteMessageBatch), 2);
    }

    #[test]
    fn a_share_is_drawn_from_the_seed() {
        let draw = |seed| {
            let faults = Faults::none();
            faults
                .fail_share(Operation::ReceiveMessage, Fault::Throttle, 0.25)
                .unwrap();
            faults.seed(seed);
            (0..1000)
                .map(|_| faults.of_call(Operation::ReceiveMessage).len())
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        assert!((200..300).contains(&draw(3).iter().sum::<usize>()));
    }

    #[test]
    fn a_fault_that_an_operation_cannot_have_is_refused() {
        let faults = Faults::none();
        assert!(
            faults
                .fail_next(Operation::SendMessage, Fault::DropSilently, 1)
                .is_err()
        );
        assert!(
            faults
                .fail_next(
                    Operation::DeleteMessage,
                    Fault::FailEntry { sender_fault: true },
                    1
                )
                .is_err()
        );
        assert!(
            faults
                .fail_share(Operation::ReceiveMessage, Fault::Throttle, 1.5)
                .is_err()
        );
    }
}
