//! Rejected events that are flattened again.

use bytes::Bytes;
use connector_common::Stop;
use fact_model::Options;
use serde_json::{Value, json};
use warehouse::OnConflict;
use warehouse::retry::{Retried, Retry, Selection};

use crate::support::{NOON, Tables, batch, deliver, envelope, fact, shopping};

fn rejected(raw: &Value) -> Bytes {
    let rejection = json!({"reason": "not-json", "detail": "of an older flattener", "at": "$",
        "raw": raw.to_string()});
    Bytes::from(json!({"rejected": [rejection]}).to_string())
}

fn event(id: &str) -> Value {
    json!({"event_id": id, "event_name": "view_item", "timestamp": NOON,
        "items": [{"item_id": "SKU-1"}, {"item_id": "SKU-2"}]})
}

async fn retry(tables: &Tables, selection: &Selection, options: Options) -> Retried {
    let mut retry = Retry::new(tables.database.clone(), options, OnConflict::Ignore);
    let dry = retry.run(selection, false).await.unwrap();
    let retried = retry.run(selection, true).await.unwrap();
    assert_eq!(dry.still, retried.still);
    assert_eq!(dry.gone, retried.gone + retried.refused.len() as u64);
    retried
}

const LEFT: &str = "SELECT source_offset AS o, reason FROM rejected_events";

#[tokio::test]
async fn what_can_be_read_by_now_becomes_facts_and_the_rest_stays() {
    let tables = Tables::new().await;
    let timeless =
        json!({"event_id": "e-2", "event_name": "view_item", "items": [{"item_id": "SKU-9"}]});
    let records = [
        rejected(&event("e-1")),
        rejected(&timeless),
        // The SmartModule did not process it.
        Bytes::from(event("e-3").to_string()),
        Bytes::from_static(br#"{"rejected":[{"reason":"not-json","detail":"d","at":"$","raw":"/w==","raw_encoding":"base64"}]}"#),
        // Stored already, from another record.
        rejected(&event("e-5")),
        Bytes::from(serde_json::to_vec(&fact_model::flatten(event("e-5").to_string().as_bytes())).unwrap()),
    ];
    let mut writer = tables.writer(3);
    writer.write(&batch(0, records)).await.unwrap();
    assert_eq!(tables.count("rejected_events").await, 5);

    let nothing = Selection {
        topic: Some("another".to_owned()),
        ..Selection::default()
    };
    assert_eq!(retry(&tables, &nothing, Options::default()).await.gone, 0);
    let retried = retry(&tables, &Selection::default(), Options::default()).await;
    assert_eq!(
        (
            retried.gone,
            retried.written.inserted,
            retried.written.duplicates
        ),
        (3, 4, 2)
    );
    let still: Vec<_> = retried
        .still
        .iter()
        .map(|(reason, count)| (reason.as_str(), *count))
        .collect();
    assert_eq!(still, [("missing-time", 1), ("not-utf8", 1)]);
    let left = [
        json!({"o": 1, "reason": "not-json"}),
        json!({"o": 3, "reason": "not-json"}),
    ];
    assert_eq!(tables.rows(LEFT).await, left);
    let from = "SELECT DISTINCT source_topic, source_partition, source_offset AS o, event_id FROM \
                fact_events";
    let place = |offset: i64, id: &str| {
        json!({"source_topic": "shop-events", "source_partition": 3,
        "o": offset, "event_id": id})
    };
    assert_eq!(
        tables.rows(from).await,
        [place(0, "e-1"), place(2, "e-3"), place(5, "e-5")]
    );

    // The time of the record replaces that of the event if the operator wants it.
    let options = Options::parse([("missing-time", "record")]).unwrap();
    let retried = retry(&tables, &Selection::default(), options).await;
    assert_eq!((retried.gone, retried.written.inserted), (1, 1));
    assert_eq!(tables.count("rejected_events").await, 1);
    assert_eq!(
        super::support::stored(&writer).await,
        6,
        "the sink's offset is not touched"
    );
}

#[tokio::test]
async fn what_postgresql_still_refuses_stays_and_holds_up_nobody() {
    let tables = Tables::new().await;
    let forbid = "ALTER TABLE fact_events ADD CONSTRAINT no_refunds CHECK (event_name NOT IN \
                  ('refund', 'worse'))";
    tables.client.batch_execute(forbid).await.unwrap();
    let mut events = shopping(0, 30);
    let named = |hash, name| envelope(&[fact(hash, NOON, json!({"event_name": name}))]);
    events.insert(7, named(0xa1, "refund"));
    events.insert(21, named(0xa2, "worse"));
    events.insert(25, named(0xa3, "refund"));
    let (stop, _trigger) = Stop::manual();
    deliver(&mut tables.writer(0), batch(0, events), &stop)
        .await
        .unwrap();
    assert_eq!(
        (
            tables.count("fact_events").await,
            tables.count("rejected_events").await
        ),
        (30, 3)
    );

    let mend = "ALTER TABLE fact_events DROP CONSTRAINT no_refunds; ALTER TABLE fact_events ADD \
                CONSTRAINT none_worse CHECK (event_name <> 'worse')";
    tables.client.batch_execute(mend).await.unwrap();
    let refused = Selection {
        reasons: Some(vec!["refused-by-postgres".to_owned()]),
        ..Selection::default()
    };
    let retried = retry(&tables, &refused, Options::default()).await;
    assert_eq!(
        (
            retried.gone,
            retried.written.inserted,
            retried.refused.len()
        ),
        (2, 2, 1)
    );
    assert!(retried.refused[0].1.contains("none_worse"), "{retried:?}");
    assert_eq!(
        tables.rows(LEFT).await,
        [json!({"o": 21, "reason": "refused-by-postgres"})]
    );
    assert_eq!(tables.count("fact_events").await, 32);
}
