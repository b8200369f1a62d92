//! A queue on our endpoint, and a topic that does as it is told.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use connector_common::{Health, Stop};
use futures_util::FutureExt;
use sqs_endpoint::{Endpoint, QueueHandle};
use sqs_source::bodies::Bodies;
use sqs_source::config::Config;
use sqs_source::custody::Message;
use sqs_source::metrics::{Counts, Metrics};
use sqs_source::sqs::{self, Sqs};
use sqs_source::stream::{Settings, Shared, Until, stream};
use sqs_source::topic::{Acknowledgement, NotProduced, Place, Producer, Topic};
use tokio::sync::watch;
use tokio::task::JoinHandle;

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
            records.push((message.id.to_string(), value));
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

/// An endpoint with a queue, and a source that can be started on it.
pub struct Bench {
    pub endpoint: Endpoint,
    client: aws_sdk_sqs::Client,
    queue_url: String,
}

/// A source under way.
pub struct Running {
    task: JoinHandle<anyhow::Result<Counts>>,
    stop: Box<dyn Fn() + Send + Sync>,
}

impl Running {
    /// Asks the source to stop, and waits until it has.
    pub async fn stop(self) -> Counts {
        (self.stop)();
        self.task.await.unwrap().unwrap()
    }
}

impl Bench {
    pub async fn new() -> Self {
        let endpoint = Endpoint::start("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let queue_url = endpoint.create_queue("events").unwrap();
        let client = aws_sdk_sqs::Client::from_conf(
            aws_sdk_sqs::Config::builder()
                .behavior_version_latest()
                .endpoint_url(endpoint.url())
                .region(aws_sdk_sqs::config::Region::from_static("us-east-1"))
                .credentials_provider(aws_sdk_sqs::config::Credentials::new(
                    "any", "any", None, None, "test",
                ))
                .build(),
        );
        Self {
            endpoint,
            client,
            queue_url,
        }
    }

    pub fn queue(&self) -> QueueHandle {
        self.endpoint.queue("events").unwrap()
    }

    pub fn config(&self) -> Config {
        let yaml = format!(
            "{{queue-url: '{}', endpoint-url: '{}', region: us-east-1, access-key-id: any, secret-access-key: any, \
             wait-time: 1s, max-in-flight: 2000, pollers: 4, acknowledgement-timeout: 10s}}",
            self.queue_url,
            self.endpoint.url()
        );
        serde_saphyr::from_str(&yaml).unwrap()
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
        let config = self.config();
        let client = sqs::client(&config).await.unwrap();
        let queue = Sqs::open(&client, &config.queues()[0], false)
            .await
            .unwrap();
        let (stop, request) = Stop::manual();
        let metrics = Metrics::new().unwrap();
        let shared = Shared {
            topic: Arc::new(topic.clone()),
            dead_letters: None,
            bodies: Bodies::up_to(64 << 20),
            metrics: metrics.clone(),
            health: Health::default(),
            stop,
        };
        let task = tokio::spawn(async move {
            stream(Arc::new(queue), until, &settings, &shared).await?;
            Ok(metrics.counts())
        });
        Running {
            task,
            stop: Box::new(request),
        }
    }

    pub async fn send_all(&self, bodies: impl IntoIterator<Item = String>) {
        let mut bodies = bodies.into_iter().peekable();
        while bodies.peek().is_some() {
            let mut batch = self.client.send_message_batch().queue_url(&self.queue_url);
            for (id, body) in bodies.by_ref().take(10).enumerate() {
                let entry =
                    aws_sdk_sqs::types::SendMessageBatchRequestEntry::builder().id(id.to_string());
                batch = batch.entries(entry.message_body(body).build().unwrap());
            }
            assert!(batch.send().await.unwrap().failed.is_empty());
        }
    }
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
