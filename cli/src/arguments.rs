//! Arguments that several subcommands share, and the connection to the database that they name.

use std::sync::Arc;

use anyhow::{Context, anyhow, ensure};
use connector_common::Secret;
use fact_model::{BadOption, Options};
use tokio_postgres::Client;
use warehouse::Settings;

use crate::endpoint::Endpoint;

/// The database.
#[derive(clap::Args)]
pub struct Database {
    /// The database
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        global = true
    )]
    pub database_url: Option<String>,
}

impl Database {
    /// The URL. Not required by clap, which can't require a global argument.
    ///
    /// # Errors
    /// Fails if there is none.
    pub fn url(&self) -> anyhow::Result<&str> {
        let url = self.database_url.as_deref();
        url.context("no database named; use --database-url or DATABASE_URL")
    }

    /// Connects to the database.
    ///
    /// # Errors
    /// Fails as [`connect`] does, or if no database is named.
    pub async fn connect(&self) -> anyhow::Result<Client> {
        connect(self.url()?).await
    }
}

/// The database at `url`, which has the format of the sink's `url`.
///
/// # Errors
/// Fails if the URL is malformed.
pub fn database(url: &str) -> anyhow::Result<Arc<warehouse::Database>> {
    let settings = Settings::new(Secret::from(url.to_owned()), "etl");
    warehouse::Database::new(&settings).map_err(|error| anyhow!(named(&error.chain())))
}

/// An error about the sink's `url`, with the names that the command has for it.
pub fn named(error: &str) -> String {
    error.replace("`url`", "`DATABASE_URL` (or `--database-url`)")
}

/// Connects to the database at `url`.
///
/// # Errors
/// Fails if the server is unreachable or refuses. The message does not hold the password.
pub async fn connect(url: &str) -> anyhow::Result<Client> {
    Ok(database(url)?.connect().await?)
}

/// The queue.
#[derive(clap::Args)]
pub struct Queue {
    /// The queue; credentials, region and endpoint come from the AWS environment
    #[arg(long, env = "QUEUE_URL", value_name = "URL")]
    pub queue_url: Option<String>,
}

impl Queue {
    /// The URL.
    ///
    /// # Errors
    /// Fails if there is none.
    pub fn url(&self) -> anyhow::Result<&str> {
        let url = self.queue_url.as_deref();
        url.context("no queue named; use --queue-url or QUEUE_URL")
    }
}

/// The topic.
#[derive(clap::Args)]
pub struct TopicName {
    /// The topic, in the cluster of the current Fluvio profile
    #[arg(long, value_name = "NAME", default_value = local_stack::files::TOPIC)]
    pub topic: String,
}

/// The addresses of the connectors.
#[derive(clap::Args)]
pub struct Endpoints {
    /// The `metrics-address` of a source; may be given several times
    #[arg(long, value_name = "http://HOST:PORT")]
    pub source_metrics: Vec<Endpoint>,
    /// The `metrics-address` of a sink; may be given several times
    #[arg(long, value_name = "http://HOST:PORT")]
    pub sink_metrics: Vec<Endpoint>,
}

/// Parameters of the SmartModule `flatten-items`, as `with:` in a sink's file.
#[derive(clap::Args)]
pub struct Parameters {
    /// A parameter of the SmartModule, such as `missing-time=record`; may be given several times
    #[arg(long = "with", value_name = "NAME=VALUE", value_parser = parameter)]
    pairs: Vec<(String, String)>,
}

impl Parameters {
    /// The options that the parameters set.
    ///
    /// # Errors
    /// Fails if a parameter is unknown or its value is not allowed.
    pub fn options(&self) -> Result<Options, BadOption> {
        let pairs = self.pairs.iter();
        Options::parse(pairs.map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// The names and values.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }
}

/// An age as PostgreSQL writes intervals, which must have a unit: PostgreSQL takes a number without
/// one for seconds, and whoever writes 90 means days.
pub fn age(text: &str) -> anyhow::Result<String> {
    let has_unit = text.chars().any(char::is_alphabetic);
    ensure!(
        has_unit && !text.contains('-'),
        "an age has a unit and no minus: `90days`, `12 hours`"
    );
    Ok(text.to_owned())
}

fn parameter(text: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = text
        .split_once('=')
        .context("a parameter is written NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_a_unit() {
        assert_eq!(age("12 hours").unwrap(), "12 hours");
        assert!(age("90").is_err(), "PostgreSQL would read 90 seconds");
        assert!(age("-5days").is_err(), "everything is older");
    }

    #[test]
    fn a_malformed_url_is_not_quoted() {
        let error = database("mysql://etl:secret-word@db/shop").unwrap_err();
        let error = error.to_string();
        assert!(
            error.starts_with(
                "`DATABASE_URL` (or `--database-url`) is not a database URL; expected postgres://"
            ),
            "{error}"
        );
        assert!(!error.contains("secret-word"), "{error}");
    }
}
