//! The metric socket: whoever connects is told, as JSON, what the connector has done since it
//! started.
//!
//! Fluvio's connectors listen on the unix socket that `FLUVIO_METRIC_CONNECTOR` names, else on
//! [`DEFAULT_PATH`], and write one document to each connection. The counters that all of them have
//! are [`ClientCounters`], under the names of upstream's `ClientMetrics`; a connector puts its own
//! beside them.

use std::io;
use std::ops::AddAssign;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::task::AbortOnDropHandle;

/// Where a connector listens that is told nothing else.
pub const DEFAULT_PATH: &str = "/tmp/fluvio-connector.sock";
const PATH_VARIABLE: &str = "FLUVIO_METRIC_CONNECTOR";
/// How long one reader may take, and the pause before the socket is tried again.
const PATIENCE: Duration = Duration::from_secs(5);

/// What went through the connection to Fluvio.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ClientCounters {
    /// What a sink has read.
    pub consumer: Volume,
    /// What a source has written.
    pub producer_connector: Volume,
    /// What was written otherwise; nothing, in a connector.
    pub producer_client: Volume,
}

/// Records and their size.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Volume {
    /// Records.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
}

impl AddAssign for Volume {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

/// Serves what `snapshot` returns, until the handle is dropped, on the socket that the environment
/// names.
#[must_use = "dropping the handle closes the socket"]
pub fn serve<T: Serialize + Send>(
    snapshot: impl Fn() -> T + Send + Sync + 'static,
) -> AbortOnDropHandle<()> {
    let path = std::env::var_os(PATH_VARIABLE).map_or_else(|| DEFAULT_PATH.into(), PathBuf::from);
    serve_at(path, snapshot)
}

/// Serves what `snapshot` returns, until the handle is dropped, on the socket at `path`.
///
/// A socket that another connector answers on is left to it, and tried again: two connectors on one
/// machine have to be given paths of their own. Trouble with the socket is no reason to stop the
/// connector, so it ends up in the log.
#[must_use = "dropping the handle closes the socket"]
pub fn serve_at<T: Serialize + Send>(
    path: PathBuf,
    snapshot: impl Fn() -> T + Send + Sync + 'static,
) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut told = false;
        loop {
            let trouble = match Socket::bind(&path) {
                Ok(socket) => {
                    tracing::debug!(path = %path.display(), "metrics are served");
                    socket.answer(&snapshot).await
                }
                Err(error) => error,
            };
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(
                    path = %path.display(),
                    "no metrics for now: {trouble}; {PATH_VARIABLE} names another socket"
                );
            }
            tokio::time::sleep(PATIENCE).await;
        }
    }))
}

/// The bound socket; its file goes away with it.
struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    fn bind(path: &Path) -> io::Result<Self> {
        let taken = |by| Err(io::Error::new(io::ErrorKind::AddrInUse, by));
        match std::fs::symlink_metadata(path) {
            Ok(file) if !file.file_type().is_socket() => {
                return taken("there is a file that is no socket");
            }
            Ok(_) if BlockingStream::connect(path).is_ok() => {
                return taken("another connector answers there");
            }
            // Left behind by one that was killed.
            Ok(_) => std::fs::remove_file(path)?,
            Err(_) => {}
        }
        Ok(Self {
            listener: UnixListener::bind(path)?,
            path: path.to_owned(),
        })
    }

    /// Answers every connection, until the listener fails.
    async fn answer<T: Serialize>(&self, snapshot: impl Fn() -> T) -> io::Error {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => return error,
            };
            let answered = tokio::time::timeout(PATIENCE, write(stream, snapshot())).await;
            if let Ok(Err(error)) = answered {
                tracing::debug!("a reader of the metrics went away: {error}");
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
