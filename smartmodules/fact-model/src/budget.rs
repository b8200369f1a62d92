//! How much may come of a body. Each fact repeats what its event says, so a hostile body of a
//! megabyte, half of it one long name and half of it empty items, would become 80 gigabytes.

use crate::rejection::{Reason, Refusal};

/// What a fact or a rejection takes besides the texts of the body.
const OVERHEAD: usize = 512;
/// What any body may become. Two hundred small items (Google's limit) in a large event are no attack.
const FREE: usize = 1024 * 1024;
/// How many times its own size a larger body may become. Ten items an event make it threefold.
const FACTOR: usize = 64;
/// What no body may exceed: it must fit into one batch of the topic's readers.
const LIMIT: usize = 16 * 1024 * 1024;

/// The bytes that may still come of a body.
#[derive(Debug)]
pub(crate) struct Budget(usize);

impl Budget {
    /// What may come of a body of `size` bytes.
    pub(crate) fn of_body(size: usize) -> Self {
        Self(size.saturating_mul(FACTOR).saturating_add(FREE).min(LIMIT))
    }

    /// Takes what one more fact or rejection needs, `size` bytes of texts included.
    pub(crate) fn spend(&mut self, size: usize) -> Result<(), Refusal> {
        match self.0.checked_sub(size.saturating_add(OVERHEAD)) {
            Some(rest) => {
                self.0 = rest;
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
