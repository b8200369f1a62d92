//! What the writers of a sink have told the dimensions already, so that they need not tell it again with every batch.
//!
//! Whatever is told can only be overtaken: by something newer, an earlier first or a later last time. So what a writer has
//! told and committed once changes nothing any more, whoever else has told what meanwhile.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use super::Dimension;
use super::member::Member;

/// Members that are remembered; with more, the memory begins anew: it is some megabytes then.
const MOST: usize = 20_000;

/// Of both dimensions.
#[derive(Debug, Default)]
pub(crate) struct Known {
    products: Members,
    lists: Members,
}

/// Of one dimension, by natural key.
#[derive(Debug, Default)]
pub(crate) struct Members(Mutex<HashMap<String, Member>>);

impl Known {
    /// What is known of each.
    pub(crate) fn parts(&self) -> [&Members; 2] {
        [&self.products, &self.lists]
    }

    /// The transaction that told of `dimensions` has committed.
    pub(crate) fn learn(&self, dimensions: [&Dimension; 2]) {
        for (known, dimension) in self.parts().into_iter().zip(dimensions) {
            known.learn(dimension);
        }
    }
}

impl Members {
    /// The members of which `dimension` tells something that was not told before.
    pub(super) fn news_of<'a>(&self, dimension: &'a Dimension) -> Vec<&'a Member> {
        let told = self.all();
        let is_news = |member: &&Member| match told.get(&member.natural_key) {
            Some(known) => known.lacks(member),
            None => true,
        };
        dimension.members.iter().filter(is_news).collect()
    }

    /// The row is new, or was made anew: nothing of what was told is in it.
    pub(super) fn forget(&self, natural_key: &str) {
        self.all().remove(natural_key);
    }

    fn learn(&self, dimension: &Dimension) {
        let mut told = self.all();
        for member in &dimension.members {
            match told.get_mut(&member.natural_key) {
                Some(known) => known.take_over(member),
                None => {
                    told.insert(member.natural_key.clone(), member.clone());
                }
            }
        }
        if told.len() > MOST {
            told.clear();
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Member>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
