//! The queue: the permissions that the source needs, and settings that lose or repeat messages.
//!
//! The permissions to delete and extend messages are tested with an invalid receipt handle: SQS
//! checks the policy before the handle.

mod settings;

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use connector_common::chain;
use sqs_source::config::{DeleteAfter, QueueRef};
use sqs_source::queue::{Kind, Queue, QueueError, Receipt, Refusal};
use sqs_source::sqs::{self, Sqs};

use super::deployment::Deployment;
use super::report::Report;
use settings::AREA;

/// An invalid receipt handle.
const NO_RECEIPT: &str = "etl-doctor";

/// Checks every queue of the source. `oldest` is the age in seconds of the oldest record that is
/// not in the tables.
pub async fn check(
    report: &mut Report,
    deployment: &Deployment,
    receive: bool,
    oldest: Option<f64>,
) {
    let Some(config) = &deployment.queue else {
        report.skip(
            AREA,
            "attributes",
            "no queue named; use --source-config, --queue-url or QUEUE_URL",
        );
        return;
    };
    let client = match sqs::client(config).await {
        Ok(client) => client,
        Err(error) => {
            refused(report, "attributes", &error);
            return;
        }
    };
    if config.s3_payloads {
        report.skip(
            AREA,
            "s3-payloads",
            "not tested, since only messages name objects; the source needs s3:GetObject on them, \
             as in deploy/aws/s3-payloads-policy.json",
        );
    }
    let queues = config.queues();
    for queue in &queues {
        let opened = match Sqs::open(&client, queue, false).await {
            Ok(opened) => opened,
            Err(error) => {
                refused(report, "url", &error);
                continue;
            }
        };
        let access = Access {
            report: &mut *report,
            name: named(queue, queues.len()),
        };
        let deletes = config.delete_after != DeleteAfter::Never;
        let needs_settings = deletes || config.visibility_timeout.is_none();
        if !access
            .check(&opened, deletes, needs_settings, receive)
            .await
        {
            continue;
        }
        let before = Utc::now();
        match settings::read(&client, opened.name()).await {
            Ok((settings, date)) => {
                let after = Utc::now();
                if let Some(date) = date {
                    report.clock(AREA, "SQS", date, before, after);
                } else {
                    report.skip(AREA, "clock", "the response of SQS has no date");
                }
                settings.check(report, deployment, opened.name(), oldest);
            }
            Err(error) => report.fail(
                AREA,
                "attributes",
                chain(error.as_ref()),
                "see the message of SQS",
            ),
        }
    }
}

/// The prefix of the findings, if there are several queues.
fn named(queue: &QueueRef, of: usize) -> String {
    if of == 1 {
        String::new()
    } else {
        format!("{}: ", queue.as_str())
    }
}

struct Access<'r> {
    report: &'r mut Report,
    name: String,
}

impl Access<'_> {
    /// Checks the permissions. Returns true if the settings are readable. `deletes` and
    /// `needs_settings` are true if the source deletes messages and reads the settings.
    async fn check(self, queue: &Sqs, deletes: bool, needs_settings: bool, receive: bool) -> bool {
        let Self { report, name } = self;
        let mut is_readable = true;
        match queue.attributes().await {
            Ok(_) => report.ok(
                AREA,
                "attributes",
                format!("{name}the attributes of {} are readable", queue.name()),
            ),
            Err(error) if error.kind == Kind::AccessDenied && !needs_settings => {
                report.warn(
                    AREA,
                    "attributes",
                    format!(
                        "{name}the settings of {}, such as a redrive policy, are not readable",
                        queue.name()
                    ),
                    "allow sqs:GetQueueAttributes on this queue to have them checked",
                );
                is_readable = false;
            }
            Err(error) => {
                refused(report, "attributes", &error);
                // Without a queue or credentials the other checks would fail the same way.
                if error.kind != Kind::AccessDenied {
                    return false;
                }
                is_readable = false;
            }
        }
        if deletes {
            let receipt: Receipt = Arc::from(NO_RECEIPT);
            let deleted = queue.delete(std::slice::from_ref(&receipt)).await;
            let deleted = denial(queue, "DeleteMessageBatch", deleted);
            permitted(report, "delete", &name, "messages may be deleted", deleted);
            let extended = queue.change_visibility(&[(receipt, Duration::ZERO)]).await;
            let extended = denial(queue, "ChangeMessageVisibilityBatch", extended);
            permitted(
                report,
                "extend",
                &name,
                "visibility timeouts may be extended",
                extended,
            );
        } else {
            for check in ["delete", "extend"] {
                let found = format!("{name}not needed with `delete-after: never`");
                report.skip(AREA, check, found);
            }
        }
        if !receive {
            report.skip(
                AREA,
                "receive",
                format!(
                    "{name}not tested: a receive counts towards the redrive policy; use --receive"
                ),
            );
            return is_readable;
        }
        let received = queue.receive(1, Duration::ZERO, Duration::ZERO, None).await;
        match received {
            Ok(messages) if messages.is_empty() => {
                report.ok(
                    AREA,
                    "receive",
                    format!(
                        "{name}messages may be received; none was \
                    available"
                    ),
                );
            }
            Ok(_) => report.ok(
                AREA,
                "receive",
                format!(
                    "{name}messages may be received; one was, and is visible again with a higher \
                     receive count"
                ),
            ),
            Err(error) => refused(report, "receive", &error),
        }
        is_readable
    }
}

/// The result of a call with an invalid receipt handle. A denied entry is a denied call.
fn denial(
    queue: &Sqs,
    operation: &'static str,
    outcome: Result<Vec<Refusal>, QueueError>,
) -> Result<(), QueueError> {
    let refusals = outcome?;
    let denied = refusals.iter().find(|one| one.kind == Kind::AccessDenied);
    denied.map_or(Ok(()), |refusal| {
        Err(QueueError::of_entry(operation, queue.name(), refusal))
    })
}

/// Reports a call with an invalid receipt handle: it is permitted unless the call itself is denied.
fn permitted(
    report: &mut Report,
    check: &'static str,
    name: &str,
    found: &str,
    outcome: Result<(), QueueError>,
) {
    match outcome {
        Ok(()) => report.ok(AREA, check, format!("{name}{found}")),
        // Some servers refuse the whole call because of the handle.
        Err(error) if error.kind == Kind::Other && error.code.contains("ReceiptHandle") => {
            report.ok(AREA, check, format!("{name}{found}"));
        }
        Err(error) => refused(report, check, &error),
    }
}

fn refused(report: &mut Report, check: &'static str, error: &QueueError) {
    let found = format!("{} on {}: {}", error.operation, error.queue, error.detail);
    let fix = match error.kind {
        Kind::AccessDenied => format!(
            "allow sqs:{} on this queue for these credentials, as in \
             deploy/aws/source-policy.json{}",
            error.permission(),
            match error.permission() {
                "DeleteMessage" =>
                    ", or leave the messages in the queue with `delete-after: \
                    never`",
                _ => "",
            }
        ),
        Kind::Credentials => {
            "set access-key-id and secret-access-key, or check the AWS environment variables, \
             profile or role"
                .to_owned()
        }
        Kind::NoSuchQueue => "correct the queue's URL or name, the region or the \
            account"
            .to_owned(),
        Kind::Throttled => "try again later".to_owned(),
        Kind::Unreachable => "check region, `endpoint-url`, proxy and network".to_owned(),
        Kind::Other => "see the message of SQS".to_owned(),
    };
    report.fail(AREA, check, found, fix);
}
