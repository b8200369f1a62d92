//! A TCP proxy that makes the faults of a connection where namespaces are not permitted.
//!
//! It holds bytes instead of losing packets, so the kernels at both ends notice nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::plan::Trouble;

type Troubles = watch::Receiver<Option<Trouble>>;

/// A proxy in front of a server.
pub struct Proxy {
    pub address: SocketAddr,
    trouble: watch::Sender<Option<Trouble>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port.
    ///
    /// # Errors
    /// There is none.
    pub async fn start(server: String) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (trouble, troubles) = watch::channel(None);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, server.clone(), troubles.clone()));
            }
        });
        Ok(Self {
            address,
            trouble,
            task,
        })
    }

    /// Begins a fault, or ends it.
    pub fn set(&self, trouble: Option<Trouble>) {
        self.trouble.send_replace(trouble);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forwards a connection until a side closes it or a fault resets it.
async fn forward(mut client: TcpStream, server: String, mut troubles: Troubles) {
    // Closing sends a reset.
    drop(client.set_zero_linger());
    let Ok(mut server) = TcpStream::connect(server).await else {
        return;
    };
    let carried = Arc::new(AtomicU64::new(0));
    let cut = {
        let carried = Arc::clone(&carried);
        let mut troubles = troubles.clone();
        async move {
            let ends = |trouble: &Option<Trouble>| match trouble {
                Some(Trouble::Refused) => true,
                Some(Trouble::Cut(bytes)) => carried.load(Ordering::Relaxed) > *bytes,
                _ => false,
            };
            drop(troubles.wait_for(ends).await);
        }
    };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let mut other = troubles.clone();
    tokio::select! {
        () = pump(&mut from_client, &mut to_server, true, &mut troubles, &carried) => {}
        () = pump(&mut from_server, &mut to_client, false, &mut other, &carried) => {}
        () = cut => {}
    }
}

/// Copies one direction until its end.
async fn pump(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    is_of_connector: bool,
    troubles: &mut Troubles,
    carried: &AtomicU64,
) {
    let mut buffer = vec![0_u8; 16 << 10];
    while let Ok(count) = from.read(&mut buffer).await {
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return;
        };
        let passes = |trouble: &Option<Trouble>| match trouble {
            Some(Trouble::BlackHole) => false,
            Some(Trouble::LossFromConnector) => !is_of_connector,
            Some(Trouble::LossToConnector) => is_of_connector,
            _ => true,
        };
        let trouble = match troubles.wait_for(passes).await {
            Ok(trouble) => *trouble,
            Err(_) => return,
        };
        let carried = carried.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
        match trouble {
            Some(Trouble::Slow(rate)) => {
                tokio::time::sleep(Duration::from_secs_f64(count as f64 / rate as f64)).await;
            }
            Some(Trouble::Cut(bytes)) if carried > bytes => return,
            _ => {}
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
