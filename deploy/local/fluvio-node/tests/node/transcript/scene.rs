//! A cluster to run a scene against, and the scene's transcript.

use std::fmt::Display;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fluvio::config::ConfigFile;
use fluvio::dataplane::link::ErrorCode;
use fluvio::metadata::partition::PartitionSpec;
use fluvio::metadata::smartmodule::SmartModuleSpec;
use fluvio::metadata::spu::SpuSpec;
use fluvio::metadata::topic::TopicSpec;
use fluvio::{Fluvio, FluvioAdmin, FluvioClusterConfig};
use fluvio_node::{Node, NodeConfig};
use fluvio_sc_schema::ApiError;
use tempfile::TempDir;

use super::wire::Connection;
use crate::support::within;
use crate::wasm;

/// The time after which a transcript notes that no response came.
pub const QUIET: Duration = Duration::from_millis(700);

/// Returns true if scenes run against the cluster of the current Fluvio profile.
pub fn on_profile() -> bool {
    match std::env::var("ETL_TEST_CLUSTER") {
        Err(_) => false,
        Ok(it) if it == "profile" => true,
        Ok(it) => panic!("ETL_TEST_CLUSTER is {it:?}; it can be \"profile\""),
    }
}

/// A running scene.
pub struct Scene {
    pub fluvio: Fluvio,
    pub admin: FluvioAdmin,
    /// A suffix that makes this scene's names unique; omitted from the transcript.
    own: String,
    topics: Vec<String>,
    smartmodules: Vec<String>,
    lines: String,
    node: Option<(Node, TempDir)>,
}

impl Scene {
    pub async fn start() -> Self {
        let (node, config) = if on_profile() {
            let file = ConfigFile::load_default_or_new().unwrap();
            (None, file.config().current_cluster().unwrap().clone())
        } else {
            let dir = TempDir::new().unwrap();
            let config = NodeConfig::on_free_ports(dir.path());
            let node = Node::start(config).await.unwrap();
            let config = FluvioClusterConfig::new(node.sc_addr().to_string());
            (Some((node, dir)), config)
        };
        let fluvio = Fluvio::connect_with_config(&config).await.unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self {
            admin: fluvio.admin().await,
            fluvio,
            own: format!("-own{:x}", now.as_nanos()),
            topics: Vec::new(),
            smartmodules: Vec::new(),
            lines: String::new(),
            node,
        }
    }

    /// Deletes the scene's objects and returns the transcript.
    pub async fn finish(self) -> String {
        // An error means that the scene has deleted the object itself.
        for topic in &self.topics {
            let _ = within(self.admin.delete::<TopicSpec>(topic.clone())).await;
        }
        for smartmodule in &self.smartmodules {
            let _ = within(self.admin.delete::<SmartModuleSpec>(smartmodule.clone())).await;
        }
        drop((self.fluvio, self.admin));
        if let Some((node, _dir)) = self.node {
            node.stop().await.unwrap();
        }
        self.lines
    }

    /// Begins a section of the transcript.
    pub fn section(&mut self, title: &str) {
        if !self.lines.is_empty() {
            self.lines.push('\n');
        }
        self.lines.push_str("# ");
        self.lines.push_str(title);
        self.lines.push('\n');
    }

    /// Adds an observation to the transcript.
    pub fn note(&mut self, observation: impl Display) {
        let observation = observation.to_string().replace(&self.own, "");
        self.lines.push_str(&observation);
        self.lines.push('\n');
    }

    /// Returns a name that is unique to this scene and run.
    pub fn name(&self, name: &str) -> String {
        format!("{name}{}", self.own)
    }

    /// Returns true if this scene has created the object of that name.
    pub fn owns(&self, name: &str) -> bool {
        name.contains(&self.own)
    }

    /// Creates a topic and returns its name.
    pub async fn topic(&mut self, name: &str, partitions: u32) -> String {
        let spec = TopicSpec::new_computed(partitions, 1, None);
        self.topic_with(name, spec).await
    }

    pub async fn topic_with(&mut self, name: &str, spec: TopicSpec) -> String {
        let name = self.name(name);
        self.topics.push(name.clone());
        within(self.admin.create(name.clone(), false, spec))
            .await
            .unwrap();
        name
    }

    /// Creates a SmartModule and returns its name.
    pub async fn smartmodule(&mut self, name: &str, bytes: &[u8]) -> String {
        let name = self.name(name);
        self.smartmodules.push(name.clone());
        let spec = wasm::spec(bytes);
        within(self.admin.create(name.clone(), false, spec))
            .await
            .unwrap();
        name
    }

    /// Connects to the SPU that leads the topic's first partition.
    pub async fn spu(&self, topic: &str) -> Connection {
        let partitions = self.admin.all::<PartitionSpec>().await.unwrap();
        let key = format!("{topic}-0");
        let partition = partitions.iter().find(|it| it.name == key).unwrap();
        let spus = self.admin.all::<SpuSpec>().await.unwrap();
        let leader = spus.iter().find(|it| it.spec.id == partition.spec.leader);
        Connection::open(&leader.unwrap().spec.public_endpoint.addr()).await
    }

    /// Creates a topic of one partition and connects to its SPU.
    pub async fn one_partition(&mut self, name: &str) -> (String, Connection) {
        let topic = self.topic(name, 1).await;
        let spu = self.spu(&topic).await;
        (topic, spu)
    }
}

/// Formats an answer of the SC.
pub fn answer(result: Result<(), anyhow::Error>) -> String {
    match result {
        Ok(()) => "done".to_owned(),
        Err(err) => match err.downcast::<ApiError>() {
            Ok(ApiError::Code(code, reason)) => format!("{}, {reason:?}", shown(&code)),
            Ok(ApiError::NoResourceFound(what)) => format!("no resource {what}"),
            Err(err) => format!("not an answer: {err:?}"),
        },
    }
}

/// Formats an error code on one line.
pub fn shown(code: &ErrorCode) -> String {
    match code {
        ErrorCode::None => "no error".to_owned(),
        code => format!("{code:?}"),
    }
}
