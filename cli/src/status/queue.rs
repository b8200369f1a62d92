//! The queue's part of a reading.

use anyhow::{Context, anyhow};
use aws_config::BehaviorVersion;
use aws_sdk_sqs::Client;
use serde::Serialize;
use sqs_source::config::QueueRef;
use sqs_source::queue::Queue as _;
use sqs_source::sqs::Sqs;

/// How many messages the queue holds, approximately, as SQS counts them.
///
/// SQS tells the age of its oldest message in CloudWatch only (`ApproximateAgeOfOldestMessage`); that of the
/// oldest message in hand is with the source, in `connectors`.
#[derive(Serialize)]
pub struct Queue {
    /// Its URL.
    pub url: String,
    /// Messages to be received.
    pub visible: Option<u64>,
    /// Received and not yet deleted, by anybody.
    pub in_flight: Option<u64>,
    /// Not to be received before their delay is over.
    pub delayed: Option<u64>,
}

/// Asks for the depth of the queue at `url`.
pub async fn read(url: Option<&str>) -> anyhow::Result<Queue> {
    let url = url.context("no queue named; use --queue-url or QUEUE_URL")?;
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let queue = Sqs::open(&Client::new(&config), &QueueRef::Url(url.to_owned()), false).await?;
    let depth = queue.depth().await;
    let depth = depth.map_err(|error| anyhow!("{url}: {}", error.detail))?;
    Ok(Queue {
        url: url.to_owned(),
        visible: depth.visible,
        in_flight: depth.in_flight,
        delayed: depth.delayed,
    })
}
