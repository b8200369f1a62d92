//! The queue, in the embedded endpoint or on another SQS server, and its clients.

use std::time::Duration;

use anyhow::anyhow;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::QueueAttributeName;

/// The queue's name.
pub const QUEUE: &str = "shop-events";

/// The AWS region that all parts use.
pub const REGION: &str = "us-east-1";
/// An access key for local servers, which don't check it.
pub const ACCESS_KEY: &str = "local";

/// Returns a client for the SQS server at `endpoint`.
#[must_use]
pub fn client(endpoint: &str) -> Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new(
            ACCESS_KEY, ACCESS_KEY, None, None, "local",
        ))
        .build();
    Client::from_conf(config)
}

/// Returns the environment variables with which programs of the AWS SDKs use `endpoint`.
#[must_use]
pub fn environment(endpoint: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL_SQS", endpoint.to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", ACCESS_KEY.to_owned()),
    ]
}

/// Creates the queue at `sqs_url` if it doesn't exist, and returns its URL. The name of a FIFO
/// queue ends with `.fifo`, as AWS requires.
///
/// # Errors
/// There is no SQS server, or it refuses the queue.
pub async fn create(
    sqs_url: &str,
    fifo: bool,
    visibility_timeout: Option<Duration>,
) -> anyhow::Result<String> {
    let name = format!("{QUEUE}{}", if fifo { ".fifo" } else { "" });
    let mut request = client(sqs_url).create_queue().queue_name(&name);
    if fifo {
        request = request.attributes(QueueAttributeName::FifoQueue, "true");
    }
    if let Some(timeout) = visibility_timeout {
        let seconds = timeout.as_secs().to_string();
        request = request.attributes(QueueAttributeName::VisibilityTimeout, seconds);
    }
    let created = request.send().await.map_err(|error| {
        anyhow!(
            "cannot create the queue `{name}` at {sqs_url}: {}",
            error.into_service_error()
        )
    })?;
    created.queue_url.ok_or_else(|| {
        anyhow!(
            "the SQS server at {sqs_url} returned no URL for the queue \
            `{name}`"
        )
    })
}
