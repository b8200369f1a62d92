//! A queue on our endpoint, and a topic that does as it is told.

pub mod canned;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use connector_common::{Health, Stop, Validate};
use futures_util::FutureExt;
use sqs_endpoint::{Endpoint, QueueHandle};
use sqs_source::bodies::Bodies;
use sqs_source::config::{Config, RecordFormat};
use sqs_source::custody::Message;
use sqs_source::dead_letters::DeadLetters;
use sqs_source::metrics::{Counts, Metrics};
use sqs_source::sqs::{self, Sqs};
use sqs_source::stream::{Settings, Shared, Until, stream};
use sqs_source::topic::{Acknowledgement, NotProduced, Place, Producer, Topic};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// As SQS gives queues that nobody has said anything else of.
const DEFAULT_VISIBILITY: Duration = Duration::from_secs(30);

/// What a stand-in topic does with records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Acknowledges each.
    Acknowledge,
    /// Takes them, and acknowledges when the mood changes to `Acknowledge`.
    Hold,
    /// Takes them and never says a word, like a connection whose other end is gone.
    Silent,
    /// Takes none: the producer can't even be made.
    Away,
}

/// A topic that keeps its records in memory.
#[derive(Clone)]
pub struct StandIn(Arc<Inner>);

struct Inner {
    mood: watch::Sender<Mood>,
    records: Mutex<Vec<(String, String)>>,
    largest: Mutex<Option<usize>>,
}

impl StandIn {
    pub fn new(mood: Mood) -> Self {
        let mood = watch::Sender::new(mood);
        Self(Arc::new(Inner {
            mood,
            records: Mutex::default(),
            largest: Mutex::default(),
        }))
    }

    pub fn set(&self, mood: Mood) {
        self.0.mood.send_replace(mood);
    }

    /// Refuses what doesn't fit into a batch of so many bytes with what is unacknowledged.
    pub fn refuse_above(&self, bytes: usize) {
        *self.0.largest.lock().unwrap() = Some(bytes);
    }

    /// Keys and values that were handed over, acknowledged or not.
    pub fn records(&self) -> Vec<(String, String)> {
        self.0.records.lock().unwrap().clone()
    }

    /// Loses all but the first records, as a machine without power does; offsets are given out anew.
    pub fn lose_from(&self, offset: usize) {
        self.0.records.lock().unwrap().truncate(offset);
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

    async fn producer(&self) -> anyhow::Result<Box<dyn Producer>> {
        if *self.0.mood.borrow() == Mood::Away {
            return Err(anyhow::anyhow!("the topic is away"));
        }
        Ok(Box::new(StandInProducer {
            topic: Arc::clone(&self.0),
            waiting: Arc::default(),
        }))
    }
}

struct StandInProducer {
    topic: Arc<Inner>,
    waiting: Arc<Mutex<usize>>,
}

#[async_trait]
impl Producer for StandInProducer {
    fn window(&self) -> usize {
        1 << 20
    }

    async fn send(&mut self, message: &Message) -> Result<Acknowledgement, NotProduced> {
        let size = message.body.len();
        {
            let mut waiting = self.waiting.lock().unwrap();
            if self
                .topic
                .largest
                .lock()
                .unwrap()
                .is_some_and(|largest| *waiting + size > largest)
            {
                return Err(NotProduced::TooLarge("for the stand-in".to_owned()));
            }
            *waiting += size;
        }
        let mut mood = self.topic.mood.subscribe();
        // A producer that was made in silence stays silent, whatever becomes of the topic.
        let is_silent = *mood.borrow() == Mood::Silent;
        let offset = {
            let mut records = self.topic.records.lock().unwrap();
            let value = message.body.as_str().unwrap().to_owned();
            records.push((message.key.to_string(), value));
            records.len() as i64 - 1
        };
        let waiting = Arc::clone(&self.waiting);
        Ok(async move {
            if is_silent {
                std::future::pending::<()>().await;
            }
            mood.wait_for(|mood| *mood == Mood::Acknowledge)
                .await
                .map_err(|error| NotProduced::Broken(error.into()))?;
            *waiting.lock().unwrap() -= size;
            Ok(Place {
                partition: 0,
                offset,
            })
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

/// An endpoint with a queue, and a source that can be started on it.
pub struct Bench {
    pub endpoint: Endpoint,
    pub client: aws_sdk_sqs::Client,
    queue_url: String,
}

/// A source under way.
pub struct Running {
    pub metrics: Metrics,
    pub health: Health,
    task: JoinHandle<anyhow::Result<()>>,
    stop: Box<dyn Fn() + Send + Sync>,
}

impl Running {
    /// Asks the source to stop, and waits until it has.
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

/// Starts a source of the queues of `config`, each with the settings that `adjust` makes of its own.
pub async fn start(
    config: &Config,
    topic: &StandIn,
    mut until: impl FnMut() -> Until,
    adjust: impl Fn(Settings) -> Settings,
) -> Running {
    let client = sqs::client(config).await.unwrap();
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
    let shared = Shared {
        topic: Arc::new(topic.clone()),
        dead_letters,
        bodies: Bodies::up_to(config.max_in_flight_bytes.as_u64() as usize),
        metrics: Metrics::new().unwrap(),
        health: Health::default(),
        stop,
    };
    let mut streams = JoinSet::new();
    for queue in config.queues() {
        let settings = Settings::new(config, queue.shown(), DEFAULT_VISIBILITY).unwrap();
        let (settings, until, shared) = (adjust(settings), until(), shared.clone());
        let queue = Arc::new(Sqs::open(&client, &queue, wants_attributes).await.unwrap());
        streams.spawn(async move { stream(queue, until, &settings, &shared).await });
    }
    let task = tokio::spawn(async move {
        while let Some(ended) = streams.join_next().await {
            ended??;
        }
        Ok(())
    });
    Running {
        metrics: shared.metrics,
        health: shared.health,
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

    /// Settings for a visibility timeout of so many seconds.
    pub fn settings(&self, visibility: u64) -> Settings {
        Settings::new(&self.config(), "events", Duration::from_secs(visibility)).unwrap()
    }

    pub async fn start(&self, topic: &StandIn, settings: Settings) -> Running {
        self.start_until(Until::Topic, topic, settings).await
    }

    /// Starts a source that deletes only what is announced as committed.
    pub async fn start_until(&self, until: Until, topic: &StandIn, settings: Settings) -> Running {
        let mut until = Some(until);
        let until = || until.take().expect("one queue");
        start(&self.config(), topic, until, |_| settings.clone()).await
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

/// The configuration of a source at this address, with `more` of its keys.
pub fn config(endpoint_url: &str, more: &str) -> Config {
    let yaml = format!(
        "{{endpoint-url: '{endpoint_url}', region: us-east-1, access-key-id: any, secret-access-key: any, \
         wait-time: 1s, acknowledgement-timeout: 10s, {more}}}"
    );
    let config: Config = serde_saphyr::from_str(&yaml).unwrap();
    config.validate().unwrap();
    config
}

/// Bodies that differ.
pub fn bodies(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{{\"event\": {number}, \"näme\": \"🛒\"}}"))
        .collect()
}

/// Waits until `condition` holds; a minute without it is a failure.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..6000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not in a minute: {what}");
}
