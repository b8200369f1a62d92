//! Members of a dimension: their natural key and their latest values, and a cache of them.
//!
//! `table` has the same order of newer values in SQL, to compare with the values of other batches.

use std::sync::{Mutex, MutexGuard, PoisonError};

use fact_model::cut_text;
use hashbrown::HashMap;

/// In microseconds.
const MINUTE: i64 = 60_000_000;
/// The limit of the column `natural_key`. Only a key of seven attributes can be longer.
const LONGEST_KEY: usize = 2048;
/// The estimated bytes of a member in the cache, and of each of its texts, besides the characters:
/// structs, and what the allocator adds to them.
const MEMBER_BYTES: usize = 320;
const TEXT_BYTES: usize = 40;

#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    pub(super) natural_key: String,
    /// The columns that distinguish members.
    pub(super) identity: Vec<Option<String>>,
    pub(super) attributes: Vec<Values>,
    pub(super) first_seen: Option<i64>,
    pub(super) last_seen: Option<i64>,
}

/// The values of an attribute, and the time of their event in microseconds since the Unix epoch;
/// `None` for events dated in the future.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    pub(super) as_of: Option<i64>,
    pub(super) values: Vec<Option<String>>,
}

/// The time of an event, truncated to the minute; `None` if it is in the future.
#[derive(Clone, Copy, Debug)]
pub struct Seen(Option<i64>);

impl Seen {
    /// `time` and `horizon` are microseconds since the Unix epoch. Times after the horizon are in
    /// the future.
    #[must_use]
    pub fn at(time: i64, horizon: i64) -> Self {
        Self((time <= horizon).then_some(time - time.rem_euclid(MINUTE)))
    }
}

/// Writes the natural key of a product by the rule in the comment on the column. The name is first
/// in `attributes`. Leaves `key` empty if all are `None`.
pub(super) fn write_product_key(
    key: &mut String,
    id: Option<&str>,
    attributes: &[&[Option<&str>]],
) {
    key.clear();
    let mut values = attributes.iter().copied().flatten();
    let name = values.next().copied().flatten();
    if let Some(id) = id {
        key.push_str("id:");
        key.push_str(id);
    } else if let Some(name) = name {
        key.push_str("name:");
        key.push_str(name);
    } else if values.clone().any(Option::is_some) {
        key.push_str("is:");
        for value in values {
            key.push_str(value.unwrap_or_default());
            key.push('\u{1f}');
        }
        if let Some(cut) = cut_text(key, LONGEST_KEY) {
            *key = cut;
        }
    }
}

/// Writes the natural key of a list by the rule in the comment on the column. Leaves `key` empty if
/// both are `None`.
pub(super) fn write_list_key(key: &mut String, id: Option<&str>, name: Option<&str>) {
    key.clear();
    for (prefix, text) in [("id:", id), ("name:", name)] {
        if let Some(text) = text {
            if !key.is_empty() {
                key.push('\u{1f}');
            }
            key.push_str(prefix);
            key.push_str(text);
        }
    }
}

impl Member {
    /// A member without values. `attributes` are the numbers of columns of each attribute.
    pub(super) fn new(
        natural_key: &str,
        identity: &[Option<&str>],
        attributes: impl Iterator<Item = usize>,
    ) -> Self {
        let empty = |columns: usize| Values {
            as_of: None,
            values: vec![None; columns],
        };
        Self {
            natural_key: natural_key.to_owned(),
            identity: identity.iter().map(|id| id.map(str::to_owned)).collect(),
            attributes: attributes.map(empty).collect(),
            first_seen: None,
            last_seen: None,
        }
    }

    pub(super) fn update(&mut self, attributes: &[&[Option<&str>]], Seen(time): Seen) {
        for (current, values) in self.attributes.iter_mut().zip(attributes) {
            if values.iter().any(Option::is_some) {
                current.update(values, time);
            }
        }
        if let Some(time) = time {
            self.see(time);
        }
    }

    /// The estimated memory of the member and its key in the cache.
    fn bytes(&self) -> usize {
        let attributes = self.attributes.iter().flat_map(|values| &values.values);
        let texts = self.identity.iter().chain(attributes);
        let lengths = texts.map(|text| TEXT_BYTES + text.as_ref().map_or(0, String::len));
        MEMBER_BYTES + 2 * self.natural_key.len() + lengths.sum::<usize>()
    }

    fn see(&mut self, time: i64) {
        self.first_seen = Some(self.first_seen.map_or(time, |first| first.min(time)));
        self.last_seen = self.last_seen.max(Some(time));
    }

    /// Returns true if `other` has newer values, or an earlier first or a later last time.
    fn is_behind(&self, other: &Self) -> bool {
        let is_earlier = match (self.first_seen, other.first_seen) {
            (Some(ours), Some(theirs)) => theirs < ours,
            (ours, theirs) => ours.is_none() && theirs.is_some(),
        };
        let mut attributes = self.attributes.iter().zip(&other.attributes);
        is_earlier
            || other.last_seen > self.last_seen
            || attributes.any(|(ours, theirs)| ours.is_behind(theirs))
    }

    /// Takes the newer values and times of `other`.
    fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.attributes.iter_mut().zip(&other.attributes) {
            if ours.is_behind(theirs) {
                ours.clone_from(theirs);
            }
        }
        for time in [other.first_seen, other.last_seen].into_iter().flatten() {
            self.see(time);
        }
    }
}

impl Values {
    fn update(&mut self, values: &[Option<&str>], as_of: Option<i64>) {
        let current = || self.values.iter().map(Option::as_deref);
        let new = || values.iter().copied();
        if as_of < self.as_of || as_of == self.as_of && new().le(current()) {
            return;
        }
        // Most events have the current values and a later time.
        if !new().eq(current()) {
            self.values = new().map(|value| value.map(str::to_owned)).collect();
        }
        self.as_of = as_of;
    }

    fn is_behind(&self, other: &Self) -> bool {
        (other.as_of, &other.values) > (self.as_of, &self.values)
    }
}

/// The members of a dimension that writers have committed, by natural key, so that a batch doesn't
/// write their values again.
///
/// A value in the table can only be replaced by a newer one, a time by an earlier first or a later
/// last one. So a committed value needs no further write, whatever others have written meanwhile.
#[derive(Debug)]
pub(crate) struct MemberCache {
    /// The cache is cleared when it takes more.
    max_bytes: usize,
    cached: Mutex<Cached>,
}

#[derive(Debug, Default)]
struct Cached {
    members: HashMap<String, Member>,
    bytes: usize,
}

impl MemberCache {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            cached: Mutex::default(),
        }
    }

    /// The members that have something newer than the cache.
    pub(super) fn news_of<'a>(&self, members: &'a [Member]) -> Vec<&'a Member> {
        let cached = self.lock();
        let is_news = |member: &&Member| match cached.members.get(&member.natural_key) {
            Some(known) => known.is_behind(member),
            None => true,
        };
        members.iter().filter(is_news).collect()
    }

    /// Removes a member whose row is new, and so lacks the committed values.
    pub(super) fn remove(&self, natural_key: &str) {
        let mut cached = self.lock();
        if let Some(member) = cached.members.remove(natural_key) {
            cached.bytes = cached.bytes.saturating_sub(member.bytes());
        }
    }

    pub(super) fn add(&self, members: &[Member]) {
        let mut cached = self.lock();
        for member in members {
            cached.add(member);
            if cached.bytes > self.max_bytes {
                *cached = Cached::default();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Cached> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cached {
    fn add(&mut self, member: &Member) {
        match self.members.get_mut(&member.natural_key) {
            Some(known) if known.is_behind(member) => {
                let before = known.bytes();
                known.merge(member);
                self.bytes = (self.bytes + known.bytes()).saturating_sub(before);
            }
            Some(_) => {}
            None => {
                self.bytes += member.bytes();
                let natural_key = member.natural_key.clone();
                self.members.insert(natural_key, member.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn named(number: usize, name: &str) -> Member {
        let key = format!("id:{number}");
        let mut member = Member::new(&key, &[Some(key.as_str())], [1].into_iter());
        member.update(&[&[Some(name)]], Seen::at(0, 0));
        member
    }

    #[test]
    fn a_cache_of_long_names_stays_within_its_bytes() {
        let cache = MemberCache::new(4 * MIB);
        let long = "x".repeat(240_000);
        let mut most = 0;
        for number in 0..1000 {
            cache.add(&[named(number, &long)]);
            let cached = cache.lock();
            let texts: usize = cached.members.values().map(Member::bytes).sum();
            assert_eq!(cached.bytes, texts);
            most = most.max(texts);
        }
        assert!((3 * MIB..=4 * MIB).contains(&most), "{most}");

        // A name that grows, and a member that goes.
        cache.add(&[named(1000, "short")]);
        cache.add(&[named(1000, &long)]);
        cache.remove("id:1000");
        let cached = cache.lock();
        let texts: usize = cached.members.values().map(Member::bytes).sum();
        assert_eq!(cached.bytes, texts);
    }

    #[test]
    fn thousands_of_ordinary_members_are_remembered() {
        let cache = MemberCache::new(4 * MIB);
        let members: Vec<Member> = (0..5000)
            .map(|number| named(number, "A name of ordinary length"))
            .collect();
        cache.add(&members);
        assert_eq!(cache.news_of(&members).len(), 0);
        let renamed = named(7, "A name that sorts behind the other");
        assert_eq!(cache.news_of(&[renamed]).len(), 1);
    }
}
