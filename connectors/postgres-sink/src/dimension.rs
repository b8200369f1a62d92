//! `dim_product` and `dim_list`: who is meant, and what is known of it.
//!
//! Each attribute takes the newest value by the time of the event that gave it; an event without a
//! value changes nothing. Because every attribute carries that time (`…_as_of`), and the greater
//! value wins a tie, the result depends on the events alone and not on the order or the batches in
//! which they arrive. Times are kept to the minute, so that what is popular is not written anew with every batch; of two
//! values within a minute the greater one wins. Events dated in the future only fill what nobody else has told: one broken
//! clock must not decide on a product's name until its date comes.

mod known;
mod member;
mod table;
mod values;

use fact_model::Fact;
use hashbrown::HashMap;

pub(crate) use self::known::Known;
use self::known::Members;
pub use self::member::Seen;
use self::member::{Member, write_list_key, write_product_key};
use self::table::{LIST, PRODUCT, Table};
use self::values::Values;
use crate::errors::{DatabaseError, Doing};
use crate::statements::Work;

/// "etl dims" in ASCII.
const ALONE: &str = "SELECT pg_advisory_xact_lock(x'65746c2064696d73'::bigint)";

/// The members of one dimension that a batch names, each once.
#[derive(Debug)]
pub struct Dimension {
    table: &'static Table,
    places: HashMap<String, u32>,
    members: Vec<Member>,
    scratch: String,
}

impl Dimension {
    /// Products, none yet.
    #[must_use]
    pub fn of_products() -> Self {
        Self::new(&PRODUCT)
    }

    /// Lists, none yet.
    #[must_use]
    pub fn of_lists() -> Self {
        Self::new(&LIST)
    }

    fn new(table: &'static Table) -> Self {
        Self {
            table,
            places: HashMap::new(),
            members: Vec::new(),
            scratch: String::new(),
        }
    }

    /// The number of members named.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether none is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Takes note of the product that `fact` names and returns its place; `None` if it names none.
    pub(crate) fn note_product(&mut self, fact: &Fact<'_>, seen: Seen) -> Option<u32> {
        let name = [fact.product_name.as_deref()];
        let brand = [fact.product_brand.as_deref()];
        let categories = [
            fact.product_category.as_deref(),
            fact.product_category2.as_deref(),
            fact.product_category3.as_deref(),
            fact.product_category4.as_deref(),
            fact.product_category5.as_deref(),
        ];
        let variant = [fact.product_variant.as_deref()];
        let id = fact.product_id.as_deref();
        let told: [&[Option<&str>]; 4] = [&name, &brand, &categories, &variant];
        write_product_key(&mut self.scratch, id, &told);
        self.note(&[id], &told, seen)
    }

    /// Takes note of the list that `fact` names and returns its place; `None` if it names none.
    pub(crate) fn note_list(&mut self, fact: &Fact<'_>, seen: Seen) -> Option<u32> {
        let [id, name] = [fact.list_id.as_deref(), fact.list_name.as_deref()];
        write_list_key(&mut self.scratch, id, name);
        self.note(&[id, name], &[], seen)
    }

    /// Takes note of the member whose natural key is in `scratch`. `identity` and `told` hold the values of the
    /// columns and attributes in the table's order.
    fn note(
        &mut self,
        identity: &[Option<&str>],
        told: &[&[Option<&str>]],
        seen: Seen,
    ) -> Option<u32> {
        let key = std::mem::take(&mut self.scratch);
        let place = if key.is_empty() {
            None
        } else {
            Some(self.place(&key, identity))
        };
        self.scratch = key;
        let member = self.members.get_mut(place? as usize)?;
        member.note(told, seen);
        place
    }

    fn place(&mut self, natural_key: &str, identity: &[Option<&str>]) -> u32 {
        if let Some(place) = self.places.get(natural_key) {
            return *place;
        }
        // A batch is bounded far below four thousand million rows.
        let place = self.members.len() as u32;
        self.places.insert(natural_key.to_owned(), place);
        let member = Member::new(natural_key, identity, self.table.attributes);
        self.members.push(member);
        place
    }

    /// The surrogate key of each member, by its place. Makes those that are new. `None` if one of
    /// them vanished meanwhile, because somebody deletes from the dimension.
    pub(crate) async fn resolve(
        &self,
        transaction: &Work<'_>,
        known: &Members,
    ) -> Result<Option<Vec<i64>>, DatabaseError> {
        let mut keys = vec![None; self.members.len()];
        if keys.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let all: Vec<&Member> = self.members.iter().collect();
        self.find(transaction, &all, &mut keys).await?;
        let missing = self.without_key(&keys);
        if !missing.is_empty() {
            for member in &missing {
                known.forget(&member.natural_key);
            }
            let values = Values::of(self.table, &missing);
            let rows = transaction
                .query(&self.table.statements().insert, &values.params())
                .await
                .doing("cannot insert into a dimension")?;
            self.take_keys(&rows, &mut keys);
            // Whoever inserted the others meanwhile has committed: the insert above waited for it.
            let others = self.without_key(&keys);
            if !others.is_empty() {
                self.find(transaction, &others, &mut keys).await?;
            }
        }
        Ok(keys.into_iter().collect())
    }

    async fn update(&self, transaction: &Work<'_>, news: &[&Member]) -> Result<(), DatabaseError> {
        let values = Values::of(self.table, news);
        transaction
            .execute(&self.table.statements().update, &values.params())
            .await
            .doing("cannot update a dimension")?;
        Ok(())
    }

    async fn find(
        &self,
        transaction: &Work<'_>,
        members: &[&Member],
        keys: &mut [Option<i64>],
    ) -> Result<(), DatabaseError> {
        let names: Vec<&str> = members
            .iter()
            .map(|member| member.natural_key.as_str())
            .collect();
        let rows = transaction
            .query(&self.table.statements().find, &[&names])
            .await
            .doing("cannot look up a dimension")?;
        self.take_keys(&rows, keys);
        Ok(())
    }

    fn take_keys(&self, rows: &[tokio_postgres::Row], keys: &mut [Option<i64>]) {
        for row in rows {
            let place = self.places.get(row.get::<_, &str>(0));
            if let Some(key) = place.and_then(|place| keys.get_mut(*place as usize)) {
                *key = Some(row.get(1));
            }
        }
    }

    fn without_key(&self, keys: &[Option<i64>]) -> Vec<&Member> {
        let missing = self
            .members
            .iter()
            .zip(keys)
            .filter(|(_, key)| key.is_none());
        self.in_order(missing.map(|(member, _)| member))
    }

    fn in_order<'a>(&self, members: impl Iterator<Item = &'a Member>) -> Vec<&'a Member> {
        let mut members: Vec<_> = members.collect();
        members.sort_unstable_by(|left, right| left.natural_key.cmp(&right.natural_key));
        members
    }
}

/// Writes what a batch tells anew of the members of these dimensions, beyond what is `known`, in rows that change.
///
/// First it waits until no other transaction does so; from then on none does until this one ends. Partitions side by side
/// tell of the same popular products, so they would wait for each other anyhow: here each does before it holds a row, and
/// not in a circle.
pub(crate) async fn update(
    transaction: &Work<'_>,
    dimensions: [&Dimension; 2],
    known: &Known,
) -> Result<(), DatabaseError> {
    let [products, lists] = known.parts();
    let [of_products, of_lists] = dimensions;
    let all = [
        (of_products, products.news_of(of_products)),
        (of_lists, lists.news_of(of_lists)),
    ];
    if all.iter().all(|(_, news)| news.is_empty()) {
        return Ok(());
    }
    transaction
        .execute(ALONE, &[])
        .await
        .doing("cannot lock the dimensions")?;
    for (dimension, news) in all {
        if !news.is_empty() {
            dimension.update(transaction, &news).await?;
        }
    }
    Ok(())
}
