//! `--healthcheck ADDRESS`: asks a connector that runs already how it is, for container engines.
//!
//! The images have no shell and no curl, so the program itself is what asks.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, anyhow};

use crate::answer;

/// Longer than any answer takes, shorter than an engine waits for the whole check.
const PATIENCE: Duration = Duration::from_secs(4);
/// The longest answer that is read: a line for each part that is in trouble.
const LONGEST: u64 = 64 << 10;

/// What to ask, and where: `127.0.0.1:9464` or `127.0.0.1:9464/readyz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healthcheck {
    address: SocketAddr,
    path: String,
}

impl FromStr for Healthcheck {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, path) = text.split_once('/').unwrap_or((text, "healthz"));
        let address = address.parse().map_err(|_| {
            format!("`{address}` is no IP address with a port, such as 127.0.0.1:9464")
        })?;
        match path {
            "healthz" | "readyz" => Ok(Self {
                address,
                path: format!("/{path}"),
            }),
            _ => Err(format!("`/{path}` is neither /healthz nor /readyz")),
        }
    }
}

impl fmt::Display for Healthcheck {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}{}", self.address, self.path)
    }
}

impl Healthcheck {
    /// Asks once.
    ///
    /// # Errors
    /// Nobody answers, or the connector says what is wrong with it.
    pub fn ask(&self) -> anyhow::Result<()> {
        let answer = answer::get(&self.address.to_string(), &self.path, PATIENCE, LONGEST);
        let (status, body) = answer.with_context(|| {
            format!("no answer from {self}; is it the connector's `metrics-address`?")
        })?;
        match status {
            Some(200) => Ok(()),
            _ if !body.trim().is_empty() => Err(anyhow!("{}", body.trim())),
            _ => Err(anyhow!(
                "{self} gave an answer that is none of a connector's"
            )),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use prometheus::Registry;

    use super::*;
    use crate::{Health, Monitor};

    #[test]
    fn health_is_what_is_asked_for_unless_it_is_readiness() {
        let asked = |text: &str| text.parse::<Healthcheck>().map(|check| check.to_string());
        assert_eq!(asked("127.0.0.1:1").unwrap(), "http://127.0.0.1:1/healthz");
        assert_eq!(asked("[::1]:1/readyz").unwrap(), "http://[::1]:1/readyz");
        assert!(asked("9464").unwrap_err().contains("no IP address"));
        assert!(
            asked("127.0.0.1:1/metrics")
                .unwrap_err()
                .contains("neither")
        );
    }

    #[tokio::test]
    async fn a_connector_that_runs_tells_how_it_is() {
        let health = Health::of(["queue"]);
        let address = "127.0.0.1:0".parse().unwrap();
        let monitor = Monitor::serve(address, Registry::new(), health.clone())
            .await
            .unwrap();
        let ask = |path: &str| {
            let check: Healthcheck = format!("{}{path}", monitor.address()).parse().unwrap();
            tokio::task::spawn_blocking(move || check.ask().map_err(|error| format!("{error:#}")))
        };
        assert_eq!(ask("").await.unwrap(), Ok(()));
        assert_eq!(
            ask("/readyz").await.unwrap(),
            Err("queue: not reached yet".to_owned())
        );
        health.works("queue");
        assert_eq!(ask("/readyz").await.unwrap(), Ok(()));

        let gone = monitor.address();
        drop(monitor);
        let nobody: Healthcheck = gone.to_string().parse().unwrap();
        // The server's task has to be gone first, which another turn of the runtime sees to.
        tokio::task::yield_now().await;
        let answer = tokio::task::spawn_blocking(move || nobody.ask())
            .await
            .unwrap();
        assert!(format!("{:#}", answer.unwrap_err()).contains("no answer from"));
    }
}
