//! A queue on our endpoint, and a topic that the tests control.

pub mod canned;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use connector_common::keys::Key;
use connector_common::{Health, Stop, Traces, Validate};
use futures_util::FutureExt;
use sqs_endpoint::{Endpoint, QueueHandle};
use sqs_source::byte_budget::ByteBudget;
use sqs_source::config::{Config, RecordFormat};
use sqs_source::delete::DeadLetters;
use sqs_source::metrics::{Counts, Metrics};
use sqs_source::pipeline::{self, Context, DeletePolicy, Settings};
use sqs_source::record::{Record, RecordPosition};
use sqs_source::s3::Payloads;
use sqs_source::sqs::{self, Sqs};
use sqs_source::topic::{Acknowledgement, ProduceError, Producer, Topic};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// The default of SQS.
const DEFAULT_VISIBILITY: Duration = Duration::from_secs(30);

/// The behaviour of a stand-in topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Acknowledges each record.
    Acknowledge,
    /// Accepts records, and acknowledges them when the mood changes to `Acknowledge`.
    Hold,
    /// Accepts records and never acknowledges them, like a dead connection.
    Silent,
    /// Fails to create a producer.
    Unreachable,
}

/// A topic that keeps its records in memory. An offset is a record's index in all of them.
#[derive(Clone)]
pub struct StandIn(Arc<Inner>);

struct Inner {
    /// The mood of each partition.
    moods: Vec<watch::Sender<Mood>>,
    records: Mutex<Vec<(String, String)>>,
    /// The partition of each record.
    partitions: Mutex<Vec<u32>>,
    largest: Mutex<Option<usize>>,
}

impl StandIn {
    /// A topic with one partition.
    pub fn new(mood: Mood) -> Self {
        Self::with_partitions(&[mood])
    }

    /// A topic with a partition for each of these moods.
    pub fn with_partitions(moods: &[Mood]) -> Self {
        Self(Arc::new(Inner {
            moods: moods.iter().copied().map(watch::Sender::new).collect(),
            partitions: Mutex::default(),
            records: Mutex::default(),
            largest: Mutex::default(),
        }))
    }

    pub fn set(&self, mood: Mood) {
        self.set_partition(0, mood);
    }

    pub fn set_partition(&self, partition: usize, mood: Mood) {
        self.0.moods[partition].send_replace(mood);
    }

    /// The values of a partition's records, in their order.
    pub fn values_of(&self, partition: u32) -> Vec<String> {
        let partitions = self.0.partitions.lock().unwrap().clone();
        let records = self.records().into_iter().zip(partitions);
        let of_partition = records.filter(|(_, of)| *of == partition);
        of_partition.map(|((_, value), _)| value).collect()
    }

    /// Refuses a record that does not fit into a batch of so many bytes with the unacknowledged
    /// ones.
    pub fn refuse_above(&self, bytes: usize) {
        *self.0.largest.lock().unwrap() = Some(bytes);
    }

    /// The keys and values of all records, acknowledged or not.
    pub fn records(&self) -> Vec<(String, String)> {
        self.0.records.lock().unwrap().clone()
    }

    /// Loses the records from `offset` on, as after a power cut. Their offsets are assigned again.
    pub fn lose_from(&self, offset: usize) {
        self.0.records.lock().unwrap().truncate(offset);
        self.0.partitions.lock().unwrap().truncate(offset);
    }

    pub fn values(&self) -> HashSet<String> {
        self.records().into_iter().map(|(_, value)| value).collect()
    }
}

#[async_trait]
impl Topic for StandIn {
    fn name(&self) -> &str {
        "stand-in"
    }

    async fn end(&self, _partition: u32) -> anyhow::Result<i64> {
        Ok(self.0.records.lock().unwrap().len() as i64)
    }

    async fn partitions(&self) -> anyhow::Result<u32> {
        Ok(self.0.moods.len() as u32)
    }

    async fn producer(&self, partition: u32) -> anyhow::Result<Box<dyn Producer>> {
        if *self.0.moods[partition as usize].borrow() == Mood::Unreachable {
            return Err(anyhow::anyhow!("the topic is unreachable"));
        }
        Ok(Box::new(StandInProducer {
            topic: Arc::clone(&self.0),
            partition,
            waiting: Arc::default(),
        }))
    }
}

struct StandInProducer {
    topic: Arc<Inner>,
    partition: u32,
    waiting: Arc<Mutex<usize>>,
}

#[async_trait]
impl Producer for StandInProducer {
    fn window(&self) -> usize {
        1 << 20
    }

    async fn send(&mut self, record: &Record) -> Result<Acknowledgement, ProduceError> {
        let size = record.value.len();
        {
            let mut waiting = self.waiting.lock().unwrap();
            if self
                .topic
                .largest
                .lock()
                .unwrap()
                .is_some_and(|largest| *waiting + size > largest)
            {
                return Err(ProduceError::TooLarge("for the stand-in".to_owned()));
            }
            *waiting += size;
        }
        let mut mood = self.topic.moods[self.partition as usize].subscribe();
        // A producer that was created while the topic was silent stays silent.
        let is_silent = *mood.borrow() == Mood::Silent;
        let offset = {
            let mut records = self.topic.records.lock().unwrap();
            let value = record.value.as_str().unwrap().to_owned();
            records.push((record.key.to_string(), value));
            self.topic.partitions.lock().unwrap().push(self.partition);
            records.len() as i64 - 1
        };
        let (waiting, partition) = (Arc::clone(&self.waiting), self.partition);
        Ok(async move {
            if is_silent {
                std::future::pending::<()>().await;
            }
            mood.wait_for(|mood| *mood == Mood::Acknowledge)
                .await
                .map_err(|error| ProduceError::Broken(error.into()))?;
            *waiting.lock().unwrap() -= size;
            Ok(RecordPosition { partition, offset })
        }
        .boxed())
    }
}

/// A client of the server at this address.
pub fn client(endpoint_url: &str) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version_latest()
        .endpoint_url(endpoint_url)
        .region(aws_sdk_sqs::config::Region::from_static("us-east-1"))
        .credentials_provider(aws_sdk_sqs::config::Credentials::new(
            "any", "any", None, None, "test",
        ));
    aws_sdk_sqs::Client::from_conf(config.build())
}

/// An endpoint with a queue.
pub struct Bench {
    pub endpoint: Endpoint,
    pub client: aws_sdk_sqs::Client,
    queue_url: String,
}

/// A running source.
pub struct Running {
    pub metrics: Metrics,
    pub health: Health,
    task: JoinHandle<anyhow::Result<()>>,
    stop: Box<dyn Fn() + Send + Sync>,
}

impl Running {
    /// Stops the source and waits until it has ended.
    pub async fn stop(self) -> Counts {
        (self.stop)();
        self.task.await.unwrap().unwrap();
        self.metrics.counts()
    }

    /// Waits for the error that ends the source.
    pub async fn error(self) -> String {
        format!("{:#}", self.task.await.unwrap().unwrap_err())
    }
}

/// Starts a source of the queues of `config`. `adjust` changes the settings of each.
pub async fn start(
    config: &Config,
    topic: &StandIn,
    mut policy: impl FnMut() -> DeletePolicy,
    adjust: impl Fn(Settings) -> Settings,
) -> Running {
    let aws = sqs::aws(config).await.unwrap();
    let client = sqs::client_with(&aws, config);
    let wants_attributes =
        config.record_format == RecordFormat::Envelope || config.dead_letter_queue.is_some();
    let dead_letters = match config.dead_letters() {
        None => None,
        Some((queue, max_receives)) => Some(DeadLetters {
            queue: Arc::new(Sqs::open(&client, &queue, false).await.unwrap()),
            max_receives,
        }),
    };
    let (stop, request) = Stop::manual();
    let context = Context {
        traces: Traces::default(),
        topic: Arc::new(topic.clone()),
        dead_letters,
        payloads: Payloads::new(&aws, config).map(Arc::new),
        byte_budget: ByteBudget::new(config.max_in_flight_bytes.as_u64() as usize),
        queues: config.queues().len(),
        metrics: Metrics::new().unwrap(),
        health: Health::default(),
        stop,
    };
    let mut pipelines = JoinSet::new();
    for queue in config.queues() {
        let settings = Settings::new(config, queue.as_str(), DEFAULT_VISIBILITY).unwrap();
        let (settings, policy, context) = (adjust(settings), policy(), context.clone());
        let queue = Arc::new(Sqs::open(&client, &queue, wants_attributes).await.unwrap());
        pipelines.spawn(async move { pipeline::run(queue, policy, &settings, &context).await });
    }
    let task = tokio::spawn(async move {
        while let Some(ended) = pipelines.join_next().await {
            ended??;
        }
        Ok(())
    });
    Running {
        metrics: context.metrics,
        health: context.health,
        task,
        stop: Box::new(request),
    }
}

impl Bench {
    pub async fn new() -> Self {
        let endpoint = Endpoint::start("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let queue_url = endpoint.create_queue("events").unwrap();
        let client = client(endpoint.url());
        Self {
            endpoint,
            client,
            queue_url,
        }
    }

    pub fn queue_url(&self) -> &str {
        &self.queue_url
    }

    pub fn queue(&self) -> QueueHandle {
        self.endpoint.queue("events").unwrap()
    }

    pub fn config(&self) -> Config {
        let queue = format!(
            "queue-url: '{}', max-in-flight: 2000, pollers: 4",
            self.queue_url
        );
        config(self.endpoint.url(), &queue)
    }

    /// Settings with a visibility timeout of so many seconds.
    pub fn settings(&self, visibility: u64) -> Settings {
        Settings::new(&self.config(), "events", Duration::from_secs(visibility)).unwrap()
    }

    pub async fn start(&self, topic: &StandIn, settings: Settings) -> Running {
        self.start_with(DeletePolicy::Topic, topic, settings).await
    }

    /// Starts a source with this delete policy.
    pub async fn start_with(
        &self,
        policy: DeletePolicy,
        topic: &StandIn,
        settings: Settings,
    ) -> Running {
        let mut policy = Some(policy);
        let policy = || policy.take().expect("one queue");
        start(&self.config(), topic, policy, |_| settings.clone()).await
    }

    pub async fn send_all(&self, bodies: impl IntoIterator<Item = String>) {
        self.send_to(&self.queue_url, bodies).await;
    }

    pub async fn send_to(&self, queue_url: &str, bodies: impl IntoIterator<Item = String>) {
        let mut bodies = bodies.into_iter().peekable();
        while bodies.peek().is_some() {
            let mut batch = self.client.send_message_batch().queue_url(queue_url);
            for (id, body) in bodies.by_ref().take(10).enumerate() {
                let entry =
                    aws_sdk_sqs::types::SendMessageBatchRequestEntry::builder().id(id.to_string());
                batch = batch.entries(entry.message_body(body).build().unwrap());
            }
            assert!(batch.send().await.unwrap().failed.is_empty());
        }
    }
}

/// The configuration of a source of the server at this address, with `more` keys.
pub fn config(endpoint_url: &str, more: &str) -> Config {
    let yaml = format!(
        "{{endpoint-url: '{endpoint_url}', region: us-east-1, access-key-id: any, \
         secret-access-key: any, wait-time: 1s, acknowledgement-timeout: 10s, {more}}}"
    );
    let config: Config = serde_saphyr::from_str(&yaml).unwrap();
    config.validate().unwrap();
    config
}

/// The message ids in the keys of records.
pub fn ids(records: &[(String, String)]) -> Vec<String> {
    let id = |(key, _): &(String, String)| Key::parse(key.as_bytes()).unwrap().id.to_owned();
    records.iter().map(id).collect()
}

/// Distinct bodies.
pub fn bodies(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{{\"event\": {number}, \"näme\": \"🛒\"}}"))
        .collect()
}

/// Waits until `condition` holds, and fails after a minute.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..6000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not in a minute: {what}");
}
