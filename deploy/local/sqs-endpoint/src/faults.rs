//! Fault injection: errors that the network and SQS cause now and then, on demand in tests.
//!
//! A fault applies to whole calls or to the entries or messages of calls; see [`Fault`].

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::protocol::Operation;

/// An injected fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call is refused with `ThrottlingException` and does nothing. Counted by call.
    Throttle,
    /// The call is refused with `AccessDenied`, as by a policy, and does nothing. Counted by call.
    Deny,
    /// The call is performed at once and answered late. Counted by call.
    Delay {
        /// The delay of the answer.
        by: Duration,
    },
    /// The call is performed, then the connection closes without an answer. Counted by call.
    CutReply,
    /// An entry of a batch is not performed and reported in `Failed`. Counted by entry; batches
    /// only.
    FailEntry {
        /// The value of `SenderFault`: true if a retry can't succeed.
        sender_fault: bool,
    },
    /// A delete or visibility change is not performed but reported as successful. Counted by
    /// message.
    DropSilently,
    /// A received message stays visible, so it is delivered again immediately. Counted by message;
    /// `ReceiveMessage` only.
    Duplicate,
}

impl Fault {
    fn applies_to_entries(self) -> bool {
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

/// A fault can't be injected.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum InvalidFault {
    /// The fault doesn't apply to the operation, for example an entry's failure without entries.
    #[error("{fault:?} does not apply to {operation}")]
    Inapplicable {
        /// The requested operation.
        operation: Operation,
        /// The requested fault.
        fault: Fault,
    },
    /// The share isn't a probability.
    #[error("a share is between 0 and 1, not {0}")]
    Share(f64),
}

/// The faults of one endpoint. Changes take effect immediately, also for current calls.
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

    /// Injects `fault` into the next `times` calls, entries or messages of `operation`.
    ///
    /// # Errors
    /// The fault doesn't apply to the operation.
    pub fn fail_next(
        &self,
        operation: Operation,
        fault: Fault,
        times: u64,
    ) -> Result<(), InvalidFault> {
        self.add(operation, fault, When::Next(times))
    }

    /// Injects `fault` into a share (0 to 1) of the calls, entries or messages of `operation`,
    /// chosen at random from [`Faults::seed`].
    ///
    /// # Errors
    /// The fault doesn't apply to the operation, or `share` isn't between 0 and 1.
    pub fn fail_share(
        &self,
        operation: Operation,
        fault: Fault,
        share: f64,
    ) -> Result<(), InvalidFault> {
        if !(0.0..=1.0).contains(&share) {
            return Err(InvalidFault::Share(share));
        }
        self.add(operation, fault, When::Share(share))
    }

    /// Restarts the random choices. They are equal for the same seed (initially 0) and order of
    /// calls.
    pub fn seed(&self, seed: u64) {
        self.plan().random = StdRng::seed_from_u64(seed);
    }

    /// Removes all faults.
    pub fn clear(&self) {
        self.plan().rules.clear();
    }

    /// Returns the number of faults that were injected into `operation`.
    #[must_use]
    pub fn struck(&self, operation: Operation) -> u64 {
        self.plan().struck.get(&operation).copied().unwrap_or(0)
    }

    /// Returns the faults of one call, in the order in which they were added.
    pub(crate) fn of_call(&self, operation: Operation) -> Vec<Fault> {
        self.plan()
            .strike(operation, |fault| !fault.applies_to_entries(), usize::MAX)
    }

    /// Returns the fault of one entry or message, if any.
    pub(crate) fn of_entry(&self, operation: Operation) -> Option<Fault> {
        self.plan()
            .strike(operation, Fault::applies_to_entries, 1)
            .pop()
    }

    fn add(&self, operation: Operation, fault: Fault, when: When) -> Result<(), InvalidFault> {
        if !fault.applies_to(operation) {
            return Err(InvalidFault::Inapplicable { operation, fault });
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
