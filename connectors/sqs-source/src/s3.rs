//! Bodies in S3, with `s3-payloads: true`.
//!
//! The Amazon SQS Extended Client Library puts a large body into S3 and sends a pointer in its
//! place: `["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":…,"s3Key":…}]`
//! (<https://github.com/awslabs/amazon-sqs-java-extended-client-lib>). The body is read when the
//! message is received. The object stays: an earlier delivery may still need it, so the bucket's
//! lifecycle rule deletes it.

use std::fmt;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::{ByteStream, ByteStreamError};
use connector_common::Backoff;
use connector_common::cluster::MAX_REQUEST_BYTES;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::byte_budget::ByteBudget;
use crate::config::Config;
use crate::queue::Kind;
use crate::sqs;

/// The names of the pointer's class in the library's versions.
const CLASSES: [&str; 2] = [
    "software.amazon.payloadoffloading.PayloadS3Pointer",
    "com.amazon.sqs.javamessaging.MessageS3Pointer",
];

/// The longest pointer: a key has up to 1024 bytes, each of which may be escaped.
const LONGEST_POINTER: usize = 8 << 10;

/// The largest body. A request to the topic has to hold it with its frame and key.
const LARGEST_BODY: usize = MAX_REQUEST_BYTES - (64 << 10);

/// The most objects that are read at once, over all queues. Until they are read, their bytes are
/// not in the byte budget.
const READS: usize = 4;

/// The longest wait for room in the byte budget: the bodies that fill it may be behind this one, in
/// the same receive.
const BUDGET_TIMEOUT: Duration = Duration::from_secs(20);

/// The attempts to read an object, and the timeout and the pauses of each.
const ATTEMPTS: u32 = 3;
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The location of a body in S3.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Pointer {
    #[serde(rename = "s3BucketName")]
    bucket: String,
    #[serde(rename = "s3Key")]
    key: String,
}

impl Pointer {
    /// The pointer that a message's body is; `None` if it is any other body.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        if body.len() > LONGEST_POINTER || !body.trim_ascii_start().starts_with(b"[") {
            return None;
        }
        let (class, pointer): (String, Self) = serde_json::from_slice(body).ok()?;
        CLASSES.contains(&class.as_str()).then_some(pointer)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "s3://{}/{}", self.bucket, self.key)
    }
}

/// A body that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {pointer}: {detail}{}", remedy(.kind))]
pub struct PayloadError {
    pointer: Pointer,
    kind: Kind,
    detail: String,
}

fn remedy(kind: &Kind) -> &'static str {
    match kind {
        Kind::AccessDenied => {
            "; allow s3:GetObject on it for these credentials (without s3:ListBucket, S3 answers \
             the same for a missing object)"
        }
        Kind::Credentials => "; check the credentials and `region`",
        _ => "",
    }
}

/// Reads bodies from S3.
#[derive(Debug)]
pub struct Payloads {
    client: Client,
    reads: Semaphore,
}

impl Payloads {
    /// A reader with the credentials and the region of `aws`; `None` without `s3-payloads`.
    #[must_use]
    pub fn new(aws: &SdkConfig, config: &Config) -> Option<Self> {
        if !config.s3_payloads {
            return None;
        }
        let mut client = aws_sdk_s3::config::Builder::from(aws);
        if let Some(url) = &config.s3_endpoint_url {
            // Compatible servers have no host name for each bucket.
            client = client.endpoint_url(url).force_path_style(true);
        }
        Some(Self {
            client: Client::from_conf(client.build()),
            reads: Semaphore::new(READS),
        })
    }

    /// Reads a body. Waits a while for room in the byte budget.
    pub(crate) async fn read(
        &self,
        pointer: &Pointer,
        budget: &ByteBudget,
    ) -> Result<Vec<u8>, PayloadError> {
        // The semaphore is never closed.
        let _permit = self.reads.acquire().await;
        // After that, only bodies of received messages are read: no poller receives.
        let _ = timeout(BUDGET_TIMEOUT, budget.below_limit()).await;
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let body = match timeout(ATTEMPT_TIMEOUT, self.attempt(pointer)).await {
                Ok(body) => body,
                Err(_) => {
                    let detail = format!("not read within {ATTEMPT_TIMEOUT:?}");
                    Err(failed(pointer, Kind::Unreachable, detail))
                }
            };
            let pause = backoff.next_pause();
            match body {
                Err(error) if error.kind.is_transient() && backoff.failures() < ATTEMPTS => {
                    tokio::time::sleep(pause).await;
                }
                body => return body,
            }
        }
    }

    async fn attempt(&self, pointer: &Pointer) -> Result<Vec<u8>, PayloadError> {
        let request = self.client.get_object();
        let request = request.bucket(&pointer.bucket).key(&pointer.key);
        let object = request.send().await.map_err(|error| {
            let error = sqs::classify("GetObject", &pointer.bucket, &error);
            failed(pointer, error.kind, error.detail)
        })?;
        let bytes = object.content_length().unwrap_or(0);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        collect(pointer, object.body, bytes).await
    }
}

/// Reads an object of so many bytes.
async fn collect(
    pointer: &Pointer,
    mut stream: ByteStream,
    bytes: usize,
) -> Result<Vec<u8>, PayloadError> {
    let too_large = |bytes: usize| {
        let detail =
            format!("it has {bytes} bytes or more, and a record has {LARGEST_BODY} at most");
        failed(pointer, Kind::Other, detail)
    };
    if bytes > LARGEST_BODY {
        return Err(too_large(bytes));
    }
    let unreadable = |error: ByteStreamError| failed(pointer, Kind::Unreachable, error.to_string());
    let mut body = Vec::with_capacity(bytes);
    while let Some(chunk) = stream.try_next().await.map_err(unreadable)? {
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST_BODY {
            return Err(too_large(body.len()));
        }
    }
    Ok(body)
}

fn failed(pointer: &Pointer, kind: Kind, detail: String) -> PayloadError {
    PayloadError {
        pointer: pointer.clone(),
        kind,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_recognized_by_its_class() {
        for class in CLASSES {
            let body = format!(r#" ["{class}", {{"s3BucketName":"b","s3Key":"a/\"k"}}]"#);
            let pointer = Pointer::parse(body.as_bytes()).unwrap();
            assert_eq!(pointer.to_string(), r#"s3://b/a/"k"#);
        }
        for other in [
            r#"["com.example.PayloadS3Pointer",{"s3BucketName":"b","s3Key":"k"}]"#,
            r#"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b"}]"#,
            r#"[{"event_name":"view_item"}]"#,
            r#"{"event_name":"view_item"}"#,
            "[",
            "",
        ] {
            assert_eq!(Pointer::parse(other.as_bytes()), None, "{other}");
        }
    }

    #[tokio::test]
    async fn a_body_that_no_record_can_hold_is_refused_before_it_fills_memory() {
        let pointer = Pointer {
            bucket: "b".to_owned(),
            key: "k".to_owned(),
        };
        let small = ByteStream::from_static(b"{}");
        assert_eq!(collect(&pointer, small, 2).await.unwrap(), b"{}");
        let announced = ByteStream::from_static(b"{}");
        let error = collect(&pointer, announced, LARGEST_BODY + 1)
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot read s3://b/k: it has "),
            "{error}"
        );
        let larger = ByteStream::from(vec![b' '; LARGEST_BODY + 1]);
        assert!(collect(&pointer, larger, 0).await.is_err());
    }
}
