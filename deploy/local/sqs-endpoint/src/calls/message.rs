//! Messages: send, receive, delete, change visibility.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use super::batch::{self, BatchResult, Done, Entry};
use super::{Context, Empty, required, within};
use crate::attributes::{self, MessageAttribute, MessageAttributes};
use crate::backlog::{Content, Delivery};
use crate::faults::Fault;
use crate::limits;
use crate::protocol::{Code, Operation, SqsError};
use crate::queue::Queue;

/// The sender's account id of every message.
const SENDER: &str = "000000000000";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SendRequest {
    queue_url: Option<String>,
    #[serde(flatten)]
    message: Outgoing,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Outgoing {
    message_body: Option<String>,
    delay_seconds: Option<i64>,
    #[serde(default)]
    message_attributes: BTreeMap<String, MessageAttribute>,
    #[serde(default)]
    message_system_attributes: BTreeMap<String, MessageAttribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SendBatchRequest {
    queue_url: Option<String>,
    #[serde(default)]
    entries: Vec<SendEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendEntry {
    #[serde(default)]
    id: String,
    #[serde(flatten)]
    message: Outgoing,
}

impl Entry for SendEntry {
    fn id(&self) -> &str {
        &self.id
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Sent {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(serialize_with = "as_text")]
    message_id: Uuid,
    #[serde(rename = "MD5OfMessageBody")]
    body_md5: String,
    #[serde(
        rename = "MD5OfMessageAttributes",
        skip_serializing_if = "Option::is_none"
    )]
    attributes_md5: Option<String>,
    #[serde(
        rename = "MD5OfMessageSystemAttributes",
        skip_serializing_if = "Option::is_none"
    )]
    system_attributes_md5: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReceiveRequest {
    queue_url: Option<String>,
    max_number_of_messages: Option<i64>,
    visibility_timeout: Option<i64>,
    wait_time_seconds: Option<i64>,
    #[serde(default)]
    attribute_names: Vec<String>,
    #[serde(default)]
    message_system_attribute_names: Vec<String>,
    #[serde(default)]
    message_attribute_names: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Received {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<Incoming>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Incoming {
    #[serde(serialize_with = "as_text")]
    message_id: Uuid,
    receipt_handle: String,
    #[serde(rename = "MD5OfBody", serialize_with = "as_str")]
    body_md5: Arc<str>,
    #[serde(serialize_with = "as_str")]
    body: Arc<str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'static str, String>,
    #[serde(
        rename = "MD5OfMessageAttributes",
        skip_serializing_if = "Option::is_none"
    )]
    attributes_md5: Option<String>,
    #[serde(serialize_with = "as_map", skip_serializing_if = "Option::is_none")]
    message_attributes: Option<MessageAttributes>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReceiptRequest {
    queue_url: Option<String>,
    receipt_handle: Option<String>,
    visibility_timeout: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReceiptBatchRequest {
    queue_url: Option<String>,
    #[serde(default)]
    entries: Vec<ReceiptEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReceiptEntry {
    #[serde(default)]
    id: String,
    receipt_handle: Option<String>,
    visibility_timeout: Option<i64>,
}

impl Entry for ReceiptEntry {
    fn id(&self) -> &str {
        &self.id
    }
}

pub(super) fn send(context: &Context, request: SendRequest) -> Result<Sent, SqsError> {
    let queue = context.queue(request.queue_url.as_deref())?;
    check_length(
        &request.message,
        "MessageBody",
        queue.settings().0.body_bytes,
    )?;
    enqueue(&queue, &request.message, None)
}

pub(super) fn send_batch(
    context: &Context,
    request: SendBatchRequest,
) -> Result<BatchResult<Sent>, SqsError> {
    let queue = context.queue(request.queue_url.as_deref())?;
    batch::check(&request.entries)?;
    let most = queue.settings().0.body_bytes;
    let mut total = 0;
    for (index, entry) in request.entries.iter().enumerate() {
        let parameter = format!("SendMessageBatchRequestEntry.{}.MessageBody", index + 1);
        total += check_length(&entry.message, &parameter, most)?;
    }
    if total > limits::BODY_BYTES {
        let message = format!(
            "Batch requests cannot be longer than {} bytes. You have sent {total} bytes.",
            limits::BODY_BYTES
        );
        return Err(SqsError::new(Code::BatchRequestTooLong, message));
    }
    Ok(batch::each(
        context,
        Operation::SendMessageBatch,
        &request.entries,
        |entry, _| enqueue(&queue, &entry.message, Some(entry.id.clone())),
    ))
}

pub(super) async fn receive(
    context: &Context,
    request: ReceiveRequest,
) -> Result<Received, SqsError> {
    let queue = context.queue(request.queue_url.as_deref())?;
    let (settings, _) = queue.settings();
    let most = match request.max_number_of_messages {
        Some(most) => within("MaxNumberOfMessages", most, 1..=limits::BATCH as u64)?,
        None => 1,
    };
    let wait = match request.wait_time_seconds {
        Some(wait) => within("WaitTimeSeconds", wait, 0..=limits::WAIT_SECONDS)?,
        None => settings.wait_seconds,
    };
    let visibility = match request.visibility_timeout {
        Some(timeout) => within(
            "VisibilityTimeout",
            timeout,
            0..=limits::VISIBILITY.as_secs(),
        )?,
        None => settings.visibility_seconds,
    };
    let is_duplicated =
        || context.faults.of_entry(Operation::ReceiveMessage) == Some(Fault::Duplicate);
    let deliveries = queue
        .receive(
            usize::try_from(most).unwrap_or(limits::BATCH),
            Duration::from_secs(wait),
            Duration::from_secs(visibility),
            &is_duplicated,
            &context.stop,
        )
        .await?;
    let messages = deliveries
        .into_iter()
        .map(|delivery| incoming(delivery, &request))
        .collect::<Result<_, _>>()?;
    Ok(Received { messages })
}

pub(super) fn delete(context: &Context, request: ReceiptRequest) -> Result<Empty, SqsError> {
    let queue = context.queue(request.queue_url.as_deref())?;
    let fault = context.faults.of_entry(Operation::DeleteMessage);
    delete_one(&queue, request.receipt_handle.as_deref(), fault)?;
    Ok(Empty {})
}

pub(super) fn delete_batch(
    context: &Context,
    request: ReceiptBatchRequest,
) -> Result<BatchResult<Done>, SqsError> {
    let queue = context.queue(request.queue_url.as_deref())?;
    batch::check(&request.entries)?;
    Ok(batch::each(
        context,
        Operation::DeleteMessageBatch,
        &request.entries,
        |entry, fault| {
            delete_one(&queue, entry.receipt_handle.as_deref(), fault)?;
            Ok(Done::of(entry))
        },
    ))
}

pub(super) fn change(context: &Context, request: ReceiptRequest) -> Result<Empty, SqsError> {
    let queue = context.queue(request.queue_url.as_deref())?;
    let fault = context.faults.of_entry(Operation::ChangeMessageVisibility);
    change_one(
        &queue,
        request.receipt_handle.as_deref(),
        request.visibility_timeout,
        fault,
    )?;
    Ok(Empty {})
}

pub(super) fn change_batch(
    context: &Context,
    request: ReceiptBatchRequest,
) -> Result<BatchResult<Done>, SqsError> {
    let queue = context.queue(request.queue_url.as_deref())?;
    batch::check(&request.entries)?;
    Ok(batch::each(
        context,
        Operation::ChangeMessageVisibilityBatch,
        &request.entries,
        |entry, fault| {
            change_one(
                &queue,
                entry.receipt_handle.as_deref(),
                entry.visibility_timeout,
                fault,
            )?;
            Ok(Done::of(entry))
        },
    ))
}

fn delete_one(queue: &Queue, handle: Option<&str>, fault: Option<Fault>) -> Result<(), SqsError> {
    let receipt = queue.receipt(required("ReceiptHandle", handle)?)?;
    if fault != Some(Fault::DropSilently) {
        queue.delete(receipt);
    }
    Ok(())
}

fn change_one(
    queue: &Queue,
    handle: Option<&str>,
    timeout: Option<i64>,
    fault: Option<Fault>,
) -> Result<(), SqsError> {
    let receipt = queue.receipt(required("ReceiptHandle", handle)?)?;
    let timeout = required("VisibilityTimeout", timeout)?;
    let timeout = within(
        "VisibilityTimeout",
        timeout,
        0..=limits::VISIBILITY.as_secs(),
    )?;
    if fault != Some(Fault::DropSilently) {
        queue.change_visibility(receipt, Duration::from_secs(timeout))?;
    }
    Ok(())
}

/// Checks the body's length, which fails a whole call, and returns it in bytes.
fn check_length(message: &Outgoing, parameter: &str, most: usize) -> Result<usize, SqsError> {
    match message.message_body.as_deref() {
        None | Some("") => Err(SqsError::missing(parameter)),
        Some(body) if body.len() > most => Err(SqsError::new(
            Code::InvalidParameterValue,
            format!(
                "One or more parameters are invalid. \
                 Reason: Message must be shorter than {most} bytes."
            ),
        )),
        Some(body) => Ok(body.len()),
    }
}

fn enqueue(queue: &Queue, message: &Outgoing, id: Option<String>) -> Result<Sent, SqsError> {
    let body = required("MessageBody", message.message_body.as_deref())?;
    if !body.chars().all(limits::is_message_character) {
        let message = "Invalid characters found. Valid unicode characters are \
                       #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF";
        return Err(SqsError::new(Code::InvalidMessageContents, message));
    }
    let delay = match message.delay_seconds {
        Some(delay) => Some(Duration::from_secs(within(
            "DelaySeconds",
            delay,
            0..=limits::DELAY_SECONDS,
        )?)),
        None => None,
    };
    let attributes_md5 = attributes::checksum(&message.message_attributes)?;
    let trace_header = attributes::trace_header(&message.message_system_attributes)?;
    let system_attributes_md5 = attributes::checksum(&message.message_system_attributes)?;
    let body_md5 = attributes::md5_hex(body.as_bytes());
    let content = Content {
        body: body.into(),
        body_md5: body_md5.as_str().into(),
        attributes: Arc::new(message.message_attributes.clone()),
        trace_header,
    };
    Ok(Sent {
        id,
        message_id: queue.send(content, delay),
        body_md5,
        attributes_md5,
        system_attributes_md5,
    })
}

fn incoming(delivery: Delivery, request: &ReceiveRequest) -> Result<Incoming, SqsError> {
    let message_attributes = attributes::requested(
        &delivery.content.attributes,
        &request.message_attribute_names,
    );
    Ok(Incoming {
        message_id: delivery.id,
        receipt_handle: delivery.receipt.to_string(),
        attributes: system_attributes(&delivery, request),
        attributes_md5: match &message_attributes {
            Some(attributes) => attributes::checksum(attributes)?,
            None => None,
        },
        message_attributes,
        body_md5: delivery.content.body_md5,
        body: delivery.content.body,
    })
}

fn system_attributes(
    delivery: &Delivery,
    request: &ReceiveRequest,
) -> BTreeMap<&'static str, String> {
    let names = || {
        request
            .attribute_names
            .iter()
            .chain(&request.message_system_attribute_names)
    };
    if names().next().is_none() {
        return BTreeMap::new();
    }
    let all = [
        (
            "ApproximateFirstReceiveTimestamp",
            delivery.first_received_ms.to_string(),
        ),
        (
            "ApproximateReceiveCount",
            delivery.receipt.receive.to_string(),
        ),
        ("SenderId", SENDER.to_owned()),
        ("SentTimestamp", delivery.sent_ms.to_string()),
    ];
    let trace = delivery.content.trace_header.as_ref();
    let trace = trace.map(|header| (attributes::TRACE_HEADER, header.to_string()));
    all.into_iter()
        .chain(trace)
        .filter(|(name, _)| names().any(|asked| asked == "All" || asked == name))
        .collect()
}

fn as_str<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn as_text<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn as_map<S: Serializer>(
    attributes: &Option<MessageAttributes>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    attributes.as_deref().serialize(serializer)
}
