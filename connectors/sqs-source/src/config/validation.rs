//! What of a section `sqs` can't work is refused when it is read, in words that name the field: SQS would say so late,
//! or never.

use std::time::Duration;

use bytesize::ByteSize;
use connector_common::Validate;

use super::{Config, DeleteAfter, LONGEST_VISIBILITY, QueueRef, is_http};
use crate::queue::is_fifo;

/// SQS holds no more than 120,000 received and undeleted messages a queue (quota "in-flight messages").
const QUEUE_IN_FLIGHT: usize = 120_000;

/// At 64 bytes each, 6 GB.
const MOST_REMEMBERED: usize = 100_000_000;

/// SQS takes no message above this size (quota "message size").
const LARGEST_MESSAGE: ByteSize = ByteSize::mib(1);

impl Validate for Config {
    fn validate(&self) -> Result<(), String> {
        self.validate_queues()?;
        self.validate_dead_letters()?;
        self.validate_never()?;
        if let Some(url) = self.endpoint_url.as_deref().filter(|url| !is_http(url)) {
            return Err(format!("`endpoint-url` is no http(s) URL: `{url}`"));
        }
        match (&self.access_key_id, &self.secret_access_key) {
            (Some(_), None) => return Err("`access-key-id` needs `secret-access-key`".to_owned()),
            (None, Some(_)) => return Err("`secret-access-key` needs `access-key-id`".to_owned()),
            _ => {}
        }
        if self.external_id.is_some() && self.assume_role.is_none() {
            return Err("`external-id` needs `assume-role`".to_owned());
        }
        if self.profile.is_some() && self.access_key_id.is_some() {
            return Err(
                "give `profile` or `access-key-id`, not both: each names the credentials"
                    .to_owned(),
            );
        }
        if let Some(timeout) = self.visibility_timeout {
            if timeout.is_zero() && self.delete_after != DeleteAfter::Never {
                return Err(
                    "`visibility-timeout: 0s` needs `delete-after: never`: a message has to stay \
                     hidden until it is deleted"
                        .to_owned(),
                );
            }
            check_range(
                "visibility-timeout",
                timeout,
                Duration::ZERO,
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
        if self.sink.is_some() && self.delete_after != DeleteAfter::Tables {
            return Err("`sink` needs `delete-after: tables`".to_owned());
        }
        if !(1..=100).contains(&self.pollers) {
            return Err(format!(
                "`pollers` is between 1 and 100, not {}",
                self.pollers
            ));
        }
        if !(1..=self.pollers).contains(&self.min_pollers) {
            return Err(format!(
                "`min-pollers` is between 1 and `pollers`, which is {}; it is {}",
                self.pollers, self.min_pollers
            ));
        }
        if self.max_in_flight_bytes < LARGEST_MESSAGE {
            return Err(format!(
                "`max-in-flight-bytes` is at least {LARGEST_MESSAGE}, the largest message of SQS, not {}",
                self.max_in_flight_bytes
            ));
        }
        Ok(())
    }
}

impl Config {
    fn validate_queues(&self) -> Result<(), String> {
        let queues = self.queues();
        if queues.is_empty() {
            return Err("name the queue with `queue-url` or `queue-name`".to_owned());
        }
        for (index, queue) in queues.iter().enumerate() {
            if queues.iter().take(index).any(|other| other == queue) {
                return Err(format!("the queue `{}` is named twice", queue.shown()));
            }
            if let QueueRef::Url(url) = queue
                && !is_http(url)
            {
                return Err(format!(
                    "`queue-url` is no http(s) URL: `{url}`; a bare name goes into `queue-name`"
                ));
            }
        }
        Ok(())
    }

    /// Checks `delete-after: never` against the other settings.
    fn validate_never(&self) -> Result<(), String> {
        if self.delete_after != DeleteAfter::Never {
            return match self.max_remembered {
                Some(_) => Err("`max-remembered` needs `delete-after: never`".to_owned()),
                None => Ok(()),
            };
        }
        if self.dead_letter_queue.is_some() {
            return Err(
                "`dead-letter-queue` and `delete-after: never` exclude each other: a message that \
                 is moved is deleted from its queue"
                    .to_owned(),
            );
        }
        let queues = self.queues();
        if let Some(fifo) = queues.iter().find(|queue| is_fifo(queue.shown())) {
            return Err(format!(
                "`delete-after: never` cannot read the FIFO queue `{}`: SQS hands out no further \
                 messages of a group before the first are deleted",
                fifo.shown()
            ));
        }
        if !(1..=MOST_REMEMBERED).contains(&self.max_remembered()) {
            return Err(format!(
                "`max-remembered` is between 1 and {MOST_REMEMBERED}, not {}",
                self.max_remembered()
            ));
        }
        Ok(())
    }

    fn validate_dead_letters(&self) -> Result<(), String> {
        let Some(dead_letters) = &self.dead_letter_queue else {
            return match self.max_receives {
                Some(_) => Err("`max-receives` needs `dead-letter-queue`".to_owned()),
                None => Ok(()),
            };
        };
        for queue in self.queues() {
            if queue.shown() == dead_letters {
                return Err(format!(
                    "`dead-letter-queue` is the queue `{dead_letters}` itself: its messages would go round for ever"
                ));
            }
            if is_fifo(queue.shown()) != is_fifo(dead_letters) {
                return Err(format!(
                    "`dead-letter-queue` and `{}` have to be both FIFO queues (`….fifo`), or neither",
                    queue.shown()
                ));
            }
        }
        match self.max_receives {
            Some(receives) if !(1..=1000).contains(&receives) => Err(format!(
                "`max-receives` is between 1 and 1000, not {receives}"
            )),
            _ => Ok(()),
        }
    }
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
