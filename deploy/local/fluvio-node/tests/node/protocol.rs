//! Requests that Fluvio's client never sends: invalid ones, and for missing partitions.

use std::net::SocketAddr;

use fluvio::dataplane::link::ErrorCode;
use fluvio_protocol::api::{Request, RequestMessage};
use fluvio_protocol::record::{Batch, RawRecords, Record, RecordSet};
use fluvio_socket::FluvioSocket;
use fluvio_spu_schema::produce::{DefaultProduceRequest, PartitionProduceData, TopicProduceData};
use fluvio_spu_schema::server::consumer_offset::UpdateConsumerOffsetRequest;
use fluvio_spu_schema::server::fetch_offset::FetchOffsetsRequest;
use fluvio_spu_schema::server::stream_fetch::DefaultStreamFetchRequest;
use fluvio_spu_schema::server::update_offset::{OffsetUpdate, UpdateOffsetsRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Fixture, numbered, send, within};
use crate::wasm::by_name;

async fn ask<R: Request>(addr: SocketAddr, request: R) -> R::Response {
    let mut socket = FluvioSocket::connect(&addr.to_string()).await.unwrap();
    let request = RequestMessage::new_request(request);
    within(socket.send(&request)).await.unwrap().response
}

fn produce(topic: &str, partition: u32, batch: Batch<RawRecords>) -> DefaultProduceRequest {
    DefaultProduceRequest {
        topics: vec![TopicProduceData {
            name: topic.to_owned(),
            partitions: vec![PartitionProduceData {
                partition_index: partition,
                records: RecordSet {
                    batches: vec![batch],
                },
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn batch() -> Batch<RawRecords> {
    Batch::from(vec![Record::new("value")]).try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_not_there_has_fluvios_codes() {
    let fixture = Fixture::with_topic("t", 1).await;
    let spu = fixture.node.spu_addr();
    for (topic, partition) in [("t", 1), ("missing", 0)] {
        let response = ask(spu, produce(topic, partition, batch())).await;
        let code = &response.responses[0].partitions[0].error_code;
        assert_eq!(*code, ErrorCode::NotLeaderForPartition);

        let request = DefaultStreamFetchRequest::builder()
            .topic(topic)
            .partition(partition)
            .build()
            .unwrap();
        let response = ask(spu, request).await;
        assert_eq!(
            response.partition.error_code,
            ErrorCode::NotLeaderForPartition
        );

        let response = ask(spu, FetchOffsetsRequest::new(topic.to_owned(), partition)).await;
        let code = &response.topics[0].partitions[0].error_code;
        assert_eq!(*code, ErrorCode::PartitionNotLeader);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_out_of_the_log_are_refused() {
    let fixture = Fixture::with_topic("t", 1).await;
    send(&fixture.producer("t", 0).await, &numbered("a", 2)).await;
    for (offset, expected) in [
        (3, "start offset: 3 is greater than leo: 2"),
        (-5, "Offset -5 is evicted. The next available is 0"),
    ] {
        let request = DefaultStreamFetchRequest::builder()
            .topic("t")
            .fetch_offset(offset)
            .build()
            .unwrap();
        let response = ask(fixture.node.spu_addr(), request).await;
        let code = response.partition.error_code.to_string();
        assert!(code.contains(expected), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_batches_are_refused() {
    let fixture = Fixture::with_topic("t", 1).await;
    let spu = fixture.node.spu_addr();
    let mut unknown_compression = batch();
    unknown_compression.header.attributes |= 0x07;
    let response = ask(spu, produce("t", 0, unknown_compression)).await;
    let code = &response.responses[0].partitions[0].error_code;
    assert_eq!(*code, ErrorCode::CompressionError);

    let mut two = produce("t", 0, batch());
    let mut empty = batch();
    empty.set_offset_delta(-1);
    two.topics[0].partitions[0].records.batches.push(empty);
    let response = ask(spu, two).await;
    let code = &response.responses[0].partitions[0].error_code;
    assert_eq!(*code, ErrorCode::StorageError);
    let offsets = ask(spu, FetchOffsetsRequest::new("t".to_owned(), 0)).await;
    assert_eq!(offsets.topics[0].partitions[0].last_stable_offset, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_not_there_are_told() {
    let fixture = Fixture::start().await;
    let spu = fixture.node.spu_addr();
    let offsets = vec![OffsetUpdate {
        offset: 1,
        session_id: 7,
    }];
    let response = ask(spu, UpdateOffsetsRequest { offsets }).await;
    assert_eq!(response.status[0].error, ErrorCode::FetchSessionNotFoud);
    let response = ask(spu, UpdateConsumerOffsetRequest::new(1, 7)).await;
    assert_eq!(response.error_code, ErrorCode::FetchSessionNotFoud);
}

#[tokio::test(flavor = "multi_thread")]
async fn smartmodules_of_a_producer_are_refused() {
    let fixture = Fixture::with_topic("t", 1).await;
    let spu = fixture.node.spu_addr();
    let mut request = produce("t", 0, batch());
    request.smartmodules = vec![by_name("any")];
    let response = ask(spu, request).await;
    let code = &response.responses[0].partitions[0].error_code;
    assert!(matches!(code, ErrorCode::Other(_)), "{code:?}");
    let offsets = ask(spu, FetchOffsetsRequest::new("t".to_owned(), 0)).await;
    assert_eq!(offsets.topics[0].partitions[0].last_stable_offset, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_request_closes_only_its_connection() {
    let fixture = Fixture::with_topic("t", 1).await;
    // API key, version, correlation id, client id
    let unknown_api = b"\x00\x00\x00\x0c\x7f\xff\x00\x00\x00\x00\x00\x01\x00\x02me".to_vec();
    let unknown_kind = {
        let mut create = b"\x03\xe9\x00\x13\x00\x00\x00\x01\x00\x02me".to_vec();
        create.extend(b"\x00\x07Strange\x00\x00\x00\x00");
        let mut frame = (create.len() as u32).to_be_bytes().to_vec();
        frame.extend(create);
        frame
    };
    let huge = b"\x7f\xff\xff\xff".to_vec();
    let negative = b"\xff\xff\xff\xff".to_vec();
    let cut = b"\x00\x00\x00\x08\x00\x12".to_vec();
    for addr in [fixture.node.sc_addr(), fixture.node.spu_addr()] {
        for bytes in [&unknown_api, &huge, &negative, &cut] {
            let mut socket = TcpStream::connect(addr).await.unwrap();
            socket.write_all(bytes).await.unwrap();
            if bytes == &cut {
                socket.shutdown().await.unwrap();
            }
            let mut answer = Vec::new();
            // A reset also means a closed connection.
            let _ = within(socket.read_to_end(&mut answer)).await;
            assert!(answer.is_empty());
        }
    }
    let mut socket = TcpStream::connect(fixture.node.sc_addr()).await.unwrap();
    socket.write_all(&unknown_kind).await.unwrap();
    let mut length = [0; 4];
    within(socket.read_exact(&mut length)).await.unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    within(socket.read_exact(&mut answer)).await.unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("unknown admin object type"));

    send(&fixture.producer("t", 0).await, &numbered("still", 1)).await;
}
