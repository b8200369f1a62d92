//! Somebody's rows, as `etl erase` finds them in PostgreSQL.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::Array as _;
use chrono::NaiveDate;
use futures_util::TryStreamExt as _;
use iceberg::expr::{Predicate, Reference};
use iceberg::spec::Datum;
use iceberg::table::Table;

use crate::error::Error;
use crate::maintenance::rows::{Columns, day_of, read};
use crate::schema::FACTS;

const USER: &str = "user_id";
const DEVICE: &str = "user_pseudo_id";

/// A person's ids.
#[derive(Clone, Debug, Default)]
pub struct Person {
    /// Ids of users.
    pub users: Vec<String>,
    /// Ids of devices, with the facts of all users.
    pub devices: Vec<String>,
    /// Ids of devices, with the facts of no user only.
    pub linked: Vec<String>,
}

impl Person {
    /// The ids that are a person: a user's, or a device's without a user.
    pub fn ids(&self) -> impl Iterator<Item = &String> {
        let Self {
            users,
            devices,
            linked,
        } = self;
        users.iter().chain(devices).chain(linked)
    }

    fn predicate(&self) -> Predicate {
        let is_in = |column: &str, ids: &mut dyn Iterator<Item = &String>| {
            Reference::new(column).is_in(ids.map(Datum::string))
        };
        let mine = is_in(USER, &mut self.ids());
        let nobodys = is_in(DEVICE, &mut self.ids()).and(Reference::new(USER).is_null());
        let mine = mine.or(nobodys);
        if self.devices.is_empty() {
            return mine;
        }
        mine.or(is_in(DEVICE, &mut self.devices.iter()))
    }

    /// The number of the person's rows in the table of facts by day (UTC).
    ///
    /// # Errors
    /// The storage failed.
    pub async fn count(&self, table: &Table) -> Result<BTreeMap<NaiveDate, u64>, Error> {
        let mut batches = read(table, &[FACTS.time], Some(self.predicate())).await?;
        let mut days = BTreeMap::new();
        while let Some(batch) = batches.try_next().await.map_err(Error::from)? {
            let columns = Columns {
                table,
                batch: &batch,
            };
            for time in columns.times(FACTS.time)?.iter().flatten() {
                *days.entry(day_of(time).unwrap_or_default()).or_default() += 1;
            }
        }
        Ok(days)
    }
}

/// The devices on which the users were signed in, with the number of other users there.
///
/// # Errors
/// The storage failed.
pub async fn devices(table: &Table, users: &[String]) -> Result<BTreeMap<String, usize>, Error> {
    if users.is_empty() {
        return Ok(BTreeMap::new());
    }
    let signed_in = Reference::new(USER).is_in(users.iter().map(Datum::string));
    let own = pairs(table, signed_in.and(Reference::new(DEVICE).is_not_null())).await?;
    let devices: BTreeSet<String> = own.into_iter().map(|(device, _)| device).collect();
    if devices.is_empty() {
        return Ok(BTreeMap::new());
    }
    let on_them = Reference::new(DEVICE).is_in(devices.iter().map(Datum::string));
    let on_them = pairs(table, on_them.and(Reference::new(USER).is_not_null())).await?;
    let mut found: BTreeMap<String, usize> =
        devices.into_iter().map(|device| (device, 0)).collect();
    for (device, user) in on_them {
        if !users.contains(&user) {
            *found.entry(device).or_default() += 1;
        }
    }
    Ok(found)
}

/// The distinct devices and users of some rows.
async fn pairs(table: &Table, predicate: Predicate) -> Result<BTreeSet<(String, String)>, Error> {
    let mut batches = read(table, &[USER, DEVICE], Some(predicate)).await?;
    let mut found = BTreeSet::new();
    while let Some(batch) = batches.try_next().await.map_err(Error::from)? {
        let columns = Columns {
            table,
            batch: &batch,
        };
        for (user, device) in columns.texts(USER)?.iter().zip(columns.texts(DEVICE)?) {
            if let (Some(user), Some(device)) = (user, device) {
                found.insert((device.to_owned(), user.to_owned()));
            }
        }
    }
    Ok(found)
}

/// The topics, partitions and offsets of the records in whose texts `is_wanted` finds something.
/// `columns` are columns of text of a table of rejected events or records.
///
/// # Errors
/// The storage failed.
pub async fn records(
    table: &Table,
    columns: &[&str],
    is_wanted: impl Fn(&str) -> bool,
) -> Result<BTreeSet<(String, i32, i64)>, Error> {
    let selected = [
        columns,
        &["source_topic", "source_partition", "source_offset"],
    ]
    .concat();
    let mut batches = read(table, &selected, None).await?;
    let mut found = BTreeSet::new();
    while let Some(batch) = batches.try_next().await.map_err(Error::from)? {
        let all = Columns {
            table,
            batch: &batch,
        };
        let texts = columns.iter().map(|name| all.texts(name));
        let texts: Vec<_> = texts.collect::<Result<_, _>>()?;
        let topics = all.texts("source_topic")?.iter();
        let places = topics.zip(all.partitions()?).zip(all.offsets()?);
        for (row, place) in places.enumerate() {
            let mut texts = texts.iter();
            if let ((Some(topic), Some(partition)), Some(offset)) = place
                && texts.any(|text| text.is_valid(row) && is_wanted(text.value(row)))
            {
                found.insert((topic.to_owned(), partition, offset));
            }
        }
    }
    Ok(found)
}
