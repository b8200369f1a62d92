//! Connections: frames, requests and responses, the same on both ports.
//!
//! A frame is a length, then a request or a response in the encoding of `fluvio-protocol`. The
//! requests of a connection are passed to a [`Service`] one after the other.
//!
//! A connection ends when the client closes it, when a request can't be decoded (Fluvio's servers
//! close the connection then too, so the client gets an error and doesn't wait), when a response
//! can't be sent, or when the node stops. Its streams end with it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fluvio_future::file_slice::AsyncFileSlice;
use fluvio_protocol::api::{ApiMessage, RequestHeader, ResponseMessage};
use fluvio_protocol::store::{FileWrite, StoreValue};
use fluvio_protocol::{Encoder, Version};
use fluvio_spu_schema::file::FileRecordSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::log::LogSlice;

/// The pause after a failed accept, for example for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers the requests of a port.
pub(crate) trait Service: Clone + Send + Sync + 'static {
    /// The requests that it can decode.
    type Request: ApiMessage + Send;
    /// The state of a connection.
    type Session: Default + Send;

    /// Answers a request or spawns a task that will. An error ends the connection.
    fn handle(
        &self,
        request: Self::Request,
        session: &mut Self::Session,
        connection: &Connection,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// A client's connection.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// Sends responses to the client.
    pub responder: Responder,
    /// Tasks that answer later. They must end when [`Responder::closed`] resolves.
    pub tasks: TaskTracker,
}

/// Serves a port until `stop`.
pub(crate) async fn serve<S: Service>(
    listener: TcpListener,
    service: S,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                let connection = converse(
                    socket,
                    peer,
                    service.clone(),
                    stop.child_token(),
                    tasks.clone(),
                );
                tasks.spawn(connection);
            }
            Err(err) => {
                tracing::warn!(%err, "can't accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse<S: Service>(
    socket: TcpStream,
    peer: SocketAddr,
    service: S,
    closed: CancellationToken,
    tasks: TaskTracker,
) {
    // Also on a panic and when the task is dropped.
    let _ends_streams = closed.clone().drop_guard();
    match answer_requests(socket, service, closed, tasks).await {
        Ok(()) => tracing::debug!(%peer, "connection closed"),
        Err(err) => tracing::info!(%peer, "connection closed: {err:#}"),
    }
}

async fn answer_requests<S: Service>(
    socket: TcpStream,
    service: S,
    closed: CancellationToken,
    tasks: TaskTracker,
) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let (mut read, write) = socket.into_split();
    let connection = Connection {
        responder: Responder::new(write, closed.clone()),
        tasks,
    };
    let mut session = S::Session::default();
    loop {
        let request = tokio::select! {
            request = read_request(&mut read) => request?,
            () = closed.cancelled() => return Ok(()),
        };
        let Some(request) = request else {
            return Ok(());
        };
        let request = decode::<S::Request>(request)?;
        service.handle(request, &mut session, &connection).await?;
    }
}

fn decode<R: ApiMessage>(mut request: bytes::Bytes) -> io::Result<R> {
    R::decode_from(&mut request)
        .map_err(|err| io::Error::new(err.kind(), format!("can't decode a request: {err}")))
}

/// The longest accepted request. A produce request may hold several batches of 32 MiB.
const MAX_REQUEST_BYTES: usize = 256 * 1024 * 1024;

/// The memory allocated for a request before its bytes arrive. Most requests fit.
const FIRST_READ_BYTES: usize = 1024 * 1024;

/// The bytes that are read from a log at once on their way to a socket.
const COPY_BYTES: usize = 256 * 1024;

/// Reads the next request; `None` if the client has closed the connection.
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
                format!("a request of {length} bytes, which no Fluvio client sends"),
            )
        })?;
    // The buffer grows as bytes arrive, so a large length alone costs little memory.
    let mut request = BytesMut::with_capacity(length.min(FIRST_READ_BYTES));
    let mut rest = socket.take(length as u64);
    while request.len() < length {
        if rest.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(request.freeze()))
}

/// Sends responses of all tasks of a connection, one at a time.
#[derive(Debug, Clone)]
pub(crate) struct Responder {
    socket: Arc<Mutex<OwnedWriteHalf>>,
    /// Cancelled when the connection ends or a response could not be sent completely.
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

    /// Answers a request in the request's version.
    pub async fn send<P>(&self, header: &RequestHeader, response: P) -> io::Result<()>
    where
        P: Encoder + Default,
    {
        let message = ResponseMessage::from_header(header, response);
        let frame = encode(&message, header.api_version())?;
        self.write(async |socket| socket.write_all(&frame).await)
            .await
    }

    /// Answers a request with records copied from the log. `slices` are those that the response's
    /// record sets were made of ([`record_set`]), in order.
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
        // No frame can follow a frame that was cut short.
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

/// Returns a slice's record set for a response of [`Responder::send_records`].
pub(crate) fn record_set(slice: Option<&LogSlice>) -> FileRecordSet {
    slice.map_or_else(FileRecordSet::default, |it| {
        AsyncFileSlice::new(it.file().as_raw_fd(), it.position(), it.len()).into()
    })
}
