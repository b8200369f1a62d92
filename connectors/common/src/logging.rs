//! Logging to stderr.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use tracing::callsite::Identifier;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

use crate::backoff::Warnings;
use crate::escape::Escaping;

/// Starts logging at the level of `RUST_LOG`, else `FLUVIO_CONNECTOR_LOG_LEVEL`, else `info`; a
/// JSON object a line with `LOG_FORMAT=json`.
pub(crate) fn start() {
    // cdk puts a bare level into RUST_LOG.
    let filter = std::env::var("RUST_LOG")
        .or_else(|_| std::env::var("FLUVIO_CONNECTOR_LOG_LEVEL"))
        .map_or_else(|_| without_noise("info"), |level| without_noise(&level));
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse_lossy(filter);
    // Colours would be escaped.
    let lines = fmt::layer().with_ansi(false);
    let lines: Box<dyn Layer<_> + Send + Sync> = match std::env::var("LOG_FORMAT").as_deref() {
        Ok("json") => Box::new(
            lines
                .json()
                .flatten_event(true)
                .with_writer(|| Escaping::json(io::stderr().lock())),
        ),
        _ => Box::new(lines.with_writer(|| Escaping::text(io::stderr().lock()))),
    };
    Registry::default()
        .with(lines)
        .with(filter)
        .with(ClientLimit::default())
        .init();
}

/// At `info` the Fluvio client logs every stream and socket; that is for its own developers.
fn without_noise(level: &str) -> String {
    match level {
        "info" => "info,fluvio=warn,fluvio_socket=warn,fluvio_future=warn".to_owned(),
        other => other.to_owned(),
    }
}

/// Limits the warnings and errors of the Fluvio client to one in 30 seconds each. It logs each of
/// its attempts and of its streams, and returns the errors that matter, which connectors report.
#[derive(Default)]
struct ClientLimit(Mutex<HashMap<Identifier, Warnings>>);

impl<S: Subscriber> Layer<S> for ClientLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN || !metadata.target().starts_with("fluvio") {
            return true;
        }
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(metadata.callsite()).or_default();
        line.due().is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Clone, Default)]
    struct Counter(Arc<AtomicU32>);

    impl<S: Subscriber> Layer<S> for Counter {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn equal_errors_of_the_client_are_one_line_and_others_are_not_limited() {
        let counter = Counter::default();
        let subscriber = Registry::default()
            .with(counter.clone())
            .with(ClientLimit::default());
        let logged = |log: fn()| {
            (0..10).for_each(|_| log());
            counter.0.swap(0, Ordering::Relaxed)
        };
        tracing::subscriber::with_default(subscriber, || {
            let closed = || tracing::error!(target: "fluvio_socket::stream", "closed");
            assert_eq!(logged(closed), 1);
            assert_eq!(logged(closed), 0);
            let refused = || tracing::warn!(target: "fluvio::producer", "refused");
            assert_eq!(logged(refused), 1);
            let details = || tracing::debug!(target: "fluvio::producer", "sent");
            assert_eq!(logged(details), 10);
            let own = || tracing::error!(target: "connector_common", "failed");
            assert_eq!(logged(own), 10);
        });
    }
}
