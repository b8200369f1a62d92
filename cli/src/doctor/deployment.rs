//! What is checked: the connectors' own files, or what the command line and the environment name.

use std::path::Path;

use connector_common::{Connector, Partitions, Secret, Validate};
use serde::de::DeserializeOwned;
use serde_json::json;
use sqs_source::config::DeleteAfter;

use super::Args;
use super::report::Report;

const AREA: &str = "files";
const MEND: &str = "correct it; the connector's sample-config.yaml shows every key";

/// A deployment, as far as it is known.
pub struct Deployment {
    /// The source's file.
    pub source: Option<Connector<sqs_source::Config>>,
    /// The sink's file.
    pub sink: Option<Connector<postgres_sink::Config>>,
    /// The queue's section of the file, or one made of the queue's URL.
    pub queue: Option<sqs_source::Config>,
    /// The database's section of the file, or one made of the database's URL.
    pub database: Option<postgres_sink::Config>,
    /// The topic.
    pub topic: String,
}

impl Deployment {
    /// Reads the files, and reports what is wrong with them.
    pub fn read(args: &Args, report: &mut Report) -> Self {
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
        // A file that is not sound is checked no further, not even by what else is named.
        let queue = match (&source, &args.source_config) {
            (Some(source), _) => Some(source.config.clone()),
            (None, Some(_)) => None,
            (None, None) => args.queue_url.as_deref().and_then(queue_at),
        };
        let database = match (&sink, &args.sink_config) {
            (Some(sink), _) => Some(sink.config.clone()),
            (None, Some(_)) => None,
            (None, None) => args.database_url.clone().map(|url| {
                let config = postgres_sink::Config::new(Secret::from(url));
                postgres_sink::Config {
                    application_name: "etl".to_owned(),
                    ..config
                }
            }),
        };
        let topics = [
            args.topic.clone(),
            sink.as_ref().map(|sink| sink.meta.topic.name.clone()),
            source.as_ref().map(|source| source.meta.topic.name.clone()),
        ];
        let topic = topics.into_iter().flatten().next();
        let deployment = Self {
            source,
            sink,
            queue,
            database,
            topic: topic.unwrap_or_else(|| local_stack::files::TOPIC.to_owned()),
        };
        deployment.compare(report);
        deployment
    }

    /// What has to hold a message before the source deletes it, if the source's file is there to tell.
    pub fn delete_after(&self) -> Option<DeleteAfter> {
        self.source
            .as_ref()
            .map(|source| source.config.delete_after)
    }

    /// The name that the sink's offsets are kept under.
    pub fn sink_name(&self) -> Option<&str> {
        let meta = &self.sink.as_ref()?.meta;
        Some(meta.consumer.id.as_ref().unwrap_or(&meta.name))
    }

    /// The partitions that the sink's file names.
    pub fn partitions(&self) -> &Partitions {
        const ALL: &Partitions = &Partitions::All;
        let sink = self.sink.as_ref();
        sink.map_or(ALL, |sink| &sink.meta.consumer.partition)
    }

    /// Whether the two files are of one pipeline.
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
            report.ok(AREA, "topic", format!("source and sink meet in `{to}`"));
        }
        if let Some(wanted) = &source.config.sink {
            let name = self.sink_name().unwrap_or_default();
            if wanted == name {
                report.ok(
                    AREA,
                    "sink-name",
                    format!("the source waits for the sink `{name}`"),
                );
            } else {
                report.fail(
                    AREA,
                    "sink-name",
                    format!("the source waits for commits of the sink `{wanted}`, and this one is `{name}`"),
                    "set `sqs.sink` to the sink's `meta.consumer.id`, else its `meta.name`; until then no message is deleted",
                );
            }
        }
    }
}

/// The file of a connector; reports whether it is sound.
fn load<C: DeserializeOwned + Validate>(
    report: &mut Report,
    name: &'static str,
    section: &str,
    file: Option<&Path>,
    secrets: Option<&Path>,
) -> Option<Connector<C>> {
    let Some(file) = file else {
        report.skip(
            AREA,
            name,
            format!("not read; --{name}-config FILE names it"),
        );
        return None;
    };
    match Connector::load(section, file, secrets) {
        Ok(connector) => {
            report.ok(AREA, name, format!("{} is sound", file.display()));
            Some(connector)
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            report.fail(
                AREA,
                name,
                format!("{error}{}", cause.unwrap_or_default()),
                MEND,
            );
            None
        }
    }
}

fn queue_at(url: &str) -> Option<sqs_source::Config> {
    serde_json::from_value(json!({ "queue-url": url })).ok()
}
