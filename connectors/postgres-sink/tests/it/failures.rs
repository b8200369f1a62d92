//! Whatever happens to connections and servers, in the end the tables hold what a calm server
//! would.

use std::time::Duration;

use connector_common::Stop;
use private_postgres::PrivatePostgres;
use serde_json::{Value, json};
use tokio::sync::oneshot::error::TryRecvError;
use warehouse::{Batch, Database, Settings, Source, Writer};

use crate::proxy::{Cut, Proxy};
use crate::support::{NOON, Tables, batch, deliver, envelope, fact, settings, shopping, stored};

/// Facts in a batch: enough for a COPY.
const EACH: usize = 300;

/// The rows after these batches on a server without failures.
async fn expected(batches: usize) -> Vec<Value> {
    let calm = Tables::new().await;
    let mut writer = calm.writer(0);
    for number in 0..batches {
        writer.write(&events(number)).await.unwrap();
    }
    calm.everything().await
}

fn events(number: usize) -> Batch {
    let from = number * EACH;
    batch(from as i64, shopping(from as u128, EACH as u128))
}

/// A writer that reaches the server at `url` through the proxy.
fn writer_through(proxy: &Proxy, url: &str, port: u16) -> Writer {
    let url = url.replace(&format!(":{port}/"), &format!(":{}/", proxy.port));
    let database = Database::new(&settings(url)).unwrap();
    let source = Source {
        sink: "test".to_owned(),
        topic: "shop-events".to_owned(),
        partition: 0,
    };
    Writer::new(database, source)
}

#[tokio::test]
async fn a_connection_cut_around_the_commit_loses_and_doubles_nothing() {
    let tables = Tables::new().await;
    let proxy = Proxy::to(tables.server.port()).await;
    let mut writer = writer_through(&proxy, &tables.server.url(), tables.server.port());
    let (stop, _trigger) = Stop::manual();
    let cuts = [
        Cut::BeforeCommit,
        Cut::WithCommit,
        Cut::AfterCommit,
        Cut::AmidData,
    ];
    let mut number = 0;
    for cut in cuts.into_iter().cycle().take(12) {
        proxy.arm(cut);
        deliver(&mut writer, events(number), &stop).await.unwrap();
        number += 1;
        assert_eq!(proxy.cuts(), number as u32, "{cut:?} was not reached");
        assert_eq!(tables.count("fact_events").await, (number * EACH) as i64);
    }
    assert_eq!(tables.everything().await, expected(number).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_anywhere_loses_and_doubles_nothing() {
    let tables = Tables::new().await;
    let events = shopping(0, 2000);
    let expected = {
        let mut calm = tables.writer(0);
        calm.write(&batch(0, events.clone())).await.unwrap();
        let expected = tables.everything().await;
        tables
            .client
            .batch_execute(
                "DELETE FROM fact_events; DELETE FROM dim_product; DELETE FROM \
                                     dim_list; DELETE FROM sink_offsets",
            )
            .await
            .unwrap();
        expected
    };
    let mut writer = tables.writer(0);
    let (done, mut is_done) = tokio::sync::oneshot::channel::<()>();
    let breaker = {
        let killer = tables.database.connect().await.unwrap();
        tokio::spawn(async move {
            let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE \
                        application_name = 'postgres-sink' AND pid <> pg_backend_pid() AND state \
                        <> 'idle'";
            let mut broken = 0;
            while broken < 12 && is_done.try_recv() == Err(TryRecvError::Empty) {
                broken += killer
                    .query_one(kill, &[])
                    .await
                    .map_or(0, |row| row.get::<_, i64>(0));
                tokio::time::sleep(Duration::from_millis(31)).await;
            }
            broken
        })
    };
    let (stop, _trigger) = Stop::manual();
    for (number, some) in events.chunks(25).enumerate() {
        deliver(&mut writer, batch(number as i64 * 25, some.to_vec()), &stop)
            .await
            .unwrap();
    }
    drop(done);
    // A statement of it that is still running could end the connection that compares.
    assert!(breaker.await.unwrap() > 0, "no connection was broken");
    // The offsets are the same, too.
    assert_eq!(tables.everything().await, expected);
}

#[tokio::test]
async fn a_sink_that_dies_in_a_transaction_leaves_the_batch_whole_or_absent() {
    let tables = Tables::new().await;
    let mut from = 0;
    for step in 0..40 {
        let mut writer = tables.writer(0);
        stored(&writer).await;
        let events = shopping(from as u128 * 10, 50);
        let cut = tokio::time::timeout(
            Duration::from_micros(step * 400),
            writer.write(&batch(from, events.clone())),
        )
        .await;
        let there = tables.count("fact_events").await;
        let mut fresh = tables.writer(0);
        let reached = stored(&fresh).await;
        assert!(
            reached == from || reached == from + 50,
            "stored {reached}, was at {from}"
        );
        if cut.is_ok() {
            assert_eq!(reached, from + 50);
        }
        // A commit may have come between the count and the offset.
        assert!(
            there == from || there == reached,
            "{there} facts with offset {from} -> {reached}"
        );
        fresh.write(&batch(from, events)).await.unwrap();
        from += 50;
        assert_eq!(
            (tables.count("fact_events").await, stored(&fresh).await),
            (from, from)
        );
    }
}

#[tokio::test]
async fn a_server_killed_or_stopped_under_load_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // The server may run as another user, who needs access.
    std::fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let data = folder.path().join("server");
    let mut server = PrivatePostgres::start_in(&data).await.unwrap();
    let database = |server: &PrivatePostgres| Database::new(&settings(server.url())).unwrap();
    let mut client = database(&server).connect().await.unwrap();
    warehouse::migrate(&mut client).await.unwrap();
    let proxy = Proxy::to(server.port()).await;
    let mut writer = writer_through(&proxy, &server.url(), server.port());
    let (stop, _trigger) = Stop::manual();
    let (through, mut written) = tokio::sync::watch::channel(0);
    let batches = 60;
    let writing = tokio::spawn(async move {
        for number in 0..batches {
            deliver(&mut writer, events(number), &stop).await.unwrap();
            through.send_replace(number);
        }
    });
    for (round, at) in [10, 20, 30, 40].into_iter().enumerate() {
        written.wait_for(|number| *number >= at).await.unwrap();
        if round % 2 == 0 {
            server.process().signal(owned_process::Signal::SIGKILL);
            server.process().wait().await.unwrap();
        } else {
            server.stop().await.unwrap();
        }
        server = restart(&data).await;
        proxy.redirect(server.port());
    }
    writing.await.unwrap();
    let tables = Tables::of(server).await;
    assert_eq!(tables.everything().await, expected(batches).await);
}

/// The processes of a killed server keep its shared memory for a moment.
async fn restart(data: &std::path::Path) -> PrivatePostgres {
    for _ in 0..50 {
        match PrivatePostgres::start_in(data).await {
            Ok(server) => return server,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("the server does not come back")
}

#[tokio::test]
async fn the_loser_of_a_deadlock_writes_its_batch_again() {
    let tables = Tables::new().await;
    let mut writer = tables.writer(0);
    writer.write(&events(0)).await.unwrap();
    let other = tables.database.connect().await.unwrap();
    // The other transaction never checks for deadlocks, so that the server ends the sink's.
    other
        .batch_execute(
            "SET deadlock_timeout = '1h'; BEGIN; \
             INSERT INTO fact_events (event_time, event_name, item_ordinal, fact_hash, \
             source_topic, source_partition, source_offset) \
             VALUES ('2026-11-22 12:00:00.123456+00', 'other', 0, \
             '00000000-0000-0000-0000-00000000dead', 'o', 0, 0)",
        )
        .await
        .unwrap();
    let contested = envelope(&[fact(0xdead, NOON, json!({"product_id": "SKU-D"}))]);
    let (stop, _trigger) = Stop::manual();
    let writing = tokio::spawn(async move {
        deliver(&mut writer, batch(EACH as i64, [contested]), &stop)
            .await
            .unwrap()
    });
    // Until the sink waits for this transaction. Then this one waits for the sink's lock on its
    // offset.
    let waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND \
                 application_name = 'postgres-sink'";
    while tables.rows(waits).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    other
        .batch_execute("SELECT * FROM sink_offsets FOR UPDATE; ROLLBACK")
        .await
        .unwrap();
    assert_eq!(writing.await.unwrap().inserted, 1);
    let deadlocks = "SELECT sum(deadlocks)::bigint AS deadlocks FROM pg_stat_database";
    assert!(tables.rows(deadlocks).await[0]["deadlocks"].as_i64() >= Some(1));

    let calm = Tables::new().await;
    let mut writer = calm.writer(0);
    writer.write(&events(0)).await.unwrap();
    let contested = envelope(&[fact(0xdead, NOON, json!({"product_id": "SKU-D"}))]);
    writer
        .write(&batch(EACH as i64, [contested]))
        .await
        .unwrap();
    assert_eq!(tables.everything().await, calm.everything().await);
}

#[tokio::test]
async fn a_batch_that_takes_too_long_is_written_in_halves() {
    let tables = Tables::new().await;
    tables
        .client
        .batch_execute(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM \
             pg_sleep(0.02); RETURN NEW; END'; \
             CREATE TRIGGER slow BEFORE INSERT ON fact_events FOR EACH ROW EXECUTE FUNCTION slow()",
        )
        .await
        .unwrap();
    let settings = Settings {
        statement_timeout: Duration::from_secs(1),
        lock_timeout: Duration::from_millis(500),
        ..settings(tables.server.url())
    };
    let source = Source {
        sink: "test".to_owned(),
        topic: "shop-events".to_owned(),
        partition: 0,
    };
    let mut writer = Writer::new(Database::new(&settings).unwrap(), source);
    let (stop, _trigger) = Stop::manual();
    // Two seconds of work.
    let written = deliver(&mut writer, batch(0, shopping(0, 100)), &stop)
        .await
        .unwrap();
    assert_eq!(written.inserted, 100);
    let calm = Tables::new().await;
    let whole = batch(0, shopping(0, 100));
    calm.writer(0).write(&whole).await.unwrap();
    assert_eq!(tables.everything().await, calm.everything().await);
}
