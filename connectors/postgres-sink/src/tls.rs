//! TLS to the server, with the modes and files of libpq (`sslmode`, `sslrootcert`, `sslcert`, `sslkey`).
//!
//! The files are read for each new connection: certificates are renewed while the sink runs.

mod verifier;

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsConnector, client};

use self::verifier::{Anything, Known};

/// `sslmode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TlsMode {
    /// Never TLS.
    Disable,
    /// TLS if the server insists.
    Allow,
    /// TLS if the server has it, whoever it is.
    #[default]
    Prefer,
    /// TLS, whoever the server is. With `sslrootcert` the same as `verify-ca`, as in libpq.
    Require,
    /// The server's certificate is signed by a known authority.
    VerifyCa,
    /// And made out for the host that was asked for.
    VerifyFull,
}

/// Whose signatures count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Roots {
    /// Those of the operating system.
    System,
    /// Those in a PEM file.
    File(PathBuf),
}

/// The settings in a connection string.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsSettings {
    pub(crate) mode: TlsMode,
    pub(crate) roots: Option<Roots>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

/// The server, or what it shows, is not what the settings ask for. To try again does not help.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TlsRefused(String);

impl TlsMode {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return Err("holds an unknown `sslmode`; there are disable, allow, prefer, require, verify-ca and verify-full".to_owned()),
        })
    }

    /// What the client has to do: the modes that verify are `require` to it.
    pub(crate) fn for_client(self) -> SslMode {
        match self {
            Self::Disable | Self::Allow => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => SslMode::Require,
        }
    }
}

impl TlsSettings {
    /// Reads the files.
    ///
    /// # Errors
    /// Which file can't be used, and why.
    pub(crate) fn connector(&self) -> Result<Tls, String> {
        let provider = Arc::new(default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(provider)?);
        let config = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => builder
                .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
                .map_err(|error| {
                    format!(
                        "the certificate in {} and the key in {} can't be used: {error}",
                        certificate.display(),
                        key.display()
                    )
                })?,
            _ => builder.with_no_client_auth(),
        };
        Ok(Tls(TlsConnector::from(Arc::new(config))))
    }

    fn verifier(
        &self,
        provider: Arc<tokio_rustls::rustls::crypto::CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, String> {
        let checks_name = self.mode == TlsMode::VerifyFull;
        let has_file = matches!(self.roots, Some(Roots::File(_)));
        let checks = checks_name
            || self.mode == TlsMode::VerifyCa
            || self.mode == TlsMode::Require && has_file;
        if !checks {
            return Ok(Arc::new(Anything(provider)));
        }
        let certificates = match self.roots.clone().unwrap_or_else(usual_roots) {
            Roots::File(path) => certificates(&path)?,
            // One of them that nobody can read is no reason to trust none.
            Roots::System => rustls_native_certs::load_native_certs().certs,
        };
        Ok(Arc::new(Known::new(certificates, checks_name, &provider)?))
    }
}

/// libpq's own place for them; where there is nothing, what the operating system trusts.
fn usual_roots() -> Roots {
    std::env::home_dir()
        .map(|home| home.join(".postgresql/root.crt"))
        .filter(|path| path.is_file())
        .map_or(Roots::System, Roots::File)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    match read() {
        Ok(certificates) if certificates.is_empty() => Err(format!(
            "{} holds no certificate in PEM form",
            path.display()
        )),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!(
            "cannot read certificates from {}: {error}",
            path.display()
        )),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        format!(
            "cannot read a private key from {}: {error}; it must be in PEM form without a passphrase",
            path.display()
        )
    })
}

fn root_store(certificates: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.iter().cloned());
    roots
}

/// Makes connections encrypted.
#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

/// The handshake with one host.
pub(crate) struct Handshake {
    connector: TlsConnector,
    host: ServerName<'static>,
}

/// An encrypted stream.
pub(crate) struct Encrypted<S>(client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Tls {
    type Stream = Encrypted<S>;
    type TlsConnect = Handshake;
    type Error = TlsRefused;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, TlsRefused> {
        let host = ServerName::try_from(host.to_owned()).map_err(|_| {
            TlsRefused(format!(
                "`{host}` is neither a host name nor an address, as TLS needs it"
            ))
        })?;
        Ok(Handshake {
            connector: self.0.clone(),
            host,
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Handshake {
    type Stream = Encrypted<S>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Encrypted<S>, Self::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let connected = self.connector.connect(self.host, stream).await;
            connected.map(Encrypted).map_err(explain)
        })
    }
}

/// Tells a server that is not trusted from a connection that broke.
fn explain(error: io::Error) -> Box<dyn std::error::Error + Send + Sync> {
    match error.kind() {
        io::ErrorKind::InvalidData => Box::new(TlsRefused(format!(
            "{error}; the server's certificate must be signed by an authority in `sslrootcert`, and for \
             sslmode=verify-full name the host as a subject alternative name"
        ))),
        _ => Box::new(error),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> tokio_postgres::tls::TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
