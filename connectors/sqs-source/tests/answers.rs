//! What the source makes of each answer that SQS gives once in a while and no server gives on demand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
// Each test target uses its own part of what they share.
#[allow(dead_code)]
mod support;

use serde_json::{Value, json};
use sqs_source::metrics::Metrics;
use sqs_source::stream::Until;
use support::canned::{Answer, Canned};
use support::{Mood, Running, StandIn, config, start, until};

const RECEIVE: &str = "ReceiveMessage";

async fn source(canned: &Canned, topic: &StandIn) -> Running {
    let queue = format!("queue-url: '{}', pollers: 1", canned.queue_url());
    let config = config(&canned.url, &queue);
    start(&config, topic, || Until::Topic, |settings| settings).await
}

fn message(body: &str, receipt: &str, md5: &str) -> Value {
    json!({"Messages": [{
        "MessageId": "m-1", "ReceiptHandle": receipt, "Body": body, "MD5OfBody": md5,
        "Attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1795382400123"},
    }]})
}

/// The MD5 of `{}`.
const MD5: &str = "99914b932bd37a50b983c5e7c90ae93b";

/// How often `operation` has failed with `code`.
fn failures(metrics: &Metrics, operation: &str, code: &str) -> f64 {
    metrics
        .registry()
        .gather()
        .iter()
        .filter(|family| family.name() == "sqs_source_failures_total")
        .flat_map(|family| family.get_metric())
        .filter(|metric| {
            let labels = metric.get_label();
            let says = |value: &str| labels.iter().any(|label| label.value() == value);
            says(operation) && says(code)
        })
        .map(|metric| metric.get_counter().get_value())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_waiting_mends_ends_the_start_with_queue_and_remedy() {
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
async fn what_may_pass_is_waited_out_from_the_start() {
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
async fn permissions_that_go_and_come_back_are_waited_for_and_told() {
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
            .is_err_and(|why| why.contains("allow sqs:ReceiveMessage"))
    })
    .await;
    assert_eq!(source.health.alive(), Ok(()), "a restart would not help");
    canned.answers(RECEIVE, [Answer::Result(message("{}", "r-1", MD5))]);
    until("the record", || topic.records().len() == 1).await;
    until("ready again", || source.health.ready().is_ok()).await;
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_was_damaged_on_its_way_is_left_to_the_next_delivery() {
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
    assert_eq!(topic.records(), [("m-1".to_owned(), "{}".to_owned())]);
    assert_eq!(source.stop().await.deleted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_a_receipt_is_passed_over_and_the_rest_of_its_batch_is_not() {
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
async fn an_entry_whose_delete_is_denied_is_reported_and_tried_again() {
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
        ready.is_err_and(|why| why.contains("no policy; allow sqs:DeleteMessage"))
    })
    .await;
    until("deleted", || source.metrics.counts().deleted == 1).await;
    until("ready again", || source.health.ready() == Ok(())).await;
    assert_eq!(source.stop().await.left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_is_refused_for_good_is_told_with_its_code_and_let_go() {
    let canned = Canned::start().await;
    canned.answers(RECEIVE, [Answer::Result(message("{}", "r-1", MD5))]);
    let failed = json!({"Id": "0", "Code": "ReceiptHandleIsInvalid", "SenderFault": true, "Message": "stale"});
    let answer = json!({"Successful": [], "Failed": [failed]});
    canned.answers("DeleteMessageBatch", [Answer::Result(answer)]);
    let topic = StandIn::new(Mood::Acknowledge);
    let source = source(&canned, &topic).await;
    until("the delete", || canned.is_through("DeleteMessageBatch")).await;
    until("let go", || source.metrics.counts().left == 1).await;
    let code = "ReceiptHandleIsInvalid";
    assert_eq!(failures(&source.metrics, "DeleteMessageBatch", code), 1.0);
    assert_eq!(source.stop().await.deleted, 0);
}
