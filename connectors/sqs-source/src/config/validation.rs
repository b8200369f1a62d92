//! Validates the section `sqs` when it is read. SQS would refuse these settings late or never.

use std::time::Duration;

use bytesize::ByteSize;
use connector_common::{Error, Transform, Validate};
use humantime_serde::re::humantime::format_duration;

use super::{Config, DeleteAfter, LONGEST_VISIBILITY, QueueRef, is_http};
use crate::awaited::SinkSet;
use crate::queue::is_fifo;

/// SQS allows 120,000 received and undeleted messages a queue (quota "in-flight messages").
const QUEUE_IN_FLIGHT: usize = 120_000;

/// At 64 bytes each, 6 GB.
const MOST_REMEMBERED: usize = 100_000_000;

/// The largest message of SQS (quota "message size").
const LARGEST_MESSAGE: ByteSize = ByteSize::mib(1);

type Checked = Result<(), Error>;

fn refuse(reason: impl Into<String>) -> Checked {
    Err(Error::Invalid(reason.into()))
}

impl Validate for Config {
    fn validate(&self) -> Checked {
        self.validate_queues()?;
        self.validate_access()?;
        self.validate_dead_letters()?;
        self.validate_never()?;
        self.validate_limits()?;
        connector_common::committed::validate_secret(self.notifications_secret.as_ref())?;
        connector_common::traces::validate(self.otlp_endpoint.as_deref())?;
        self.validate_sinks()
    }

    fn validate_transforms(&self, transforms: &[Transform]) -> Checked {
        if transforms.is_empty() {
            return Ok(());
        }
        refuse(
            "`transforms` is refused here: Fluvio would compile the SmartModule for every batch \
             produced; put it on the consumer",
        )
    }
}

impl Config {
    fn validate_queues(&self) -> Checked {
        let queues = self.queues();
        if queues.is_empty() {
            return refuse("name the queue with `queue-url` or `queue-name`");
        }
        for (index, queue) in queues.iter().enumerate() {
            if queues.iter().take(index).any(|other| other == queue) {
                return refuse(format!("the queue `{}` is named twice", queue.as_str()));
            }
            match queue {
                QueueRef::Url(url) if !is_http(url) => {
                    return refuse(format!(
                        "`queue-url` is not an http(s) URL: `{url}`; a bare name goes into \
                         `queue-name`"
                    ));
                }
                QueueRef::Name(name) => check_name("queue-name", name)?,
                QueueRef::Url(_) => {}
            }
        }
        Ok(())
    }

    /// Checks the sinks that messages wait for.
    fn validate_sinks(&self) -> Checked {
        let is_one = matches!(self.delete_after, DeleteAfter::Tables | DeleteAfter::Lake);
        if self.sink.is_some() && !is_one {
            return refuse(
                "`sink` needs `delete-after: tables` or `lake`; a list of sinks has their names",
            );
        }
        if self.notifications_secret.is_some() && self.awaited_sinks().is_empty() {
            return refuse(
                "`notifications-secret` needs `delete-after: tables`, `lake` or a list of sinks",
            );
        }
        let DeleteAfter::Sinks(sinks) = &self.delete_after else {
            return Ok(());
        };
        if !(1..=SinkSet::MAX).contains(&sinks.len()) {
            return refuse(format!(
                "`delete-after` names between 1 and {} sinks, not {}",
                SinkSet::MAX,
                sinks.len()
            ));
        }
        for (index, sink) in sinks.iter().enumerate() {
            if ["topic", "never", ""].contains(&sink.as_str()) {
                return refuse(format!("`delete-after` names `{sink}` in a list of sinks"));
            }
            if sinks.iter().take(index).any(|other| other == sink) {
                return refuse(format!("`delete-after` names the sink `{sink}` twice"));
            }
        }
        Ok(())
    }

    /// Checks how the queue is reached, and the credentials.
    fn validate_access(&self) -> Checked {
        if let Some(url) = self.endpoint_url.as_deref().filter(|url| !is_http(url)) {
            return refuse(format!("`endpoint-url` is not an http(s) URL: `{url}`"));
        }
        if let Some(url) = &self.s3_endpoint_url {
            if !is_http(url) {
                return refuse(format!("`s3-endpoint-url` is not an http(s) URL: `{url}`"));
            }
            if !self.s3_payloads {
                return refuse("`s3-endpoint-url` needs `s3-payloads: true`");
            }
        }
        match (&self.access_key_id, &self.secret_access_key) {
            (Some(_), None) => return refuse("`access-key-id` needs `secret-access-key`"),
            (None, Some(_)) => return refuse("`secret-access-key` needs `access-key-id`"),
            _ => {}
        }
        if self.external_id.is_some() && self.assume_role.is_none() {
            return refuse("`external-id` needs `assume-role`");
        }
        if self.profile.is_some() && self.access_key_id.is_some() {
            return refuse(
                "set `profile` or `access-key-id`, not both: each names the credentials",
            );
        }
        Ok(())
    }

    fn validate_limits(&self) -> Checked {
        if let Some(timeout) = self.visibility_timeout {
            if timeout.is_zero() && self.delete_after != DeleteAfter::Never {
                return refuse(
                    "`visibility-timeout: 0s` needs `delete-after: never`: a message has to stay \
                     hidden until it is deleted",
                );
            }
            let range = (Duration::ZERO, LONGEST_VISIBILITY);
            check_range("visibility-timeout", timeout, range)?;
            check_whole_seconds("visibility-timeout", timeout)?;
        }
        let range = (Duration::ZERO, Duration::from_secs(20));
        check_range("wait-time", self.wait_time, range)?;
        check_whole_seconds("wait-time", self.wait_time)?;
        let range = (Duration::from_secs(1), LONGEST_VISIBILITY);
        check_range(
            "acknowledgement-timeout",
            self.acknowledgement_timeout,
            range,
        )?;
        if !(10..QUEUE_IN_FLIGHT).contains(&self.max_in_flight) {
            return refuse(format!(
                "`max-in-flight` is between 10 and {}, not {}",
                QUEUE_IN_FLIGHT - 1,
                self.max_in_flight
            ));
        }
        if !(1..=100).contains(&self.pollers) {
            return refuse(format!(
                "`pollers` is between 1 and 100, not {}",
                self.pollers
            ));
        }
        if !(1..=self.pollers).contains(&self.min_pollers) {
            return refuse(format!(
                "`min-pollers` is between 1 and `pollers`, which is {}; it is {}",
                self.pollers, self.min_pollers
            ));
        }
        if self.max_in_flight_bytes < LARGEST_MESSAGE {
            return refuse(format!(
                "`max-in-flight-bytes` is at least {LARGEST_MESSAGE}, the largest message of SQS, \
                 not {}",
                self.max_in_flight_bytes
            ));
        }
        Ok(())
    }

    /// Checks `delete-after: never` against the other settings.
    fn validate_never(&self) -> Checked {
        if self.delete_after != DeleteAfter::Never {
            return match self.max_remembered {
                Some(_) => refuse("`max-remembered` needs `delete-after: never`"),
                None => Ok(()),
            };
        }
        if self.dead_letter_queue.is_some() {
            return refuse(
                "`dead-letter-queue` and `delete-after: never` exclude each other: a forwarded \
                 message is deleted from its queue",
            );
        }
        let queues = self.queues();
        if let Some(fifo) = queues.iter().find(|queue| is_fifo(queue.as_str())) {
            return refuse(format!(
                "`delete-after: never` cannot read the FIFO queue `{}`: SQS returns no further \
                 messages of a group before the first are deleted",
                fifo.as_str()
            ));
        }
        if !(1..=MOST_REMEMBERED).contains(&self.max_remembered()) {
            return refuse(format!(
                "`max-remembered` is between 1 and {MOST_REMEMBERED}, not {}",
                self.max_remembered()
            ));
        }
        Ok(())
    }

    fn validate_dead_letters(&self) -> Checked {
        let Some(dead_letters) = &self.dead_letter_queue else {
            return match self.max_receives {
                Some(_) => refuse("`max-receives` needs `dead-letter-queue`"),
                None => Ok(()),
            };
        };
        if !is_http(dead_letters) {
            check_name("dead-letter-queue", dead_letters)?;
        }
        for queue in self.queues() {
            let queue = queue.as_str();
            if queue == dead_letters {
                return refuse(format!(
                    "`dead-letter-queue` is the queue `{dead_letters}` itself: its messages would \
                     be received again and again"
                ));
            }
            if is_fifo(queue) != is_fifo(dead_letters) {
                return refuse(format!(
                    "`dead-letter-queue` and `{queue}` have to be both FIFO queues (`….fifo`), \
                     or neither"
                ));
            }
        }
        match self.max_receives {
            Some(receives) if !(1..=1000).contains(&receives) => refuse(format!(
                "`max-receives` is between 1 and 1000, not {receives}"
            )),
            _ => Ok(()),
        }
    }
}

/// Checks a queue's name by the rules of SQS's `CreateQueue`.
fn check_name(field: &str, name: &str) -> Checked {
    let stem = name.strip_suffix(".fifo").unwrap_or(name);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !stem.is_empty() && name.len() <= 80 && stem.bytes().all(allowed) {
        return Ok(());
    }
    refuse(format!(
        "`{field}` is not a queue's name: `{name}`; SQS allows up to 80 letters, digits, `-` and \
         `_`, and `.fifo` at the end of a FIFO queue's; a URL goes into `queue-url`"
    ))
}

fn check_range(field: &str, value: Duration, (least, most): (Duration, Duration)) -> Checked {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    refuse(format!(
        "`{field}` is between {} and {}, not {}",
        format_duration(least),
        format_duration(most),
        format_duration(value)
    ))
}

/// SQS takes whole seconds; a fraction would silently be cut off.
fn check_whole_seconds(field: &str, value: Duration) -> Checked {
    if value.subsec_nanos() == 0 {
        return Ok(());
    }
    refuse(format!("`{field}` is in whole seconds, as in SQS"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::awaited::AwaitedSink;
    use crate::config::Isolation;

    fn parse(yaml: &str) -> Result<Config, String> {
        let config: Config = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn only_the_queue_has_to_be_configured() {
        let config = parse("queue-url: https://sqs.eu-central-1.amazonaws.com/1/events").unwrap();
        let queue = "https://sqs.eu-central-1.amazonaws.com/1/events".to_owned();
        assert_eq!(config.queues(), [QueueRef::Url(queue)]);
        assert_eq!(
            (config.wait_time, config.visibility_timeout),
            (Duration::from_secs(20), None)
        );
        assert_eq!(config.max_in_flight, 10_000);
        assert_eq!(config.isolation, Isolation::ReadCommitted);
        assert_eq!(config.delete_after, DeleteAfter::Tables);
        let config = parse("{queue-name: events, visibility-timeout: 5m, wait-time: 0s}").unwrap();
        assert_eq!(config.queues(), [QueueRef::Name("events".to_owned())]);
        assert_eq!(config.visibility_timeout, Some(Duration::from_secs(300)));
        let config =
            parse("{queue-url: 'https://x/1/a', queue-name: [b, c.fifo], dead-letter-queue: d}");
        assert!(config.unwrap_err().contains("both FIFO"));
        let config =
            parse("{queue-url: 'https://x/1/a', queue-name: [b, c], dead-letter-queue: d}");
        let config = config.unwrap();
        assert_eq!(config.queues().len(), 3);
        assert_eq!(
            config.dead_letters(),
            Some((QueueRef::Name("d".to_owned()), 10))
        );
    }

    #[test]
    fn the_sinks_to_wait_for_are_those_of_a_list_or_of_a_kind() {
        use AwaitedSink::{Lake, Named, Tables};
        let named = |name: &str| Named(name.to_owned());
        for (yaml, sinks) in [
            ("{queue-name: a}", vec![Tables]),
            ("{queue-name: a, sink: s}", vec![named("s")]),
            ("{queue-name: a, delete-after: lake}", vec![Lake]),
            (
                "{queue-name: a, delete-after: lake, sink: s}",
                vec![named("s")],
            ),
            (
                "{queue-name: a, delete-after: [s, lake]}",
                vec![named("s"), Lake],
            ),
            ("{queue-name: a, delete-after: topic}", vec![]),
            ("{queue-name: a, delete-after: never}", vec![]),
        ] {
            assert_eq!(parse(yaml).unwrap().awaited_sinks(), sinks, "{yaml}");
        }
    }

    #[test]
    fn a_queue_has_a_name_of_up_to_80_characters() {
        for (length, is_allowed) in [(75, true), (76, false)] {
            let yaml = format!("queue-name: {}.fifo", "q".repeat(length));
            assert_eq!(parse(&yaml).is_ok(), is_allowed, "{yaml}");
        }
    }

    #[test]
    fn invalid_settings_are_refused_with_the_field_named() {
        for (yaml, named) in [
            ("region: eu-central-1", "queue-url"),
            ("{queue-name: [a, b, a]}", "`a` is named twice"),
            ("queue-name: []", "queue-url"),
            ("queue-url: events", "queue-name"),
            ("queue-name: shop.events", "`shop.events`"),
            ("queue-name: .fifo", "`.fifo`"),
            (
                "queue-name: 'https://sqs.eu-central-1.amazonaws.com/1/events'",
                "goes into `queue-url`",
            ),
            (
                "queue-name: 'arn:aws:sqs:eu-central-1:1:events'",
                "not a queue's name",
            ),
            (
                "{queue-name: a, dead-letter-queue: a/b}",
                "`dead-letter-queue` is not",
            ),
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
            (
                "{queue-name: a, isolation: ReadCommitted}",
                "read-committed",
            ),
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
                "{queue-name: a, s3-payloads: true, s3-endpoint-url: 'localhost:4566'}",
                "s3-endpoint-url",
            ),
            (
                "{queue-name: a, s3-endpoint-url: 'http://localhost:4566'}",
                "`s3-payloads: true`",
            ),
            (
                "{queue-name: a, acknowledgement-timeout: 0s}",
                "acknowledgement-timeout",
            ),
            ("{queue-name: a, max_in_flight: 100}", "max_in_flight"),
            (
                "{queue-name: a, delete-after: sink}",
                "a list of sinks: `[sink]`",
            ),
            (
                "{queue-name: a, delete-after: {sink: a}}",
                "a list of sinks",
            ),
            ("{queue-name: a, delete-after: []}", "between 1 and 8"),
            (
                "{queue-name: a, delete-after: [a, b, c, d, e, f, g, h, i]}",
                "between 1 and 8",
            ),
            ("{queue-name: a, delete-after: [a, b, a]}", "`a` twice"),
            (
                "{queue-name: a, delete-after: [a, topic]}",
                "`topic` in a list",
            ),
            (
                "{queue-name: a, delete-after: [a], sink: a}",
                "`sink` needs",
            ),
            (
                "{queue-name: a, sink: s, delete-after: topic}",
                "delete-after: tables",
            ),
            (
                "{queue-name: a, sink: s, delete-after: never}",
                "delete-after: tables",
            ),
            (
                "{queue-name: a, notifications-secret: 0123456789abcdef, delete-after: topic}",
                "`notifications-secret` needs",
            ),
            (
                "{queue-name: a, notifications-secret: hunter2}",
                "at least 16",
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
    fn the_debug_output_shows_no_secret() {
        let config =
            parse("{queue-name: a, access-key-id: AKIAEXAMPLE, secret-access-key: hunter2}")
                .unwrap();
        let shown = format!("{config:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("AKIAEXAMPLE"),
            "{shown}"
        );
    }
}
