//! The running pipeline: its processes, their supervision, and everything that a fault needs.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use aws_sdk_sqs::Client as Sqs;
use connector_common::monitor;
use end_to_end::pipeline::edit;
use local_stack::artefacts::{Artefacts, LAKE, SINK, SOURCE};
use local_stack::launch::PARTS;
use local_stack::{Part, Stack, StackOptions, queue};
use owned_process::{OwnedProcess, Signal};
use private_postgres::{PrivatePostgres, ServerOptions};
use sqs_endpoint::{Endpoint, QueueHandle};
use tokio::process::Command;

use crate::lake::LakeFiles;
use crate::network;
use crate::observer::Observer;
use crate::plan::Link;
use crate::proxy::Proxy;

/// The time for which a received message is hidden: messages in flight in a killed source come
/// again after it.
const VISIBILITY: Duration = Duration::from_secs(10);
const DEAD_LETTERS: &str = "dead-letters";
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
/// The most connections; three are for superusers.
const MAX_CONNECTIONS: usize = 32;
const RESTART_PAUSE: Duration = Duration::from_secs(1);
const READYZ_TIMEOUT: Duration = Duration::from_secs(3);

const CONNECTORS: [Part; 3] = [Part::Source, Part::Sink, Part::Lake];

/// The means to make faults on this machine.
#[derive(Clone, Copy, Debug)]
pub struct Means {
    /// Namespaces of the network and of mounts.
    pub namespaces: bool,
    /// The library that moves the clock of a process.
    pub faketime: bool,
}

impl Means {
    pub fn find(namespaces: bool) -> Self {
        Self {
            namespaces,
            faketime: Path::new(FAKETIME).is_file(),
        }
    }
}

/// The running pipeline.
pub struct World {
    pub folder: PathBuf,
    means: Means,
    pub stack: Stack,
    pub endpoint: Endpoint,
    pub sqs: Sqs,
    pub observer: Observer,
    /// In front of the queue and, for each sink, of PostgreSQL, without namespaces.
    proxies: Option<[Proxy; 3]>,
    postgres: PrivatePostgres,
    server: ServerOptions,
    /// Parts that ended by themselves, and when they are restarted.
    ended: Vec<(Part, Instant)>,
    /// The reasons of these ends.
    pub ends: Vec<String>,
}

impl World {
    /// Starts everything in `folder`. `disk` is the size of the disks of data in bytes.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn start(folder: PathBuf, means: Means, disk: u64) -> anyhow::Result<Self> {
        let postgres_folder = folder.join("postgres");
        let hosts = if means.namespaces {
            network::create().await?;
            [network::DATABASE, network::QUEUE]
        } else {
            [Ipv4Addr::LOCALHOST; 2]
        };
        // The first start only creates the database.
        let first = PrivatePostgres::start_in(&postgres_folder).await?;
        let port = first.port();
        first.stop().await?;
        allow_subnet(&postgres_folder)?;
        if means.namespaces {
            mount_disks(&folder, disk).await?;
        }
        let server = ServerOptions {
            host: hosts[0],
            port: Some(port),
            settings: [
                &format!("max_connections={MAX_CONNECTIONS}"),
                "max_wal_size=96MB",
                "min_wal_size=80MB",
                "shared_buffers=128MB",
            ]
            .map(str::to_owned)
            .to_vec(),
        };
        let postgres = PrivatePostgres::start_at(&postgres_folder, &server).await?;
        let endpoint = Endpoint::start((hosts[1], 0).into()).await?;
        let dead_letters = endpoint.create_queue(DEAD_LETTERS)?;
        let proxies = if means.namespaces {
            None
        } else {
            let queue = endpoint.url().trim_start_matches("http://").to_owned();
            let database = format!("127.0.0.1:{port}");
            Some([
                Proxy::start(queue).await?,
                Proxy::start(database.clone()).await?,
                Proxy::start(database).await?,
            ])
        };
        let sqs_url = proxies.as_ref().map_or_else(
            || endpoint.url().to_owned(),
            |[queue, ..]| format!("http://{}", queue.address),
        );
        for part in PARTS {
            set_clock(&folder, part, 0)?;
        }
        let options = StackOptions {
            data_dir: Some(folder.clone()),
            database_url: Some(postgres.url()),
            sqs: local_stack::Sqs::At(sqs_url),
            visibility_timeout: Some(VISIBILITY),
            node_host: means
                .namespaces
                .then(|| network::address(Part::Node).into()),
            prefixes: PARTS
                .map(|part| (part, prefix(means, &folder, part)))
                .to_vec(),
            lake: Some(folder.join("lake")),
            ..StackOptions::default()
        };
        let stack = Stack::start(options, |_| {}).await?;
        let mut world = Self {
            sqs: queue::client(endpoint.url()),
            observer: Observer::new(postgres.url()),
            folder,
            means,
            stack,
            endpoint,
            proxies,
            postgres,
            server,
            ended: Vec::new(),
            ends: Vec::new(),
        };
        world.configure(&dead_letters).await?;
        Ok(world)
    }

    /// Gives the sinks a role that is no superuser's, and all connectors an address for `/readyz`.
    /// The source deletes a message when both sinks have committed it.
    async fn configure(&mut self, dead_letters: &str) -> anyhow::Result<()> {
        for part in CONNECTORS {
            self.stack.stop_part(part).await?;
        }
        for role in ["sink", "idler"] {
            let statement = format!("CREATE ROLE {role} LOGIN PASSWORD '{role}'");
            self.observer.execute(&statement).await?;
        }
        self.observer.execute("GRANT etl_writer TO sink").await?;
        let catalog = "GRANT SELECT, INSERT, UPDATE \
                       ON iceberg_tables, iceberg_namespace_properties TO sink";
        self.observer.execute(catalog).await?;
        let secrets = self.secrets();
        let line = |name: &str, url: &str| format!("{name}={url}\n");
        let urls = [
            line("DATABASE_URL", &self.url_through(Link::SinkDatabase)),
            line("LAKE_DATABASE_URL", &self.url_through(Link::LakeDatabase)),
        ];
        let url = line("DATABASE_URL", self.stack.database_url());
        edit(&secrets, &url, &urls.concat())?;
        let lake = self.file(Part::Lake);
        edit(&lake, "DATABASE_URL", "LAKE_DATABASE_URL")?;
        let own = format!(
            "lake:\n  metrics-address: {}\n  share-partitions: true\n",
            self.monitor(Part::Lake, 0)
        );
        edit(&lake, "lake:\n", &own)?;
        let own = format!(
            "postgres:\n  metrics-address: {}\n  migrate: false\n",
            self.monitor(Part::Sink, 0)
        );
        edit(&self.file(Part::Sink), "postgres:\n", &own)?;
        let own = format!(
            "sqs:\n  metrics-address: {}\n  dead-letter-queue: {dead_letters}\n",
            self.monitor(Part::Source, 0)
        );
        edit(&self.file(Part::Source), "sqs:\n", &own)?;
        let one = "delete-after: tables\n  sink: shop-events-sink\n";
        let both = "delete-after: [shop-events-sink, shop-events-lake]\n";
        edit(&self.file(Part::Source), one, both)?;
        for part in CONNECTORS {
            self.stack.start_part(part).await?;
        }
        Ok(())
    }

    /// The URL of the database for `role`.
    pub fn url_of(&self, role: &str) -> String {
        let (host, port) = (self.server.host, self.postgres.port());
        format!("postgres://{role}:{role}@{host}:{port}/etl")
    }

    /// The URL that a sink gets, of the proxy if there is one.
    fn url_through(&self, link: Link) -> String {
        let url = self.url_of("sink");
        match self.proxy(link) {
            None => url,
            Some(proxy) => {
                let direct = format!("{}:{}", self.server.host, self.postgres.port());
                url.replace(&direct, &proxy.address.to_string())
            }
        }
    }

    /// The proxy that makes the faults of a connection; `None` if the network does.
    pub fn proxy(&self, link: Link) -> Option<&Proxy> {
        let [queue, of_sink, of_lake] = self.proxies.as_ref()?;
        match link {
            Link::SourceQueue => Some(queue),
            Link::SinkDatabase => Some(of_sink),
            Link::LakeDatabase => Some(of_lake),
            Link::SourceNode | Link::SinkNode | Link::LakeNode => None,
        }
    }

    /// The configuration of a connector.
    pub fn file(&self, part: Part) -> PathBuf {
        self.folder.join(format!("{part}.yaml"))
    }

    /// The secrets of all connectors.
    fn secrets(&self) -> PathBuf {
        self.folder.join("secrets.txt")
    }

    /// The files by which the lake is found.
    pub fn lake_files(&self) -> LakeFiles {
        LakeFiles {
            config: self.file(Part::Lake),
            secrets: self.secrets(),
        }
    }

    /// The address at which the connector `part`, or with `index` 1 a second one, serves `/readyz`.
    fn monitor(&self, part: Part, index: u16) -> String {
        let host: IpAddr = if self.means.namespaces {
            network::address(part).into()
        } else {
            Ipv4Addr::LOCALHOST.into()
        };
        let port = match part {
            Part::Source => 9465,
            Part::Lake => 9467,
            Part::Sink | Part::Node => 9466,
        };
        format!("{host}:{}", port + 10 * index)
    }

    /// The queue that the source reads.
    ///
    /// # Errors
    /// There is none.
    pub fn queue(&self) -> anyhow::Result<QueueHandle> {
        self.endpoint.queue(queue::QUEUE).context("no queue")
    }

    /// The number of messages in the dead-letter queue.
    ///
    /// # Errors
    /// There is none.
    pub fn dead_letters(&self) -> anyhow::Result<usize> {
        let queue = self.endpoint.queue(DEAD_LETTERS);
        Ok(queue.context("no dead-letter queue")?.undeleted())
    }

    /// Starts another connector beside the one of the stack. `changes` are texts of its
    /// configuration and their replacements.
    ///
    /// # Errors
    /// The program does not start.
    pub fn start_second(
        &self,
        part: Part,
        changes: &[(&str, &str)],
    ) -> anyhow::Result<OwnedProcess> {
        let name = format!("{part}-2");
        let file = self.folder.join(format!("{name}.yaml"));
        std::fs::copy(self.file(part), &file)?;
        edit(&file, &self.monitor(part, 0), &self.monitor(part, 1))?;
        for (from, to) in changes {
            edit(&file, from, to)?;
        }
        let program = match part {
            Part::Sink => SINK,
            Part::Lake => LAKE,
            Part::Source | Part::Node => SOURCE,
        };
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join(format!("{name}.log")))?;
        // `env` is a prefix that changes nothing.
        let mut command = Command::new("env");
        command
            .args(prefix(self.means, &self.folder, part))
            .arg(Artefacts::find()?.program(program))
            .arg("--config")
            .arg(file)
            .arg("--secrets")
            .arg(self.secrets())
            .env("FLV_PROFILE_PATH", self.stack.profile())
            .env(
                "FLUVIO_METRIC_CONNECTOR",
                self.folder.join(format!("{name}.sock")),
            )
            .envs(queue::environment(self.stack.sqs_url()))
            .stdout(Stdio::null())
            .stderr(log);
        Ok(OwnedProcess::spawn(name, command, Signal::SIGTERM)?)
    }

    /// Moves the clock of a part.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn set_clock(&self, part: Part, seconds: i64) -> anyhow::Result<()> {
        set_clock(&self.folder, part, seconds)
    }

    /// Kills a part, or stops it cleanly. It is not restarted before [`World::start_part`].
    ///
    /// # Errors
    /// The operating system can't stop it.
    pub async fn stop_part(&mut self, part: Part, kills: bool) -> anyhow::Result<()> {
        self.ended.retain(|(ended, _)| *ended != part);
        if kills {
            return self.stack.kill(part).await;
        }
        if let Some(status) = self.stack.stop_part(part).await?
            && !status.success()
        {
            self.note(part, &format!("stopped with {status}"));
        }
        Ok(())
    }

    /// Starts a stopped part. One that does not start is tried again by [`World::supervise`].
    pub async fn start_part(&mut self, part: Part) {
        self.ended.retain(|(ended, _)| *ended != part);
        if self.stack.pid(part).is_none()
            && let Err(error) = self.stack.start_part(part).await
        {
            self.note(part, &format!("does not start: {error:#}"));
            self.ended.push((part, Instant::now()));
        }
    }

    /// Restarts parts that ended by themselves, as an operator's supervisor does.
    ///
    /// # Errors
    /// A part panicked, or the operating system can't query a process.
    pub async fn supervise(&mut self) -> anyhow::Result<()> {
        for (part, status) in self.stack.ended()? {
            let log = self.stack.launch(part).log_tail(3);
            if log.contains("panicked") {
                bail!("{part} panicked:\n{log}");
            }
            let last = log.lines().last().unwrap_or_default().to_owned();
            self.note(part, &format!("ended by itself ({status}): {last}"));
            self.ended.push((part, Instant::now()));
        }
        let is_due = |(_, since): &(Part, Instant)| since.elapsed() > RESTART_PAUSE;
        let due: Vec<Part> = self
            .ended
            .iter()
            .filter(|one| is_due(one))
            .map(|one| one.0)
            .collect();
        for part in due {
            self.start_part(part).await;
        }
        Ok(())
    }

    fn note(&mut self, part: Part, text: &str) {
        let line = format!("{part} {text}");
        println!("          {line}");
        self.ends.push(line);
    }

    /// The processes of PostgreSQL: the server, then its children.
    ///
    /// # Errors
    /// The operating system can't list them.
    pub fn database_pids(&mut self) -> anyhow::Result<Vec<u32>> {
        let Some(server) = self.postgres.process().pid() else {
            return Ok(Vec::new());
        };
        let children = format!("/proc/{server}/task/{server}/children");
        let children = std::fs::read_to_string(&children)
            .with_context(|| format!("cannot read {children}"))?;
        let children = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        Ok([server].into_iter().chain(children).collect())
    }

    /// Stops PostgreSQL by a signal and waits until it has ended.
    ///
    /// # Errors
    /// It does not end.
    pub async fn stop_database(&mut self, signal: Signal) -> anyhow::Result<()> {
        let process = self.postgres.process();
        process.signal(signal);
        tokio::time::timeout(Duration::from_secs(60), process.wait())
            .await
            .context("PostgreSQL does not stop")??;
        Ok(())
    }

    /// Starts PostgreSQL if it has ended.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_database(&mut self) -> anyhow::Result<()> {
        if self.postgres.process().ended()?.is_some() {
            let folder = self.folder.join("postgres");
            self.postgres = PrivatePostgres::start_at(&folder, &self.server).await?;
        }
        Ok(())
    }

    /// Everything that shows why nothing moves.
    pub async fn dump(&mut self) -> String {
        let mut text = String::new();
        if let Ok(queue) = self.queue() {
            let (depth, in_flight) = (queue.depth(), queue.in_flight());
            text += &format!("queue: {depth} waiting, {in_flight} in flight\n");
        }
        let committed = self.observer.committed().await;
        text += &format!("committed: {committed:?}\n");
        for part in CONNECTORS {
            text += &format!("{part} /readyz: {}\n", self.readyz(part).await);
        }
        text += &format!("sessions:\n{}", self.observer.sessions().await);
        for part in PARTS {
            let pid = self.stack.pid(part);
            let log = self.stack.launch(part).log_tail(40);
            text += &format!("-- {part}, process {pid:?}:\n{log}\n");
        }
        for log in [
            "postgres/postgres.log",
            "postgres-sink-2.log",
            "lake-sink-2.log",
            "sqs-source-2.log",
        ] {
            let lines = std::fs::read_to_string(self.folder.join(log)).unwrap_or_default();
            let lines: Vec<&str> = lines.lines().collect();
            let tail = lines
                .get(lines.len().saturating_sub(20)..)
                .unwrap_or_default();
            text += &format!("-- {log}:\n{}\n", tail.join("\n"));
        }
        text
    }

    async fn readyz(&self, part: Part) -> String {
        let address = self.monitor(part, 0);
        let asked = tokio::task::spawn_blocking(move || {
            monitor::get(&address, "/readyz", READYZ_TIMEOUT, 1 << 20)
        });
        match asked.await {
            Ok(Ok((status, body))) => format!("{status:?} {}", body.trim_end()),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Stops everything in order.
    ///
    /// # Errors
    /// A part can't be stopped.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stack.stop().await?;
        self.endpoint.stop().await;
        self.postgres.stop().await
    }
}

/// The words before a command line of a part: its namespace and its clock.
fn prefix(means: Means, folder: &Path, part: Part) -> Vec<String> {
    let mut words = Vec::new();
    if means.namespaces {
        words = network::prefix(part);
    }
    if means.faketime {
        let clock = clock_file(folder, part);
        words.extend([
            "env".to_owned(),
            format!("LD_PRELOAD={FAKETIME}"),
            format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
            "FAKETIME_CACHE_DURATION=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        ]);
    }
    words
}

fn clock_file(folder: &Path, part: Part) -> PathBuf {
    folder.join(format!("{part}.clock"))
}

fn set_clock(folder: &Path, part: Part, seconds: i64) -> anyhow::Result<()> {
    let new = folder.join(format!("{part}.clock-new"));
    std::fs::write(&new, format!("{seconds:+}\n"))?;
    std::fs::rename(new, clock_file(folder, part))?;
    Ok(())
}

/// Lets the parts connect to PostgreSQL.
fn allow_subnet(postgres: &Path) -> anyhow::Result<()> {
    let file = postgres.join("data/pg_hba.conf");
    let rules = std::fs::read_to_string(&file)?;
    let rule = format!("host all all {} scram-sha-256\n", network::SUBNET);
    std::fs::write(file, rules + &rule)?;
    Ok(())
}

/// Puts PostgreSQL's data, its WAL, the node's data and the lake on small disks of their own in
/// memory.
async fn mount_disks(folder: &Path, size: u64) -> anyhow::Result<()> {
    let half = size / 2;
    let owner = std::fs::metadata(folder.join("postgres/data"))?;
    let options = format!("uid={},gid={},mode=0700", owner.uid(), owner.gid());
    let script = format!(
        "cd '{}'
        mv postgres/data postgres/first
        mkdir postgres/data postgres/wal fluvio lake
        mount -t tmpfs -o size={size},{options} tmpfs postgres/data
        mount -t tmpfs -o size=256m,{options} tmpfs postgres/wal
        mount -t tmpfs -o size={half},mode=0700 tmpfs fluvio
        mount -t tmpfs -o size={half},mode=0700 tmpfs lake
        cp -a postgres/first/. postgres/data/
        rm -r postgres/first
        cp -a postgres/data/pg_wal/. postgres/wal/
        rm -r postgres/data/pg_wal
        ln -s ../wal postgres/data/pg_wal",
        folder.display()
    );
    network::run("sh", &["-ec", &script], "").await
}
