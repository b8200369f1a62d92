//! Consumer offsets with the published client.

use fluvio::consumer::{ConsumerConfigExt, ConsumerStream, OffsetManagementStrategy};
use fluvio::dataplane::link::ErrorCode;
use fluvio::{Fluvio, Offset};

use crate::support::{Fixture, next, numbered, send, within};

async fn consumer(
    fluvio: &Fluvio,
) -> impl ConsumerStream<Item = Result<fluvio::consumer::Record, ErrorCode>> + use<> {
    let config = ConsumerConfigExt::builder()
        .topic("t")
        .partition(0)
        .offset_start(Offset::beginning())
        .offset_consumer("reader")
        .offset_strategy(OffsetManagementStrategy::Manual)
        .build()
        .unwrap();
    fluvio.consumer_with_config(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_goes_on_where_it_has_left_off() {
    let fixture = Fixture::with_topic("t", 1).await;
    send(&fixture.producer("t", 0).await, &numbered("a", 5)).await;

    let mut stream = consumer(&fixture.fluvio).await;
    assert_eq!(next(&mut stream).await.unwrap().offset, 0);
    assert_eq!(next(&mut stream).await.unwrap().offset, 1);
    within(stream.offset_commit()).await.unwrap();
    within(stream.offset_flush()).await.unwrap();
    drop(stream);

    let kept = fixture.fluvio.consumer_offsets().await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (kept[0].consumer_id.as_str(), kept[0].topic.as_str()),
        ("reader", "t")
    );
    assert_eq!((kept[0].partition, kept[0].offset), (0, 1));

    let fixture = fixture.restart().await;
    let mut stream = consumer(&fixture.fluvio).await;
    assert_eq!(next(&mut stream).await.unwrap().offset, 2);
    drop(stream);

    let key = ("t".to_owned(), 0);
    fixture
        .fluvio
        .delete_consumer_offset("reader", key)
        .await
        .unwrap();
    assert!(fixture.fluvio.consumer_offsets().await.unwrap().is_empty());
    let mut stream = consumer(&fixture.fluvio).await;
    assert_eq!(next(&mut stream).await.unwrap().offset, 0);
}
