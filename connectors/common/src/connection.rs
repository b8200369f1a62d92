//! TCP connections to the cluster without the pauses of Nagle's algorithm and delayed
//! acknowledgements.
//!
//! An SPU writes an answer in parts and does not set `TCP_NODELAY`, so its kernel holds a part back
//! until this side has acknowledged the one before. Linux may delay an acknowledgement by 40 ms. At
//! 500 events a second that was half of the time from the queue to the tables.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use fluvio_future::net::tcp_stream::{KeepaliveOpts, SocketOpts, stream_with_opts};
use fluvio_future::net::{
    AsConnectionFd, BoxReadConnection, BoxWriteConnection, ConnectionFd, DomainConnector,
    TcpDomainConnector, TcpStream,
};
use futures_util::io::AsyncRead;

/// Opens connections that send at once and acknowledge at once. Otherwise as the client's own.
#[derive(Clone, Debug)]
pub(crate) struct PromptTcp;

#[async_trait]
impl TcpDomainConnector for PromptTcp {
    async fn connect(
        &self,
        address: &str,
    ) -> io::Result<(BoxWriteConnection, BoxReadConnection, ConnectionFd)> {
        let options = SocketOpts {
            nodelay: Some(true),
            keepalive: Some(KeepaliveOpts::default()),
        };
        let stream = stream_with_opts(address, Some(options)).await?;
        let fd = stream.as_connection_fd();
        Ok((Box::new(stream.clone()), Box::new(PromptReader(stream)), fd))
    }

    fn new_domain(&self, _domain: String) -> DomainConnector {
        self.clone_box()
    }

    fn domain(&self) -> &str {
        "localhost"
    }

    fn clone_box(&self) -> DomainConnector {
        Box::new(self.clone())
    }
}

struct PromptReader(TcpStream);

impl AsyncRead for PromptReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.0).poll_read(context, buffer));
        // Nothing is left to read, so the server may be waiting. The kernel forgets the option.
        #[cfg(target_os = "linux")]
        if read.as_ref().is_ok_and(|&read| read < buffer.len()) {
            // Without it answers only take longer.
            let _ = rustix::net::sockopt::set_tcp_quickack(&self.0, true);
        }
        Poll::Ready(read)
    }
}
