//! A database that does not answer any more while its connections look open.

use std::fmt::Debug;
use std::process::Stdio;
use std::time::{Duration, Instant};

use connector_common::Stop;
use owned_process::{OwnedProcess, Signal};
use tokio::process::Command;
use warehouse::locks::AdvisoryLocks;
use warehouse::{Database, Error, Remedy, Settings, Writer};

use crate::proxy::{Cut, Proxy};
use crate::support::{Tables, batch, deliver, settings, shopping, stored};

/// Far shorter than the system's own timeouts, and longer than those that the tests set.
const LIMIT: Duration = Duration::from_secs(30);

/// The settings for the server of `tables` through `proxy`, with short timeouts.
fn impatient(tables: &Tables, proxy: &Proxy) -> Settings {
    let [server, through] = [tables.server.port(), proxy.port].map(|port| format!(":{port}/"));
    Settings {
        connect_timeout: Duration::from_secs(1),
        statement_timeout: Duration::from_secs(2),
        lock_timeout: Duration::from_secs(1),
        ..settings(tables.server.url().replace(&server, &through))
    }
}

async fn assert_no_answer<T: Debug>(request: impl Future<Output = Result<T, Error>>, what: &str) {
    let ended = tokio::time::timeout(LIMIT, request).await;
    let Ok(outcome) = ended else {
        panic!("{what}: waits without end");
    };
    let error = outcome.unwrap_err();
    assert_eq!(error.remedy(), Remedy::Retry, "{what}: {error}");
    let chain = error.chain();
    assert!(chain.contains("no answer within"), "{what}: {chain}");
}

#[tokio::test]
async fn every_request_to_a_silent_server_ends() {
    let tables = Tables::new().await;
    let proxy = Proxy::to(tables.server.port()).await;
    let settings = impatient(&tables, &proxy);
    let database = Database::new(&settings).unwrap();
    let client = database.connect().await.unwrap();
    let writer = Writer::new(database.clone(), tables.writer(0).source().clone());
    let locks = AdvisoryLocks::new(database.clone());
    assert_eq!(stored(&writer).await, 0);
    locks.take(writer.source()).await.unwrap();
    proxy.silence();

    assert_no_answer(writer.committed_offset(), "a query").await;
    assert_no_answer(locks.take(writer.source()), "a lock").await;
    assert_no_answer(database.is_pooled(&client), "the check for a pooler").await;
    for mode in ["disable", "prefer", "require"] {
        let url = format!("{}?sslmode={mode}", settings.url.reveal());
        let database = Database::new(&Settings {
            url: url.into(),
            ..settings.clone()
        });
        let database = database.unwrap();
        assert_no_answer(database.connect(), mode).await;
    }
}

#[tokio::test]
async fn a_host_that_does_not_answer_leaves_its_time_to_the_next_one() {
    let tables = Tables::new().await;
    let proxy = Proxy::to(tables.server.port()).await;
    proxy.silence();
    let settings = impatient(&tables, &proxy);
    let [first, second] = [proxy.port, tables.server.port()];
    let both = format!("127.0.0.1:{first},127.0.0.1:{second}/");
    let url = settings
        .url
        .reveal()
        .replace(&format!("127.0.0.1:{first}/"), &both);
    let database = Database::new(&Settings {
        url: url.into(),
        ..settings
    });
    database.unwrap().connect().await.unwrap();
}

#[tokio::test]
async fn a_sink_whose_host_vanishes_in_a_transaction_holds_up_the_next_one_for_seconds() {
    let tables = Tables::new().await;
    let proxy = Proxy::to(tables.server.port()).await;
    let database = Database::new(&impatient(&tables, &proxy)).unwrap();
    let mut vanishing = Writer::new(database, tables.writer(0).source().clone());
    proxy.arm(Cut::SilentBeforeCommit);
    let events = || batch(0, shopping(0, 50));
    assert_no_answer(vanishing.write(&events()), "the commit").await;
    assert_eq!(proxy.cuts(), 1);

    // The server ends the transaction, and with it the lock on the offset.
    let (stop, _trigger) = Stop::manual();
    let mut next = tables.writer(0);
    let written = tokio::time::timeout(LIMIT, deliver(&mut next, events(), &stop)).await;
    assert_eq!(written.unwrap().unwrap().inserted, 50);
}

#[tokio::test]
async fn a_silent_server_does_not_hold_up_a_stop() {
    let tables = Tables::new().await;
    let proxy = Proxy::to(tables.server.port()).await;
    // With timeouts that are longer than the limit.
    let settings = Settings {
        statement_timeout: LIMIT * 10,
        ..impatient(&tables, &proxy)
    };
    let database = Database::new(&settings).unwrap();
    let mut writer = Writer::new(database, tables.writer(0).source().clone());
    assert_eq!(stored(&writer).await, 0);
    proxy.silence();
    let (stop, trigger) = Stop::manual();
    let delivering =
        tokio::spawn(async move { deliver(&mut writer, batch(0, shopping(0, 10)), &stop).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    trigger();
    let ended = tokio::time::timeout(LIMIT, delivering).await;
    let error = ended
        .expect("the stop waits for the server")
        .unwrap()
        .unwrap_err();
    assert!(matches!(error, postgres_sink::Error::Stopped(_)), "{error}");
}

#[tokio::test]
async fn a_start_with_a_silent_server_ends_by_its_timeout_and_at_a_signal() {
    let tables = Tables::new().await;
    let proxy = Proxy::to(tables.server.port()).await;
    proxy.silence();
    let folder = tempfile::tempdir().unwrap();
    let url = impatient(&tables, &proxy).url;
    let command = |start_timeout: &str| {
        let config = folder.path().join(format!("{start_timeout}.yaml"));
        let text = format!(
            "apiVersion: 0.1.0\nmeta: {{name: sink, type: postgres-sink, version: 0.1.0, topic: \
             shop-events}}\n\
             transforms: [{{uses: flatten-items}}]\npostgres: {{url: '{}', connect-timeout: 1s, \
             start-timeout: {start_timeout}}}\n",
            url.reveal()
        );
        std::fs::write(&config, text).unwrap();
        let mut sink = Command::new(env!("CARGO_BIN_EXE_postgres_sink"));
        sink.arg("--config").arg(&config).kill_on_drop(true);
        sink
    };
    let ended = tokio::time::timeout(LIMIT, command("3s").output()).await;
    let ended = ended.expect("the start waits without end").unwrap();
    let log = String::from_utf8(ended.stderr).unwrap();
    assert!(!ended.status.success(), "{log}");
    assert!(log.contains("no answer within 1s"), "{log}");

    let mut waiting = command("10m");
    waiting.stdout(Stdio::null()).stderr(Stdio::null());
    let mut waiting = OwnedProcess::spawn("sink", waiting, Signal::SIGTERM).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let signalled = Instant::now();
    waiting.signal(Signal::SIGTERM);
    let status = tokio::time::timeout(LIMIT, waiting.wait()).await;
    let status = status.expect("the signal has no effect").unwrap();
    assert!(status.success(), "{status}");
    assert!(signalled.elapsed() < Duration::from_secs(5));
}
