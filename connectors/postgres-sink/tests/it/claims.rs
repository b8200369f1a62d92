//! Two sinks that were given the same partition.

use std::time::Duration;

use crate::support::Tables;
use postgres_sink::claims::{Claim, Claims};
use postgres_sink::writer::Source;

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
    let first = Claims::new(tables.database.clone());
    let second = Claims::new(tables.database.clone());
    for _ in 0..2 {
        assert_eq!(first.take(&source(0)).await.unwrap(), Claim::Held);
    }
    let Claim::HeldBy(holder) = second.take(&source(0)).await.unwrap() else {
        panic!("two sinks hold one partition");
    };
    for part in ["postgres-sink", "pid ", "from 127.0.0.1", "since 20"] {
        assert!(holder.contains(part), "{holder}");
    }
    assert_eq!(second.take(&source(1)).await.unwrap(), Claim::Held);
    assert!(matches!(
        first.take(&source(1)).await.unwrap(),
        Claim::HeldBy(_)
    ));

    drop(first);
    let mut attempts = 0;
    while second.take(&source(0)).await.unwrap() != Claim::Held {
        attempts += 1;
        assert!(
            attempts < 100,
            "the partition stays with a sink that is gone"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // A connection that breaks takes the locks with it, and the next attempt is on a new one.
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()";
    tables.client.query_one(kill, &[]).await.unwrap();
    let mut attempts = 0;
    while !matches!(second.take(&source(0)).await, Ok(Claim::Held)) {
        attempts += 1;
        assert!(attempts < 100, "the lock is not taken again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
