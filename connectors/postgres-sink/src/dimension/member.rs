//! A member of a dimension: the natural key that it goes by, and the newest that was told of it.
//!
//! `table` has the same order of what is newer in SQL, for what other batches have told.

use super::table::Attribute;

/// In microseconds.
const MINUTE: i64 = 60_000_000;

#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    pub(super) natural_key: String,
    /// The values of the columns that tell members apart.
    pub(super) identity: Vec<Option<String>>,
    pub(super) attributes: Vec<Told>,
    pub(super) first_seen: Option<i64>,
    pub(super) last_seen: Option<i64>,
}

/// An attribute's values, and when they were told: microseconds since the Unix epoch, `None` for
/// events dated in the future.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) as_of: Option<i64>,
    pub(super) values: Vec<Option<String>>,
}

/// When an event happened, to the minute, as far as its clock can be believed.
#[derive(Clone, Copy, Debug)]
pub struct Seen(Option<i64>);

impl Seen {
    /// `time` and `horizon` in microseconds since the Unix epoch; what is behind the horizon is in the future.
    #[must_use]
    pub fn at(time: i64, horizon: i64) -> Self {
        Self((time <= horizon).then_some(time - time.rem_euclid(MINUTE)))
    }
}

/// Writes the natural key of a product by the rule that the comment on the column states. `told` holds the
/// attributes, the name first. Leaves `key` empty if nothing is named.
pub(super) fn write_product_key(key: &mut String, id: Option<&str>, told: &[&[Option<&str>]]) {
    key.clear();
    let mut told = told.iter().copied().flatten();
    let name = told.next().copied().flatten();
    if let Some(id) = id {
        key.push_str("id:");
        key.push_str(id);
    } else if let Some(name) = name {
        key.push_str("name:");
        key.push_str(name);
    } else if told.clone().any(Option::is_some) {
        key.push_str("is:");
        for value in told {
            key.push_str(value.unwrap_or_default());
            key.push('\u{1f}');
        }
    }
}

/// Writes the natural key of a list by the rule that the comment on the column states. Leaves `key` empty if
/// nothing is named.
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
    /// One of which nothing is told yet.
    pub(super) fn new(
        natural_key: &str,
        identity: &[Option<&str>],
        attributes: &[Attribute],
    ) -> Self {
        let nothing = |attribute: &Attribute| Told {
            as_of: None,
            values: vec![None; attribute.columns.len()],
        };
        Self {
            natural_key: natural_key.to_owned(),
            identity: identity.iter().map(|id| id.map(str::to_owned)).collect(),
            attributes: attributes.iter().map(nothing).collect(),
            first_seen: None,
            last_seen: None,
        }
    }

    pub(super) fn note(&mut self, told: &[&[Option<&str>]], Seen(time): Seen) {
        for (known, values) in self.attributes.iter_mut().zip(told) {
            if values.iter().any(Option::is_some) {
                known.learn(values, time);
            }
        }
        if let Some(time) = time {
            self.see(time);
        }
    }

    fn see(&mut self, time: i64) {
        self.first_seen = Some(self.first_seen.map_or(time, |first| first.min(time)));
        self.last_seen = self.last_seen.max(Some(time));
    }

    /// Whether `other` tells something that this does not.
    pub(super) fn lacks(&self, other: &Self) -> bool {
        let is_earlier = match (self.first_seen, other.first_seen) {
            (Some(known), Some(told)) => told < known,
            (known, told) => known.is_none() && told.is_some(),
        };
        let mut attributes = self.attributes.iter().zip(&other.attributes);
        is_earlier
            || other.last_seen > self.last_seen
            || attributes.any(|(known, told)| known.lacks(told))
    }

    /// Takes over what `other` tells beyond this.
    pub(super) fn take_over(&mut self, other: &Self) {
        for (known, told) in self.attributes.iter_mut().zip(&other.attributes) {
            if known.lacks(told) {
                known.clone_from(told);
            }
        }
        for time in [other.first_seen, other.last_seen].into_iter().flatten() {
            self.see(time);
        }
    }
}

impl Told {
    fn learn(&mut self, values: &[Option<&str>], as_of: Option<i64>) {
        let known = || self.values.iter().map(Option::as_deref);
        let told = || values.iter().copied();
        if as_of < self.as_of || as_of == self.as_of && told().le(known()) {
            return;
        }
        // Mostly an event tells what is known already, only later.
        if !told().eq(known()) {
            self.values = told().map(|value| value.map(str::to_owned)).collect();
        }
        self.as_of = as_of;
    }

    fn lacks(&self, other: &Self) -> bool {
        (other.as_of, &other.values) > (self.as_of, &self.values)
    }
}
