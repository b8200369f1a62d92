//! Streams: send records as they are appended, one response at a time.
//!
//! After a response with records, the SPU waits until the consumer reports its position, then sends
//! what follows that offset. Without a SmartModule a response is the raw log, cut at `max_bytes`
//! even in the middle of a batch, which the client then drops. With SmartModules whole batches are
//! read, see [`transform`](super::transform).

use std::io;
use std::sync::Arc;

use fluvio_protocol::api::{RequestHeader, RequestMessage};
use fluvio_protocol::link::ErrorCode;
use fluvio_protocol::record::{Offset, RawRecords, RecordSet, ReplicaKey};
use fluvio_spu_schema::fetch::{FetchablePartitionResponse, FilePartitionResponse};
use fluvio_spu_schema::server::stream_fetch::{FileStreamFetchRequest, StreamFetchResponse};
use tokio::sync::watch;

use super::transform::{Chain, Transformed};
use super::{Session, Spu};
use crate::connection::{Connection, Responder, record_set};
use crate::log::{Batches, LogSlice};
use crate::replicas::Replica;

/// The real server's internal position of a consumer that hasn't reported one. It is ignored if a
/// client sends it.
const NOTHING_CONSUMED: Offset = -1;

/// The real server's internal position for a deleted topic. It also ends the stream if a client
/// sends it.
const TOPIC_DELETED: Offset = -2;

/// The most bytes of raw log in a response, even if the client allows more: a frame's length must
/// fit into 31 bits.
const MAX_RAW_BYTES: u32 = 1024 * 1024 * 1024;

/// The reason why a stream ended.
enum End {
    /// The connection has ended or is unusable.
    Connection,
    /// An error, which is sent to the consumer.
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

/// The state of a stream after a read.
struct Progress {
    /// The next offset to read, unless the consumer reports another one.
    next: Offset,
    /// True if records were sent: the consumer must report its position before it gets more.
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
                    // If this fails, the connection has ended and the stream with it.
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
        // The offset to continue from, unknown until the consumer reports its position.
        let mut consumer_at = (!progress.sent).then_some(progress.next);
        let mut read_to = progress.next;

        loop {
            tokio::select! {
                () = self.responder.closed() => return Ok(()),
                () = self.replica.deleted.cancelled() => return Err(ErrorCode::TopicDeleted.into()),

                changed = self.consumed.changed() => {
                    if changed.is_err() {
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
        // A chain needs whole batches; its output is limited instead.
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
            let transformed = chain.process(Batches::new(slice), max_bytes);
            (chain, transformed)
        };
        let (chain, transformed) = run_blocking(work).await?;
        self.chain = Some(chain);
        transformed.map_err(|err| End::Error(ErrorCode::Other(format!("SmartModule err {err}"))))
    }

    /// Sends the output and returns true if there is any.
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

/// Runs blocking or long work on a thread for it.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ErrorCode> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|err| ErrorCode::Other(format!("a task of the stream failed: {err}")))
}
