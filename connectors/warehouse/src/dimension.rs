//! `dim_product` and `dim_list`: natural keys of members and the latest values of their attributes.
//!
//! Each attribute takes the newest value by the time of its event; an event without a value changes
//! nothing. Every attribute carries that time (`…_as_of`), and the greater value wins a tie, so
//! that the result depends on the events alone and not on their order or batches. Times are
//! truncated to the minute, so that popular members are not updated in every batch; of two values
//! within a minute the greater one wins. Events dated in the future only fill attributes without a
//! value: a broken clock must not decide on a product's name until its date comes.

mod member;
mod table;

use fact_model::Fact;
use hashbrown::HashMap;

pub use self::member::Seen;
use self::member::{Member, MemberCache, write_list_key, write_product_key};
use self::table::{Columns, LIST, PRODUCT, Table};
use crate::error::{Context, Error};
use crate::transaction::Transaction;

/// The key is "etl dims" in ASCII.
const LOCK: &str = "SELECT pg_advisory_xact_lock(x'65746c2064696d73'::bigint)";

/// The members of a dimension in a batch.
#[derive(Debug)]
pub struct Dimension {
    table: &'static Table,
    /// The index in `members` by natural key.
    index: HashMap<String, u32>,
    members: Vec<Member>,
    /// A buffer for natural keys.
    scratch: String,
}

/// The bytes of the products and the lists that a sink remembers: some ten thousand of each.
const PRODUCT_BYTES: usize = 12 << 20;
const LIST_BYTES: usize = 4 << 20;

/// The members of both dimensions that writers have committed recently.
#[derive(Debug)]
pub(crate) struct DimensionCache {
    products: MemberCache,
    lists: MemberCache,
}

impl Default for DimensionCache {
    fn default() -> Self {
        Self {
            products: MemberCache::new(PRODUCT_BYTES),
            lists: MemberCache::new(LIST_BYTES),
        }
    }
}

impl DimensionCache {
    /// The caches of products and of lists.
    pub(crate) fn parts(&self) -> [&MemberCache; 2] {
        [&self.products, &self.lists]
    }

    /// Adds the members of `dimensions` after their transaction has committed.
    pub(crate) fn add(&self, dimensions: [&Dimension; 2]) {
        for (cache, dimension) in self.parts().into_iter().zip(dimensions) {
            cache.add(&dimension.members);
        }
    }
}

impl Dimension {
    /// The dimension of products, without members.
    #[must_use]
    pub fn of_products() -> Self {
        Self::new(&PRODUCT)
    }

    /// The dimension of lists, without members.
    #[must_use]
    pub fn of_lists() -> Self {
        Self::new(&LIST)
    }

    fn new(table: &'static Table) -> Self {
        Self {
            table,
            index: HashMap::new(),
            members: Vec::new(),
            scratch: String::new(),
        }
    }

    /// The number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns true if it has no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Adds the product of `fact` and returns its index; `None` if the fact has none.
    pub(crate) fn add_product(&mut self, fact: &Fact<'_>, seen: Seen) -> Option<u32> {
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
        let attributes: [&[Option<&str>]; 4] = [&name, &brand, &categories, &variant];
        write_product_key(&mut self.scratch, id, &attributes);
        self.add(&[id], &attributes, seen)
    }

    /// Adds the list of `fact` and returns its index; `None` if the fact has none.
    pub(crate) fn add_list(&mut self, fact: &Fact<'_>, seen: Seen) -> Option<u32> {
        let [id, name] = [fact.list_id.as_deref(), fact.list_name.as_deref()];
        write_list_key(&mut self.scratch, id, name);
        self.add(&[id, name], &[], seen)
    }

    /// Adds the member whose natural key is in `scratch`. `identity` and `attributes` hold the
    /// values in the order of the table.
    fn add(
        &mut self,
        identity: &[Option<&str>],
        attributes: &[&[Option<&str>]],
        seen: Seen,
    ) -> Option<u32> {
        let key = std::mem::take(&mut self.scratch);
        let index = if key.is_empty() {
            None
        } else {
            Some(self.index_of(&key, identity))
        };
        self.scratch = key;
        let member = self.members.get_mut(index? as usize)?;
        member.update(attributes, seen);
        index
    }

    fn index_of(&mut self, natural_key: &str, identity: &[Option<&str>]) -> u32 {
        if let Some(index) = self.index.get(natural_key) {
            return *index;
        }
        // The size of a batch is limited far below four thousand million rows.
        let index = self.members.len() as u32;
        self.index.insert(natural_key.to_owned(), index);
        let attributes = self.table.attributes.iter();
        let columns = attributes.map(|attribute| attribute.columns.len());
        self.members
            .push(Member::new(natural_key, identity, columns));
        index
    }

    /// Finds the surrogate key of each member, and inserts new members. Returns `None` if a row was
    /// deleted meanwhile.
    pub(crate) async fn resolve(
        &self,
        transaction: &Transaction<'_>,
        cache: &MemberCache,
    ) -> Result<Option<Vec<i64>>, Error> {
        let mut keys = vec![None; self.members.len()];
        if keys.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let all: Vec<&Member> = self.members.iter().collect();
        self.find(transaction, &all, &mut keys).await?;
        let missing = self.without_key(&keys);
        if !missing.is_empty() {
            for member in &missing {
                cache.remove(&member.natural_key);
            }
            let columns = Columns::of(self.table, &missing);
            let rows = transaction
                .query(&self.table.statements().insert, &columns.params())
                .await
                .context("cannot insert into a dimension")?;
            self.set_keys(&rows, &mut keys);
            // Other transactions that inserted the rest have committed: the insert waited for them.
            let others = self.without_key(&keys);
            if !others.is_empty() {
                self.find(transaction, &others, &mut keys).await?;
            }
        }
        Ok(keys.into_iter().collect())
    }

    async fn update(&self, transaction: &Transaction<'_>, news: &[&Member]) -> Result<(), Error> {
        let columns = Columns::of(self.table, news);
        transaction
            .execute(&self.table.statements().update, &columns.params())
            .await
            .context("cannot update a dimension")?;
        Ok(())
    }

    async fn find(
        &self,
        transaction: &Transaction<'_>,
        members: &[&Member],
        keys: &mut [Option<i64>],
    ) -> Result<(), Error> {
        let members = members.iter();
        let names: Vec<&str> = members.map(|member| member.natural_key.as_str()).collect();
        let rows = transaction
            .query(&self.table.statements().find, &[&names])
            .await
            .context("cannot look up a dimension")?;
        self.set_keys(&rows, keys);
        Ok(())
    }

    fn set_keys(&self, rows: &[tokio_postgres::Row], keys: &mut [Option<i64>]) {
        for row in rows {
            let index = self.index.get(row.get::<_, &str>(0));
            if let Some(key) = index.and_then(|index| keys.get_mut(*index as usize)) {
                *key = Some(row.get(1));
            }
        }
    }

    /// The members without a key, in the order of their natural keys.
    fn without_key(&self, keys: &[Option<i64>]) -> Vec<&Member> {
        let all = self.members.iter().zip(keys);
        let missing = all.filter(|(_, key)| key.is_none());
        let mut members: Vec<_> = missing.map(|(member, _)| member).collect();
        members.sort_unstable_by(|left, right| left.natural_key.cmp(&right.natural_key));
        members
    }
}

/// Updates the rows of these dimensions for which the batch has newer values than the `cache`.
///
/// One transaction at a time does so, until it ends. Partitions side by side update the same
/// popular products and would wait for each other anyway: here they wait before they hold a row,
/// and can't deadlock.
pub(crate) async fn update(
    transaction: &Transaction<'_>,
    dimensions: [&Dimension; 2],
    cache: &DimensionCache,
) -> Result<(), Error> {
    let [products, lists] = cache.parts();
    let [of_products, of_lists] = dimensions;
    let all = [
        (of_products, products.news_of(&of_products.members)),
        (of_lists, lists.news_of(&of_lists.members)),
    ];
    if all.iter().all(|(_, news)| news.is_empty()) {
        return Ok(());
    }
    let locked = transaction.execute(LOCK, &[]).await;
    locked.context("cannot lock the dimensions")?;
    for (dimension, news) in all {
        if !news.is_empty() {
            dimension.update(transaction, &news).await?;
        }
    }
    Ok(())
}
