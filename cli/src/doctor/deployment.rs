//! The deployment to check: the connectors' files, or the queue, topic and database of the command
//! line and the environment.

use std::path::{Path, PathBuf};

use connector_common::{Connector, Partitions, Secret, Validate};
use serde::de::DeserializeOwned;
use serde_json::json;
use sqs_source::awaited::AwaitedSink;
use sqs_source::config::DeleteAfter;

use super::report::Report;
use crate::arguments::{Database, Queue};

const AREA: &str = "files";
const FIX: &str = "correct it, or name the file of its secrets with --secrets; the connector's \
                   sample-config.yaml shows every key";

/// The arguments that name the deployment.
#[derive(clap::Args)]
pub struct Named {
    /// The source's file as deployed, instead of --queue-url
    #[arg(long, value_name = "FILE")]
    source_config: Option<PathBuf>,
    /// The sink's file as deployed, instead of --database-url
    #[arg(long, value_name = "FILE")]
    sink_config: Option<PathBuf>,
    /// The lake sink's file as deployed, to check the lake, too
    #[cfg(feature = "lake")]
    #[arg(long, value_name = "FILE")]
    lake_config: Option<PathBuf>,
    /// The secrets of all files, `NAME=value` lines [default: the environment]
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    #[command(flatten)]
    queue: Queue,
    #[command(flatten)]
    database: Database,
    /// The topic [default: as in the files, else shop-events]
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
}

/// A deployment. Its parts are `None` if they are unknown.
pub struct Deployment {
    /// The source's file.
    pub source: Option<Connector<sqs_source::Config>>,
    /// The sink's file.
    pub sink: Option<Connector<postgres_sink::Config>>,
    /// The lake sink's file.
    #[cfg(feature = "lake")]
    pub lake: Option<Connector<lake_sink::Config>>,
    /// The queue's section of the file, or one with the queue's URL.
    pub queue: Option<sqs_source::Config>,
    /// The database's section of the file, or one with the database's URL.
    pub database: Option<warehouse::Settings>,
    /// The topic.
    pub topic: String,
}

impl Deployment {
    /// Reads the files and reports their errors.
    pub fn read(args: &Named, report: &mut Report) -> Self {
        let secrets = args.secrets.as_deref();
        let source: Option<Connector<sqs_source::Config>> = load(
            report,
            "source",
            "sqs",
            args.source_config.as_deref(),
            secrets,
        );
        let sink: Option<Connector<postgres_sink::Config>> = load(
            report,
            "sink",
            "postgres",
            args.sink_config.as_deref(),
            secrets,
        );
        #[cfg(feature = "lake")]
        let lake: Option<Connector<lake_sink::Config>> = match &args.lake_config {
            Some(file) => load(report, "lake", "lake", Some(file), secrets),
            None => None,
        };
        // The URL does not replace a malformed file.
        let queue = match (&source, &args.source_config) {
            (Some(source), _) => Some(source.config.clone()),
            (None, Some(_)) => None,
            (None, None) => args.queue.queue_url.as_deref().and_then(queue_at),
        };
        let database = match (&sink, &args.sink_config) {
            (Some(sink), _) => Some(sink.config.database()),
            (None, Some(_)) => None,
            (None, None) => args
                .database
                .database_url
                .clone()
                .map(|url| warehouse::Settings::new(Secret::from(url), "etl")),
        };
        let topics = [
            args.topic.clone(),
            sink.as_ref().map(|sink| sink.meta.topic.name.clone()),
            source.as_ref().map(|source| source.meta.topic.name.clone()),
            #[cfg(feature = "lake")]
            lake.as_ref().map(|lake| lake.meta.topic.name.clone()),
        ];
        let topic = topics.into_iter().flatten().next();
        let deployment = Self {
            source,
            sink,
            #[cfg(feature = "lake")]
            lake,
            queue,
            database,
            topic: topic.unwrap_or_else(|| local_stack::files::TOPIC.to_owned()),
        };
        deployment.compare(report);
        deployment
    }

    /// The source's `delete-after`.
    pub fn delete_after(&self) -> Option<&DeleteAfter> {
        self.source
            .as_ref()
            .map(|source| &source.config.delete_after)
    }

    /// Returns true if the source deletes a message after commits of sinks.
    pub fn waits_for_sinks(&self) -> bool {
        let source = self.source.as_ref();
        source.is_some_and(|source| !source.config.awaited_sinks().is_empty())
    }

    /// The sink's name in `sink_offsets`.
    pub fn sink_name(&self) -> Option<&str> {
        let meta = &self.sink.as_ref()?.meta;
        Some(meta.consumer.id.as_ref().unwrap_or(&meta.name))
    }

    /// The partitions of the sink's file.
    pub fn partitions(&self) -> &Partitions {
        const ALL: &Partitions = &Partitions::All;
        let sink = self.sink.as_ref();
        sink.map_or(ALL, |sink| &sink.meta.consumer.partition)
    }

    /// Checks that the two files belong to one pipeline.
    fn compare(&self, report: &mut Report) {
        let (Some(source), Some(sink)) = (&self.source, &self.sink) else {
            return;
        };
        let (to, from) = (&source.meta.topic.name, &sink.meta.topic.name);
        if to != from {
            report.fail(
                AREA,
                "topic",
                format!("the source writes the topic `{to}` and the sink reads `{from}`"),
                "name one topic in both files",
            );
        } else {
            report.ok(
                AREA,
                "topic",
                format!("source and sink use the topic `{to}`"),
            );
        }
        let awaited = source.config.awaited_sinks();
        let name = self.sink_name().unwrap_or_default();
        let is_named = awaited.contains(&AwaitedSink::Named(name.to_owned()));
        if is_named || awaited.contains(&AwaitedSink::Tables) {
            let of_source = source.config.notifications_secret.as_ref();
            let of_sink = sink.config.notifications_secret.as_ref();
            compare_secrets(of_source, "sink", of_sink, report);
        }
        if is_named {
            let found = format!("the source waits for the sink `{name}`");
            report.ok(AREA, "sink-name", found);
        } else if let (DeleteAfter::Tables, Some(wanted)) =
            (&source.config.delete_after, &source.config.sink)
        {
            report.fail(
                AREA,
                "sink-name",
                format!(
                    "the source waits for commits of the sink `{wanted}`, and this one is `{name}`"
                ),
                "set `sqs.sink` to the sink's `meta.consumer.id`, else its `meta.name`; until \
                 then no message is deleted",
            );
        } else if !awaited.is_empty() && !awaited.contains(&AwaitedSink::Tables) {
            report.warn(
                AREA,
                "sink-name",
                format!("the source does not wait for the sink `{name}`, but for others"),
                "add the sink's `meta.consumer.id`, else its `meta.name`, to the list in \
                 `delete-after`, unless its tables may lack events after a failure of the topic",
            );
        }
    }
}

/// Checks that the source accepts the commit notifications of a sink, and no others.
pub fn compare_secrets(
    source: Option<&Secret>,
    whose: &str,
    sink: Option<&Secret>,
    report: &mut Report,
) {
    const CHECK: &str = "notifications-secret";
    const FIX: &str = "set `notifications-secret` to the same secret in both files";
    if source.is_none() {
        let found = "the source accepts unsigned commit notifications: whoever can write to their \
                     topic can have messages deleted that are not in the tables";
        report.warn(AREA, CHECK, found, FIX);
    } else if source == sink {
        let found =
            format!("the source accepts commit notifications with the {whose}'s signature only");
        report.ok(AREA, CHECK, found);
    } else {
        let found =
            format!("the {whose} does not sign commit notifications with the source's secret");
        report.fail(
            AREA,
            CHECK,
            found,
            format!("{FIX}; until then no message is deleted"),
        );
    }
}

/// Loads the file of a connector and reports its errors.
fn load<C: DeserializeOwned + Validate>(
    report: &mut Report,
    name: &'static str,
    section: &str,
    file: Option<&Path>,
    secrets: Option<&Path>,
) -> Option<Connector<C>> {
    let Some(file) = file else {
        report.skip(AREA, name, format!("not checked; use --{name}-config FILE"));
        return None;
    };
    match Connector::load(section, file, secrets) {
        Ok(connector) => {
            report.ok(AREA, name, format!("{} is valid", file.display()));
            Some(connector)
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            report.fail(
                AREA,
                name,
                format!("{error}{}", cause.unwrap_or_default()),
                FIX,
            );
            None
        }
    }
}

fn queue_at(url: &str) -> Option<sqs_source::Config> {
    serde_json::from_value(json!({ "queue-url": url })).ok()
}
