//! Reads everything a report says, in one transaction: its numbers are of one moment and agree with each other,
//! however fast facts come in.

use anyhow::Context;
use chrono::{DateTime, NaiveDate, Utc};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use crate::report::catalogue::{
    DAYS, DUPLICATES, FUNNEL, LATENESS, LISTS, Least, MONEY, PRODUCTS, PROMOTIONS, REJECTED,
    REVENUE, SESSIONS, Spec,
};
use crate::report::days::Range;
use crate::report::format;
use crate::report::positions::{self, Positions};
use crate::report::summary::{self, Parts, Tile};
use crate::report::table::{Cell, Kind, Table};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The first UTC day.
    pub from: Option<NaiveDate>,
    /// The last one.
    pub to: Option<NaiveDate>,
    /// Products that a list has to have shown for its rates to count.
    pub min_impressions: i64,
    /// People who have to have viewed a product for its rates to count.
    pub min_viewers: i64,
    /// How long a query may take, as PostgreSQL writes it.
    pub timeout: String,
}

/// Everything that a report says.
pub struct Figures {
    pub database: String,
    pub read_at: DateTime<Utc>,
    pub range: Range,
    pub totals: Totals,
    pub funnel: Table,
    pub days: Table,
    pub money: Table,
    pub revenue: Table,
    pub lists: Table,
    pub products: Table,
    pub positions: Positions,
    pub sessions: Table,
    pub promotions: Table,
    pub rejected: Table,
    pub late: Table,
    pub duplicates: Table,
    before: Option<Before>,
}

/// As many days before the range.
struct Before {
    range: Range,
    totals: Totals,
    money: Table,
    sessions: Table,
}

impl Figures {
    /// The range in a few numbers, each with its change.
    pub fn tiles(&self) -> Vec<Tile> {
        let now = Parts {
            totals: &self.totals,
            sessions: &self.sessions,
            money: &self.money,
        };
        let before = self.before.as_ref().map(|before| Parts {
            totals: &before.totals,
            sessions: &before.sessions,
            money: &before.money,
        });
        summary::tiles(now, before)
    }

    /// The days that the changes are against, in words.
    pub fn compared_with(&self) -> Option<String> {
        let range = self.before.as_ref()?.range;
        Some(format!(
            "the days before, {}",
            format::days(range.from, range.to)
        ))
    }
}

/// The range in a line.
pub struct Totals {
    pub people: i64,
    pub events: i64,
    pub facts: i64,
}

/// Reads everything, and leaves the connection as it was.
///
/// # Errors
/// No facts are there, or the server's own.
pub async fn read(client: &Client, wanted: &Wanted) -> anyhow::Result<Figures> {
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;
    let figures = read_all(client, wanted).await;
    // Nothing was written: there is nothing that could fail to be undone.
    let ended = client.batch_execute("ROLLBACK").await;
    let figures = figures?;
    ended?;
    Ok(figures)
}

async fn read_all(client: &Client, wanted: &Wanted) -> anyhow::Result<Figures> {
    // Autovacuum never analyses a partitioned table as a whole, and new ones not at once: without statistics the planner
    // would walk all facts once for each of them. Every query here reads the range from end to end.
    client
        .query_one(
            "SELECT set_config('statement_timeout', $1, true), set_config('timezone', 'UTC', true), \
                    set_config('enable_nestloop', 'off', true), set_config('jit', 'off', true)",
            &[&wanted.timeout],
        )
        .await?;
    let about = client
        .query_one("SELECT current_database()::text, now()", &[])
        .await?;
    let range = Range::find(client, wanted.from, wanted.to).await?;
    let reading = Reading {
        client,
        range,
        wanted,
    };
    Ok(Figures {
        database: about.try_get(0)?,
        read_at: about.try_get(1)?,
        range,
        totals: reading.totals().await?,
        funnel: reading.table(&FUNNEL).await?,
        days: reading.table(&DAYS).await?,
        money: reading.table(&MONEY).await?,
        revenue: reading.table(&REVENUE).await?,
        lists: reading.table(&LISTS).await?,
        products: reading.table(&PRODUCTS).await?,
        positions: reading.positions().await?,
        sessions: reading.table(&SESSIONS).await?,
        promotions: reading.table(&PROMOTIONS).await?,
        rejected: reading.table(&REJECTED).await?,
        late: reading.table(&LATENESS).await?,
        duplicates: reading.table(&DUPLICATES).await?,
        before: reading.before().await?,
    })
}

struct Reading<'a> {
    client: &'a Client,
    range: Range,
    wanted: &'a Wanted,
}

impl Reading<'_> {
    async fn totals(&self) -> anyhow::Result<Totals> {
        let rows = self
            .rows(include_str!("sql/totals.sql"), Least::None)
            .await?;
        let row = rows.first().context("the totals have no row")?;
        Ok(Totals {
            people: row.try_get(0)?,
            events: row.try_get(1)?,
            facts: row.try_get(2)?,
        })
    }

    /// None where the tables don't reach back so far.
    async fn before(&self) -> anyhow::Result<Option<Before>> {
        let Some(range) = self.range.before(self.client).await? else {
            return Ok(None);
        };
        let reading = Reading { range, ..*self };
        Ok(Some(Before {
            range,
            totals: reading.totals().await?,
            money: reading.table(&MONEY).await?,
            sessions: reading.table(&SESSIONS).await?,
        }))
    }

    async fn positions(&self) -> anyhow::Result<Positions> {
        let sql = crate::report::catalogue::POSITIONS;
        let rows = self.rows(sql, Least::Impressions).await?;
        positions::lay_out(&rows, self.wanted.min_impressions)
    }

    async fn table(&self, spec: &Spec) -> anyhow::Result<Table> {
        let rows = self.rows(spec.sql, spec.least).await?;
        let of_all = match rows.first() {
            Some(row) if spec.is_limited => Some(row.try_get(row.len() - 1)?),
            _ => None,
        };
        let fill = |text: &str| {
            text.replace("{impressions}", &self.wanted.min_impressions.to_string())
                .replace("{viewers}", &self.wanted.min_viewers.to_string())
        };
        Ok(Table {
            id: spec.id,
            title: spec.title,
            lead: fill(spec.lead),
            empty: fill(spec.empty),
            columns: spec.columns.to_vec(),
            rows: rows
                .iter()
                .map(|row| cells(row, spec))
                .collect::<Result<_, _>>()?,
            of_all,
            sorted: spec.sorted,
            shade: spec.shade,
        })
    }

    /// The rows of a query of `sql/`: $1 and $2 are the range, $3 is what leaves rows out.
    async fn rows(&self, sql: &str, least: Least) -> Result<Vec<Row>, tokio_postgres::Error> {
        let statement = self.client.prepare(sql).await?;
        let least = match least {
            Least::None => None,
            Least::Impressions => Some(self.wanted.min_impressions),
            Least::Viewers => Some(self.wanted.min_viewers),
        };
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&self.range.from, &self.range.to];
        if let Some(least) = &least {
            params.push(least);
        }
        params.truncate(statement.params().len());
        self.client.query(&statement, &params).await
    }
}

fn cells(row: &Row, spec: &Spec) -> Result<Vec<Cell>, tokio_postgres::Error> {
    let mut at = 0;
    let mut cells = Vec::with_capacity(spec.columns.len());
    for column in spec.columns {
        let cell = match column.kind {
            Kind::Text => row.try_get::<_, Option<_>>(at)?.map(Cell::Text),
            Kind::Day => row.try_get::<_, Option<_>>(at)?.map(Cell::Day),
            Kind::Count => row.try_get::<_, Option<_>>(at)?.map(Cell::Count),
            Kind::Units => row.try_get::<_, Option<_>>(at)?.map(Cell::Units),
            Kind::Rate => row.try_get::<_, Option<_>>(at)?.map(Cell::Rate),
            Kind::Delay => row.try_get::<_, Option<_>>(at)?.map(Cell::Delay),
            Kind::Money => {
                let amount: Option<String> = row.try_get(at)?;
                at += 1;
                let currency = row.try_get(at)?;
                amount.map(|amount| Cell::Money { amount, currency })
            }
        };
        cells.push(cell.unwrap_or(Cell::Nothing));
        at += 1;
    }
    Ok(cells)
}
