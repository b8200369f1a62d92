//! The people that `etl erase` and `etl export` are asked for, and the places of their data: facts,
//! rejected events, and the tables of the schema `analytics` that have a person in a column.

mod payload;

use anyhow::{Context, ensure};
use futures_util::{TryStreamExt, pin_mut};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

pub use self::payload::Ids;
use crate::display::{self, counted};

/// The condition for facts, with [`Subject::params`] as `$1` to `$3`: those of the person that the
/// schema `analytics` counts, and those of the devices.
pub const FACTS: &str = "\
    (coalesce(user_id, user_pseudo_id) = ANY ($1::text[] || $2::text[] || $3::text[]) \
     OR user_pseudo_id = ANY ($2::text[]))";

/// The devices on which users were signed in, with the number of other users there.
const LINKED: &str = "\
    WITH seen AS MATERIALIZED ( \
        SELECT DISTINCT s.user_pseudo_id, s.user_id \
        FROM analytics.sign_ins('-infinity', 'infinity') s) \
    SELECT o.user_pseudo_id, count(*) FILTER (WHERE o.user_id <> ALL ($1::text[])) FROM seen o \
    WHERE o.user_pseudo_id IN (SELECT s.user_pseudo_id FROM seen s \
                               WHERE s.user_id = ANY ($1::text[])) \
      AND o.user_pseudo_id <> ALL ($2::text[]) \
    GROUP BY 1 ORDER BY 1";

/// The tables of aggregates with a person in a column, and the condition for their rows. Found in
/// the catalogue, so that a new table is not forgotten.
const AGGREGATES: &str = "\
    SELECT c.oid::regclass::text, \
           EXISTS (SELECT FROM pg_attribute h WHERE h.attrelid = c.oid AND h.attname = 'hour'), \
           string_agg(coalesce(a.condition, 'unknown'), ' OR ' ORDER BY a.attnum), \
           bool_and(a.condition IS NOT NULL) \
    FROM pg_class c, \
         LATERAL (SELECT a.attnum, CASE a.attname || ' ' || format_type(a.atttypid, NULL) \
                      WHEN 'person bigint' THEN format('person = ANY (%L::bigint[])', \
                          ARRAY(SELECT analytics.person_of(i, NULL) \
                                FROM unnest($1::text[] || $2::text[] || $3::text[]) i)) \
                      WHEN 'person text' THEN format('person = ANY (%L::text[])', \
                          $1::text[] || $2::text[] || $3::text[]) \
                      WHEN 'visitor bigint' THEN format('visitor = ANY (%L::bigint[])', \
                          ARRAY(SELECT analytics.visitor_of(i, NULL, NULL) \
                                FROM unnest($2::text[]) i)) \
                      WHEN 'user_id text' THEN format('user_id = ANY (%L::text[])', \
                          $1::text[] || $2::text[] || $3::text[]) \
                      WHEN 'user_pseudo_id text' \
                          THEN format('user_pseudo_id = ANY (%L::text[])', $2::text[]) \
                  END AS condition \
                  FROM pg_attribute a \
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
                    AND a.attname IN ('person', 'visitor', 'user_id', 'user_pseudo_id')) a \
    WHERE c.relnamespace = 'analytics'::regnamespace AND c.relkind = 'r' \
    GROUP BY c.oid ORDER BY 1";

/// The ids that a command is called with.
#[derive(clap::Args)]
pub struct Asked {
    /// The id of a signed-in user; may be given several times
    #[arg(long = "user", value_name = "ID")]
    users: Vec<String>,
    /// The id of an app installation or browser, whoever is signed in on it; may be given several
    /// times
    #[arg(long = "user-pseudo-id", value_name = "ID")]
    devices: Vec<String>,
    /// Also facts without a signed-in user, of the devices that the users were signed in on
    #[arg(long)]
    linked: bool,
}

/// A device on which one of the users was signed in.
pub struct Link {
    /// Its id.
    pub user_pseudo_id: String,
    /// The number of other users who were signed in on it.
    pub other_users: i64,
}

/// People by their ids.
#[derive(Default)]
pub struct Subject {
    /// Ids of users.
    pub users: Vec<String>,
    /// Ids of devices, with the facts of all users.
    pub devices: Vec<String>,
    /// Ids of devices, with the facts of no user only.
    pub linked: Vec<String>,
}

/// A table of aggregates with a person in a column.
pub struct Aggregate {
    /// Its name, quoted.
    pub table: String,
    /// True if its rows belong to an hour, false if to a day.
    pub is_hourly: bool,
    /// The condition for the rows of a [`Subject`].
    pub condition: String,
}

impl Asked {
    /// The people asked for, and the devices on which they were signed in.
    ///
    /// # Errors
    /// Fails if no id is given, or the database does.
    pub async fn find(&self, client: &Client) -> anyhow::Result<(Subject, Vec<Link>)> {
        self.ids()?;
        let rows = client.query(LINKED, &[&self.users, &self.devices]).await;
        let links: Vec<Link> = rows
            .context("cannot look up the devices of the users")?
            .iter()
            .map(|row| Link {
                user_pseudo_id: row.get(0),
                other_users: row.get(1),
            })
            .collect();
        let linked = links.iter().filter(|_| self.linked);
        let subject = Subject {
            users: self.users.clone(),
            devices: self.devices.clone(),
            linked: linked.map(|link| link.user_pseudo_id.clone()).collect(),
        };
        Ok((subject, links))
    }

    /// The ids of users and of devices.
    ///
    /// # Errors
    /// Fails if no id is given.
    pub fn ids(&self) -> anyhow::Result<(&[String], &[String])> {
        let mut ids = self.users.iter().chain(&self.devices);
        ensure!(
            ids.clone().next().is_some() && ids.all(|id| !id.is_empty()),
            "name somebody with --user ID or --user-pseudo-id ID"
        );
        Ok((&self.users, &self.devices))
    }

    /// True with `--linked`.
    pub fn includes_linked(&self) -> bool {
        self.linked
    }

    /// Prints the devices that the users were signed in on.
    pub fn print_links(&self, links: &[Link]) {
        for link in links {
            let id = display::terminal(&link.user_pseudo_id, 200);
            let shared = match link.other_users {
                0 => String::new(),
                others => format!(
                    "; {}, too, whose facts are left out",
                    counted(others.unsigned_abs(), "other user")
                ),
            };
            let included = if self.linked {
                "included"
            } else {
                "left out without --linked"
            };
            errln!("was signed in on the device {id} ({included}{shared})");
        }
    }
}

impl Subject {
    /// The parameters of [`FACTS`].
    pub fn params(&self) -> [&(dyn ToSql + Sync); 3] {
        [&self.users, &self.devices, &self.linked]
    }

    /// True if it has no ids.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.devices.is_empty() && self.linked.is_empty()
    }

    /// The tables of aggregates with a person in a column.
    ///
    /// # Errors
    /// Fails if such a column has an unknown type, or the database does.
    pub async fn aggregates(&self, client: &Client) -> anyhow::Result<Vec<Aggregate>> {
        let rows = client.query(AGGREGATES, &self.params()).await?;
        let mut aggregates = Vec::with_capacity(rows.len());
        for row in &rows {
            let table: String = row.get(0);
            ensure!(
                row.get::<_, bool>(3),
                "the table {table} is of another version of etl; use the one that migrated it"
            );
            aggregates.push(Aggregate {
                table,
                is_hourly: row.get(1),
                condition: row.get(2),
            });
        }
        Ok(aggregates)
    }

    /// The numbers of the rejected events in whose payload or detail an id occurs as a word.
    ///
    /// # Errors
    /// Fails if the database does.
    pub async fn rejected(&self, client: &Client) -> anyhow::Result<Vec<i64>> {
        let all = [&self.users, &self.devices, &self.linked];
        let ids = Ids::new(all.into_iter().flatten());
        let query = "SELECT id, raw, concat_ws(' ', detail, at_path, source_key) \
                     FROM rejected_events ORDER BY id";
        let rows = client.query_raw(query, std::iter::empty::<&str>()).await?;
        pin_mut!(rows);
        let mut found = Vec::new();
        while let Some(row) = rows.try_next().await? {
            if ids.occur_in(row.get(1)) || ids.occur_in(row.get(2)) {
                found.push(row.get(0));
            }
        }
        Ok(found)
    }
}
