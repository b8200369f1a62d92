use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use connector_common::committed::Destination;
use connector_common::keys::Sent;
use tokio::sync::Semaphore;

use super::*;
use crate::byte_budget::ByteBudget;
use crate::in_flight::visibility::LONGEST_DELAY;
use crate::queue::{Depth, QueueError, Receipt, Received, Refusal};
use crate::record::RecordPosition;
use crate::topic::Producer;

const CHECK_AFTER: Duration = Duration::from_secs(1);
/// Between the ages at which a message is checked after two receives and after three.
const AGE: Duration = Duration::from_secs(8);

struct End(i64);

#[async_trait]
impl Topic for End {
    fn name(&self) -> &str {
        "events"
    }

    async fn partitions(&self) -> anyhow::Result<u32> {
        unimplemented!()
    }

    async fn producer(&self, _partition: u32) -> anyhow::Result<Box<dyn Producer>> {
        unimplemented!()
    }

    async fn end(&self, _partition: u32) -> anyhow::Result<i64> {
        Ok(self.0)
    }
}

/// Keeps the receipts of messages that are made visible, or hidden for longer.
#[derive(Default)]
struct Visible {
    visible: Mutex<Vec<String>>,
    hidden: Mutex<Vec<(String, Duration)>>,
}

#[async_trait]
impl Queue for Visible {
    fn name(&self) -> &str {
        "queue"
    }

    async fn receive(
        &self,
        _most: usize,
        _wait: Duration,
        _visibility: Duration,
        _attempt: Option<&str>,
    ) -> Result<Vec<Received>, QueueError> {
        unimplemented!()
    }

    async fn delete(&self, _receipts: &[Receipt]) -> Result<Vec<Refusal>, QueueError> {
        unimplemented!()
    }

    async fn change_visibility(
        &self,
        changes: &[(Receipt, Duration)],
    ) -> Result<Vec<Refusal>, QueueError> {
        for (receipt, timeout) in changes {
            let receipt = receipt.to_string();
            if timeout.is_zero() {
                self.visible.lock().unwrap().push(receipt);
            } else {
                self.hidden.lock().unwrap().push((receipt, *timeout));
            }
        }
        Ok(Vec::new())
    }

    async fn send(&self, _message: &Received) -> Result<(), QueueError> {
        unimplemented!()
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        unimplemented!()
    }
}

impl Visible {
    fn sorted(&self) -> Vec<String> {
        let mut receipts = self.visible.lock().unwrap().clone();
        receipts.sort();
        receipts
    }
}

fn tracker(isolation: Isolation) -> (CommitTracker, Arc<Visible>) {
    tracker_of(vec![AwaitedSink::Tables], isolation)
}

fn tracker_of(sinks: Vec<AwaitedSink>, isolation: Isolation) -> (CommitTracker, Arc<Visible>) {
    let awaited: SinkSet = sinks.iter().map(|_| true).collect();
    let queue = Arc::new(Visible::default());
    let budget = ByteBudget::new(1);
    let hour = Duration::from_secs(3600);
    let tracker = CommitTracker {
        queue: Arc::<Visible>::clone(&queue),
        topic: Arc::new(End(0)),
        in_flight: Arc::new(InFlight::new(hour, awaited, budget)),
        awaited: sinks.into_iter().map(Awaited::from).collect(),
        check_after: CHECK_AFTER,
        max_in_flight: 10,
        unreadable: Unreadable::default(),
        isolation,
        acks: mpsc::unbounded_channel().0,
        committed_offsets: CommittedOffsets::default(),
        health: Health::default(),
        full: Warnings::default(),
    };
    (tracker, queue)
}

/// Tracks a message whose record was acknowledged at `offset`, which names the message.
fn acknowledge(tracker: &CommitTracker, offset: i64, receives: u32) {
    acknowledge_at(tracker, offset, receives, Instant::now() - AGE);
}

fn acknowledge_at(tracker: &CommitTracker, offset: i64, receives: u32, since: Instant) {
    let received = Received {
        id: offset.to_string().into(),
        receipt: offset.to_string().into(),
        receive_count: receives,
        sent_at: None,
        sent: Sent::default(),
        group: None,
        trace_header: None,
        attributes: BTreeMap::new(),
        body: Vec::new(),
    };
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let id = Arc::clone(&received.id);
    tracker.in_flight.track(received, since, permit).unwrap();
    let partition = 0;
    let position = RecordPosition { partition, offset };
    tracker.in_flight.acknowledged(&id, position, since);
}

fn commit(next_offset: i64) -> Commit {
    Commit {
        sink: "sink".to_owned(),
        partition: 0,
        next_offset,
        ..Commit::default()
    }
}

fn lake_commit(next_offset: i64) -> Commit {
    Commit {
        destination: Destination::Lake,
        commit_seconds: 60,
        ..commit(next_offset)
    }
}

#[tokio::test]
async fn a_committed_record_behind_the_end_is_lost() {
    let (mut tracker, queue) = tracker(Isolation::ReadCommitted);
    (0..10).for_each(|offset| acknowledge(&tracker, offset, 1));
    tracker.topic = Arc::new(End(8));
    tracker.check_uncommitted().await;
    assert_eq!(queue.sorted(), ["8", "9"]);
    assert_eq!(tracker.in_flight.len(), 8);
}

#[tokio::test]
async fn an_uncommitted_record_may_be_behind_the_end_while_a_replica_is_away() {
    let (mut tracker, queue) = tracker(Isolation::ReadUncommitted);
    (0..10).for_each(|offset| acknowledge(&tracker, offset, 1));
    tracker.topic = Arc::new(End(5));
    for _ in 0..10 {
        tracker.check_uncommitted().await;
    }
    assert!(queue.sorted().is_empty(), "a healthy message is given back");

    // The replica is back. The sink commits records at these offsets, and they are others.
    tracker.topic = Arc::new(End(10));
    tracker.ack(commit(7));
    tracker.check_uncommitted().await;
    assert_eq!(queue.sorted(), ["0", "1", "2", "3", "4", "5", "6"]);
    assert_eq!(tracker.in_flight.len(), 3);
}

#[tokio::test]
async fn the_more_often_a_message_was_received_the_later_the_end_counts() {
    let (mut tracker, queue) = tracker(Isolation::ReadCommitted);
    (0..10).for_each(|receives| acknowledge(&tracker, receives.into(), receives));
    tracker.check_uncommitted().await;
    assert_eq!(queue.sorted(), ["0", "1", "2"]);
    let day = Instant::now() + 24 * LONGEST_DELAY;
    for record in tracker.in_flight.uncommitted() {
        assert!(tracker.is_due_by_end(&record, day), "{record:?}");
    }

    // A sink past the record is evidence at once: a FIFO queue's group waits for the message.
    tracker.topic = Arc::new(End(10));
    tracker.ack(commit(9));
    tracker.check_uncommitted().await;
    let messages: Vec<String> = (0..9).map(|offset: i64| offset.to_string()).collect();
    assert_eq!(queue.sorted(), messages);
}

#[tokio::test]
async fn the_oldest_messages_make_room_for_others_while_no_notification_can_be_read() {
    let (mut tracker, queue) = tracker(Isolation::ReadCommitted);
    tracker.topic = Arc::new(End(10));
    let since = Instant::now() - 2 * LOST_AFTER;
    for offset in 0..10 {
        let since = since + Duration::from_millis(10 * offset as u64);
        acknowledge_at(&tracker, offset, 1 + offset as u32 % 2, since);
    }
    tracker.check_uncommitted().await;
    tracker.unreadable.begin();
    tracker.check_uncommitted().await;
    assert_eq!(
        tracker.in_flight.len(),
        10,
        "a leader may change in a minute"
    );

    tracker.unreadable.end();
    tracker.unreadable.begin_at(since);
    tracker.check_uncommitted().await;
    tracker.check_uncommitted().await;
    let mut hidden = queue.hidden.lock().unwrap().clone();
    hidden.sort();
    let twice = FIRST_DELAY * 4;
    let delays = [FIRST_DELAY, twice, FIRST_DELAY, twice, FIRST_DELAY];
    let expected = (0..5).map(|offset: i64| offset.to_string()).zip(delays);
    assert!(hidden.into_iter().eq(expected));
    assert_eq!(
        tracker.in_flight.len(),
        5,
        "half of the limit stays in flight"
    );
    assert!(queue.sorted().is_empty());
}

#[tokio::test]
async fn a_record_is_lost_if_a_sink_that_it_waits_for_has_passed_it_and_no_other() {
    let sinks = vec![AwaitedSink::Tables, AwaitedSink::Lake];
    let (mut tracker, queue) = tracker_of(sinks, Isolation::ReadCommitted);
    (0..10).for_each(|offset| acknowledge(&tracker, offset, 1));
    tracker.topic = Arc::new(End(10));
    // The tables have all of them, and the lake is a minute behind.
    tracker.ack(Commit {
        ids: (0..10).map(|offset: i64| offset.to_string()).collect(),
        ..commit(10)
    });
    tracker.check_uncommitted().await;
    assert!(queue.sorted().is_empty(), "the lake has yet to commit them");
    // It commits eight and names five.
    tracker.ack(Commit {
        ids: (0..5).map(|offset: i64| offset.to_string()).collect(),
        ..lake_commit(8)
    });
    tracker.check_uncommitted().await;
    assert_eq!(queue.sorted(), ["5", "6", "7"]);
    assert_eq!(tracker.in_flight.uncommitted().len(), 2);
}

#[tokio::test]
async fn a_sink_that_commits_seldom_is_overdue_after_its_own_interval() {
    let lake = AwaitedSink::Named("sink".to_owned());
    let (mut tracker, _) = tracker_of(vec![AwaitedSink::Tables, lake], Isolation::ReadCommitted);
    tracker.topic = Arc::new(End(10));
    let since = Instant::now() - COMMIT_OVERDUE - Duration::from_secs(30);
    acknowledge_at(&tracker, 0, 1, since);
    let ready = |tracker: &CommitTracker| tracker.health.ready().map_err(|why| why.to_string());
    let of_lake = "sink sink: messages wait for the sink `sink` to commit them; is it running?";
    let of_tables = "tables: messages wait for a PostgreSQL sink to commit them; is it running?";
    tracker.check_uncommitted().await;
    let both = format!("{of_lake}\n{of_tables}");
    assert_eq!(ready(&tracker), Err(both), "neither has reported yet");
    tracker.ack(lake_commit(0));
    tracker.check_uncommitted().await;
    assert_eq!(ready(&tracker), Err(of_tables.to_owned()));
    let named = vec!["0".to_owned()];
    let commit = commit(1);
    tracker.ack(Commit {
        sink: "postgres-sink".to_owned(),
        ids: named,
        ..commit
    });
    tracker.check_uncommitted().await;
    assert_eq!(ready(&tracker), Ok(()));
}
