//! The path of a body for `etl flatten --explain`: what was around it, its format, and the rules
//! that changed a value.
//!
//! Readers add steps to an [`Arena::explaining`](crate::Arena::explaining).

use std::cell::RefCell;

/// A step on the path from a body to its facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The kind.
    pub kind: StepKind,
    /// A sentence for a person. It may contain parts of the body.
    pub detail: String,
}

/// The kinds of steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// Another part of the body begins. The detail is its location.
    Part,
    /// Something was around the body and was removed.
    Envelope,
    /// A format was recognized.
    Format,
    /// A rule changed a value or left it out of its column.
    Value,
}

impl StepKind {
    /// Returns the name of the kind.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Part => "part",
            Self::Envelope => "envelope",
            Self::Format => "format",
            Self::Value => "value",
        }
    }
}

/// The most steps of a path.
const MAX_STEPS: usize = 1000;

/// The recorded steps of one body.
#[derive(Debug, Default)]
pub(crate) struct Path(RefCell<Vec<Step>>);

impl Path {
    pub(crate) fn push(&self, kind: StepKind, detail: String) {
        if let Ok(mut steps) = self.0.try_borrow_mut()
            && steps.len() < MAX_STEPS
        {
            steps.push(Step { kind, detail });
        }
    }

    pub(crate) fn take(&self) -> Vec<Step> {
        self.0.take()
    }
}
