//! TLS in every mode, client certificates, channel binding, methods of authentication, and
//! passwords from files and commands.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use private_postgres::PrivatePostgres;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::error::SqlState;
use tokio_util::task::AbortOnDropHandle;
use warehouse::{Database, Error, Remedy, Settings};

use crate::support::settings;

fn database(url: String) -> Arc<Database> {
    Database::new(&settings(url)).unwrap()
}

/// Connects, and returns true if the connection is encrypted.
pub async fn is_encrypted(url: String) -> Result<bool, Error> {
    let client = database(url).connect().await?;
    let row = client
        .query_one(
            "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            &[],
        )
        .await
        .unwrap();
    Ok(row.get(0))
}

fn openssl(folder: &Path, args: &str) {
    let output = Command::new("openssl")
        .args(args.split_whitespace())
        .current_dir(folder)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {args}: {words}");
}

/// `NAME.crt` and `NAME.key`, signed by the authority `ca`.
pub fn certificate(folder: &Path, name: &str, common_name: &str) {
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost").unwrap();
    openssl(
        folder,
        &format!("req -new {KEY} -keyout {name}.key -out {name}.csr -subj /CN={common_name}"),
    );
    openssl(
        folder,
        &format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile \
             names -out {name}.crt"
        ),
    );
}

/// `NAME.crt` and `NAME.key` of an authority.
pub fn authority(folder: &Path, name: &str) {
    openssl(
        folder,
        &format!("req -x509 {KEY} -keyout {name}.key -out {name}.crt -days 2 -subj /CN={name}"),
    );
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// Gives the server a certificate for `localhost`, and a role that needs a client certificate.
pub async fn encrypt(server: &PrivatePostgres, folder: &Path) {
    let client = database(server.url()).connect().await.unwrap();
    let data: String = client
        .query_one("SHOW data_directory", &[])
        .await
        .unwrap()
        .get(0);
    let data = Path::new(&data);
    let owner = std::fs::metadata(data).unwrap();
    for (from, to) in [
        ("server.crt", "server.crt"),
        ("server.key", "server.key"),
        ("ca.crt", "root.crt"),
    ] {
        let to = data.join(to);
        std::fs::copy(folder.join(from), &to).unwrap();
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::chown(&to, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let rules = data.join("pg_hba.conf");
    let others = std::fs::read_to_string(&rules).unwrap();
    let certified = "hostssl all certified all cert\nhostnossl all certified all reject\n";
    std::fs::write(&rules, format!("{certified}{others}")).unwrap();
    client
        .batch_execute("CREATE ROLE certified LOGIN")
        .await
        .unwrap();
    for setting in ["ssl_ca_file = 'root.crt'", "ssl = on"] {
        client
            .batch_execute(&format!("ALTER SYSTEM SET {setting}"))
            .await
            .unwrap();
    }
    client
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    let mut attempts = 0;
    while !is_encrypted(format!("{}?sslmode=prefer", server.url()))
        .await
        .unwrap()
    {
        attempts += 1;
        assert!(attempts < 100, "the server did not switch TLS on");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn every_sslmode_asks_as_much_of_the_server_as_libpq_does() {
    let server = PrivatePostgres::start().await.unwrap();
    let refused = |result: Result<bool, Error>, words: &str| {
        let error = result.unwrap_err();
        assert_eq!(error.remedy(), Remedy::Refused, "{error}");
        assert!(error.chain().contains(words), "{}", error.chain());
    };
    let plain = server.url();
    refused(
        is_encrypted(format!("{plain}?sslmode=require")).await,
        "does not support TLS",
    );
    assert!(
        !is_encrypted(format!("{plain}?sslmode=prefer"))
            .await
            .unwrap()
    );

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    authority(folder.path(), "ca");
    authority(folder.path(), "stranger");
    certificate(folder.path(), "server", "localhost");
    certificate(folder.path(), "client", "certified");
    encrypt(&server, folder.path()).await;
    let by_name = plain.replace("127.0.0.1", "localhost");
    let (known, unknown) = (
        format!("sslrootcert={}", file("ca.crt")),
        format!("sslrootcert={}", file("stranger.crt")),
    );

    for (url, settings, encrypted) in [
        (&plain, "sslmode=disable".to_owned(), false),
        (&plain, "sslmode=allow".to_owned(), false),
        (&plain, "sslmode=prefer".to_owned(), true),
        (&plain, "sslmode=require".to_owned(), true),
        (
            &plain,
            "sslmode=require&channel_binding=require".to_owned(),
            true,
        ),
        (
            &plain,
            "sslmode=require&require_auth=scram-sha-256".to_owned(),
            true,
        ),
        (&plain, format!("sslmode=verify-ca&{known}"), true),
        (&by_name, format!("sslmode=verify-full&{known}"), true),
    ] {
        let found = is_encrypted(format!("{url}?{settings}")).await;
        assert_eq!(found.unwrap(), encrypted, "{settings}");
    }
    let unbound = "sslmode=disable&channel_binding=require";
    is_encrypted(format!("{plain}?{unbound}"))
        .await
        .unwrap_err();
    refused(
        is_encrypted(format!(
            "{plain}?sslmode=require&require_auth=!scram-sha-256"
        ))
        .await,
        "method scram-sha-256",
    );
    let not_signed = "UnknownIssuer";
    for (settings, words) in [
        (format!("sslmode=require&{unknown}"), not_signed),
        (format!("sslmode=verify-ca&{unknown}"), not_signed),
        (
            "sslmode=verify-full&sslrootcert=system".to_owned(),
            not_signed,
        ),
        // The certificate names localhost.
        (format!("sslmode=verify-full&{known}"), "not valid for"),
    ] {
        refused(is_encrypted(format!("{plain}?{settings}")).await, words);
    }

    let certified = format!("postgres://certified@127.0.0.1:{}/etl", server.port());
    let own = format!(
        "sslcert={}&sslkey={}",
        file("client.crt"),
        file("client.key")
    );
    for mode in ["allow", "require", "verify-ca"] {
        let url = format!("{certified}?sslmode={mode}&{known}&{own}");
        assert!(is_encrypted(url).await.unwrap(), "{mode}");
    }
    refused(
        is_encrypted(format!("{certified}?sslmode=require")).await,
        "SQLSTATE 28000",
    );
}

/// Forwards connections to the server at `port`. Returns a port, and the first bytes of each.
async fn forward(port: u16) -> (u16, Arc<Mutex<Vec<[u8; 8]>>>, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let begun = Arc::new(Mutex::default());
    let begins = Arc::clone(&begun);
    let accepting = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let begins: Arc<Mutex<Vec<[u8; 8]>>> = Arc::clone(&begins);
            tokio::spawn(async move {
                let mut first = [0; 8];
                client.read_exact(&mut first).await.unwrap();
                begins.lock().unwrap().push(first);
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                server.write_all(&first).await.unwrap();
                // An end without a word is one, too.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (own, begun, AbortOnDropHandle::new(accepting))
}

#[tokio::test]
async fn with_allow_a_query_is_cancelled_over_tls_if_the_server_has_it() {
    let server = PrivatePostgres::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    authority(folder.path(), "ca");
    certificate(folder.path(), "server", "localhost");
    certificate(folder.path(), "client", "certified");
    encrypt(&server, folder.path()).await;
    let (port, begun, _forwarding) = forward(server.port()).await;
    let folder = folder.path().display();
    let database = database(format!(
        "postgres://certified@127.0.0.1:{port}/etl?sslmode=allow\
         &sslcert={folder}/client.crt&sslkey={folder}/client.key"
    ));
    let client = database.connect().await.unwrap();
    let token = client.cancel_token();
    let sleeping = client.batch_execute("SELECT pg_sleep(60)");
    let cancelling = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        database.cancel(token).await.unwrap();
    };
    let (slept, ()) = tokio::join!(sleeping, cancelling);
    assert_eq!(slept.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
    let begun = begun.lock().unwrap().clone();
    let ssl_request = [0, 0, 0, 8, 4, 210, 22, 47];
    assert_eq!(begun.len(), 3, "{begun:?}");
    assert_ne!(begun[0], ssl_request, "without TLS first");
    assert_eq!(begun[1..], [ssl_request; 2]);
}

#[tokio::test]
async fn require_auth_refuses_every_other_method_of_a_server() {
    let server = PrivatePostgres::start().await.unwrap();
    let owner = database(server.url()).connect().await.unwrap();
    owner
        .batch_execute(
            "CREATE ROLE clear LOGIN PASSWORD 'p'; CREATE ROLE trusted LOGIN; \
             CREATE ROLE proven LOGIN PASSWORD 'p'; \
             SET password_encryption = 'md5'; CREATE ROLE hashed LOGIN PASSWORD 'p'",
        )
        .await
        .unwrap();
    let rules: String = owner.query_one("SHOW hba_file", &[]).await.unwrap().get(0);
    let others = std::fs::read_to_string(&rules).unwrap();
    let methods = "host all clear all password\nhost all trusted all trust\n\
                   host all hashed all md5\n";
    std::fs::write(&rules, format!("{methods}{others}")).unwrap();
    owner
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    let url = |role: &str, required: &str| {
        let port = server.port();
        format!("postgres://{role}:p@127.0.0.1:{port}/etl?require_auth={required}")
    };
    let mut attempts = 0;
    while is_encrypted(url("trusted", "")).await.is_err() {
        attempts += 1;
        assert!(attempts < 100, "the server did not read its rules again");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }

    for (role, required) in [
        ("clear", "password"),
        ("clear", "!md5,!none"),
        ("hashed", "md5,scram-sha-256"),
        ("proven", "scram-sha-256"),
        ("proven", "%21password"),
        ("trusted", "none"),
        ("trusted", "!password"),
    ] {
        let connected = is_encrypted(url(role, required)).await;
        assert!(!connected.unwrap(), "{role}, {required}");
    }
    for (role, required, method) in [
        ("clear", "scram-sha-256", "password"),
        ("clear", "md5,scram-sha-256", "password"),
        ("clear", "!password", "password"),
        ("hashed", "scram-sha-256", "md5"),
        ("proven", "password,md5", "scram-sha-256"),
        ("trusted", "scram-sha-256", "none"),
        ("trusted", "!none", "none"),
    ] {
        let error = is_encrypted(url(role, required)).await.unwrap_err();
        assert_eq!(error.remedy(), Remedy::Refused, "{role}, {required}");
        let chain = error.chain();
        assert!(chain.contains(&format!("(method {method})")), "{chain}");
        assert!(
            chain.contains(&format!("`require_auth={required}`")),
            "{chain}"
        );
    }
}

#[test]
fn require_auth_needs_a_host_whose_answers_are_checked() {
    let url = "host=/var/run/postgresql user=u require_auth=scram-sha-256";
    let error = Database::new(&settings(url.to_owned())).unwrap_err();
    assert!(error.chain().contains("name the host"), "{error}");
}

#[test]
fn what_would_connect_in_another_way_than_it_says_is_refused() {
    for (url, words) in [
        (
            "host=/var/run/postgresql hostaddr=10.0.0.5 user=u sslmode=verify-full",
            "leave `hostaddr` out",
        ),
        (
            "host=db user=u sslmode=prefer sslnegotiation=direct",
            "needs `sslmode=require`",
        ),
    ] {
        let error = Database::new(&settings(url.to_owned())).unwrap_err();
        assert!(error.chain().contains(words), "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let url = "postgres://u@db/x?sslmode=verify-full&sslrootcert=/nowhere/ca.crt";
    let error = Database::new(&settings(url.to_owned())).unwrap_err();
    assert!(error.chain().contains("/nowhere/ca.crt"), "{error}");
}

#[tokio::test]
async fn a_password_that_expires_is_asked_for_again() {
    let server = PrivatePostgres::start().await.unwrap();
    let owner = database(server.url()).connect().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let url = format!("postgres://writer@127.0.0.1:{}/etl", server.port());
    let settings = settings(url);
    let by_command = Database::new(&Settings {
        password_command: Some(format!("cat {} && echo more", file.display())),
        ..settings.clone()
    })
    .unwrap();
    let by_file = Database::new(&Settings {
        password_file: Some(file.clone()),
        ..settings.clone()
    })
    .unwrap();
    owner
        .batch_execute("CREATE ROLE writer LOGIN")
        .await
        .unwrap();
    for token in ["first", "second ' one"] {
        let quoted = token.replace('\'', "''");
        owner
            .batch_execute(&format!("ALTER ROLE writer PASSWORD '{quoted}'"))
            .await
            .unwrap();
        std::fs::write(&file, format!("{token}\n")).unwrap();
        by_command.connect().await.unwrap();
        by_file.connect().await.unwrap();
    }
    let failing = Database::new(&Settings {
        password_command: Some("echo no token for you >&2; exit 3".to_owned()),
        ..settings
    })
    .unwrap();
    let error = failing.connect().await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::Refused);
    assert!(error.chain().contains("no token for you"), "{error}");
}
