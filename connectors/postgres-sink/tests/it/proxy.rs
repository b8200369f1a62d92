//! A proxy between the sink and its server that cuts connections, or lets them go silent, on
//! request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// The moment at which a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server does not receive the commit.
    BeforeCommit,
    /// The server receives the commit, and the connection ends at the same time.
    WithCommit,
    /// The server has committed, and the answer is lost.
    AfterCommit,
    /// In the middle of a batch's data.
    AmidData,
    /// The server does not receive the commit, and the connection stays open without a word, as if
    /// a host had vanished.
    SilentBeforeCommit,
}

/// A proxy. It ends when it is dropped.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
    _accepting: AbortOnDropHandle<()>,
}

struct State {
    server: AtomicU16,
    armed: std::sync::Mutex<Option<Cut>>,
    cuts: AtomicU32,
    is_silent: AtomicBool,
    abandoned: tokio::sync::watch::Sender<()>,
}

impl Proxy {
    /// A proxy in front of the server at `port` of 127.0.0.1.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port_of_proxy = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            server: port.into(),
            armed: std::sync::Mutex::default(),
            cuts: AtomicU32::default(),
            is_silent: AtomicBool::default(),
            abandoned: tokio::sync::watch::Sender::default(),
        });
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move { state.forward(client).await });
            }
        });
        Self {
            port: port_of_proxy,
            state,
            _accepting: AbortOnDropHandle::new(accepting),
        }
    }

    /// Forwards new connections to another port.
    pub fn redirect(&self, port: u16) {
        self.state.server.store(port, Ordering::SeqCst);
    }

    /// Cuts the next connection that reaches this moment, once.
    pub fn arm(&self, cut: Cut) {
        *self.state.armed.lock().unwrap() = Some(cut);
    }

    /// From now on accepts connections, forwards nothing, and closes none.
    pub fn silence(&self) {
        self.state.is_silent.store(true, Ordering::SeqCst);
    }

    /// Ends all connections of clients, and keeps those to the server open.
    pub fn abandon(&self) {
        self.state.abandoned.send_replace(());
    }

    /// The number of connections that were cut.
    pub fn cuts(&self) -> u32 {
        self.state.cuts.load(Ordering::SeqCst)
    }
}

impl State {
    async fn forward(&self, mut client: TcpStream) {
        self.silence().await;
        let port = self.server.load(Ordering::SeqCst);
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else {
            return;
        };
        let (mut request, mut answered) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        let mut abandoned = self.abandoned.subscribe();
        loop {
            tokio::select! {
                Ok(()) = abandoned.changed() => {
                    drop(client);
                    return std::future::pending().await;
                }
                read = client.read(&mut request) => {
                    self.silence().await;
                    let Some(sent) = bytes(read, &request) else {
                        return;
                    };
                    match self.due(sent) {
                        None => if server.write_all(sent).await.is_err() {
                            return;
                        },
                        Some(Cut::BeforeCommit) => return,
                        Some(Cut::SilentBeforeCommit) => std::future::pending().await,
                        Some(Cut::WithCommit) => {
                            let _ = server.write_all(sent).await;
                            return;
                        }
                        Some(Cut::AfterCommit) => {
                            let _ = server.write_all(sent).await;
                            let _ = server.read(&mut answered).await;
                            return;
                        }
                        Some(Cut::AmidData) => {
                            let _ = server.write_all(&sent[..sent.len() / 2]).await;
                            return;
                        }
                    }
                }
                read = server.read(&mut answered) => {
                    self.silence().await;
                    let Some(answer) = bytes(read, &answered) else {
                        return;
                    };
                    if client.write_all(answer).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Never ends if the proxy is silent.
    async fn silence(&self) {
        if self.is_silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    /// The cut that is due at the data `sent`.
    fn due(&self, sent: &[u8]) -> Option<Cut> {
        let mut armed = self.armed.lock().unwrap();
        let cut = (*armed)?;
        let is_there = match cut {
            Cut::AmidData => sent.len() > 2_000,
            _ => sent.ends_with(b"COMMIT\0"),
        };
        if !is_there {
            return None;
        }
        self.cuts.fetch_add(1, Ordering::SeqCst);
        armed.take()
    }
}

/// The bytes that were read; `None` at the end of the connection.
fn bytes(read: std::io::Result<usize>, buffer: &[u8]) -> Option<&[u8]> {
    buffer.get(..read.ok().filter(|read| *read > 0)?)
}
