//! Wrappers of AWS and CloudEvents around bodies.
//!
//! - Lambda's event with `Records` of SQS, SNS or Kinesis
//!   (<https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>);
//! - one such record, as EventBridge Pipes sends it
//!   (<https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-sqs.html>);
//! - CloudEvents in JSON
//!   (<https://github.com/cloudevents/spec/blob/main/cloudevents/formats/json-format.md>);
//! - notifications of S3 name an object in a bucket and hold no event, so they are rejected
//!   (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>).

use crate::formats::{Body, Envelope, Shape};
use crate::json::{Entries, entries, get};
use crate::raw::Raw;
use crate::rejection::{Reason, Refusal};
use crate::text::Arena;
use crate::value::is_null;

/// Returns the content of a wrapper; `None` for other objects.
pub(super) fn read<'a>(
    object: &Entries<'a>,
    is_named: bool,
    arena: &'a Arena,
) -> Result<Option<Shape<'a>>, Refusal> {
    let is = |key, json: &str| get(object, key).is_some_and(|value| value.get() == json);
    if is("source", "\"aws.s3\"") && get(object, "detail").is_some()
        || is("Service", "\"Amazon S3\"")
    {
        return Err(s3_notification());
    }
    if !is_named && let Some(records) = get(object, "Records").and_then(Raw::elements) {
        return bodies(records).map(|bodies| Some(Shape::Bodies("Lambda's `Records`", bodies)));
    }
    let source = get(object, "eventSource").or_else(|| get(object, "EventSource"));
    if !is_named && let Some(source) = source {
        return record(object, source.get(), arena).map(Some);
    }
    let has = |key| get(object, key).is_some();
    if has("specversion") && has("type") && has("source") {
        return cloud_event(object).map(Some);
    }
    Ok(None)
}

fn bodies(records: Vec<Raw<'_>>) -> Result<Vec<Body<'_>>, Refusal> {
    if records.is_empty() {
        let detail = "the body has no records: its `Records` is empty";
        return Err(Refusal::at(Reason::NotAnEvent, detail, ".Records"));
    }
    let records = records.into_iter().enumerate();
    let bodies = records.map(|(index, record)| Body {
        text: record.get(),
        raw: record.get(),
        at: format!(".Records[{index}]"),
    });
    Ok(bodies.collect())
}

/// Returns the content of a record of a queue or a stream.
fn record<'a>(record: &Entries<'a>, source: &str, arena: &'a Arena) -> Result<Shape<'a>, Refusal> {
    let mut name = "a record of Kinesis";
    let content = match source.trim_matches('"') {
        "aws:sqs" => {
            name = "a record of SQS";
            get(record, "body").map(|body| (body, ".body"))
        }
        "aws:sns" => {
            name = "a record of SNS";
            get(record, "Sns").map(|sns| (sns, ".Sns"))
        }
        // Lambda has the data one level below.
        "aws:kinesis" => get(record, "kinesis")
            .and_then(|kinesis| get(&entries(kinesis.get(), arena), "data"))
            .map(|data| (data, ".kinesis.data"))
            .or_else(|| get(record, "data").map(|data| (data, ".data"))),
        "aws:s3" => return Err(s3_notification()),
        other => {
            let detail = format!("this is a record of `{other}`, which holds no shop event");
            return Err(Refusal::new(Reason::NotAnEvent, detail));
        }
    };
    let (content, at) = content.ok_or_else(|| {
        let detail = format!("this is a record of {source} without its content");
        Refusal::new(Reason::NotAnEvent, detail)
    })?;
    Ok(Shape::Envelope(Envelope { name, content, at }))
}

fn cloud_event<'a>(event: &Entries<'a>) -> Result<Shape<'a>, Refusal> {
    let data = [("data", ".data"), ("data_base64", ".data_base64")];
    let mut data = data
        .into_iter()
        .filter_map(|(key, place)| Some((get(event, key)?, place)));
    match data.find(|(data, _)| !is_null(*data)) {
        Some((content, at)) => Ok(Shape::Envelope(Envelope {
            name: "a CloudEvent",
            content,
            at,
        })),
        None => Err(Refusal::new(
            Reason::NotAnEvent,
            "this is a CloudEvent without `data`",
        )),
    }
}

fn s3_notification() -> Refusal {
    Refusal::new(
        Reason::NotAnEvent,
        "this is a notification of Amazon S3: it names an object in a bucket and holds no event; \
         send the object's content instead",
    )
}
