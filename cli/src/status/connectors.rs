//! The connectors' part of a reading: what they say of themselves at their `metrics-address`.

use futures_util::future::join_all;
use serde::Serialize;

use crate::endpoint::{Endpoint, Metrics};

/// A connector.
#[derive(Serialize)]
pub struct Connector {
    /// What it is.
    pub kind: Kind,
    /// Where it was asked.
    pub address: String,
    /// Why it could not be asked; `null` where it answered.
    pub error: Option<String>,
    /// Whether it does its work; `null` where it could not be asked.
    pub ready: Option<bool>,
    /// What keeps it from its work: a part and the reason each.
    pub troubles: Vec<String>,
    /// Of a source: messages received and not yet deleted.
    pub messages_in_hand: Option<u64>,
    /// Of a source: since the oldest message in hand was sent to the queue.
    pub oldest_in_hand_seconds: Option<u64>,
    /// Of a source: whether messages stay in the queue, by `delete-after: never`.
    pub messages_stay: Option<bool>,
    /// Of such a source: messages that it remembers as produced, and drops when they come again.
    pub messages_remembered: Option<u64>,
    /// Since its start: of a source, records that the topic has acknowledged; of a sink, records committed.
    pub records: Option<u64>,
    /// Of a sink: facts that were new, since its start.
    pub facts: Option<u64>,
    /// Those records since the last reading.
    pub records_per_second: Option<f64>,
    /// Those facts since the last reading.
    pub facts_per_second: Option<f64>,
}

/// What a connector is.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It reads the queue.
    Source,
    /// It writes the tables.
    Sink,
}

/// Asks all of them at once.
pub async fn read(sources: &[Endpoint], sinks: &[Endpoint]) -> Vec<Connector> {
    let sources = sources.iter().map(|one| ask(Kind::Source, one));
    let sinks = sinks.iter().map(|one| ask(Kind::Sink, one));
    let (mut sources, sinks) = tokio::join!(join_all(sources), join_all(sinks));
    sources.extend(sinks);
    sources
}

async fn ask(kind: Kind, endpoint: &Endpoint) -> Connector {
    let asked = tokio::try_join!(endpoint.troubles(), endpoint.metrics());
    let (error, ready, troubles, metrics) = match asked {
        Ok((troubles, metrics)) => (None, Some(troubles.is_empty()), troubles, metrics),
        Err(error) => (
            Some(format!("{error:#}")),
            None,
            Vec::new(),
            Metrics::default(),
        ),
    };
    // Counts, written as floating-point numbers.
    let count = |value: Option<f64>| value.map(|value| value as u64);
    let records = match kind {
        Kind::Source => "sqs_source_records_produced_total",
        Kind::Sink => "postgres_sink_records_total",
    };
    Connector {
        kind,
        address: endpoint.to_string(),
        error,
        ready,
        troubles,
        messages_in_hand: count(metrics.sum("sqs_source_messages_in_flight")),
        oldest_in_hand_seconds: count(metrics.max("sqs_source_oldest_in_flight_seconds")),
        messages_stay: metrics
            .max("sqs_source_messages_stay_in_queue")
            .map(|stay| stay > 0.0),
        messages_remembered: count(metrics.sum("sqs_source_remembered_messages")),
        records: count(metrics.sum(records)),
        facts: count(metrics.sum("postgres_sink_facts_inserted_total")),
        records_per_second: None,
        facts_per_second: None,
    }
}
