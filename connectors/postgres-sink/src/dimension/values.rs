//! Members as the statements of a dimension take them.

use chrono::{DateTime, Utc};
use tokio_postgres::types::ToSql;

use super::member::Member;
use super::table::Table;

/// The members as arrays for `unnest`, one for each column.
pub(super) struct Values<'a> {
    texts: Vec<Vec<Option<&'a str>>>,
    times: Vec<Vec<Option<DateTime<Utc>>>>,
}

impl<'a> Values<'a> {
    pub(super) fn of(table: &Table, members: &[&'a Member]) -> Self {
        let time = |micros: Option<i64>| micros.and_then(DateTime::from_timestamp_micros);
        let natural_key = |member: &&'a Member| Some(member.natural_key.as_str());
        let mut texts: Vec<Vec<Option<&str>>> = vec![members.iter().map(natural_key).collect()];
        for column in 0..table.identity.len() {
            let value = |member: &&'a Member| member.identity.get(column)?.as_deref();
            texts.push(members.iter().map(value).collect());
        }
        let mut times = Vec::new();
        for (place, attribute) in table.attributes.iter().enumerate() {
            let told = |member: &&'a Member| member.attributes.get(place);
            for column in 0..attribute.columns.len() {
                let value =
                    |member| told(member).and_then(|told| told.values.get(column)?.as_deref());
                texts.push(members.iter().map(value).collect());
            }
            times.push(
                members
                    .iter()
                    .map(|member| time(told(member).and_then(|told| told.as_of)))
                    .collect(),
            );
        }
        times.push(
            members
                .iter()
                .map(|member| time(member.first_seen))
                .collect(),
        );
        times.push(
            members
                .iter()
                .map(|member| time(member.last_seen))
                .collect(),
        );
        Self { texts, times }
    }

    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        let texts = self
            .texts
            .iter()
            .map(|column| column as &(dyn ToSql + Sync));
        texts
            .chain(
                self.times
                    .iter()
                    .map(|column| column as &(dyn ToSql + Sync)),
            )
            .collect()
    }
}
