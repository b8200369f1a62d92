//! The stages that a queue's messages go through, each a task or several, with a channel between them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use connector_common::Warnings;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::custody::{Custody, Message, Safe};
use crate::dead_letters::Undertaker;
use crate::delete::Deleter;
use crate::pollers::Pollers;
use crate::produce::Writer;
use crate::progress::Progress;
use crate::queue::{Queue, QueueError, Received};
use crate::receive::Receiver;
use crate::stream::{Settings, Shared, Until};
use crate::tables::{Stands, Tables};

/// What the stages share.
pub(crate) struct Stages {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) custody: Arc<Custody>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) shared: Shared,
    pub(crate) settings: Settings,
}

type Tasks = JoinSet<Result<(), QueueError>>;

impl Stages {
    /// Starts the stages. Each ends when the one before it has ended and what it sent is settled.
    pub(crate) fn start(&self, until: Until) -> Tasks {
        let (inbox, received) = mpsc::channel(self.settings.max_in_flight);
        let (dead, to_bury) = mpsc::unbounded_channel();
        let (safe, to_delete) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        self.receive(&mut tasks, inbox, dead);
        self.bury(&mut tasks, to_bury, safe.clone());
        let written = self.produce(&mut tasks, received, safe.clone());
        if let Until::Tables { sink, commits } = until {
            let tables = Tables {
                queue: Arc::clone(&self.queue),
                topic: Arc::clone(&self.shared.topic),
                custody: Arc::clone(&self.custody),
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
            custody: Arc::clone(&self.custody),
            progress: Arc::clone(&self.progress),
            warnings: Warnings::default(),
        };
        tasks.spawn(async move {
            deleter.run(to_delete).await;
            Ok(())
        });
        tasks
    }

    fn receive(
        &self,
        tasks: &mut Tasks,
        inbox: mpsc::Sender<Message>,
        dead: mpsc::UnboundedSender<Received>,
    ) {
        let max_receives = self
            .shared
            .dead_letters
            .as_ref()
            .map(|dead| dead.max_receives);
        let receiver = Arc::new(Receiver {
            queue: Arc::clone(&self.queue),
            custody: Arc::clone(&self.custody),
            progress: Arc::clone(&self.progress),
            in_flight: Arc::new(Semaphore::new(self.settings.max_in_flight)),
            bodies: self.shared.bodies.clone(),
            pollers: Pollers::new(self.settings.pollers.clone()),
            format: self.settings.record_format,
            max_receives: max_receives.unwrap_or(u32::MAX),
            dead,
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

    fn bury(
        &self,
        tasks: &mut Tasks,
        to_bury: mpsc::UnboundedReceiver<Received>,
        safe: mpsc::UnboundedSender<Safe>,
    ) {
        let Some(dead_letters) = self.shared.dead_letters.clone() else {
            return;
        };
        let undertaker = Undertaker {
            dead_letters,
            source: Arc::clone(&self.queue),
            custody: Arc::clone(&self.custody),
            progress: Arc::clone(&self.progress),
            safe,
            stop: self.shared.stop.clone(),
        };
        tasks.spawn(async move {
            undertaker.run(to_bury).await;
            Ok(())
        });
    }

    /// Returns what tells that everything is written.
    fn produce(
        &self,
        tasks: &mut Tasks,
        received: mpsc::Receiver<Message>,
        safe: mpsc::UnboundedSender<Safe>,
    ) -> CancellationToken {
        let writer = Writer {
            topic: Arc::clone(&self.shared.topic),
            custody: Arc::clone(&self.custody),
            progress: Arc::clone(&self.progress),
            acknowledgement_timeout: self.settings.acknowledgement_timeout,
            health: self.shared.health.clone(),
            is_troubled: AtomicBool::new(false),
            safe,
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
