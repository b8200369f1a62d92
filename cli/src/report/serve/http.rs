//! HTTP: the checks of each request, and the three routes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use connector_common::http;
use serde_json::json;
use tokio::net::TcpListener;
use tower::ServiceExt;

use super::address::Hosts;
use super::asked::Asked;
use super::live::Live;
use super::pages::{Flight, Pages, Problem};
use crate::report::page;

/// A navigation that takes longer is answered with a page that waits for the numbers.
const PAGE_TIMEOUT: Duration = Duration::from_secs(3);
/// A computation continues for this long until the waiting page asks for it.
const HANDOVER: Duration = Duration::from_secs(15);
const RETRY_SECONDS: &str = "5";

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The state that requests share.
#[derive(Clone)]
pub struct Site {
    pub pages: Arc<Pages>,
    pub live: Arc<Live>,
    pub hosts: Arc<Hosts>,
}

/// Accepts connections until it is dropped, which closes them.
pub async fn serve(listener: TcpListener, site: Site) {
    let router = Router::new()
        .route("/", get(navigation))
        .route("/page", get(finished_page))
        .route("/live.json", get(live))
        .with_state(site.clone());
    http::serve(listener, move |request| {
        answer(router.clone(), Arc::clone(&site.hosts), request)
    })
    .await;
}

async fn answer(router: Router, hosts: Arc<Hosts>, request: Request) -> Response {
    let mut response = if hosts.allow(request.headers()) {
        let Ok(response) = router.oneshot(request).await;
        response
    } else {
        let text = "This server answers to IP addresses, to localhost and to the name that it was \
                    started with: etl report --serve NAME:PORT\n";
        (StatusCode::FORBIDDEN, text).into_response()
    };
    let headers = response.headers_mut();
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(nothing);
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (OPENER_POLICY, "same-origin"),
        (RESOURCE_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Answers a navigation soon: with the numbers, or with a page that waits for them.
async fn navigation(State(site): State<Site>, RawQuery(query): RawQuery) -> Response {
    let asked = match Asked::parse(query.as_deref().unwrap_or_default()) {
        Ok(asked) => asked,
        Err(error) => return refused(&error.to_string()),
    };
    let flight = site.pages.get(&asked);
    match tokio::time::timeout(PAGE_TIMEOUT, flight.clone()).await {
        Ok(_) => send(&site, &asked, flight).await,
        Err(_) => {
            tokio::spawn(tokio::time::timeout(HANDOVER, flight));
            let text =
                "The numbers of these days are being computed. They appear here by themselves.";
            notice(&asked, StatusCode::OK, "Computing", text)
        }
    }
}

/// Answers with the numbers, however long they take. Dropping all requests cancels the computation.
async fn finished_page(State(site): State<Site>, RawQuery(query): RawQuery) -> Response {
    match Asked::parse(query.as_deref().unwrap_or_default()) {
        Ok(asked) => send(&site, &asked, site.pages.get(&asked)).await,
        Err(error) => refused(&error.to_string()),
    }
}

async fn live(State(site): State<Site>) -> Response {
    let (status, body) = match site.live.read().await {
        Ok(sample) => (StatusCode::OK, json!(*sample)),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, json!({ "error": *reason })),
    };
    (
        status,
        [(CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

async fn send(site: &Site, asked: &Asked, flight: Flight) -> Response {
    let problem = match flight.await {
        Ok(page) => {
            let nonce = page::nonce();
            return html_response(StatusCode::OK, &nonce, page.html(&nonce, None));
        }
        Err(problem) => problem,
    };
    match (&problem, site.pages.kept(asked)) {
        (Problem::Database(_) | Problem::Busy, Some(page)) => {
            let nonce = page::nonce();
            html_response(StatusCode::OK, &nonce, page.html(&nonce, Some(&problem)))
        }
        (Problem::NoFacts(text), _) => notice(asked, StatusCode::OK, "No facts", text),
        (Problem::NoZone(text), _) => refused(text),
        (Problem::Database(text), None) => {
            notice(asked, StatusCode::SERVICE_UNAVAILABLE, "No numbers", text)
        }
        (Problem::Busy, None) => {
            let text = problem.to_string();
            let mut response = notice(asked, StatusCode::SERVICE_UNAVAILABLE, "Busy", &text);
            let seconds = HeaderValue::from_static(RETRY_SECONDS);
            response.headers_mut().insert(RETRY_AFTER, seconds);
            response
        }
    }
}

fn refused(reason: &str) -> Response {
    notice(
        &Asked::default(),
        StatusCode::BAD_REQUEST,
        "Nothing to show",
        reason,
    )
}

fn notice(asked: &Asked, status: StatusCode, title: &str, text: &str) -> Response {
    let nonce = page::nonce();
    let page = page::notice(title, text, &nonce, &asked.waiting_bar());
    html_response(status, &nonce, page)
}

fn html_response(status: StatusCode, nonce: &str, page: String) -> Response {
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src data:; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (CONTENT_SECURITY_POLICY, policy),
    ];
    (status, headers, page).into_response()
}
