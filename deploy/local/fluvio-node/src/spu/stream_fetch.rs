//! Streams: sends records as they come, one response at a time.
//!
//! After a response with records the SPU waits until the consumer says how far it has come,
//! then sends what follows that offset. Without a SmartModule a response is the raw log, cut at
//! `max_bytes` wherever that falls: the client drops the batch that was cut. With SmartModules
//! whole batches are read, see [`transform`](super::transform).

use std::io;
use std::sync::Arc;

use fluvio_protocol::api::{RequestHeader, RequestMessage};
use fluvio_protocol::link::ErrorCode;
use fluvio_protocol::record::{Offset, RawRecords, RecordSet, ReplicaKey};
use fluvio_spu_schema::fetch::{FetchablePartitionResponse, FilePartitionResponse};
use fluvio_spu_schema::server::stream_fetch::{FileStreamFetchRequest, StreamFetchResponse};
use tokio::sync::watch;

use super::transform::{Chain, InputBatch, Transformed};
use super::{MAX_RAW_BYTES, Replica, Session, Spu, record_set};
use crate::listener::Connection;
use crate::log::{Batches, LogSlice};
use crate::wire::Responder;

/// What the real server itself tells a stream whose consumer has not said anything yet. It is
/// passed over when a client says it.
const NOTHING_CONSUMED: Offset = -1;

/// What the real server itself tells a stream whose topic is deleted. It ends the stream when a
/// client says it, too.
const TOPIC_DELETED: Offset = -2;

/// Why a stream ended.
enum End {
    /// The connection ended, or can't be used any more.
    Connection,
    /// The consumer is told why.
    Error(ErrorCode),
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Connection
    }
}

impl From<ErrorCode> for End {
    fn from(code: ErrorCode) -> Self {
        Self::Error(code)
    }
}

/// Where a stream is after a read.
struct Progress {
    /// The next offset to read, if nobody says otherwise.
    next: Offset,
    /// Records were sent: the consumer has to say how far it has come before it gets more.
    sent: bool,
}

struct Stream {
    replica: Arc<Replica>,
    header: RequestHeader,
    stream_id: u32,
    max_bytes: u32,
    responder: Responder,
    chain: Option<Chain>,
    consumed: watch::Receiver<Offset>,
}

impl Spu {
    /// Starts a stream, which runs until its connection ends.
    pub(super) async fn start_stream(
        &self,
        request: RequestMessage<FileStreamFetchRequest>,
        session: &mut Session,
        connection: &Connection,
    ) -> io::Result<()> {
        let (header, request) = request.get_header_request();
        let key = ReplicaKey::new(request.topic.clone(), request.partition);
        let responder = connection.responder.clone();
        let Some(replica) = self.replicas.get(&key) else {
            let code = ErrorCode::NotLeaderForPartition;
            return send_error(&responder, &header, &key, 0, code).await;
        };
        let (stream_id, consumed) = session.begin_stream(key.clone(), request.consumer_id.clone());
        let spu = self.clone();
        connection.tasks.spawn(async move {
            let end = async {
                let chain = spu.chain(&request, header.api_version(), &replica).await?;
                let stream = Stream {
                    replica,
                    header: header.clone(),
                    stream_id,
                    max_bytes: request.max_bytes as u32,
                    responder: responder.clone(),
                    chain,
                    consumed,
                };
                stream.run(request.fetch_offset).await
            };
            match end.await {
                Err(End::Error(code)) => {
                    tracing::info!(stream = stream_id, partition = %key, %code, "stream ended");
                    // When this fails the connection has ended, and the stream with it.
                    let _ = send_error(&responder, &header, &key, stream_id, code).await;
                }
                Err(End::Connection) | Ok(()) => {
                    tracing::debug!(stream = stream_id, partition = %key, "stream ended");
                }
            }
        });
        Ok(())
    }

    async fn chain(
        &self,
        request: &FileStreamFetchRequest,
        version: i16,
        replica: &Arc<Replica>,
    ) -> Result<Option<Chain>, ErrorCode> {
        let invocations = self.resolve(request.smartmodules.clone()).await?;
        let (engine, replica) = (self.engine.clone(), replica.clone());
        let build = move || {
            let mut chain = Chain::build(invocations, version, &engine)?;
            if let Some(chain) = &mut chain {
                chain.look_back(&replica.log)?;
            }
            Ok(chain)
        };
        run_blocking(build).await?
    }
}

impl Stream {
    async fn run(mut self, from: Offset) -> Result<(), End> {
        let mut log_end = self.replica.log.watch_end();
        let mut progress = self.send_from(from).await?;
        // Where to go on from. Unknown while the consumer has not said how far it has come.
        let mut consumer_at = (!progress.sent).then_some(progress.next);
        let mut read_to = progress.next;

        loop {
            tokio::select! {
                () = self.responder.closed() => return Ok(()),
                () = self.replica.deleted.cancelled() => return Err(ErrorCode::TopicDeleted.into()),

                told = self.consumed.changed() => {
                    if told.is_err() {
                        return Err(End::Connection);
                    }
                    let consumed = *self.consumed.borrow_and_update();
                    match consumed {
                        NOTHING_CONSUMED => continue,
                        TOPIC_DELETED => return Err(ErrorCode::TopicDeleted.into()),
                        _ => {}
                    }
                    if consumed >= read_to {
                        consumer_at = Some(consumed);
                        continue;
                    }
                    progress = self.send_from(consumed).await?;
                }

                _ = log_end.changed() => {
                    let end = *log_end.borrow_and_update();
                    match consumer_at {
                        Some(at) if end > at => progress = self.send_from(at).await?,
                        _ => {
                            read_to = end;
                            continue;
                        }
                    }
                }
            }
            read_to = progress.next;
            consumer_at = (!progress.sent).then_some(progress.next);
        }
    }

    async fn send_from(&mut self, from: Offset) -> Result<Progress, End> {
        // A chain takes whole batches; what it puts out is limited instead.
        let max_len = match self.chain {
            Some(_) => u32::MAX,
            None => self.max_bytes.min(MAX_RAW_BYTES),
        };
        let replica = self.replica.clone();
        let read = run_blocking(move || replica.log.read(from, max_len)).await??;
        let Some(slice) = read.slice.filter(|it| it.len() > 0) else {
            return Ok(Progress {
                next: from,
                sent: false,
            });
        };
        let response = FilePartitionResponse {
            partition_index: self.replica.key.partition,
            high_watermark: read.end,
            log_start_offset: read.start,
            ..FilePartitionResponse::default()
        };
        match self.chain.take() {
            None => self.send_raw(response, slice).await?,
            Some(chain) => {
                let transformed = self.transform(chain, slice).await?;
                if !self.send_transformed(response, transformed).await? {
                    return Ok(Progress {
                        next: read.end,
                        sent: false,
                    });
                }
            }
        }
        Ok(Progress {
            next: read.end,
            sent: true,
        })
    }

    async fn send_raw(
        &self,
        mut response: FilePartitionResponse,
        slice: LogSlice,
    ) -> io::Result<()> {
        response.records = record_set(Some(&slice));
        let response = StreamFetchResponse {
            topic: self.replica.key.topic.clone(),
            stream_id: self.stream_id,
            partition: response,
        };
        self.responder
            .send_records(&self.header, response, &[Some(slice)])
            .await
    }

    async fn transform(&mut self, mut chain: Chain, slice: LogSlice) -> Result<Transformed, End> {
        let max_bytes = self.max_bytes as usize;
        let work = move || {
            let transformed = chain.process::<InputBatch>(
                Batches::new(slice).map(|batch| batch.map(InputBatch::from)),
                max_bytes,
            );
            (chain, transformed)
        };
        let (chain, transformed) = run_blocking(work).await?;
        self.chain = Some(chain);
        transformed.map_err(|err| End::Error(ErrorCode::Other(format!("SmartModule err {err}"))))
    }

    /// Returns whether there was anything to send.
    async fn send_transformed(
        &self,
        read: FilePartitionResponse,
        transformed: Transformed,
    ) -> Result<bool, End> {
        let Transformed { batch, error } = transformed;
        let has_records = !batch.records().is_empty();
        if !has_records && error.is_none() {
            return Ok(false);
        }
        let next_filter_offset = if has_records {
            batch.get_last_offset() + 1
        } else {
            read.high_watermark
        };
        let records = RecordSet::default()
            .add(batch)
            .try_into()
            .map_err(|_| ErrorCode::CompressionError)?;
        let partition = FetchablePartitionResponse::<RecordSet<RawRecords>> {
            partition_index: read.partition_index,
            error_code: error.map_or(ErrorCode::None, |it| {
                ErrorCode::SmartModuleRuntimeError(Box::new(it))
            }),
            high_watermark: read.high_watermark,
            log_start_offset: read.log_start_offset,
            records,
            next_filter_offset,
            ..FetchablePartitionResponse::default()
        };
        let response = StreamFetchResponse {
            topic: self.replica.key.topic.clone(),
            stream_id: self.stream_id,
            partition,
        };
        self.responder.send(&self.header, response).await?;
        Ok(true)
    }
}

async fn send_error(
    responder: &Responder,
    header: &RequestHeader,
    key: &ReplicaKey,
    stream_id: u32,
    error_code: ErrorCode,
) -> io::Result<()> {
    let response = StreamFetchResponse {
        topic: key.topic.clone(),
        stream_id,
        partition: FetchablePartitionResponse::<RecordSet<RawRecords>> {
            partition_index: key.partition,
            error_code,
            ..FetchablePartitionResponse::default()
        },
    };
    responder.send(header, response).await
}

/// Runs what reads files or computes for long where it keeps nobody else waiting.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ErrorCode> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|err| ErrorCode::Other(format!("a stream's work failed: {err}")))
}
