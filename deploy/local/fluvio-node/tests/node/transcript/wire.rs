//! The SPU's protocol without a client, and the format of its answers in a transcript.

use std::sync::Arc;

use fluvio_compression::Compression;
use fluvio_protocol::api::{Request, RequestMessage};
use fluvio_protocol::record::{Batch, RawRecords, Record, RecordSet};
use fluvio_socket::{AsyncResponse, FluvioSocket, MultiplexerSocket, SocketError};
use fluvio_spu_schema::fetch::FetchablePartitionResponse;
use fluvio_spu_schema::produce::{
    DefaultProduceRequest, PartitionProduceData, ProduceResponse, TopicProduceData,
};
use fluvio_spu_schema::server::fetch_offset::FetchOffsetsRequest;
use fluvio_spu_schema::server::stream_fetch::{DefaultStreamFetchRequest, StreamFetchResponse};
use fluvio_spu_schema::server::update_offset::{OffsetUpdate, UpdateOffsetsRequest};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::scene::{QUIET, shown};
use crate::support::within;

/// A connection to an SPU.
#[derive(Clone)]
pub struct Connection {
    socket: Arc<MultiplexerSocket>,
}

impl Connection {
    pub async fn open(addr: &str) -> Self {
        let socket = FluvioSocket::connect(addr).await.unwrap();
        Self {
            socket: MultiplexerSocket::shared(socket),
        }
    }

    pub async fn ask<R: Request>(&self, request: R) -> R::Response {
        let request = RequestMessage::new_request(request);
        within(self.socket.send_and_receive(request)).await.unwrap()
    }

    /// Produces batches to the first partition of a topic.
    pub async fn produce(&self, topic: &str, batches: Vec<Batch<RawRecords>>) -> String {
        let request = request(vec![(topic, vec![(0, batches)])]);
        answered(&self.ask(request).await)
    }

    /// Produces each value as a separate batch.
    pub async fn produce_values(&self, topic: &str, values: &[&str]) {
        for value in values {
            let answer = self.produce(topic, vec![batch(&[value])]).await;
            assert!(answer.contains("no error"), "{answer}");
        }
    }

    /// Opens a stream on the first partition of a topic.
    pub async fn stream(
        &self,
        topic: &str,
        from: i64,
        configure: impl FnOnce(&mut DefaultStreamFetchRequest),
    ) -> RawStream {
        let mut request = DefaultStreamFetchRequest::builder()
            .topic(topic)
            .fetch_offset(from)
            .max_bytes(1_000_000)
            .build()
            .unwrap();
        configure(&mut request);
        let request = RequestMessage::new_request(request);
        RawStream {
            responses: within(self.socket.create_stream(request, 10))
                .await
                .unwrap(),
            connection: self.clone(),
            id: 0,
        }
    }

    /// Reports the position of a stream's consumer.
    pub async fn report(&self, session_id: u32, offset: i64) -> String {
        let offsets = vec![OffsetUpdate { offset, session_id }];
        let response = self.ask(UpdateOffsetsRequest { offsets }).await;
        let statuses = response.status.iter();
        let statuses: Vec<_> = statuses
            .map(|it| format!("session {}: {}", it.session_id, shown(&it.error)))
            .collect();
        statuses.join("; ")
    }

    /// Requests and formats the offsets of a partition.
    pub async fn offsets(&self, topic: &str, partition: u32) -> String {
        let request = FetchOffsetsRequest::new(topic.to_owned(), partition);
        let response = self.ask(request).await;
        let mut lines = Vec::new();
        for topic in &response.topics {
            for it in &topic.partitions {
                lines.push(format!(
                    "{}-{}: {}, start {}, last stable {}",
                    topic.name,
                    it.partition_index,
                    shown(&it.error_code),
                    it.start_offset,
                    it.last_stable_offset
                ));
            }
        }
        lines.join("; ")
    }
}

/// A stream that is read response by response.
pub struct RawStream {
    responses: AsyncResponse<DefaultStreamFetchRequest>,
    connection: Connection,
    /// The stream's number, known from its first response.
    pub id: u32,
}

impl RawStream {
    /// Waits for and formats the next response.
    pub async fn next(&mut self) -> String {
        match timeout(QUIET * 20, self.responses.next()).await {
            Err(_) => panic!("no response came"),
            Ok(response) => self.written(response),
        }
    }

    /// Formats the next response, or notes that none comes.
    pub async fn next_if_any(&mut self) -> String {
        match timeout(QUIET, self.responses.next()).await {
            Err(_) => "  nothing".to_owned(),
            Ok(response) => self.written(response),
        }
    }

    /// Reports the consumer's position.
    pub async fn report(&self, offset: i64) -> String {
        self.connection.report(self.id, offset).await
    }

    fn written(
        &mut self,
        response: Option<Result<StreamFetchResponse<RecordSet<RawRecords>>, SocketError>>,
    ) -> String {
        match response {
            None => "  the connection has ended".to_owned(),
            Some(Err(err)) => format!("  {err}"),
            Some(Ok(response)) => {
                self.id = response.stream_id;
                format!(
                    "  stream {} of {}-{}",
                    response.stream_id,
                    response.topic,
                    partition(&response.partition)
                )
            }
        }
    }
}

/// Batches, by topic and partition.
type ToProduce<'a> = Vec<(&'a str, Vec<(u32, Vec<Batch<RawRecords>>)>)>;

pub fn request(topics: ToProduce<'_>) -> DefaultProduceRequest {
    let partition = |(partition_index, batches)| PartitionProduceData {
        partition_index,
        records: RecordSet { batches },
    };
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| TopicProduceData {
            name: name.to_owned(),
            partitions: partitions.into_iter().map(partition).collect(),
            ..Default::default()
        });
    DefaultProduceRequest {
        topics: topics.collect(),
        timeout: QUIET * 20,
        ..Default::default()
    }
}

/// Makes a batch like a producer, with a fixed time.
pub fn batch(values: &[&str]) -> Batch<RawRecords> {
    compressed(values, Compression::None)
}

pub fn compressed(values: &[&str], compression: Compression) -> Batch<RawRecords> {
    let records: Vec<_> = values.iter().map(|it| Record::new(*it)).collect();
    let mut batch = Batch::from(records);
    batch.header.first_timestamp = 1_000;
    batch.header.max_time_stamp = 2_000;
    batch.header.set_compression(compression);
    batch.try_into().unwrap()
}

/// Formats the answer to a produce request.
pub fn answered(response: &ProduceResponse) -> String {
    let mut lines = vec![format!("throttled {} ms", response.throttle_time_ms)];
    for topic in &response.responses {
        for it in &topic.partitions {
            lines.push(format!(
                "  {}-{}: {}, base {}, append time {}, log start {}",
                topic.name,
                it.partition_index,
                shown(&it.error_code),
                it.base_offset,
                it.log_append_time_ms,
                it.log_start_offset
            ));
        }
    }
    lines.join("\n")
}

/// Formats a partition's part of a response and its batches.
fn partition(response: &FetchablePartitionResponse<RecordSet<RawRecords>>) -> String {
    let mut lines = format!(
        "{}: {}, high watermark {}, start {}, next filter offset {}, aborted {:?}",
        response.partition_index,
        shown(&response.error_code),
        response.high_watermark,
        response.log_start_offset,
        response.next_filter_offset,
        response.aborted,
    );
    for batch in &response.records.batches {
        lines.push_str("\n    ");
        lines.push_str(&written(batch));
    }
    lines
}

fn written(batch: &Batch<RawRecords>) -> String {
    let header = &batch.header;
    let whole = if batch.validate_decoding() {
        ""
    } else {
        "cut, "
    };
    let compression = match batch.get_compression() {
        Ok(it) => it.to_string(),
        Err(err) => err.to_string(),
    };
    let checksum = if header.crc == 0 { "no" } else { "a" };
    let records = match batch.memory_records() {
        Ok(records) => records.iter().map(record).collect::<Vec<_>>().join(" "),
        Err(_) => "unreadable records".to_owned(),
    };
    format!(
        "batch {}..={} ({whole}{} bytes, {compression}, attributes {:#x}, epoch {}, magic {}, \
         {checksum} checksum, times {}..={}, producer {} {} {}): {records}",
        batch.get_base_offset(),
        batch.get_last_offset(),
        batch.records().0.len(),
        header.attributes,
        header.partition_leader_epoch,
        header.magic,
        header.first_timestamp,
        header.max_time_stamp,
        header.producer_id,
        header.producer_epoch,
        header.first_sequence,
    )
}

/// Formats a record: its position in the batch, its key, its value.
fn record(record: &Record) -> String {
    let key = match record.key() {
        Some(key) => format!("{}:", abridged(key.as_ref())),
        None => String::new(),
    };
    format!(
        "{}={key}{}",
        record.offset_delta(),
        abridged(record.value().as_ref())
    )
}

/// Shortens a long text to its start and its length.
pub fn abridged(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.get(..8) {
        Some(beginning) if text.len() > 16 => format!("{beginning}…({})", text.len()),
        _ => text.into_owned(),
    }
}
