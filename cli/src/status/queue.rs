//! The queue's part of a reading.

use anyhow::{Context, anyhow};
use aws_config::BehaviorVersion;
use aws_sdk_sqs::types::QueueAttributeName::{
    self, ApproximateNumberOfMessages, ApproximateNumberOfMessagesDelayed,
    ApproximateNumberOfMessagesNotVisible,
};
use serde::Serialize;
use sqs_source::sqs::words;

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
    let answer = aws_sdk_sqs::Client::new(&config)
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(ApproximateNumberOfMessages)
        .attribute_names(ApproximateNumberOfMessagesNotVisible)
        .attribute_names(ApproximateNumberOfMessagesDelayed)
        .send()
        .await
        .map_err(|error| anyhow!("{url}: {}", words(&error)))?;
    let number = |name: QueueAttributeName| answer.attributes()?.get(&name)?.parse().ok();
    Ok(Queue {
        url: url.to_owned(),
        visible: number(ApproximateNumberOfMessages),
        in_flight: number(ApproximateNumberOfMessagesNotVisible),
        delayed: number(ApproximateNumberOfMessagesDelayed),
    })
}
