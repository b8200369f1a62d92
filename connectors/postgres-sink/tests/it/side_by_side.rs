//! Sinks that write at the same time: of one partition one of them gets through, and of several
//! none waits forever.

use warehouse::{Error, Writer, Written};

use crate::support::{Tables, batch, shopping, stored};

#[tokio::test]
async fn a_fenced_sink_writes_nothing() {
    let tables = Tables::new().await;
    let (mut first, mut second) = (tables.writer(0), tables.writer(0));
    first.write(&batch(0, shopping(0, 10))).await.unwrap();
    let before = tables.everything().await;
    let fenced = second.write(&batch(0, shopping(100, 5))).await;
    assert!(
        matches!(
            fenced,
            Err(Error::Fenced {
                committed: 10,
                expected: 0
            })
        ),
        "{fenced:?}"
    );
    let ahead = second.write(&batch(20, shopping(100, 5))).await;
    assert!(
        matches!(
            ahead,
            Err(Error::Fenced {
                committed: 10,
                expected: 20
            })
        ),
        "{ahead:?}"
    );
    assert_eq!(tables.everything().await, before);
    // A sink writes the same batch again if its commit was not answered.
    assert_eq!(
        first.write(&batch(0, shopping(0, 10))).await.unwrap(),
        Written::default()
    );
    assert_eq!(tables.everything().await, before);
}

#[tokio::test]
async fn two_sinks_at_once_write_one_copy() {
    let tables = Tables::new().await;
    let events = shopping(0, 400);
    let run = |mut writer: Writer| {
        let events = events.clone();
        tokio::spawn(async move {
            loop {
                let from = usize::try_from(stored(&writer).await).unwrap();
                let Some(next) = events
                    .get(from..(from + 20).min(events.len()))
                    .filter(|next| !next.is_empty())
                else {
                    return;
                };
                match writer.write(&batch(from as i64, next.to_vec())).await {
                    Ok(_) | Err(Error::Fenced { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        })
    };
    let (first, second) = (run(tables.writer(0)), run(tables.writer(0)));
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(
        (
            tables.count("fact_events").await,
            stored(&tables.writer(0)).await
        ),
        (400, 400)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn partitions_side_by_side_never_deadlock() {
    let tables = Tables::new().await;
    let mut tasks = tokio::task::JoinSet::new();
    for partition in 0..4 {
        let mut writer = tables.writer(partition);
        tasks.spawn(async move {
            for round in 0..25 {
                // All write the same new products and facts at once, in opposite orders.
                let mut events = shopping(round * 1000, 300);
                if partition % 2 == 1 {
                    events.reverse();
                }
                writer
                    .write(&batch(round as i64 * 300, events))
                    .await
                    .unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(tables.count("fact_events").await, 25 * 300);
    let deadlocks: i64 = tables
        .client
        .query_one("SELECT sum(deadlocks)::bigint FROM pg_stat_database", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(deadlocks, 0);
}
