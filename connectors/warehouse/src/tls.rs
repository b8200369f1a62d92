//! TLS with the modes and files of libpq (`sslmode`, `sslrootcert`, `sslcert`, `sslkey`).
//! <https://www.postgresql.org/docs/current/libpq-ssl.html>
//!
//! The files are read for each new connection, since certificates are renewed while the sink runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
};

use crate::error::{BoxError, Error};

/// `sslmode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TlsMode {
    /// No TLS.
    Disable,
    /// TLS if the server refuses connections without it.
    Allow,
    /// TLS if the server supports it; its certificate is not verified.
    #[default]
    Prefer,
    /// TLS; the certificate is not verified. With `sslrootcert` the same as `verify-ca`, as in
    /// libpq.
    Require,
    /// TLS; a known authority must have signed the certificate.
    VerifyCa,
    /// As `verify-ca`, and the certificate must name the host.
    VerifyFull,
}

/// Trusted certificate authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Roots {
    /// The authorities of the operating system.
    System,
    /// The authorities in a PEM file.
    File(PathBuf),
}

/// The settings of TLS in a connection string.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsSettings {
    pub(crate) mode: TlsMode,
    pub(crate) roots: Option<Roots>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

impl TlsMode {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// The mode of the client. It doesn't verify certificates by itself.
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
    pub(crate) fn connector(&self) -> Result<MakeRustlsConnect, Error> {
        let provider = Arc::new(default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| refused("cannot set TLS up", error))?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(provider)?);
        let mut config = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => builder
                .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
                .map_err(|error| {
                    let (certificate, key) = (certificate.display(), key.display());
                    let files = format!("the certificate in {certificate} and the key in {key}");
                    refused(format!("cannot use {files}"), error)
                })?,
            _ => builder.with_no_client_auth(),
        };
        // As libpq does. A server takes TLS without an SSLRequest only with it.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(MakeRustlsConnect::new(config))
    }

    fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, Error> {
        let checks_name = self.mode == TlsMode::VerifyFull;
        let has_file = matches!(self.roots, Some(Roots::File(_)));
        let checks = checks_name
            || self.mode == TlsMode::VerifyCa
            || self.mode == TlsMode::Require && has_file;
        if !checks {
            return Ok(Arc::new(NoVerification(provider)));
        }
        let certificates = match self.roots.clone().unwrap_or_else(default_roots) {
            Roots::File(path) => certificates(&path)?,
            // An unreadable certificate of the operating system doesn't make the others untrusted.
            Roots::System => rustls_native_certs::load_native_certs().certs,
        };
        Ok(Arc::new(KnownAuthorities::new(
            certificates,
            checks_name,
            provider,
        )?))
    }
}

fn refused(context: impl Into<String>, source: impl Into<BoxError>) -> Error {
    Error::Tls {
        context: context.into(),
        source: source.into(),
    }
}

/// The default file of libpq if it exists, else the authorities of the operating system.
fn default_roots() -> Roots {
    std::env::home_dir()
        .map(|home| home.join(".postgresql/root.crt"))
        .filter(|path| path.is_file())
        .map_or(Roots::System, Roots::File)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let unreadable = |source: BoxError| Error::File {
        content: "certificates in PEM form".to_owned(),
        path: path.to_owned(),
        source,
    };
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    match read() {
        Ok(certificates) if certificates.is_empty() => Err(unreadable("it holds none".into())),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unreadable(error.into())),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| Error::File {
        content: "a private key in PEM form without a passphrase".to_owned(),
        path: path.to_owned(),
        source: error.into(),
    })
}

/// Accepts every certificate, for the modes below `verify-ca`: they protect from eavesdropping and
/// not from a man in the middle.
#[derive(Debug)]
struct NoVerification(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Accepts certificates that a known authority has signed, and the known certificates themselves,
/// for servers with a self-signed one.
#[derive(Debug)]
struct KnownAuthorities {
    certificates: Vec<CertificateDer<'static>>,
    signatures: Arc<WebPkiServerVerifier>,
    checks_name: bool,
}

impl KnownAuthorities {
    fn new(
        certificates: Vec<CertificateDer<'static>>,
        checks_name: bool,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        let context = "no certificate authority is known; name a file of them with `sslrootcert`";
        let signatures = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| refused(context, error))?;
        Ok(Self {
            certificates,
            signatures,
            checks_name,
        })
    }
}

impl ServerCertVerifier for KnownAuthorities {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if self.certificates.iter().any(|known| known == certificate) {
            if self.checks_name {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, host)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        let verified =
            self.signatures
                .verify_server_cert(certificate, intermediates, host, ocsp, now);
        match verified {
            // The verifier checks the name last, after the signatures.
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.signatures
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.signatures
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.supported_verify_schemes()
    }
}
