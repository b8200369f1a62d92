//! A network between the sink and its server that fails when a test wants it to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server never hears of the commit.
    BeforeCommit,
    /// The server hears of it, and the connection is gone at the same time.
    WithCommit,
    /// The server has committed, and nobody learns of it.
    AfterCommit,
    /// In the middle of what the sink sends for a batch.
    AmidData,
}

/// A proxy; it ends with its owner.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
    _accepting: AbortOnDropHandle<()>,
}

struct State {
    server: AtomicU16,
    armed: std::sync::Mutex<Option<Cut>>,
    cuts: AtomicU32,
}

impl Proxy {
    /// In front of the server at `port` of 127.0.0.1.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port_of_proxy = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            server: port.into(),
            armed: std::sync::Mutex::default(),
            cuts: AtomicU32::default(),
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

    /// New connections go to another port.
    pub fn redirect(&self, port: u16) {
        self.state.server.store(port, Ordering::SeqCst);
    }

    /// The next connection that gets so far is cut there, once.
    pub fn arm(&self, cut: Cut) {
        *self.state.armed.lock().unwrap() = Some(cut);
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> u32 {
        self.state.cuts.load(Ordering::SeqCst)
    }
}

impl State {
    async fn forward(&self, mut client: TcpStream) {
        let port = self.server.load(Ordering::SeqCst);
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else {
            return;
        };
        let (mut said, mut answered) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        loop {
            tokio::select! {
                read = client.read(&mut said) => {
                    let Some(sent) = read.ok().filter(|read| *read > 0).and_then(|read| said.get(..read)) else {
                        return;
                    };
                    match self.due(sent) {
                        None => if server.write_all(sent).await.is_err() {
                            return;
                        },
                        Some(Cut::BeforeCommit) => return,
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
                    let Some(answer) = read.ok().filter(|read| *read > 0).and_then(|read| answered.get(..read)) else {
                        return;
                    };
                    if client.write_all(answer).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Whether to cut at what the client sends.
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
