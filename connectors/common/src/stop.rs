//! The stop signal, as something to wait for.
//!
//! A connector that is told to stop has work in hand: messages produced and not yet deleted, a
//! batch in a transaction. It learns of the signal through [`Stop`] and ends when that is settled.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Tells that the connector was asked to stop. Cheap to clone; all clones see the same signal.
#[derive(Clone, Debug)]
pub struct Stop(CancellationToken);

impl Stop {
    /// Listens for SIGTERM and SIGINT.
    ///
    /// # Errors
    /// When the signal handlers can't be installed. Needs a tokio runtime.
    pub fn on_signals() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let token = CancellationToken::new();
        let stop = Self(token.clone());
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!("{name}: finishing what is in hand, then stopping");
            token.cancel();
        });
        Ok(stop)
    }

    /// A stop that `request` (the second value) triggers, for whoever runs a connector in process.
    pub fn manual() -> (Self, impl Fn() + Send + Sync + 'static) {
        let token = CancellationToken::new();
        let stop = Self(token.clone());
        (stop, move || token.cancel())
    }

    /// Resolves when the stop is requested; at once if it was before.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// Whether the stop was requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }
}
