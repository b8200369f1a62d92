//! The HTTP server.
//!
//! It doesn't use `axum::serve`, because the fault `CutReply` must close its connection without
//! sending a byte.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use uuid::Uuid;

use crate::calls::{self, Context};
use crate::faults::Fault;
use crate::protocol::{AWS_JSON, Code, Operation, SqsError};

/// The largest request: a batch of 1 MiB with each byte escaped in JSON.
const REQUEST_BYTES: usize = 8 << 20;

/// Marks a response that must not be sent.
#[derive(Clone, Copy)]
struct Cut;

/// Ends a connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("an injected fault cuts the reply")]
struct ReplyCut;

/// Serves `listener` until the context's stop, then finishes current calls.
pub(crate) async fn serve(listener: TcpListener, context: Arc<Context>) {
    let router = Router::new()
        .route("/", post(call))
        .route("/{account}/{queue}", post(call))
        .with_state(Arc::clone(&context));
    let connections = TaskTracker::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, router.clone(),
                    Arc::clone(&context)));
                }
                Err(error) => {
                    // For example out of file descriptors: pause instead of spinning, and retry.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            () = context.stop.cancelled() => break,
        }
    }
    connections.close();
    connections.wait().await;
}

async fn serve_connection(stream: TcpStream, router: Router, context: Arc<Context>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY is not set");
    }
    let service = service_fn(move |request| answer(router.clone(), request));
    let mut connection =
        std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = poll_fn(|cx| Future::poll(connection.as_mut(), cx)) => ended,
        () = context.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

async fn answer(router: Router, request: hyper::Request<Incoming>) -> Result<Response, ReplyCut> {
    let response: Result<Response, Infallible> = router.oneshot(request.map(Body::new)).await;
    match response {
        Ok(response) if response.extensions().get::<Cut>().is_some() => Err(ReplyCut),
        Ok(response) => Ok(response),
        Err(never) => match never {},
    }
}

async fn call(State(context): State<Arc<Context>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(operation) = operation(&parts.headers) else {
        let message = "the header X-Amz-Target is not an operation of this endpoint";
        return with_request_id(
            SqsError::new(Code::UnknownOperationException, message).into_response(),
        );
    };
    let faults = context.faults.of_call(operation);
    if faults.contains(&Fault::Throttle) {
        let error = SqsError::new(Code::ThrottlingException, "Rate exceeded");
        return with_request_id(error.into_response());
    }
    if faults.contains(&Fault::Deny) {
        let message = format!("not authorized to perform: sqs:{operation}");
        return with_request_id(SqsError::new(Code::AccessDenied, message).into_response());
    }
    let body: Bytes = match axum::body::to_bytes(body, REQUEST_BYTES).await {
        Ok(body) => body,
        Err(_) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
    };
    let result = calls::perform(&context, operation, &body).await;
    for fault in faults {
        match fault {
            Fault::Delay { by } => tokio::time::sleep(by).await,
            Fault::CutReply => return (Extension(Cut), ()).into_response(),
            _ => {}
        }
    }
    with_request_id(match result {
        Ok(json) => ([(CONTENT_TYPE, AWS_JSON)], json).into_response(),
        Err(error) => error.into_response(),
    })
}

fn operation(headers: &HeaderMap) -> Option<Operation> {
    Operation::from_target(headers.get("x-amz-target")?.to_str().ok()?)
}

fn with_request_id(response: Response) -> Response {
    ([("x-amzn-requestid", Uuid::new_v4().to_string())], response).into_response()
}
