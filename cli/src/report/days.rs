//! Which days a report is about.

use anyhow::{Context, bail, ensure};
use chrono::{Days, NaiveDate};
use tokio_postgres::Client;

/// Days shown where nobody says which: four weeks, so that every weekday is in as often.
const SHOWN: u64 = 28;

/// The UTC days of a report, all ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first day asked for.
    pub from: NaiveDate,
    /// The last day asked for.
    pub to: NaiveDate,
    /// The server's day.
    pub today: NaiveDate,
}

impl Range {
    /// The days from `from` to `to`; without them, four weeks up to the last day with facts. A clock that is wrong dates
    /// facts in the future: what comes after today is there for those who name it.
    ///
    /// # Errors
    /// No facts are in the range.
    pub async fn find(
        client: &Client,
        from: Option<NaiveDate>,
        to: Option<NaiveDate>,
    ) -> anyhow::Result<Self> {
        if let (Some(from), Some(to)) = (from, to) {
            ensure!(
                from <= to,
                "--from {from} is after --to {to}; both ends are included"
            );
        }
        let today = client
            .query_one("SELECT analytics.day_of(now())", &[])
            .await?
            .try_get(0)?;
        let last = last_day(client, Some(to.unwrap_or(today))).await?;
        let last = match (last, to) {
            (None, None) => last_day(client, None).await?,
            (last, _) => last,
        };
        let Some(last) = last else {
            bail!("{}", nothing(client, from, to).await?);
        };
        let earliest = last
            .checked_sub_days(Days::new(SHOWN - 1))
            .context("--to is too early a day")?;
        let first = first_day(client, from.unwrap_or(earliest), last).await?;
        let Some(first) = first else {
            bail!("{}", nothing(client, from, to).await?);
        };
        Ok(Self {
            from: from.unwrap_or(first),
            to: to.unwrap_or(last),
            today,
        })
    }

    /// As many days before these. `None` where the tables don't reach back so far.
    ///
    /// # Errors
    /// The server's own.
    pub async fn before(self, client: &Client) -> Result<Option<Self>, tokio_postgres::Error> {
        let Some((from, to)) = self.days_before() else {
            return Ok(None);
        };
        let has_facts = first_day(client, from, from).await?.is_some();
        Ok(has_facts.then_some(Self {
            from,
            to,
            today: self.today,
        }))
    }

    fn days_before(self) -> Option<(NaiveDate, NaiveDate)> {
        let days = u64::try_from((self.to - self.from).num_days()).ok()?;
        let to = self.from.pred_opt()?;
        Some((to.checked_sub_days(Days::new(days))?, to))
    }
}

async fn last_day(
    client: &Client,
    until: Option<NaiveDate>,
) -> Result<Option<NaiveDate>, tokio_postgres::Error> {
    let query = "SELECT analytics.day_of(max(event_time)) FROM fact_events \
                 WHERE event_time < analytics.start_of(coalesce($1::date + 1, 'infinity'))";
    client.query_one(query, &[&until]).await?.try_get(0)
}

async fn first_day(
    client: &Client,
    since: NaiveDate,
    until: NaiveDate,
) -> Result<Option<NaiveDate>, tokio_postgres::Error> {
    let query = "SELECT analytics.day_of(min(event_time)) FROM fact_events \
                 WHERE event_time >= analytics.start_of($1::date) AND event_time < analytics.start_of($2::date + 1)";
    client.query_one(query, &[&since, &until]).await?.try_get(0)
}

/// That nothing is in the range, and where something is.
async fn nothing(
    client: &Client,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
) -> anyhow::Result<String> {
    let all = client
        .query_one(
            "SELECT analytics.day_of(min(event_time)), analytics.day_of(max(event_time)) FROM fact_events",
            &[],
        )
        .await?;
    let (first, last): (Option<NaiveDate>, Option<NaiveDate>) = (all.try_get(0)?, all.try_get(1)?);
    let (Some(first), Some(last)) = (first, last) else {
        return Ok("there are no facts yet; `etl status` shows what is on its way".to_owned());
    };
    let from = from.map_or(String::new(), |day| format!(" from {day}"));
    let to = to.map_or(String::new(), |day| format!(" to {day}"));
    Ok(format!(
        "there are no facts{from}{to} (UTC days); the tables hold some from {first} to {last}"
    ))
}
