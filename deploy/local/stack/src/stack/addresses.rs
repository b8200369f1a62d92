//! Where everything of a running stack is, for whoever uses it.

use std::path::{Path, PathBuf};

use fluvio::FluvioAdmin;
use sqs_endpoint::Endpoint;

use super::Stack;
use crate::topic_end::TopicEnd;
use crate::{cluster, queue};

impl Stack {
    /// The database's URL, password included.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// The URL of the queue that the source reads.
    #[must_use]
    pub fn queue_url(&self) -> &str {
        &self.queue_url
    }

    /// The URL of the SQS server.
    #[must_use]
    pub fn sqs_url(&self) -> &str {
        &self.sqs_url
    }

    /// The endpoint in this process, unless the stack runs on another SQS server.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.as_ref()
    }

    /// Messages that are in the queue, in flight or not; none where the queue isn't in this process.
    #[must_use]
    pub fn undeleted(&self) -> Option<usize> {
        Some(self.endpoint.as_ref()?.queue(queue::QUEUE)?.undeleted())
    }

    /// The Fluvio cluster's address for clients.
    #[must_use]
    pub fn fluvio_address(&self) -> &str {
        &self.fluvio_address
    }

    /// The topic between the connectors.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// A client for the administration of the Fluvio cluster.
    ///
    /// # Errors
    /// No cluster at the profile's address.
    pub async fn admin(&self) -> anyhow::Result<FluvioAdmin> {
        cluster::admin(&self.profile()).await
    }

    /// Adds partitions to the topic, with everything running.
    ///
    /// # Errors
    /// The cluster's own.
    pub async fn add_partitions(&self, count: u32) -> anyhow::Result<()> {
        cluster::add_partitions(&self.admin().await?, &self.topic, count).await
    }

    /// What tells how many records the topic holds.
    ///
    /// # Errors
    /// No cluster at the profile's address.
    pub async fn topic_end(&self) -> anyhow::Result<TopicEnd> {
        TopicEnd::connect(Some(&self.profile()), &self.topic).await
    }

    /// The Fluvio profile file that names the cluster.
    #[must_use]
    pub fn profile(&self) -> PathBuf {
        self.folder.path().join("fluvio-profile.toml")
    }

    /// The folder of the data, files and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
