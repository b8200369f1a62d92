//! Faults over HTTP, for tests in another process: the requests are in [`crate::faults`].

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::calls::Context;
use crate::faults::Fault;
use crate::operation::Operation;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    operation: Operation,
    fault: Fault,
    times: Option<u64>,
    share: Option<f64>,
    /// Starts the random choices anew, for a share.
    seed: Option<u64>,
}

pub(crate) async fn set(State(context): State<Arc<Context>>, body: Bytes) -> Response {
    match serde_json::from_slice(&body)
        .map_err(|error| error.to_string())
        .and_then(|request| add(&context, &request))
    {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(reason) => (StatusCode::BAD_REQUEST, reason).into_response(),
    }
}

pub(crate) async fn show(State(context): State<Arc<Context>>) -> Response {
    let struck: BTreeMap<Operation, u64> = context.faults.all_struck();
    match serde_json::to_vec(&struck) {
        Ok(json) => json.into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

pub(crate) async fn clear(State(context): State<Arc<Context>>) -> StatusCode {
    context.faults.clear();
    StatusCode::NO_CONTENT
}

fn add(context: &Context, request: &Request) -> Result<(), String> {
    if let Some(seed) = request.seed {
        context.faults.seed(seed);
    }
    match (request.times, request.share) {
        (Some(times), None) => context
            .faults
            .fail_next(request.operation, request.fault, times),
        (None, Some(share)) => context
            .faults
            .fail_share(request.operation, request.fault, share),
        _ => return Err("give either `times` or `share`".to_owned()),
    }
    .map_err(|error| error.to_string())
}
