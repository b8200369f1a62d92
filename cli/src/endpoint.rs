//! A client of a connector's `metrics-address`: its readiness and its metrics.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use connector_common::monitor;

/// Timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest response that is read, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// The address at which a connector serves `/metrics` and `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(String);

impl FromStr for Endpoint {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let address = rest.split('/').next().unwrap_or_default();
        let port = address
            .rsplit_once(':')
            .map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(_)) => Ok(Self(address.to_owned())),
            _ => bail!(
                "a connector's address is written http://HOST:PORT, with the port of its \
                 `metrics-address`"
            ),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}", self.0)
    }
}

impl Endpoint {
    /// The reasons that the connector is not ready; empty if it is.
    ///
    /// # Errors
    /// Fails without a response, or if the response is not that of a connector.
    pub async fn troubles(&self) -> anyhow::Result<Vec<String>> {
        match self.get("/readyz").await? {
            (200, _) => Ok(Vec::new()),
            (503, body) => Ok(body.lines().map(str::to_owned).collect()),
            (status, _) => Err(anyhow!(
                "{self} responds with HTTP status {status}; it may not be a connector's \
                 `metrics-address`"
            )),
        }
    }

    /// The connector's metrics.
    ///
    /// # Errors
    /// Fails as [`Endpoint::troubles`].
    pub async fn metrics(&self) -> anyhow::Result<Metrics> {
        match self.get("/metrics").await? {
            (200, body) => Ok(Metrics::parse(&body)),
            (status, _) => Err(anyhow!("{self}/metrics responds with HTTP status {status}")),
        }
    }

    async fn get(&self, path: &'static str) -> anyhow::Result<(u16, String)> {
        let address = self.0.clone();
        let asked =
            tokio::task::spawn_blocking(move || monitor::get(&address, path, TIMEOUT, MAX_BYTES));
        let (status, body) = tokio::time::timeout(TIMEOUT, asked)
            .await
            .map_err(|_| anyhow!("timed out after {TIMEOUT:?} waiting for {self}"))??
            .with_context(|| format!("no response from {self}"))?;
        let status = status.ok_or_else(|| anyhow!("{self} does not speak HTTP"))?;
        Ok((status, body))
    }
}

/// Metrics in Prometheus' text format, without labels.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Vec<(String, f64)>);

impl Metrics {
    fn parse(text: &str) -> Self {
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let name = series.split('{').next()?.trim();
            Some((name.to_owned(), value.parse().ok()?))
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(sample).collect())
    }

    /// The sum over all labels; `None` without such a metric.
    pub fn sum(&self, name: &str) -> Option<f64> {
        self.of(name).reduce(|sum, value| sum + value)
    }

    /// The largest value over all labels.
    pub fn max(&self, name: &str) -> Option<f64> {
        self.of(name).reduce(f64::max)
    }

    fn of<'m>(&'m self, name: &'m str) -> impl Iterator<Item = f64> + 'm {
        self.0
            .iter()
            .filter(move |(of, _)| of == name)
            .map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let shown = |text: &str| text.parse::<Endpoint>().map(|found| found.to_string());
        assert_eq!(
            shown("http://sink:9465/metrics").unwrap(),
            "http://sink:9465"
        );
        assert_eq!(shown("127.0.0.1:9465").unwrap(), "http://127.0.0.1:9465");
        assert_eq!(shown("[::1]:1").unwrap(), "http://[::1]:1");
        for text in ["sink", "http://sink", "https://sink:9465", "sink:port"] {
            assert!(
                shown(text)
                    .unwrap_err()
                    .to_string()
                    .contains("metrics-address"),
                "{text}"
            );
        }
    }

    #[test]
    fn metrics_are_added_over_their_labels() {
        let metrics = Metrics::parse(
            "# HELP a b\n# TYPE a gauge\na{queue=\"x y\"} 2\na{queue=\"z\"} 5\nab 7\nb 1e3\n",
        );
        assert_eq!(metrics.sum("a"), Some(7.0));
        assert_eq!(metrics.max("a"), Some(5.0));
        assert_eq!(metrics.sum("b"), Some(1000.0));
        assert_eq!(metrics.sum("c"), None);
    }
}
