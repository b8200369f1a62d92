//! The queue: every permission that the source needs, and settings that lose or repeat messages.
//!
//! Whether messages may be deleted and extended is found out with a receipt handle that is none: SQS looks at
//! the policy first, and only then at the handle.

mod settings;

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use sqs_source::config::{DeleteAfter, QueueRef};
use sqs_source::queue::{Kind, Queue, QueueError, Receipt, Refusal};
use sqs_source::sqs::{self, Sqs};

use super::clock;
use super::deployment::Deployment;
use super::report::Report;

const AREA: &str = "queue";
/// A receipt handle that no queue has given out.
const NO_RECEIPT: &str = "etl-doctor";

/// Checks every queue of the source. `oldest` is how long the oldest record waits for the tables, in seconds.
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
    let queues = config.queues();
    for queue in &queues {
        let opened = match Sqs::open(&client, queue, false).await {
            Ok(opened) => opened,
            Err(error) => {
                refused(report, "url", &error);
                continue;
            }
        };
        let asking = Asking {
            report: &mut *report,
            name: named(queue, queues.len()),
        };
        let deletes = config.delete_after != DeleteAfter::Never;
        let needs_settings = deletes || config.visibility_timeout.is_none();
        if !asking
            .permissions(&opened, deletes, needs_settings, receive)
            .await
        {
            continue;
        }
        let before = Utc::now();
        match settings::read(&client, opened.name()).await {
            Ok((settings, date)) => {
                let behind = Utc::now();
                if let Some(date) = date {
                    clock::check(report, AREA, "SQS", date, before, behind);
                } else {
                    report.skip(AREA, "clock", "SQS did not tell the time");
                }
                settings.check(report, deployment, opened.name(), oldest);
            }
            Err(error) => report.fail(AREA, "attributes", format!("{error:#}"), "see SQS's words"),
        }
    }
}

/// Which queue it is, where there are several.
fn named(queue: &QueueRef, of: usize) -> String {
    if of == 1 {
        String::new()
    } else {
        format!("{}: ", queue.shown())
    }
}

struct Asking<'r> {
    report: &'r mut Report,
    name: String,
}

impl Asking<'_> {
    /// Checks the permissions, and returns true if the queue tells its settings. `deletes` and
    /// `needs_settings` tell what the source does.
    async fn permissions(
        self,
        queue: &Sqs,
        deletes: bool,
        needs_settings: bool,
        receive: bool,
    ) -> bool {
        let Self { report, name } = self;
        let mut tells = true;
        match queue.described().await {
            Ok(_) => report.ok(
                AREA,
                "attributes",
                format!("{name}{} answers, and may be asked", queue.name()),
            ),
            Err(error) if error.kind == Kind::AccessDenied && !needs_settings => {
                report.warn(
                    AREA,
                    "attributes",
                    format!(
                        "{name}{} does not tell its settings, such as a redrive policy",
                        queue.name()
                    ),
                    "allow sqs:GetQueueAttributes on this queue to have them checked",
                );
                tells = false;
            }
            Err(error) => {
                refused(report, "attributes", &error);
                // Without a queue or credentials the others would say the same again.
                if error.kind != Kind::AccessDenied {
                    return false;
                }
                tells = false;
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
                "messages may be kept hidden",
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
                format!("{name}not tried: a receive counts towards the redrive policy; --receive tries it"),
            );
            return tells;
        }
        match queue.receive(1, Duration::ZERO, Duration::ZERO).await {
            Ok(messages) if messages.is_empty() => {
                report.ok(AREA, "receive", format!("{name}messages may be received; none came"));
            }
            Ok(_) => report.ok(
                AREA,
                "receive",
                format!("{name}messages may be received; one came, and is visible again with one receive more"),
            ),
            Err(error) => refused(report, "receive", &error),
        }
        tells
    }
}

/// The outcome of a call with a receipt handle that is none; an entry that is denied is a call that
/// is denied.
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

/// A call with a receipt handle that is none: all but a refusal of the call itself means that it is permitted.
fn permitted(
    report: &mut Report,
    check: &'static str,
    name: &str,
    found: &str,
    outcome: Result<(), QueueError>,
) {
    match outcome {
        Ok(()) => report.ok(AREA, check, format!("{name}{found}")),
        // Some servers refuse the whole call for the handle.
        Err(error) if error.kind == Kind::Other && error.code.contains("ReceiptHandle") => {
            report.ok(AREA, check, format!("{name}{found}"));
        }
        Err(error) => refused(report, check, &error),
    }
}

fn refused(report: &mut Report, check: &'static str, error: &QueueError) {
    let found = format!("{} on {}: {}", error.operation, error.queue, error.detail);
    let mend = match error.kind {
        Kind::AccessDenied => format!(
            "allow sqs:{} on this queue for these credentials, as deploy/aws/source-policy.json does{}",
            error.permission(),
            match error.permission() {
                "DeleteMessage" => ", or leave the messages in the queue with `delete-after: never`",
                _ => "",
            }
        ),
        Kind::Credentials => {
            "set access-key-id and secret-access-key, or check the AWS environment variables, profile or role"
                .to_owned()
        }
        Kind::NoSuchQueue => "correct the queue's URL or name, the region or the account".to_owned(),
        Kind::Throttled => "try again in a while".to_owned(),
        Kind::Unreachable => "check region, `endpoint-url`, proxy and network".to_owned(),
        Kind::Other => "see SQS's words".to_owned(),
    };
    report.fail(AREA, check, found, mend);
}
