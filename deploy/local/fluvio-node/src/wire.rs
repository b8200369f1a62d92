//! Fluvio's framing: a length, then a request or response in the encoding of `fluvio-protocol`.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use fluvio_protocol::api::{RequestHeader, ResponseMessage};
use fluvio_protocol::store::{FileWrite, StoreValue};
use fluvio_protocol::{Encoder, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::log::LogSlice;

/// The longest request that is read. A produce request may carry several batches of 32 MiB.
const MAX_REQUEST_BYTES: usize = 256 * 1024 * 1024;

/// The memory that a request's length alone is good for: most fit.
const FIRST_READ_BYTES: usize = 1024 * 1024;

/// What is read from a log at once on its way into a socket.
const COPY_BYTES: usize = 256 * 1024;

/// Reads the next request. `None` when the client has closed the connection.
pub(crate) async fn read_request(socket: &mut OwnedReadHalf) -> io::Result<Option<Bytes>> {
    let mut length = [0; 4];
    if let Err(err) = socket.read_exact(&mut length).await {
        return match err.kind() {
            io::ErrorKind::UnexpectedEof => Ok(None),
            _ => Err(err),
        };
    }
    let length = i32::from_be_bytes(length);
    let length = usize::try_from(length)
        .ok()
        .filter(|it| *it <= MAX_REQUEST_BYTES)
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a request of {length} bytes; no Fluvio client sends that"),
            )
        })?;
    // Grown as bytes come in, so that a length alone costs little memory.
    let mut request = BytesMut::with_capacity(length.min(FIRST_READ_BYTES));
    let mut rest = socket.take(length as u64);
    while request.len() < length {
        if rest.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(request.freeze()))
}

/// Sends responses, one at a time, from all that answer on one connection.
#[derive(Debug, Clone)]
pub(crate) struct Responder {
    socket: Arc<Mutex<OwnedWriteHalf>>,
    /// Cancelled when the connection ends, and by a response that could not be sent whole.
    closed: CancellationToken,
}

impl Responder {
    pub fn new(socket: OwnedWriteHalf, closed: CancellationToken) -> Self {
        Self {
            socket: Arc::new(Mutex::new(socket)),
            closed,
        }
    }

    /// Resolves when the connection has ended.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Answers a request, in the version that it was sent in.
    pub async fn send<P>(&self, header: &RequestHeader, response: P) -> io::Result<()>
    where
        P: Encoder + Default,
    {
        let message = ResponseMessage::from_header(header, response);
        let frame = encode(&message, header.api_version())?;
        self.write(async |socket| socket.write_all(&frame).await)
            .await
    }

    /// Answers a request with records straight from the log. `slices` are those that the
    /// response's record sets were made of ([`record_set`](crate::spu::record_set)), in order.
    pub async fn send_records<P>(
        &self,
        header: &RequestHeader,
        response: P,
        slices: &[Option<LogSlice>],
    ) -> io::Result<()>
    where
        P: FileWrite + Default,
    {
        let message = ResponseMessage::from_header(header, response);
        let mut bytes = BytesMut::new();
        let mut parts = Vec::new();
        message.file_encode(&mut bytes, &mut parts, header.api_version())?;
        parts.push(StoreValue::Bytes(bytes.freeze()));
        self.write(async |socket| {
            let mut slices = slices.iter();
            for part in &parts {
                match part {
                    StoreValue::Bytes(bytes) => socket.write_all(bytes).await?,
                    StoreValue::FileSlice(_) => {
                        if let Some(Some(slice)) = slices.next() {
                            copy(slice, socket).await?;
                        }
                    }
                }
            }
            Ok(())
        })
        .await
    }

    async fn write(
        &self,
        write: impl AsyncFnOnce(&mut OwnedWriteHalf) -> io::Result<()>,
    ) -> io::Result<()> {
        // A frame that was cut short can't be followed by another one.
        let whole = self.closed.clone().drop_guard();
        let sent = tokio::select! {
            biased;
            sent = async {
                let mut socket = self.socket.lock().await;
                write(&mut socket).await
            } => sent,
            () = self.closed.cancelled() => Err(io::ErrorKind::ConnectionAborted.into()),
        };
        if sent.is_ok() {
            whole.disarm();
        }
        sent
    }
}

fn encode<P>(message: &ResponseMessage<P>, version: Version) -> io::Result<BytesMut>
where
    P: Encoder + Default,
{
    let mut frame = BytesMut::zeroed(4);
    message.encode(&mut frame, version)?;
    let length = i32::try_from(frame.len() - 4).map_err(io::Error::other)?;
    if let Some(prefix) = frame.first_chunk_mut() {
        *prefix = length.to_be_bytes();
    }
    Ok(frame)
}

async fn copy(slice: &LogSlice, socket: &mut OwnedWriteHalf) -> io::Result<()> {
    let mut at = 0;
    while at < slice.len() {
        let len = (slice.len() - at).min(COPY_BYTES as u64);
        let chunk = {
            let slice = slice.clone();
            tokio::task::spawn_blocking(move || slice.read(at, len as usize)).await??
        };
        socket.write_all(&chunk).await?;
        at += len;
    }
    Ok(())
}
