//! Producing and consuming without SmartModules.

use fluvio::consumer::{ConsumerConfig, ConsumerConfigExt};
use fluvio::dataplane::record::Batch;
use fluvio::metadata::topic::{TopicSpec, TopicStorageConfig};
use fluvio::{Compression, Isolation, Offset};
use fluvio_protocol::api::RequestMessage;
use fluvio_socket::FluvioSocket;
use fluvio_spu_schema::server::stream_fetch::DefaultStreamFetchRequest;
use futures_util::StreamExt;

use crate::support::{Fixture, at, log_len, next, numbered, producer_with, send, values, within};

fn config() -> ConsumerConfig {
    ConsumerConfig::builder().build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_come_back_as_they_were_sent() {
    let fixture = Fixture::with_topic("t", 1).await;
    let producer = fixture.producer("t", 0).await;
    assert_eq!(send(&producer, &numbered("a", 3)).await, 0);
    assert_eq!(send(&producer, &numbered("b", 1)).await, 3);
    assert_eq!(send(&producer, &numbered("c", 5)).await, 4);

    let batches = fixture.batches("t", 0, 0, 3).await;
    let bases: Vec<_> = batches.iter().map(Batch::get_base_offset).collect();
    assert_eq!(bases, [0, 3, 4]);
    assert_eq!(values(&batches[0]), numbered("a", 3));
    assert_eq!(values(&batches[1]), numbered("b", 1));
    assert_eq!(values(&batches[2]), numbered("c", 5));
    assert!(batches.iter().all(|it| it.get_base_timestamp() > 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_apart() {
    let fixture = Fixture::with_topic("t", 3).await;
    for partition in [2, 0, 1] {
        let producer = fixture.producer("t", partition).await;
        assert_eq!(
            send(&producer, &numbered(&format!("p{partition}"), 2)).await,
            0
        );
    }
    for partition in 0..3 {
        let batches = fixture.batches("t", partition, 0, 1).await;
        assert_eq!(values(&batches[0]), numbered(&format!("p{partition}"), 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_begins_where_it_is_told_to() {
    let fixture = Fixture::with_topic("t", 1).await;
    let producer = fixture.producer("t", 0).await;
    for prefix in ["a", "b", "c"] {
        send(&producer, &numbered(prefix, 4)).await;
    }
    // (start, base offset of the first batch)
    let starts = [
        (Offset::beginning(), 0),
        (Offset::from_beginning(5), 4),
        (at(0), 0),
        (at(3), 0),
        (at(4), 4),
        (at(6), 4),
        (at(11), 8),
        (Offset::from_end(1), 8),
    ];
    for (start, base) in starts {
        let described = format!("{start:?}");
        let mut stream = fixture.stream("t", 0, start, config()).await;
        let first = next(&mut stream).await.unwrap();
        assert_eq!(first.get_base_offset(), base, "{described}");
    }

    let mut from_end = fixture.stream("t", 0, Offset::end(), config()).await;
    let first = tokio::spawn(async move { next(&mut from_end).await.unwrap() });
    // The stream may ask for the end before or after this; then it waits for the second.
    let mut sent = 12;
    while !first.is_finished() {
        assert_eq!(send(&producer, &numbered("later", 1)).await, sent);
        sent += 1;
        tokio::task::yield_now().await;
    }
    assert!(first.await.unwrap().get_base_offset() >= 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_sees_what_comes_later() {
    let fixture = Fixture::with_topic("t", 1).await;
    let mut stream = fixture.stream("t", 0, Offset::beginning(), config()).await;
    let producer = fixture.producer("t", 0).await;
    let mut expected = 0;
    for round in 0..20 {
        let sent = numbered(&format!("r{round}"), 1 + round % 3);
        assert_eq!(send(&producer, &sent).await, expected);
        let batch = next(&mut stream).await.unwrap();
        assert_eq!(batch.get_base_offset(), expected);
        assert_eq!(values(&batch), sent);
        expected += sent.len() as i64;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_continuation_a_stream_ends_at_the_end() {
    let fixture = Fixture::with_topic("t", 2).await;
    let producer = fixture.producer("t", 1).await;
    send(&producer, &numbered("a", 7)).await;
    send(&producer, &numbered("b", 2)).await;
    let config = ConsumerConfigExt::builder()
        .topic("t")
        .partition(1)
        .offset_start(Offset::beginning())
        .disable_continuous(true)
        .build()
        .unwrap();
    let stream = fixture.fluvio.consumer_with_config(config).await.unwrap();
    let records: Vec<_> = within(stream.collect::<Vec<_>>()).await;
    let offsets: Vec<_> = records.into_iter().map(|it| it.unwrap().offset).collect();
    assert_eq!(offsets, (0..9).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_batches_are_kept_compressed() {
    let fixture = Fixture::with_topic("t", 1).await;
    let text = vec!["the same words over and over ".repeat(1000)];
    let plain_len = text[0].len() as u64;
    let mut before = 0;
    for compression in [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        for isolation in [Isolation::ReadCommitted, Isolation::ReadUncommitted] {
            let producer = producer_with(&fixture.fluvio, "t", |config| {
                config.compression(compression).isolation(isolation);
            })
            .await;
            let offset = send(&producer, &text).await;
            let len = log_len(fixture.dir.path(), "t", 0) - before;
            before += len;
            assert_eq!(
                len < plain_len / 2,
                compression != Compression::None,
                "{compression}"
            );
            let batches = fixture.batches("t", 0, offset, 1).await;
            assert_eq!(batches[0].get_compression().unwrap(), compression);
            assert_eq!(values(&batches[0]), text);
        }
    }
}

/// Like the real server, which loses records for readers without a SmartModule: a response is cut
/// in the middle of a batch; the client returns the complete records before the cut and continues
/// after the batch.
#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_cut_at_max_bytes() {
    let fixture = Fixture::with_topic("t", 1).await;
    let producer = fixture.producer("t", 0).await;
    let mut ends = Vec::new();
    for prefix in ["a", "b", "c"] {
        send(&producer, &numbered(prefix, 10)).await;
        ends.push(log_len(fixture.dir.path(), "t", 0));
    }
    let config = ConsumerConfig::builder()
        .max_bytes((ends[0] + ends[1]) as i32 / 2)
        .build()
        .unwrap();
    let mut stream = fixture.stream("t", 0, Offset::beginning(), config).await;
    let whole = next(&mut stream).await.unwrap();
    assert_eq!(values(&whole), numbered("a", 10));
    let cut = next(&mut stream).await.unwrap();
    assert_eq!((cut.get_base_offset(), cut.records_len()), (10, 10));
    assert!(!cut.records().is_empty() && cut.records().len() < 10);
    assert_eq!(values(&cut), numbered("b", cut.records().len()));
    let behind = next(&mut stream).await.unwrap();
    assert_eq!(behind.get_base_offset(), 20);
    assert_eq!(values(&behind), numbered("c", 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_goes_on_in_further_segments() {
    let fixture = Fixture::start().await;
    let mut spec = TopicSpec::new_computed(1, 1, None);
    spec.set_storage(TopicStorageConfig {
        segment_size: Some(2000),
        max_partition_size: None,
    });
    fixture
        .admin
        .create("t".to_owned(), false, spec)
        .await
        .unwrap();
    let producer = fixture.producer("t", 0).await;
    for round in 0..30 {
        let value = format!("{round:-<300}");
        assert_eq!(send(&producer, &[value]).await, round);
    }
    let too_large = "x".repeat(3000);
    let output = producer
        .send(fluvio::RecordKey::NULL, too_large)
        .await
        .unwrap();
    assert!(producer.flush().await.is_err() || output.wait().await.is_err());

    let segments = std::fs::read_dir(fixture.dir.path().join("logs/t-0")).unwrap();
    assert!(segments.count() > 3);
    reads_all_of_it(&fixture).await;
    let fixture = fixture.restart().await;
    reads_all_of_it(&fixture).await;
    let producer = fixture.producer("t", 0).await;
    assert_eq!(send(&producer, &numbered("more", 1)).await, 30);
}

async fn reads_all_of_it(fixture: &Fixture) {
    for from in [0, 1, 5, 6, 13, 29] {
        let batches = fixture.batches("t", 0, from, 30 - from as usize).await;
        for (offset, batch) in (from..).zip(&batches) {
            assert_eq!(batch.get_base_offset(), offset);
            assert!(values(batch)[0].starts_with(&format!("{offset}-")));
        }
    }
}

/// A consumer that requests everything and reads nothing blocks only its own connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_does_not_read_keeps_nobody_waiting() {
    let fixture = Fixture::with_topic("t", 4).await;
    let value = vec!["x".repeat(1_000_000)];
    let producer = fixture.producer("t", 0).await;
    for round in 0..20 {
        assert_eq!(send(&producer, &value).await, round);
    }
    let spu = fixture.node.spu_addr().to_string();
    let mut stuck = FluvioSocket::connect(&spu).await.unwrap();
    let request = DefaultStreamFetchRequest::builder()
        .topic("t")
        .max_bytes(i32::MAX)
        .build()
        .unwrap();
    let request = RequestMessage::new_request(request);
    stuck.get_mut_sink().send_request(&request).await.unwrap();

    let tasks = (0..4).map(|partition| {
        let (fixture, value) = (&fixture, &value);
        async move {
            let producer = fixture.producer("t", partition).await;
            for _ in 0..5 {
                send(&producer, value).await;
            }
            let batches = fixture.batches("t", partition, 0, 5).await;
            assert_eq!(batches[4].get_base_offset(), 4);
        }
    });
    within(futures_util::future::join_all(tasks)).await;
    within(fixture.node.stop()).await.unwrap();
}
