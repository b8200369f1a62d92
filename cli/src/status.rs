//! `etl status`: queue, topic and tables side by side, so that one sees where events are waiting.

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use aws_config::BehaviorVersion;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::QueueAttributeName::{
    ApproximateNumberOfMessages, ApproximateNumberOfMessagesDelayed,
    ApproximateNumberOfMessagesNotVisible,
};
use local_stack::TopicEnd;

use crate::{answers, tables};

#[derive(clap::Args)]
pub struct Args {
    /// The queue; credentials, region and endpoint come from the AWS environment
    #[arg(long, env = "QUEUE_URL", value_name = "URL")]
    queue_url: Option<String>,
    /// The topic, in the cluster of the current Fluvio profile
    #[arg(long, value_name = "NAME", default_value = local_stack::files::TOPIC)]
    topic: String,
    /// The database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
}

/// Shows every part that can be reached; exit code 1 when one can't.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let queue = match &args.queue_url {
        Some(url) => queue(url).await,
        None => Err(anyhow!("no queue named; use --queue-url or QUEUE_URL")),
    };
    let topic = async { TopicEnd::connect(None, &args.topic).await?.read().await }.await;
    let committed = match &args.database_url {
        Some(url) => database(url, &args.topic).await,
        None => Err(anyhow!(
            "no database named; use --database-url or DATABASE_URL"
        )),
    };

    let whole = queue.is_ok() && topic.is_ok() && committed.is_ok();
    let lag = match (&topic, &committed) {
        (Ok(end), Ok(database)) => Some(end - database.committed),
        _ => None,
    };
    let mut table = answers::table();
    let mut part = |name: &str, lines: anyhow::Result<String>| {
        table.add_row([
            name.to_owned(),
            lines.unwrap_or_else(|error| format!("{error:#}")),
        ]);
    };
    part("queue", queue);
    part("topic", topic.map(|end| format!("{end} records")));
    part("tables", committed.map(|database| database.to_string()));
    if let Some(lag) = lag {
        part("lag", Ok(format!("{lag} records")));
    }
    println!("{table}");
    Ok(if whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn queue(url: &str) -> anyhow::Result<String> {
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let answer = aws_sdk_sqs::Client::new(&config)
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(ApproximateNumberOfMessages)
        .attribute_names(ApproximateNumberOfMessagesNotVisible)
        .attribute_names(ApproximateNumberOfMessagesDelayed)
        .send()
        .await
        .map_err(|error| anyhow!("{url}: {}", DisplayErrorContext(error)))?;
    let number = |name| {
        answer
            .attributes()
            .and_then(|all| all.get(&name))
            .map_or("?", String::as_str)
    };
    Ok(format!(
        "{} waiting, {} in flight, {} delayed",
        number(ApproximateNumberOfMessages),
        number(ApproximateNumberOfMessagesNotVisible),
        number(ApproximateNumberOfMessagesDelayed)
    ))
}

struct Database {
    committed: i64,
    events: u64,
    facts: u64,
    rejected: Vec<(String, u64)>,
}

impl std::fmt::Display for Database {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} records committed\n{} events, {} facts",
            self.committed, self.events, self.facts
        )?;
        self.rejected
            .iter()
            .try_for_each(|(reason, count)| write!(formatter, "\n{count} rejected: {reason}"))
    }
}

async fn database(url: &str, topic: &str) -> anyhow::Result<Database> {
    let client = tables::connect(url).await?;
    let found = tables::fingerprint(&client)
        .await
        .context("the tables aren't there; `etl migrate` makes them")?;
    Ok(Database {
        committed: tables::committed(&client, topic).await?,
        events: found.events,
        facts: found.facts,
        rejected: tables::rejected(&client).await?,
    })
}
