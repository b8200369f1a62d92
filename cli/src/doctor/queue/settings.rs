//! A queue's settings, and what they mean for the source.

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
use sqs_source::sqs::words;

use super::super::deployment::Deployment;
use super::super::report::Report;
use super::AREA;
use crate::units::period;

/// A source that is restarted some times must not have used up a message's receives.
const FEWEST_RECEIVES: u64 = 3;
/// What a weekend without anybody takes.
const SHORT_RETENTION: u32 = 2 * 86_400;
/// Shorter, messages that wait for the tables are extended all the time.
const SHORT_VISIBILITY: Duration = Duration::from_secs(60);

/// A queue's settings.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Seconds that a received message stays hidden.
    visibility: Option<u64>,
    /// Seconds that a message is kept.
    retention: Option<u32>,
    /// After how many receives a message goes to the dead-letter queue, if there is one.
    max_receives: Option<u64>,
}

/// Asks for the settings of the queue at `url`, and for SQS's time.
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
        .map_err(|error| anyhow!("{url}: {}", words(&error)))?;
    let attribute = |name| answer.attributes()?.get(&name).map(String::as_str);
    let settings = Settings::of(
        attribute(QueueAttributeName::VisibilityTimeout),
        attribute(QueueAttributeName::MessageRetentionPeriod),
        attribute(QueueAttributeName::RedrivePolicy),
    );
    Ok((settings, date.told()))
}

/// The time by SQS's clock, from an answer's head.
#[derive(Clone, Debug, Default)]
struct DateOf(Arc<Mutex<Option<DateTime<Utc>>>>);

impl DateOf {
    fn told(&self) -> Option<DateTime<Utc>> {
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
    fn of(visibility: Option<&str>, retention: Option<&str>, redrive: Option<&str>) -> Self {
        let policy: Option<serde_json::Value> =
            redrive.and_then(|policy| serde_json::from_str(policy).ok());
        // AWS writes the number as a number, or as a text where it was given as one.
        let receives = policy.as_ref().and_then(|policy| {
            let count = policy.get("maxReceiveCount")?;
            count.as_u64().or_else(|| count.as_str()?.parse().ok())
        });
        Self {
            visibility: visibility.and_then(|seconds| seconds.parse().ok()),
            retention: retention.and_then(|seconds| seconds.parse().ok()),
            max_receives: receives,
        }
    }

    pub(super) fn check(
        &self,
        report: &mut Report,
        deployment: &Deployment,
        queue: &str,
        oldest: Option<f64>,
    ) {
        self.redrive(report, deployment);
        self.visibility(report, deployment);
        self.retention(report, oldest);
        if is_fifo(queue) {
            report.warn(
                AREA,
                "fifo",
                "a FIFO queue gives no more than ten messages of a group until these are deleted, and the records of a group one partition",
                "use it only where the order of events matters, with many groups: the user of an event, say",
            );
        }
    }

    fn redrive(&self, report: &mut Report, deployment: &Deployment) {
        let own = deployment
            .queue
            .as_ref()
            .and_then(|queue| queue.dead_letters());
        match (self.max_receives, own) {
            (Some(receives), _) if receives < FEWEST_RECEIVES => report.warn(
                AREA,
                "redrive",
                format!("a message goes to the dead-letter queue after {receives} receive(s), which a restart of the source can use up"),
                "raise maxReceiveCount of the redrive policy, to 10 say",
            ),
            (Some(receives), _) => {
                report.ok(AREA, "redrive", format!("a message goes to the dead-letter queue after {receives} receives"));
            }
            (None, Some((queue, receives))) => report.ok(
                AREA,
                "redrive",
                format!("the source moves a message to {} after {receives} receives", queue.shown()),
            ),
            (None, None) => report.warn(
                AREA,
                "redrive",
                "there is no redrive policy: a message that can't be taken comes again until its retention ends",
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
                "the queue does not tell its visibility timeout",
            );
            return;
        };
        let linger = deployment
            .source
            .as_ref()
            .and_then(|source| source.meta.producer.linger);
        if let Some(linger) = linger.filter(|linger| *linger >= timeout / 2) {
            report.fail(
                AREA,
                "visibility",
                format!("`meta.producer.linger` of {linger:?} is too long for a visibility timeout of {timeout:?}"),
                "shorten the linger; 20ms is plenty",
            );
        } else if deployment.delete_after() == Some(DeleteAfter::Tables)
            && timeout < SHORT_VISIBILITY
        {
            report.warn(
                AREA,
                "visibility",
                format!("a message stays hidden for {timeout:?}, and is extended twice in that time while it waits for the tables"),
                "`visibility-timeout: 5m` in the source's file costs fewer requests",
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
            report.skip(
                AREA,
                "retention",
                "the queue does not tell how long it keeps messages",
            );
            return;
        };
        let kept = period(retention);
        match oldest {
            Some(oldest) if oldest > f64::from(retention) / 2.0 => report.fail(
                AREA,
                "retention",
                format!("messages are kept for {kept}, and the oldest record that is not in the tables waits for {oldest:.0} s"),
                "raise the queue's retention now (14 days at most), then see to the lag",
            ),
            _ if retention < SHORT_RETENTION => report.warn(
                AREA,
                "retention",
                format!("messages are kept for {kept}: an outage that lasts longer loses them"),
                "raise the queue's retention; 14 days cost nothing",
            ),
            _ => report.ok(AREA, "retention", format!("messages are kept for {kept}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redrive_policy_is_read_in_both_spellings() {
        let receives = |policy| Settings::of(None, None, Some(policy)).max_receives;
        let number =
            r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-central-1:1:d","maxReceiveCount":5}"#;
        assert_eq!(receives(number), Some(5));
        assert_eq!(receives(r#"{"maxReceiveCount":"7"}"#), Some(7));
        assert_eq!(receives("{}"), None);
    }
}
