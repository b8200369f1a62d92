//! Where texts live that do not stand in the body word for word: unescaped and repaired ones.

use bumpalo::Bump;

/// Room for the texts of one envelope that the body does not hold as they are.
///
/// [`flatten_in`](crate::flatten_in) borrows from the body and from the arena, so that no text needs
/// an allocation of its own. Reset between bodies, an arena takes no more memory than the largest
/// of them needed.
#[derive(Debug, Default)]
pub struct Arena(Bump);

impl Arena {
    /// An empty arena; it takes memory when it is first used.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all texts and keeps the memory for the next ones.
    pub fn reset(&mut self) {
        self.0.reset();
    }

    pub(crate) fn text(&self, text: &str) -> &str {
        self.0.alloc_str(text)
    }

    /// A copy of `values`. They are never dropped, so only values without a destructor are taken.
    pub(crate) fn slice<T: Copy>(&self, values: &[T]) -> &[T] {
        self.0.alloc_slice_copy(values)
    }
}
