//! The settings of a queue, and their effects on the source.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sqs::error::BoxError;
use aws_sdk_sqs::types::QueueAttributeName;
use chrono::{DateTime, Utc};
use sqs_source::config::DeleteAfter;
use sqs_source::queue::is_fifo;
use sqs_source::sqs::{error_text, max_receives};

use super::super::deployment::Deployment;
use super::super::report::Report;
use crate::display::{counted, period};

pub(super) const AREA: &str = "queue";
/// Fewer receives can be used up by a few restarts of the source.
const MIN_RECEIVES: u64 = 3;
/// A shorter retention does not outlast a weekend.
const SHORT_RETENTION: u32 = 2 * 86_400;
/// A shorter visibility timeout is extended often while messages wait for sinks.
const SHORT_VISIBILITY: Duration = Duration::from_secs(60);

/// A queue's settings.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// The visibility timeout in seconds.
    visibility: Option<u64>,
    /// The retention in seconds.
    retention: Option<u32>,
    /// The `maxReceiveCount` of the redrive policy.
    max_receives: Option<u64>,
    /// The approximate number of messages, visible and in flight.
    messages: u64,
}

/// Reads the settings of the queue at `url`, and the time of SQS.
pub(super) async fn read(
    client: &Client,
    url: &str,
) -> anyhow::Result<(Settings, Option<DateTime<Utc>>)> {
    let date = DateOf::default();
    let answer = client
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(QueueAttributeName::All)
        .customize()
        .interceptor(date.clone())
        .send()
        .await
        .map_err(|error| anyhow!("{url}: {}", error_text(&error)))?;
    let attribute = |name| answer.attributes()?.get(&name).map(String::as_str);
    let counts = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    ];
    let messages = counts
        .into_iter()
        .filter_map(|name| attribute(name)?.parse::<u64>().ok());
    let settings = Settings {
        visibility: attribute(QueueAttributeName::VisibilityTimeout)
            .and_then(|seconds| seconds.parse().ok()),
        retention: attribute(QueueAttributeName::MessageRetentionPeriod)
            .and_then(|seconds| seconds.parse().ok()),
        max_receives: attribute(QueueAttributeName::RedrivePolicy).and_then(max_receives),
        messages: messages.sum(),
    };
    Ok((settings, date.get()))
}

/// The date in the header of a response of SQS.
#[derive(Clone, Debug, Default)]
struct DateOf(Arc<Mutex<Option<DateTime<Utc>>>>);

impl DateOf {
    fn get(&self) -> Option<DateTime<Utc>> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for DateOf {
    fn name(&self) -> &'static str {
        "DateOf"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date.map(|date| date.to_utc());
        Ok(())
    }
}

impl Settings {
    pub(super) fn check(
        &self,
        report: &mut Report,
        deployment: &Deployment,
        queue: &str,
        oldest: Option<f64>,
    ) {
        if deployment.delete_after() == Some(&DeleteAfter::Never) {
            let source = deployment.queue.as_ref();
            let remembered = source.map_or(0, |queue| queue.max_remembered() as u64);
            self.messages_stay(report, remembered);
        } else {
            self.redrive(report, deployment);
        }
        self.visibility(report, deployment);
        self.retention(report, oldest);
        if is_fifo(queue) {
            report.warn(
                AREA,
                "fifo",
                "a FIFO queue delivers up to ten messages of a group until these are deleted, and \
                 the records of a group are in one partition",
                "use it only if the order of events matters, with many groups, such as the event's \
                 user",
            );
        }
    }

    /// Reports the effects of `delete-after: never` on this queue.
    fn messages_stay(&self, report: &mut Report, remembered: u64) {
        match self.max_receives {
            Some(receives) => report.warn(
                AREA,
                "redrive",
                format!(
                    "messages stay in the queue (`delete-after: never`) and each receive by any \
                     reader counts: valid messages go to the dead-letter queue after {receives} of \
                     them"
                ),
                "remove the redrive policy, or read a separate queue with a copy of each message \
                 (SNS); a higher maxReceiveCount and a longer `visibility-timeout` delay it",
            ),
            None => report.ok(
                AREA,
                "redrive",
                "messages stay in the queue until its retention ends (`delete-after: never`); \
                 there is no redrive policy",
            ),
        }
        if self.messages > remembered {
            report.warn(
                AREA,
                "remembered",
                format!(
                    "the queue holds {} messages and the source remembers {remembered}: nearly all \
                     are produced again at each receive, which changes no row and fills the \
                     topic",
                    self.messages
                ),
                "raise `max-remembered` in the source's file; each takes up to 64 bytes of memory",
            );
        } else {
            report.ok(
                AREA,
                "remembered",
                format!(
                    "the queue holds {} messages and the source remembers up to {remembered}",
                    self.messages
                ),
            );
        }
    }

    fn redrive(&self, report: &mut Report, deployment: &Deployment) {
        let own = deployment
            .queue
            .as_ref()
            .and_then(|queue| queue.dead_letters());
        match (self.max_receives, own) {
            (Some(receives), _) if receives < MIN_RECEIVES => report.warn(
                AREA,
                "redrive",
                format!(
                    "a message goes to the dead-letter queue after {}, which restarts of the \
                     source can use up",
                    counted(receives, "receive")
                ),
                "raise maxReceiveCount of the redrive policy, for example to 10",
            ),
            (Some(receives), _) => {
                report.ok(
                    AREA,
                    "redrive",
                    format!("a message goes to the dead-letter queue after {receives} receives"),
                );
            }
            (None, Some((queue, receives))) => report.ok(
                AREA,
                "redrive",
                format!(
                    "the source forwards a message to {} after {receives} receives",
                    queue.as_str()
                ),
            ),
            (None, None) => report.warn(
                AREA,
                "redrive",
                "no redrive policy: a message that can't be produced is received again \
                 until its retention ends",
                "set a redrive policy (deploy/aws), or `dead-letter-queue` in the source's file",
            ),
        }
    }

    fn visibility(&self, report: &mut Report, deployment: &Deployment) {
        let of_file = deployment
            .queue
            .as_ref()
            .and_then(|queue| queue.visibility_timeout);
        let Some(timeout) = of_file.or(self.visibility.map(Duration::from_secs)) else {
            report.skip(
                AREA,
                "visibility",
                "the visibility timeout of the queue is unknown",
            );
            return;
        };
        let linger = deployment
            .source
            .as_ref()
            .and_then(|source| source.meta.producer.linger);
        if deployment.delete_after() == Some(&DeleteAfter::Never) {
            report.ok(
                AREA,
                "visibility",
                format!(
                    "a message stays hidden from other readers for {timeout:?} after each receive, \
                     and is then received again"
                ),
            );
        } else if let Some(linger) = linger.filter(|linger| *linger >= timeout / 2) {
            report.fail(
                AREA,
                "visibility",
                format!(
                    "`meta.producer.linger` of {linger:?} is too long for a visibility timeout of \
                     {timeout:?}"
                ),
                "shorten the linger; 20ms suffices",
            );
        } else if deployment.waits_for_sinks() && timeout < SHORT_VISIBILITY {
            report.warn(
                AREA,
                "visibility",
                format!(
                    "a message stays hidden for {timeout:?}, and is extended twice in that time \
                     while it waits for its sinks"
                ),
                "`visibility-timeout: 5m` in the source's file takes fewer requests",
            );
        } else {
            report.ok(
                AREA,
                "visibility",
                format!("a message stays hidden for {timeout:?} unless it is extended"),
            );
        }
    }

    fn retention(&self, report: &mut Report, oldest: Option<f64>) {
        let Some(retention) = self.retention else {
            report.skip(AREA, "retention", "the retention of the queue is unknown");
            return;
        };
        let kept = period(retention);
        match oldest {
            Some(oldest) if oldest > f64::from(retention) / 2.0 => report.fail(
                AREA,
                "retention",
                format!(
                    "messages are kept for {kept}, and the oldest record that is not in the tables \
                     is {oldest:.0} s old"
                ),
                "raise the queue's retention now (14 days at most), then reduce the lag",
            ),
            _ if retention < SHORT_RETENTION => report.warn(
                AREA,
                "retention",
                format!("messages are kept for {kept}: an outage that lasts longer loses them"),
                "raise the queue's retention; 14 days are free",
            ),
            _ => report.ok(AREA, "retention", format!("messages are kept for {kept}")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The verdict and finding of each check of a queue whose messages stay.
    fn stay(max_receives: Option<u64>, messages: u64, remembered: u64) -> Vec<(Value, String)> {
        let settings = Settings {
            visibility: None,
            retention: None,
            max_receives,
            messages,
        };
        let mut report = Report::default();
        settings.messages_stay(&mut report, remembered);
        let document = serde_json::to_value(report.as_json()).unwrap();
        let checks = document["checks"].as_array().unwrap().iter();
        checks
            .map(|check| (check["verdict"].clone(), check["found"].to_string()))
            .collect()
    }

    #[test]
    fn a_redrive_policy_and_a_low_max_remembered_cause_warnings() {
        let [redrive, remembered] = stay(Some(5), 11, 10).try_into().unwrap();
        assert_eq!((redrive.0, remembered.0), (json!("warn"), json!("warn")));
        assert!(redrive.1.contains("after 5 of them"), "{}", redrive.1);
        assert!(
            remembered.1.contains("holds 11") && remembered.1.contains("remembers 10"),
            "{}",
            remembered.1
        );
        let verdicts: Vec<Value> = stay(None, 10, 10)
            .into_iter()
            .map(|check| check.0)
            .collect();
        assert_eq!(verdicts, ["ok", "ok"]);
    }
}
