//! The contents of a report, read in one transaction, so that its numbers agree with each other
//! while facts arrive.

use anyhow::anyhow;
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use crate::report::catalogue::{
    DUPLICATES, FUNNEL, LATENESS, LISTS, Least, POSITIONS, PRODUCTS, PROMOTIONS, Query, REJECTED,
    Spec,
};
use crate::report::days::{Range, Span};
use crate::report::format;
use crate::report::numbers::Numbers;
use crate::report::summary::{self, Metric};
use crate::report::table::{Cell, Kind, Table, money};
use crate::report::tables::{self, Positions};

const MIN_IMPRESSIONS: i64 = 20;
const MIN_VIEWERS: i64 = 10;
const TIMEOUT: &str = "15min";

/// The days to report, and the limits of the queries.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The first day; `None` for the default.
    pub from: Option<NaiveDate>,
    /// The last day; `None` for the default.
    pub to: Option<NaiveDate>,
    /// The time zone of the days; empty for the reporting time zone.
    pub time_zone: String,
    pub limits: Limits,
}

/// Limits of a report's queries.
#[derive(Clone, Debug, clap::Args)]
pub struct Limits {
    /// Leave out lists that showed fewer products: their rates are noise
    #[arg(long, value_name = "N", default_value_t = MIN_IMPRESSIONS)]
    pub min_impressions: i64,
    /// Leave out products with fewer viewers
    #[arg(long, value_name = "N", default_value_t = MIN_VIEWERS)]
    pub min_viewers: i64,
    /// Timeout of a query, as PostgreSQL writes durations; 0 disables it
    #[arg(long, value_name = "TIME", default_value = TIMEOUT)]
    pub timeout: String,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            min_impressions: MIN_IMPRESSIONS,
            min_viewers: MIN_VIEWERS,
            timeout: TIMEOUT.to_owned(),
        }
    }
}

/// The contents of a report.
pub struct Figures {
    pub database: String,
    /// The time of the transaction.
    pub read_at: DateTime<Utc>,
    /// The IANA name of the time zone of the days.
    pub time_zone: String,
    /// The time of the transaction in this time zone.
    pub local_read_at: NaiveDateTime,
    pub range: Range,
    pub numbers: Numbers,
    pub metrics: Vec<Metric>,
    pub funnel: Table,
    pub days: Table,
    pub money: Table,
    pub revenue: Table,
    pub platforms: Table,
    pub categories: Table,
    pub newcomers: Table,
    pub lists: Table,
    pub products: Table,
    pub positions: Positions,
    pub sessions: Table,
    pub promotions: Table,
    pub rejected: Table,
    pub late: Table,
    pub duplicates: Table,
}

impl Figures {
    /// Names the days that the changes compare.
    pub fn compared_days(&self) -> Option<String> {
        let compared = self.numbers.comparison?;
        let days = |span: Span| format::days(span.first, span.last);
        let mut words = format!(
            "Changes compare {} with {}.",
            days(compared.now),
            days(compared.before)
        );
        if let Some(unfinished) = self.range.unfinished() {
            words.push_str(&format!(
                " {} is not over yet: the numbers include it, the changes don't.",
                days(unfinished)
            ));
        }
        Some(words)
    }

    /// Names the time zone of the days, and the days that are not over.
    pub fn days_in_words(&self) -> String {
        let mut words = format!("Days are those of the time zone {}.", self.time_zone);
        if let Some(unfinished) = self.range.unfinished() {
            words.push_str(&format!(
                " {} is not over yet, and dashed.",
                format::days(unfinished.first, unfinished.last)
            ));
        }
        words
    }
}

/// Reads a report, and leaves the connection outside of a transaction.
///
/// # Errors
/// Fails if there are no facts, or a query fails; the message says how to fix that.
pub async fn read(client: &Client, wanted: &Wanted) -> anyhow::Result<Figures> {
    let read = async {
        client
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        let figures = read_all(client, wanted).await;
        let ended = client.batch_execute("ROLLBACK").await;
        let figures = figures?;
        ended?;
        anyhow::Ok(figures)
    };
    let figures = read.await;
    figures.map_err(|error| explained(error, &wanted.limits.timeout))
}

/// Replaces a server error by one that says how to fix it, if there is a known fix.
pub fn explained(error: anyhow::Error, timeout: &str) -> anyhow::Error {
    let Some(server) = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<tokio_postgres::Error>())
        .and_then(tokio_postgres::Error::as_db_error)
    else {
        return error;
    };
    let (message, code) = (server.message(), server.code());
    let missing = [
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::UNDEFINED_COLUMN,
        SqlState::INVALID_SCHEMA_NAME,
    ];
    if missing.contains(code) {
        anyhow!(
            "{message}: the tables are not in this database, are older than this `etl`, or this \
             user may not see them; `etl migrate` creates and updates them"
        )
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        anyhow!(
            "{message}: reports need membership in etl_reader; the owner of the tables can run \
             `GRANT etl_reader TO …` for this user"
        )
    } else if *code == SqlState::QUERY_CANCELED {
        anyhow!(
            "{message}: raise --timeout (now {timeout}), or report fewer days with --from and --to"
        )
    } else if *code == SqlState::INVALID_PARAMETER_VALUE {
        anyhow!("--timeout {timeout}: {message}")
    } else {
        error
    }
}

async fn read_all(client: &Client, wanted: &Wanted) -> anyhow::Result<Figures> {
    // Autovacuum never analyses a partitioned table as a whole, and new partitions late. Without
    // statistics the planner joins facts with facts by nested loops. Every query here reads the
    // whole range, so hash joins are right.
    client
        .query_one(
            "SELECT set_config('statement_timeout', $1, true), set_config('timezone', 'UTC', true), \
                    set_config('enable_nestloop', 'off', true), set_config('jit', 'off', true), \
                    set_config('etl.time_zone', $2, true)",
            &[&wanted.limits.timeout, &wanted.time_zone],
        )
        .await?;
    let about = client
        .query_one(
            "SELECT current_database()::text, now(), analytics.time_zone(), \
                    now() AT TIME ZONE \
             analytics.time_zone()",
            &[],
        )
        .await?;
    let range = Range::find(client, wanted.from, wanted.to).await?;
    let numbers = Numbers::read(client, range).await?;
    let reading = Reading {
        client,
        range,
        wanted,
    };
    Ok(Figures {
        database: about.try_get(0)?,
        read_at: about.try_get(1)?,
        time_zone: about.try_get(2)?,
        local_read_at: about.try_get(3)?,
        range,
        metrics: summary::metrics(&numbers),
        funnel: reading.table(&FUNNEL).await?,
        days: numbers.days_table(),
        money: numbers.money_table(),
        revenue: numbers.revenue_table(),
        platforms: numbers.platforms_table(),
        categories: numbers.categories_table(),
        newcomers: numbers.newcomers_table(),
        lists: reading.table(&LISTS).await?,
        products: reading.table(&PRODUCTS).await?,
        positions: reading.positions().await?,
        sessions: numbers.sessions_table(),
        promotions: reading.table(&PROMOTIONS).await?,
        rejected: reading.table(&REJECTED).await?,
        late: reading.table(&LATENESS).await?,
        duplicates: reading.table(&DUPLICATES).await?,
        numbers,
    })
}

struct Reading<'a> {
    client: &'a Client,
    range: Range,
    wanted: &'a Wanted,
}

impl Reading<'_> {
    async fn positions(&self) -> anyhow::Result<Positions> {
        let rows = self.rows(POSITIONS, Least::Impressions).await?;
        tables::positions(&rows, self.wanted.limits.min_impressions)
    }

    async fn table(&self, query: &Query) -> anyhow::Result<Table> {
        let rows = self.rows(query.sql, query.least).await?;
        let of_all = match rows.first() {
            Some(row) if query.is_limited => Some(row.try_get(row.len() - 1)?),
            _ => None,
        };
        let fill = |text: &str| {
            text.replace(
                "{impressions}",
                &self.wanted.limits.min_impressions.to_string(),
            )
            .replace("{viewers}", &self.wanted.limits.min_viewers.to_string())
        };
        let cells = rows.iter().map(|row| cells(row, &query.spec));
        let table = query.spec.table(cells.collect::<Result<_, _>>()?);
        Ok(Table {
            lead: fill(&table.lead),
            empty: fill(&table.empty),
            of_all,
            ..table
        })
    }

    /// The rows of a query of `sql/`: $1 and $2 are the range, $3 is the minimum.
    async fn rows(&self, sql: &str, least: Least) -> Result<Vec<Row>, tokio_postgres::Error> {
        let statement = self.client.prepare(sql).await?;
        let least = match least {
            Least::None => None,
            Least::Impressions => Some(self.wanted.limits.min_impressions),
            Least::Viewers => Some(self.wanted.limits.min_viewers),
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
            Kind::Change => row.try_get::<_, Option<_>>(at)?.map(Cell::Change),
            Kind::Delay => row.try_get::<_, Option<_>>(at)?.map(Cell::Delay),
            Kind::Money => {
                let amount: Option<String> = row.try_get(at)?;
                at += 1;
                let currency: Option<&str> = row.try_get(at)?;
                currency.map(|currency| money(amount, currency))
            }
        };
        cells.push(cell.unwrap_or(Cell::Nothing));
        at += 1;
    }
    Ok(cells)
}
