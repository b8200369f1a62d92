//! What a writer has told the dimensions already, so that it need not tell it again with every batch.
//!
//! Whatever is told can only be overtaken: by something newer, an earlier first or a later last time. So what a writer has
//! told and committed once changes nothing any more, whoever else has told what meanwhile.

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
pub(crate) struct Members(HashMap<String, Member>);

impl Known {
    /// What is known of each.
    pub(crate) fn parts(&mut self) -> [&mut Members; 2] {
        [&mut self.products, &mut self.lists]
    }

    /// The transaction that told of `dimensions` has committed.
    pub(crate) fn learn(&mut self, dimensions: [&Dimension; 2]) {
        for (known, dimension) in self.parts().into_iter().zip(dimensions) {
            known.learn(dimension);
        }
    }
}

impl Members {
    /// The members of which `dimension` tells something that was not told before.
    pub(super) fn news_of<'a>(&self, dimension: &'a Dimension) -> Vec<&'a Member> {
        let is_news = |member: &&Member| match self.0.get(&member.natural_key) {
            Some(known) => known.lacks(member),
            None => true,
        };
        dimension.members.iter().filter(is_news).collect()
    }

    /// The row is new, or was made anew: nothing of what was told is in it.
    pub(super) fn forget(&mut self, natural_key: &str) {
        self.0.remove(natural_key);
    }

    fn learn(&mut self, dimension: &Dimension) {
        for member in &dimension.members {
            match self.0.get_mut(&member.natural_key) {
                Some(known) => known.take_over(member),
                None => {
                    self.0.insert(member.natural_key.clone(), member.clone());
                }
            }
        }
        if self.0.len() > MOST {
            self.0.clear();
        }
    }
}
