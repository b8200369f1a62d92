//! Behind PgBouncer: a pool of sessions works, one of transactions is found out and refused.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use connector_common::Secret;
use owned_process::{OwnedProcess, Signal};
use postgres_sink::Config;
use postgres_sink::database::Database;
use postgres_sink::writer::{Source, Writer};
use private_postgres::PrivatePostgres;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::{batch, shopping};

/// A PgBouncer in front of `server`, and its URL.
async fn pooler(server: &PrivatePostgres, pool_mode: &str) -> (OwnedProcess, TempDir, String) {
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
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\n\
         pool_mode = {pool_mode}\nignore_startup_parameters = extra_float_digits\n",
        server.port(),
        users.display(),
    );
    std::fs::write(&settings, text).unwrap();
    let mut command = Command::new(program);
    // It refuses to be root.
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
    let database = Database::new(&Config::new(Secret::from(url.to_owned()))).unwrap();
    for _ in 0..100 {
        if let Ok(client) = database.connect().await {
            return (database, client);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no PgBouncer answers at {url}");
}

/// What the connector says as it ends.
async fn refusal(url: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("sink.yaml");
    let text = format!(
        "apiVersion: 0.1.0\nmeta: {{name: sink, type: postgres-sink, version: 0.1.0, topic: shop-events}}\n\
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
    let (_pooler, _folder, url) = pooler(&server, "transaction").await;
    let (database, client) = connected(&url).await;
    assert!(database.is_pooled(&client).await.unwrap());
    let said = refusal(&url).await;
    assert!(
        said.contains("PgBouncer") && said.contains("pool_mode = session"),
        "{said}"
    );

    let (_pooler, _folder, url) = pooler(&server, "session").await;
    let (database, mut client) = connected(&url).await;
    assert!(!database.is_pooled(&client).await.unwrap());
    postgres_sink::migrate(&mut client).await.unwrap();
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
