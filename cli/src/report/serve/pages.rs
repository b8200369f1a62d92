//! Pages by range: computed once for all viewers who ask at the same time, and cached.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use askama::Template;
use chrono::{DateTime, NaiveDate, Utc};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::Semaphore;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::asked::Asked;
use super::connections::Connections;
use crate::report::days::NoFacts;
use crate::report::figures::{self, Limits, Wanted};
use crate::report::page;

/// Pages computed at the same time; each runs one query at a time.
const MAX_COMPUTING: usize = 2;
/// Computations that wait or run; further ranges are refused.
const MAX_FLIGHTS: usize = 16;
/// The size of the cache in bytes.
const MAX_BYTES: usize = 32 << 20;
/// A page is fresh for this long, and for twice the time that it took to compute.
const FRESH: Duration = Duration::from_secs(5);

/// A computed page.
pub struct Page {
    /// The page with placeholders for a nonce and for the reason that it is stale.
    html: String,
    nonce: String,
    read_at: DateTime<Utc>,
    finished: Instant,
    took: Duration,
}

/// The reason for a missing or stale page.
#[derive(Clone, Debug)]
pub enum Problem {
    /// The tables hold no facts of these days.
    NoFacts(Arc<str>),
    /// The database does not know the time zone.
    NoZone(Arc<str>),
    /// The database did not answer, or refused.
    Database(Arc<str>),
    /// Too many pages are being computed.
    Busy,
}

/// A computation shared by its viewers. It is cancelled when the last of them is gone.
pub type Flight = Shared<BoxFuture<'static, Result<Arc<Page>, Problem>>>;
type WeakFlight = WeakShared<BoxFuture<'static, Result<Arc<Page>, Problem>>>;

/// Computes pages and caches them.
pub struct Pages {
    connections: Arc<Connections>,
    limits: Limits,
    computing: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: HashMap<Asked, Arc<Page>>,
    flights: HashMap<Asked, WeakFlight>,
}

impl Pages {
    /// An empty cache.
    pub fn new(connections: Arc<Connections>, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            connections,
            limits,
            computing: Semaphore::new(MAX_COMPUTING),
            state: Mutex::default(),
        })
    }

    /// The cached page of a range, however old.
    pub fn kept(&self, asked: &Asked) -> Option<Arc<Page>> {
        self.state().kept.get(asked).map(Arc::clone)
    }

    /// The fresh page of a range, else its running computation, else a new one.
    pub fn get(self: &Arc<Self>, asked: &Asked) -> Flight {
        let mut state = self.state();
        if let Some(page) = state.kept.get(asked).filter(|page| page.is_fresh()) {
            return std::future::ready(Ok(Arc::clone(page))).boxed().shared();
        }
        if let Some(flight) = state.flights.get(asked).and_then(WeakShared::upgrade) {
            return flight;
        }
        state.flights.retain(|_, flight| flight.upgrade().is_some());
        if state.flights.len() >= MAX_FLIGHTS {
            return std::future::ready(Err(Problem::Busy)).boxed().shared();
        }
        let (pages, wanted) = (Arc::clone(self), asked.clone());
        let flight = async move { pages.compute(wanted).await }.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            state.flights.insert(asked.clone(), weak);
        }
        flight
    }

    async fn compute(&self, asked: Asked) -> Result<Arc<Page>, Problem> {
        // Fails only when the semaphore is closed, and it never is.
        let _permit = self.computing.acquire().await;
        let began = Instant::now();
        let computed = self.render(&asked, began).await;
        let mut state = self.state();
        state.flights.remove(&asked);
        let page = Arc::new(computed?);
        state.keep(asked, Arc::clone(&page));
        Ok(page)
    }

    async fn render(&self, asked: &Asked, began: Instant) -> Result<Page, Problem> {
        let lease = self.connections.lease().await.map_err(Problem::of)?;
        let today = self.today(&lease, &asked.zone).await?;
        let (from, to) = asked.days.range(today);
        let wanted = Wanted {
            from,
            to,
            time_zone: asked.zone.clone(),
            limits: self.limits.clone(),
        };
        let figures = figures::read(&lease, &wanted).await;
        let figures = figures.map_err(Problem::of)?;
        self.connections.keep(lease);
        let nonce = page::nonce();
        let bar = asked.bar(&figures, stale_slot(&nonce));
        Ok(Page {
            html: page::render(&figures, &nonce, Some(&bar)),
            nonce,
            read_at: figures.read_at,
            finished: Instant::now(),
            took: began.elapsed(),
        })
    }

    /// Today in a time zone.
    async fn today(&self, client: &Client, zone: &str) -> Result<NaiveDate, Problem> {
        let query = "SELECT analytics.day_of(now()) FROM set_config('etl.time_zone', $1, true)";
        let row = client.query_one(query, &[&zone]).await;
        match row.and_then(|row| row.try_get(0)) {
            Ok(today) => Ok(today),
            Err(error) if error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => Err(
                Problem::NoZone(format!("unknown time zone {zone}; write it as Area/City").into()),
            ),
            Err(error) => Err(Problem::of(figures::explained(
                error.into(),
                &self.limits.timeout,
            ))),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Caches a page, and drops the oldest ones beyond the size of the cache.
    fn keep(&mut self, asked: Asked, page: Arc<Page>) {
        self.kept.insert(asked, page);
        while self
            .kept
            .values()
            .map(|page| page.html.len())
            .sum::<usize>()
            > MAX_BYTES
        {
            let oldest = self.kept.iter().min_by_key(|(_, page)| page.finished);
            let Some(oldest) = oldest.map(|(asked, _)| asked.clone()) else {
                return;
            };
            self.kept.remove(&oldest);
        }
    }
}

impl Page {
    /// The page for one response, with a nonce of its own. `problem` is the reason that there is no
    /// newer page.
    pub fn html(&self, nonce: &str, problem: Option<&Problem>) -> String {
        let stale = problem.map_or(String::new(), |problem| {
            Stale {
                read_at: self.read_at,
                reason: capitalised(&problem.to_string()),
            }
            .to_string()
        });
        self.html
            .replace(&stale_slot(&self.nonce), &stale)
            .replace(&self.nonce, nonce)
    }

    fn is_fresh(&self) -> bool {
        self.finished.elapsed() < FRESH.max(self.took * 2)
    }
}

/// The placeholder of the reason that a page is stale.
fn stale_slot(nonce: &str) -> String {
    format!("<!--stale {nonce}-->")
}

/// The reason that a page is stale.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<p id="stale" class="empty">These numbers are of
{{- " " }}{{ read_at.format("%-d %b %Y at %H:%M:%S UTC") }}. {{ reason }}.</p>"#
)]
struct Stale {
    read_at: DateTime<Utc>,
    reason: String,
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

impl Problem {
    fn of(error: anyhow::Error) -> Self {
        let text = format!("{error:#}").into();
        if error.is::<NoFacts>() {
            Self::NoFacts(text)
        } else {
            Self::Database(text)
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFacts(text) | Self::NoZone(text) | Self::Database(text) => {
                formatter.write_str(text)
            }
            Self::Busy => formatter.write_str("too many ranges are being computed; try again soon"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::asked::Days;
    use super::*;

    #[test]
    fn the_cache_is_bounded() {
        let mut state = State::default();
        for number in 0..5 {
            let page = Page {
                html: "x".repeat(MAX_BYTES / 3),
                nonce: String::new(),
                read_at: Utc::now(),
                finished: Instant::now() + Duration::from_secs(number),
                took: Duration::ZERO,
            };
            let days = Days::Last(number);
            state.keep(
                Asked {
                    days,
                    zone: String::new(),
                },
                Arc::new(page),
            );
        }
        let mut kept: Vec<_> = state.kept.keys().map(|asked| asked.days).collect();
        kept.sort_by_key(|days| format!("{days:?}"));
        assert_eq!(kept, [Days::Last(2), Days::Last(3), Days::Last(4)]);
    }
}
