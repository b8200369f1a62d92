//! Queues: create, find, list, describe, purge, delete.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Context, Empty, required, within};
use crate::limits;
use crate::protocol::{Code, SqsError};
use crate::queue::{Queue, Settings};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateRequest {
    queue_name: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NameRequest {
    queue_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UrlRequest {
    queue_url: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct QueueUrl {
    queue_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListRequest {
    #[serde(default)]
    queue_name_prefix: String,
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListResponse {
    queue_urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetAttributesRequest {
    queue_url: Option<String>,
    #[serde(default)]
    attribute_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SetAttributesRequest {
    queue_url: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Attributes {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'static str, String>,
}

pub(super) fn create(context: &Context, request: CreateRequest) -> Result<QueueUrl, SqsError> {
    let name = required("QueueName", request.queue_name)?;
    let mut settings = Settings::default();
    apply(&mut settings, &request.attributes)?;
    context.queues.create(&name, settings)?;
    Ok(QueueUrl {
        queue_url: context.queues.url(&name),
    })
}

pub(super) fn get_url(context: &Context, request: NameRequest) -> Result<QueueUrl, SqsError> {
    let queue = context
        .queues
        .by_name(&required("QueueName", request.queue_name)?)?;
    Ok(QueueUrl {
        queue_url: context.queues.url(&queue.name),
    })
}

pub(super) fn list(context: &Context, request: ListRequest) -> Result<ListResponse, SqsError> {
    let most = match request.max_results {
        Some(most) => within("MaxResults", most, 1..=limits::LISTED_QUEUES as u64)?,
        None => limits::LISTED_QUEUES as u64,
    };
    let most = usize::try_from(most).unwrap_or(limits::LISTED_QUEUES);
    let names = context.queues.names(
        &request.queue_name_prefix,
        request.next_token.as_deref(),
        most + 1,
    );
    let next_token = names.get(most).and(names.get(most - 1)).cloned();
    Ok(ListResponse {
        queue_urls: names
            .iter()
            .take(most)
            .map(|name| context.queues.url(name))
            .collect(),
        next_token,
    })
}

/// Attributes that a queue has only if they were set. This endpoint doesn't support setting them.
const UNSET: [&str; 3] = ["Policy", "RedriveAllowPolicy", "RedrivePolicy"];

pub(super) fn get_attributes(
    context: &Context,
    request: GetAttributesRequest,
) -> Result<Attributes, SqsError> {
    let queue = context.queue(request.queue_url.as_deref())?;
    let all = describe(&queue);
    if request.attribute_names.iter().any(|name| name == "All") {
        return Ok(Attributes { attributes: all });
    }
    if let Some(unknown) = request
        .attribute_names
        .iter()
        .find(|name| !all.contains_key(name.as_str()) && !UNSET.contains(&name.as_str()))
    {
        return Err(SqsError::new(
            Code::InvalidAttributeName,
            format!("Unknown Attribute {unknown}."),
        ));
    }
    let asked = |name: &str| request.attribute_names.iter().any(|asked| asked == name);
    Ok(Attributes {
        attributes: all.into_iter().filter(|(name, _)| asked(name)).collect(),
    })
}

pub(super) fn set_attributes(
    context: &Context,
    request: SetAttributesRequest,
) -> Result<Empty, SqsError> {
    let queue = context.queue(request.queue_url.as_deref())?;
    queue.set(|settings| apply(settings, &request.attributes))?;
    Ok(Empty {})
}

pub(super) fn purge(context: &Context, request: UrlRequest) -> Result<Empty, SqsError> {
    context.queue(request.queue_url.as_deref())?.purge()?;
    Ok(Empty {})
}

pub(super) fn delete(context: &Context, request: UrlRequest) -> Result<Empty, SqsError> {
    context
        .queues
        .remove(&context.queue(request.queue_url.as_deref())?);
    Ok(Empty {})
}

fn describe(queue: &Queue) -> BTreeMap<&'static str, String> {
    let (settings, changed_s) = queue.settings();
    let counts = queue.counts();
    BTreeMap::from([
        ("ApproximateNumberOfMessages", counts.visible.to_string()),
        (
            "ApproximateNumberOfMessagesDelayed",
            counts.delayed.to_string(),
        ),
        (
            "ApproximateNumberOfMessagesNotVisible",
            counts.in_flight.to_string(),
        ),
        ("CreatedTimestamp", queue.created_s.to_string()),
        ("DelaySeconds", settings.delay_seconds.to_string()),
        ("LastModifiedTimestamp", changed_s.to_string()),
        ("MaximumMessageSize", settings.body_bytes.to_string()),
        (
            "QueueArn",
            format!("arn:aws:sqs:us-east-1:000000000000:{}", queue.name),
        ),
        (
            "ReceiveMessageWaitTimeSeconds",
            settings.wait_seconds.to_string(),
        ),
        ("VisibilityTimeout", settings.visibility_seconds.to_string()),
    ])
}

fn apply(settings: &mut Settings, attributes: &BTreeMap<String, String>) -> Result<(), SqsError> {
    for (name, value) in attributes {
        let number = |limits: std::ops::RangeInclusive<u64>| {
            value
                .parse()
                .ok()
                .filter(|number| limits.contains(number))
                .ok_or_else(|| {
                    SqsError::new(
                        Code::InvalidAttributeValue,
                        format!("Invalid value for the parameter {name}."),
                    )
                })
        };
        match name.as_str() {
            "VisibilityTimeout" => {
                settings.visibility_seconds = number(0..=limits::VISIBILITY.as_secs())?
            }
            "DelaySeconds" => settings.delay_seconds = number(0..=limits::DELAY_SECONDS)?,
            "ReceiveMessageWaitTimeSeconds" => {
                settings.wait_seconds = number(0..=limits::WAIT_SECONDS)?
            }
            "MaximumMessageSize" => {
                let bytes = number(1024..=limits::BODY_BYTES as u64)?;
                settings.body_bytes = usize::try_from(bytes).unwrap_or(limits::BODY_BYTES);
            }
            "FifoQueue" => return Err(SqsError::unsupported("FIFO queues")),
            other => {
                return Err(SqsError::unsupported(&format!(
                    "the queue attribute {other}"
                )));
            }
        }
    }
    Ok(())
}
