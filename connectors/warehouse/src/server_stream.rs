//! The stream to a server: asks for TLS by the `sslmode`, and checks the authentication by
//! `require_auth`.
//!
//! The client gives a stream without TLS to nobody who could check it. So it is told that TLS
//! begins at once (`sslnegotiation=direct`), which hands each new connection to [`MakeStream`], and
//! this asks for TLS as the client would.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{BoxError, NO_TLS};
use crate::require_auth::{AuthCheck, RequireAuth};

/// The message that asks for TLS: its length and a code.
/// <https://www.postgresql.org/docs/current/protocol-message-formats.html>
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

type RustlsStream<S> = <MakeRustlsConnect as MakeTlsConnect<S>>::Stream;

/// Makes the streams of new connections.
#[derive(Clone)]
pub(crate) struct MakeStream {
    pub(crate) tls: MakeRustlsConnect,
    pub(crate) mode: SslMode,
    pub(crate) negotiation: SslNegotiation,
    pub(crate) require_auth: Option<RequireAuth>,
}

/// Makes the stream of one connection.
pub(crate) struct Connect {
    make: MakeStream,
    host: String,
}

/// A stream to a server.
pub(crate) struct ServerStream<S: Stream> {
    inner: Inner<S>,
    /// `None` once the authentication has ended.
    check: Option<AuthCheck>,
}

enum Inner<S: Stream> {
    Plain(S),
    Tls(Box<RustlsStream<S>>),
}

/// The connection below TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

impl<S: Stream> MakeTlsConnect<S> for MakeStream {
    type Stream = ServerStream<S>;
    type TlsConnect = Connect;
    type Error = BoxError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Connect, BoxError> {
        Ok(Connect {
            make: self.clone(),
            host: host.to_owned(),
        })
    }
}

impl<S: Stream> TlsConnect<S> for Connect {
    type Stream = ServerStream<S>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<ServerStream<S>, BoxError>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let Self { make, host } = self;
            let check = make.require_auth.clone().map(AuthCheck::new);
            let inner = make.encrypt(stream, &host).await?;
            Ok(ServerStream { inner, check })
        })
    }
}

impl MakeStream {
    async fn encrypt<S: Stream>(mut self, mut stream: S, host: &str) -> Result<Inner<S>, BoxError> {
        match (self.mode, self.negotiation) {
            (SslMode::Disable, _) => return Ok(Inner::Plain(stream)),
            // The settings allow it with `sslmode=require` or more.
            (_, SslNegotiation::Direct) => {}
            _ => {
                stream.write_all(&SSL_REQUEST).await?;
                stream.flush().await?;
                // One byte: what else a server without TLS sends is not taken for its answer by
                // TLS. https://www.postgresql.org/support/security/CVE-2021-23222/
                match stream.read_u8().await? {
                    b'S' => {}
                    b'N' if self.mode == SslMode::Prefer => return Ok(Inner::Plain(stream)),
                    b'N' => return Err(NO_TLS.into()),
                    // Its message is not shown: anybody could have sent it.
                    // https://www.postgresql.org/support/security/CVE-2024-10977/
                    b'E' => return Err("the server failed before TLS; see its log".into()),
                    _ => return Err("the server does not answer as PostgreSQL does".into()),
                }
            }
        }
        let connect = MakeTlsConnect::<S>::make_tls_connect(&mut self.tls, host)?;
        let encrypted = connect.connect(stream).await?;
        Ok(Inner::Tls(Box::new(encrypted)))
    }
}

impl<S: Stream> AsyncRead for ServerStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        ready!(match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_read(context, out),
            Inner::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, out),
        })?;
        if let Some(check) = &mut self.check {
            let read = out.filled().get(before..).unwrap_or_default();
            if check.read(read).map_err(io::Error::other)?.is_break() {
                self.check = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for ServerStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Inner::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_flush(context),
            Inner::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Inner::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}

impl<S: Stream> TlsStream for ServerStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.inner {
            Inner::Plain(_) => ChannelBinding::none(),
            Inner::Tls(stream) => stream.channel_binding(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::require_auth::AuthRefused;
    use crate::tls::TlsSettings;

    const ASK_FOR_PASSWORD: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 3];

    /// Connects to a server that has no TLS and asks for the password, and reads that.
    async fn asked(mode: SslMode, required: &str) -> Result<[u8; 9], BoxError> {
        let make = MakeStream {
            tls: TlsSettings::default().connector()?,
            mode,
            negotiation: SslNegotiation::Postgres,
            require_auth: RequireAuth::parse(required)?,
        };
        let (client, mut server) = tokio::io::duplex(64);
        let serving = async move {
            if mode != SslMode::Disable {
                let mut request = [0; 8];
                server.read_exact(&mut request).await?;
                assert_eq!(request, SSL_REQUEST);
                server.write_all(b"N").await?;
            }
            server.write_all(&ASK_FOR_PASSWORD).await?;
            Ok::<_, BoxError>(server)
        };
        let host = "db".to_owned();
        let (stream, server) = tokio::join!(Connect { make, host }.connect(client), serving);
        let (mut stream, _server) = (stream?, server?);
        let mut request = [0; 9];
        stream.read_exact(&mut request).await?;
        Ok(request)
    }

    #[tokio::test]
    async fn a_request_that_is_not_allowed_does_not_reach_the_client() {
        for mode in [SslMode::Disable, SslMode::Prefer] {
            let request = asked(mode, "password").await.unwrap();
            assert_eq!(request, ASK_FOR_PASSWORD);
            assert_eq!(asked(mode, "").await.unwrap(), ASK_FOR_PASSWORD);
            let error = asked(mode, "scram-sha-256").await.unwrap_err();
            let error = error.downcast::<io::Error>().unwrap();
            assert!(error.get_ref().unwrap().is::<AuthRefused>(), "{error}");
        }
        let error = asked(SslMode::Require, "").await.unwrap_err();
        assert_eq!(error.to_string(), NO_TLS);
    }
}
