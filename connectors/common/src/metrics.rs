//! Metrics: those that Prometheus scrapes, and Fluvio's metric socket.
//!
//! Fluvio's connectors listen on the unix socket that `FLUVIO_METRIC_CONNECTOR` names, else on
//! [`DEFAULT_PATH`], and write one JSON document to each connection. [`ClientCounters`] are the
//! counters that all of them have; a connector adds its own.

use std::io;
use std::ops::AddAssign;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::task::AbortOnDropHandle;

/// The metric socket if the environment names no other.
pub const DEFAULT_PATH: &str = "/tmp/fluvio-connector.sock";
const PATH_VARIABLE: &str = "FLUVIO_METRIC_CONNECTOR";
/// The timeout of one reader, and the pause before the socket is tried again.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(5);

/// Creates metrics and registers them. All have one namespace and one label in common.
#[derive(Debug)]
pub struct Meters {
    registry: Registry,
    namespace: &'static str,
    label: &'static str,
}

impl Meters {
    /// A registry with the metrics of the process. The connector's own begin with `namespace` and
    /// have the label `label`.
    ///
    /// # Errors
    /// None: the registry is empty.
    pub fn new(namespace: &'static str, label: &'static str) -> prometheus::Result<Self> {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(Self {
            registry,
            namespace,
            label,
        })
    }

    /// The registry that Prometheus scrapes.
    #[must_use]
    pub fn registry(self) -> Registry {
        self.registry
    }

    /// A counter with further labels.
    ///
    /// # Errors
    /// The name is invalid or in use.
    pub fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        let counter = IntCounterVec::new(self.options(name, help), &self.with_label(labels))?;
        self.register(counter)
    }

    /// A gauge with further labels.
    ///
    /// # Errors
    /// As [`Meters::counter`].
    pub fn gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntGaugeVec> {
        let gauge = IntGaugeVec::new(self.options(name, help), &self.with_label(labels))?;
        self.register(gauge)
    }

    /// A gauge of the whole connector, without the common label.
    ///
    /// # Errors
    /// As [`Meters::counter`].
    pub fn plain_gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.register(IntGauge::with_opts(self.options(name, help))?)
    }

    /// A histogram.
    ///
    /// # Errors
    /// As [`Meters::counter`].
    pub fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: Vec<f64>,
    ) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::from(self.options(name, help)).buckets(buckets);
        self.register(HistogramVec::new(options, &self.with_label(&[]))?)
    }

    fn options(&self, name: &str, help: &str) -> Opts {
        Opts::new(name, help).namespace(self.namespace)
    }

    fn with_label<'l>(&'l self, labels: &[&'l str]) -> Vec<&'l str> {
        let mut all = vec![self.label];
        all.extend(labels);
        all
    }

    fn register<M: Collector + Clone + 'static>(&self, metric: M) -> prometheus::Result<M> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

/// The sum of a counter over all values of its labels.
#[must_use]
pub fn sum(counter: &IntCounterVec) -> u64 {
    let families = counter.collect();
    let metrics = families.iter().flat_map(|family| family.get_metric());
    metrics
        .map(|metric| metric.get_counter().get_value() as u64)
        .sum()
}

/// Records that went through the connection to Fluvio, named as in upstream's `ClientMetrics`.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ClientCounters {
    /// Read by a sink.
    pub consumer: Volume,
    /// Written by a source.
    pub producer_connector: Volume,
    /// Written by other clients: none in a connector.
    pub producer_client: Volume,
}

/// A number of records and their size.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Volume {
    /// The number of records.
    pub records: u64,
    /// The bytes of their values.
    pub bytes: u64,
}

impl AddAssign for Volume {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

/// Serves what `snapshot` returns on the socket that the environment names, until the handle is
/// dropped.
#[must_use = "dropping the handle closes the socket"]
pub fn serve<T: Serialize + Send>(
    snapshot: impl Fn() -> T + Send + Sync + 'static,
) -> AbortOnDropHandle<()> {
    let path = std::env::var_os(PATH_VARIABLE).map_or_else(|| DEFAULT_PATH.into(), PathBuf::from);
    serve_at(path, snapshot)
}

/// Serves what `snapshot` returns on the socket at `path`, until the handle is dropped.
///
/// A socket on which another connector answers is left alone and tried again: each connector of a
/// machine needs its own path. The connector goes on without the socket, so an error is only
/// logged.
#[must_use = "dropping the handle closes the socket"]
pub fn serve_at<T: Serialize + Send>(
    path: PathBuf,
    snapshot: impl Fn() -> T + Send + Sync + 'static,
) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut is_reported = false;
        loop {
            let error = match Socket::bind(&path) {
                Ok(socket) => {
                    tracing::debug!(path = %path.display(), "metric socket is open");
                    socket.answer(&snapshot).await
                }
                Err(error) => error,
            };
            if !std::mem::replace(&mut is_reported, true) {
                tracing::warn!(
                    path = %path.display(),
                    "the metric socket is not served: {error}; set {PATH_VARIABLE} to use another"
                );
            }
            tokio::time::sleep(SOCKET_TIMEOUT).await;
        }
    }))
}

/// The bound socket. Dropping it removes its file.
struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    fn bind(path: &Path) -> io::Result<Self> {
        let taken = |by| Err(io::Error::new(io::ErrorKind::AddrInUse, by));
        match std::fs::symlink_metadata(path) {
            Ok(file) if !file.file_type().is_socket() => {
                return taken("the file is not a socket");
            }
            Ok(_) if BlockingStream::connect(path).is_ok() => {
                return taken("another connector uses it");
            }
            // A killed connector has left it behind.
            Ok(_) => std::fs::remove_file(path)?,
            Err(_) => {}
        }
        Ok(Self {
            listener: UnixListener::bind(path)?,
            path: path.to_owned(),
        })
    }

    /// Answers every connection until the listener fails.
    async fn answer<T: Serialize>(&self, snapshot: impl Fn() -> T) -> io::Error {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => return error,
            };
            let answered = tokio::time::timeout(SOCKET_TIMEOUT, write(stream, snapshot())).await;
            if let Ok(Err(error)) = answered {
                tracing::debug!("cannot write metrics to a reader: {error}");
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn write(mut stream: UnixStream, snapshot: impl Serialize) -> io::Result<()> {
    let document = serde_json::to_vec_pretty(&snapshot)?;
    stream.write_all(&document).await?;
    stream.shutdown().await
}
