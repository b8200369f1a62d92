//! Accepts connections and hands their requests, one after the other, to a service.
//!
//! A connection ends when the client closes it, when a request can't be read (an unknown API
//! key or version: Fluvio's servers close the connection then, too, so the client gets an error
//! and doesn't wait), when a response can't be sent, or when the node stops. With it end all
//! the streams that it carries.

use std::io;
use std::net::SocketAddr;

use fluvio_protocol::api::ApiMessage;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::wire::{Responder, read_request};

/// Pause after the operating system has refused a connection, for lack of file descriptors say.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// What answers the requests of a port.
pub(crate) trait Service: Clone + Send + Sync + 'static {
    /// The requests it can read.
    type Request: ApiMessage + Send;
    /// What it keeps for a connection.
    type Session: Default + Send;

    /// Answers a request, or starts what will. An error ends the connection.
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
    /// Sends to the client.
    pub responder: Responder,
    /// Runs what answers later. It has to end when [`Responder::closed`] does.
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
    // Also when this unwinds or is dropped.
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
    R::decode_from(&mut request).map_err(|err| {
        io::Error::new(
            err.kind(),
            format!("a request that this node can't read: {err}"),
        )
    })
}
