//! The queue's side: an endpoint of our own or somebody's server, and a client for either.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};

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
