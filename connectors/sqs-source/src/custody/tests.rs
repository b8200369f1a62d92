use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::*;
use crate::config::LONGEST_VISIBILITY;

const TIMEOUT: Duration = Duration::from_secs(30);

struct Hand {
    custody: Custody,
    permits: Arc<Semaphore>,
    start: Instant,
}

impl Hand {
    fn new() -> Self {
        Self {
            custody: Custody::new(TIMEOUT, DeleteAfter::Topic, Bodies::up_to(1 << 20)),
            permits: Arc::new(Semaphore::new(10)),
            start: Instant::now(),
        }
    }

    fn deliver(&self, id: &str, receipt: &str, receive_count: u32, at: Instant) -> Option<Message> {
        let received = Received {
            id: id.into(),
            receipt: receipt.into(),
            receive_count,
            sent_at: None,
            group: None,
            attributes: BTreeMap::new(),
            body: b"x".to_vec(),
        };
        let permit = Arc::clone(&self.permits).try_acquire_owned().unwrap();
        self.custody.take_in(received, at, permit)
    }

    fn safe(&self, id: &str) -> Safe {
        self.custody
            .acknowledged(
                &id.into(),
                Place {
                    partition: 0,
                    offset: 1,
                },
                self.start,
            )
            .unwrap()
    }
}

#[test]
fn a_second_delivery_is_not_produced_but_its_receipt_is_the_one_to_delete_with() {
    let hand = Hand::new();
    assert!(hand.deliver("m", "first", 1, hand.start).is_some());
    let safe = hand.safe("m");
    let used = hand.custody.receipt(&safe).unwrap();
    assert!(hand.deliver("m", "second", 2, hand.start).is_none());
    assert_eq!(
        hand.permits.available_permits(),
        9,
        "a duplicate takes no room"
    );

    let again = hand
        .custody
        .deleted(safe, &used)
        .expect("the old receipt may have deleted nothing");
    let newest = hand.custody.receipt(&again).unwrap();
    assert_eq!(&*newest, "second");
    assert_eq!(hand.custody.deleted(again, &newest), None);
    assert_eq!(
        (hand.custody.len(), hand.permits.available_permits()),
        (0, 10)
    );
    assert!(
        hand.deliver("m", "third", 3, hand.start).is_some(),
        "a later delivery is a new one"
    );
}

#[test]
fn messages_come_up_for_extension_at_half_their_timeout_again_and_again() {
    let hand = Hand::new();
    hand.deliver("a", "ra", 1, hand.start);
    hand.deliver("b", "rb", 1, hand.start + Duration::from_secs(1));
    assert_eq!(
        hand.custody
            .take_due(hand.start + TIMEOUT / 2 - Duration::from_millis(1), 10),
        []
    );
    let half = hand.start + TIMEOUT / 2;
    let due = hand.custody.take_due(half, 10);
    assert_eq!(
        due.iter()
            .map(|due| (&*due.receipt, due.timeout))
            .collect::<Vec<_>>(),
        [("ra", TIMEOUT)]
    );
    assert_eq!(hand.custody.take_due(half, 10), [], "handed out once");
    hand.custody.extended(&due[0], half);
    let both = hand.custody.take_due(half + TIMEOUT / 2, 10);
    assert_eq!(both.len(), 2);
    hand.custody.extend_later(&both[0], half + TIMEOUT);
    assert_eq!(hand.custody.take_due(half + TIMEOUT, 10).len(), 1);
}

#[test]
fn an_extension_of_an_older_delivery_does_not_disturb_the_newer() {
    let hand = Hand::new();
    hand.deliver("a", "old", 1, hand.start);
    let old = hand
        .custody
        .take_due(hand.start + TIMEOUT / 2, 10)
        .remove(0);
    let later = hand.start + TIMEOUT;
    hand.deliver("a", "new", 2, later);
    assert!(!hand.custody.holds(&old));
    hand.custody.extended(&old, later + TIMEOUT);
    let due = hand.custody.take_due(later + TIMEOUT / 2, 10);
    assert_eq!(
        due.iter().map(|due| &*due.receipt).collect::<Vec<_>>(),
        ["new"]
    );
}

#[test]
fn nothing_is_extended_beyond_twelve_hours() {
    let hand = Hand::new();
    hand.deliver("a", "ra", 1, hand.start);
    let nearly = hand.start + LONGEST_VISIBILITY - Duration::from_secs(5);
    let last = hand.custody.take_due(nearly, 10).remove(0);
    assert_eq!(last.timeout, Duration::from_secs(5));
    hand.custody.extended(&last, nearly);
    assert_eq!(
        hand.custody.take_due(hand.start + LONGEST_VISIBILITY, 10),
        []
    );
}

#[test]
fn what_is_released_is_neither_extended_nor_given_back() {
    let hand = Hand::new();
    hand.deliver("a", "ra", 1, hand.start);
    hand.deliver("b", "rb", 1, hand.start);
    hand.custody.release(&"a".into());
    assert_eq!(
        hand.custody.acknowledged(
            &"a".into(),
            Place {
                partition: 0,
                offset: 0
            },
            hand.start
        ),
        None
    );
    assert_eq!(hand.custody.take_due(hand.start + TIMEOUT, 10).len(), 1);
    assert_eq!(
        hand.custody
            .give_up_all()
            .iter()
            .map(|receipt| &**receipt)
            .collect::<Vec<_>>(),
        ["rb"]
    );
    assert_eq!(hand.permits.available_permits(), 10);
}

#[test]
fn of_two_deliveries_the_newer_counts_in_whichever_order_they_arrive() {
    let hand = Hand::new();
    assert!(hand.deliver("m", "second", 2, hand.start).is_some());
    assert!(hand.deliver("m", "first", 1, hand.start).is_none());
    let safe = hand.safe("m");
    assert_eq!(hand.custody.receipt(&safe).as_deref(), Some("second"));
    assert!(hand.deliver("m", "third", 3, hand.start).is_none());
    assert_eq!(hand.custody.receipt(&safe).as_deref(), Some("third"));
}

#[test]
fn with_tables_only_a_commit_that_names_the_message_makes_it_safe_and_only_once() {
    let hand = Hand {
        custody: Custody::new(TIMEOUT, DeleteAfter::Tables, Bodies::up_to(1 << 20)),
        ..Hand::new()
    };
    let place = Place {
        partition: 0,
        offset: 1,
    };
    let acknowledge = |id: &str| hand.custody.acknowledged(&id.into(), place, hand.start);
    hand.deliver("m", "r", 1, hand.start);
    assert_eq!(acknowledge("m"), None);
    assert_eq!(hand.custody.committed("another"), None);
    assert_eq!(hand.custody.waiting().len(), 1);
    let safe = hand.custody.committed("m").expect("it is in the tables");
    assert_eq!((safe.id().as_ref(), safe.place()), ("m", Some(place)));
    assert_eq!(hand.custody.committed("m"), None, "one ticket a message");
    assert_eq!(acknowledge("m"), None, "one ticket a message");

    // A record of an earlier delivery may be committed before this one is acknowledged.
    hand.deliver("n", "r", 1, hand.start);
    assert_eq!(hand.custody.committed("n"), None);
    assert!(acknowledge("n").is_some());
}

#[test]
fn what_waits_in_vain_is_given_up_and_taken_in_anew() {
    let hand = Hand {
        custody: Custody::new(TIMEOUT, DeleteAfter::Tables, Bodies::up_to(1 << 20)),
        ..Hand::new()
    };
    for (id, offset) in [("kept", 4), ("lost", 5)] {
        hand.deliver(id, id, 1, hand.start);
        let place = Place {
            partition: 0,
            offset,
        };
        hand.custody.acknowledged(&id.into(), place, hand.start);
    }
    hand.deliver("not produced", "r", 1, hand.start);
    let receipts = hand.custody.give_up(|waiting| waiting.place.offset >= 5);
    assert_eq!(receipts, ["lost".into()]);
    assert_eq!(hand.custody.committed("lost"), None, "not in hand");
    assert!(hand.deliver("lost", "again", 2, hand.start).is_some());
    assert!(hand.custody.committed("kept").is_some());
}
