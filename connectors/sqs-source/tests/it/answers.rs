//! The source's handling of rare answers of SQS, which no server gives on demand.

use serde_json::{Value, json};
use sqs_source::metrics::Metrics;
use sqs_source::pipeline::DeletePolicy;

use crate::support::canned::{Answer, Canned};
use crate::support::{Mood, Running, StandIn, config, start, until};

const RECEIVE: &str = "ReceiveMessage";

async fn source(canned: &Canned, topic: &StandIn) -> Running {
    source_of(canned, &canned.queue_url(), topic).await
}

async fn source_of(canned: &Canned, queue_url: &str, topic: &StandIn) -> Running {
    let queue = format!("queue-url: '{queue_url}', pollers: 1");
    let config = config(&canned.url, &queue);
    start(&config, topic, || DeletePolicy::Topic, |settings| settings).await
}

fn message(body: &str, receipt: &str, md5: &str) -> Value {
    json!({"Messages": [{
        "MessageId": "m-1", "ReceiptHandle": receipt, "Body": body, "MD5OfBody": md5,
        "Attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1795382400123"},
    }]})
}

/// The MD5 of `{}`.
const MD5: &str = "99914b932bd37a50b983c5e7c90ae93b";

/// The count of failures of `operation` with `code`.
fn failures(metrics: &Metrics, operation: &str, code: &str) -> f64 {
    metrics
        .registry()
        .gather()
        .iter()
        .filter(|family| family.name() == "sqs_source_failures_total")
        .flat_map(|family| family.get_metric())
        .filter(|metric| {
            let labels = metric.get_label();
            let has = |value: &str| labels.iter().any(|label| label.value() == value);
            has(operation) && has(code)
        })
        .map(|metric| metric.get_counter().get_value())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn permanent_errors_end_the_start_with_the_queue_and_the_remedy() {
    for (code, remedy) in [
        ("AccessDenied", "allow sqs:ReceiveMessage"),
        ("KMS.AccessDeniedException", "allow sqs:ReceiveMessage"),
        ("InvalidClientTokenId", "access-key-id"),
        ("SignatureDoesNotMatch", "access-key-id"),
        ("ExpiredToken", "access-key-id"),
        (
            "AWS.SimpleQueueService.NonExistentQueue",
            "the region and the account",
        ),
    ] {
        let canned = Canned::start().await;
        canned.answers(RECEIVE, [Answer::Refused(code)]);
        let topic = StandIn::new(Mood::Acknowledge);
        let error = source(&canned, &topic).await.error().await;
        let queue = canned.queue_url();
        assert!(
            error.contains(&queue) && error.contains(remedy) && error.contains(code),
            "{code}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transient_errors_are_retried_from_the_start() {
    let canned = Canned::start().await;
    canned.answers(
        RECEIVE,
        [
            Answer::Refused("RequestThrottled"),
            Answer::Refused("OverLimit"),
            Answer::Page(503, "<html>Service Unavailable</html>"),
            Answer::Page(200, "a proxy's login page"),
            Answer::Result(message("{}", "r-1", MD5)),
        ],
    );
    let topic = StandIn::new(Mood::Acknowledge);
    let source = source(&canned, &topic).await;
    until("the record", || topic.records().len() == 1).await;
    assert_eq!(failures(&source.metrics, RECEIVE, "RequestThrottled"), 1.0);
    assert_eq!(failures(&source.metrics, RECEIVE, "OverLimit"), 1.0);
    assert_eq!(source.stop().await.deleted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_that_is_revoked_later_is_reported_and_waited_for() {
    let canned = Canned::start().await;
    canned.answers(RECEIVE, [Answer::Result(json!({}))]);
    canned.answers(
        RECEIVE,
        std::iter::repeat_n(Answer::Refused("AccessDenied"), 1),
    );
    let topic = StandIn::new(Mood::Acknowledge);
    let source = source(&canned, &topic).await;
    until("unready", || {
        source
            .health
            .ready()
            .is_err_and(|why| why.to_string().contains("allow sqs:ReceiveMessage"))
    })
    .await;
    assert!(source.health.alive().is_ok(), "a restart would not help");
    canned.answers(RECEIVE, [Answer::Result(message("{}", "r-1", MD5))]);
    until("the record", || topic.records().len() == 1).await;
    until("ready again", || source.health.ready().is_ok()).await;
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receive_from_a_fifo_queue_is_retried_with_its_attempt_id_if_its_answer_is_lost() {
    let canned = Canned::start().await;
    let lost = Answer::Page(503, "<html>Service Unavailable</html>");
    let answers = [lost, Answer::Result(message("{}", "r-1", MD5))];
    canned.answers(RECEIVE, answers);
    let topic = StandIn::new(Mood::Acknowledge);
    let fifo = format!("{}.fifo", canned.queue_url());
    let source = source_of(&canned, &fifo, &topic).await;
    until("a receive after them", || {
        canned.requests(RECEIVE).len() > 2
    })
    .await;
    source.stop().await;
    let ids: Vec<Value> = canned
        .requests(RECEIVE)
        .iter()
        .map(|request| request["ReceiveRequestAttemptId"].clone())
        .collect();
    assert!(ids[0].is_string() && ids[0] == ids[1], "{ids:?}");
    assert!(ids[2].is_string() && ids[2] != ids[1], "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_the_version_of_the_original_unless_it_is_newer_than_the_message() {
    let canned = Canned::start().await;
    let message = |id: &str, first: &str| {
        json!({
            "MessageId": id, "ReceiptHandle": id, "Body": "{}", "MD5OfBody": MD5,
            "Attributes": {
                "ApproximateReceiveCount": "1", "SentTimestamp": "2000", "MessageGroupId": "g",
                "SequenceNumber": "18849496460467696128", "AWSTraceHeader": "Root=1-5759e988",
            },
            "MessageAttributes": {
                "ecommerce-etl-first-sent": {"DataType": "String", "StringValue": first},
                "traceparent": {"DataType": "String", "StringValue": "00-4bf9-00f0-01"},
            },
        })
    };
    let original = "sent=1000 sequence=18849496460467696000";
    let messages = [
        message("copy", original),
        message("newer", "sent=1000 sequence=18849496460467696129"),
        message("later", "sent=2001 sequence=1"),
        message("other", "1000"),
    ];
    canned.answers(RECEIVE, [Answer::Result(json!({"Messages": messages}))]);
    let topic = StandIn::new(Mood::Acknowledge);
    let fifo = format!("{}.fifo", canned.queue_url());
    let source = source_of(&canned, &fifo, &topic).await;
    until("the records", || topic.records().len() == 4).await;
    source.stop().await;
    let own = "sent=2000 sequence=18849496460467696128";
    let versions = [
        ("copy", original),
        ("newer", own),
        ("later", own),
        ("other", own),
    ];
    let keys: Vec<String> = topic.records().into_iter().map(|(key, _)| key).collect();
    let expected = versions.map(|(id, sent)| format!("g id={id} {sent} trace=Root=1-5759e988"));
    assert_eq!(keys, expected);
    let requested = &canned.requests(RECEIVE)[0];
    for name in ["SentTimestamp", "SequenceNumber", "AWSTraceHeader"] {
        let names = requested["MessageSystemAttributeNames"].as_array().unwrap();
        assert!(names.contains(&json!(name)), "{requested}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_that_fail_for_long_make_the_source_unready() {
    let canned = Canned::start().await;
    canned.answers(RECEIVE, [Answer::Result(message("{}", "r-1", MD5))]);
    canned.answers(
        "DeleteMessageBatch",
        std::iter::repeat_n(Answer::Page(503, "<html>Service Unavailable</html>"), 7),
    );
    let topic = StandIn::new(Mood::Acknowledge);
    let source = source(&canned, &topic).await;
    until("unready", || {
        let ready = source.health.ready();
        ready.is_err_and(|why| why.to_string().contains("deletes from"))
    })
    .await;
    until("deleted", || source.metrics.counts().deleted == 1).await;
    until("ready again", || source.health.ready().is_ok()).await;
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_body_is_left_to_the_next_delivery() {
    let canned = Canned::start().await;
    canned.answers(
        RECEIVE,
        [
            Answer::Result(message("{\"damaged\": true}", "r-1", MD5)),
            Answer::Result(message("{}", "r-2", MD5)),
        ],
    );
    let topic = StandIn::new(Mood::Acknowledge);
    let source = source(&canned, &topic).await;
    until("the record", || topic.records().len() == 1).await;
    let key = "m-1 sent=1795382400123".to_owned();
    assert_eq!(topic.records(), [(key, "{}".to_owned())]);
    assert_eq!(source.stop().await.deleted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_a_receipt_is_skipped_and_the_rest_of_its_batch_is_not() {
    let canned = Canned::start().await;
    let mut answer = message("{}", "r-1", MD5);
    let nameless = json!({"MessageId": "m-2", "Body": "{}"});
    answer["Messages"]
        .as_array_mut()
        .unwrap()
        .insert(0, nameless);
    canned.answers(RECEIVE, [Answer::Result(answer)]);
    let topic = StandIn::new(Mood::Acknowledge);
    let source = source(&canned, &topic).await;
    until("the record", || topic.records().len() == 1).await;
    assert_eq!(source.stop().await.deleted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_whose_delete_is_denied_is_reported_and_retried() {
    let canned = Canned::start().await;
    canned.answers(RECEIVE, [Answer::Result(message("{}", "r-1", MD5))]);
    let denied =
        json!({"Id": "0", "Code": "AccessDenied", "SenderFault": true, "Message": "no policy"});
    let answer = json!({"Successful": [], "Failed": [denied]});
    canned.answers("DeleteMessageBatch", [Answer::Result(answer)]);
    let topic = StandIn::new(Mood::Acknowledge);
    let source = source(&canned, &topic).await;
    until("unready", || {
        let ready = source.health.ready();
        ready.is_err_and(|why| {
            why.to_string()
                .contains("no policy; allow sqs:DeleteMessage")
        })
    })
    .await;
    until("deleted", || source.metrics.counts().deleted == 1).await;
    until("ready again", || source.health.ready().is_ok()).await;
    assert_eq!(source.stop().await.left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_fails_for_good_is_counted_with_its_code_and_not_retried() {
    let canned = Canned::start().await;
    canned.answers(RECEIVE, [Answer::Result(message("{}", "r-1", MD5))]);
    let failed = json!({
        "Id": "0", "Code": "ReceiptHandleIsInvalid", "SenderFault": true, "Message": "stale",
    });
    let answer = json!({"Successful": [], "Failed": [failed]});
    canned.answers("DeleteMessageBatch", [Answer::Result(answer)]);
    let topic = StandIn::new(Mood::Acknowledge);
    let source = source(&canned, &topic).await;
    until("the delete", || canned.is_through("DeleteMessageBatch")).await;
    until("left", || source.metrics.counts().left == 1).await;
    let code = "ReceiptHandleIsInvalid";
    assert_eq!(failures(&source.metrics, "DeleteMessageBatch", code), 1.0);
    assert_eq!(source.stop().await.deleted, 0);
}
