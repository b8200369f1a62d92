//! Traces: with `otlp-endpoint`, a span for each record whose sender sampled its trace, exported by
//! OTLP over HTTP (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).
//!
//! The trace context is in the record's key ([`crate::keys`]). A span belongs to the sender's
//! trace. It begins when the message was sent and ends when the connector has done its part:
//! `publish` with the topic's acknowledgement, `commit` with the commit of the facts. Senders
//! sample, so that the number of spans is theirs to choose; beyond 2,048 that wait to be exported,
//! spans are dropped.

use std::fmt;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use axum::http::Uri;
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use crate::error::Error;
use crate::keys::Key;

/// Timeout of an export.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of the last export, at the stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The part of a record's way that a span covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// From the queue into the topic.
    Publish,
    /// From the queue into the tables.
    Commit,
}

/// A record that has passed this connector.
#[derive(Clone, Copy, Debug)]
pub struct Passed<'a> {
    /// Its key.
    pub key: &'a Key<'a>,
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: i64,
}

/// Exports spans; does nothing without an endpoint. Clones export together.
#[derive(Clone, Default)]
pub struct Traces(Option<(SdkTracerProvider, SdkTracer)>);

impl Traces {
    /// Exports to the collector at `endpoint`, in the name of `service`.
    ///
    /// # Errors
    /// The HTTP client can't be built.
    pub fn start(endpoint: Option<&str>, service: &str) -> anyhow::Result<Self> {
        let Some(endpoint) = endpoint else {
            return Ok(Self::default());
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .with_context(|| format!("cannot export traces to `otlp-endpoint` {endpoint}"))?;
        let resource = Resource::builder().with_service_name(service.to_owned());
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        let tracer = provider.tracer("ecommerce-etl");
        Ok(Self(Some((provider, tracer))))
    }

    /// True if spans are exported.
    #[must_use]
    pub fn are_exported(&self) -> bool {
        self.0.is_some()
    }

    /// Exports the span of a record, if its sender sampled the trace.
    pub fn record(&self, part: Part, passed: &Passed<'_>) {
        let Some((_, tracer)) = &self.0 else { return };
        let Some(parent) = passed.key.trace.and_then(sampled) else {
            return;
        };
        let sent = passed.key.sent.millis.map(Duration::from_millis);
        let sent = sent.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
        let ended = SystemTime::now();
        let (operation, kind) = match part {
            Part::Publish => ("publish", SpanKind::Producer),
            Part::Commit => ("commit", SpanKind::Consumer),
        };
        // https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
        let attributes = [
            KeyValue::new("messaging.system", "fluvio"),
            KeyValue::new("messaging.operation.name", operation),
            KeyValue::new("messaging.destination.name", passed.topic.to_owned()),
            KeyValue::new(
                "messaging.destination.partition.id",
                passed.partition.to_string(),
            ),
            KeyValue::new("messaging.message.id", passed.key.id.to_owned()),
            KeyValue::new("fluvio.offset", passed.offset),
        ];
        let mut span = tracer
            .span_builder(format!("{operation} {}", passed.topic))
            .with_kind(kind)
            .with_start_time(sent.unwrap_or(ended).min(ended))
            .with_attributes(attributes)
            .start_with_context(tracer, &Context::new().with_remote_span_context(parent));
        span.end_with_timestamp(ended);
    }

    /// Exports what waits, and ends.
    pub async fn stop(self) {
        if let Some((provider, _)) = self.0 {
            let stopping = move || provider.shutdown_with_timeout(STOP_TIMEOUT);
            if let Ok(Err(error)) = tokio::task::spawn_blocking(stopping).await {
                tracing::warn!("the last traces are not exported: {error}");
            }
        }
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Traces({})", self.are_exported())
    }
}

/// Checks the key `otlp-endpoint`.
///
/// # Errors
/// It is not an http URL.
pub fn validate(endpoint: Option<&str>) -> Result<(), Error> {
    let Some(endpoint) = endpoint else {
        return Ok(());
    };
    let url = endpoint.parse::<Uri>().ok();
    if url.is_some_and(|url| url.scheme_str() == Some("http") && url.host().is_some()) {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "`otlp-endpoint` is the http URL of a collector in the same network, such as \
         http://127.0.0.1:4318, not `{endpoint}`"
    )))
}

/// The sender's span in a trace context; `None` if it is not sampled, or not valid.
fn sampled(context: &str) -> Option<SpanContext> {
    let (trace, span, is_sampled) = match context.split_once("Root=") {
        Some(_) => of_xray(context)?,
        None => of_w3c(context)?,
    };
    let flags = TraceFlags::SAMPLED;
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    (is_sampled && context.is_valid()).then_some(context)
}

/// <https://www.w3.org/TR/trace-context/#traceparent-header>
fn of_w3c(context: &str) -> Option<(TraceId, SpanId, bool)> {
    let mut fields = context.split('-');
    let [_version, trace, span, flags] = [(); 4].map(|()| fields.next().unwrap_or_default());
    let flags = u8::from_str_radix(flags, 16).ok()?;
    let trace = TraceId::from_hex(trace).ok()?;
    Some((trace, SpanId::from_hex(span).ok()?, flags & 1 == 1))
}

/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>
fn of_xray(context: &str) -> Option<(TraceId, SpanId, bool)> {
    let field = |name: &str| {
        let mut fields = context.split(';');
        fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
    };
    let (time, random) = field("Root")?.strip_prefix("1-")?.split_once('-')?;
    let trace = TraceId::from_hex(&format!("{time}{random}")).ok()?;
    let span = SpanId::from_hex(field("Parent")?).ok()?;
    Some((trace, span, field("Sampled") == Some("1")))
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use axum::{Router, routing};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;
    use crate::keys::Sent;

    const W3C: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn sampled_contexts_of_both_kinds_are_read_and_others_are_not() {
        let found = sampled(W3C).unwrap();
        assert_eq!(
            found.trace_id().to_string(),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        assert_eq!(found.span_id().to_string(), "00f067aa0ba902b7");
        let xray = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let found = sampled(xray).unwrap();
        assert_eq!(
            found.trace_id().to_string(),
            "5759e988bd862e3fe1be46a994272793"
        );
        for other in [
            &W3C.replace("-01", "-00"),
            &W3C.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0"),
            &xray.replace("Sampled=1", "Sampled=0"),
            "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1",
            "Root=",
            "",
            "--é-",
        ] {
            assert!(sampled(other).is_none(), "{other}");
        }
    }

    #[test]
    fn the_endpoint_is_an_http_url() {
        assert!(validate(None).is_ok());
        assert!(validate(Some("http://collector:4318")).is_ok());
        for wrong in ["https://collector", "collector:4318", "http://", "é"] {
            let error = validate(Some(wrong)).unwrap_err().to_string();
            assert!(error.contains("otlp-endpoint"), "{error}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_receives_the_span_in_the_senders_trace() {
        let (sender, mut received) = mpsc::unbounded_channel();
        let take = move |body: Bytes| async move {
            sender.send(body).unwrap();
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/v1/traces", routing::post(take));
        tokio::spawn(async move { axum::serve(listener, routes).await });

        let traces = Traces::start(Some(&endpoint), "sqs-source").unwrap();
        let mut key = Key {
            group: None,
            id: "message-1",
            sent: Sent {
                millis: Some(1_795_382_400_123),
                sequence: None,
            },
            trace: Some(W3C),
        };
        let record = |key: &Key<'_>| {
            let passed = Passed {
                key,
                topic: "shop-events",
                partition: 3,
                offset: 42,
            };
            traces.record(Part::Publish, &passed);
        };
        record(&key);
        (key.id, key.trace) = ("message-2", None);
        record(&key);
        traces.stop().await;
        let body = received.recv().await.unwrap();
        let has = |bytes: &[u8]| body.windows(bytes.len()).any(|window| window == bytes);
        let trace = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128;
        assert!(has(&trace.to_be_bytes()), "the sender's trace");
        assert!(has(&0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()), "its span");
        assert!(has(b"publish shop-events") && has(b"sqs-source") && has(b"message-1"));
        assert!(!has(b"message-2"), "it has no trace");
    }
}
