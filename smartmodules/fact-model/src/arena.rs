//! Where texts live that do not stand in the body word for word: unescaped and repaired ones.

use std::borrow::Cow;
use std::cell::Cell;

use bumpalo::Bump;

/// Room for the texts of one envelope that the body does not hold as they are.
///
/// [`flatten_in`](crate::flatten_in) borrows from the body and from the arena, so that no text needs
/// an allocation of its own. Reset between bodies, an arena takes no more memory than the largest
/// of them needed.
#[derive(Debug, Default)]
pub struct Arena {
    texts: Bump,
    /// How many U+0000 were removed from texts.
    nuls: Cell<u32>,
}

impl Arena {
    /// An empty arena; it takes memory when it is first used.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all texts and keeps the memory for the next ones.
    pub fn reset(&mut self) {
        self.texts.reset();
        self.nuls.set(0);
    }

    pub(crate) fn text(&self, text: &str) -> &str {
        self.texts.alloc_str(text)
    }

    /// A copy of `values`. They are never dropped, so only values without a destructor are taken.
    pub(crate) fn slice<T: Copy>(&self, values: &[T]) -> &[T] {
        self.texts.alloc_slice_copy(values)
    }

    /// The text without its U+0000, which PostgreSQL can't hold; they are counted.
    pub(crate) fn without_nul<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !text.contains('\0') {
            return Cow::Borrowed(text);
        }
        self.count_nuls(text.matches('\0').count());
        Cow::Owned(text.replace('\0', ""))
    }

    /// Counts U+0000 that were removed.
    pub(crate) fn count_nuls(&self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.nuls.set(self.nuls.get().saturating_add(count));
    }

    /// How many U+0000 were removed since this was last asked.
    pub(crate) fn take_nuls(&self) -> u32 {
        self.nuls.take()
    }
}
