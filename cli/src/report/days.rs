//! The days of a report, and the days they are compared with.

use std::fmt;

use anyhow::{Context, ensure};
use chrono::{Days, NaiveDate};
use tokio_postgres::Client;

/// The default number of days: four weeks, so that every weekday occurs equally often.
const DEFAULT_DAYS: u64 = 28;

/// Days in a row, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub first: NaiveDate,
    pub last: NaiveDate,
}

impl Span {
    /// The number of days.
    pub fn days(self) -> u64 {
        u64::try_from((self.last - self.first).num_days() + 1).unwrap_or(0)
    }
}

/// The days of a report that are over, and the same days of the previous period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    pub now: Span,
    pub before: Span,
}

/// The days of a report in the reporting time zone, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first day asked for.
    pub from: NaiveDate,
    /// The last day asked for.
    pub to: NaiveDate,
    /// Today, by the server's clock.
    pub today: NaiveDate,
}

impl Range {
    /// The days from `from` to `to`; by default four weeks up to the last day with facts. The
    /// default excludes facts after today, which a wrong clock has dated.
    ///
    /// # Errors
    /// Fails if there are no facts in the range.
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
            return Err(nothing(client, from, to).await?.into());
        };
        let earliest = last
            .checked_sub_days(Days::new(DEFAULT_DAYS - 1))
            .context("--to is too early a day")?;
        let first = first_day(client, from.unwrap_or(earliest), last).await?;
        let Some(first) = first else {
            return Err(nothing(client, from, to).await?.into());
        };
        Ok(Self {
            from: from.unwrap_or(first),
            to: to.unwrap_or(last),
            today,
        })
    }

    /// The last day that is over, or the day before the range if none is.
    pub fn finished(self) -> NaiveDate {
        let before = |day: NaiveDate| day.pred_opt().unwrap_or(day);
        self.to.min(before(self.today)).max(before(self.from))
    }

    /// The days that are not over yet.
    pub fn unfinished(self) -> Option<Span> {
        let first = self.finished().succ_opt()?;
        (first <= self.to).then_some(Span {
            first,
            last: self.to,
        })
    }

    /// The previous period, or `None` if it has no facts or the first fact of all is behind its
    /// first day.
    ///
    /// # Errors
    /// Fails if a query fails.
    pub async fn before(self, client: &Client) -> Result<Option<Span>, tokio_postgres::Error> {
        let Some(before) = self.days_before() else {
            return Ok(None);
        };
        let query = "SELECT EXISTS (SELECT FROM fact_events \
                                    WHERE event_time < analytics.start_of($1::date + 1)) \
                        AND EXISTS (SELECT FROM fact_events \
                                    WHERE event_time >= analytics.start_of($1::date) \
                                      AND event_time < analytics.start_of($2::date + 1))";
        let found = client
            .query_one(query, &[&before.first, &before.last])
            .await?;
        let are_covered: bool = found.try_get(0)?;
        Ok(are_covered.then_some(before))
    }

    /// The days to compare with those of `before`. A day that is not over is not compared.
    pub fn comparison(self, before: Span) -> Option<Comparison> {
        let now = Span {
            first: self.from,
            last: self.finished(),
        };
        let last = before.first.checked_add_days(Days::new(now.days()))?;
        (now.first <= now.last).then_some(Comparison {
            now,
            before: Span {
                first: before.first,
                last: last.pred_opt()?,
            },
        })
    }

    /// The previous period: as many days as these, directly before them.
    pub fn days_before(self) -> Option<Span> {
        let days = u64::try_from((self.to - self.from).num_days()).ok()?;
        let last = self.from.pred_opt()?;
        let first = last.checked_sub_days(Days::new(days))?;
        Some(Span { first, last })
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
                 WHERE event_time >= analytics.start_of($1::date) \
                   AND event_time < analytics.start_of($2::date + 1)";
    client.query_one(query, &[&since, &until]).await?.try_get(0)
}

/// The tables hold no facts in the range; the message names the days that they hold.
#[derive(Debug)]
pub struct NoFacts(String);

impl fmt::Display for NoFacts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for NoFacts {}

async fn nothing(
    client: &Client,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
) -> anyhow::Result<NoFacts> {
    let all = client
        .query_one(
            "SELECT analytics.day_of(min(event_time)), analytics.day_of(max(event_time)) \
             FROM fact_events",
            &[],
        )
        .await?;
    let (first, last): (Option<NaiveDate>, Option<NaiveDate>) = (all.try_get(0)?, all.try_get(1)?);
    let (Some(first), Some(last)) = (first, last) else {
        return Ok(NoFacts(
            "there are no facts yet; `etl status` shows what is on its way".to_owned(),
        ));
    };
    let from = from.map_or(String::new(), |day| format!(" from {day}"));
    let to = to.map_or(String::new(), |day| format!(" to {day}"));
    Ok(NoFacts(format!(
        "there are no facts{from}{to}; the tables hold some from {first} to {last}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn range(from: &str, to: &str) -> Range {
        Range {
            from: day(from),
            to: day(to),
            today: day("2026-11-29"),
        }
    }

    #[test]
    fn an_unfinished_day_is_not_compared() {
        let weeks = range("2026-11-02", "2026-11-29");
        let today = Span {
            first: day("2026-11-29"),
            last: day("2026-11-29"),
        };
        assert_eq!(weeks.unfinished(), Some(today));
        let before = weeks.days_before().unwrap();
        assert_eq!(
            (before.first, before.last, before.days()),
            (day("2026-10-05"), day("2026-11-01"), 28)
        );
        let compared = weeks.comparison(before).unwrap();
        assert_eq!((compared.now.days(), compared.before.days()), (27, 27));
        assert_eq!(compared.before.last, day("2026-10-31"));

        let over = range("2026-11-02", "2026-11-28");
        assert_eq!(over.unfinished(), None);
        let before = over.days_before().unwrap();
        assert_eq!(over.comparison(before).unwrap().before, before);

        for today in [
            range("2026-11-29", "2026-11-29"),
            range("2027-01-01", "2027-01-02"),
        ] {
            assert_eq!(today.unfinished().unwrap().first, today.from);
            let before = today.days_before().unwrap();
            assert_eq!(today.comparison(before), None);
        }
    }
}
