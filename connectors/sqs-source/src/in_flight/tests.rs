use std::collections::BTreeMap;
use std::sync::Arc;

use connector_common::keys::Sent;
use tokio::sync::Semaphore;

use super::*;
use crate::config::LONGEST_VISIBILITY;

const TIMEOUT: Duration = Duration::from_secs(30);

struct Fixture {
    in_flight: InFlight,
    permits: Arc<Semaphore>,
    start: Instant,
}

impl Fixture {
    fn new() -> Self {
        Self {
            in_flight: InFlight::new(TIMEOUT, SinkSet::default(), ByteBudget::new(1 << 20)),
            permits: Arc::new(Semaphore::new(10)),
            start: Instant::now(),
        }
    }

    fn deliver(&self, id: &str, receipt: &str, receive_count: u32, at: Instant) -> Option<Record> {
        let received = Received {
            id: id.into(),
            receipt: receipt.into(),
            receive_count,
            sent_at: None,
            sent: Sent::default(),
            group: None,
            trace_header: None,
            attributes: BTreeMap::new(),
            body: b"x".to_vec(),
        };
        let permit = Arc::clone(&self.permits).try_acquire_owned().unwrap();
        self.in_flight.track(received, at, permit)
    }

    fn ack(&self, id: &str) -> AckToken {
        self.in_flight
            .acknowledged(
                &id.into(),
                RecordPosition {
                    partition: 0,
                    offset: 1,
                },
                self.start,
            )
            .unwrap()
    }
}

#[test]
fn a_second_delivery_is_not_produced_but_its_receipt_is_used_to_delete() {
    let fixture = Fixture::new();
    assert!(fixture.deliver("m", "first", 1, fixture.start).is_some());
    let ack = fixture.ack("m");
    let used = fixture.in_flight.receipt(&ack).unwrap();
    assert!(fixture.deliver("m", "second", 2, fixture.start).is_none());
    assert_eq!(
        fixture.permits.available_permits(),
        9,
        "a duplicate takes no permit"
    );

    let again = fixture
        .in_flight
        .deleted(ack, &used)
        .expect("the old receipt may be invalid");
    let newest = fixture.in_flight.receipt(&again).unwrap();
    assert_eq!(&*newest, "second");
    assert_eq!(fixture.in_flight.deleted(again, &newest), None);
    assert_eq!(
        (fixture.in_flight.len(), fixture.permits.available_permits()),
        (0, 10)
    );
    assert!(
        fixture.deliver("m", "third", 3, fixture.start).is_some(),
        "a later delivery is tracked anew"
    );
}

#[test]
fn messages_are_extended_at_half_their_timeout_again_and_again() {
    let fixture = Fixture::new();
    fixture.deliver("a", "ra", 1, fixture.start);
    fixture.deliver("b", "rb", 1, fixture.start + Duration::from_secs(1));
    assert_eq!(
        fixture
            .in_flight
            .take_due(fixture.start + TIMEOUT / 2 - Duration::from_millis(1), 10),
        []
    );
    let half = fixture.start + TIMEOUT / 2;
    let due = fixture.in_flight.take_due(half, 10);
    assert_eq!(
        due.iter()
            .map(|due| (&*due.receipt, due.timeout))
            .collect::<Vec<_>>(),
        [("ra", TIMEOUT)]
    );
    assert_eq!(fixture.in_flight.take_due(half, 10), [], "returned once");
    fixture.in_flight.extended(&due[0], half);
    let both = fixture.in_flight.take_due(half + TIMEOUT / 2, 10);
    assert_eq!(both.len(), 2);
    fixture.in_flight.extend_later(&both[0], half + TIMEOUT);
    assert_eq!(fixture.in_flight.take_due(half + TIMEOUT, 10).len(), 1);
}

#[test]
fn a_message_is_in_flight_since_its_first_receive() {
    let fixture = Fixture::new();
    let later = fixture.start + TIMEOUT;
    fixture.deliver("a", "ra", 1, fixture.start);
    fixture.deliver("b", "rb", 1, later);
    fixture.deliver("a", "again", 2, later);
    let oldest = || fixture.in_flight.counts().oldest_since;
    assert_eq!(oldest(), Some(fixture.start));
    fixture.in_flight.release(&"a".into());
    assert_eq!(oldest(), Some(later));
}

#[test]
fn an_extension_of_an_older_delivery_does_not_disturb_the_newer() {
    let fixture = Fixture::new();
    fixture.deliver("a", "old", 1, fixture.start);
    let old = fixture
        .in_flight
        .take_due(fixture.start + TIMEOUT / 2, 10)
        .remove(0);
    let later = fixture.start + TIMEOUT;
    fixture.deliver("a", "new", 2, later);
    assert!(!fixture.in_flight.is_newest(&old));
    fixture.in_flight.extended(&old, later + TIMEOUT);
    let due = fixture.in_flight.take_due(later + TIMEOUT / 2, 10);
    assert_eq!(
        due.iter().map(|due| &*due.receipt).collect::<Vec<_>>(),
        ["new"]
    );
}

#[test]
fn nothing_is_extended_beyond_twelve_hours() {
    let fixture = Fixture::new();
    fixture.deliver("a", "ra", 1, fixture.start);
    let nearly = fixture.start + LONGEST_VISIBILITY - Duration::from_secs(5);
    let last = fixture.in_flight.take_due(nearly, 10).remove(0);
    assert_eq!(last.timeout, Duration::from_secs(5));
    fixture.in_flight.extended(&last, nearly);
    assert_eq!(
        fixture
            .in_flight
            .take_due(fixture.start + LONGEST_VISIBILITY, 10),
        []
    );
}

#[test]
fn a_released_message_is_neither_extended_nor_made_visible() {
    let fixture = Fixture::new();
    fixture.deliver("a", "ra", 1, fixture.start);
    fixture.deliver("b", "rb", 1, fixture.start);
    fixture.in_flight.release(&"a".into());
    assert_eq!(
        fixture.in_flight.acknowledged(
            &"a".into(),
            RecordPosition {
                partition: 0,
                offset: 0
            },
            fixture.start
        ),
        None
    );
    assert_eq!(
        fixture
            .in_flight
            .take_due(fixture.start + TIMEOUT, 10)
            .len(),
        1
    );
    assert_eq!(
        fixture
            .in_flight
            .release_all()
            .iter()
            .map(|receipt| &**receipt)
            .collect::<Vec<_>>(),
        ["rb"]
    );
    assert_eq!(fixture.permits.available_permits(), 10);
}

#[test]
fn the_newer_of_two_deliveries_is_kept_in_whichever_order_they_arrive() {
    let fixture = Fixture::new();
    assert!(fixture.deliver("m", "second", 2, fixture.start).is_some());
    assert!(fixture.deliver("m", "first", 1, fixture.start).is_none());
    let ack = fixture.ack("m");
    assert_eq!(fixture.in_flight.receipt(&ack).as_deref(), Some("second"));
    assert!(fixture.deliver("m", "third", 3, fixture.start).is_none());
    assert_eq!(fixture.in_flight.receipt(&ack).as_deref(), Some("third"));
}

fn one_sink() -> SinkSet {
    [true].into_iter().collect()
}

#[test]
fn a_message_that_waits_for_two_sinks_is_acked_by_the_last_of_them() {
    let [both, first, second] = [[true, true], [true, false], [false, true]]
        .map(|sinks| sinks.into_iter().collect::<SinkSet>());
    let fixture = Fixture {
        in_flight: InFlight::new(TIMEOUT, both, ByteBudget::new(1 << 20)),
        ..Fixture::new()
    };
    let position = RecordPosition {
        partition: 0,
        offset: 1,
    };
    let acknowledge = |id: &str| {
        fixture
            .in_flight
            .acknowledged(&id.into(), position, fixture.start)
    };
    let commit = |id, sinks| fixture.in_flight.committed(id, sinks);
    for id in ["m", "n", "o"] {
        fixture.deliver(id, "r", 1, fixture.start);
    }
    assert_eq!(acknowledge("m"), None);
    assert_eq!(commit("m", second), None);
    assert_eq!(commit("m", second), None, "the same sink again");
    assert_eq!(fixture.in_flight.uncommitted()[0].missing, first);
    // Produced again after an error: what was committed stays so.
    assert_eq!(acknowledge("m"), None);
    assert!(commit("m", first).is_some());

    // The record of an earlier delivery is committed by one before this one is acknowledged.
    assert_eq!(commit("n", first), None);
    assert_eq!(acknowledge("n"), None);
    assert!(commit("n", second).is_some());
    assert_eq!(commit("o", first), None);
    assert_eq!(commit("o", second), None);
    assert!(acknowledge("o").is_some());
}

#[test]
fn with_tables_a_message_is_acked_once_and_only_by_a_commit_with_its_id() {
    let fixture = Fixture {
        in_flight: InFlight::new(TIMEOUT, one_sink(), ByteBudget::new(1 << 20)),
        ..Fixture::new()
    };
    let position = RecordPosition {
        partition: 0,
        offset: 1,
    };
    let acknowledge = |id: &str| {
        fixture
            .in_flight
            .acknowledged(&id.into(), position, fixture.start)
    };
    fixture.deliver("m", "r", 1, fixture.start);
    assert_eq!(acknowledge("m"), None);
    assert_eq!(fixture.in_flight.committed("another", one_sink()), None);
    assert_eq!(fixture.in_flight.uncommitted().len(), 1);
    let ack = fixture
        .in_flight
        .committed("m", one_sink())
        .expect("it is committed");
    assert_eq!((ack.id().as_ref(), ack.position()), ("m", Some(position)));
    assert_eq!(
        fixture.in_flight.committed("m", one_sink()),
        None,
        "one token a message"
    );
    assert_eq!(acknowledge("m"), None, "one token a message");

    // A record of an earlier delivery may be committed before this one is acknowledged.
    fixture.deliver("n", "r", 1, fixture.start);
    assert_eq!(fixture.in_flight.committed("n", one_sink()), None);
    assert!(acknowledge("n").is_some());
}

#[test]
fn a_message_whose_record_is_lost_is_released_and_tracked_anew() {
    let fixture = Fixture {
        in_flight: InFlight::new(TIMEOUT, one_sink(), ByteBudget::new(1 << 20)),
        ..Fixture::new()
    };
    for (id, offset) in [("kept", 4), ("lost", 5)] {
        fixture.deliver(id, id, 1, fixture.start);
        let position = RecordPosition {
            partition: 0,
            offset,
        };
        fixture
            .in_flight
            .acknowledged(&id.into(), position, fixture.start);
    }
    fixture.deliver("not produced", "r", 1, fixture.start);
    let receipts = fixture
        .in_flight
        .release_lost(|record| record.position.offset >= 5);
    assert_eq!(receipts, ["lost".into()]);
    assert_eq!(
        fixture.in_flight.committed("lost", one_sink()),
        None,
        "not in flight"
    );
    assert!(fixture.deliver("lost", "again", 2, fixture.start).is_some());
    assert!(fixture.in_flight.committed("kept", one_sink()).is_some());
}
