//! The AWS SDK's client, with the credentials that the configuration says. One for all queues: it holds the
//! connections.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sqs::Client;

use super::{timeouts, unexpected};
use crate::config::Config;
use crate::queue::QueueError;

/// By which CloudTrail shows what a role was used for.
const SESSION: &str = "sqs-source";

/// A client for the queues of `config`.
///
/// # Errors
/// No AWS region is known.
pub async fn client(config: &Config) -> Result<Client, QueueError> {
    // The source decides itself what is tried again and when; a second layer of retries would hide
    // throttling from it and multiply its pauses.
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::disabled())
        // No call streams anything: its timeout is enough, and to watch over the speed of each costs time.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(timeouts(Duration::ZERO));
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &config.profile {
        loader = loader.profile_name(profile);
    }
    if let (Some(id), Some(secret)) = (&config.access_key_id, &config.secret_access_key) {
        loader = loader.credentials_provider(Credentials::new(
            id.reveal(),
            secret.reveal(),
            None,
            None,
            "configuration",
        ));
    }
    let loaded = loader.load().await;
    // Without a region each call would fail, in a way that looks like a network's fault.
    if loaded.region().is_none() {
        let queues = config.queues();
        let queue = queues.first().map_or("", |queue| queue.shown());
        let detail = "no AWS region is known; set `region`, or AWS_REGION in the environment";
        return Err(unexpected("GetQueueAttributes", queue, detail));
    }
    let loaded = match &config.assume_role {
        Some(role) => with_role(loaded, role, config.external_id.as_deref()).await,
        None => loaded,
    };
    let mut client = aws_sdk_sqs::config::Builder::from(&loaded);
    if let Some(url) = &config.endpoint_url {
        client = client.endpoint_url(url);
    }
    Ok(Client::from_conf(client.build()))
}

/// The same with the credentials of a role, renewed before they expire.
async fn with_role(loaded: SdkConfig, role: &str, external_id: Option<&str>) -> SdkConfig {
    let mut provider = AssumeRoleProvider::builder(role)
        .session_name(SESSION)
        .configure(&loaded);
    if let Some(id) = external_id {
        provider = provider.external_id(id);
    }
    let provider = provider.build().await;
    loaded
        .into_builder()
        .credentials_provider(SharedCredentialsProvider::new(provider))
        .build()
}
