//! An HTTP server that idle connections can't starve.
//!
//! At most 100 are open. At this bound a new one closes the connection that has waited longest for
//! a request, so a probe is answered however many others are open.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// Connections at the same time; a browser opens up to six, a Prometheus server one.
const MAX_CONNECTIONS: usize = 100;
/// A connection is closed when its next request takes longer than this to arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The time between attempts to accept while every connection is being answered.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// The time between attempts to accept after an error, such as too few file descriptors.
const ERROR_PAUSE: Duration = Duration::from_millis(100);
/// The turn of a connection whose request is being answered.
const ANSWERING: u64 = u64::MAX;

/// An open connection, which is closed when it is dropped.
struct Connection {
    task: AbortOnDropHandle<()>,
    /// Its place among the connections that wait for a request; the smallest waits longest.
    turn: Arc<AtomicU64>,
}

/// Accepts connections until it is dropped, which closes them. `answer` answers each request.
pub async fn serve<A, F>(listener: TcpListener, answer: A)
where
    A: Fn(Request) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let turns = Arc::new(AtomicU64::new(0));
    let mut open: Vec<Connection> = Vec::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        while !make_room(&mut open) {
            tokio::time::sleep(BUSY_PAUSE).await;
        }
        let turn = Arc::new(AtomicU64::new(turns.fetch_add(1, Ordering::Relaxed)));
        let (turns, answer) = (Arc::clone(&turns), answer.clone());
        let task = tokio::spawn(serve_connection(stream, answer, Arc::clone(&turn), turns));
        let task = AbortOnDropHandle::new(task);
        open.push(Connection { task, turn });
    }
}

/// Closes the connection that has waited longest for a request, if there are too many. Returns
/// false if all of them are being answered.
fn make_room(open: &mut Vec<Connection>) -> bool {
    open.retain(|connection| !connection.task.is_finished());
    if open.len() < MAX_CONNECTIONS {
        return true;
    }
    let turn = |connection: &Connection| connection.turn.load(Ordering::Relaxed);
    let longest = open.iter().enumerate().min_by_key(|(_, it)| turn(it));
    match longest {
        Some((index, connection)) if turn(connection) != ANSWERING => {
            drop(open.swap_remove(index));
            true
        }
        _ => false,
    }
}

async fn serve_connection<A, F>(
    stream: TcpStream,
    answer: A,
    turn: Arc<AtomicU64>,
    turns: Arc<AtomicU64>,
) where
    A: Fn(Request) -> F,
    F: Future<Output = Response>,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let response = answer(request.map(Body::new));
        let (turn, turns) = (Arc::clone(&turn), Arc::clone(&turns));
        async move {
            turn.store(ANSWERING, Ordering::Relaxed);
            let response = response.await;
            turn.store(turns.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
            Ok::<_, Infallible>(response)
        }
    });
    let ended = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    use super::*;
    use crate::monitor;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_probe_is_answered_while_more_connections_are_idle_than_may_be_open() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let release = Arc::new(Notify::new());
        let released = Arc::clone(&release);
        let server = serve(listener, move |request: Request| {
            let released = Arc::clone(&released);
            async move {
                if request.uri().path() == "/slow" {
                    released.notified().await;
                }
                "ok\n".into_response()
            }
        });
        let _server = AbortOnDropHandle::new(tokio::spawn(server));

        let mut slow = TcpStream::connect(address).await.unwrap();
        let request = b"GET /slow HTTP/1.0\r\n\r\n";
        slow.write_all(request).await.unwrap();
        let mut idle = Vec::new();
        for _ in 0..3 * MAX_CONNECTIONS {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let probe = move || monitor::get(&address.to_string(), "/healthz", LIMIT, 1 << 10);
        let answer = tokio::task::spawn_blocking(probe).await.unwrap().unwrap();
        assert_eq!(answer, (Some(200), "ok\n".to_owned()));

        let closed = tokio::time::timeout(LIMIT, idle[0].read(&mut [0])).await;
        assert_eq!(closed.unwrap().unwrap_or(0), 0, "the longest idle one");
        release.notify_one();
        let mut answer = String::new();
        let read = tokio::time::timeout(LIMIT, slow.read_to_string(&mut answer)).await;
        read.unwrap().unwrap();
        assert!(answer.ends_with("ok\n"), "the one that waits: {answer:?}");
    }

    #[tokio::test]
    async fn a_probe_is_answered_while_others_send_their_headers_byte_by_byte() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = serve(listener, |_: Request| async { "ok\n".into_response() });
        let _server = AbortOnDropHandle::new(tokio::spawn(server));

        let started = Arc::new(Notify::new());
        let all_there = Arc::clone(&started);
        let _slow = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut open = Vec::new();
            for _ in 0..230 {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nSlow: ").await;
                open.push(stream);
            }
            all_there.notify_one();
            loop {
                for stream in &mut open {
                    let _ = stream.write_all(b"a").await;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }));
        started.notified().await;
        for _ in 0..3 {
            let probe = move || monitor::get(&address.to_string(), "/healthz", LIMIT, 1 << 10);
            let answer = tokio::task::spawn_blocking(probe).await.unwrap().unwrap();
            assert_eq!(answer, (Some(200), "ok\n".to_owned()));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
