//! The stages that a queue's messages go through, each a task or several, with a channel between them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use connector_common::Warnings;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::custody::{Custody, Message};
use crate::dead_letters::Undertaker;
use crate::delete::Deleter;
use crate::depth;
use crate::pollers::Pollers;
use crate::produce::Writer;
use crate::produced_ids::ProducedIds;
use crate::progress::Progress;
use crate::queue::{Depth, Queue, QueueError, Received};
use crate::receive::{DeadLetterInbox, Receiver};
use crate::stream::{Settings, Shared, Until};
use crate::tables::{Stands, Tables};
use crate::tracker::{Deletable, Tracker};

/// What the stages share.
pub(crate) struct Stages {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) shared: Shared,
    pub(crate) settings: Settings,
}

type Tasks = JoinSet<Result<(), QueueError>>;

impl Stages {
    /// Asks for the queue's depth now and then, for the metrics and for `look`, until what is returned is dropped.
    pub(crate) fn watch_depth(
        &self,
        look: impl FnMut(Depth) + Send + 'static,
    ) -> AbortOnDropHandle<()> {
        let (queue, progress) = (Arc::clone(&self.queue), Arc::clone(&self.progress));
        let watch = depth::watch(queue, progress, self.settings.depth_interval, look);
        AbortOnDropHandle::new(tokio::spawn(watch))
    }

    /// Starts the stages of a queue whose messages stay: receive → produce.
    pub(crate) fn start_without_delete(&self, produced: Arc<ProducedIds>) -> Tasks {
        let mut tasks = JoinSet::new();
        self.receive_and_produce(&mut tasks, produced, None);
        tasks
    }

    /// Starts the stages: receive → produce → (tables) → delete. Each ends when the one before it
    /// has ended and what it sent is settled.
    pub(crate) fn start(&self, custody: &Arc<Custody>, until: Until) -> Tasks {
        let (safe, to_delete) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let tracker = Arc::new(Deletable {
            custody: Arc::clone(custody),
            safe: safe.clone(),
        });
        let dead = self.forward_dead_letters(&mut tasks, &tracker);
        let written = self.receive_and_produce(&mut tasks, tracker, dead);
        if let Until::Tables { sink, commits } = until {
            let tables = Tables {
                queue: Arc::clone(&self.queue),
                topic: Arc::clone(&self.shared.topic),
                custody: Arc::clone(custody),
                sink,
                patience: self.settings.patience,
                safe,
                stands: Stands::default(),
                health: self.shared.health.clone(),
                warnings: Warnings::default(),
            };
            tasks.spawn(async move {
                tables.run(commits, written).await;
                Ok(())
            });
        }
        let deleter = Deleter {
            queue: Arc::clone(&self.queue),
            custody: Arc::clone(custody),
            progress: Arc::clone(&self.progress),
            health: self.shared.health.clone(),
            is_troubled: AtomicBool::new(false),
            warnings: Warnings::default(),
        };
        tasks.spawn(async move {
            deleter.run(to_delete).await;
            Ok(())
        });
        tasks
    }

    /// Starts what moves dead letters, if there is a queue for them, and returns the way to it.
    fn forward_dead_letters(
        &self,
        tasks: &mut Tasks,
        deletable: &Deletable,
    ) -> Option<DeadLetterInbox> {
        let dead_letters = self.shared.dead_letters.clone()?;
        let (sender, dead) = mpsc::unbounded_channel::<Received>();
        let max_receives = dead_letters.max_receives;
        let undertaker = Undertaker {
            dead_letters,
            source: Arc::clone(&self.queue),
            custody: Arc::clone(&deletable.custody),
            progress: Arc::clone(&self.progress),
            safe: deletable.safe.clone(),
            stop: self.shared.stop.clone(),
        };
        tasks.spawn(async move {
            undertaker.run(dead).await;
            Ok(())
        });
        Some(DeadLetterInbox {
            max_receives,
            sender,
        })
    }

    /// Starts the stages that any queue has. Returns what tells that everything is written.
    fn receive_and_produce(
        &self,
        tasks: &mut Tasks,
        tracker: Arc<dyn Tracker>,
        dead: Option<DeadLetterInbox>,
    ) -> CancellationToken {
        let (inbox, received) = mpsc::channel(self.settings.max_in_flight);
        self.receive(tasks, Arc::clone(&tracker), inbox, dead);
        self.produce(tasks, tracker, received)
    }

    fn receive(
        &self,
        tasks: &mut Tasks,
        tracker: Arc<dyn Tracker>,
        inbox: mpsc::Sender<Message>,
        dead: Option<DeadLetterInbox>,
    ) {
        let receiver = Arc::new(Receiver {
            queue: Arc::clone(&self.queue),
            tracker,
            progress: Arc::clone(&self.progress),
            in_flight: Arc::new(Semaphore::new(self.settings.max_in_flight)),
            bodies: self.shared.bodies.clone(),
            pollers: Pollers::new(self.settings.pollers.clone()),
            format: self.settings.record_format,
            dead_letters: dead,
            health: self.shared.health.clone(),
            wait_time: self.settings.wait_time,
            visibility_timeout: self.settings.visibility_timeout,
            inbox,
            stop: self.shared.stop.clone(),
            warnings: Warnings::default(),
            has_answered: AtomicBool::new(false),
        });
        for number in 0..*self.settings.pollers.end() {
            let receiver = Arc::clone(&receiver);
            tasks.spawn(async move { receiver.poll(number).await });
        }
    }

    fn produce(
        &self,
        tasks: &mut Tasks,
        tracker: Arc<dyn Tracker>,
        received: mpsc::Receiver<Message>,
    ) -> CancellationToken {
        let writer = Writer {
            topic: Arc::clone(&self.shared.topic),
            tracker,
            progress: Arc::clone(&self.progress),
            acknowledgement_timeout: self.settings.acknowledgement_timeout,
            health: self.shared.health.clone(),
            is_troubled: AtomicBool::new(false),
        };
        let written = CancellationToken::new();
        let when_written = written.clone().drop_guard();
        tasks.spawn(async move {
            writer.run(received).await;
            drop(when_written);
            Ok(())
        });
        written
    }
}
