//! The queue's side: an endpoint of our own or somebody's server, and a client for either.

use std::time::Duration;

use anyhow::anyhow;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::QueueAttributeName;

/// The queue's name.
pub const QUEUE: &str = "shop-events";

/// The region that everything on this machine agrees on.
pub const REGION: &str = "us-east-1";
/// A key that servers on this machine accept: they check none.
pub const ACCESS_KEY: &str = "local";

/// A client for the SQS server at `endpoint`.
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

/// What a program of the AWS SDKs needs in its environment to talk to `endpoint`.
#[must_use]
pub fn environment(endpoint: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL_SQS", endpoint.to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", ACCESS_KEY.to_owned()),
    ]
}

/// Creates the queue at `sqs_url` unless it is there, and returns its URL. The name of a `fifo` queue ends as AWS wants it.
///
/// # Errors
/// No SQS server there, or one that refuses.
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
    created
        .queue_url
        .ok_or_else(|| anyhow!("the SQS server at {sqs_url} gave no URL for the queue `{name}`"))
}
