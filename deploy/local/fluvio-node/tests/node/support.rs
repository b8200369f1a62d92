//! A node with a connected client, and helpers for all tests.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use fluvio::consumer::ConsumerConfig;
use fluvio::dataplane::link::ErrorCode;
use fluvio::dataplane::record::Batch;
use fluvio::metadata::topic::TopicSpec;
use fluvio::{
    Fluvio, FluvioAdmin, FluvioClusterConfig, Offset, RecordKey, TopicProducerConfigBuilder,
    TopicProducerPool,
};
use fluvio_node::{Node, NodeConfig};
use futures_util::{Stream, StreamExt};
use tempfile::TempDir;

/// The longest wait before a test fails, far longer than expected.
const TIMEOUT: Duration = Duration::from_secs(60);

pub struct Fixture {
    pub node: Node,
    pub fluvio: Fluvio,
    pub admin: FluvioAdmin,
    pub dir: TempDir,
}

impl Fixture {
    pub async fn start() -> Self {
        Self::start_in(TempDir::new().unwrap()).await
    }

    pub async fn start_in(dir: TempDir) -> Self {
        let node = Node::start(NodeConfig::on_free_ports(dir.path()))
            .await
            .unwrap();
        let fluvio = connect(node.sc_addr()).await;
        let admin = fluvio.admin().await;
        Self {
            node,
            fluvio,
            admin,
            dir,
        }
    }

    /// Starts a node and creates a topic.
    pub async fn with_topic(name: &str, partitions: u32) -> Self {
        let fixture = Self::start().await;
        fixture.create_topic(name, partitions).await;
        fixture
    }

    pub async fn create_topic(&self, name: &str, partitions: u32) {
        let spec = TopicSpec::new_computed(partitions, 1, None);
        self.admin
            .create(name.to_owned(), false, spec)
            .await
            .unwrap();
    }

    /// Restarts the node on the same folder.
    pub async fn restart(self) -> Self {
        drop((self.fluvio, self.admin));
        self.node.stop().await.unwrap();
        Self::start_in(self.dir).await
    }

    /// Reads `count` batches from the partition, from `from` on.
    pub async fn batches(
        &self,
        topic: &str,
        partition: u32,
        from: i64,
        count: usize,
    ) -> Vec<Batch> {
        let config = ConsumerConfig::builder().build().unwrap();
        let mut stream = self.stream(topic, partition, at(from), config).await;
        let mut batches = Vec::new();
        while batches.len() < count {
            batches.push(next(&mut stream).await.unwrap());
        }
        batches
    }

    pub async fn stream(
        &self,
        topic: &str,
        partition: u32,
        from: Offset,
        config: ConsumerConfig,
    ) -> BatchStream {
        batch_stream(&self.fluvio, topic, partition, from, config).await
    }

    pub async fn producer(&self, topic: &str, partition: u32) -> TopicProducerPool {
        producer_with(&self.fluvio, topic, |config| {
            config.set_specific_partitioner(partition);
        })
        .await
    }
}

pub type BatchStream = Pin<Box<dyn Stream<Item = Result<Batch, ErrorCode>> + Send>>;

pub async fn connect(sc_addr: SocketAddr) -> Fluvio {
    let config = FluvioClusterConfig::new(sc_addr.to_string());
    Fluvio::connect_with_config(&config).await.unwrap()
}

pub async fn batch_stream(
    fluvio: &Fluvio,
    topic: &str,
    partition: u32,
    from: Offset,
    config: ConsumerConfig,
) -> BatchStream {
    #[allow(deprecated)] // the only stream that shows batches
    let consumer = fluvio.partition_consumer(topic, partition).await.unwrap();
    let stream = consumer
        .stream_batches_with_config(from, config)
        .await
        .unwrap();
    Box::pin(stream)
}

/// Returns a producer that sends only on flush.
pub async fn producer_with(
    fluvio: &Fluvio,
    topic: &str,
    configure: impl FnOnce(&mut TopicProducerConfigBuilder),
) -> TopicProducerPool {
    let mut config = TopicProducerConfigBuilder::default();
    config.linger(TIMEOUT).batch_size(10_000_000);
    configure(&mut config);
    fluvio
        .topic_producer_with_config(topic, config.build().unwrap())
        .await
        .unwrap()
}

/// Sends the values as one batch and returns the first offset.
pub async fn send(producer: &TopicProducerPool, values: &[String]) -> i64 {
    let mut outputs = Vec::new();
    for value in values {
        outputs.push(
            producer
                .send(RecordKey::NULL, value.as_str())
                .await
                .unwrap(),
        );
    }
    producer.flush().await.unwrap();
    let mut first = None;
    for output in outputs {
        let record = output.wait().await.unwrap();
        first = first.or(Some(record.offset()));
    }
    first.unwrap()
}

pub fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|it| format!("{prefix}-{it}")).collect()
}

pub fn values(batch: &Batch) -> Vec<String> {
    let text = |it: &[u8]| String::from_utf8(it.to_vec()).unwrap();
    let records = batch.records().iter();
    records.map(|it| text(it.value().as_ref())).collect()
}

pub fn at(offset: i64) -> Offset {
    Offset::absolute(offset).unwrap()
}

/// Returns the stream's next item. Fails if none comes.
pub async fn next<S: Stream + Unpin>(stream: &mut S) -> S::Item {
    tokio::time::timeout(TIMEOUT, stream.next())
        .await
        .expect("nothing came")
        .expect("the stream ended")
}

/// Waits for a future with the timeout.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, future).await.expect("hangs")
}

/// Polls until the result is `Some`: clients learn of changes with a delay.
pub async fn eventually<T>(mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    within(async {
        loop {
            if let Some(found) = poll().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// Returns the size of the partition's only segment file.
pub fn log_len(data_dir: &Path, topic: &str, partition: u32) -> u64 {
    std::fs::metadata(segment(data_dir, topic, partition))
        .unwrap()
        .len()
}

pub fn segment(data_dir: &Path, topic: &str, partition: u32) -> std::path::PathBuf {
    let log = data_dir.join("logs").join(format!("{topic}-{partition}"));
    log.join("00000000000000000000.log")
}
