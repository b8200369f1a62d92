//! All of it: started in order, watched, stopped in order.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fluvio::metadata::topic::TopicSpec;
use owned_process::{OwnedProcess, Signal};
use private_postgres::PrivatePostgres;
use sqs_endpoint::Endpoint;
use tokio_postgres::NoTls;

use crate::artefacts::Artefacts;
use crate::files::{Files, TOPIC};
use crate::folder::Folder;
use crate::launch::Launch;
use crate::options::{Fluvio, Sqs, StackOptions};
use crate::part::{PARTS, Part};
use crate::{cluster, files, queue};

mod addresses;

/// Names a connector's metric socket.
const METRICS: &str = "FLUVIO_METRIC_CONNECTOR";
const TABLES_LIMIT: Duration = Duration::from_secs(60);
/// The source gives itself 20 s to settle what is in hand.
const CONNECTOR_STOP_LIMIT: Duration = Duration::from_secs(30);

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
    // Dropped in this order: whoever writes goes before whom it writes to.
    source: Option<OwnedProcess>,
    sink: Option<OwnedProcess>,
    node: Option<OwnedProcess>,
    endpoint: Option<Endpoint>,
    postgres: Option<PrivatePostgres>,
}

impl Stack {
    /// Starts everything; `on_step` is told what is being started.
    ///
    /// # Errors
    /// The first part that does not start, with the end of its log. What was started is stopped.
    pub async fn start(
        options: StackOptions,
        mut on_step: impl FnMut(&str),
    ) -> anyhow::Result<Self> {
        let artefacts = Artefacts::find()?;
        let folder = Folder::new(options.data_dir.as_deref())?;

        let postgres = if options.database_url.is_none() {
            on_step("PostgreSQL");
            Some(PrivatePostgres::start_in(&folder.path().join("postgres")).await?)
        } else {
            None
        };
        let database_url = match (&postgres, options.database_url) {
            (Some(server), _) => server.url(),
            (None, Some(url)) => url,
            (None, None) => bail!("there is neither a private database nor a URL of one"),
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
            &[("QUEUE_URL", &queue_url), ("DATABASE_URL", &database_url)],
        )?;

        let sc = free_address()?;
        let mut stack = Self {
            folder,
            artefacts,
            files,
            fluvio: options.fluvio,
            fluvio_address: sc.to_string(),
            topic,
            sc,
            spu: free_address()?,
            sqs_url,
            queue_url,
            database_url,
            source: None,
            sink: None,
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
        on_step("the connectors");
        stack.start_part(Part::Source).await?;
        stack.start_part(Part::Sink).await?;
        stack.wait_for_tables().await?;
        Ok(stack)
    }

    /// Waits until the sink has made its tables, which is when everything can be asked about.
    async fn wait_for_tables(&mut self) -> anyhow::Result<()> {
        let (client, connection) = tokio_postgres::connect(&self.database_url, NoTls)
            .await
            .context("cannot connect to the database")?;
        tokio::spawn(connection);
        let began = Instant::now();
        loop {
            let query = "SELECT to_regclass('product_interactions') IS NOT NULL";
            if client.query_one(query, &[]).await?.get(0) {
                return Ok(());
            }
            if let Some((part, status)) = self.ended()?.first() {
                bail!(
                    "{part} gave up ({status}):\n{}",
                    self.launch(*part).log_tail(10)
                );
            }
            if began.elapsed() > TABLES_LIMIT {
                bail!(
                    "the sink has not made its tables in {TABLES_LIMIT:?}:\n{}",
                    self.launch(Part::Sink).log_tail(10)
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts a part that isn't running, with the same files and addresses as before.
    ///
    /// # Errors
    /// It can't be started; for the node also when it isn't ready in time.
    pub async fn start_part(&mut self, part: Part) -> anyhow::Result<()> {
        if part == Part::Node && self.fluvio == Fluvio::CurrentProfile {
            bail!("the cluster of the current Fluvio profile is not this program's to start");
        }
        let launch = self.launch(part);
        let process = match part {
            Part::Node => launch.start_and_wait().await?,
            Part::Source | Part::Sink => launch.start(Stdio::null())?,
        };
        *self.slot(part) = Some(process);
        Ok(())
    }

    /// Kills a part on the spot, as a crash would.
    ///
    /// # Errors
    /// The operating system's own.
    pub async fn kill(&mut self, part: Part) -> anyhow::Result<()> {
        if let Some(mut process) = self.slot(part).take() {
            process.signal(Signal::SIGKILL);
            process.wait().await?;
        }
        Ok(())
    }

    /// Stops a part in good order.
    ///
    /// # Errors
    /// The operating system's own.
    pub async fn stop_part(&mut self, part: Part) -> anyhow::Result<Option<ExitStatus>> {
        match self.slot(part).take() {
            Some(process) => Ok(Some(process.stop(CONNECTOR_STOP_LIMIT).await?)),
            None => Ok(None),
        }
    }

    /// The parts that have ended since the last call without being told to, and how.
    ///
    /// # Errors
    /// The operating system's own.
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

    /// Whether every part runs, as far as this process started it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let has_node = self.node.is_some() || self.fluvio == Fluvio::CurrentProfile;
        has_node && self.source.is_some() && self.sink.is_some()
    }

    /// The process id of a part that runs.
    #[must_use]
    pub fn pid(&self, part: Part) -> Option<u32> {
        let process = match part {
            Part::Node => &self.node,
            Part::Source => &self.source,
            Part::Sink => &self.sink,
        };
        process.as_ref().and_then(OwnedProcess::pid)
    }

    /// How a part is started.
    #[must_use]
    pub fn launch(&self, part: Part) -> Launch {
        let path = |path: &Path| path.display().to_string();
        let profile = self.profile();
        let connector = |config: &Path, mut environment: Vec<(&'static str, String)>| {
            environment.push(("FLV_PROFILE_PATH", path(&profile)));
            environment.push((
                METRICS,
                path(&self.folder.path().join(format!("{part}.sock"))),
            ));
            Launch {
                part,
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
        }
    }

    /// Stops everything in order: the source settles what it has in hand, the sink commits.
    ///
    /// # Errors
    /// The first part that could not be stopped; the others are stopped all the same.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let mut first_error = None;
        for part in [Part::Source, Part::Sink, Part::Node] {
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

    /// Deletes the topic, and the one on which the sink announces its commits.
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
        }
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?)
}
