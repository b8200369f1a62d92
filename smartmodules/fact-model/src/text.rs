//! Strings that are borrowed from the body or from an [`Arena`].

use std::borrow::Cow;
use std::cell::Cell;

use bumpalo::Bump;
use serde::{Deserialize, Deserializer};

use crate::path::{Path, Step, StepKind};

/// Memory for the strings of one envelope that differ from the body's text: unescaped and repaired
/// ones.
///
/// [`flatten_in`](crate::flatten_in) borrows from the body and from the arena, so no string needs
/// an allocation of its own. An arena that is reset between bodies uses as much memory as the
/// largest of them needed.
#[derive(Debug, Default)]
pub struct Arena {
    texts: Bump,
    /// The number of U+0000 that were removed from strings.
    nuls: Cell<u32>,
    /// The path of the body, if it is recorded.
    path: Option<Box<Path>>,
}

impl Arena {
    /// Returns an empty arena, which allocates on first use.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns an empty arena that records the path of each body.
    pub fn explaining() -> Self {
        Self {
            path: Some(Box::default()),
            ..Self::default()
        }
    }

    /// Returns the path of the last body and forgets it. It is empty unless this arena records it.
    pub fn take_path(&self) -> Vec<Step> {
        self.path().map(Path::take).unwrap_or_default()
    }

    /// Returns the path of the body, if it is recorded.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Adds a step to the path, if it is recorded.
    pub(crate) fn step(&self, kind: StepKind, detail: impl FnOnce() -> String) {
        if let Some(path) = &self.path {
            path.push(kind, detail());
        }
    }

    /// Drops all strings and keeps the memory for reuse.
    pub fn reset(&mut self) {
        self.texts.reset();
        self.nuls.set(0);
        self.take_path();
    }

    pub(crate) fn text(&self, text: &str) -> &str {
        self.texts.alloc_str(text)
    }

    /// Copies `values` into the arena. `T: Copy`, because the arena runs no destructors.
    pub(crate) fn slice<T: Copy>(&self, values: &[T]) -> &[T] {
        self.texts.alloc_slice_copy(values)
    }

    /// Removes and counts U+0000, which PostgreSQL can't store.
    pub(crate) fn without_nul<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !text.contains('\0') {
            return Cow::Borrowed(text);
        }
        self.count_nuls(text.matches('\0').count());
        Cow::Owned(text.replace('\0', ""))
    }

    /// Adds to the count of removed U+0000.
    pub(crate) fn count_nuls(&self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.nuls.set(self.nuls.get().saturating_add(count));
    }

    /// Returns the count of removed U+0000 and resets it.
    pub(crate) fn take_nuls(&self) -> u32 {
        self.nuls.take()
    }
}

/// A deserialized string, borrowed from the input if it has no escapes.
///
/// serde borrows a `Cow` only as a plain field, not inside an `Option`.
#[derive(Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// Deserializes an optional string, borrowed from the input if it has no escapes.
pub(crate) fn optional_text<'de: 'a, 'a, D>(
    deserializer: D,
) -> Result<Option<Cow<'a, str>>, D::Error>
where
    D: Deserializer<'de>,
{
    let text = Option::<Text<'a>>::deserialize(deserializer)?;
    Ok(text.map(|Text(text)| text))
}

/// Copies a borrowed string.
pub(crate) fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}
