//! How often a body may be wrapped: hostile ones nest as deep as their size allows.

use crate::items::MAX_STRINGS;
use crate::rejection::{Reason, Refusal};

/// How many envelopes may be around a body: SNS, EventBridge, gzip, base64, each counts.
const MAX_ENVELOPES: usize = 6;

/// How much there is around what is being read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Layers {
    /// Since the last envelope.
    strings: usize,
    envelopes: usize,
}

impl Layers {
    /// Inside of one more string.
    pub(crate) fn string(self) -> Result<Self, Refusal> {
        if self.strings == MAX_STRINGS {
            let detail = format!("the body is a text in a text, more than {MAX_STRINGS} deep");
            return Err(Refusal::new(Reason::TooDeep, detail));
        }
        Ok(Self {
            strings: self.strings + 1,
            ..self
        })
    }

    /// Inside of one more envelope.
    pub(crate) fn envelope(self) -> Result<Self, Refusal> {
        if self.envelopes == MAX_ENVELOPES {
            let detail = format!("there are more than {MAX_ENVELOPES} envelopes around the body");
            return Err(Refusal::new(Reason::TooDeep, detail));
        }
        Ok(Self {
            strings: 0,
            envelopes: self.envelopes + 1,
        })
    }
}
