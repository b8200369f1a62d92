//! An SQS server that answers by a script, over SQS's own protocol.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The call succeeds with this result.
    Result(Value),
    /// The call fails with this code.
    Refused(&'static str),
    /// A proxy answers in place of SQS, with this HTTP status and page.
    Page(u16, &'static str),
}

type Script = Arc<Mutex<HashMap<&'static str, VecDeque<Answer>>>>;
type Requests = Arc<Mutex<Vec<(String, Value)>>>;

/// The server. Without a script a receive returns no message and every entry succeeds.
pub struct Canned {
    pub url: String,
    script: Script,
    requests: Requests,
}

impl Canned {
    pub async fn start() -> Self {
        let script = Script::default();
        let requests = Requests::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new()
            .fallback(answer)
            .with_state((Arc::clone(&script), Arc::clone(&requests)));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self {
            url,
            script,
            requests,
        }
    }

    /// The requests of `operation` so far.
    pub fn requests(&self, operation: &str) -> Vec<Value> {
        let requests = self.requests.lock().unwrap();
        let of_operation = requests.iter().filter(|(name, _)| name == operation);
        of_operation.map(|(_, request)| request.clone()).collect()
    }

    /// Sets the answers of the next calls of `operation`, in this order.
    pub fn answers(&self, operation: &'static str, answers: impl IntoIterator<Item = Answer>) {
        let mut script = self.script.lock().unwrap();
        script.entry(operation).or_default().extend(answers);
    }

    /// True after all answers for `operation` were given.
    pub fn is_through(&self, operation: &str) -> bool {
        let script = self.script.lock().unwrap();
        script.get(operation).is_none_or(VecDeque::is_empty)
    }

    pub fn queue_url(&self) -> String {
        format!("{}/123456789012/events", self.url)
    }
}

async fn answer(
    State((script, requests)): State<(Script, Requests)>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let target = headers["x-amz-target"].to_str().unwrap().to_owned();
    let operation = target.strip_prefix("AmazonSQS.").unwrap();
    let next = script
        .lock()
        .unwrap()
        .get_mut(operation)
        .and_then(VecDeque::pop_front);
    let request: Value = serde_json::from_str(&body).unwrap();
    let received = (operation.to_owned(), request.clone());
    requests.lock().unwrap().push(received);
    match next {
        Some(Answer::Result(result)) => json_of(&result).into_response(),
        Some(Answer::Refused(code)) => {
            let header = [("x-amzn-query-error", format!("{code};Sender"))];
            let body = json!({
                "__type": format!("com.amazonaws.sqs#{code}"), "message": "by the script",
            });
            (StatusCode::BAD_REQUEST, header, json_of(&body)).into_response()
        }
        Some(Answer::Page(status, page)) => {
            (StatusCode::from_u16(status).unwrap(), page).into_response()
        }
        None if operation == "ReceiveMessage" => {
            tokio::time::sleep(Duration::from_millis(50)).await;
            json_of(&json!({})).into_response()
        }
        None => json_of(&done(&request)).into_response(),
    }
}

fn json_of(value: &Value) -> ([(HeaderName, &'static str); 1], String) {
    (
        [(CONTENT_TYPE, "application/x-amz-json-1.0")],
        value.to_string(),
    )
}

fn done(request: &Value) -> Value {
    let entries = request["Entries"].as_array().cloned().unwrap_or_default();
    let successful: Vec<Value> = entries
        .iter()
        .map(|entry| json!({"Id": entry["Id"]}))
        .collect();
    json!({
        "Successful": successful, "Failed": [],
        "Attributes": {
            "VisibilityTimeout": "30", "ApproximateNumberOfMessages": "7",
            "ApproximateNumberOfMessagesNotVisible": "2",
            "ApproximateNumberOfMessagesDelayed": "0",
        },
    })
}
