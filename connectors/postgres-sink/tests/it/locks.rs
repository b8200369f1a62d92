//! Advisory locks of two sinks with the same partition.

use std::time::Duration;

use crate::proxy::Proxy;
use crate::support::{Tables, settings};
use warehouse::locks::{AdvisoryLocks, Lock};
use warehouse::{Database, Source};

fn source(partition: i32) -> Source {
    Source {
        sink: "test".to_owned(),
        topic: "shop-events".to_owned(),
        partition,
    }
}

#[tokio::test]
async fn one_sink_holds_a_partition_and_the_next_takes_over_when_it_ends() {
    let tables = Tables::new().await;
    let first = AdvisoryLocks::new(tables.database.clone());
    let second = AdvisoryLocks::new(tables.database.clone());
    for _ in 0..2 {
        assert_eq!(first.take(&source(0)).await.unwrap(), Lock::Held);
    }
    let Lock::HeldBy(holder) = second.take(&source(0)).await.unwrap() else {
        panic!("two sinks hold one partition");
    };
    for part in ["postgres-sink", "pid ", "from 127.0.0.1", "since 20"] {
        assert!(holder.contains(part), "{holder}");
    }
    assert_eq!(second.take(&source(1)).await.unwrap(), Lock::Held);
    assert!(matches!(
        first.take(&source(1)).await.unwrap(),
        Lock::HeldBy(_)
    ));

    drop(first);
    let mut attempts = 0;
    while second.take(&source(0)).await.unwrap() != Lock::Held {
        attempts += 1;
        assert!(
            attempts < 100,
            "the partition stays with a sink that is gone"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // A broken connection loses the locks, and the next attempt uses a new one.
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' \
                AND pid <> pg_backend_pid()";
    tables.client.query_one(kill, &[]).await.unwrap();
    let mut attempts = 0;
    while !matches!(second.take(&source(0)).await, Ok(Lock::Held)) {
        attempts += 1;
        assert!(attempts < 100, "the lock is not taken again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A firewall that forgets a connection tells the sink, but not the server.
#[tokio::test]
async fn a_lock_of_a_broken_connection_is_taken_back_at_once() {
    let tables = Tables::new().await;
    let proxy = Proxy::to(tables.server.port()).await;
    let [server, through] = [tables.server.port(), proxy.port].map(|port| format!(":{port}/"));
    let url = tables.server.url().replace(&server, &through);
    let locks = AdvisoryLocks::new(Database::new(&settings(url)).unwrap());
    let group = "a group";
    locks.take(&source(0)).await.unwrap();
    locks.members(group, &[source(0)]).await.unwrap();
    for _ in 0..3 {
        proxy.abandon();
        let mut attempts = 0;
        let taken = loop {
            match locks.take(&source(0)).await {
                Ok(lock) => break lock,
                Err(error) => assert!(attempts < 20, "{error}"),
            }
            attempts += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert_eq!(taken, Lock::Held);
        let members = locks.members(group, &[source(0)]).await.unwrap();
        assert_eq!(
            members.len(),
            1,
            "the earlier session is a member: {members:?}"
        );
        assert_eq!((members[0].is_us, members[0].holds), (true, 1));
    }
    let other = AdvisoryLocks::new(tables.database.clone());
    assert!(matches!(
        other.take(&source(0)).await.unwrap(),
        Lock::HeldBy(_)
    ));
}
