//! The section `sqs` of the connector's YAML. This is its reference.

use std::time::Duration;

use connector_common::{Secret, Validate};
use serde::Deserialize;

/// SQS lets a message be hidden for twelve hours after its receive (quota "message visibility timeout").
pub const LONGEST_VISIBILITY: Duration = Duration::from_secs(12 * 60 * 60);

/// SQS holds no more than 120,000 received and undeleted messages a queue (quota "in-flight messages").
const QUEUE_IN_FLIGHT: usize = 120_000;

/// How to reach the queue and how to read it. Durations are written like `30s` or `5m`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// The queue by its URL. Either this or `queue-name`.
    #[serde(default)]
    pub queue_url: Option<String>,

    /// The queue by its name, in the account of the credentials. Needs the permission
    /// `sqs:GetQueueUrl` besides those that the connector needs anyway: `sqs:ReceiveMessage`,
    /// `sqs:DeleteMessage`, `sqs:ChangeMessageVisibility` and `sqs:GetQueueAttributes`.
    #[serde(default)]
    pub queue_name: Option<String>,

    /// The AWS region of the queue. Default: what the AWS environment variables or profile say.
    #[serde(default)]
    pub region: Option<String>,

    /// Another address than AWS's own for the region: a VPC endpoint, an SQS-compatible server.
    #[serde(default)]
    pub endpoint_url: Option<String>,

    /// A static access key; only together with `secret-access-key`. Default: AWS's own chain of
    /// providers (environment, profile, web identity, container, instance).
    #[serde(default)]
    pub access_key_id: Option<Secret>,

    /// The secret of `access-key-id`. Write it as `${{ secrets.NAME }}`.
    #[serde(default)]
    pub secret_access_key: Option<Secret>,

    /// How long a received message stays hidden from other receivers before it is extended or comes
    /// back: whole seconds, 1s to 12h. It is extended at half this time for as long as the message is
    /// in hand. Default: the queue's own visibility timeout.
    #[serde(default, with = "humantime_serde")]
    pub visibility_timeout: Option<Duration>,

    /// How long a receive waits for a first message: whole seconds, at most 20s. Default: 20s, which
    /// costs the fewest requests on a quiet queue; messages arrive at once either way.
    #[serde(default = "default_wait_time", with = "humantime_serde")]
    pub wait_time: Duration,

    /// The most messages that are received and not yet deleted, which bounds memory; receiving pauses
    /// there. From 10 to 119,999, since SQS refuses more. Default: 10000.
    #[serde(default = "default_max_in_flight")]
    pub max_in_flight: usize,

    /// How many receives run at once, each for up to 10 messages: 1 to 100. Default: 8.
    #[serde(default = "default_pollers")]
    pub pollers: usize,

    /// How long the topic may take to acknowledge a record before the connection is given up and
    /// made anew, and the record is produced again; at least 1s. Default: 30s.
    #[serde(default = "default_acknowledgement_timeout", with = "humantime_serde")]
    pub acknowledgement_timeout: Duration,

    /// What has to hold a message before it is deleted: `topic` (default) or `tables`. See
    /// [`DeleteAfter`].
    #[serde(default)]
    pub delete_after: DeleteAfter,

    /// With `delete-after: tables`, the sink whose tables count: its `meta.consumer.id`, else its
    /// `meta.name`. Default: any sink that reads the topic, which is right as long as all of them
    /// write to one database.
    #[serde(default)]
    pub sink: Option<String>,

    /// How long a stop may take to produce and delete what is in hand. What is left then is made
    /// visible in the queue again. Default: 20s.
    #[serde(default = "default_stop_timeout", with = "humantime_serde")]
    pub stop_timeout: Duration,
}

/// What has to hold a message before it is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum DeleteAfter {
    /// The topic has acknowledged its record. Fluvio does so before the record is on a disk, so this
    /// is for topics that are replicated, or may lose some records with their machine.
    #[default]
    Topic,
    /// A postgres-sink has announced that the record's facts are committed. Until then the message
    /// counts as in flight and is kept hidden, whatever is away meanwhile: choose `max-in-flight`
    /// for what comes in between a receive and its commit, and a `visibility-timeout` of minutes,
    /// since each message is extended twice in that time.
    Tables,
}

fn default_wait_time() -> Duration {
    Duration::from_secs(20)
}

fn default_max_in_flight() -> usize {
    10_000
}

fn default_pollers() -> usize {
    8
}

fn default_acknowledgement_timeout() -> Duration {
    Duration::from_secs(30)
}

fn default_stop_timeout() -> Duration {
    Duration::from_secs(20)
}

impl Config {
    /// The queue as the configuration names it, for messages to people.
    #[must_use]
    pub fn queue(&self) -> &str {
        self.queue_url
            .as_deref()
            .or(self.queue_name.as_deref())
            .unwrap_or_default()
    }
}

impl Validate for Config {
    fn validate(&self) -> Result<(), String> {
        match (&self.queue_url, &self.queue_name) {
            (None, None) => {
                return Err("name the queue with `queue-url` or `queue-name`".to_owned());
            }
            (Some(_), Some(_)) => {
                return Err("give `queue-url` or `queue-name`, not both".to_owned());
            }
            (Some(url), None) if !is_http(url) => {
                return Err(format!(
                    "`queue-url` is no http(s) URL: `{url}`; a bare name goes into `queue-name`"
                ));
            }
            _ => {}
        }
        if self.queue().ends_with(".fifo") {
            return Err(format!(
                "the FIFO queue `{}` can't be read: this version does not keep the order inside message groups",
                self.queue()
            ));
        }
        if let Some(url) = self.endpoint_url.as_deref().filter(|url| !is_http(url)) {
            return Err(format!("`endpoint-url` is no http(s) URL: `{url}`"));
        }
        match (&self.access_key_id, &self.secret_access_key) {
            (Some(_), None) => return Err("`access-key-id` needs `secret-access-key`".to_owned()),
            (None, Some(_)) => return Err("`secret-access-key` needs `access-key-id`".to_owned()),
            _ => {}
        }
        if let Some(timeout) = self.visibility_timeout {
            check_range(
                "visibility-timeout",
                timeout,
                Duration::from_secs(1),
                LONGEST_VISIBILITY,
            )?;
            check_whole_seconds("visibility-timeout", timeout)?;
        }
        check_range(
            "wait-time",
            self.wait_time,
            Duration::ZERO,
            Duration::from_secs(20),
        )?;
        check_whole_seconds("wait-time", self.wait_time)?;
        check_range(
            "acknowledgement-timeout",
            self.acknowledgement_timeout,
            Duration::from_secs(1),
            LONGEST_VISIBILITY,
        )?;
        if !(10..QUEUE_IN_FLIGHT).contains(&self.max_in_flight) {
            return Err(format!(
                "`max-in-flight` is between 10 and {}, not {}",
                QUEUE_IN_FLIGHT - 1,
                self.max_in_flight
            ));
        }
        if self.sink.is_some() && self.delete_after == DeleteAfter::Topic {
            return Err("`sink` needs `delete-after: tables`".to_owned());
        }
        if !(1..=100).contains(&self.pollers) {
            return Err(format!(
                "`pollers` is between 1 and 100, not {}",
                self.pollers
            ));
        }
        Ok(())
    }
}

fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

fn check_range(
    field: &str,
    value: Duration,
    least: Duration,
    most: Duration,
) -> Result<(), String> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        let human = |duration| humantime_serde::re::humantime::format_duration(duration);
        Err(format!(
            "`{field}` is between {} and {}, not {}",
            human(least),
            human(most),
            human(value)
        ))
    }
}

/// SQS counts these in seconds; a fraction would silently be something else.
fn check_whole_seconds(field: &str, value: Duration) -> Result<(), String> {
    if value.subsec_nanos() == 0 {
        Ok(())
    } else {
        Err(format!(
            "`{field}` is in whole seconds: SQS knows no fractions"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(yaml: &str) -> Result<Config, String> {
        let config: Config = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        config.validate().map(|()| config)
    }

    #[test]
    fn a_queue_is_all_that_must_be_said() {
        let config = parse("queue-url: https://sqs.eu-central-1.amazonaws.com/1/events").unwrap();
        assert_eq!(
            config.queue(),
            "https://sqs.eu-central-1.amazonaws.com/1/events"
        );
        assert_eq!(
            (config.wait_time, config.visibility_timeout),
            (Duration::from_secs(20), None)
        );
        assert_eq!(config.max_in_flight, 10_000);
        let config = parse("{queue-name: events, visibility-timeout: 5m, wait-time: 0s}").unwrap();
        assert_eq!(
            (config.queue(), config.visibility_timeout),
            ("events", Some(Duration::from_secs(300)))
        );
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_field_named() {
        for (yaml, named) in [
            ("region: eu-central-1", "queue-url"),
            ("{queue-url: 'http://x/1/a', queue-name: a}", "not both"),
            ("queue-url: events", "queue-name"),
            ("queue-name: events.fifo", "FIFO"),
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
        ] {
            let error = parse(yaml).expect_err(yaml);
            assert!(error.contains(named), "{yaml}: {error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
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
