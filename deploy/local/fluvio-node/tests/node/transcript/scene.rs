//! A cluster to play to, and the transcript that is written meanwhile.

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

/// How long nothing has to come for a transcript to say so.
pub const QUIET: Duration = Duration::from_millis(700);

/// Whether scenes are played to the cluster of the current Fluvio profile.
pub fn on_profile() -> bool {
    match std::env::var("ETL_TEST_CLUSTER") {
        Err(_) => false,
        Ok(it) if it == "profile" => true,
        Ok(it) => panic!("ETL_TEST_CLUSTER is {it:?}; it can be \"profile\""),
    }
}

/// See the module's documentation.
pub struct Scene {
    pub fluvio: Fluvio,
    pub admin: FluvioAdmin,
    pub sc_addr: String,
    /// What makes the names of this scene's objects its own; left out of the transcript.
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
            sc_addr: config.endpoint,
            own: format!("-own{:x}", now.as_nanos()),
            topics: Vec::new(),
            smartmodules: Vec::new(),
            lines: String::new(),
            node,
        }
    }

    /// Deletes what the scene has made. Returns the transcript.
    pub async fn finish(self) -> String {
        // What a scene has deleted itself isn't there any more.
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

    /// Writes down an observation.
    pub fn note(&mut self, observation: impl Display) {
        let observation = observation.to_string().replace(&self.own, "");
        self.lines.push_str(&observation);
        self.lines.push('\n');
    }

    /// A name that no other scene and no other run has.
    pub fn name(&self, name: &str) -> String {
        format!("{name}{}", self.own)
    }

    /// Whether this scene has made the object of that name.
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

    /// A topic of one partition, and a connection to its SPU.
    pub async fn one_partition(&mut self, name: &str) -> (String, Connection) {
        let topic = self.topic(name, 1).await;
        let spu = self.spu(&topic).await;
        (topic, spu)
    }
}

/// What the SC has answered.
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

/// An error code on one line.
pub fn shown(code: &ErrorCode) -> String {
    match code {
        ErrorCode::None => "no error".to_owned(),
        code => format!("{code:?}"),
    }
}
