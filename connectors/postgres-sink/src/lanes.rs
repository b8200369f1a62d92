//! Which partitions this sink writes: a lane for each, begun and ended as the topic, the other sinks and the database
//! have it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use connector_common::{Partitions, Start, Stop, Warnings};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::task::AbortOnDropHandle;

use crate::claims::{Claim, Claims};
use crate::errors::DatabaseError;
use crate::kit::Kit;
use crate::lag;
use crate::partitions::partition_count;
use crate::shares::share;
use crate::writer::Source;

/// How often it is looked whether the locks are still held, and whether there are others to take or to give up.
const LOOK: Duration = Duration::from_secs(1);
/// How often the topic is asked for partitions that were added.
const GROW: Duration = Duration::from_secs(10);
/// How long the others may take to be told that this sink stops.
const LEAVE: Duration = Duration::from_secs(2);
/// A lock that is somebody else's at so many looks in a row is lost. Once may be a session of our own that has
/// broken, and that the server has not noticed yet.
const LOST: u32 = 2;
/// Health's name for what keeps the locks.
const LOCKS: &str = "locks on the partitions";

/// The lanes of a sink.
pub(crate) struct Lanes {
    claims: Arc<Claims>,
    kit: Kit,
    wanted: Partitions,
    shares: bool,
    /// How many partitions the topic had at the start; those added later are read from their beginning.
    first: u32,
    /// Those that may be written: the topic's, or those that the file names.
    candidates: Vec<u32>,
    running: BTreeMap<u32, Running>,
    tasks: JoinSet<(u32, anyhow::Result<()>)>,
    trouble: Warnings,
    held_by_others: BTreeMap<u32, Warnings>,
}

struct Running {
    halt: Box<dyn Fn() + Send + Sync>,
    is_ending: bool,
    /// Looks in a row at which somebody else held the lock.
    lost: u32,
    _measuring: Option<AbortOnDropHandle<()>>,
}

impl Lanes {
    /// Lanes for what `wanted` names of a topic with `count` partitions; with `shares`, for a fair share of it.
    pub(crate) fn new(
        claims: Arc<Claims>,
        kit: Kit,
        wanted: Partitions,
        shares: bool,
        count: u32,
    ) -> Self {
        let candidates = match &wanted {
            Partitions::All => (0..count).collect(),
            Partitions::Some(named) => named.clone(),
        };
        if !shares {
            for number in &candidates {
                kit.health.troubled(&claim_name(*number), "not taken yet");
            }
        }
        Self {
            claims,
            kit,
            wanted,
            shares,
            first: count,
            candidates,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            trouble: Warnings::default(),
            held_by_others: BTreeMap::new(),
        }
    }

    /// Begins and ends lanes until the stop, then waits until what is in hand is written.
    ///
    /// # Errors
    /// A partition that can't go on. It ends the sink; the others finish their batch first.
    pub(crate) async fn run(mut self, stop: &Stop) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        let mut is_stopping = false;
        let [mut look, mut grow] = [LOOK, GROW].map(|period| {
            let mut ticks = tokio::time::interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        // The partitions that there are at the start are known.
        grow.tick().await;
        while !(is_stopping && self.tasks.is_empty()) {
            tokio::select! {
                () = stop.requested(), if !is_stopping => {
                    is_stopping = true;
                    self.stop().await;
                }
                Some(ended) = self.tasks.join_next() => {
                    let result = match ended {
                        Ok((number, Ok(()))) => {
                            self.ended(number).await;
                            Ok(())
                        }
                        Ok((_, Err(error))) => Err(error),
                        Err(panic) => Err(panic.into()),
                    };
                    if let Err(error) = result {
                        outcome = outcome.and(Err(error));
                        if !is_stopping {
                            is_stopping = true;
                            self.stop().await;
                        }
                    }
                }
                _ = look.tick(), if !is_stopping => tokio::select! {
                    looked = self.look() => self.tell(looked),
                    () = stop.requested() => {}
                },
                _ = grow.tick(), if !is_stopping => tokio::select! {
                    () = self.grow() => {}
                    () = stop.requested() => {}
                },
            }
        }
        outcome
    }

    /// Makes sure of the locks, gives up what is not ours to write, and takes what is.
    async fn look(&mut self) -> Result<(), DatabaseError> {
        let running: Vec<u32> = self.writing().collect();
        for number in running {
            let claim = self.claims.take(&self.kit.source(number)).await?;
            self.keep(number, claim);
        }
        let most = if self.shares {
            let sources: Vec<Source> = self
                .candidates
                .iter()
                .map(|number| self.kit.source(*number))
                .collect();
            let members = self.claims.members(&self.group(), &sources).await?;
            share(&members, self.candidates.len())
        } else {
            self.candidates.len()
        };
        let surplus = self.writing().count().saturating_sub(most);
        // The last ones: those that the topic got last are the emptiest.
        let surplus: Vec<u32> = self
            .writing()
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .take(surplus)
            .collect();
        for number in surplus {
            tracing::info!(
                topic = self.kit.topic,
                partition = number,
                "giving the partition up to another sink"
            );
            self.halt(number);
        }
        for number in self.candidates.clone() {
            // One that is ending still counts: it is given up first.
            if self.running.len() >= most {
                break;
            }
            if !self.running.contains_key(&number) {
                let claim = self.claims.take(&self.kit.source(number)).await?;
                self.begin(number, &claim);
            }
        }
        Ok(())
    }

    /// What a look has come to, for health and the log.
    fn tell(&self, looked: Result<(), DatabaseError>) {
        match looked {
            Ok(()) => {
                self.kit.health.works(LOCKS);
                self.trouble.reset();
            }
            // The lanes go on: nobody else can take the locks either, and the offset decides whoever does.
            Err(error) => {
                self.kit.health.troubled(LOCKS, &error);
                if self.trouble.due().is_some() {
                    tracing::warn!("cannot make sure of the locks on the partitions: {error}");
                }
            }
        }
    }

    fn keep(&mut self, number: u32, claim: Claim) {
        let Some(running) = self.running.get_mut(&number) else {
            return;
        };
        match claim {
            Claim::Held => running.lost = 0,
            Claim::HeldBy(holder) => {
                running.lost += 1;
                if running.lost >= LOST {
                    tracing::warn!(
                        topic = self.kit.topic,
                        partition = number,
                        "another sink has taken the partition ({holder})"
                    );
                    self.halt(number);
                }
            }
        }
    }

    fn begin(&mut self, number: u32, claim: &Claim) {
        match claim {
            Claim::Held => {
                let (halted, halt) = Stop::manual();
                let start = (number >= self.first).then_some(Start::Beginning);
                let lane = self.kit.lane(number, start);
                let measuring = self.kit.measured(number).map(|(partition, metrics)| {
                    AbortOnDropHandle::new(tokio::spawn(lag::measure(partition, metrics)))
                });
                self.tasks
                    .spawn(async move { (number, lane.run(halted).await) });
                self.running.insert(
                    number,
                    Running {
                        halt: Box::new(halt),
                        is_ending: false,
                        lost: 0,
                        _measuring: measuring,
                    },
                );
                self.kit.limits.room.divide_among(self.running.len());
                self.kit.health.works(&claim_name(number));
                if self.held_by_others.remove(&number).is_some() {
                    tracing::info!(
                        topic = self.kit.topic,
                        partition = number,
                        "this sink writes the partition now"
                    );
                }
            }
            Claim::HeldBy(holder) if !self.shares => {
                let source = self.kit.source(number);
                let trouble = format!(
                    "another sink named `{}` writes this partition ({holder}); waiting until it ends. \
                     If both are wanted, give one a `meta.name` of its own, or both `share-partitions: true`",
                    source.sink
                );
                self.kit.health.troubled(&claim_name(number), &trouble);
                if self
                    .held_by_others
                    .entry(number)
                    .or_default()
                    .due()
                    .is_some()
                {
                    tracing::warn!(topic = source.topic, partition = number, "{trouble}");
                }
            }
            Claim::HeldBy(_) => {}
        }
    }

    /// A lane has ended in good order: another sink may have its partition.
    async fn ended(&mut self, number: u32) {
        self.running.remove(&number);
        self.kit.limits.room.divide_among(self.running.len());
        self.kit.forget(number);
        // Where it can't be given up, the session is gone and the lock with it.
        if let Err(error) = self.claims.release(&self.kit.source(number)).await {
            tracing::debug!(partition = number, "{error}");
        }
    }

    /// Looks for partitions that were added to the topic.
    async fn grow(&mut self) {
        if self.wanted != Partitions::All {
            return;
        }
        match partition_count(&self.kit.topic).await {
            Ok(Some(count)) => {
                let known = u32::try_from(self.candidates.len()).unwrap_or(u32::MAX);
                if count > known {
                    tracing::info!(
                        topic = self.kit.topic,
                        partitions = count,
                        "the topic has got more partitions"
                    );
                    self.candidates.extend(known..count);
                }
            }
            // The lanes say so themselves.
            Ok(None) => {}
            Err(error) => tracing::debug!("cannot ask for the topic's partitions: {error:#}"),
        }
    }

    /// Has every lane write what it has in hand, and end.
    async fn stop(&mut self) {
        for running in self.running.values_mut() {
            running.is_ending = true;
            (running.halt)();
        }
        if self.shares {
            // Else the others find out when this process has ended.
            let _ = tokio::time::timeout(LEAVE, self.claims.leave(&self.group())).await;
        }
    }

    fn halt(&mut self, number: u32) {
        if let Some(running) = self.running.get_mut(&number) {
            running.is_ending = true;
            (running.halt)();
        }
    }

    fn writing(&self) -> impl Iterator<Item = u32> {
        let running = self.running.iter();
        running
            .filter(|(_, running)| !running.is_ending)
            .map(|(number, _)| *number)
    }

    /// The name under which those share that may write the same partitions.
    fn group(&self) -> String {
        let Source { sink, topic, .. } = self.kit.source(0);
        let of = match &self.wanted {
            Partitions::All => "all".to_owned(),
            Partitions::Some(named) => format!("{named:?}"),
        };
        format!("{sink}\u{1f}{topic}\u{1f}shared\u{1f}{of}")
    }
}

/// Health's name for the lock on a partition.
fn claim_name(number: u32) -> String {
    format!("claim of partition {number}")
}
