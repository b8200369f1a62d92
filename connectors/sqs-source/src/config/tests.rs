use connector_common::Validate;

use super::*;

fn parse(yaml: &str) -> Result<Config, String> {
    let config: Config = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
    config.validate().map(|()| config)
}

#[test]
fn a_queue_is_all_that_must_be_said() {
    let config = parse("queue-url: https://sqs.eu-central-1.amazonaws.com/1/events").unwrap();
    let queue = "https://sqs.eu-central-1.amazonaws.com/1/events".to_owned();
    assert_eq!(config.queues(), [QueueRef::Url(queue)]);
    assert_eq!(
        (config.wait_time, config.visibility_timeout),
        (Duration::from_secs(20), None)
    );
    assert_eq!(config.max_in_flight, 10_000);
    let config = parse("{queue-name: events, visibility-timeout: 5m, wait-time: 0s}").unwrap();
    assert_eq!(config.queues(), [QueueRef::Name("events".to_owned())]);
    assert_eq!(config.visibility_timeout, Some(Duration::from_secs(300)));
    let config =
        parse("{queue-url: 'https://x/1/a', queue-name: [b, c.fifo], dead-letter-queue: d}");
    assert!(config.unwrap_err().contains("both FIFO"));
    let config = parse("{queue-url: 'https://x/1/a', queue-name: [b, c], dead-letter-queue: d}");
    let config = config.unwrap();
    assert_eq!(config.queues().len(), 3);
    assert_eq!(
        config.dead_letters(),
        Some((QueueRef::Name("d".to_owned()), 10))
    );
}

#[test]
fn what_cannot_work_is_refused_with_the_field_named() {
    for (yaml, named) in [
        ("region: eu-central-1", "queue-url"),
        ("{queue-name: [a, b, a]}", "`a` is named twice"),
        ("queue-name: []", "queue-url"),
        ("queue-url: events", "queue-name"),
        ("{queue-name: a, dead-letter-queue: a}", "itself"),
        ("{queue-name: a, dead-letter-queue: d.fifo}", "FIFO"),
        ("{queue-name: a, max-receives: 3}", "dead-letter-queue"),
        (
            "{queue-name: a, dead-letter-queue: d, max-receives: 0}",
            "max-receives",
        ),
        ("{queue-name: a, external-id: x}", "assume-role"),
        (
            "{queue-name: a, profile: p, access-key-id: x, secret-access-key: y}",
            "profile",
        ),
        ("{queue-name: a, min-pollers: 9}", "min-pollers"),
        (
            "{queue-name: a, max-in-flight-bytes: 1KiB}",
            "max-in-flight-bytes",
        ),
        ("{queue-name: a, record-format: json}", "record"),
        ("{queue-name: a, metrics-address: localhost}", "metrics"),
        ("{queue-name: a, access-key-id: x}", "secret-access-key"),
        ("{queue-name: a, secret-access-key: x}", "access-key-id"),
        (
            "{queue-name: a, visibility-timeout: 0s}",
            "visibility-timeout",
        ),
        (
            "{queue-name: a, visibility-timeout: 13h}",
            "visibility-timeout",
        ),
        (
            "{queue-name: a, visibility-timeout: 1500ms}",
            "whole seconds",
        ),
        ("{queue-name: a, wait-time: 21s}", "wait-time"),
        ("{queue-name: a, max-in-flight: 120000}", "max-in-flight"),
        ("{queue-name: a, max-in-flight: 9}", "max-in-flight"),
        ("{queue-name: a, pollers: 0}", "pollers"),
        (
            "{queue-name: a, endpoint-url: 'localhost:4566'}",
            "endpoint-url",
        ),
        (
            "{queue-name: a, acknowledgement-timeout: 0s}",
            "acknowledgement-timeout",
        ),
        ("{queue-name: a, max_in_flight: 100}", "max_in_flight"),
        ("{queue-name: a, delete-after: sink}", "delete"),
        ("{queue-name: a, sink: s}", "delete-after"),
        (
            "{queue-name: a, sink: s, delete-after: never}",
            "delete-after: tables",
        ),
        (
            "{queue-name: a, max-remembered: 5}",
            "`delete-after: never`",
        ),
        (
            "{queue-name: a, delete-after: never, max-remembered: 0}",
            "max-remembered",
        ),
        (
            "{queue-name: a, delete-after: never, dead-letter-queue: d}",
            "dead-letter-queue",
        ),
        (
            "{queue-name: a, delete-after: never, max-receives: 5}",
            "dead-letter-queue",
        ),
        (
            "{queue-name: [b, a.fifo], delete-after: never}",
            "FIFO queue `a.fifo`",
        ),
    ] {
        let error = parse(yaml).expect_err(yaml);
        assert!(error.contains(named), "{yaml}: {error}");
    }
}

#[test]
fn only_a_queue_that_is_never_deleted_from_may_hide_nothing() {
    let config = parse("{queue-name: a, delete-after: never, visibility-timeout: 0s}").unwrap();
    let own = Duration::from_secs(30);
    let settings = crate::stream::Settings::new(&config, "a", own).unwrap();
    assert_eq!(settings.visibility_timeout, Duration::ZERO);
    assert_eq!(settings.max_remembered, 1_000_000);
    let config = parse("{queue-name: a, delete-after: never}").unwrap();
    assert!(crate::stream::Settings::new(&config, "a", Duration::ZERO).is_ok());
    let config = parse("queue-name: a").unwrap();
    let error = crate::stream::Settings::new(&config, "a", Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("visibility-timeout"), "{error}");
}

#[test]
fn secrets_are_not_shown() {
    let config =
        parse("{queue-name: a, access-key-id: AKIAEXAMPLE, secret-access-key: hunter2}").unwrap();
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("AKIAEXAMPLE"),
        "{shown}"
    );
}
