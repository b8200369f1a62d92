use super::*;

const TIMEOUT: Duration = Duration::from_secs(30);

fn content(body: &str) -> Content {
    Content {
        body: body.into(),
        body_md5: "".into(),
        attributes: MessageAttributes::default(),
        trace_header: None,
    }
}

fn receive_one(backlog: &mut Backlog, now: Instant) -> Option<Delivery> {
    backlog.settle(now);
    backlog.receive(now, 0, 1, TIMEOUT, || false).pop()
}

#[test]
fn a_received_message_comes_back_when_its_timeout_ends_and_the_old_receipt_deletes_nothing() {
    let start = Instant::now();
    let mut backlog = Backlog::new(7);
    backlog.send(start, 0, content("a"), Duration::ZERO);
    let first = receive_one(&mut backlog, start).unwrap();
    assert!(receive_one(&mut backlog, start + TIMEOUT - Duration::from_millis(1)).is_none());
    assert_eq!((backlog.visible(), backlog.in_flight()), (0, 1));

    let second = receive_one(&mut backlog, start + TIMEOUT).unwrap();
    assert_eq!((first.id, second.receipt.receive), (second.id, 2));
    backlog.delete(first.receipt);
    assert_eq!(backlog.in_flight(), 1, "an old receipt must not delete");
    backlog.delete(second.receipt);
    backlog.delete(second.receipt);
    assert_eq!(
        (
            backlog.visible(),
            backlog.in_flight(),
            backlog.messages.len()
        ),
        (0, 0, 0)
    );
}

#[test]
fn visibility_can_be_extended_and_ended_but_only_in_flight_and_for_twelve_hours() {
    let start = Instant::now();
    let mut backlog = Backlog::new(7);
    backlog.send(start, 0, content("a"), Duration::ZERO);
    let first = receive_one(&mut backlog, start).unwrap().receipt;
    let later = start + Duration::from_secs(20);
    backlog.change_visibility(later, first, TIMEOUT).unwrap();
    assert!(receive_one(&mut backlog, start + Duration::from_secs(45)).is_none());
    assert_eq!(
        backlog.change_visibility(later, first, limits::VISIBILITY),
        Err(NotChanged::TooLong)
    );
    backlog
        .change_visibility(later, first, Duration::ZERO)
        .unwrap();
    assert_eq!(
        backlog.change_visibility(later, first, TIMEOUT),
        Err(NotChanged::NotInFlight)
    );
    let second = receive_one(&mut backlog, later).unwrap().receipt;
    assert_eq!(
        backlog.change_visibility(later, first, TIMEOUT),
        Err(NotChanged::Stale)
    );
    backlog.delete(second);
    assert_eq!(
        backlog.change_visibility(later, second, TIMEOUT),
        Err(NotChanged::Stale)
    );
}

#[test]
fn a_delayed_message_shows_up_in_its_time() {
    let start = Instant::now();
    let mut backlog = Backlog::new(7);
    backlog.send(start, 0, content("late"), Duration::from_secs(5));
    backlog.send(start, 0, content("now"), Duration::ZERO);
    assert_eq!(
        (backlog.visible(), backlog.delayed(), backlog.in_flight()),
        (1, 1, 0)
    );
    assert_eq!(
        &*receive_one(&mut backlog, start).unwrap().content.body,
        "now"
    );
    assert!(receive_one(&mut backlog, start).is_none());
    assert_eq!(
        &*receive_one(&mut backlog, start + Duration::from_secs(5))
            .unwrap()
            .content
            .body,
        "late"
    );
}

#[test]
fn no_more_than_the_limit_is_in_flight() {
    let start = Instant::now();
    let mut backlog = Backlog::new(7);
    for _ in 0..limits::IN_FLIGHT + 5 {
        backlog.send(start, 0, content("x"), Duration::ZERO);
    }
    let mut received = 0;
    loop {
        let batch = backlog
            .receive(start, 0, limits::BATCH, TIMEOUT, || false)
            .len();
        received += batch;
        if batch == 0 {
            break;
        }
    }
    assert_eq!((received, backlog.visible()), (limits::IN_FLIGHT, 5));
}
