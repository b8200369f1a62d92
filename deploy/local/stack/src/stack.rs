//! The stack: starts all parts in order, monitors them, stops them in order.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fluvio::FluvioAdmin;
use fluvio::metadata::topic::TopicSpec;
use owned_process::{OwnedProcess, Signal};
use private_postgres::PrivatePostgres;
use sqs_endpoint::Endpoint;
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::artefacts::Artefacts;
use crate::cluster::TopicEnd;
use crate::files::{Files, Folder, LAKE_COMMITTED, TOPIC};
use crate::launch::{self, Launch, PARTS, Part};
use crate::{cluster, files, queue};

/// The environment variable for a connector's metrics socket.
const METRICS: &str = "FLUVIO_METRIC_CONNECTOR";
const TABLES_TIMEOUT: Duration = Duration::from_secs(60);
/// The time to stop a connector. The source takes up to 20 s for its in-flight messages.
const CONNECTOR_STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The configuration of a stack.
#[derive(Debug, Default)]
pub struct StackOptions {
    /// The folder for all data. Default: a temporary folder that is removed at the end.
    pub data_dir: Option<PathBuf>,
    /// The URL of the database. Default: a private server.
    pub database_url: Option<String>,
    /// The SQS server.
    pub sqs: Sqs,
    /// The Fluvio cluster.
    pub fluvio: Fluvio,
    /// Creates a FIFO queue, which the embedded endpoint does not support.
    pub fifo: bool,
    /// The queue's visibility timeout. Default: the server's.
    pub visibility_timeout: Option<Duration>,
    /// The number of the topic's partitions. Default: that of `deploy/cluster/topic.yaml`.
    pub partitions: Option<u32>,
    /// Parameters of the sink's SmartModule.
    pub parameters: Vec<(String, String)>,
    /// The embedded node's address, if it runs in a network namespace. Default: 127.0.0.1.
    pub node_host: Option<IpAddr>,
    /// Words before the command line of a part, such as `nsenter --net=FILE`.
    pub prefixes: Vec<(Part, Vec<String>)>,
    /// The folder of the lake's tables. Default: no lake sink.
    pub lake: Option<PathBuf>,
}

/// The Fluvio cluster of a stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fluvio {
    /// An embedded node.
    #[default]
    Embedded,
    /// The cluster of the current Fluvio profile. The stack creates a topic with a unique name
    /// there and deletes it when it stops.
    CurrentProfile,
}

/// The SQS server of a stack.
#[derive(Clone, Debug, Default)]
pub enum Sqs {
    /// The endpoint of this repository, in this process.
    #[default]
    Embedded,
    /// Another server at this URL.
    At(String),
}

/// The running pipeline.
pub struct Stack {
    folder: Folder,
    artefacts: Artefacts,
    files: Files,
    fluvio: Fluvio,
    fluvio_address: String,
    topic: String,
    sc: SocketAddr,
    spu: SocketAddr,
    sqs_url: String,
    queue_url: String,
    database_url: String,
    prefixes: Vec<(Part, Vec<String>)>,
    lake_folder: Option<PathBuf>,
    // Fields are dropped in this order: each writer before its target.
    source: Option<OwnedProcess>,
    sink: Option<OwnedProcess>,
    lake: Option<OwnedProcess>,
    node: Option<OwnedProcess>,
    endpoint: Option<Endpoint>,
    postgres: Option<PrivatePostgres>,
}

impl Stack {
    /// Starts everything. `on_step` gets the name of each step.
    ///
    /// # Errors
    /// A part does not start; the error has the end of its log. All started parts are stopped.
    pub async fn start(
        options: StackOptions,
        mut on_step: impl FnMut(&str),
    ) -> anyhow::Result<Self> {
        let artefacts = match options.lake {
            Some(_) => Artefacts::find_with_lake()?,
            None => Artefacts::find()?,
        };
        // The catalog is in the database. A lake whose catalog is gone is nobody's.
        let is_kept = options.data_dir.is_some() || options.database_url.is_some();
        let lake_folder = match &options.lake {
            Some(folder) => Some(files::lake_folder(folder, is_kept)?),
            None => None,
        };
        let folder = Folder::new(options.data_dir.as_deref())?;

        let postgres = if options.database_url.is_none() {
            on_step("PostgreSQL");
            private_postgres::let_server_in(folder.path())?;
            Some(PrivatePostgres::start_in(&folder.path().join("postgres")).await?)
        } else {
            None
        };
        let database_url = match (&postgres, options.database_url) {
            (Some(server), _) => server.url(),
            (None, Some(url)) => url,
            (None, None) => bail!("there is neither a private database nor a database URL"),
        };

        on_step("the queue");
        let (endpoint, sqs_url) = match options.sqs {
            Sqs::Embedded => {
                let endpoint = Endpoint::start((Ipv4Addr::LOCALHOST, 0).into()).await?;
                let url = endpoint.url().to_owned();
                (Some(endpoint), url)
            }
            Sqs::At(url) => (None, url),
        };
        let queue_url = queue::create(&sqs_url, options.fifo, options.visibility_timeout).await?;
        let topic = match options.fluvio {
            Fluvio::Embedded => TOPIC.to_owned(),
            Fluvio::CurrentProfile => cluster::unused_topic_name()?,
        };
        let files = Files::write(
            folder.path(),
            &topic,
            &options.parameters,
            &[
                ("QUEUE_URL", &queue_url),
                ("DATABASE_URL", &database_url),
                ("NOTIFICATIONS_SECRET", &Uuid::new_v4().to_string()),
            ],
            lake_folder.as_deref(),
        )?;

        let host = options.node_host.unwrap_or(Ipv4Addr::LOCALHOST.into());
        let sc = SocketAddr::new(host, private_postgres::free_port()?);
        let mut stack = Self {
            folder,
            artefacts,
            files,
            fluvio: options.fluvio,
            fluvio_address: sc.to_string(),
            topic,
            sc,
            spu: SocketAddr::new(host, private_postgres::free_port()?),
            sqs_url,
            queue_url,
            database_url,
            prefixes: options.prefixes,
            lake_folder,
            source: None,
            sink: None,
            lake: None,
            node: None,
            endpoint,
            postgres,
        };
        match options.fluvio {
            Fluvio::Embedded => {
                on_step("the Fluvio node");
                stack.start_part(Part::Node).await?;
            }
            Fluvio::CurrentProfile => {
                stack.fluvio_address = cluster::copy_current_profile(&stack.profile())?;
            }
        }
        on_step("the topic and the SmartModules");
        let admin = stack.admin().await?;
        cluster::create_topic(&admin, &stack.topic, options.partitions).await?;
        let flatten_items = stack.artefacts.flatten_items();
        cluster::load_smart_module(&admin, files::FLATTEN_ITEMS, &flatten_items).await?;
        let list_items = stack.artefacts.list_items();
        cluster::load_smart_module(&admin, files::LIST_ITEMS, &list_items).await?;
        let raw_events = stack.artefacts.raw_events();
        cluster::load_smart_module(&admin, files::RAW_EVENTS, &raw_events).await?;
        on_step("the connectors");
        stack.start_part(Part::Source).await?;
        stack.start_part(Part::Sink).await?;
        stack.wait_for_tables().await?;
        if let Some(folder) = stack.lake_folder.clone() {
            stack.start_part(Part::Lake).await?;
            let committed = folder.join(LAKE_COMMITTED);
            stack
                .wait_until(Part::Lake, async || Ok(committed.exists()))
                .await?;
        }
        Ok(stack)
    }

    /// Waits until the PostgreSQL sink has created its tables, so callers can query them.
    async fn wait_for_tables(&mut self) -> anyhow::Result<()> {
        let (client, connection) = tokio_postgres::connect(&self.database_url, NoTls)
            .await
            .context("cannot connect to the database")?;
        tokio::spawn(connection);
        let query = "SELECT to_regclass('product_interactions') IS NOT NULL";
        self.wait_until(Part::Sink, async || {
            Ok(client.query_one(query, &[]).await?.get(0))
        })
        .await
    }

    /// Waits until a sink has created its tables.
    async fn wait_until(
        &mut self,
        sink: Part,
        are_created: impl AsyncFn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            if are_created().await? {
                return Ok(());
            }
            if let Some((part, status)) = self.ended()?.first() {
                bail!("{}", self.launch(*part).ended(*status));
            }
            if began.elapsed() > TABLES_TIMEOUT {
                bail!(
                    "{sink} did not create its tables within {TABLES_TIMEOUT:?}:\n{}",
                    self.launch(sink).log_tail(10)
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts a stopped part with the same files and addresses as before.
    ///
    /// # Errors
    /// The part can't be started, or the node isn't ready in time.
    pub async fn start_part(&mut self, part: Part) -> anyhow::Result<()> {
        if part == Part::Node && self.fluvio == Fluvio::CurrentProfile {
            bail!("this program can't start the cluster of the current Fluvio profile");
        }
        let launch = self.launch(part);
        let process = match part {
            Part::Node => launch.start_and_wait().await?,
            Part::Source | Part::Sink | Part::Lake => launch.start(Stdio::null())?,
        };
        *self.slot(part) = Some(process);
        Ok(())
    }

    /// Kills a part immediately, like a crash.
    ///
    /// # Errors
    /// The operating system can't wait for the process.
    pub async fn kill(&mut self, part: Part) -> anyhow::Result<()> {
        if let Some(mut process) = self.slot(part).take() {
            process.signal(Signal::SIGKILL);
            process.wait().await?;
        }
        Ok(())
    }

    /// Stops a part cleanly.
    ///
    /// # Errors
    /// The operating system can't stop the process.
    pub async fn stop_part(&mut self, part: Part) -> anyhow::Result<Option<ExitStatus>> {
        match self.slot(part).take() {
            Some(process) => Ok(Some(process.stop(CONNECTOR_STOP_TIMEOUT).await?)),
            None => Ok(None),
        }
    }

    /// Returns the parts that have ended by themselves since the last call, with their exit status.
    ///
    /// # Errors
    /// The operating system can't query a process.
    pub fn ended(&mut self) -> anyhow::Result<Vec<(Part, ExitStatus)>> {
        let mut ended = Vec::new();
        for part in PARTS {
            let slot = self.slot(part);
            if let Some(process) = slot
                && let Some(status) = process.ended()?
            {
                *slot = None;
                ended.push((part, status));
            }
        }
        Ok(ended)
    }

    /// Returns the exit status and the end of the log of the private database if it has ended. It
    /// can't be started again: the parts have its port and its password.
    ///
    /// # Errors
    /// The operating system can't query its process.
    pub fn database_ended(&mut self) -> anyhow::Result<Option<String>> {
        let Some(server) = &mut self.postgres else {
            return Ok(None);
        };
        let ended = server.process().ended()?;
        Ok(ended.map(|status| launch::ended("PostgreSQL", status, &server.log_tail())))
    }

    /// Returns true if all parts that this process starts are running.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let has_node = self.node.is_some() || self.fluvio == Fluvio::CurrentProfile;
        let has_lake = self.lake.is_some() || self.lake_folder.is_none();
        has_node && has_lake && self.source.is_some() && self.sink.is_some()
    }

    /// Returns the process id of a running part.
    #[must_use]
    pub fn pid(&self, part: Part) -> Option<u32> {
        let process = match part {
            Part::Node => &self.node,
            Part::Source => &self.source,
            Part::Sink => &self.sink,
            Part::Lake => &self.lake,
        };
        process.as_ref().and_then(OwnedProcess::pid)
    }

    /// Returns the command line of a part.
    #[must_use]
    pub fn launch(&self, part: Part) -> Launch {
        let path = |path: &Path| path.display().to_string();
        let profile = self.profile();
        let prefix = self.prefixes.iter().find(|(of, _)| *of == part);
        let prefix = prefix.map_or(Vec::new(), |(_, words)| words.clone());
        let connector = |config: &Path, mut environment: Vec<(&'static str, String)>| {
            environment.push(("FLV_PROFILE_PATH", path(&profile)));
            environment.push((
                METRICS,
                path(&self.folder.path().join(format!("{part}.sock"))),
            ));
            Launch {
                part,
                prefix: prefix.clone(),
                program: self.artefacts.program(part.program()),
                arguments: vec![
                    "--config".to_owned(),
                    path(config),
                    "--secrets".to_owned(),
                    path(&self.files.secrets),
                ],
                environment,
                log: self.log(part),
            }
        };
        match part {
            Part::Node => Launch {
                part,
                prefix,
                program: self.artefacts.program(part.program()),
                arguments: vec![
                    "--data-dir".to_owned(),
                    path(&self.folder.path().join("fluvio")),
                    "--sc-addr".to_owned(),
                    self.sc.to_string(),
                    "--spu-addr".to_owned(),
                    self.spu.to_string(),
                    "--profile".to_owned(),
                    path(&profile),
                ],
                environment: Vec::new(),
                log: self.log(part),
            },
            Part::Source => connector(&self.files.source, queue::environment(&self.sqs_url)),
            Part::Sink => connector(&self.files.sink, Vec::new()),
            Part::Lake => connector(&self.files.lake, Vec::new()),
        }
    }

    /// Stops everything in order: the source finishes its in-flight messages, the sinks commit.
    ///
    /// # Errors
    /// A part could not be stopped. The others are stopped nevertheless; the first error is
    /// returned.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let mut first_error = None;
        for part in [Part::Source, Part::Sink, Part::Lake, Part::Node] {
            if let Err(error) = self.stop_part(part).await {
                first_error.get_or_insert(error);
            }
        }
        if self.fluvio == Fluvio::CurrentProfile
            && let Err(error) = self.delete_topics().await
        {
            first_error.get_or_insert(error);
        }
        if let Some(endpoint) = self.endpoint.take() {
            endpoint.stop().await;
        }
        if let Some(postgres) = self.postgres.take()
            && let Err(error) = postgres.stop().await
        {
            first_error.get_or_insert(error);
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Returns the database's URL, including the password.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// Returns the URL of the queue that the source reads.
    #[must_use]
    pub fn queue_url(&self) -> &str {
        &self.queue_url
    }

    /// Returns the URL of the SQS server.
    #[must_use]
    pub fn sqs_url(&self) -> &str {
        &self.sqs_url
    }

    /// Returns the embedded endpoint; `None` with another SQS server.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.as_ref()
    }

    /// Returns the number of undeleted messages, in flight or not; `None` with another SQS server.
    #[must_use]
    pub fn undeleted(&self) -> Option<usize> {
        Some(self.endpoint.as_ref()?.queue(queue::QUEUE)?.undeleted())
    }

    /// Returns the Fluvio cluster's address for clients.
    #[must_use]
    pub fn fluvio_address(&self) -> &str {
        &self.fluvio_address
    }

    /// Returns the topic between the connectors.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Connects an admin client to the Fluvio cluster.
    ///
    /// # Errors
    /// There is no cluster at the profile's address.
    pub async fn admin(&self) -> anyhow::Result<FluvioAdmin> {
        cluster::admin(&self.profile()).await
    }

    /// Adds partitions to the topic of the running stack.
    ///
    /// # Errors
    /// The cluster refuses the change.
    pub async fn add_partitions(&self, count: u32) -> anyhow::Result<()> {
        cluster::add_partitions(&self.admin().await?, &self.topic, count).await
    }

    /// Connects a reader of the topic's end offset.
    ///
    /// # Errors
    /// There is no cluster at the profile's address.
    pub async fn topic_end(&self) -> anyhow::Result<TopicEnd> {
        TopicEnd::connect(Some(&self.profile()), &self.topic).await
    }

    /// Returns the path of the cluster's Fluvio profile.
    #[must_use]
    pub fn profile(&self) -> PathBuf {
        self.folder.path().join("fluvio-profile.toml")
    }

    /// Returns the folder with data, files and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the folder of the lake's tables, if the stack has a lake.
    #[must_use]
    pub fn lake_folder(&self) -> Option<&Path> {
        self.lake_folder.as_deref()
    }

    /// Returns the paths of the connectors' files.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Deletes the topic and the topic of the sink's commit notifications.
    async fn delete_topics(&self) -> anyhow::Result<()> {
        let admin = self.admin().await?;
        for topic in [self.topic.clone(), format!("{}-committed", self.topic)] {
            admin
                .delete::<TopicSpec>(topic.clone())
                .await
                .with_context(|| format!("cannot delete the topic `{topic}`"))?;
        }
        Ok(())
    }

    fn log(&self, part: Part) -> PathBuf {
        self.folder.path().join(format!("{part}.log"))
    }

    fn slot(&mut self, part: Part) -> &mut Option<OwnedProcess> {
        match part {
            Part::Node => &mut self.node,
            Part::Source => &mut self.source,
            Part::Sink => &mut self.sink,
            Part::Lake => &mut self.lake,
        }
    }
}
