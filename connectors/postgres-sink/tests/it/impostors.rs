//! Servers that are not the database. No connection waits for one without end, and none gives one
//! the password.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::task::AbortOnDropHandle;
use warehouse::{Database, Remedy, Settings};

use crate::connections::{authority, certificate};
use crate::support::settings;

const PASSWORD: &str = "hunter2";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The timeout, and the time that a busy machine takes besides.
const LIMIT: Duration = Duration::from_secs(10);
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// Asks for the password in clear text (`AuthenticationCleartextPassword`).
const ASK_FOR_PASSWORD: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 3];

/// The impostor's answer to the request for TLS, and what it does then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Yes, and then it speaks something else.
    Garbage,
    /// Yes, and then nothing.
    Silence,
    /// Yes, and then TLS with its own certificate. Inside, it asks for the password.
    Tls,
    /// No. Without TLS, it asks for the password.
    NoTls,
    /// An error, as of a server that can't start a process.
    Error,
    /// Neither yes nor no.
    Http,
    /// Yes, with a request for the password behind it that nobody encrypted.
    Injection,
}

/// A server. It ends when it is dropped.
struct Impostor {
    port: u16,
    /// All bytes that it could read.
    heard: Arc<Mutex<Vec<u8>>>,
    _accepting: AbortOnDropHandle<()>,
}

impl Impostor {
    async fn start(answer: Answer, folder: &Path) -> Self {
        let acceptor = acceptor(folder);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::default());
        let hears = Arc::clone(&heard);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, answer, acceptor.clone(), Arc::clone(&hears)));
            }
        });
        Self {
            port,
            heard,
            _accepting: AbortOnDropHandle::new(accepting),
        }
    }

    fn knows_password(&self) -> bool {
        let heard = self.heard.lock().unwrap();
        let mut parts = heard.windows(PASSWORD.len());
        parts.any(|part| part == PASSWORD.as_bytes())
    }
}

fn acceptor(folder: &Path) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(folder.join("impostor.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("impostor.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(
    mut client: TcpStream,
    answer: Answer,
    acceptor: TlsAcceptor,
    heard: Arc<Mutex<Vec<u8>>>,
) {
    let mut first = [0; 8];
    if client.read_exact(&mut first).await.is_err() {
        return;
    }
    assert_eq!(first, SSL_REQUEST, "TLS is asked for first");
    match answer {
        Answer::Garbage => {
            let _ = client.write_all(b"SHTTP/1.1 400 Bad Request\r\n\r\n").await;
            hear(&mut client, &heard).await;
        }
        Answer::Silence => {
            let _ = client.write_all(b"S").await;
            hear(&mut client, &heard).await;
            std::future::pending().await
        }
        Answer::Tls => {
            let _ = client.write_all(b"S").await;
            if let Ok(encrypted) = acceptor.accept(client).await {
                ask_for_password(encrypted, &heard).await;
            }
        }
        Answer::NoTls => {
            let _ = client.write_all(b"N").await;
            ask_for_password(client, &heard).await;
        }
        Answer::Error => {
            let _ = client.write_all(b"E\0\0\0\x09oops\0").await;
            hear(&mut client, &heard).await;
        }
        Answer::Http => {
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            hear(&mut client, &heard).await;
        }
        Answer::Injection => {
            let _ = client
                .write_all(&[b"S", &ASK_FOR_PASSWORD[..]].concat())
                .await;
            hear(&mut client, &heard).await;
        }
    }
}

/// Reads the beginning of a session, asks for the password, and reads what comes then.
async fn ask_for_password(mut client: impl AsyncRead + AsyncWrite + Unpin, heard: &Mutex<Vec<u8>>) {
    let Ok(length) = client.read_u32().await else {
        return;
    };
    let mut rest = vec![0; length as usize - 4];
    if client.read_exact(&mut rest).await.is_err() {
        return;
    }
    let _ = client.write_all(&ASK_FOR_PASSWORD).await;
    let _ = client.flush().await;
    hear(&mut client, heard).await;
}

/// Reads until the client closes, for a second at most. Does not close.
async fn hear(client: &mut (impl AsyncRead + Unpin), heard: &Mutex<Vec<u8>>) {
    let reading = async {
        let mut bytes = [0; 1024];
        while let Ok(read @ 1..) = client.read(&mut bytes).await {
            heard.lock().unwrap().extend_from_slice(&bytes[..read]);
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), reading).await;
}

#[tokio::test]
async fn an_impostor_gets_no_password_and_delays_nothing_for_long() {
    let folder = tempfile::tempdir().unwrap();
    authority(folder.path(), "ca");
    certificate(folder.path(), "impostor", "localhost");
    // The impostor's authority is `ca`; the client trusts the other one.
    authority(folder.path(), "trusted");
    let trusted = folder.path().join("trusted.crt").display().to_string();
    let verify_full = format!("sslmode=verify-full&sslrootcert={trusted}");
    let prefer = "sslmode=prefer&require_auth=scram-sha-256";
    let require = "sslmode=require&require_auth=scram-sha-256";

    for (answer, parameters, words, remedy) in [
        (
            Answer::Garbage,
            "sslmode=require",
            "corrupt message",
            Remedy::Refused,
        ),
        (
            Answer::Garbage,
            "sslmode=prefer",
            "corrupt message",
            Remedy::Refused,
        ),
        (
            Answer::Garbage,
            verify_full.as_str(),
            "corrupt message",
            Remedy::Refused,
        ),
        (
            Answer::Injection,
            "sslmode=require",
            "corrupt message",
            Remedy::Refused,
        ),
        (
            Answer::Silence,
            "sslmode=require",
            "no answer within",
            Remedy::Retry,
        ),
        (
            Answer::Silence,
            verify_full.as_str(),
            "no answer within",
            Remedy::Retry,
        ),
        (
            Answer::Tls,
            verify_full.as_str(),
            "UnknownIssuer",
            Remedy::Refused,
        ),
        (
            Answer::NoTls,
            "sslmode=require",
            "does not support TLS",
            Remedy::Refused,
        ),
        (
            Answer::NoTls,
            verify_full.as_str(),
            "does not support TLS",
            Remedy::Refused,
        ),
        (
            Answer::Error,
            "sslmode=prefer",
            "failed before TLS",
            Remedy::Retry,
        ),
        (
            Answer::Error,
            verify_full.as_str(),
            "failed before TLS",
            Remedy::Retry,
        ),
        (
            Answer::Http,
            "sslmode=prefer",
            "does not answer as PostgreSQL",
            Remedy::Retry,
        ),
        (
            Answer::Http,
            verify_full.as_str(),
            "does not answer as PostgreSQL",
            Remedy::Retry,
        ),
        // Below verify-full only `require_auth` keeps the password.
        (Answer::NoTls, prefer, "method password", Remedy::Refused),
        (Answer::Tls, require, "method password", Remedy::Refused),
    ] {
        let impostor = Impostor::start(answer, folder.path()).await;
        let began = Instant::now();
        let error = connect(&impostor, parameters).await.unwrap_err();
        let (took, chain) = (began.elapsed(), error.chain());
        assert!(took < LIMIT, "{answer:?}, {parameters}: {took:?}");
        assert!(chain.contains(words), "{answer:?}, {parameters}: {chain}");
        assert_eq!(error.remedy(), remedy, "{answer:?}, {parameters}: {chain}");
        assert!(!chain.contains(PASSWORD), "{chain}");
        assert!(!impostor.knows_password(), "{answer:?}, {parameters}");
    }
}

/// Shows that `require_auth` or verify-full is needed, and that the impostor notices a password.
#[tokio::test]
async fn without_either_an_impostor_gets_the_password() {
    let folder = tempfile::tempdir().unwrap();
    authority(folder.path(), "ca");
    certificate(folder.path(), "impostor", "localhost");
    for (answer, parameters) in [
        (Answer::NoTls, "sslmode=prefer"),
        (Answer::Tls, "sslmode=require"),
    ] {
        let impostor = Impostor::start(answer, folder.path()).await;
        connect(&impostor, parameters).await.unwrap_err();
        assert!(impostor.knows_password(), "{answer:?}, {parameters}");
    }
}

async fn connect(impostor: &Impostor, parameters: &str) -> Result<(), warehouse::Error> {
    let port = impostor.port;
    let url = format!("postgres://etl:{PASSWORD}@127.0.0.1:{port}/shop?{parameters}");
    let settings = Settings {
        connect_timeout: CONNECT_TIMEOUT,
        ..settings(url)
    };
    Database::new(&settings).unwrap().connect().await.map(drop)
}
