//! PgBouncer: a pool of sessions works; the sink detects and refuses a pool of transactions.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use owned_process::{OwnedProcess, Signal};
use private_postgres::PrivatePostgres;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;
use warehouse::locks::AdvisoryLocks;
use warehouse::{Database, Error, Source, Writer};

use crate::support::{batch, settings, shopping};

/// A PgBouncer in front of `server`, and its URL. If it `turns`, it uses its sessions in turn
/// instead of the last one first.
async fn pooler(
    server: &PrivatePostgres,
    pool_mode: &str,
    turns: bool,
) -> (OwnedProcess, TempDir, String) {
    let program = std::env::var("ETL_TEST_PGBOUNCER")
        .expect("this test needs PgBouncer: run it by `make test`");
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let url = server.url();
    let password = url.split([':', '@']).nth(2).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    let users = path.join("users.txt");
    std::fs::write(&users, "\"etl\" \"\"\n").unwrap();
    let settings = path.join("pgbouncer.ini");
    let text = format!(
        "[databases]\netl = host=127.0.0.1 port={} user=etl password={password}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type \
         = trust\nauth_file = {}\n\
         pool_mode = {pool_mode}\nserver_round_robin = {}\n\
         ignore_startup_parameters = extra_float_digits\n",
        server.port(),
        users.display(),
        u8::from(turns),
    );
    std::fs::write(&settings, text).unwrap();
    let mut command = Command::new(program);
    // It refuses to run as root.
    if path.metadata().unwrap().uid() == 0 {
        command.args(["-u", "nobody"]);
    }
    command
        .arg(&settings)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let process = OwnedProcess::spawn("pgbouncer", command, Signal::SIGINT).unwrap();
    (
        process,
        folder,
        format!("postgres://etl:any@127.0.0.1:{port}/etl"),
    )
}

async fn connected(url: &str) -> (Arc<Database>, tokio_postgres::Client) {
    let database = Database::new(&settings(url.to_owned())).unwrap();
    for _ in 0..100 {
        if let Ok(client) = database.connect().await {
            return (database, client);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no PgBouncer answers at {url}");
}

/// The error with which the connector ends.
async fn refusal(url: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("sink.yaml");
    let text = format!(
        "apiVersion: 0.1.0\nmeta: {{name: sink, type: postgres-sink, version: 0.1.0, topic: \
         shop-events}}\n\
         transforms: [{{uses: flatten-items}}]\npostgres: {{url: '{url}'}}\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut sink = Command::new(env!("CARGO_BIN_EXE_postgres_sink"));
    sink.arg("--config").arg(&config).kill_on_drop(true);
    let ended = timeout(Duration::from_secs(60), sink.output()).await;
    let ended = ended.expect("the sink goes on").unwrap();
    assert!(!ended.status.success());
    String::from_utf8(ended.stderr).unwrap()
}

#[tokio::test]
async fn a_pool_of_transactions_is_refused_and_one_of_sessions_works() {
    let server = PrivatePostgres::start().await.unwrap();
    let (_pooler, _folder, url) = pooler(&server, "transaction", false).await;
    let (database, client) = connected(&url).await;
    assert!(database.is_pooled(&client).await.unwrap());
    let said = refusal(&url).await;
    assert!(
        said.contains("PgBouncer") && said.contains("pool_mode = session"),
        "{said}"
    );

    let (_pooler, _folder, url) = pooler(&server, "session", false).await;
    let (database, mut client) = connected(&url).await;
    assert!(!database.is_pooled(&client).await.unwrap());
    warehouse::migrate(&mut client).await.unwrap();
    let source = Source {
        sink: "test".to_owned(),
        topic: "shop-events".to_owned(),
        partition: 0,
    };
    let mut writer = Writer::new(database, source);
    let first = batch(0, shopping(1, 500));
    let second = batch(500, shopping(1, 600));
    assert_eq!(writer.write(&first).await.unwrap().inserted, 500);
    assert_eq!(writer.write(&second).await.unwrap().inserted, 100);
}

/// Two connections that ask one after the other get different sessions from such a pool.
#[tokio::test]
async fn a_pool_of_transactions_that_turns_is_noticed_at_the_start_and_by_the_locks() {
    let server = PrivatePostgres::start().await.unwrap();
    let (_pooler, _folder, url) = pooler(&server, "transaction", true).await;
    for sessions in 1..6 {
        let (database, client) = connected(&url).await;
        // As many transactions at once give the pool as many sessions.
        let mut clients = Vec::new();
        for _ in 0..sessions {
            let other = database.connect().await.unwrap();
            other.batch_execute("BEGIN; SELECT 1").await.unwrap();
            clients.push(other);
        }
        for other in &clients {
            other.batch_execute("COMMIT").await.unwrap();
        }
        let is_pooled = database.is_pooled(&client).await.unwrap();
        assert!(is_pooled, "a pool of {sessions} sessions");
    }

    let (database, _) = connected(&url).await;
    let locks = AdvisoryLocks::new(database);
    let source = Source {
        sink: "test".to_owned(),
        topic: "shop-events".to_owned(),
        partition: 0,
    };
    let mut outcomes = Vec::new();
    for _ in 0..10 {
        outcomes.push(locks.take(&source).await);
    }
    let is_noticed = |outcome: &Result<_, _>| matches!(outcome, Err(Error::Pooled));
    assert!(outcomes.iter().any(is_noticed), "{outcomes:?}");
}
